//! Deadlines and the wheel: nothing expires early, nothing is lost, nothing expires twice.
//!
//! A tick is a second. Time only moves where a model moves it.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;
use std::time::Duration;

use loom_tests::{Run, close, three, two};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Session, Time};

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// Session 1 with the payload 7 stands in the cache and has a second to live.
fn occupied() -> (Arc<Rig>, Session) {
    let rig = Rig::new(Setup::default());
    let session = rig.session(1, 7);
    let handle = session.clone();
    assert_eq!(
        rig.add_for(session, Duration::from_secs(1)),
        Added::Inserted
    );
    (rig, handle)
}

/// A take meets the wheel at the session's deadline: it gets the session or the session expires, with one event.
///
/// Threads: take; a turn of the wheel. The take sees the old time or the new one. Protects: `AtomicState::end` (its
/// condition holds for the very state that it replaces), `Engine::look`.
#[test]
fn take_against_expire() {
    two("take_against_expire", &["taken", "expired"], |run| {
        let (rig, handle) = occupied();
        drop(handle);
        rig.clock.set(at(1));
        let (taken, expired) = run.race(&rig, |rig| rig.take(1).is_some(), |rig| rig.expire());
        let cause = match (taken, expired) {
            (true, 0) => RemovalCause::Taken,
            (false, 1) => RemovalCause::Expired,
            other => panic!("{other:?}"),
        };
        run.reached(cause.as_str());
        assert_eq!((rig.entries(), rig.with(1)), (0, None));
        assert_eq!(close(rig), [(1, 7, cause)]);
    });
}

/// A session's deadline is moved while the wheel comes round to it: it expires now and the touch is refused, or the
/// touch holds and it expires at its new deadline.
///
/// Threads: touch; a turn of the wheel at the old deadline. Protects: `AtomicState::postpone`, the condition of
/// `AtomicState::end` in `Engine::end_in_bucket`, and that the look arms the wheel again (`Engine::expire_shard`).
#[test]
fn touch_against_expire() {
    two("touch_against_expire", &["touched", "expired"], |run| {
        let (rig, handle) = occupied();
        rig.clock.set(at(1));
        let (touched, expired) = run.race(
            &rig,
            move |rig| rig.touch(&handle, at(2)),
            |rig| rig.expire(),
        );
        if touched {
            run.reached("touched");
            assert_eq!((expired, rig.with(1)), (0, Some(7)));
            rig.clock.set(at(2));
            assert_eq!(rig.expire(), 1);
        } else {
            run.reached("expired");
            assert_eq!(expired, 1);
        }
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
    });
}

/// The wheel and a flush by hand find one session: the callback is called once.
///
/// Threads: a turn of the wheel at the deadline, deliver; a flush at the same time, deliver. Protects:
/// `AtomicState::end`, `Engine::unlink` (one permit), the delivery of each event once.
#[test]
fn turn_against_flush() {
    two("turn_against_flush", &["turned", "flushed"], |run| {
        let (rig, handle) = occupied();
        drop(handle);
        rig.clock.set(at(1));
        let (turned, flushed) = run.race(
            &rig,
            |rig| {
                let turned = rig.expire();
                rig.see_out();
                turned
            },
            |rig| {
                let flushed = rig.flush(at(1));
                rig.see_out();
                flushed
            },
        );
        run.reached(match (turned, flushed) {
            (1, 0) => "turned",
            (0, 1) => "flushed",
            other => panic!("{other:?}"),
        });
        assert_eq!(rig.entries(), 0);
        assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
    });
}

/// Adds a session with a second to live while the wheel turns at `seconds`, and one later if it was not found.
fn schedule_against_a_turn_at(run: &Run, seconds: u64) {
    let rig = Rig::new(Setup::default());
    let session = rig.session(1, 7);
    let handle = session.clone();
    rig.clock.set(at(seconds));
    let (added, expired) = run.race(
        &rig,
        // The coarse time may still be zero then, or have come up already.
        |rig| rig.add_at(session, Duration::from_secs(1)),
        |rig| rig.expire(),
    );
    assert_eq!(added, Added::Inserted);
    if expired == 1 {
        assert_eq!(handle.deadline(), at(1));
        run.reached("found at once");
    } else {
        rig.clock.set(at(seconds + 1));
        assert_eq!(rig.expire(), 1);
        run.reached("found a tick later");
    }
    drop(handle);
    assert_eq!(rig.entries(), 0);
    assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
}

/// A session is put in while the wheel comes round to its deadline: that turn finds it, or the next one does.
///
/// Threads: add with a second to live; a turn of the wheel at one second. Protects: `Wheel::schedule` (looks at the
/// cursor again behind its mark), `Wheel::move_cursor`, `Bitmaps::drain`, the fences between publishing and marking and
/// between draining and looking.
#[test]
fn schedule_against_turn() {
    two(
        "schedule_against_turn",
        &["found at once", "found a tick later"],
        |run| schedule_against_a_turn_at(run, 1),
    );
}

/// A session is put in while the wheel makes a leap over many ticks, after which it looks at every bucket instead of
/// turning: that look finds it, or the next tick does.
///
/// Threads: add with a second to live; a turn of the wheel at five seconds. Protects: the fence of `Wheel::move_cursor`,
/// the only one between the leap and the look, and `Wheel::schedule`, which must see the leap.
#[test]
fn schedule_against_a_leap() {
    two(
        "schedule_against_a_leap",
        &["found at once", "found a tick later"],
        |run| schedule_against_a_turn_at(run, 5),
    );
}

/// The same for a deadline that lies further off than the finest ring reaches.
///
/// Threads: add with two seconds to live; a turn of the wheel at one second. Then the wheel is turned tick by tick: the
/// session expires at the tick of its deadline, not before and not after. Protects: `Wheel::place` and `Wheel::turn`
/// (coarse rings first), and that a look arms a finer ring.
#[test]
fn schedule_against_turn_on_the_coarse_ring() {
    two(
        "schedule_against_turn_on_the_coarse_ring",
        &["due at two", "due at three"],
        |run| {
            let rig = Rig::new(Setup::default());
            let session = rig.session(1, 7);
            let handle = session.clone();
            rig.clock.set(at(1));
            let (added, expired) = run.race(
                &rig,
                |rig| rig.add_at(session, Duration::from_secs(2)),
                |rig| rig.expire(),
            );
            assert_eq!((added, expired), (Added::Inserted, 0));
            let due = handle.deadline();
            drop(handle);
            run.reached(if due == at(2) {
                "due at two"
            } else {
                "due at three"
            });
            for second in [2, 3] {
                rig.clock.set(at(second));
                assert_eq!(rig.expire(), usize::from(due == at(second)));
            }
            assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
        },
    );
}

/// A session is put in next to another that expires: the bit that it needs is set already, or being taken away.
///
/// Threads: add with a second to live, to the bucket of a session with the same deadline; a turn of the wheel at that
/// deadline. Both are gone a tick later. Protects: `Bitmaps::mark` (a bit found set is one that is still to be
/// drained), `Bitmaps::drain`, and the fences of `look_back` and `Wheel::turn`.
#[test]
fn schedule_next_to_one_that_expires() {
    two(
        "schedule_next_to_one_that_expires",
        &["both at once", "one a tick later"],
        |run| {
            let (rig, handle) = occupied();
            drop(handle);
            rig.clock.set(at(1));
            let (added, expired) = run.race(
                &rig,
                |rig| rig.add_at(rig.session(2, 8), Duration::from_secs(1)),
                |rig| rig.expire(),
            );
            assert_eq!(added, Added::Inserted);
            run.reached(match expired {
                2 => "both at once",
                1 => "one a tick later",
                other => panic!("{other} expired"),
            });
            rig.clock.set(at(2));
            assert_eq!(expired + rig.expire(), 2);
            assert_eq!((rig.entries(), close(rig).len()), (0, 2));
        },
    );
}

/// An add that needs room meets the wheel: both want to end the session whose deadline has passed, and one does.
///
/// Threads: add to a full cache; a turn of the wheel. Protects: `Engine::evict` (what has expired leaves as expired),
/// `Engine::help` (never waits for who turns the wheel), `Engine::reserve`.
#[test]
fn add_to_a_full_cache_against_expire() {
    two(
        "add_to_a_full_cache_against_expire",
        &["by the add", "by the wheel"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 1,
                ..Setup::default()
            });
            let old = rig.session(1, 7);
            assert_eq!(rig.add_for(old, Duration::from_secs(1)), Added::Inserted);
            rig.clock.set(at(1));
            let (added, expired) = run.race(
                &rig,
                |rig| {
                    let added = rig.add(rig.session(2, 8));
                    assert!(rig.entries() <= 1);
                    added
                },
                |rig| {
                    let expired = rig.expire();
                    assert!(rig.entries() <= 1);
                    expired
                },
            );
            run.reached(if expired == 0 {
                "by the add"
            } else {
                "by the wheel"
            });
            assert_eq!(rig.with(2), added.is_cached().then_some(8));
            assert_eq!(rig.with(1), None);
            assert_eq!(rig.entries(), u64::from(added.is_cached()));
            let events = close(rig);
            assert_eq!(events[0], (1, 7, RemovalCause::Expired));
            assert_eq!(events.len(), 1 + usize::from(added.is_cached()));
        },
    );
}

/// Three ways to end one session: the callback is called once.
///
/// Threads: add to a full cache, which evicts it; remove; a turn of the wheel at its deadline. Protects:
/// `AtomicState::end`, `Engine::unlink` (the permit goes to one), `AtomicState::unlink` (one push).
#[test]
fn evict_against_remove_against_expire() {
    three(
        "evict_against_remove_against_expire",
        &["evicted", "removed", "expired"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 1,
                ..Setup::default()
            });
            let old = rig.session(1, 7);
            assert_eq!(rig.add_for(old, Duration::from_secs(1)), Added::Inserted);
            rig.clock.set(at(1));
            let (_, removed, _) = run.race3(
                &rig,
                // By the coarse time as it is, so that the add may find the session alive still.
                |rig| rig.add_at(rig.session(2, 8), Duration::from_secs(3600)),
                |rig| rig.remove(1),
                |rig| rig.expire(),
            );
            assert_eq!(rig.with(1), None);
            assert!(rig.entries() <= 1);
            let events = close(rig);
            let causes: Vec<_> = events.iter().filter(|e| e.0 == 1).map(|e| e.2).collect();
            assert_eq!(causes.len(), 1, "{causes:?}");
            run.reached(causes[0].as_str());
            assert_eq!(removed, causes[0] == RemovalCause::Removed);
        },
    );
}

/// Two threads turn the wheel: what is due expires once, and neither turns past it.
///
/// Threads: a turn of the wheel; another. Protects: the lock of `Progress`.
#[test]
fn turn_against_turn() {
    two("turn_against_turn", &["first", "second"], |run| {
        let (rig, handle) = occupied();
        drop(handle);
        rig.clock.set(at(1));
        let turn = |rig: &Rig| {
            let expired = rig.expire();
            assert_eq!(rig.with(1), None);
            expired
        };
        let (a, b) = run.race(&rig, turn, turn);
        run.reached(match (a, b) {
            (1, 0) => "first",
            (0, 1) => "second",
            other => panic!("{other:?}"),
        });
        assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
    });
}
