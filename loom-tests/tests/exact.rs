//! Ending a session by its handle, while it is on its way in, or another is on its way to its place.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;

use loom_tests::{close, three, two};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause, Session};

fn roomy() -> Arc<Rig> {
    Rig::new(Setup {
        capacity: 3,
        ..Setup::default()
    })
}

/// Session 1 with the payload 10 stands in the cache.
fn occupied() -> (Arc<Rig>, Session) {
    let rig = roomy();
    let session = rig.session(1, 10);
    assert_eq!(rig.add(session.clone()), Added::Inserted);
    (rig, session)
}

/// Who has found the newcomer can't take its predecessor any more: it came before.
///
/// Threads: with, take of the old session by its handle; add of the same id. Protects: `Engine::standing` (what is live and
/// not in its slot can't be taken), `Add::replace` (the slot first, then the life).
#[test]
fn take_exact_after_the_newcomer_was_found() {
    two(
        "take_exact_after_the_newcomer_was_found",
        &["old, taken", "old, replaced", "new, replaced"],
        |run| {
            let (rig, old) = occupied();
            let ((seen, taken), added) = run.race(
                &rig,
                move |rig| (rig.with(1), rig.take_exact(&old)),
                |rig| rig.add(rig.session(1, 11)),
            );
            run.reached(match (seen, taken, added) {
                (Some(10), true, Added::Inserted) => "old, taken",
                (Some(10), false, Added::Replaced) => "old, replaced",
                (Some(11), false, Added::Replaced) => "new, replaced",
                other => panic!("{other:?}"),
            });
            assert_eq!(rig.with(1), Some(11));
            let events = close(rig);
            let taken_first = taken.then_some((1, 10, RemovalCause::Taken));
            let dropped = Some((1, 11, RemovalCause::Dropped));
            assert!(
                events
                    .into_iter()
                    .eq(taken_first.into_iter().chain(dropped))
            );
        },
    );
}

/// The same for a removal, which an application may follow by deleting the id elsewhere.
///
/// Threads: with, remove of the old session by its handle; add of the same id. Protects: `AtomicState::note_stood` (what is
/// not in its slot any more is told from what is not there yet).
#[test]
fn remove_exact_after_the_newcomer_was_found() {
    two(
        "remove_exact_after_the_newcomer_was_found",
        &["old, removed", "old, replaced", "new, replaced"],
        |run| {
            let (rig, old) = occupied();
            let ((seen, removed), added) = run.race(
                &rig,
                move |rig| (rig.with(1), rig.remove_exact(&old)),
                |rig| rig.add(rig.session(1, 11)),
            );
            run.reached(match (seen, removed, added) {
                (Some(10), true, Added::Inserted) => "old, removed",
                (Some(10), false, Added::Replaced) => "old, replaced",
                (Some(11), false, Added::Replaced) => "new, replaced",
                other => panic!("{other:?}"),
            });
            assert_eq!((rig.with(1), rig.entries()), (Some(11), 1));
            close(rig);
        },
    );
}

/// A session that is just being added can be taken by its handle once it is there, and not before.
///
/// Threads: take by handle, with; add of the session. Protects: `Engine::standing` (only what is published stands in a slot).
#[test]
fn take_exact_against_its_own_add() {
    two(
        "take_exact_against_its_own_add",
        &["taken", "too early", "found later"],
        |run| {
            let rig = roomy();
            let session = rig.session(1, 10);
            let handle = session.clone();
            let ((before, taken, seen), added) = run.race(
                &rig,
                move |rig| (rig.with(1), rig.take_exact(&handle), rig.with(1)),
                move |rig| rig.add(session),
            );
            assert_eq!(added, Added::Inserted, "whatever happened to it then");
            if taken {
                run.reached("taken");
                assert_eq!(seen, None);
            } else {
                run.reached("too early");
                assert_eq!(before, None);
                if seen.is_some() {
                    run.reached("found later");
                }
            }
            let left = if taken { (None, 0) } else { (Some(10), 1) };
            assert_eq!((rig.with(1), rig.entries()), left);
            assert_eq!(close(rig).len(), 1);
        },
    );
}

/// A session loses its claim to another add of its id, while it is taken by its handle: it never was there.
///
/// Threads: add of the session, with a rival's claim in front; take by handle. Protects: `Engine::standing` (a claim is not
/// a session that stands there).
#[test]
fn take_exact_of_a_session_that_lost() {
    three(
        "take_exact_of_a_session_that_lost",
        &["lost", "taken", "too early"],
        |run| {
            let rig = roomy();
            let session = rig.session(1, 10);
            let handle = session.clone();
            let (added, rival, taken) = run.race3(
                &rig,
                move |rig| rig.add(session),
                |rig| rig.add(rig.session(1, 11)),
                move |rig| rig.take_exact(&handle),
            );
            match added {
                Added::Inserted | Added::Replaced if taken => run.reached("taken"),
                Added::Inserted | Added::Replaced => run.reached("too early"),
                Added::NotCached(_) => {
                    assert!(!taken && rival.is_cached());
                    run.reached("lost");
                }
                other => panic!("{other:?}: only what was there can have been removed"),
            }
            close(rig);
        },
    );
}

/// Who has found the newcomer and adds its predecessor again hears that this one is gone.
///
/// Threads: with, add of the old session; add of the same id. Protects: `Engine::added_before`.
#[test]
fn add_again_after_the_newcomer_was_found() {
    two(
        "add_again_after_the_newcomer_was_found",
        &["old, present", "old, gone", "new, gone"],
        |run| {
            let (rig, old) = occupied();
            let ((seen, again), added) = run.race(
                &rig,
                move |rig| (rig.with(1), rig.add(old)),
                |rig| rig.add(rig.session(1, 11)),
            );
            assert_eq!(added, Added::Replaced);
            run.reached(match (seen, again) {
                (Some(10), Added::AlreadyPresent) => "old, present",
                (Some(10), Added::Removed) => "old, gone",
                (Some(11), Added::Removed) => "new, gone",
                other => panic!("{other:?}"),
            });
            assert_eq!(close(rig), [(1, 11, RemovalCause::Dropped)]);
        },
    );
}
