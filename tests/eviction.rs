//! The order of eviction: what is expired, then dead generations, then the oldest with a second chance; never the
//! newcomer.

#![allow(missing_docs)]

mod common;

use std::collections::BTreeSet;

use common::{Rig, context, id, secs, session, sized};
use refrain::{Added, RemovalCause, SessionCache};

#[test]
fn eviction_takes_the_expired_first() {
    for after in [1, 10, 100, 1000] {
        let rig = Rig::new(4);
        for n in 0..3 {
            assert!(rig.add(n).is_cached());
        }
        assert!(rig.add_for(3, secs(after)).is_cached());
        rig.advance(secs(after));
        // Nobody has maintained: the add itself has to find the one that is expired, though it is the youngest.
        assert_eq!(rig.add(4), Added::Inserted);
        assert_eq!(
            rig.gone(),
            [(3, RemovalCause::Expired)],
            "after {after} seconds"
        );
    }
}

#[test]
fn eviction_takes_the_expired_first_in_every_shard() {
    let rig = Rig::with(SessionCache::builder().capacity(64).shards(8));
    for n in 0..63 {
        assert!(rig.add(n).is_cached());
    }
    assert!(rig.add_for(63, secs(1)).is_cached());
    rig.advance(secs(1));
    assert_eq!(rig.add(64), Added::Inserted);
    assert_eq!(rig.gone(), [(63, RemovalCause::Expired)]);
}

#[test]
fn eviction_takes_dead_generations_before_anything_that_lives() {
    for capacity in [4, 40, 400] {
        let rig = Rig::new(capacity);
        let doomed = context(&rig.cache, "doomed");
        for n in 1..capacity as u64 {
            assert!(rig.add(n).is_cached());
        }
        assert!(rig.cache.add(session(&doomed, 0)).is_cached());
        rig.cache.invalidate_context(&doomed).unwrap();
        // The dead one is the youngest, and nobody has maintained.
        assert_eq!(rig.add(1_000_000), Added::Inserted);
        assert_eq!(
            rig.gone(),
            [(0, RemovalCause::Invalidated)],
            "of {capacity}"
        );
    }
}

#[test]
fn eviction_takes_the_oldest_with_a_second_chance() {
    let rig = Rig::new(4);
    for n in 0..4 {
        assert!(rig.add(n).is_cached());
    }
    // 0 and 2 were found since they were added, each by another form of lookup.
    assert!(rig.get(0).is_some());
    assert!(rig.cache.with(&rig.context, &id(2), |_| ()).is_some());
    for n in 4..6 {
        assert!(rig.add(n).is_cached());
    }
    assert_eq!(
        rig.gone(),
        [(1, RemovalCause::Evicted), (3, RemovalCause::Evicted)]
    );
    // A chance is given once: now 0 and 2 leave in their turn, at the latest with who came when they were spared.
    for n in 6..11 {
        assert!(rig.add(n).is_cached());
    }
    let gone: Vec<_> = rig.gone().into_iter().map(|(n, _)| n).collect();
    assert!([0, 2, 4, 5].iter().all(|n| gone.contains(n)), "{gone:?}");
}

/// TLS 1.3: each handshake brings tickets, of which some are soon taken and one is never asked for. So what is in a full
/// cache is older, in adds, than the cache has places.
struct SingleUse {
    refused: u64,
    /// Tickets that were gone when they were to be used.
    missed: u64,
    /// For each eviction, how many older ones there were that nobody asks for.
    ranks: Vec<usize>,
}

impl SingleUse {
    fn play(capacity: usize, used: u64) -> Self {
        Self::play_in(capacity, capacity, used)
    }

    fn play_in(capacity: usize, max_capacity: usize, used: u64) -> Self {
        const SOON: u64 = 10;
        let builder = SessionCache::builder().capacity(capacity).shards(1);
        let rig = Rig::with(builder.max_capacity(max_capacity));
        let each = used + 1;
        let handshakes = 4 * capacity as u64;
        let (mut refused, mut missed) = (0, 0);
        for n in 0..handshakes {
            for ticket in each * n..each * (n + 1) {
                refused += u64::from(!rig.add(ticket).is_cached());
            }
            if let Some(before) = n.checked_sub(SOON) {
                for ticket in each * before..each * before + used {
                    let taken = rig.cache.take(&rig.context, &id(ticket));
                    missed += u64::from(taken.is_none());
                }
            }
            rig.cache.run_maintenance();
        }
        let mut left: BTreeSet<u64> = (0..handshakes).map(|n| each * n + used).collect();
        let gone = rig.gone().into_iter();
        let evicted = gone.filter(|(_, cause)| *cause == RemovalCause::Evicted);
        let mut ranks: Vec<usize> = evicted
            .map(|(ticket, _)| {
                left.remove(&ticket);
                left.range(..ticket).count()
            })
            .collect();
        ranks.sort_unstable();
        assert!(ranks.len() > 2 * capacity, "{} evictions", ranks.len());
        Self {
            refused,
            missed,
            ranks,
        }
    }
}

#[test]
fn the_oldest_leave_first_where_most_are_used_up() {
    // Around a power of two, because generations are of powers of two of adds.
    for capacity in [100, 200, 1000, 1023, 1024, 1025] {
        for used in [0, 1, 3] {
            let of = format!("capacity {capacity}, {used} tickets of {} used", used + 1);
            let played = SingleUse::play(capacity, used);
            assert_eq!((played.refused, played.missed), (0, 0), "{of}");
            // But for what a generation makes equal, an eighth of the capacity, and for where the hand points to.
            let rank = played.ranks[played.ranks.len() * 99 / 100];
            assert!(rank <= capacity / 8 + 1, "{rank} older ones left, {of}");
        }
    }
}

#[test]
fn the_order_is_coarser_where_the_capacity_could_be_larger() {
    for (times, share) in [(2, 4), (4, 2)] {
        for capacity in [1000, 1024, 1025] {
            let played = SingleUse::play_in(capacity, times * capacity, 0);
            assert_eq!((played.refused, played.missed), (0, 0));
            let rank = played.ranks[played.ranks.len() * 99 / 100];
            assert!(
                rank <= capacity / share + 1,
                "{rank} of {capacity}, {times} times"
            );
            // Else the manual warns of too much.
            assert!(
                rank > capacity / share / 4,
                "{rank} of {capacity}, {times} times"
            );
        }
    }
}

#[test]
fn no_add_is_refused_where_nearly_all_are_used_up() {
    // Then sessions are older than the age ring goes back. The order suffers, and nothing else.
    for capacity in [200, 1000, 1024] {
        let played = SingleUse::play(capacity, 9);
        let adds = 40 * capacity as u64;
        assert!(
            played.refused <= adds / 2000,
            "{} of {adds}",
            played.refused
        );
        assert!(played.missed <= adds / 200, "{} of {adds}", played.missed);
        let rank = played.ranks[played.ranks.len() / 2];
        assert!(rank <= capacity * 3 / 5, "{rank} of {capacity}");
    }
}

#[test]
fn the_newcomer_is_never_the_victim() {
    // Even if everything else was looked up, the newcomer never was, and there is one place in all.
    for capacity in [1, 2, 17] {
        let rig = Rig::new(capacity);
        for n in 0..200 {
            assert_eq!(rig.add(n), Added::Inserted);
            assert!(rig.has(n), "{n} of {capacity}");
            rig.get(n.saturating_sub(capacity as u64 / 2));
        }
    }
}

#[test]
fn a_larger_object_of_the_same_id_replaces_without_a_callback_in_a_full_budget() {
    // Five lines each; the newcomer needs nine of the ten. The other has to go, but the id's own callback would make
    // an external store delete the newcomer.
    let builder = SessionCache::builder().capacity(10).shards(1);
    let rig = Rig::with(builder.byte_budget(10 * 64));
    for n in [1, 2] {
        assert!(rig.cache.add(sized(&rig.context, n, 4 * 64)).is_cached());
    }
    assert!(rig.cache.add(sized(&rig.context, 1, 8 * 64)).is_cached());
    assert_eq!(rig.get(1).unwrap().payload().len(), 8 * 64);
    assert_eq!(rig.gone(), [(2, RemovalCause::Evicted)]);
}

#[test]
fn eviction_takes_all_that_is_expired_before_anything_that_lives() {
    let rig = Rig::new(400);
    for n in 0..200 {
        assert!(rig.add(n).is_cached());
    }
    for n in 200..400 {
        assert!(rig.add_for(n, secs(10)).is_cached());
    }
    rig.advance(secs(10));
    // One after the other, in the same tick, and nobody maintains.
    for n in 400..600 {
        assert_eq!(rig.add(n), Added::Inserted, "{n}");
    }
    let stats = rig.cache.stats();
    assert_eq!((stats.expired, stats.evicted), (200, 0));
}

#[test]
fn one_large_session_takes_the_room_of_many_expired_ones() {
    let rig = Rig::with(
        SessionCache::builder()
            .capacity(2000)
            .byte_budget(64 * 2666),
    );
    for n in 0..333 {
        assert!(rig.add(n).is_cached());
    }
    for n in 333..1333 {
        assert!(rig.add_for(n, secs(10)).is_cached());
    }
    rig.advance(secs(10));
    assert!(rig.cache.add(sized(&rig.context, 9999, 60_000)).is_cached());
    assert_eq!(rig.cache.stats().evicted, 0);
}
