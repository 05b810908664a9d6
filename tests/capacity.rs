//! Capacity and memory: exact under threads, in any number of shards, changed while threads work.

#![allow(missing_docs)]

mod common;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use common::{Random, Rig, assert_settled, context, id, session, sized, watchdog};
use refrain::{Added, Maintenance, NotCached, SessionCache};

const THREADS: usize = 8;

/// Runs `work` on every thread at once, with the thread's number.
fn on_threads(work: impl Fn(u64) + Sync) {
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS as u64 {
            let (work, barrier) = (&work, &barrier);
            scope.spawn(move || {
                barrier.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn many_threads_fill_it_exactly_and_never_more() {
    let _watchdog = watchdog();
    for (capacity, shards) in [(1, 1), (1, 64), (7, 2), (100, 8), (1000, 1), (1000, 16)] {
        let builder = SessionCache::builder().capacity(capacity).shards(shards);
        let rig = Rig::with(builder);
        let most = AtomicUsize::new(0);
        on_threads(|thread| {
            for n in 0..1000 {
                let _ = rig.add(thread * 1_000_000 + n);
                most.fetch_max(rig.cache.len(), Ordering::Relaxed);
                if n % 64 == 0 {
                    rig.cache.run_maintenance();
                }
            }
        });
        rig.cache.settle();
        assert_eq!(most.load(Ordering::Relaxed), capacity, "{shards} shards");
        let len = rig.cache.len();
        // An add that could not find room in all its attempts refuses; at the end it is full all the same, as nothing
        // but evictions takes sessions out.
        let mut counted = 0;
        rig.cache.retain(|_| {
            counted += 1;
            true
        });
        assert_eq!(counted, len);
        assert_eq!(len, capacity, "{shards} shards");
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn one_thread_is_never_refused_room() {
    for (capacity, shards) in [(1, 1), (1, 1024), (5, 1024), (64, 64), (333, 4), (5000, 1)] {
        let rig = Rig::with(SessionCache::builder().capacity(capacity).shards(shards));
        for n in 0..4 * capacity as u64 + 100 {
            assert_eq!(rig.add(n), Added::Inserted, "{n} in {shards} shards");
            assert_eq!(rig.cache.len(), capacity.min(n as usize + 1));
            // Everything visited, always: second chances must come to an end.
            rig.get(n);
            rig.get(n / 2);
            if n % 100 == 0 {
                rig.cache.settle();
            }
        }
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
}

/// Sessions that were taken and not evicted leave their marks in the books that eviction keeps. When the cache then
/// fills up, the newcomers must find room behind them.
#[test]
fn after_long_single_use_without_eviction_there_is_still_room() {
    let mut refused = Vec::new();
    for capacity in [100, 1000, 20_480] {
        let rig = Rig::with(SessionCache::builder().capacity(capacity).shards(1));
        let mut random = Random::new(1);
        for _ in 0..15 * capacity {
            let n = random.next();
            assert_eq!(rig.add(n), Added::Inserted);
            assert!(rig.take(n).is_some());
            if n % 256 == 0 {
                rig.cache.settle();
            }
        }
        rig.cache.settle();
        for n in 0..capacity as u64 {
            assert_eq!(rig.add(n), Added::Inserted);
        }
        let adds = 1_000_000..1_000_000 + capacity as u64;
        refused.push(adds.filter(|n| !rig.add(*n).is_cached()).count());
        assert_eq!(rig.cache.len(), capacity);
    }
    assert_eq!(refused, [0; 3], "adds to a full cache that found no room");
}

#[test]
fn the_byte_budget_holds_under_threads() {
    let _watchdog = watchdog();
    let budget = 64 * 1000;
    let builder = SessionCache::builder().capacity(10_000).shards(4);
    let rig = Rig::with(builder.byte_budget(budget));
    let most = AtomicU64::new(0);
    on_threads(|thread| {
        let mut random = Random::new(thread + 1);
        for _ in 0..1000 {
            // Few ids, so that some are replaced by larger and by smaller ones.
            let (n, len) = (random.below(400), random.below(4000) as usize);
            let _ = rig.cache.add(sized(&rig.context, n, len));
            most.fetch_max(rig.cache.stats().bytes, Ordering::Relaxed);
            if n % 16 == 0 {
                rig.cache.run_maintenance();
            }
        }
    });
    rig.cache.settle();
    let most = most.load(Ordering::Relaxed);
    assert!(most <= budget as u64, "{most} bytes");
    assert!(most > budget as u64 * 9 / 10, "the budget was used: {most}");
    let mut bytes = 0;
    rig.cache.retain(|session| {
        bytes += session.memory() as u64;
        true
    });
    assert_eq!(bytes, rig.cache.stats().bytes);
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_session_counts_with_its_header_in_whole_lines() {
    let rig = Rig::new(100);
    for (len, bytes) in [(0, 64), (1, 128), (64, 128), (65, 192), (4096, 4160)] {
        let session = sized(&rig.context, 1, len);
        assert_eq!(session.memory(), bytes);
        assert!(rig.cache.add(session).is_cached());
        assert_eq!(rig.cache.stats().bytes, bytes as u64);
        assert!(rig.remove(1));
        assert_eq!(rig.cache.stats().bytes, 0);
    }
}

#[test]
fn too_large_is_refused_and_evicts_nothing() {
    let builder = SessionCache::builder().capacity(100).shards(1);
    let rig = Rig::with(builder.byte_budget(64 * 20).max_session_bytes(64 * 10));
    for n in 0..10 {
        assert!(rig.cache.add(sized(&rig.context, n, 64)).is_cached());
    }
    let too_large = Added::NotCached(NotCached::TooLarge);
    assert_eq!(
        rig.cache.add(sized(&rig.context, 50, 64 * 9 + 1)),
        too_large
    );
    assert_eq!(rig.cache.set_byte_budget(64 * 9), Ok(64 * 20));
    assert_eq!(rig.cache.add(sized(&rig.context, 50, 64 * 9)), too_large);
    rig.cache.settle();
    assert!(rig.cache.stats().bytes <= 64 * 9);
    assert_eq!(rig.cache.set_byte_budget(64 * 20), Ok(64 * 9));
    let kept = rig.cache.len();
    assert!(kept >= 4);
    // The largest that fits takes the room of as many as it must.
    assert_eq!(
        rig.cache.add(sized(&rig.context, 50, 64 * 9)),
        Added::Inserted
    );
    assert!(rig.has(50));
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
    assert_eq!(rig.cache.stats().not_cached, 2);
}

#[test]
fn changed_up_and_down_while_threads_work() {
    let _watchdog = watchdog();
    const HIGH: usize = 500;
    let cache = SessionCache::builder()
        .capacity(HIGH)
        .shards(4)
        .maintenance(Maintenance::Threads)
        .on_remove(|_, _| {})
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let stop = AtomicBool::new(false);
    let done: [AtomicU64; 4] = std::array::from_fn(|_| AtomicU64::new(0));
    std::thread::scope(|scope| {
        for (thread, done) in done.iter().enumerate() {
            let (cache, context, stop) = (&cache, &context, &stop);
            scope.spawn(move || {
                let mut random = Random::new(thread as u64 + 1);
                while !stop.load(Ordering::Relaxed) {
                    let _ = cache.add(session(context, random.below(2000)));
                    cache.get(context, &id(random.below(2000)));
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Until each thread has ended so many operations more.
        let wait = |more: u64, meanwhile: &dyn Fn()| {
            let before: Vec<_> = done.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            while (done.iter().zip(&before)).any(|(n, b)| n.load(Ordering::SeqCst) < b + more) {
                meanwhile();
                std::thread::yield_now();
            }
        };
        for (round, capacity) in [HIGH, 100, 1, 300, 0, 50, HIGH].into_iter().enumerate() {
            cache.set_capacity(capacity).unwrap();
            let capacity = cache.capacity();
            // What was under way has ended, so nobody holds the old limit in hand.
            wait(2, &|| ());
            // Down: maintenance brings it there while threads go on adding, and from then on it is kept.
            while cache.len() > capacity {
                cache.run_maintenance();
            }
            wait(200, &|| {
                let len = cache.len();
                assert!(len <= capacity, "{len} of {capacity} in round {round}");
            });
            // Up: it fills again.
            while cache.len() < capacity {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    cache.settle();
    assert!(cache.len() <= HIGH);
    assert_settled(&cache.stats());
}

#[test]
fn the_byte_budget_changed_while_threads_work() {
    let _watchdog = watchdog();
    let rig = Rig::with(SessionCache::builder().capacity(1000).shards(2));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (rig, stop) = (&rig, &stop);
            scope.spawn(move || {
                let mut random = Random::new(thread + 1);
                while !stop.load(Ordering::Relaxed) {
                    let len = random.below(500) as usize;
                    let _ = rig.cache.add(sized(&rig.context, random.below(500), len));
                }
            });
        }
        for lines in [1000, 10, 500, 1, 2000] {
            rig.cache.set_byte_budget(lines * 64).unwrap();
            assert_eq!(rig.cache.byte_budget(), lines * 64);
            while rig.cache.stats().bytes > lines as u64 * 64 {
                rig.cache.run_maintenance();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    rig.cache.set_byte_budget(64 * 64).unwrap();
    rig.cache.settle();
    assert!(rig.cache.stats().bytes <= 64 * 64);
    assert_settled(&rig.cache.stats());
}

#[test]
fn more_shards_than_sessions_and_more_sessions_than_shards() {
    for (capacity, shards) in [(1, 1024), (3, 256), (100, 128), (5000, 2), (5000, 3)] {
        let rig = Rig::with(SessionCache::builder().capacity(capacity).shards(shards));
        for n in 0..capacity as u64 {
            assert_eq!(rig.add(n), Added::Inserted);
        }
        assert!((0..capacity as u64).all(|n| rig.has(n)));
        assert_eq!(rig.cache.clear(), capacity);
        assert_eq!(rig.cache.len(), 0);
        assert_eq!(rig.gone().len(), capacity);
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn adds_of_one_id_from_all_threads_leave_one_entry() {
    let _watchdog = watchdog();
    let rig = Rig::with(SessionCache::builder().capacity(4).shards(1));
    let barrier = Barrier::new(THREADS);
    on_threads(|_| {
        for round in 0..500 {
            barrier.wait();
            let added = rig.add(round);
            let allowed = matches!(
                added,
                Added::Inserted | Added::Replaced | Added::NotCached(NotCached::Raced)
            );
            assert!(allowed, "{added:?}");
            if barrier.wait().is_leader() {
                let mut found = 0;
                rig.cache.retain(|session| {
                    found += usize::from(common::number(session) == round);
                    true
                });
                assert_eq!(found, 1, "round {round}");
                assert!(rig.take(round).is_some());
                assert!(rig.take(round).is_none());
                rig.cache.run_maintenance();
            }
        }
    });
    rig.cache.settle();
    assert_eq!(rig.cache.len(), 0);
    assert_settled(&rig.cache.stats());
}
