//! A process that forks: the child has the memory and one thread, and must neither hang nor grow; the parent must not
//! notice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, OnceLock};

use refrain::{
    Added, Context, ContextId, Error, Maintenance, NotCached, RemovalCause, SessionCache,
};

use crate::child::{
    Ended, Findings, UNLUCKY, check, drop_copy, fork, in_child, try_new_cache, wait,
};
use crate::common::{
    Log, assert_settled, context, id, millis, number, secs, session, sized, watchdog, watchdog_for,
};
use crate::scene::{Stage, play};

/// What a worker does with the cache that it inherited from a master which was at nothing.
fn try_inherited(cache: &SessionCache, context: &Context, log: &Log) -> Findings {
    for n in 0..50 {
        check!(cache.with(context, &id(n), number) == Some(n), n);
    }
    check!(cache.take(context, &id(1)).is_some() && cache.take(context, &id(1)).is_none());
    check!(cache.remove(context, &id(2)));
    cache.settle();
    if cache.stats().backlog_bytes > 0 {
        return Err(UNLUCKY.into());
    }
    let told = log.drain_sorted();
    let expected = [(1, RemovalCause::Taken), (2, RemovalCause::Removed)];
    check!(told == expected, told);
    // Far more than the backlog, maintained by hand.
    for n in 100..20_000 {
        check!(
            cache.add(sized(context, n, 1000)).is_cached(),
            (n, cache.stats())
        );
        if n % 64 == 0 {
            cache.run_maintenance();
        }
    }
    check!(cache.len() == 100);
    let other = cache
        .context(ContextId::derive("other", &[]))
        .map_err(|e| e.to_string())?;
    check!(cache.add(session(&other, 1)).is_cached());
    check!(cache.invalidate_context(&other).is_ok());
    check!(!cache.contains(&other, &id(1)));
    cache.settle();
    cache.set_capacity(50).map_err(|e| e.to_string())?;
    cache.settle();
    check!(cache.len() == 50, cache.len());
    check!(cache.flush(cache.now() + secs(1_000_000)) == 50);
    check!(cache.add(session(context, 5)).is_cached());
    cache.settle();
    let stats = cache.stats();
    check!(stats.is_balanced() && stats.backlog_bytes == 0, stats);
    check!(stats.callbacks == stats.callbacks_due(), stats);
    log.drain();
    Ok(())
}

#[test]
fn a_master_that_forks_workers_before_it_serves() {
    play("fork::prefork");
}

#[test]
#[ignore = "a scene"]
fn prefork() {
    let _watchdog = watchdog_for(secs(240));
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let log = Log::default();
        let cache = SessionCache::builder()
            .capacity(100)
            .shards(4)
            .backlog(1 << 20)
            .tick(secs(3600))
            .maintenance(maintenance)
            .on_remove(log.listener())
            .build()
            .unwrap();
        let context = context(&cache, "x");
        for n in 0..50 {
            assert!(cache.add(session(&context, n)).is_cached());
        }
        cache.settle();
        let stats = cache.stats_handle();
        let child = || {
            try_inherited(&cache, &context, &log)?;
            try_new_cache()?;
            // Its end waits for nobody, and tells nobody: the sessions are the parent's.
            drop_copy(&cache);
            check!(log.all().is_empty(), log.all());
            let stats = stats.snapshot();
            check!((stats.entries, stats.backlog_bytes) == (0, 0), stats);
            try_new_cache()
        };
        // Several at once, as masters do. One forked at the moment when the maintainer was awake has a copy that can't free,
        // which is another test's matter.
        let mut well = 0;
        for _ in 0..10 {
            cache.settle();
            log.drain();
            let workers = [fork(child), fork(child)];
            // Meanwhile the parent serves.
            for n in 50..100 {
                assert!(cache.add(session(&context, n)).is_cached());
                assert!(cache.take(&context, &id(n)).is_some());
            }
            for worker in workers {
                match wait(worker) {
                    Ended::Well => well += 1,
                    Ended::Unlucky => {}
                    ended => panic!("{maintenance:?}: {ended:?}"),
                }
            }
            if well >= 2 {
                break;
            }
        }
        assert!(well >= 2, "{maintenance:?}");
        // Nothing of it has come here.
        cache.settle();
        assert_eq!(cache.len(), 50);
        assert!((0..50).all(|n| cache.contains(&context, &id(n))));
        let taken = (50..100).map(|n| (n, RemovalCause::Taken));
        assert_eq!(log.drain_sorted(), taken.collect::<Vec<_>>());
        assert_settled(&cache.stats());
        drop(cache);
        assert_eq!(log.drain().len(), 50);
    }
}

/// Everything that a copy must still do whatever the parent's threads were at, within the child's alarm.
fn try_copy(cache: &SessionCache, context: &Context, one: u64, round: u64) -> Findings {
    let room = cache.byte_budget() as u64 + (1 << 20);
    let bounded = |cache: &SessionCache| {
        let stats = cache.stats();
        // Besides, what the threads of the parent had in hand.
        stats.bytes + stats.backlog_bytes <= room + 8 * one
    };
    let base = 1_000_000 * (round + 1);
    let mut refused = 0;
    for n in base..base + 700 {
        match cache.add(sized(context, n, 4000)) {
            Added::NotCached(NotCached::Backlog) => refused += 1,
            Added::NotCached(NotCached::Full) => {}
            added => {
                check!(added.is_cached(), added);
                check!(cache.with(context, &id(n), number) == Some(n));
                check!(cache.take(context, &id(n)).is_some());
                check!(cache.take(context, &id(n)).is_none());
            }
        }
        check!(bounded(cache), cache.stats());
    }
    check!(refused > 0, cache.stats());
    // A thread of the child's own, and its end.
    let helped = std::thread::scope(|scope| {
        let work = || cache.get(context, &id(base)).is_none() && !cache.remove(context, &id(base));
        scope.spawn(work).join()
    });
    check!(helped.ok() == Some(true));
    cache.run_maintenance();
    cache.settle();
    cache.flush(cache.now() + secs(1));
    cache.retain(|session| number(session) % 2 == 0);
    let got = cache.context(ContextId::derive("the child's", &[]));
    check!(matches!(got, Ok(_) | Err(Error::Forked)), got);
    let renewed = cache.invalidate_context(context);
    check!(got.is_ok() == (renewed == Ok(())), renewed);
    cache.set_on_remove(None);
    cache.set_capacity(1).map_err(|e| e.to_string())?;
    cache.run_maintenance();
    cache.clear();
    cache.settle();
    check!(bounded(cache), cache.stats());
    try_new_cache()?;
    drop_copy(cache);
    if got.is_err() {
        return Err(UNLUCKY.into());
    }
    Ok(())
}

#[test]
fn a_fork_beside_running_threads() {
    play("fork::beside_threads");
}

#[test]
#[ignore = "a scene"]
fn beside_threads() {
    let _watchdog = watchdog_for(secs(600));
    let cache = SessionCache::builder()
        .capacity(100)
        .shards(2)
        .byte_budget(1 << 20)
        .backlog(1 << 20)
        .max_session_bytes(usize::MAX)
        .tick(millis(1))
        .on_remove(|_, _| std::thread::sleep(millis(1)))
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let one = sized(&context, 0, 4000).memory() as u64;
    let (stop, paused) = (AtomicBool::new(false), AtomicBool::new(true));
    let rounds = AtomicU64::new(0);
    let busy = |work: &(dyn Fn(u64) + Sync)| {
        for n in 0.. {
            while paused.load(Ordering::Relaxed) && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(millis(1));
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
            work(n);
            rounds.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (inside, is_inside) = channel();
    std::thread::scope(|scope| {
        let _stage = Stage;
        // One is in `with` all the while, so nothing is freed in the child, ever.
        let (leave, stays) = channel::<()>();
        let reader = SessionCache::builder().build().unwrap();
        scope.spawn(move || {
            let context = crate::common::context(&reader, "reader");
            assert!(reader.add(session(&context, 1)).is_cached());
            reader.with(&context, &id(1), |_| {
                inside.send(()).unwrap();
                let _ = stays.recv();
            });
        });
        is_inside.recv().unwrap();
        // Others hold the locks of maintenance and of the contexts as often as they can.
        scope.spawn(|| busy(&|n| _ = cache.add(sized(&context, n % 300, 4000))));
        scope.spawn(|| busy(&|n| drop(cache.take(&context, &id(n % 300)))));
        scope.spawn(|| busy(&|_| _ = cache.run_maintenance()));
        scope.spawn(|| {
            busy(&|n| {
                let other = cache.context(ContextId::derive("y", &[("n", &n.to_le_bytes())]));
                cache.invalidate_context(&other.unwrap()).unwrap();
            });
        });
        scope.spawn(|| {
            busy(&|_| {
                cache.set_on_remove(cache.on_remove());
            });
        });
        let (mut unlucky, mut round) = (0, 0);
        // Until some have found a lock held.
        while round < 20 || unlucky < 2 && round < 1000 {
            round += 1;
            let before = rounds.load(Ordering::Relaxed);
            paused.store(false, Ordering::Relaxed);
            while rounds.load(Ordering::Relaxed) < before + 100 {
                std::thread::yield_now();
            }
            let child = fork(|| try_copy(&cache, &context, one, round));
            // So that it has the machine to itself.
            paused.store(true, Ordering::Relaxed);
            match wait(child) {
                Ended::Well => {}
                Ended::Unlucky => unlucky += 1,
                ended => panic!("round {round}: {ended:?}"),
            }
        }
        assert!(unlucky > 1, "no lock was ever held");
        println!("{unlucky} of {round} forks found a lock held");
        stop.store(true, Ordering::Relaxed);
        drop(leave);
    });
    cache.clear();
    cache.settle();
    assert_settled(&cache.stats());
}

#[test]
fn a_fork_while_a_callback_is_under_way() {
    play("fork::beside_a_callback");
}

#[test]
#[ignore = "a scene"]
fn beside_a_callback() {
    let _watchdog = watchdog();
    let _stage = Stage;
    let (began, entered) = channel();
    let (gate, opened) = channel::<()>();
    let opened = Mutex::new(opened);
    let log = Log::default();
    let tell = log.listener();
    let cache = SessionCache::builder()
        .capacity(100)
        .shards(1)
        .on_remove(move |gone, cause| {
            tell(gone, cause);
            if number(gone) % 5 == 0 {
                began.send(()).unwrap();
                let _ = opened.lock().unwrap().recv();
            }
        })
        .build()
        .unwrap();
    let context = context(&cache, "x");
    for n in 0..10 {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    assert!(cache.remove(&context, &id(0)));
    entered.recv().unwrap();
    // Collected, and waiting behind it.
    assert!(cache.remove(&context, &id(1)));
    cache.run_maintenance();
    let ended = in_child(|| {
        // The parent tells of those; the child of what leaves here.
        check!(cache.remove(&context, &id(2)));
        cache.settle();
        let heard = log.all();
        let expected = [(0, RemovalCause::Removed), (2, RemovalCause::Removed)];
        check!(heard == expected, heard);
        drop_copy(&cache);
        check!(log.all().len() == 2, log.all());
        Ok(())
    });
    assert_eq!(ended, Ended::Well);
    // Threads of the child's own get the memory of those that it does not have. None is taken for the one that was calling
    // the callback, whichever of that memory it gets.
    for depth in 0..8 {
        fn deep<R: Send>(depth: usize, work: impl FnOnce() -> R + Send) -> Option<R> {
            let step = || match depth {
                0 => Some(work()),
                _ => deep(depth - 1, work),
            };
            std::thread::scope(|scope| scope.spawn(step).join().ok().flatten())
        }
        let ended = in_child(|| {
            let told = deep(depth, || {
                let removed = cache.remove(&context, &id(2));
                cache.settle();
                (removed, log.all().len())
            });
            check!(told == Some((true, 2)), (depth, told));
            Ok(())
        });
        assert_eq!(ended, Ended::Well);
    }
    // A child's child, while a thread of the child's is in a callback.
    let ended = in_child(|| {
        check!(cache.remove(&context, &id(5)));
        let work = cache.clone();
        std::thread::spawn(move || work.run_maintenance());
        check!(entered.recv().is_ok());
        let ended = in_child(|| {
            check!(cache.remove(&context, &id(6)));
            cache.settle();
            let heard = log.all();
            check!(heard.last() == Some(&(6, RemovalCause::Removed)), heard);
            check!(cache.stats().backlog_bytes > 0);
            Ok(())
        });
        check!(ended == Ended::Well, ended);
        Ok(())
    });
    assert_eq!(ended, Ended::Well);
    drop(gate);
    cache.settle();
    let expected = [(0, RemovalCause::Removed), (1, RemovalCause::Removed)];
    assert_eq!(log.drain(), expected);
    assert_eq!(cache.len(), 8);
    assert_settled(&cache.stats());
}

#[test]
fn a_fork_inside_a_borrow_and_inside_a_callback() {
    play("fork::inside");
}

#[test]
#[ignore = "a scene"]
fn inside() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let ended: Arc<Mutex<Vec<Ended>>> = Arc::default();
        let kept = ended.clone();
        // The one handle of the cache.
        let home: Arc<OnceLock<(SessionCache, Context)>> = Arc::default();
        let inner = Arc::downgrade(&home);
        let cache = SessionCache::builder()
            .capacity(10)
            .shards(1)
            .maintenance(maintenance)
            .on_remove(move |gone, cause| {
                let child = || {
                    let home = inner.upgrade().unwrap();
                    let (cache, context) = home.get().unwrap();
                    check!(cache.remove(context, &id(2)));
                    for _ in 0..10 {
                        cache.run_maintenance();
                    }
                    cache.settle();
                    // What the callback under way was given stays whole, after the end of the copy too.
                    drop_copy(cache);
                    check!(gone.payload() == [1; 500]);
                    try_new_cache()?;
                    check!(gone.payload() == [1; 500]);
                    Ok(())
                };
                if number(gone) == 1 && cause == RemovalCause::Removed {
                    kept.lock().unwrap().push(in_child(child));
                }
            })
            .build()
            .unwrap();
        let context = context(&cache, "x");
        assert!(home.set((cache, context)).is_ok());
        let (cache, context) = home.get().unwrap();
        for n in 0..4 {
            assert!(cache.add(sized(context, n, 500)).is_cached());
        }
        // In a borrow: what it lends stays whole although the child ends the session and maintains.
        let by_borrow = cache.with(context, &id(3), |lent| {
            in_child(|| {
                check!(cache.remove(context, &id(3)));
                for n in 100..200 {
                    check!(cache.add(sized(context, n, 500)).is_cached());
                    cache.run_maintenance();
                }
                try_new_cache()?;
                check!(lent.payload() == [3; 500]);
                Ok(())
            })
        });
        assert_eq!(by_borrow, Some(Ended::Well), "{maintenance:?}");
        let handle = cache.stats_handle();
        assert!(cache.remove(context, &id(1)));
        cache.settle();
        assert_eq!(*ended.lock().unwrap(), [Ended::Well], "{maintenance:?}");
        assert!(cache.contains(context, &id(2)));
        drop(home);
        assert_settled(&handle.snapshot());
    }
}
