//! A whole cache with its two threads, as `build` starts them: its end, wherever it is brought about, and waiting for what
//! they do. Their sleep may be over at any moment here.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::{Arc, Mutex};

use loom_tests::sync::{AtomicBool, Gone, learn_of};
use loom_tests::{two_and_a_cache, two_and_a_cache_long};
use refrain::internal::{Setup, Whole, live_sessions};
use refrain::{Added, RemovalCause, SessionCache};

/// A handle that somebody else may drop.
type Slot = Arc<Mutex<Option<SessionCache>>>;

fn fill(cache: &SessionCache, whole: &Whole, ids: &[u8]) {
    for &n in ids {
        assert_eq!(cache.add(whole.session(n, n * 10)), Added::Inserted);
    }
}

/// The last two handles are dropped by two threads, with a removal on its way: whoever is last has seen everything out
/// when its drop returns, and no event is lost or told twice.
///
/// Threads: remove, drop a handle; drop a handle; the maintainer; the listener. Protects: `Owner::drop` (stops, wakes, and
/// waits for both), `Core::listen_forever` and `Departures::wait` (neither a batch nor the end is slept through),
/// `Core::maintain_forever`, `Core::finish`.
#[test]
fn end_of_a_cache_with_its_threads() {
    two_and_a_cache(
        "end_of_a_cache_with_its_threads",
        &["told by the listener", "told at the end"],
        |run| {
            let by_listener = Arc::new(Mutex::new(Vec::new()));
            let noted = Arc::clone(&by_listener);
            let (cache, whole) = Whole::new(Setup::woken(), move |_| {
                noted.lock().unwrap().push(Whole::is_own_thread());
            });
            fill(&cache, &whole, &[1, 2]);
            let other = cache.clone();
            let whole = Arc::new(whole);
            run.race(
                &whole,
                move |whole| {
                    assert!(whole.remove(&cache, 1));
                    drop(cache);
                },
                move |_| drop(other),
            );
            let first = by_listener.lock().unwrap()[0];
            run.reached(if first {
                "told by the listener"
            } else {
                "told at the end"
            });
            assert_eq!(
                whole.check_end(),
                [
                    (1, 10, RemovalCause::Removed),
                    (2, 20, RemovalCause::Dropped)
                ]
            );
        },
    );
}

/// The last handle is dropped inside a remove callback, or just then elsewhere: no thread waits for itself, and the session
/// that is left is seen out, by whoever has the end in hand.
///
/// Threads: remove, drop a handle; drop a handle; the maintainer; the listener, whose callback drops the third. Protects:
/// `Owner::drop` (on a thread of a cache's own it waits for nobody), `Core::listen_forever` (what it leaves to the listener,
/// that one does), `Departures::deliver` (does not nest).
#[test]
fn last_handle_dropped_in_a_callback() {
    two_and_a_cache(
        "last_handle_dropped_in_a_callback",
        &["in the callback", "elsewhere"],
        |run| {
            let slot: Slot = Arc::default();
            let orphaned = Arc::new(Mutex::new(false));
            let over = Arc::new(AtomicBool::new(false));
            let (third, gone) = (Arc::clone(&slot), Gone::new(&over));
            let left_there = Arc::clone(&orphaned);
            let (cache, whole) = Whole::new(Setup::woken(), move |session| {
                let _gone = &gone;
                if session.id() == [2] {
                    // Told last, so by who saw everything out.
                    *left_there.lock().unwrap() = Whole::is_own_thread();
                }
                let handle = third.lock().unwrap().take();
                drop(handle);
            });
            fill(&cache, &whole, &[1, 2]);
            *slot.lock().unwrap() = Some(cache.clone());
            let other = cache.clone();
            let whole = Arc::new(whole);
            run.race(
                &whole,
                move |whole| {
                    assert!(whole.remove(&cache, 1));
                    drop(cache);
                },
                move |_| drop(other),
            );
            learn_of(&over);
            run.reached(if *orphaned.lock().unwrap() {
                "in the callback"
            } else {
                "elsewhere"
            });
            assert_eq!(
                whole.check_end(),
                [
                    (1, 10, RemovalCause::Removed),
                    (2, 20, RemovalCause::Dropped)
                ]
            );
        },
    );
}

/// The last handle is dropped by another cache's thread, which must wait for nobody, or elsewhere.
///
/// Threads: as another cache's, remove, drop a handle; drop a handle; the maintainer; the listener. Protects: `Owner::drop`,
/// `Core::listen_forever`: who sees that it is over sees as well that the rest is left to it (the Release and Acquire of
/// `stop`, behind `orphaned`).
#[test]
fn last_handle_dropped_by_another_cache() {
    two_and_a_cache(
        "last_handle_dropped_by_another_cache",
        &["left to the listener", "elsewhere"],
        |run| {
            let by_listener = Arc::new(Mutex::new(Vec::new()));
            let over = Arc::new(AtomicBool::new(false));
            let (noted, gone) = (Arc::clone(&by_listener), Gone::new(&over));
            let (cache, whole) = Whole::new(Setup::woken(), move |_| {
                let _gone = &gone;
                noted.lock().unwrap().push(Whole::is_own_thread());
            });
            fill(&cache, &whole, &[1, 2]);
            let other = cache.clone();
            let whole = Arc::new(whole);
            run.race(
                &whole,
                move |whole| {
                    Whole::be_own_thread();
                    assert!(whole.remove(&cache, 1));
                    drop(cache);
                },
                move |_| drop(other),
            );
            learn_of(&over);
            // Of the two that drop handles, the one that is a cache's own tells nothing.
            run.reached(if by_listener.lock().unwrap()[1] {
                "left to the listener"
            } else {
                "elsewhere"
            });
            let removed = (1, 10, RemovalCause::Removed);
            let dropped = (2, 20, RemovalCause::Dropped);
            assert_eq!(whole.check_end(), [removed, dropped]);
        },
    );
}

/// A thread waits until what it removed is seen out, while the cache's own threads are at it and another removes as well.
///
/// Threads: remove, settle; remove; the maintainer; the listener. When `settle` has returned, the callback for what this
/// thread removed has returned, and its memory is freed. Protects: `SessionCache::settle`, `Departures::is_gone_before`, the
/// one deliverer, the lock of the limbo; that the listener is woken (`Engine::collect`).
#[test]
fn settle_with_the_threads_at_work() {
    two_and_a_cache_long(
        "settle_with_the_threads_at_work",
        &["its own", "the other's too"],
        |run| {
            let (cache, whole) = Whole::new(Setup::woken(), |_| ());
            fill(&cache, &whole, &[1, 2]);
            let other = cache.clone();
            let whole = Arc::new(whole);
            run.race(
                &whole,
                move |whole| {
                    assert!(whole.remove(&cache, 1));
                    cache.settle();
                    let told = (1, 10, RemovalCause::Removed);
                    assert!(whole.events().contains(&told), "not told yet");
                    assert!(live_sessions() <= 1, "not freed yet");
                },
                move |whole| assert!(whole.remove(&other, 2)),
            );
            let events = whole.check_end();
            assert_eq!(events.len(), 2);
            run.reached(if events[0].0 == 1 {
                "its own"
            } else {
                "the other's too"
            });
        },
    );
}
