//! Callbacks that are replaced while they fire. The cell that holds them is a stand-in here: arc-swap itself is trusted.
#![cfg(any(refrain_loom, refrain_shuttle))]

use loom_tests::{close, three, two, two_long};
use refrain::Added;
use refrain::internal::{Rig, Setup, live_sessions};

const OLD: u8 = 1;
const NEW: u8 = 2;

/// The remove callback is replaced while it fires: each event is heard once, by the one or by the other, and what
/// happens after the replacement by the newcomer only.
///
/// Threads: take session 1, see out; replace the callback, take session 2, see out. Protects: `RemoveSink::removed`
/// (the callback is loaded for each event, not for a batch) and `SharedCell::replace`.
#[test]
fn remove_callback_replaced_while_it_fires() {
    two_long(
        "remove_callback_replaced_while_it_fires",
        &["old, new", "new, new"],
        |run| {
            let rig = Rig::new(Setup::default());
            rig.set_on_remove(OLD);
            for n in [1, 2] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            run.race(
                &rig,
                |rig| {
                    assert!(rig.take(1).is_some());
                    rig.see_out_to_callback();
                },
                |rig| {
                    rig.set_on_remove(NEW);
                    assert!(rig.take(2).is_some());
                    rig.see_out_to_callback();
                },
            );
            rig.see_out_to_callback();
            let mut heard = rig.heard();
            heard.sort_by_key(|(_, session)| *session);
            run.reached(match heard[..] {
                [(OLD, 1), (NEW, 2)] => "old, new",
                [(NEW, 1), (NEW, 2)] => "new, new",
                _ => panic!("{heard:?}"),
            });
            assert_eq!(close(rig).len(), 2);
        },
    );
}

/// The new callback is replaced while handshakes fire it: each session is heard of once.
///
/// Threads: two sessions are announced; the callback is replaced. Protects: `Callbacks::ask_new`, `SharedCell::replace`.
#[test]
fn new_callback_replaced_while_it_fires() {
    two(
        "new_callback_replaced_while_it_fires",
        &["old, old", "old, new", "new, new"],
        |run| {
            let rig = Rig::new(Setup::default());
            rig.set_on_new(OLD);
            run.race(
                &rig,
                |rig| {
                    for n in [1, 2] {
                        assert_eq!(rig.ask_new(&rig.session(n, n)), Some(true));
                    }
                },
                |rig| rig.set_on_new(NEW),
            );
            run.reached(match rig.heard()[..] {
                [(OLD, 1), (OLD, 2)] => "old, old",
                [(OLD, 1), (NEW, 2)] => "old, new",
                [(NEW, 1), (NEW, 2)] => "new, new",
                ref other => panic!("{other:?}"),
            });
            assert_eq!(close(rig), []);
        },
    );
}

/// Two replacements at once while the callback fires: the event is heard once, by any of the three.
///
/// Threads: take, see out; replace; replace. Protects: `SharedCell::replace`.
#[test]
fn remove_callback_replaced_twice_while_it_fires() {
    three(
        "remove_callback_replaced_twice_while_it_fires",
        &["the first", "the second", "the third"],
        |run| {
            let rig = Rig::new(Setup::default());
            rig.set_on_remove(OLD);
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            run.race3(
                &rig,
                |rig| {
                    assert!(rig.take(1).is_some());
                    rig.see_out_to_callback();
                },
                |rig| rig.set_on_remove(NEW),
                |rig| rig.set_on_remove(NEW + 1),
            );
            let heard = rig.heard();
            let [(mark, 1)] = heard[..] else {
                panic!("{heard:?}");
            };
            run.reached(["the first", "the second", "the third"][usize::from(mark - OLD)]);
            assert_eq!(close(rig).len(), 1);
        },
    );
}

/// The remove callback is taken away while it fires: what had left before is heard or not, what leaves afterwards is not,
/// and both are freed.
///
/// Threads: take session 1, see out; take the callback away, take session 2, see out. Protects: `RemoveSink::is_listening`
/// (a batch that nobody will hear of is not waited for), `RemoveSink::removed`, `SharedCell::replace`.
#[test]
fn remove_callback_taken_away_while_it_fires() {
    two_long(
        "remove_callback_taken_away_while_it_fires",
        &["heard", "not heard"],
        |run| {
            let rig = Rig::new(Setup::default());
            rig.set_on_remove(OLD);
            for n in [1, 2] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            run.race(
                &rig,
                |rig| {
                    assert!(rig.take(1).is_some());
                    rig.see_out_to_callback();
                },
                |rig| {
                    rig.clear_on_remove();
                    assert!(rig.take(2).is_some());
                    rig.see_out_to_callback();
                },
            );
            rig.see_out_to_callback();
            run.reached(match rig.heard()[..] {
                [(OLD, 1)] => "heard",
                [] => "not heard",
                ref other => panic!("{other:?}"),
            });
            assert_eq!(
                live_sessions(),
                0,
                "one waits for a callback that never comes"
            );
            close(rig);
        },
    );
}
