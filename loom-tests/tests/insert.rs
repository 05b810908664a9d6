//! Adds against each other, and against removals of what they add.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;

use loom_tests::{Run, close, three, two};
use refrain::internal::{Rig, Setup};
use refrain::{Added, NotCached, RemovalCause, SessionId};

const RACED: Added = Added::NotCached(NotCached::Raced);

/// The claims of other adds count as full slots, of which a bucket has two here.
const CROWDED: Added = Added::NotCached(NotCached::Crowded);

/// What must hold when adds of one id, which was not there before, have met: one of them inserted, the one that stands
/// there now says that it is cached, and no second one hides behind it.
fn check_meeting(rig: &Rig, id: u8, adds: &[(u8, Added)]) {
    let inserted = adds.iter().filter(|(_, a)| *a == Added::Inserted).count();
    let replaced = adds.iter().filter(|(_, a)| *a == Added::Replaced).count();
    assert_eq!(inserted, 1, "{adds:?}");
    assert_eq!(rig.stats().replaced, replaced as u64, "{adds:?}");
    for (_, added) in adds {
        assert!(
            [Added::Inserted, Added::Replaced, RACED, CROWDED].contains(added),
            "{adds:?}"
        );
    }
    let found = rig.with(id).expect("one of them is found");
    let (_, added) = adds.iter().find(|(payload, _)| *payload == found).unwrap();
    let last = if replaced == 0 {
        Added::Inserted
    } else {
        Added::Replaced
    };
    assert_eq!(*added, last, "{found} of {adds:?}");
    assert!(rig.remove(id));
    assert!(!rig.remove(id), "a second copy of one id");
}

fn outcome(adds: &[Added]) -> &'static str {
    if adds.contains(&RACED) {
        "raced"
    } else if adds.contains(&CROWDED) {
        "crowded"
    } else {
        "replaced"
    }
}

/// Two adds of one id leave one entry.
///
/// Threads: add; add. Both pick the first free slot, so the loser of the claim starts over. Protects: `Add::land`
/// (starting over finds the winner), `Table::claim`, `Add::replace`.
#[test]
fn two_inserters() {
    two("two_inserters", &["raced", "replaced"], |run| {
        let rig = Rig::new(Setup::default());
        let (a, b) = run.race(
            &rig,
            |rig| rig.add(rig.session(1, 10)),
            |rig| rig.add(rig.session(1, 11)),
        );
        run.reached(outcome(&[a, b]));
        assert_eq!(rig.entries(), 1);
        check_meeting(&rig, 1, &[(10, a), (11, b)]);
        assert_eq!(close(rig).len(), 1);
    });
}

/// Three adds of one id leave one entry.
///
/// Threads: add; add; add. Protects: as with two, and that three rounds are enough to answer.
#[test]
fn three_inserters() {
    three(
        "three_inserters",
        &["raced", "replaced", "crowded"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 3,
                ..Setup::default()
            });
            let (a, b, c) = run.race3(
                &rig,
                |rig| rig.add(rig.session(1, 10)),
                |rig| rig.add(rig.session(1, 11)),
                |rig| rig.add(rig.session(1, 12)),
            );
            run.reached(outcome(&[a, b, c]));
            assert_eq!(rig.entries(), 1);
            check_meeting(&rig, 1, &[(10, a), (11, b), (12, c)]);
            assert_eq!(close(rig).len(), 1);
        },
    );
}

/// Two adds of one id while a session in front of them leaves: they pick different slots, and still one entry is left.
///
/// Threads: add; add; remove of the session in the first slot. The one that claims the lower slot knocks the other's
/// claim out or makes it withdraw. Protects: the second look of `Add::claim` with the fence before it, `Table::rescan`
/// and its three verdicts, the compare-and-swap that publishes a claim, `give_up` of a claim that was knocked out.
#[test]
fn two_inserters_while_a_slot_in_front_empties() {
    three(
        "two_inserters_while_a_slot_in_front_empties",
        &["raced", "replaced", "crowded"],
        |run| inserters_while_a_slot_in_front_empties(run, alike),
    );
}

/// The same where every id has a fingerprint of its own, that none of the empty slots has: then an add that sees at a glance
/// that no other slot is alike looks no further.
///
/// Threads: as above. Protects: the first lines of `Table::rescan`.
#[test]
fn two_inserters_while_another_id_in_front_leaves() {
    three(
        "two_inserters_while_another_id_in_front_leaves",
        &["raced", "replaced", "crowded"],
        |run| inserters_while_a_slot_in_front_empties(run, unlike),
    );
}

fn inserters_while_a_slot_in_front_empties(run: &Run, hash: fn(&SessionId) -> u64) {
    let rig = Rig::new(Setup {
        capacity: 3,
        hash,
        ..Setup::default()
    });
    assert_eq!(rig.add(rig.session(9, 9)), Added::Inserted);
    let (a, b, removed) = run.race3(
        &rig,
        |rig| rig.add(rig.session(1, 10)),
        |rig| rig.add(rig.session(1, 11)),
        |rig| rig.remove(9),
    );
    assert!(removed);
    run.reached(outcome(&[a, b]));
    assert_eq!(rig.entries(), 1);
    check_meeting(&rig, 1, &[(10, a), (11, b)]);
    assert_eq!(close(rig).len(), 2);
}

/// A hash in which all ids are alike, and empty slots too.
fn alike(_: &SessionId) -> u64 {
    0
}

/// A hash by which all ids have one path, and each a fingerprint of its own.
fn unlike(id: &SessionId) -> u64 {
    u64::from(id.as_bytes()[0]) << 32
}

/// The same over two buckets: the claims lie on two hops of the path, and the overflow count that the higher one has
/// raised is lowered once, whoever empties its slot.
///
/// Threads: add; add; remove of a session in the full first bucket, then a lookup of a session that stands past it, which
/// must be found whatever the two do to the count. Protects: `Table::claim` (raises before it claims) and `Table::empty`
/// (counts under withdrawing, knocking out and unlinking), `Table::rescan` beyond the first bucket.
#[test]
fn two_inserters_past_a_full_bucket() {
    three(
        "two_inserters_past_a_full_bucket",
        &["raced", "replaced", "crowded"],
        |run| inserters_past_a_full_bucket(run, alike),
    );
}

/// The same where every id has a fingerprint of its own: an add in the first bucket sees by the overflow count alone that
/// it has to look further for another's claim.
///
/// Threads: as above. Protects: the first lines of `Table::rescan`.
#[test]
fn two_inserters_past_a_bucket_full_of_other_ids() {
    three(
        "two_inserters_past_a_bucket_full_of_other_ids",
        &["raced", "replaced", "crowded"],
        |run| inserters_past_a_full_bucket(run, unlike),
    );
}

fn inserters_past_a_full_bucket(run: &Run, hash: fn(&SessionId) -> u64) {
    let rig = full_bucket(hash);
    let (a, b, removed) = run.race3(
        &rig,
        |rig| rig.add(rig.session(1, 10)),
        |rig| rig.add(rig.session(1, 11)),
        |rig| {
            let removed = rig.remove(9);
            assert_eq!(rig.with(7), Some(7));
            removed
        },
    );
    assert!(removed);
    run.reached(outcome(&[a, b]));
    assert_eq!(rig.entries(), 3);
    check_meeting(&rig, 1, &[(10, a), (11, b)]);
    assert_eq!(close(rig).len(), 4);
}

/// An add past a full bucket while the bucket empties and while the session itself is removed: the overflow counts come
/// back to zero.
///
/// Threads: add; remove of that id; remove of a session in the full bucket. Protects: `Table::empty`, `Engine::unlink`.
#[test]
fn add_and_remove_past_a_full_bucket() {
    three(
        "add_and_remove_past_a_full_bucket",
        &["removed", "stayed"],
        |run| {
            let rig = full_bucket(alike);
            let (added, removed, other) = run.race3(
                &rig,
                |rig| rig.add(rig.session(1, 10)),
                |rig| rig.remove(1),
                |rig| rig.remove(9),
            );
            assert!(other);
            assert_eq!(added, Added::Inserted);
            run.reached(if removed { "removed" } else { "stayed" });
            assert_eq!(rig.with(1), (!removed).then_some(10));
            assert_eq!(rig.entries(), if removed { 2 } else { 3 });
            assert_eq!((rig.with(8), rig.with(7)), (Some(8), Some(7)));
            assert_eq!(close(rig).len(), 4);
        },
    );
}

/// Three buckets; sessions 9 and 8 fill the first, session 7 stands in the second.
fn full_bucket(hash: fn(&SessionId) -> u64) -> Arc<Rig> {
    let rig = Rig::new(Setup {
        capacity: 5,
        buckets: 3,
        hash,
        ..Setup::default()
    });
    for n in [9, 8, 7] {
        assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
    }
    rig
}

/// Two adds of two ids meet over the first free slot: both get in.
///
/// Threads: add; add of another id. Protects: the compare-and-swap in `Table::claim` and the starting over behind it.
#[test]
fn inserters_of_two_ids() {
    two("inserters_of_two_ids", &["both in"], |run| {
        let rig = Rig::new(Setup::default());
        let (a, b) = run.race(
            &rig,
            |rig| rig.add(rig.session(1, 10)),
            |rig| rig.add(rig.session(2, 20)),
        );
        assert_eq!((a, b), (Added::Inserted, Added::Inserted));
        assert_eq!((rig.with(1), rig.with(2)), (Some(10), Some(20)));
        assert_eq!(rig.entries(), 2);
        run.reached("both in");
        assert_eq!(close(rig).len(), 2);
    });
}

/// One session is added by two threads: it is inserted once.
///
/// Threads: add; add of the same session. Protects: `AtomicState::begin`, and that an `Added` without a begin gives
/// its handle back.
#[test]
fn the_same_session_twice() {
    two("the_same_session_twice", &["first", "second"], |run| {
        let rig = Rig::new(Setup::default());
        let session = rig.session(1, 7);
        let again = session.clone();
        let (a, b) = run.race(&rig, |rig| rig.add(session), |rig| rig.add(again));
        match (a, b) {
            (Added::Inserted, Added::AlreadyPresent) => run.reached("first"),
            (Added::AlreadyPresent, Added::Inserted) => run.reached("second"),
            other => panic!("{other:?}"),
        }
        assert_eq!((rig.entries(), rig.with(1)), (1, Some(7)));
        assert_eq!(close(rig), [(1, 7, RemovalCause::Dropped)]);
    });
}

/// A very session is removed while it is being added: it is gone afterwards, with one event, wherever the add was.
///
/// Threads: add; remove of that session by its handle. The session can be removed at every moment, so the removal
/// always succeeds: before the add, which then refuses; during it; after it. Protects: `Engine::end_exact` and
/// `Add::look_back` (the fences by which one of the two sees the other), `end_unadded`, `AtomicState::abandon`.
#[test]
fn removal_of_the_very_session_being_added() {
    two(
        "removal_of_the_very_session_being_added",
        &["refused", "inserted", "never added"],
        |run| {
            let rig = Rig::new(Setup::default());
            let session = rig.session(1, 7);
            let handle = session.clone();
            let (added, removed) = run.race(
                &rig,
                |rig| rig.add(session),
                move |rig| rig.remove_exact(&handle),
            );
            assert!(removed, "it could be removed all the while ({added:?})");
            run.reached(match added {
                Added::Removed => "refused",
                Added::Inserted => "inserted",
                other => panic!("{other:?}"),
            });
            if rig.stats().never_added == 1 {
                run.reached("never added");
            }
            assert_eq!((rig.with(1), rig.entries()), (None, 0));
            assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
        },
    );
}

/// The same for a session that replaces another.
///
/// Threads: add; remove of the newcomer by its handle. What stood there before is either still there or was replaced;
/// never both, never an event for it. Protects: as above, and the slot's permit when a newcomer dies in it.
#[test]
fn removal_of_the_very_session_replacing_another() {
    two(
        "removal_of_the_very_session_replacing_another",
        &["refused", "replaced"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 6)), Added::Inserted);
            let session = rig.session(1, 7);
            let handle = session.clone();
            let (added, removed) = run.race(
                &rig,
                |rig| rig.add(session),
                move |rig| rig.remove_exact(&handle),
            );
            assert!(removed, "it could be removed all the while ({added:?})");
            let events = match added {
                Added::Removed => {
                    run.reached("refused");
                    assert_eq!((rig.with(1), rig.entries()), (Some(6), 1));
                    2
                }
                Added::Replaced => {
                    run.reached("replaced");
                    assert_eq!((rig.with(1), rig.entries()), (None, 0));
                    1
                }
                other => panic!("{other:?}"),
            };
            let log = close(rig);
            assert_eq!(log.len(), events);
            assert!(log.contains(&(1, 7, RemovalCause::Removed)));
        },
    );
}

/// A removal by id meets an add of that id.
///
/// Threads: add; remove. The removal finds the session or comes before it. Protects: that takers pass claims by
/// (`Table::find`), and the books of both.
#[test]
fn add_against_remove() {
    two("add_against_remove", &["removed", "stayed"], |run| {
        let rig = Rig::new(Setup::default());
        let (added, removed) =
            run.race(&rig, |rig| rig.add(rig.session(1, 7)), |rig| rig.remove(1));
        assert_eq!(added, Added::Inserted);
        assert_eq!(rig.with(1), (!removed).then_some(7));
        assert_eq!(rig.entries(), u64::from(!removed));
        let (outcome, cause) = if removed {
            ("removed", RemovalCause::Removed)
        } else {
            ("stayed", RemovalCause::Dropped)
        };
        run.reached(outcome);
        assert_eq!(close(rig), [(1, 7, cause)]);
    });
}
