//! Replacing a session by another of its id, against everything that may happen to either.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;
use std::time::Duration;

use loom_tests::{close, three, two};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Time};

/// Session 1 with the payload 10 stands in the cache.
fn occupied() -> Arc<Rig> {
    // Room for all that can be on its way at once: nothing is evicted.
    let rig = Rig::new(Setup {
        capacity: 3,
        ..Setup::default()
    });
    assert_eq!(rig.add(rig.session(1, 10)), Added::Inserted);
    rig
}

/// What a reader that looked twice has seen: old and new, never a miss, never the new one and then the old one.
fn check_views(seen: (Option<u8>, Option<u8>)) -> &'static str {
    match seen {
        (Some(10), Some(10)) => "old, old",
        (Some(10), Some(11)) => "old, new",
        (Some(11), Some(11)) => "new, new",
        other => panic!("{other:?}"),
    }
}

/// An id that is in the cache all the time is found all the time, while its session is replaced.
///
/// Threads: with, twice; add of the same id. Protects: `Add::replace` (the slot first, then the life),
/// `Engine::find_live` (a replaced session is a hit), and the Release of `Bucket::replace`.
#[test]
fn lookup_against_replace() {
    two(
        "lookup_against_replace",
        &["old, old", "old, new", "new, new"],
        |run| {
            let rig = occupied();
            let (seen, added) = run.race(
                &rig,
                |rig| (rig.with(1), rig.with(1)),
                |rig| rig.add(rig.session(1, 11)),
            );
            assert_eq!(added, Added::Replaced);
            run.reached(check_views(seen));
            assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
            assert_eq!(close(rig), [(1, 11, RemovalCause::Dropped)]);
        },
    );
}

/// A lookup takes a reference to a session that is replaced, collected and reclaimed: it stays whole.
///
/// Threads: get, reading what it got; add of the same id, collect, deliver, reclaim. Protects: `Add::replace` (the
/// replaced session goes by way of the removed stack), `Engine::collect` for sessions without an event.
#[test]
fn get_against_replace_and_reclaim() {
    two("get_against_replace_and_reclaim", &["old", "new"], |run| {
        let rig = occupied();
        let (session, ()) = run.race(
            &rig,
            |rig| {
                let session = rig.get(1).expect("it is there all the time");
                (session.payload()[0], session)
            },
            |rig| {
                assert_eq!(rig.add(rig.session(1, 11)), Added::Replaced);
                rig.see_out();
            },
        );
        let (seen, session) = session;
        assert_eq!(session.payload(), [seen]);
        run.reached(if seen == 10 { "old" } else { "new" });
        drop(session);
        assert_eq!(close(rig), [(1, 11, RemovalCause::Dropped)]);
    });
}

/// Two readers look while the session is replaced: neither misses.
///
/// Threads: with, twice; with; add of the same id. Protects: as with one reader.
#[test]
fn two_lookups_against_replace() {
    three(
        "two_lookups_against_replace",
        &["old, old", "old, new", "new, new"],
        |run| {
            let rig = occupied();
            let (seen, one, added) = run.race3(
                &rig,
                |rig| (rig.with(1), rig.with(1)),
                |rig| rig.with(1),
                |rig| rig.add(rig.session(1, 11)),
            );
            assert_eq!(added, Added::Replaced);
            run.reached(check_views(seen));
            assert!(matches!(one, Some(10 | 11)));
            assert_eq!(close(rig), [(1, 11, RemovalCause::Dropped)]);
        },
    );
}

/// A session past a full bucket is replaced while a slot in front of it empties: the newcomer takes its slot, not the
/// one in front, so that readers never miss.
///
/// Threads: with, twice; add of the same id; remove of a session in the first bucket. Protects: `Table::scan` (a
/// published session comes before any empty slot).
#[test]
fn replace_past_a_bucket_that_empties() {
    three(
        "replace_past_a_bucket_that_empties",
        &["old, old", "old, new", "new, new"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 4,
                buckets: 3,
                ..Setup::default()
            });
            for (n, payload) in [(9, 9), (8, 8), (1, 10)] {
                assert_eq!(rig.add(rig.session(n, payload)), Added::Inserted);
            }
            let (seen, added, removed) = run.race3(
                &rig,
                |rig| (rig.with(1), rig.with(1)),
                |rig| rig.add(rig.session(1, 11)),
                |rig| rig.remove(9),
            );
            assert!(removed);
            assert_eq!(added, Added::Replaced);
            run.reached(check_views(seen));
            assert_eq!(rig.entries(), 2);
            assert_eq!(close(rig).len(), 3);
        },
    );
}

/// A take meets a replacement: it takes the one or the other, and never comes back with nothing.
///
/// Threads: take; add of the same id. Protects: `Engine::take` (looks again after `Fate::Replaced`), the order in
/// `Add::replace`, and the permit of a slot that is taken or handed on.
#[test]
fn take_against_replace() {
    two("take_against_replace", &["took old", "took new"], |run| {
        let rig = occupied();
        let (taken, added) = run.race(&rig, |rig| rig.take(1), |rig| rig.add(rig.session(1, 11)));
        let taken = taken.expect("one of the two was there all the time");
        let payload = taken.payload()[0];
        drop(taken);
        let mut events = vec![(1, payload, RemovalCause::Taken)];
        if payload == 10 {
            run.reached("took old");
            assert_eq!(added, Added::Inserted);
            assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
            events.push((1, 11, RemovalCause::Dropped));
        } else {
            run.reached("took new");
            assert_eq!((payload, added), (11, Added::Replaced));
            assert_eq!((rig.with(1), rig.entries()), (None, 0));
        }
        assert_eq!(close(rig), events);
    });
}

/// Two replacements and a take: one is taken, at most one is left, and the rest was replaced.
///
/// Threads: add; add; take, all of one id that is there. Protects: as above; `Add::land` (a replacement that lost its
/// compare-and-swap starts over), `AtomicState::supersede`.
#[test]
fn two_replaces_against_take() {
    three(
        "two_replaces_against_take",
        &["took first", "took a newcomer"],
        |run| {
            let rig = occupied();
            let (taken, a, b) = run.race3(
                &rig,
                |rig| rig.take(1),
                |rig| rig.add(rig.session(1, 11)),
                |rig| rig.add(rig.session(1, 12)),
            );
            let taken = taken.expect("one of the three was there all the time");
            let payload = taken.payload()[0];
            drop(taken);
            run.reached(if payload == 10 {
                "took first"
            } else {
                "took a newcomer"
            });
            assert!(
                a.is_cached() || b.is_cached(),
                "{payload} taken, {a:?}, {b:?}"
            );
            let stats = rig.stats();
            let left = rig.with(1);
            assert_eq!(stats.entries, u64::from(left.is_some()));
            // Three began; who raced did not get in.
            assert_eq!(stats.replaced + 1 + stats.entries, stats.inserted);
            assert_ne!(left, Some(payload));
            let events = close(rig);
            assert_eq!(events.len() as u64, 1 + stats.entries);
            assert!(events.contains(&(1, payload, RemovalCause::Taken)));
        },
    );
}

/// The session that stands there is removed by its handle while another replaces it: the newcomer stays.
///
/// Threads: remove of the old one by its handle; add of the same id. Protects: `Engine::end_exact` (`Table::locate`
/// empties no slot but its own session's), `Add::replace` of a session that is dead already.
#[test]
fn remove_exact_against_replace() {
    two(
        "remove_exact_against_replace",
        &["removed", "replaced"],
        |run| {
            let rig = occupied();
            let old = rig.get(1).unwrap();
            let (removed, added) = run.race(
                &rig,
                move |rig| rig.remove_exact(&old),
                |rig| rig.add(rig.session(1, 11)),
            );
            let mut events = Vec::new();
            if removed {
                run.reached("removed");
                assert_eq!(added, Added::Inserted);
                events.push((1, 10, RemovalCause::Removed));
            } else {
                run.reached("replaced");
                assert_eq!(added, Added::Replaced);
            }
            assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
            events.push((1, 11, RemovalCause::Dropped));
            assert_eq!(close(rig), events);
        },
    );
}

/// The session that stands there expires while another replaces it: the newcomer survives.
///
/// Threads: a turn of the wheel at the old one's deadline; add of the same id. Protects: `Engine::look` and
/// `end_in_bucket` (they end the session they saw, and empty the slot only of that one).
#[test]
fn expire_against_replace() {
    two("expire_against_replace", &["expired", "replaced"], |run| {
        let rig = Rig::new(Setup::default());
        let old = rig.session(1, 10);
        assert_eq!(rig.add_for(old, Duration::from_secs(1)), Added::Inserted);
        rig.clock.set(Time::from_millis(1000));
        let (expired, added) =
            run.race(&rig, |rig| rig.expire(), |rig| rig.add(rig.session(1, 11)));
        let mut events = Vec::new();
        if expired == 1 {
            run.reached("expired");
            assert_eq!(added, Added::Inserted);
            events.push((1, 10, RemovalCause::Expired));
        } else {
            run.reached("replaced");
            assert_eq!((expired, added), (0, Added::Replaced));
        }
        assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
        events.push((1, 11, RemovalCause::Dropped));
        assert_eq!(close(rig), events);
    });
}
