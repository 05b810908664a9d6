//! Beginnings and ends of contexts and of the cache itself.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::time::Duration;

use loom_tests::{close, three, two, two_long};
use refrain::internal::{Rig, Setup, live_sessions};
use refrain::{Added, NotCached, RemovalCause};

/// The cache is dropped while another thread has a handle to a session in it: the session stays whole, and is freed
/// once, at the later of the two.
///
/// Threads: read through the handle, drop it; end the cache with everything in it. Protects: `Engine::see_off`,
/// `Raw::release`.
#[test]
fn drop_of_the_cache_against_a_handle() {
    two(
        "drop_of_the_cache_against_a_handle",
        &["handle last", "cache last"],
        |run| {
            let rig = Rig::new(Setup::default());
            for n in [1, 2] {
                assert_eq!(rig.add(rig.session(n, n)), Added::Inserted);
            }
            let handle = rig.get(1).unwrap();
            // The race's stage must not keep the cache.
            let stage = std::sync::Arc::new(());
            let (last, events) = run.race(
                &stage,
                move |()| {
                    assert_eq!(handle.payload(), [1]);
                    let last = handle.references() == 1;
                    assert_eq!(handle.id(), [1]);
                    drop(handle);
                    last
                },
                move |()| {
                    let events = rig.finish();
                    assert!((0..=1).contains(&live_sessions()));
                    events
                },
            );
            run.reached(if last { "handle last" } else { "cache last" });
            assert_eq!(live_sessions(), 0, "freed once, by whoever was last");
            let dropped = RemovalCause::Dropped;
            assert_eq!(events, [(1, 1, dropped), (2, 2, dropped)]);
        },
    );
}

/// The cache is dropped while two threads have handles to one session in it.
///
/// Threads: read and drop; clone, drop, read and drop; end the cache. Protects: `Raw::retain` and `Raw::release` (any
/// of three may be the last), `Engine::see_off`.
#[test]
fn drop_of_the_cache_against_two_handles() {
    three(
        "drop_of_the_cache_against_two_handles",
        &["alone", "shared"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 1)), Added::Inserted);
            let (one, other) = (rig.get(1).unwrap(), rig.get(1).unwrap());
            let stage = std::sync::Arc::new(());
            let (alone, (), events) = run.race3(
                &stage,
                move |()| {
                    assert_eq!(one.payload(), [1]);
                    one.references() == 1
                },
                move |()| {
                    let clone = other.clone();
                    drop(other);
                    assert_eq!(clone.payload(), [1]);
                },
                move |()| rig.finish(),
            );
            run.reached(if alone { "alone" } else { "shared" });
            assert_eq!(live_sessions(), 0, "freed once, by whoever was last");
            assert_eq!(events, [(1, 1, RemovalCause::Dropped)]);
        },
    );
}

/// A session that was built before its context was invalidated is being put in: it is never found afterwards, and
/// nothing of it stays.
///
/// Threads: add of a session of the old generation; invalidate, sweep. After both the cache is empty without another
/// sweep: the add refuses, or withdraws the session, or the sweep finds it. Protects: `Contexts::renew` and
/// `Add::look_back` (the fences by which one of the two sees the other), `Engine::sweep_stale`.
#[test]
fn add_against_invalidate() {
    two(
        "add_against_invalidate",
        &["refused", "swept", "withdrawn"],
        |run| {
            let rig = Rig::new(Setup::default());
            let session = rig.session(1, 7);
            let (added, swept) = run.race(
                &rig,
                |rig| rig.add(session),
                |rig| {
                    rig.invalidate();
                    assert_eq!(rig.with(1), None);
                    rig.sweep_stale()
                },
            );
            assert_eq!((rig.with(1), rig.entries()), (None, 0));
            let events = match (added, swept) {
                (Added::NotCached(NotCached::Stale), 0) => {
                    run.reached("refused");
                    vec![]
                }
                (Added::Inserted, 1) => {
                    run.reached("swept");
                    vec![(1, 7, RemovalCause::Invalidated)]
                }
                (Added::Inserted, 0) => {
                    run.reached("withdrawn");
                    vec![(1, 7, RemovalCause::Invalidated)]
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(close(rig), events);
        },
    );
}

/// A session of the generation that an invalidation has just begun is put in: who sees the new generation sees that it is
/// current, so the session is not refused as stale.
///
/// Threads: invalidate; look at the generation, build a session, add it. Protects: `Contexts::renew` (the number is made
/// current before it is shown, with Release) and `Context::number` (its Acquire).
#[test]
fn add_of_the_generation_just_begun() {
    two("add_of_the_generation_just_begun", &["old", "new"], |run| {
        let rig = Rig::new(Setup::default());
        let old = rig.context.generation();
        let ((), (seen, added)) = run.race(
            &rig,
            |rig| rig.invalidate(),
            |rig| {
                let seen = rig.context.generation();
                (seen, rig.add(rig.session(1, 7)))
            },
        );
        if seen == old {
            run.reached("old");
        } else {
            run.reached("new");
            assert_eq!((added, rig.with(1)), (Added::Inserted, Some(7)));
        }
        rig.sweep_stale();
        close(rig);
    });
}

/// A context is invalidated while another thread sweeps: that sweep removes its session, or does not count as the answer
/// to this invalidation, and then the next one does.
///
/// Threads: invalidate; sweep. Protects: `Engine::note_invalidation` and the load of its count in `Engine::sweep_stale`:
/// who answers an invalidation sees the context without its old number.
#[test]
fn invalidate_against_sweep() {
    two("invalidate_against_sweep", &["at once", "later"], |run| {
        let rig = Rig::new(Setup::default());
        assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
        let ((), swept) = run.race(&rig, |rig| rig.invalidate(), |rig| rig.sweep_stale());
        run.reached(if swept == 1 { "at once" } else { "later" });
        assert_eq!(swept + rig.sweep_stale(), 1, "it was swept for too early");
        assert_eq!((rig.with(1), rig.entries()), (None, 0));
        assert_eq!(close(rig), [(1, 7, RemovalCause::Invalidated)]);
    });
}

/// A session is looked up while its context is invalidated and swept: it stays whole for who got it, and is not found
/// by who knows the new generation.
///
/// Threads: get, twice; invalidate, sweep, collect, deliver, reclaim. Protects: `Contexts::renew`,
/// `Context::number` (Release and Acquire), `Engine::sweep_stale`.
#[test]
fn get_against_invalidate() {
    two(
        "get_against_invalidate",
        &["hit, hit", "hit, miss", "miss, miss"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
            let ((first, second), swept) = run.race(
                &rig,
                |rig| (rig.get(1), rig.get(1)),
                |rig| {
                    rig.invalidate();
                    let swept = rig.sweep_stale();
                    rig.see_out();
                    swept
                },
            );
            assert_eq!((swept, rig.with(1)), (1, None));
            run.reached(match (&first, &second) {
                (Some(_), Some(_)) => "hit, hit",
                (Some(_), None) => "hit, miss",
                (None, None) => "miss, miss",
                (None, Some(_)) => panic!("back from the dead"),
            });
            for session in [first, second].iter().flatten() {
                assert_eq!(session.payload(), [7]);
            }
            assert_eq!(close(rig), [(1, 7, RemovalCause::Invalidated)]);
        },
    );
}

/// The maintainer's whole run meets a take: everything is seen out, each thing once.
///
/// Threads: a run of the maintainer at the deadline of session 1, deliver; take of session 2. Protects:
/// `Engine::maintain`, in which expiry, sweep, trim, collection and reclamation follow each other.
#[test]
fn maintain_against_take() {
    two_long(
        "maintain_against_take",
        &["seen out", "left for later"],
        |run| {
            let rig = Rig::new(Setup::default());
            let short = rig.session(1, 1);
            assert_eq!(rig.add_for(short, Duration::from_secs(1)), Added::Inserted);
            assert_eq!(rig.add(rig.session(2, 2)), Added::Inserted);
            rig.clock.advance(Duration::from_secs(1));
            let (done, taken) = run.race(
                &rig,
                |rig| {
                    let done = rig.maintain();
                    rig.deliver();
                    done
                },
                |rig| rig.take(2).is_some(),
            );
            assert_eq!((done.expired, done.swept, taken), (1, 0, true));
            assert_eq!((rig.with(1), rig.with(2), rig.entries()), (None, None, 0));
            run.reached(if rig.log.events().len() == 2 {
                "seen out"
            } else {
                "left for later"
            });
            assert_eq!(close(rig).len(), 2);
        },
    );
}

/// A handshake is about to use up the session that it verified while its context is invalidated: afterwards nobody can.
///
/// Threads: take by the handle; invalidate, take by another handle, sweep. Protects: `Engine::take_exact` (it looks whether
/// the context is current, with every attempt), `Contexts::renew`.
#[test]
fn take_exact_against_invalidate() {
    two(
        "take_exact_against_invalidate",
        &["taken", "invalidated"],
        |run| {
            let rig = Rig::new(Setup::default());
            assert_eq!(rig.add(rig.session(1, 7)), Added::Inserted);
            let handle = rig.get(1).unwrap();
            let other = handle.clone();
            let (taken, swept) = run.race(
                &rig,
                move |rig| rig.take_exact(&handle),
                move |rig| {
                    rig.invalidate();
                    assert!(!rig.take_exact(&other), "its context is invalid");
                    drop(other);
                    rig.sweep_stale()
                },
            );
            let cause = match (taken, swept) {
                (true, 0) => RemovalCause::Taken,
                (false, 1) => RemovalCause::Invalidated,
                other => panic!("{other:?}"),
            };
            run.reached(cause.as_str());
            assert_eq!((rig.with(1), rig.entries()), (None, 0));
            assert_eq!(close(rig), [(1, 7, cause)]);
        },
    );
}

/// A context that nobody has a handle of any more is given up for another while a session of it is put in: nothing of it
/// stays, and who asks for that context again gets a fresh one.
///
/// Threads: add of a session of the old context; intern another one, for which there is room only in the old one's place,
/// sweep. Protects: `Contexts::intern` (gives up and counts as an invalidation), `Add::look_back`, `Engine::sweep_stale`.
#[test]
fn add_against_a_context_given_up() {
    two(
        "add_against_a_context_given_up",
        &["refused", "swept", "withdrawn"],
        |run| {
            let rig = Rig::new(Setup::default());
            let session = rig.session_of(&rig.intern(1).unwrap(), 1, 7);
            let (added, swept) = run.race(
                &rig,
                |rig| rig.add(session),
                |rig| {
                    let other = rig.intern(2).unwrap();
                    let swept = rig.sweep_stale();
                    drop(other);
                    swept
                },
            );
            let again = rig.intern(1).unwrap();
            assert_eq!((rig.with_in(&again, 1), rig.entries()), (None, 0));
            let invalidated = vec![(1, 7, RemovalCause::Invalidated)];
            let (outcome, events) = match (added, swept) {
                (Added::NotCached(NotCached::Stale), 0) => ("refused", vec![]),
                (Added::Inserted, 1) => ("swept", invalidated),
                (Added::Inserted, 0) => ("withdrawn", invalidated),
                other => panic!("{other:?}"),
            };
            run.reached(outcome);
            assert_eq!(close(rig), events);
        },
    );
}
