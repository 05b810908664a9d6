//! Making room: victims against lookups, takes and each other.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;

use loom_tests::{close, three, two, two_long};
use refrain::internal::{Rig, Setup};
use refrain::{Added, NotCached, RemovalCause};

/// A cache of this capacity, full with sessions 1, 2, .. and their tenfold as payloads. There is a free slot for one
/// more.
fn full(capacity: u8) -> Arc<Rig> {
    let rig = Rig::new(Setup {
        capacity: capacity.into(),
        buckets: if capacity > 1 { 3 } else { 1 },
        ..Setup::default()
    });
    for n in 1..=capacity {
        assert_eq!(rig.add(rig.session(n, n * 10)), Added::Inserted);
    }
    rig
}

/// A lookup finds a session while an add wants to evict it.
///
/// Threads: get, reading what it got; add to the full cache, collect, deliver, reclaim. The visited session gets a
/// second chance and its neighbour goes, or it is the victim and the handle keeps it whole; a miss comes only from the
/// eviction. Protects: `Engine::evict` (its condition `!is_visited` holds for the very state that it ends),
/// `AtomicState::visit` and `forgive`, `Engine::reserve` (the newcomer gets the victim's permit).
#[test]
fn get_against_evict() {
    two(
        "get_against_evict",
        &["second chance", "hit and evicted", "miss"],
        |run| {
            let rig = full(2);
            let (got, added) = run.race(
                &rig,
                |rig| rig.get(1),
                |rig| {
                    let added = rig.add(rig.session(3, 30));
                    rig.see_out();
                    added
                },
            );
            assert_eq!((added, rig.entries()), (Added::Inserted, 2));
            assert_eq!(rig.with(3), Some(30));
            let stayed = rig.with(1).is_some();
            assert_ne!(stayed, rig.with(2).is_some(), "one victim");
            run.reached(match (&got, stayed) {
                (Some(_), true) => "second chance",
                (Some(_), false) => "hit and evicted",
                (None, false) => "miss",
                (None, true) => panic!("a miss of a session that is there"),
            });
            if let Some(session) = got {
                assert_eq!(session.payload(), [10]);
            }
            let victim = if stayed { 2 } else { 1 };
            let events = close(rig);
            assert_eq!(events[0], (victim, victim * 10, RemovalCause::Evicted));
            assert_eq!(events.len(), 3);
        },
    );
}

/// A take meets the eviction of the only session: one of them ends it, and the newcomer has its place either way.
///
/// Threads: take; add to the full cache. The add may be refused while the taken session's permit is on its way back.
/// Protects: `Engine::evict` and `Engine::unlink` (the permit goes to who empties the slot).
#[test]
fn take_against_evict() {
    two_long("take_against_evict", &["taken", "evicted", "full"], |run| {
        let rig = full(1);
        let (taken, added) = run.race(
            &rig,
            |rig| rig.take(1).is_some(),
            |rig| rig.add(rig.session(2, 20)),
        );
        let mut events = vec![(1, 10, RemovalCause::Taken)];
        if !taken {
            assert_eq!(added, Added::Inserted);
            events[0].2 = RemovalCause::Evicted;
        }
        match added {
            Added::Inserted => {
                run.reached(if taken { "taken" } else { "evicted" });
                events.push((2, 20, RemovalCause::Dropped));
            }
            Added::NotCached(NotCached::Full) => run.reached("full"),
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.entries(), u64::from(added.is_cached()));
        assert_eq!(rig.with(2).is_some(), added.is_cached());
        assert_eq!(close(rig), events);
    });
}

/// Two adds need room that is there once.
///
/// Threads: add; add of another id, to a full cache of one. The entries never go above one. Protects: `Engine::reserve`
/// and `Engine::evict` against themselves, `Age::oldest` (a bit is taken by one).
#[test]
fn two_evictors() {
    two(
        "two_evictors",
        &["both in", "one refused", "evicted for nothing?"],
        |run| {
            let rig = full(1);
            let add = |n: u8| {
                move |rig: &Rig| {
                    let added = rig.add(rig.session(n, n * 10));
                    assert!(rig.entries() <= 1);
                    added
                }
            };
            let (a, b) = run.race(&rig, add(2), add(3));
            let (a, b) = (a.is_cached(), b.is_cached());
            assert!(a || b);
            assert_eq!(rig.with(1), None);
            let left = [rig.with(2), rig.with(3)].iter().flatten().count() as u64;
            assert_eq!(rig.entries(), left);
            run.reached(match (a && b, left) {
                (true, 1) => "both in",
                (false, 1) => "one refused",
                // One had the other evicted, whose own add gave the permit back, and did not find it in time.
                (false, 0) => "evicted for nothing",
                other => panic!("{other:?}"),
            });
            let events = close(rig);
            assert_eq!(events[0], (1, 10, RemovalCause::Evicted));
            assert_eq!(events.len(), 1 + usize::from(a) + usize::from(b));
        },
    );
}

/// An add notes its session's age while an eviction takes the bucket's bit away: the session can be evicted later.
///
/// Threads: add, into the last free slot; a run of the maintainer with the capacity lowered to one, which evicts. Then
/// the capacity is lowered to none, and another run has to find everything, by its age or by the hand. Protects:
/// `Engine::evict` with both its ways, `Engine::trim`.
#[test]
fn noted_age_against_evict() {
    two_long(
        "noted_age_against_evict",
        &["old one evicted", "both evicted?", "refused?"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 10)), Added::Inserted);
            let (added, ()) = run.race(
                &rig,
                |rig| rig.add(rig.session(2, 20)),
                |rig| {
                    rig.set_capacity(1);
                    rig.maintain();
                },
            );
            run.reached(match (added, rig.with(1), rig.with(2)) {
                (Added::Inserted, None, Some(20)) => "old one evicted",
                // One made room for the other, which the run had found to be too much before.
                (Added::Inserted, None, None) => "both evicted",
                (Added::NotCached(NotCached::Full), ..) => "refused",
                other => panic!("{other:?}"),
            });
            rig.set_capacity(0);
            rig.maintain();
            assert_eq!(rig.entries(), 0, "an age was lost");
            rig.see_out();
            close(rig);
        },
    );
}

/// Two lookups visit the session that an add wants to evict.
///
/// Threads: with; with; add to a full cache of one. However often it is visited, the newcomer gets in. Protects:
/// `Engine::evict` (second chances are bounded, and a bucket whose session was visited at the last moment is noted
/// again).
#[test]
fn two_lookups_against_evict() {
    three(
        "two_lookups_against_evict",
        &["both hit", "one hit", "no hit"],
        |run| {
            let rig = full(1);
            let look = |rig: &Rig| rig.with(1).is_some();
            let (a, b, added) = run.race3(&rig, look, look, |rig| rig.add(rig.session(2, 20)));
            run.reached(match (a, b) {
                (true, true) => "both hit",
                (false, false) => "no hit",
                _ => "one hit",
            });
            assert_eq!((added, rig.entries()), (Added::Inserted, 1));
            assert_eq!((rig.with(1), rig.with(2)), (None, Some(20)));
            assert_eq!(close(rig).len(), 2);
        },
    );
}
