//! Threads that die in the middle of something, or end while they still have things of the cache's.
//!
//! One that never ends at all is in `reader`; a panic in a remove callback in `listener`.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

use refrain::{
    Added, Context, Maintenance, NotCached, RemovalCause, Session, SessionCache, StatsHandle,
};

use crate::common::{Log, Rig, assert_settled, context, id, number, session, sized, watchdog};

/// Ends the calling thread, quietly.
fn die() -> ! {
    std::panic::resume_unwind(Box::new("a thread's"))
}

/// What throws again when what it threw is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::panic::resume_unwind(Box::new("again"));
        }
    }
}

/// A cache of whichever kind, with ten sessions.
fn stocked(maintenance: Maintenance) -> (SessionCache, Context, Log) {
    let log = Log::default();
    let cache = SessionCache::builder()
        .capacity(100)
        .shards(1)
        .maintenance(maintenance)
        .on_remove(log.listener())
        .build()
        .unwrap();
    let context = context(&cache, "x");
    for n in 0..10 {
        assert!(cache.add(sized(&context, n, 300)).is_cached());
    }
    (cache, context, log)
}

/// Everything works, and nothing is held: neither a pin nor a lock nor a reference.
fn assert_unhurt(cache: &SessionCache, context: &Context) {
    for n in 100..300 {
        assert_eq!(cache.add(sized(context, n, 300)), Added::Inserted);
        let found = cache.get(context, &id(n)).unwrap();
        assert!(cache.take(context, &id(n)).is_some());
        cache.run_maintenance();
        drop(found);
    }
    assert_eq!(cache.retain(|_| true), 0);
    cache.settle();
    assert_settled(&cache.stats());
    cache.retain(|session| {
        assert_eq!(session.references(), 2, "the cache's and this one");
        true
    });
}

#[test]
fn in_the_closures_that_they_gave() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let (cache, context, log) = stocked(maintenance);
        // In a borrow, also of one that is removed meanwhile, and in a borrow within a borrow.
        let deaths: [&(dyn Fn() + Sync); 5] = [
            &|| _ = cache.with(&context, &id(1), |_| die()),
            &|| {
                cache.with(&context, &id(2), |lent| {
                    assert!(cache.remove_exact(lent));
                    cache.run_maintenance();
                    die()
                });
            },
            &|| {
                cache.with(&context, &id(3), |_| {
                    cache.with(&context, &id(4), |lent| {
                        let _kept = lent.clone();
                        die()
                    })
                });
            },
            // In the middle of a sweep that has taken handles of a whole bucket.
            &|| {
                cache.retain(|session| if number(session) == 5 { die() } else { true });
            },
            // With what it has taken, found and built still in its hands.
            &|| {
                let _found = cache.get(&context, &id(6));
                let _taken = cache.take(&context, &id(7));
                let _built = session(&context, 8);
                die()
            },
        ];
        for death in deaths {
            let ended = std::thread::scope(|scope| scope.spawn(death).join());
            assert!(ended.is_err());
            assert_unhurt(&cache, &context);
        }
        let gone: Vec<_> = log
            .all()
            .into_iter()
            .filter(|event| event.0 < 100)
            .collect();
        assert_eq!(gone, [(2, RemovalCause::Removed), (7, RemovalCause::Taken)]);
        assert_eq!(cache.len(), 8);
    }
}

#[test]
fn in_a_sweep_that_has_removed_some() {
    let _watchdog = watchdog();
    let rig = Rig::new(1000);
    for n in 0..500 {
        assert!(rig.add(n).is_cached());
    }
    // Wherever in a bucket it dies, it has given the handles of the others back.
    for last in 100..120 {
        let mut seen = 0;
        let swept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rig.cache.retain(|_| {
                seen += 1;
                if seen == last { die() } else { true }
            })
        }));
        assert!(swept.is_err());
    }
    rig.cache.retain(|session| {
        assert_eq!(session.references(), 2, "the cache's and this one");
        true
    });
    let mut seen = 0;
    let swept = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rig.cache.retain(|_| {
            seen += 1;
            if seen == 250 {
                die()
            }
            false
        })
    }));
    assert!(swept.is_err());
    // What it had removed is removed, and told of; the rest is there.
    assert_eq!(rig.cache.len(), 251);
    let gone = rig.gone();
    assert!(gone.len() == 249 && gone.iter().all(|e| e.1 == RemovalCause::Retained));
    assert_eq!(rig.cache.retain(|_| false), 251);
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

/// Callbacks of handshakes that throw what throws again. (`tests/connection` has those that only throw.)
#[test]
fn in_the_callbacks_of_a_handshake() {
    let cache = SessionCache::builder()
        .maintenance(Maintenance::Manual)
        .on_new(|_| std::panic::resume_unwind(Box::new(Bomb)))
        .on_get(|_| std::panic::resume_unwind(Box::new(Bomb)))
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let mut connection = cache.accept(&context);
    let built = connection.session_builder(id(1)).build(b"state").unwrap();
    assert!(connection.establish(built), "nobody said no");
    assert!(connection.resume(id(2).as_bytes()).is_none());
    assert!(connection.resume_once(id(2).as_bytes()).is_none());
    assert!(connection.resume(id(1).as_bytes()).is_some());
    let stats = cache.stats();
    assert_eq!((stats.callback_panics, stats.hits), (3, 1));
    connection.close();
    drop(connection);
    // A handshake whose thread dies gives back what it had.
    let died = std::thread::scope(|scope| {
        let dying = || {
            let mut connection = cache.accept(&context);
            assert!(connection.resume(id(1).as_bytes()).is_some());
            die()
        };
        scope.spawn(dying).join()
    });
    assert!(died.is_err());
    cache.settle();
    let left = cache.get(&context, &id(1)).unwrap();
    assert_eq!(left.references(), 2, "the cache's and this one");
    assert!(cache.stats().is_balanced());
}

/// What a thread has in a thread-local when it ends; the end uses all of it.
struct Estate {
    cache: SessionCache,
    context: Context,
    kept: Session,
    stats: StatsHandle,
    checked: Arc<AtomicU64>,
    n: u64,
}

impl Drop for Estate {
    fn drop(&mut self) {
        let (cache, context, n) = (&self.cache, &self.context, self.n);
        let fresh = 1000 + n;
        let mut good = cache.add(sized(context, fresh, 300)) == Added::Inserted;
        good &= cache.with(context, &id(fresh), number) == Some(fresh);
        good &= cache.get(context, &id(fresh)).is_some();
        good &= cache.take(context, &id(fresh)).is_some();
        good &= cache.remove_exact(&self.kept);
        good &= cache.retain(|session| number(session) < 5000) == 0;
        cache.run_maintenance();
        cache.settle();
        good &= self.kept.payload().len() == 8;
        good &= self.stats.snapshot().inserted > 0;
        self.checked.fetch_add(u64::from(good), Ordering::SeqCst);
    }
}

thread_local! {
    static ESTATE: RefCell<Option<Estate>> = const { RefCell::new(None) };
}

#[test]
fn at_the_end_of_a_thread_with_handles_in_its_locals() {
    let _watchdog = watchdog();
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let (cache, context, _log) = stocked(maintenance);
        let checked = Arc::new(AtomicU64::new(0));
        // Locals are destroyed in an order that depends on which was used first.
        for n in 500..540 {
            let first = n % 2 == 0;
            let (cache, context, checked) = (cache.clone(), context.clone(), checked.clone());
            let ended = std::thread::spawn(move || {
                if first {
                    ESTATE.with(|estate| drop(estate.borrow_mut().take()));
                }
                let kept = session(&context, n);
                assert!(cache.add(kept.clone()).is_cached());
                let estate = Estate {
                    stats: cache.stats_handle(),
                    cache,
                    context,
                    kept,
                    checked,
                    n,
                };
                ESTATE.with(|slot| *slot.borrow_mut() = Some(estate));
            });
            ended.join().unwrap();
        }
        assert_eq!(checked.load(Ordering::SeqCst), 40, "{maintenance:?}");
        assert_eq!(cache.len(), 10);
        assert_unhurt(&cache, &context);
    }
}

/// The counters that are a thread's own are handed on, and none is lost when a thread ends, or shares one.
#[test]
fn one_after_the_other_and_many_at_once_lose_no_count() {
    let _watchdog = watchdog();
    let rig = Rig::new(10);
    assert!(rig.add(1).is_cached());
    let look = || {
        assert!(rig.has(1));
        assert!(!rig.has(2));
    };
    for _ in 0..600 {
        std::thread::scope(|scope| _ = scope.spawn(look));
    }
    // More than have numbers, some of which die.
    let barrier = Barrier::new(300);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..300)
            .map(|n| {
                let barrier = &barrier;
                scope.spawn(move || {
                    look();
                    barrier.wait();
                    look();
                    if n % 3 == 0 {
                        die()
                    }
                })
            })
            .collect();
        let died = threads.into_iter().filter_map(|t| t.join().err()).count();
        assert_eq!(died, 100);
    });
    for _ in 0..300 {
        std::thread::scope(|scope| _ = scope.spawn(look));
    }
    let stats = rig.cache.stats();
    assert_eq!((stats.hits, stats.misses), (1500, 1500));
}

/// Adds under way when their threads die are over or done, never half done: a session is whole, or not there.
#[test]
fn between_two_operations_of_a_busy_cache() {
    let _watchdog = watchdog();
    let (cache, context, log) = stocked(Maintenance::Threads);
    for generation in 0..20 {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|thread| {
                    let (cache, context) = (&cache, &context);
                    scope.spawn(move || {
                        for n in 0.. {
                            let n = 1000 + (generation + thread * 31 + n) % 150;
                            match cache.add(sized(context, n, 100)) {
                                Added::NotCached(reason) => assert!(
                                    matches!(reason, NotCached::Raced | NotCached::Full),
                                    "{reason:?}"
                                ),
                                Added::Inserted | Added::Replaced => {}
                                added => panic!("{added:?}"),
                            }
                            cache.with(context, &id(n), |lent| {
                                assert_eq!(lent.payload(), [n as u8; 100]);
                                if lent.references() > 0 && n % 150 == 7 * thread {
                                    die()
                                }
                            });
                            drop(cache.take(context, &id(n + 3)));
                        }
                    })
                })
                .collect();
            for worker in workers {
                assert_eq!(
                    worker.join().unwrap_err().downcast_ref(),
                    Some(&"a thread's")
                );
            }
        });
    }
    cache.clear();
    cache.settle();
    assert_settled(&cache.stats());
    assert_eq!(log.all().len() as u64, cache.stats().callbacks);
    assert!(cache.is_empty());
}
