//! Remove callbacks that panic, block, use the cache, or are replaced while events are on their way.

#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use common::{Rig, assert_settled, context, id, number, secs, session, sized, watchdog};
use refrain::{Context, Maintenance, ManualClock, OnRemove, RemovalCause, Session, SessionCache};

#[test]
fn each_cause_is_told_once_with_the_session_itself() {
    let rig = Rig::with(SessionCache::builder().capacity(6).shards(1));
    let doomed = context(&rig.cache, "doomed");
    for n in 1..=5 {
        assert!(rig.add(n).is_cached());
    }
    assert!(rig.cache.add(session(&doomed, 6)).is_cached());
    rig.take(1);
    rig.remove(2);
    assert!(rig.cache.retain(|session| number(session) != 3) == 1);
    rig.cache.invalidate_context(&doomed).unwrap();
    rig.cache.run_maintenance();
    rig.cache.flush(rig.cache.now() + secs(7200));
    assert!(rig.add(7).is_cached());
    rig.cache.set_capacity(1).unwrap();
    assert!(rig.add(8).is_cached());
    rig.cache.clear();
    rig.cache.settle();
    assert_eq!(
        rig.log.drain_sorted(),
        [
            (1, RemovalCause::Taken),
            (2, RemovalCause::Removed),
            (3, RemovalCause::Retained),
            (4, RemovalCause::Expired),
            (5, RemovalCause::Expired),
            (6, RemovalCause::Invalidated),
            (7, RemovalCause::Evicted),
            (8, RemovalCause::Cleared),
        ]
    );
    assert!(rig.add(9).is_cached());
    let (log, stats) = (rig.log.clone(), rig.cache.stats_handle());
    drop(rig);
    assert_eq!(log.drain(), [(9, RemovalCause::Dropped)]);
    let stats = stats.snapshot();
    assert_settled(&stats);
    let each = [
        stats.taken,
        stats.removed,
        stats.retained,
        stats.invalidated,
        stats.evicted,
        stats.cleared,
        stats.dropped,
    ];
    assert_eq!(each, [1; 7]);
    assert_eq!((stats.expired, stats.inserted, stats.entries), (2, 9, 0));
}

#[test]
fn the_callback_gets_the_very_session_with_its_bytes() {
    let heard = Arc::new(Mutex::new(None));
    let keep = heard.clone();
    let cache = SessionCache::builder()
        .maintenance(Maintenance::Manual)
        .on_remove(move |gone, _| *keep.lock().unwrap() = Some(gone.clone()))
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let object = sized(&context, 7, 1000);
    assert!(cache.add(object.clone()).is_cached());
    assert!(cache.remove(&context, &id(7)));
    cache.settle();
    let gone = heard.lock().unwrap().take().unwrap();
    assert!(gone.is_same(&object));
    assert_eq!(gone.payload(), [7; 1000]);
    assert!(!gone.is_resumable());
}

#[test]
fn events_of_a_shard_come_in_the_order_in_which_sessions_left() {
    let rig = Rig::new(5000);
    for n in 0..5000 {
        assert!(rig.add(n).is_cached());
    }
    // More than a batch.
    for n in (0..5000).rev() {
        assert!(rig.remove(n));
    }
    let order: Vec<_> = rig.gone().into_iter().map(|(n, _)| n).collect();
    assert_eq!(order, (0..5000).rev().collect::<Vec<_>>());
}

#[test]
fn a_panic_costs_its_own_event_and_nothing_else() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        let cache = SessionCache::builder()
            .capacity(5000)
            .maintenance(maintenance)
            .on_remove(move |gone, _| {
                let n = number(gone);
                log.lock().unwrap().push(n);
                // Quietly: without the message and the backtrace of a panic that is looked for.
                match n % 3 {
                    0 => std::panic::resume_unwind(Box::new("one of three")),
                    // A payload that panics again when it is dropped.
                    1 => std::panic::resume_unwind(Box::new(Bomb)),
                    _ => {}
                }
            })
            .build()
            .unwrap();
        let context = context(&cache, "x");
        for n in 0..3000 {
            assert!(cache.add(session(&context, n)).is_cached());
        }
        assert_eq!(cache.clear(), 3000);
        cache.settle();
        let mut heard = std::mem::take(&mut *heard.lock().unwrap());
        heard.sort_unstable();
        assert_eq!(heard, (0..3000).collect::<Vec<_>>(), "{maintenance:?}");
        let stats = cache.stats();
        assert_eq!(stats.callback_panics, 2000);
        assert_eq!(stats.callbacks, stats.callbacks_due());
        // And the next one is heard as ever.
        assert!(cache.add(session(&context, 5)).is_cached());
        assert!(cache.remove(&context, &id(5)));
        cache.settle();
        assert_eq!(cache.stats().callbacks, 3001);
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("again"));
        }
    }
}

#[test]
fn a_callback_may_use_the_cache() {
    let _watchdog = watchdog();
    type Home = Arc<OnceLock<(SessionCache, Context)>>;
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let home = Home::default();
        let (inner, first) = (home.clone(), AtomicBool::new(true));
        let heard = Arc::new(AtomicUsize::new(0));
        let count = heard.clone();
        let cache = SessionCache::builder()
            .capacity(100)
            .clock(ManualClock::new())
            .maintenance(maintenance)
            .on_remove(move |gone, cause| {
                let (cache, context) = inner.get().unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                assert!(!cache.contains(context, &gone.session_id()));
                // Whatever is removed comes back once as another object, which leaves in its turn.
                if cause == RemovalCause::Cleared && number(gone) < 1000 {
                    assert!(cache.add(session(context, number(gone) + 1000)).is_cached());
                }
                if first.swap(false, Ordering::SeqCst) {
                    // Neither waits for this very callback.
                    cache.settle();
                    assert_eq!(cache.run_maintenance().delivered, 0);
                }
            })
            .build()
            .unwrap();
        let context = context(&cache, "x");
        assert!(home.set((cache.clone(), context.clone())).is_ok());
        for n in 0..10 {
            assert!(cache.add(session(&context, n)).is_cached());
        }
        assert_eq!(cache.clear(), 10);
        cache.settle();
        let mut left = Vec::new();
        cache.retain(|session| {
            left.push(number(session));
            true
        });
        left.sort_unstable();
        assert_eq!(left, (1000..1010).collect::<Vec<_>>());
        assert_eq!(cache.clear(), 10);
        cache.settle();
        assert_eq!(cache.stats().callback_panics, 0);
        assert_eq!(heard.load(Ordering::SeqCst), 20);
        assert_eq!(cache.stats().callbacks, 20);
        cache.set_on_remove(None);
        assert!(cache.is_empty() && cache.stats().is_balanced());
    }
}

#[test]
fn a_lookup_after_the_call_can_not_find_the_session() {
    let _watchdog = watchdog();
    type Home = Arc<OnceLock<(SessionCache, Context)>>;
    let home = Home::default();
    let inner = home.clone();
    let found = Arc::new(AtomicUsize::new(0));
    let count = found.clone();
    let cache = SessionCache::builder()
        .capacity(50)
        .on_remove(move |gone, _| {
            let (cache, context) = inner.get().unwrap();
            let again = cache.get(context, &gone.session_id());
            count.fetch_add(
                usize::from(again.is_some_and(|s| s.is_same(gone))),
                Ordering::SeqCst,
            );
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    assert!(home.set((cache.clone(), context.clone())).is_ok());
    for n in 0..5000 {
        let _ = cache.add(session(&context, n % 200));
        cache.take(&context, &id(n * 7 % 200));
    }
    cache.settle();
    assert_eq!(found.load(Ordering::SeqCst), 0);
    cache.set_on_remove(None);
}

#[test]
fn replaced_mid_run_each_event_goes_to_one_of_them() {
    let _watchdog = watchdog();
    const SESSIONS: u64 = 20_000;
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let heard: Arc<Vec<AtomicUsize>> =
            Arc::new((0..SESSIONS).map(|_| AtomicUsize::new(0)).collect());
        let listener = |of: &Arc<Vec<AtomicUsize>>| -> OnRemove {
            let heard = of.clone();
            Arc::new(move |gone: &Session, _| {
                heard[number(gone) as usize].fetch_add(1, Ordering::SeqCst);
            })
        };
        let cache = SessionCache::builder()
            .capacity(100)
            .maintenance(maintenance)
            .build()
            .unwrap();
        assert!(cache.on_remove().is_none());
        assert!(cache.set_on_remove(Some(listener(&heard))).is_none());
        let context = context(&cache, "x");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let next = listener(&heard);
                    let old = cache.set_on_remove(Some(next.clone()));
                    assert!(old.is_some());
                    assert!(Arc::ptr_eq(&cache.on_remove().unwrap(), &next));
                }
            });
            for n in 0..SESSIONS {
                while !cache.add(session(&context, n)).is_cached() {
                    cache.settle();
                }
                if n % 500 == 0 {
                    cache.run_maintenance();
                }
            }
            cache.clear();
            cache.settle();
            stop.store(true, Ordering::SeqCst);
        });
        let wrong = heard.iter().filter(|n| n.load(Ordering::SeqCst) != 1);
        // A session that was refused for want of room was tried again under the same number, and fires nothing.
        assert_eq!(wrong.count(), 0, "{maintenance:?}");
        assert_eq!(cache.stats().callbacks, SESSIONS);
    }
}

#[test]
fn without_a_callback_nobody_hears_and_nothing_stays() {
    let rig = Rig::new(10);
    assert!(rig.add(1).is_cached() && rig.add(2).is_cached());
    rig.remove(1);
    // Taken away before the event was delivered: it goes to nobody.
    let old = rig.cache.set_on_remove(None).unwrap();
    assert!(rig.cache.on_remove().is_none());
    assert_eq!(rig.gone(), []);
    assert_eq!(rig.cache.stats().backlog_bytes, 0);
    assert!(rig.cache.set_on_remove(Some(old)).is_none());
    rig.remove(2);
    assert_eq!(rig.gone(), [(2, RemovalCause::Removed)]);
    assert_eq!(rig.cache.stats().callbacks, 1);
}

#[test]
fn a_callback_may_replace_itself() {
    let _watchdog = watchdog();
    let home = Arc::new(OnceLock::<SessionCache>::new());
    let (inner, heard) = (home.clone(), Arc::new(Mutex::new(Vec::new())));
    let (first, second) = (heard.clone(), heard.clone());
    let cache = SessionCache::builder()
        .capacity(10)
        .shards(1)
        .on_remove(move |gone, _| {
            first.lock().unwrap().push((1, number(gone)));
            let log = second.clone();
            let next: OnRemove = Arc::new(move |gone: &Session, _| {
                log.lock().unwrap().push((2, number(gone)));
            });
            inner.get().unwrap().set_on_remove(Some(next));
        })
        .build()
        .unwrap();
    assert!(home.set(cache.clone()).is_ok());
    let context = context(&cache, "x");
    for n in 0..3 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    for n in 0..3 {
        assert!(cache.remove(&context, &id(n)));
    }
    cache.settle();
    assert_eq!(*heard.lock().unwrap(), [(1, 0), (2, 1), (2, 2)]);
}
