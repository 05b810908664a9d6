//! Remove callbacks at their worst: they use everything while they run, throw what throws again, end the cache they belong
//! to, and do the same when it is ending already.
//!
//! That one which blocks delays only callbacks is in `tests/backlog.rs`; that a panic costs its own event only, in
//! `tests/callbacks.rs`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};

use refrain::{Added, Context, ContextId, Maintenance, OnRemove, RemovalCause, SessionCache};

use crate::common::{assert_settled, context, id, millis, number, secs, session, watchdog};

/// What throws again when what it threw is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("again"));
        }
    }
}

/// Quietly: without the message of a panic that is looked for.
fn explode() -> ! {
    std::panic::resume_unwind(Box::new(Bomb))
}

struct Two {
    own: (SessionCache, Context),
    other: (SessionCache, Context),
}

/// Uses all of the door, and ends with a panic whose payload panics.
fn use_everything(two: &Two, n: u64) -> ! {
    for (cache, context) in [&two.own, &two.other] {
        let fresh = 1_000_000 + n;
        assert_eq!(cache.add(session(context, fresh)), Added::Inserted);
        assert_eq!(cache.with(context, &id(fresh), number), Some(fresh));
        assert!(cache.get(context, &id(fresh)).is_some());
        assert!(cache.take(context, &id(fresh)).is_some());
        assert!(!cache.remove(context, &id(fresh)));
        assert!(!cache.contains(context, &id(fresh)));
        assert!(cache.remove_exact(&session(context, fresh)));
        let bystander = cache.context(ContextId::derive("bystander", &[])).unwrap();
        assert!(cache.add(session(&bystander, fresh)).is_cached());
        cache.invalidate_context(&bystander).unwrap();
        cache.retain(|session| number(session) < 1_000_000);
        cache.flush(cache.now());
        let capacity = cache.set_capacity(500).unwrap();
        cache.set_capacity(capacity).unwrap();
        let mode = cache.set_mode(cache.mode());
        cache.set_mode(mode);
        // Neither waits for the callback that it is called in, nor calls another.
        assert_eq!(cache.run_maintenance().delivered, 0);
        assert!(cache.stats().entries <= 1000);
    }
    two.own.0.settle();
    let same = two.own.0.on_remove();
    assert!(two.own.0.set_on_remove(same).is_some());
    explode()
}

#[test]
fn one_that_uses_everything_and_panics() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let home: Arc<OnceLock<Two>> = Arc::default();
        let inner = Arc::downgrade(&home);
        let (told, failed) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (tell, fail) = (told.clone(), failed.clone());
        let cache = SessionCache::builder()
            .capacity(1000)
            .maintenance(maintenance)
            .on_remove(move |gone, _| {
                let n = number(gone);
                let Some(home) = inner.upgrade().filter(|_| n < 100) else {
                    return;
                };
                tell.fetch_add(1, Ordering::SeqCst);
                let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    use_everything(home.get().unwrap(), n)
                }));
                match thrown {
                    Err(thrown) if thrown.is::<Bomb>() => std::panic::resume_unwind(thrown),
                    _ => fail.store(true, Ordering::SeqCst),
                }
            })
            .build()
            .unwrap();
        // Without a callback: what it maintains calls none.
        let other = SessionCache::builder().capacity(1000).build().unwrap();
        let contexts = [context(&cache, "own"), context(&other, "other")];
        let two = Two {
            own: (cache.clone(), contexts[0].clone()),
            other: (other, contexts[1].clone()),
        };
        assert!(home.set(two).is_ok());
        for n in 0..100 {
            assert!(cache.add(session(&contexts[0], n)).is_cached());
        }
        for n in 0..100 {
            assert!(cache.remove(&contexts[0], &id(n)));
            cache.run_maintenance();
        }
        cache.settle();
        assert!(!failed.load(Ordering::SeqCst), "a check in the callback");
        assert_eq!(told.load(Ordering::SeqCst), 100);
        let stats = cache.stats();
        assert_eq!(stats.callback_panics, 100);
        // And 100 each of the callbacks' own: taken, invalidated, removed without an add.
        assert_eq!(stats.callbacks, 400, "{maintenance:?}");
        assert_settled(&stats);
        drop(home);
    }
}

#[test]
fn one_that_blocks_holds_up_neither_another_cache_nor_what_is_no_callback() {
    let _watchdog = watchdog();
    let (began, entered) = channel();
    let (gate, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    let blocked = SessionCache::builder()
        .capacity(100)
        .tick(millis(1))
        .on_remove(move |_, _| {
            let _ = began.send(());
            let _ = opened.lock().unwrap().recv();
        })
        .build()
        .unwrap();
    let here = context(&blocked, "x");
    assert!(blocked.add(session(&here, 0)).is_cached());
    assert!(blocked.remove(&here, &id(0)));
    entered.recv().unwrap();
    // Another cache's callbacks come, its memory goes, and it ends.
    let (told, heard) = channel();
    let free = SessionCache::builder()
        .on_remove(move |gone, _| told.send(number(gone)).unwrap())
        .build()
        .unwrap();
    let there = context(&free, "y");
    assert!(free.add(session(&there, 1)).is_cached() && free.remove(&there, &id(1)));
    assert_eq!(heard.recv(), Ok(1));
    free.settle();
    assert_eq!(free.stats().backlog_bytes, 0);
    assert!(free.add(session(&there, 2)).is_cached());
    drop(free);
    assert_eq!(heard.iter().collect::<Vec<_>>(), [2]);
    // The blocked one's clock goes on, and its wheel.
    let short = crate::common::lasting(&here, 1, millis(1));
    assert!(blocked.add(short).is_cached());
    while blocked.stats().expired == 0 {
        std::thread::yield_now();
    }
    // Everything that may be changed can be, and what would be called from now on is the new one.
    let (told, later) = channel();
    let next: OnRemove = Arc::new(move |gone, _| told.send(number(gone)).unwrap());
    assert!(blocked.set_on_remove(Some(next)).is_some());
    blocked.set_capacity(10).unwrap();
    blocked.invalidate_context(&here).unwrap();
    assert_eq!(blocked.stats().callbacks, 1);
    drop(gate);
    blocked.settle();
    assert_eq!(later.try_iter().collect::<Vec<_>>(), [1]);
    assert_settled(&blocked.stats());
}

#[test]
fn one_that_drops_the_last_handle_and_panics() {
    let _watchdog = watchdog();
    for bomb in [false, true] {
        let home = Arc::new(Mutex::new(None::<SessionCache>));
        let (told, heard) = channel();
        let inner = home.clone();
        let cache = SessionCache::builder()
            .capacity(100)
            .on_remove(move |gone, cause| {
                let last = inner.lock().unwrap().take();
                told.send((number(gone), cause)).unwrap();
                // Its end begins in here, and this call goes on.
                drop(last);
                if bomb {
                    explode()
                }
                std::panic::resume_unwind(Box::new("a listener's"))
            })
            .build()
            .unwrap();
        let context = context(&cache, "x");
        let stats = cache.stats_handle();
        for n in 0..50 {
            assert!(cache.add(session(&context, n)).is_cached());
        }
        let mut slot = home.lock().unwrap();
        assert!(cache.remove(&context, &id(0)));
        *slot = Some(cache);
        drop(slot);
        // The channel ends with the callback, and that with the last of the cache.
        let mut events: Vec<_> = heard.iter().collect();
        assert_eq!(events.remove(0), (0, RemovalCause::Removed));
        events.sort_by_key(|event| event.0);
        let rest: Vec<_> = (1..50).map(|n| (n, RemovalCause::Dropped)).collect();
        assert_eq!(events, rest);
        let stats = stats.snapshot();
        assert_settled(&stats);
        assert_eq!(stats.callback_panics, 50);
    }
}

#[test]
fn one_that_works_and_panics_while_its_cache_ends() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let other = SessionCache::builder()
            .capacity(1000)
            .maintenance(maintenance)
            .on_remove(|_, _| ())
            .build()
            .unwrap();
        let there = context(&other, "other");
        let (cache_of_it, context_of_it) = (other.clone(), there.clone());
        let heard = Arc::new(AtomicU64::new(0));
        let count = heard.clone();
        let cache = SessionCache::builder()
            .capacity(100)
            .maintenance(maintenance)
            .on_remove(move |gone, cause| {
                assert_eq!(cause, RemovalCause::Dropped);
                count.fetch_add(1, Ordering::SeqCst);
                // Moves over to another cache, which is settled and maintained from here.
                let n = number(gone);
                assert!(cache_of_it.add(session(&context_of_it, n)).is_cached());
                if n % 10 == 0 {
                    cache_of_it.remove(&context_of_it, &id(n));
                    cache_of_it.settle();
                    // A cache that lives within the end of another.
                    let brief = SessionCache::builder()
                        .maintenance(maintenance)
                        .build()
                        .unwrap();
                    let context = context(&brief, "brief");
                    assert!(brief.add(session(&context, n)).is_cached());
                    drop(brief);
                }
                explode()
            })
            .build()
            .unwrap();
        let here = context(&cache, "x");
        for n in 0..100 {
            assert!(cache.add(session(&here, n)).is_cached());
        }
        let stats = cache.stats_handle();
        drop(cache);
        let stats = stats.snapshot();
        assert_settled(&stats);
        assert_eq!(heard.load(Ordering::SeqCst), 100, "{maintenance:?}");
        assert_eq!((stats.dropped, stats.callback_panics), (100, 100));
        assert_eq!(other.len(), 90, "no check failed in a callback");
        assert_eq!(other.flush(other.now() + secs(100_000)), 90);
        other.settle();
        assert_settled(&other.stats());
    }
}

/// What a callback owns: its end uses the cache, and panics.
struct Owned {
    home: Arc<OnceLock<(SessionCache, Context)>>,
    ended: Arc<AtomicU64>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some((cache, context)) = self.home.get() {
            assert!(cache.add(session(context, 77)).is_cached());
            assert!(cache.remove(context, &id(77)));
            cache.settle();
        }
        self.ended.fetch_add(1, Ordering::SeqCst);
        explode()
    }
}

#[test]
fn one_that_puts_an_end_to_itself_whose_destructor_works_and_panics() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let home: Arc<OnceLock<(SessionCache, Context)>> = Arc::default();
        let ended = Arc::new(AtomicU64::new(0));
        let cache = SessionCache::builder()
            .capacity(10)
            .maintenance(maintenance)
            .build()
            .unwrap();
        let context = context(&cache, "x");
        assert!(home.set((cache.clone(), context.clone())).is_ok());
        for n in 1..=20 {
            let owned = Owned {
                home: home.clone(),
                ended: ended.clone(),
            };
            let listener: OnRemove = Arc::new(move |_, _| {
                let (cache, _) = owned.home.get().unwrap();
                // The call itself is the last that has it.
                drop(cache.set_on_remove(None));
            });
            cache.set_on_remove(Some(listener));
            assert!(cache.add(session(&context, 1)).is_cached());
            assert!(cache.remove(&context, &id(1)));
            cache.settle();
            assert_eq!(ended.load(Ordering::SeqCst), n, "{maintenance:?}");
            let stats = cache.stats();
            assert_eq!((stats.callbacks, stats.callback_panics), (n, n));
        }
        cache.settle();
        let stats = cache.stats();
        assert!(stats.is_balanced() && stats.backlog_bytes == 0, "{stats:?}");
        assert_eq!((stats.removed, stats.entries), (40, 0));
    }
}
