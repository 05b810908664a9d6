//! The coarse clock: any thread may bring it up to date, and for nobody does time go back.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::time::Duration;

use loom_tests::{close, three};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Time};

fn at(seconds: u64) -> Time {
    Time::from_millis(seconds * 1000)
}

/// Two threads bring the clock up to date, one of them after it was set back, while a third looks.
///
/// Threads: set the clock to two, refresh; set it to one, refresh; look at the time twice. The coarse time is one that the
/// clock has shown, it never falls, and who has refreshed sees no earlier one afterwards. Protects: `Clock::refresh` (one
/// read-modify-write that only moves forward).
#[test]
fn two_refreshers_and_a_reader() {
    three(
        "two_refreshers_and_a_reader",
        &["still", "moved", "ends at one", "ends at two"],
        |run| {
            let rig = Rig::new(Setup::default());
            let refresh = |seconds: u64| {
                move |rig: &Rig| {
                    rig.clock.set(at(seconds));
                    let told = rig.refresh();
                    assert!(rig.now() >= told, "time went back behind a refresh");
                    told
                }
            };
            let (a, b, (first, second)) =
                run.race3(&rig, refresh(2), refresh(1), |rig| (rig.now(), rig.now()));
            assert!(second >= first, "{first:?}, then {second:?}");
            run.reached(if first == second { "still" } else { "moved" });
            let end = rig.now();
            assert_eq!(end, a.max(b), "a refresh was lost");
            run.reached(if end == at(1) {
                "ends at one"
            } else {
                assert_eq!(end, at(2));
                "ends at two"
            });
            assert_eq!(close(rig), []);
        },
    );
}

/// A session is past its deadline by the one thread's clock, and another thread's refresh, of a clock set back, must not
/// bring it to life again.
///
/// Threads: set the clock to the deadline, refresh; set it back, refresh; look the session up, twice. Protects: as above,
/// and `Engine::find_live` (by the coarse time alone).
#[test]
fn what_has_expired_stays_so() {
    three(
        "what_has_expired_stays_so",
        &["hit, hit", "hit, miss", "miss, miss"],
        |run| {
            let rig = Rig::new(Setup::default());
            let session = rig.session(1, 7);
            let timeout = Duration::from_secs(2);
            assert_eq!(rig.add_for(session, timeout), Added::Inserted);
            let (_, _, seen) = run.race3(
                &rig,
                |rig| {
                    rig.clock.set(at(2));
                    rig.refresh()
                },
                |rig| {
                    rig.clock.set(at(1));
                    rig.refresh()
                },
                |rig| (rig.with(1).is_some(), rig.with(1).is_some()),
            );
            run.reached(match seen {
                (true, true) => "hit, hit",
                (true, false) => "hit, miss",
                (false, false) => "miss, miss",
                (false, true) => panic!("back from the dead"),
            });
            rig.clock.set(at(2));
            assert_eq!(rig.expire(), 1);
            assert_eq!(close(rig), [(1, 7, RemovalCause::Expired)]);
        },
    );
}
