//! The way out: the removed stack, the callbacks, the grace period, the last reference.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;

use loom_tests::{close, promise, three, two};
use refrain::internal::{Asymmetric, Modelled, Rig, Setup, live_sessions};
use refrain::{Added, RemovalCause};

/// Sessions 1, 2, .. with their tenfold as payloads.
fn filled(sessions: u8) -> Arc<Rig> {
    let rig = Rig::new(Setup {
        capacity: sessions.into(),
        buckets: usize::from(sessions).div_ceil(2),
        ..Setup::default()
    });
    for n in 1..=sessions {
        assert_eq!(rig.add(rig.session(n, n * 10)), Added::Inserted);
    }
    rig
}

fn removed(ids: &[u8]) -> Vec<(u8, u8, RemovalCause)> {
    ids.iter()
        .map(|&n| (n, n * 10, RemovalCause::Removed))
        .collect()
}

/// Two sessions are pushed on the removed stack while it is emptied: none is lost, none comes twice.
///
/// Threads: remove; remove of another id; collect, deliver, reclaim. Protects: `Removed::push` (the link is written
/// before the Release of the compare-and-swap), `Removed::take` (its Acquire).
#[test]
fn two_pushes_against_collect() {
    three(
        "two_pushes_against_collect",
        &["none", "one", "both"],
        |run| {
            let rig = filled(2);
            let (a, b, ()) = run.race3(
                &rig,
                |rig| rig.remove(1),
                |rig| rig.remove(2),
                |rig| rig.see_out(),
            );
            assert!(a && b);
            run.reached(["none", "one", "both"][rig.log.events().len()]);
            let mut events = close(rig);
            events.sort_by_key(|event| event.0);
            assert_eq!(events, removed(&[1, 2]));
        },
    );
}

/// One thread's removals are told in their order.
///
/// Threads: remove of one id, then of another; collect and deliver, twice. Protects: `Removed::take` (the order of
/// pushing), the limbo's lock in `Engine::collect`.
#[test]
fn events_in_order() {
    let outcomes = &["together", "one by one", "one in time", "none in time"];
    two("events_in_order", outcomes, |run| {
        let rig = filled(2);
        let ((), (first, second)) = run.race(
            &rig,
            |rig| assert!(rig.remove(1) && rig.remove(2)),
            |rig| {
                rig.collect();
                let first = rig.deliver();
                rig.collect();
                (first, rig.deliver())
            },
        );
        run.reached(match (first, second) {
            (2, 0) | (0, 2) => "together",
            (1, 1) => "one by one",
            (1, 0) | (0, 1) => "one in time",
            (0, 0) => "none in time",
            other => panic!("{other:?}"),
        });
        assert_eq!(close(rig), removed(&[1, 2]));
    });
}

/// Two threads collect what one of them removes: each session is sent off once.
///
/// Threads: remove, collect; collect. Protects: the exchange in `Removed::take`, the limbo's lock.
#[test]
fn two_collectors() {
    two("two_collectors", &["own", "the other's"], |run| {
        let rig = filled(1);
        let (left, ()) = run.race(
            &rig,
            |rig| {
                assert!(rig.remove(1));
                let before = rig.stats().backlog_bytes;
                rig.see_out();
                before == 0
            },
            |rig| rig.see_out(),
        );
        run.reached(if left { "the other's" } else { "own" });
        assert_eq!(close(rig), removed(&[1]));
    });
}

/// Two threads call the callbacks that are due: each is called once, and one at a time.
///
/// Threads: deliver; deliver. Two batches wait. Who finds somebody at it goes away at once. Protects:
/// `Departures::deliver` and its flag.
#[test]
fn two_deliverers() {
    two(
        "two_deliverers",
        &["first did it", "second did it"],
        |run| {
            let rig = filled(3);
            for n in 1..=3 {
                assert!(rig.remove(n));
            }
            rig.collect();
            let (a, b) = run.race(&rig, |rig| rig.deliver(), |rig| rig.deliver());
            assert_eq!(a + b, 3);
            if a == 3 {
                run.reached("first did it");
            }
            if b == 3 {
                run.reached("second did it");
            }
            assert_eq!(close(rig), removed(&[1, 2, 3]));
        },
    );
}

/// A session's callback is called while another thread drops what is finished: it is not dropped before its callback
/// has returned.
///
/// Threads: deliver; reclaim. Protects: `Batch::is_finished` and the Release of `delivered`.
#[test]
fn deliver_against_reclaim() {
    two(
        "deliver_against_reclaim",
        &["reclaimed", "left for later"],
        |run| {
            let rig = filled(1);
            assert!(rig.remove(1));
            rig.collect();
            let (delivered, reclaimed) = run.race(&rig, |rig| rig.deliver(), |rig| rig.reclaim());
            assert_eq!(delivered, 1);
            run.reached(match reclaimed {
                1 => "reclaimed",
                0 => "left for later",
                other => panic!("{other}"),
            });
            assert_eq!(close(rig), removed(&[1]));
        },
    );
}

/// A reader's pin ends while another thread reclaims what the reader may have read.
///
/// Threads: with; remove, collect, deliver and reclaim, twice. The first reclaiming waits for the reader, the second
/// one may not have to. Protects: the Release by which the grace period ends (`Batch::ripe`), `Domain::defer`.
#[test]
fn end_of_the_grace_period_against_reclaim() {
    two(
        "end_of_the_grace_period_against_reclaim",
        &["at once", "later", "in the end"],
        |run| {
            let rig = filled(1);
            let (seen, (first, second)) = run.race(
                &rig,
                |rig| rig.with(1),
                |rig| {
                    assert!(rig.remove(1));
                    rig.collect();
                    assert_eq!(rig.deliver(), 1);
                    (rig.reclaim(), rig.reclaim())
                },
            );
            assert!(matches!(seen, None | Some(10)));
            run.reached(match (first, second) {
                (1, 0) => "at once",
                (0, 1) => "later",
                (0, 0) => "in the end",
                other => panic!("{other:?}"),
            });
            assert_eq!(close(rig), removed(&[1]));
        },
    );
}

/// The last two handles to a session that has left the cache are dropped: it is freed once, after all reads.
///
/// Threads: read and drop; read and drop. Protects: `Raw::release`, the Release of the decrement and the Acquire behind
/// it.
#[test]
fn last_two_handles() {
    two("last_two_handles", &["shared", "alone"], |run| {
        let rig = filled(1);
        let (one, other) = (rig.get(1).unwrap(), rig.get(1).unwrap());
        assert!(rig.remove(1));
        rig.see_out();
        assert_eq!(close_with_handles(rig), removed(&[1]));
        let stage = Arc::new(());
        let (alone, ()) = run.race(
            &stage,
            move |()| {
                assert_eq!(one.payload(), [10]);
                one.references() == 1
            },
            move |()| assert_eq!(other.payload(), [10]),
        );
        run.reached(if alone { "alone" } else { "shared" });
        assert_eq!(live_sessions(), 0);
    });
}

fn close_with_handles(rig: Arc<Rig>) -> Vec<(u8, u8, RemovalCause)> {
    let events = rig.finish();
    assert_eq!(live_sessions(), 1);
    events
}

/// The promise of the reclamation domain that the models use, which is crossbeam-epoch's: what was unlinked before it
/// is deferred ends once, after every pin under which it could have been read, and after those reads.
///
/// Threads: pin, look, read, unpin; unlink, defer. Protects the models: `reclaim::Domain` under `refrain_loom` and
/// `refrain_shuttle`.
#[test]
fn domain_against_one_reader() {
    two(
        "domain_against_one_reader",
        &["read", "missed", "in time"],
        promise::against_one_reader::<Modelled>,
    );
}

/// The same with two readers, of which the last one to unpin ends the grace period.
///
/// Threads: pin, look, read, unpin; the same; unlink, defer.
#[test]
fn domain_against_two_readers() {
    three(
        "domain_against_two_readers",
        &["both read", "one read", "none read", "in time"],
        promise::against_two_readers::<Modelled>,
    );
}

/// A pin within a pin, as a lookup from within the closure of another makes: the inner one's end is not the outer one's.
///
/// Threads: pin, pin, unpin, look, read, unpin; unlink, defer.
#[test]
fn domain_with_nested_pins() {
    two(
        "domain_with_nested_pins",
        &["read", "missed", "in time"],
        promise::with_nested_pins::<Modelled>,
    );
}

/// The domain that Linux gets, where to pin is a plain store, held to the promise; the models have two fences for the
/// store's barrier and the kernel's. Each thread takes its place in the list, and gives it back.
///
/// Threads: pin, look, read, unpin; unlink, defer, advance. Protects: `Place::set` (its Release), `asymmetric::light` in
/// `Place::pin`, `asymmetric::heavy` and the Acquire in `Places::pinned`.
#[test]
fn asymmetric_against_one_reader() {
    two(
        "asymmetric_against_one_reader",
        &["read", "missed", "in time", "with the domain"],
        promise::against_one_reader::<Asymmetric>,
    );
}

/// The same with two readers, one of which may get the place that the other has given back.
///
/// Threads: pin, look, read, unpin; the same; unlink, defer, advance. Protects: `Places::take`, `Place::give_back`,
/// `Waiting::advance`.
#[test]
fn asymmetric_against_two_readers() {
    three(
        "asymmetric_against_two_readers",
        &[
            "both read",
            "one read",
            "none read",
            "in time",
            "with the domain",
        ],
        promise::against_two_readers::<Asymmetric>,
    );
}

/// A pin within a pin: the place tells how deep.
///
/// Threads: pin, pin, unpin, look, read, unpin; unlink, defer, advance. Protects: `Place::unpin_other`.
#[test]
fn asymmetric_with_nested_pins() {
    two(
        "asymmetric_with_nested_pins",
        &["read", "missed", "in time", "with the domain"],
        promise::with_nested_pins::<Asymmetric>,
    );
}
