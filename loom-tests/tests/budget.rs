//! The bounds on entries and bytes hold at every look, whatever goes on.
#![cfg(any(refrain_loom, refrain_shuttle))]

use loom_tests::{close, three, two, two_long};
use refrain::internal::{Rig, Setup};
use refrain::{Added, NotCached, RemovalCause};

/// The entries in a full cache, while one session is replaced and another taken.
///
/// Threads: add of an id that is there, which keeps the slot's permit, and then of one that is not; take; two looks at
/// the entries. Protects: `Add::replace` and `Engine::unlink` (a permit is in one hand at a time), `Budget::take`.
#[test]
fn entries_under_replace_and_take() {
    three(
        "entries_under_replace_and_take",
        &["taken", "replaced", "dipped"],
        |run| {
            let rig = Rig::new(Setup::default());
            for n in [1, 2] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            let (added, taken, seen) = run.race3(
                &rig,
                |rig| rig.add(rig.session(1, 11)),
                |rig| rig.take(1).map(|session| session.payload()[0]),
                |rig| [rig.entries(), rig.entries()],
            );
            assert!(seen.iter().all(|&n| n <= 2), "{seen:?}");
            if seen.contains(&1) {
                run.reached("dipped");
            }
            run.reached(match (added, taken) {
                (Added::Inserted, Some(1)) => "taken",
                (Added::Replaced, Some(11)) => "replaced",
                other => panic!("{other:?}"),
            });
            // Session 2 may have had to go, while the taken one's permit was on its way back.
            let left = [rig.with(1), rig.with(2)];
            assert_eq!(rig.entries(), left.iter().flatten().count() as u64);
            close(rig);
        },
    );
}

/// The entries in a full cache while one add evicts and a session is taken.
///
/// Threads: add of a new id; take, with looks at the entries before and after. Protects: `Engine::reserve` (the victim's
/// permit is handed over, not given back and taken again), `Engine::unlink`.
#[test]
fn entries_under_evict_and_take() {
    two_long(
        "entries_under_evict_and_take",
        &["taken", "evicted", "full"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 1,
                ..Setup::default()
            });
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            let (added, (taken, seen)) = run.race(
                &rig,
                |rig| rig.add(rig.session(2, 2)),
                |rig| {
                    let before = rig.entries();
                    let taken = rig.take(1).is_some();
                    (taken, before.max(rig.entries()))
                },
            );
            assert!(seen <= 1);
            run.reached(match (added, taken) {
                (Added::Inserted, true) => "taken",
                (Added::Inserted, false) => "evicted",
                // It gave up while the taken session's permit was on its way back.
                (Added::NotCached(NotCached::Full), true) => "full",
                other => panic!("{other:?}"),
            });
            assert_eq!(rig.entries(), u64::from(added.is_cached()));
            close(rig);
        },
    );
}

/// The bytes while a session is replaced by a larger one: what it needs beyond the old one's memory is found before it
/// goes in, and not by evicting the old one.
///
/// Threads: add of a larger session of an id that is there; take of another session, with looks at the bytes before and
/// after. There are bytes enough for three small sessions, and three are there. Protects: `Add::replace` (the permit of
/// the slot, more and less), `Engine::reserve` by bytes alone and its spared session, `Budget::take`.
#[test]
fn bytes_under_replace_and_take() {
    two_long(
        "bytes_under_replace_and_take",
        &["taken", "evicted"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 3,
                buckets: 3,
                ..Setup::default()
            });
            let small = rig.session(1, 1).memory();
            let limit = 3 * small;
            rig.set_bytes(limit);
            for n in [1, 2, 3] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            assert_eq!(rig.bytes(), limit);
            let (added, (taken, seen)) = run.race(
                &rig,
                |rig| rig.add(rig.sized_session(1, 11, 65)),
                |rig| {
                    let before = rig.bytes();
                    let taken = rig.take(2).is_some();
                    (taken, before.max(rig.bytes()))
                },
            );
            assert!(seen <= limit, "{seen} of {limit} bytes");
            run.reached(if taken { "taken" } else { "evicted" });
            assert_eq!((added, rig.with(1)), (Added::Replaced, Some(11)));
            assert!(rig.bytes() <= limit);
            close(rig);
        },
    );
}

/// The capacity is lowered while a session is put in: afterwards, or after a run of the maintainer at the latest, the
/// new one holds.
///
/// Threads: add into the last free entry; lower the capacity to one. Protects: `Budget::take` (the second look at the
/// limit), `Budget::set_limit`, `Engine::trim`.
#[test]
fn add_against_a_lowered_capacity() {
    two(
        "add_against_a_lowered_capacity",
        &["over", "made room"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            let (added, ()) = run.race(
                &rig,
                |rig| rig.add(rig.session(2, 2)),
                |rig| rig.set_capacity(1),
            );
            run.reached(match (added, rig.entries()) {
                (Added::Inserted, 2) => "over",
                (Added::Inserted, 1) => "made room",
                other => panic!("{other:?}"),
            });
            rig.maintain();
            assert!(rig.entries() <= 1);
            rig.see_out();
            let stats = rig.stats();
            assert_eq!(
                stats.entries,
                u64::from(rig.with(1).or(rig.with(2)).is_some())
            );
            close(rig);
        },
    );
}

/// Who has lowered the capacity and then finds the new one kept can rely on it: no add goes above it any more.
///
/// Threads: add into the last free entry; lower the capacity to one and look at the entries. Protects: the fences of
/// `Budget::take` and `Budget::set_limit` (the count is above the limit in the one's eyes, or the limit below the count in
/// the other's), and the second look at the limit between them.
#[test]
fn add_against_a_capacity_seen_kept() {
    two(
        "add_against_a_capacity_seen_kept",
        &["kept", "over"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            let (_, seen) = run.race(
                &rig,
                |rig| rig.add(rig.session(2, 2)),
                |rig| {
                    rig.set_capacity(1);
                    rig.entries()
                },
            );
            let left = rig.entries();
            if seen <= 1 {
                run.reached("kept");
                assert!(left <= 1, "{left} entries above a capacity that was kept");
            } else {
                run.reached("over");
            }
            close(rig);
        },
    );
}

/// Two adds want the last free entry: the count never goes above the limit, and one at least gets in.
///
/// Threads: add; add of another id, to an empty cache of one; both look at the entries. Protects: `Budget::take` (one
/// compare-and-swap checks and takes).
#[test]
fn two_adds_for_the_last_entry() {
    two(
        "two_adds_for_the_last_entry",
        &["both in", "one refused", "evicted for nothing?"],
        |run| {
            let rig = Rig::new(Setup {
                capacity: 1,
                ..Setup::default()
            });
            let add = |n: u8| {
                move |rig: &Rig| {
                    let added = rig.add(rig.session(n, n));
                    assert!(rig.entries() <= 1);
                    added
                }
            };
            let (added, other) = run.race(&rig, add(1), add(2));
            let (a, b) = (added.is_cached(), other.is_cached());
            assert!(a || b, "{added:?}, {other:?}");
            let left = [rig.with(1), rig.with(2)].iter().flatten().count() as u64;
            assert_eq!(rig.entries(), left);
            run.reached(match (a && b, left) {
                (true, 1) => "both in",
                (false, 1) => "one refused",
                // One had the other evicted, whose own add gave the permit back, and did not find it in time.
                (false, 0) => "evicted for nothing",
                _ => panic!("{added:?}, {other:?}, {left} left"),
            });
            assert_eq!(close(rig).len(), usize::from(a) + usize::from(b));
        },
    );
}

/// An entry is taken off the count once, however its end and the emptying of its slot fall together.
///
/// Threads: remove by handle; remove by id; add of another id, into the last free entry. Protects: `Engine::end_exact`
/// and `Engine::unlink`, `Budget::release`.
#[test]
fn entries_under_two_removals() {
    three(
        "entries_under_two_removals",
        &["by handle", "by id"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            let handle = rig.get(1).unwrap();
            let (by_handle, by_id, added) = run.race3(
                &rig,
                move |rig| rig.remove_exact(&handle),
                |rig| rig.remove(1),
                |rig| {
                    let added = rig.add(rig.session(2, 2));
                    assert!((1..=2).contains(&rig.entries()));
                    added
                },
            );
            run.reached(match (by_handle, by_id) {
                (true, false) => "by handle",
                (false, true) => "by id",
                other => panic!("{other:?}"),
            });
            assert_eq!((added, rig.entries()), (Added::Inserted, 1));
            let events = close(rig);
            assert_eq!(events.len(), 2);
            assert!(events.contains(&(1, 1, RemovalCause::Removed)));
        },
    );
}

/// The entries in a full cache while one session is replaced, another taken, and a newcomer needs room: three hands on two
/// permits.
///
/// Threads: add of an id that is there; take of the other one; add of a new id, which may have to evict either. The adds look
/// at the entries. Protects: `Add::replace` (keeps the slot's permit, if the session it replaces was still there),
/// `Engine::reserve`, `Engine::unlink`.
#[test]
fn entries_under_replace_take_and_evict() {
    three(
        "entries_under_replace_take_and_evict",
        &["replaced", "inserted", "taken", "evicted", "full"],
        |run| {
            let rig = Rig::new(Setup {
                buckets: 3,
                ..Setup::default()
            });
            for n in [2, 1] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            let (again, taken, new) = run.race3(
                &rig,
                |rig| {
                    let added = rig.add(rig.session(1, 11));
                    assert!(rig.entries() <= 2);
                    added
                },
                |rig| rig.take(2).is_some(),
                |rig| {
                    let added = rig.add(rig.session(3, 3));
                    assert!(rig.entries() <= 2);
                    added
                },
            );
            run.reached(match again {
                Added::Replaced => "replaced",
                Added::Inserted => "inserted",
                Added::NotCached(NotCached::Full) => "full",
                other => panic!("{other:?}"),
            });
            run.reached(if taken { "taken" } else { "evicted" });
            let left = [rig.with(1), rig.with(2), rig.with(3)];
            assert_eq!(left[1], None);
            assert_eq!(rig.entries(), left.iter().flatten().count() as u64);
            if again == Added::Replaced && new == Added::Inserted {
                // A replacement of the same size needs no victim, and a newcomer is never its own.
                assert_eq!(left[2], Some(3));
            }
            close(rig);
        },
    );
}
