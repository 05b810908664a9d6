//! Lookups against everything that may happen to what they find.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::cell::Cell;
use std::sync::Arc;

use loom_tests::sync::{AtomicBool, Ordering, wait_for};
use loom_tests::{close, three, two, two_long};
use refrain::internal::{Rig, Setup};
use refrain::{Added, RemovalCause};

/// A lookup takes a reference while another thread removes the session and sees it out.
///
/// Threads: get, reading what it got; remove, collect, deliver, reclaim. A hit holds a session that stays whole after
/// its removal; a miss comes only from the removal. Protects: `Engine::with` and `get` (the pin outlasts the
/// reference), `Raw::try_retain`, `Engine::collect` (the grace period), `Departures::deliver`, `Engine::reclaim`.
#[test]
fn get_against_remove() {
    two("get_against_remove", &["hit", "miss"], |run| {
        let rig = Rig::new(Setup::default());
        assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
        let (got, ()) = run.race(
            &rig,
            |rig| {
                let got = rig.get(1);
                if let Some(session) = &got {
                    assert_eq!(session.payload(), [7]);
                }
                got
            },
            |rig| {
                assert!(rig.remove(1));
                rig.see_out();
            },
        );
        assert!(rig.get(1).is_none());
        match got {
            Some(session) => {
                // Held across the removal.
                assert_eq!((session.id(), session.payload()), (&[1][..], &[7][..]));
                run.reached("hit");
            }
            None => run.reached("miss"),
        }
        assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
    });
}

/// A lookup borrows a session, under the pin alone, while another thread removes it and sees it out.
///
/// Threads: with; remove, collect, deliver, reclaim. Protects: `Engine::with` (the pin outlasts the closure),
/// `Departures::deliver` and `Engine::reclaim` (no freeing before the grace period has ended).
#[test]
fn borrow_against_remove() {
    two("borrow_against_remove", &["hit", "miss"], |run| {
        let rig = Rig::new(Setup::default());
        assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
        let (payload, ()) = run.race(
            &rig,
            |rig| rig.with(1),
            |rig| {
                assert!(rig.remove(1));
                rig.see_out();
            },
        );
        match payload {
            Some(payload) => {
                assert_eq!(payload, 7);
                run.reached("hit");
            }
            None => run.reached("miss"),
        }
        assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
    });
}

/// Two lookups take and give back references while a third thread removes the session and sees it out: the last of
/// three references may be any of them.
///
/// Threads: get and drop; get and drop; remove, collect, deliver, reclaim. Protects: `Raw::release`, with its Release
/// decrement and Acquire load, and the deferral of the cache's own decrement.
#[test]
fn two_gets_against_remove() {
    three(
        "two_gets_against_remove",
        &["both hit", "one hit", "both miss"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
            let look = |rig: &Rig| {
                let got = rig.get(1);
                got.map(|session| assert_eq!(session.payload(), [7]))
                    .is_some()
            };
            let (a, b, ()) = run.race3(&rig, look, look, |rig| {
                assert!(rig.remove(1));
                rig.see_out();
            });
            run.reached(match (a, b) {
                (true, true) => "both hit",
                (false, false) => "both miss",
                _ => "one hit",
            });
            assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
        },
    );
}

/// A lookup meets a session while it is being put in.
///
/// Threads: get; add of a session that is built within the race, so that nothing but its publication makes it known. A
/// hit sees the whole session. Protects: the Release of `Bucket::replace` and the Acquire of `Bucket::load`; that
/// lookups pass claims by (`Table::find`).
#[test]
fn get_against_add() {
    two("get_against_add", &["hit", "miss"], |run| {
        let rig = Rig::new(Setup::default());
        let (got, ()) = run.race(
            &rig,
            |rig| rig.get(1),
            |rig| {
                assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
                // From the end of an add on, the session is found.
                assert_eq!(rig.with(1), Some(7));
            },
        );
        match got {
            Some(session) => {
                assert_eq!((session.id(), session.payload()), (&[1][..], &[7][..]));
                run.reached("hit");
            }
            None => run.reached("miss"),
        }
        assert_eq!(rig.with(1), Some(7));
        assert_eq!(close(rig), [(1, 7, RemovalCause::Dropped)]);
    });
}

/// A look at a bucket goes on, under its pin, after a session has been put into the bucket's next slot.
///
/// Threads: a look at all sessions, which waits for the add between the first slot and the second; add. The pins come in
/// the order that does not help: nothing but the slot tells the one thread of the other's session. (Left to itself, loom
/// does not come to a lookup that is interrupted between its pin and its first slot.) Protects: the Acquire of
/// `Bucket::load`; the Release of `Bucket::replace`, or the fence before it in `Add::claim`.
#[test]
fn look_interrupted_by_add() {
    two_long("look_interrupted_by_add", &["seen", "not seen?"], |run| {
        let rig = Rig::new(Setup::default());
        assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
        let begun = Arc::new(AtomicBool::new(false));
        let added = Arc::new(AtomicBool::new(false));
        let (go, done) = (Arc::clone(&begun), Arc::clone(&added));
        let (looks, ()) = run.race(
            &rig,
            move |rig| {
                let looks = Cell::new(0);
                rig.look(|| {
                    // ORDERING: Relaxed, so that the flag orders nothing.
                    begun.store(true, Ordering::Relaxed);
                    wait_for(&added);
                    looks.set(looks.get() + 1);
                });
                looks.get()
            },
            move |rig| {
                wait_for(&go);
                assert_eq!(rig.add(rig.session(2, 8)), Added::Inserted);
                // ORDERING: Relaxed, as above.
                done.store(true, Ordering::Relaxed);
            },
        );
        run.reached(if looks > 1 { "seen" } else { "not seen" });
        assert_eq!((rig.with(1), rig.with(2)), (Some(7), Some(8)));
        assert_eq!(close(rig).len(), 2);
    });
}

/// A session stands past a full bucket while another that stands there too leaves: it is found all the time.
///
/// Threads: with, for both; remove of the neighbour, whose leaving lowers the overflow count that the lookup depends on.
/// Three buckets, the first one full. Protects: `Table::claim`, `Table::empty` and `Bucket::overflows` (each raise is
/// lowered once).
#[test]
fn overflowed_lookup_against_neighbour_leaving() {
    two(
        "overflowed_lookup_against_neighbour_leaving",
        &["neighbour seen", "neighbour gone"],
        |run| {
            let rig = overflowing(4);
            assert_eq!(rig.add(rig.session(4, 40)), Added::Inserted);
            let ((neighbour, found), removed) =
                run.race(&rig, |rig| (rig.with(4), rig.with(3)), |rig| rig.remove(4));
            assert!(removed);
            assert_eq!(found, Some(30));
            run.reached(match neighbour {
                Some(_) => "neighbour seen",
                None => "neighbour gone",
            });
            assert_eq!((rig.with(3), rig.with(4)), (Some(30), None));
            assert_eq!(close(rig).len(), 4);
        },
    );
}

/// A session stands past a full bucket; a slot in front of it is emptied and filled again by another id: it is found
/// all the time.
///
/// Threads: with; remove of a session in the first bucket; add of another id, which lands in the first bucket or past
/// it. Protects: that sessions never move, and `Table::find` going by the overflow counts, not by empty slots.
#[test]
fn overflowed_lookup_against_changes_in_front() {
    three(
        "overflowed_lookup_against_changes_in_front",
        &["newcomer seen", "newcomer not seen"],
        |run| {
            let rig = overflowing(4);
            let (seen, new, removed) = run.race3(
                &rig,
                |rig| {
                    let new = rig.with(4);
                    (rig.with(3), new)
                },
                |rig| rig.add(rig.session(4, 40)),
                |rig| rig.remove(1),
            );
            assert!(removed);
            assert_eq!(new, Added::Inserted);
            assert_eq!(seen.0, Some(30));
            run.reached(match seen.1 {
                Some(_) => "newcomer seen",
                None => "newcomer not seen",
            });
            assert_eq!((rig.with(3), rig.with(4)), (Some(30), Some(40)));
            assert_eq!(close(rig).len(), 4);
        },
    );
}

/// Three buckets; sessions 1 and 2 fill the first, session 3 stands in the second.
fn overflowing(capacity: u64) -> Arc<Rig> {
    let rig = Rig::new(Setup {
        capacity,
        buckets: 3,
        ..Setup::default()
    });
    for n in 1..=3 {
        assert_eq!(rig.add(rig.session(n, n * 10)), Added::Inserted);
    }
    rig
}

/// A lookup takes a reference while the last other holder gives its own back and the session is removed and seen out: it
/// is freed once, by whoever is last, and after all reads.
///
/// Threads: get, reading what it got; read through a handle, drop it; remove, collect, deliver, reclaim. Protects:
/// `Raw::try_retain` under the pin (the count may go down to the cache's own, never to nothing), `Raw::release`,
/// `Engine::reclaim`.
#[test]
fn get_against_last_release_and_remove() {
    three(
        "get_against_last_release_and_remove",
        &["hit", "miss", "the holder was last"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
            let handle = rig.get(1).unwrap();
            let (got, last, ()) = run.race3(
                &rig,
                |rig| {
                    let got = rig.get(1);
                    got.map(|session| assert_eq!(session.payload(), [7]))
                        .is_some()
                },
                move |_| {
                    assert_eq!(handle.payload(), [7]);
                    handle.references() == 1
                },
                |rig| {
                    assert!(rig.remove(1));
                    rig.see_out();
                },
            );
            run.reached(if got { "hit" } else { "miss" });
            if last {
                run.reached("the holder was last");
            }
            assert_eq!(close(rig), [(1, 7, RemovalCause::Removed)]);
        },
    );
}
