//! Takes and removals against each other: one winner, one event.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;
use std::time::Duration;

use loom_tests::{close, three, two};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Time};

/// Session 1 with the payload 7 stands in the cache.
fn occupied() -> Arc<Rig> {
    let rig = Rig::new(Setup::default());
    assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
    rig
}

/// Two takes of one id: one gets the session. This is single use.
///
/// Threads: take; take. Protects: `AtomicState::end` (one compare-and-swap), `Engine::end_found` (the reference is
/// taken before the end, and given back by the loser), `AtomicState::unlink` (who owes the push).
#[test]
fn take_against_take() {
    two("take_against_take", &["first", "second"], |run| {
        let rig = occupied();
        let take = |rig: &Rig| {
            let taken = rig.take(1);
            rig.see_out();
            taken
        };
        let (a, b) = run.race(&rig, take, take);
        assert!(rig.get(1).is_none());
        match (a, b) {
            (Some(session), None) => {
                assert_eq!(session.payload(), [7]);
                run.reached("first");
            }
            (None, Some(session)) => {
                assert_eq!(session.payload(), [7]);
                run.reached("second");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, RemovalCause::Taken)]);
    });
}

/// Three takes of one id: one gets the session.
///
/// Threads: take; take; take. Protects: as with two.
#[test]
fn three_takes() {
    three("three_takes", &["first", "second", "third"], |run| {
        let rig = occupied();
        let take = |rig: &Rig| rig.take(1).is_some();
        let (a, b, c) = run.race3(&rig, take, take, take);
        run.reached(match (a, b, c) {
            (true, false, false) => "first",
            (false, true, false) => "second",
            (false, false, true) => "third",
            other => panic!("{other:?}"),
        });
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, RemovalCause::Taken)]);
    });
}

/// A take and a removal of one id: one of them ends the session, and the event has its cause.
///
/// Threads: take; remove. Protects: `AtomicState::end` (the cause goes with the compare-and-swap).
#[test]
fn take_against_remove() {
    two("take_against_remove", &["taken", "removed"], |run| {
        let rig = occupied();
        let (taken, removed) = run.race(&rig, |rig| rig.take(1).is_some(), |rig| rig.remove(1));
        let cause = match (taken, removed) {
            (true, false) => RemovalCause::Taken,
            (false, true) => RemovalCause::Removed,
            other => panic!("{other:?}"),
        };
        run.reached(cause.as_str());
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, cause)]);
    });
}

/// A take by id and a take by the handle: one wins. This is a client that offers one ticket twice, over two stacks.
///
/// Threads: take; get and take of that very session. Protects: `Engine::end_exact` against `Engine::take`.
#[test]
fn take_against_take_exact() {
    two(
        "take_against_take_exact",
        &["by id", "by handle", "not found"],
        |run| {
            let rig = occupied();
            let (by_id, by_handle) = run.race(
                &rig,
                |rig| rig.take(1).is_some(),
                |rig| rig.get(1).map(|session| rig.take_exact(&session)),
            );
            run.reached(match (by_id, by_handle) {
                (true, Some(false)) => "by id",
                (true, None) => "not found",
                (false, Some(true)) => "by handle",
                other => panic!("{other:?}"),
            });
            assert_eq!(rig.entries(), 0);
            assert_eq!(close(rig), [(1, 7, RemovalCause::Taken)]);
        },
    );
}

/// A removal meets the wheel: the callback is called once, with the cause of who came first.
///
/// Threads: remove, deliver; a turn of the wheel at the deadline, deliver. The removal sees the old time or the new one:
/// to it, a session past its deadline is not there. Protects: `AtomicState::end` and its condition, `Engine::look`, the
/// delivery of each event once.
#[test]
fn remove_against_expire() {
    two("remove_against_expire", &["removed", "expired"], |run| {
        let rig = Rig::new(Setup::default());
        let session = rig.session(1, 7);
        assert_eq!(
            rig.add_for(session, Duration::from_secs(1)),
            Added::Inserted
        );
        rig.clock.set(Time::from_millis(1000));
        let (removed, expired) = run.race(
            &rig,
            |rig| {
                let removed = rig.remove(1);
                rig.see_out();
                removed
            },
            |rig| {
                let expired = rig.expire();
                rig.see_out();
                expired
            },
        );
        let cause = match (removed, expired) {
            (true, 0) => RemovalCause::Removed,
            (false, 1) => RemovalCause::Expired,
            other => panic!("{other:?}"),
        };
        run.reached(cause.as_str());
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, cause)]);
    });
}

/// Two removals while a third thread takes stock: nobody meets a slot that is neither its session's nor empty, and the
/// permit comes back once.
///
/// Threads: remove; remove of the same id; add of another id. Protects: `Engine::unlink` (the permit goes to who
/// emptied the slot), `Budget::release`.
#[test]
fn two_removes_against_add_of_another() {
    three(
        "two_removes_against_add_of_another",
        &["first", "second"],
        |run| {
            let rig = occupied();
            let (a, b, added) = run.race3(
                &rig,
                |rig| rig.remove(1),
                |rig| rig.remove(1),
                |rig| rig.add(rig.session(2, 8)),
            );
            run.reached(match (a, b) {
                (true, false) => "first",
                (false, true) => "second",
                other => panic!("{other:?}"),
            });
            assert_eq!(added, Added::Inserted);
            assert_eq!((rig.entries(), rig.with(2)), (1, Some(8)));
            assert_eq!(close(rig).len(), 2);
        },
    );
}

/// Two removals of one id: one of them says that it was there, and the callback is called once.
///
/// Threads: remove, see out; remove of the same id, see out. Protects: `AtomicState::end` (one winner), `Engine::take` (the
/// loser's reference is given back), `Engine::unlink` (one permit), the delivery of each event once.
#[test]
fn remove_against_remove() {
    two("remove_against_remove", &["first", "second"], |run| {
        let rig = occupied();
        let remove = |rig: &Rig| {
            let removed = rig.remove(1);
            assert_eq!(rig.with(1), None, "gone for who has tried, too");
            rig.see_out();
            removed
        };
        let (a, b) = run.race(&rig, remove, remove);
        run.reached(match (a, b) {
            (true, false) => "first",
            (false, true) => "second",
            other => panic!("{other:?}"),
        });
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
    });
}

/// A handshake looks, and then uses up what it found, while another takes the id and a third adds a new session of it: each
/// of the two sessions is used at most once.
///
/// Threads: get and take of that very session; take by id; add of the same id. Protects: `Engine::take_exact` (it ends the
/// session that was verified, and no other of its id), `Engine::take`, `Add::replace`.
#[test]
fn take_exact_against_take_and_replace() {
    three(
        "take_exact_against_take_and_replace",
        &["both", "by handle", "by id"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 3,
                ..Setup::default()
            });
            assert_eq!(rig.add(rig.session(1, 10)), Added::Inserted);
            let (by_handle, by_id, added) = run.race3(
                &rig,
                |rig| {
                    let found = rig.get(1)?;
                    rig.take_exact(&found).then(|| found.payload()[0])
                },
                |rig| rig.take(1).map(|session| session.payload()[0]),
                |rig| rig.add(rig.session(1, 11)),
            );
            let taken: Vec<_> = by_handle.iter().chain(&by_id).copied().collect();
            run.reached(match (by_handle, by_id) {
                (Some(a), Some(b)) => {
                    assert_ne!(a, b, "one session was used twice");
                    "both"
                }
                (Some(_), None) => "by handle",
                (None, Some(_)) => "by id",
                (None, None) => panic!("nobody got what was there all the time"),
            });
            assert!(added.is_cached(), "{added:?}");
            let left = rig.with(1);
            assert_eq!(rig.entries(), u64::from(left.is_some()));
            assert!(left.is_none_or(|payload| !taken.contains(&payload)));
            let events = close(rig);
            let told = events.iter().filter(|e| e.2 == RemovalCause::Taken);
            assert_eq!(told.count(), taken.len());
            for payload in taken {
                assert!(events.contains(&(1, payload, RemovalCause::Taken)));
            }
        },
    );
}

/// Two threads each remove one of two sessions and then look for the other's: one of them finds it gone. So operations on
/// different ids have one order, true to time, and not only those on each.
///
/// Threads: remove of one id, lookup of the other; the same the other way round. Protects: the fence at the end of
/// `Engine::finish`.
#[test]
fn two_removals_and_looks_at_the_other() {
    two(
        "two_removals_and_looks_at_the_other",
        &["both gone", "one found"],
        |run| {
            let rig = Rig::new(Setup::default());
            for n in [1, 2] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            let remove_and_look = |rig: &Rig, mine: u8, other: u8| {
                assert!(rig.remove(mine));
                rig.with(other).is_some()
            };
            let (a, b) = run.race(
                &rig,
                move |rig| remove_and_look(rig, 1, 2),
                move |rig| remove_and_look(rig, 2, 1),
            );
            run.reached(match (a, b) {
                (true, true) => panic!("each was found after it had been removed"),
                (false, false) => "both gone",
                _ => "one found",
            });
            rig.see_out();
            let mut events = close(rig);
            events.sort_by_key(|event| event.0);
            let cause = RemovalCause::Removed;
            assert_eq!(events, [(1, 1, cause), (2, 2, cause)]);
        },
    );
}
