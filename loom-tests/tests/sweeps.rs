//! Looks at all sessions, by hand and by the maintainer: what is not due stays, what is due goes once.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;
use std::time::Duration;

use loom_tests::{close, two, two_long};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Time};

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(3600);

fn due() -> Time {
    Time::from_millis(1000)
}

/// Session 1 with the payload 10 stands in the cache and has a second to live. There is room for two more.
fn occupied() -> Arc<Rig> {
    let rig = Rig::new(Setup {
        capacity: 3,
        buckets: 3,
        ..Setup::default()
    });
    assert_eq!(rig.add_for(rig.session(1, 10), SHORT), Added::Inserted);
    rig
}

/// A flush goes through the cache while sessions are put in: it removes what is due by its time and was there before, of
/// the newcomers the one that is due or not, and never the one that is not.
///
/// Threads: flush by a time that the clock has not reached; add of a session that is due then, add of one that is not.
/// Protects: `Engine::sweep`, `Engine::look` (judges the session that it ends), `Engine::end_in_bucket`.
#[test]
fn flush_against_add() {
    two("flush_against_add", &["one", "both"], |run| {
        let rig = occupied();
        let (flushed, ()) = run.race(
            &rig,
            |rig| rig.flush(due()),
            |rig| {
                assert_eq!(rig.add_for(rig.session(2, 20), SHORT), Added::Inserted);
                assert_eq!(rig.add_for(rig.session(3, 30), LONG), Added::Inserted);
            },
        );
        assert_eq!((rig.with(1), rig.with(3)), (None, Some(30)));
        let both = rig.with(2).is_none();
        run.reached(if both { "both" } else { "one" });
        assert_eq!(flushed, if both { 2 } else { 1 });
        assert_eq!(rig.entries(), if both { 1 } else { 2 });
        // The rest goes by the wheel, at its time, and not for a second time.
        rig.clock.set(due());
        assert_eq!(flushed + rig.expire(), 2);
        rig.see_out();
        let mut events = close(rig);
        events.sort_by_key(|event| event.0);
        let expired = RemovalCause::Expired;
        let dropped = RemovalCause::Dropped;
        assert_eq!(
            events,
            [(1, 10, expired), (2, 20, expired), (3, 30, dropped)]
        );
    });
}

/// A flush finds a session due while another of its id replaces it: the newcomer stays.
///
/// Threads: flush by the old one's deadline; add of the same id with a long timeout. Protects: `Engine::end_in_bucket`
/// (ends the session that it saw), and the order in `Add::replace`.
#[test]
fn flush_against_replace() {
    two("flush_against_replace", &["flushed", "replaced"], |run| {
        let rig = occupied();
        let (flushed, added) = run.race(
            &rig,
            |rig| rig.flush(due()),
            |rig| rig.add_for(rig.session(1, 11), LONG),
        );
        let mut events = vec![(1, 11, RemovalCause::Dropped)];
        match (flushed, added) {
            (1, Added::Inserted) => {
                run.reached("flushed");
                events.insert(0, (1, 10, RemovalCause::Expired));
            }
            (0, Added::Replaced) => run.reached("replaced"),
            other => panic!("{other:?}"),
        }
        assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
        assert_eq!(close(rig), events);
    });
}

/// The wheel comes round to a session whose slot has another session by now: a mark that is out of date harms nobody.
///
/// Threads: a turn of the wheel at the deadline; take, then add of another session with a long timeout, which gets the
/// same slot. Protects: `Engine::end_in_bucket` (ends and unlinks the session that was found, by its own word), `Table::empty`
/// (a compare-and-swap), and that the wheel's marks are about buckets.
#[test]
fn slot_filled_again_against_expire() {
    two(
        "slot_filled_again_against_expire",
        &["taken", "expired"],
        |run| {
            let rig = occupied();
            rig.clock.set(due());
            let (expired, taken) = run.race(
                &rig,
                |rig| rig.expire(),
                |rig| {
                    let taken = rig.take(1).is_some();
                    assert_eq!(rig.add_for(rig.session(2, 20), LONG), Added::Inserted);
                    taken
                },
            );
            let cause = match (taken, expired) {
                (true, 0) => RemovalCause::Taken,
                (false, 1) => RemovalCause::Expired,
                other => panic!("{other:?}"),
            };
            run.reached(cause.as_str());
            assert_eq!((rig.with(2), rig.entries()), (Some(20), 1));
            assert_eq!(close(rig), [(1, 10, cause), (2, 20, RemovalCause::Dropped)]);
        },
    );
}

/// The maintainer's run meets a flush by hand: what is due goes once, and both see it out.
///
/// Threads: a run of the maintainer, deliver; flush, then a run by hand, deliver. Protects: `Engine::maintain` against
/// itself and against `Engine::sweep`: the shard's lock, the limbo's lock, the one deliverer.
#[test]
fn maintain_against_flush() {
    two_long(
        "maintain_against_flush",
        &["by the wheel", "by hand"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add_for(rig.session(1, 10), SHORT), Added::Inserted);
            rig.clock.set(due());
            let run_once = |rig: &Rig| {
                let done = rig.maintain();
                rig.deliver();
                done.expired
            };
            let (expired, (flushed, again)) =
                run.race(&rig, run_once, move |rig| (rig.flush(due()), run_once(rig)));
            run.reached(match (expired, flushed, again) {
                (1, 0, 0) => "by the wheel",
                (0, 1, 0) => "by hand",
                other => panic!("{other:?}"),
            });
            assert_eq!((rig.with(1), rig.entries()), (None, 0));
            assert_eq!(close(rig), [(1, 10, RemovalCause::Expired)]);
        },
    );
}
