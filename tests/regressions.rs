//! What was wrong once, each by its shortest way to show.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::{id, session};
use refrain::{CacheMode, Context, ContextId, Maintenance, ManualClock, SessionCache, StatsHandle};

fn manual(capacity: usize) -> (SessionCache, Context, ManualClock) {
    let clock = ManualClock::new();
    let cache = SessionCache::builder()
        .capacity(capacity)
        .shards(1)
        .clock(clock.clone())
        .maintenance(Maintenance::Manual)
        .build()
        .unwrap();
    let context = cache.context(ContextId::derive("test", &[])).unwrap();
    (cache, context, clock)
}

/// The age of a session that stays was compared in 16 bits, and a bucket noted again kept it: the oldest stayed for good,
/// and a lowered capacity was never reached.
#[test]
fn the_oldest_go_after_any_number_of_turnovers() {
    for between in [1_000, 33_000, 50_000] {
        let (cache, context, _) = manual(40);
        for n in 0..38 {
            assert!(cache.add(session(&context, n)).is_cached());
        }
        for n in 0..between {
            assert!(cache.add(session(&context, 1_000 + n)).is_cached());
            assert!(cache.take(&context, &id(1_000 + n)).is_some());
            if n % 64 == 0 {
                cache.run_maintenance();
            }
        }
        for n in 0..400 {
            assert!(cache.add(session(&context, 1_000_000 + n)).is_cached());
        }
        let old = (0..38).filter(|&n| cache.contains(&context, &id(n)));
        assert_eq!(old.count(), 0, "after {between}");
        cache.set_capacity(1).unwrap();
        cache.settle();
        assert_eq!(cache.len(), 1);
    }
}

thread_local! {
    static LAST: RefCell<Option<SessionCache>> = const { RefCell::new(None) };
}

/// The thread-local that marked a delivering thread was gone before the thread's last handle, and the process aborted.
#[test]
fn a_thread_may_end_with_the_last_handle() {
    for touched_first in [true, false] {
        let (send, receive) = mpsc::channel();
        let ended = thread::spawn(move || {
            if touched_first {
                LAST.with(|last| drop(last.borrow_mut().take()));
            }
            let cache = SessionCache::builder()
                .maintenance(Maintenance::Manual)
                .on_remove(move |_, cause| send.send(cause).unwrap())
                .build()
                .unwrap();
            let context = cache.context(ContextId::derive("test", &[])).unwrap();
            for n in 0..2 {
                assert!(cache.add(session(&context, n)).is_cached());
            }
            assert!(cache.remove(&context, &id(0)));
            cache.settle();
            LAST.with(|last| *last.borrow_mut() = Some(cache));
        });
        ended.join().unwrap();
        assert_eq!(receive.iter().count(), 2);
    }
}

/// Each callback drops the other cache's last handle: each listener waited for the other.
#[test]
fn two_caches_may_drop_each_other() {
    let _watchdog = common::watchdog();
    let caches: Arc<Mutex<Vec<Option<SessionCache>>>> = Arc::default();
    let both = Arc::new(Barrier::new(2));
    let build = |other: usize| {
        let (caches, both) = (Arc::clone(&caches), Arc::clone(&both));
        let first = AtomicBool::new(true);
        SessionCache::builder()
            .on_remove(move |_, _| {
                if first.swap(false, Ordering::SeqCst) {
                    both.wait();
                    let other = caches.lock().unwrap()[other].take();
                    drop(other);
                }
            })
            .build()
            .unwrap()
    };
    let pair = [build(1), build(0)];
    let handles = pair.each_ref().map(SessionCache::stats_handle);
    let contexts = pair
        .each_ref()
        .map(|cache| cache.context(ContextId::derive("test", &[])).unwrap());
    for (cache, context) in pair.iter().zip(&contexts) {
        for n in 0..3 {
            assert!(cache.add(session(context, n)).is_cached());
        }
    }
    *caches.lock().unwrap() = pair.each_ref().map(|cache| Some(cache.clone())).into();
    for (cache, context) in pair.into_iter().zip(&contexts) {
        assert!(cache.remove(context, &id(0)));
    }
    let is_over = |handle: &StatsHandle| {
        let stats = handle.snapshot();
        stats.dropped == 2 && stats.callbacks == 3 && stats.backlog_bytes == 0
    };
    while !handles.iter().all(is_over) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// One shard's stack was taken for all of them, and adds were refused with next to nothing waiting.
#[test]
fn a_busy_shard_is_not_taken_for_all_of_them() {
    let cache = SessionCache::builder()
        .capacity(1 << 16)
        .byte_budget(4 << 20)
        .backlog(2 << 20)
        .shards(1024)
        .maintenance(Maintenance::Manual)
        .build()
        .unwrap();
    let context = cache.context(ContextId::derive("test", &[])).unwrap();
    for n in 0..2_000 {
        assert!(cache.add(session(&context, n)).is_cached(), "add {n}");
        assert!(cache.take(&context, &id(n)).is_some());
    }
}

/// A settle that waited for a moment without any session on its way out waited for ever beside a busy thread.
#[test]
fn settle_returns_while_others_go_on() {
    let _watchdog = common::watchdog();
    let cache = SessionCache::builder().capacity(1000).build().unwrap();
    let context = cache.context(ContextId::derive("test", &[])).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                let _ = cache.add(session(&context, n));
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..20 {
            cache.settle();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// A session of a dead generation that had not been swept yet could still be used up by its handle.
#[test]
fn an_invalidated_session_is_not_taken_by_its_handle() {
    let (cache, context, _) = manual(4);
    assert!(cache.add(session(&context, 1)).is_cached());
    let handle = cache.get(&context, &id(1)).unwrap();
    cache.invalidate_context(&context).unwrap();
    assert!(!cache.take_exact(&handle));
    assert!(cache.remove_exact(&handle));
}

/// With `NO_AUTO_CLEAR`, one add on a full cache let everything expire that could.
#[test]
fn without_auto_clear_only_what_must_go_expires() {
    let (cache, context, clock) = manual(40);
    cache.set_mode(CacheMode::SERVER | CacheMode::NO_AUTO_CLEAR);
    for n in 0..40 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    clock.advance(cache.timeout());
    assert!(cache.add(session(&context, 40)).is_cached());
    let expired = cache.stats().expired;
    assert!((1..40).contains(&expired), "{expired} of 40 expired");
    assert_eq!(cache.flush(cache.now()), 40 - expired as usize);
}
