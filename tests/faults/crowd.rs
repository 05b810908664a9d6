//! From one thread to more than have counters of their own: mixed work, and then the books, counter by counter.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use refrain::{Added, Context, Maintenance, NotCached, SessionCache};

use crate::common::{
    Log, Random, assert_settled, context, id, lasting, millis, number, secs, session, watchdog_for,
};
use crate::scene::play;

/// Threads with numbers of their own: 256.
const CROWDS: [usize; 14] = [1, 2, 3, 4, 7, 8, 16, 32, 64, 128, 255, 256, 257, 400];

/// Operations of all threads of a crowd together, at least; and of each.
const WORK: usize = 40_000;

/// What the threads were told.
#[derive(Default)]
struct Told {
    inserted: AtomicU64,
    replaced: AtomicU64,
    not_cached: AtomicU64,
    raced: AtomicU64,
    hits: AtomicU64,
    looks: AtomicU64,
    taken: AtomicU64,
    removed: AtomicU64,
    retained: AtomicU64,
    cleared: AtomicU64,
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

fn work(cache: &SessionCache, contexts: &[Context; 2], told: &Told, random: &mut Random) {
    let context = &contexts[random.below(2) as usize];
    let n = random.below(300);
    let look = |found: bool| {
        count(&told.looks, 1);
        count(&told.hits, usize::from(found));
    };
    match random.below(1000) {
        0..350 => {
            let session = match random.below(4) {
                0 => lasting(context, n, millis(1 + random.below(20))),
                _ => session(context, n),
            };
            match cache.add(session) {
                Added::Inserted => count(&told.inserted, 1),
                Added::Replaced => {
                    count(&told.inserted, 1);
                    count(&told.replaced, 1);
                }
                Added::NotCached(reason) => {
                    count(&told.not_cached, 1);
                    count(&told.raced, usize::from(reason == NotCached::Raced));
                }
                // Swept or removed between its publication and the end of the call: it was in.
                added => assert_eq!(added, Added::Removed),
            }
        }
        350..550 => look(
            cache
                .with(context, &id(n), |s| assert_eq!(number(s), n))
                .is_some(),
        ),
        550..750 => look(cache.get(context, &id(n)).is_some_and(|s| number(&s) == n)),
        750..850 => {
            let taken = cache.take(context, &id(n)).is_some();
            look(taken);
            count(&told.taken, usize::from(taken));
        }
        850..950 => count(&told.removed, usize::from(cache.remove(context, &id(n)))),
        950..960 => count(&told.retained, cache.retain(|s| number(s) % 16 != n % 16)),
        960 => count(&told.cleared, cache.clear()),
        961 if n < 30 => cache.invalidate_context(context).unwrap(),
        962 => _ = cache.flush(cache.now()),
        963 => _ = cache.set_capacity([50, 100][n as usize % 2]),
        964..970 => _ = cache.run_maintenance(),
        _ => look(cache.contains(context, &id(n))),
    }
    assert!(cache.len() <= 100);
}

#[test]
fn of_any_size_leave_the_books_in_order() {
    let _watchdog = watchdog_for(secs(300));
    for (round, threads) in CROWDS.into_iter().enumerate() {
        let log = Log::default();
        let cache = SessionCache::builder()
            .capacity(100)
            .shards(1 << (round % 4))
            .tick(millis(1))
            .maintenance([Maintenance::Threads, Maintenance::Manual][round % 2])
            .on_remove(log.listener())
            .build()
            .unwrap();
        let contexts = [context(&cache, "one"), context(&cache, "two")];
        let told = Told::default();
        let barrier = Barrier::new(threads);
        std::thread::scope(|scope| {
            for thread in 0..threads as u64 {
                let (cache, contexts, told, barrier) = (&cache, &contexts, &told, &barrier);
                scope.spawn(move || {
                    let mut random = Random::new(1000 * round as u64 + thread + 1);
                    // All are there at once, at the beginning and at the end.
                    barrier.wait();
                    for _ in 0..WORK / threads + 10 {
                        work(cache, contexts, told, &mut random);
                    }
                    barrier.wait();
                });
            }
        });
        // Sessions go on expiring, so look when nothing does.
        let mut looks = 0;
        let stats = loop {
            cache.settle();
            let stats = cache.stats();
            if stats.is_balanced() && stats.callbacks == stats.callbacks_due() {
                break stats;
            }
            looks += 1;
            assert!(looks < 200, "{stats:?}");
        };
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!(stats.taken, value(&told.taken), "{threads} threads");
        assert_eq!(stats.removed, value(&told.removed), "{threads} threads");
        assert_eq!(stats.retained, value(&told.retained));
        assert_eq!(stats.cleared, value(&told.cleared));
        assert_eq!(stats.not_cached, value(&told.not_cached));
        assert_eq!(stats.not_cached_raced, value(&told.raced));
        // A session that was removed while it was being added was in, and its adder is told of the removal.
        assert!(stats.inserted >= value(&told.inserted));
        assert!(stats.replaced >= value(&told.replaced));
        if threads == 1 {
            let told = (value(&told.inserted), value(&told.replaced));
            assert_eq!((stats.inserted, stats.replaced), told);
        }
        assert_eq!(stats.hits, value(&told.hits), "{threads} threads");
        let looks = stats.hits + stats.misses + stats.timeouts;
        assert_eq!(looks, value(&told.looks), "{threads} threads");
        let reached = [stats.expired, stats.evicted, stats.replaced, stats.taken];
        assert!(threads > 1 || reached.iter().all(|&n| n > 0), "{stats:?}");
        cache.clear();
        cache.settle();
        let stats = cache.stats();
        assert_settled(&stats);
        assert_eq!(log.all().len() as u64, stats.callbacks, "{threads} threads");
        assert_eq!((stats.entries, stats.bytes), (0, 0));
    }
}

#[test]
fn that_look_up_at_the_same_time_are_all_counted() {
    play("crowd::counted");
}

/// Counters of a thread's own are nobody else's, and those that the others share lose nothing.
#[test]
#[ignore = "a scene, where nobody else has numbers"]
fn counted() {
    const LOOKERS: usize = 6;
    const LOOKS: u64 = 100_000;
    let _watchdog = watchdog_for(secs(120));
    for numbered in [0, 256] {
        let cache = SessionCache::builder().build().unwrap();
        let context = context(&cache, "x");
        assert!(cache.add(session(&context, 1)).is_cached());
        let barrier = Barrier::new(numbered + LOOKERS);
        std::thread::scope(|scope| {
            // They have all the numbers, and keep them.
            for _ in 0..numbered {
                scope.spawn(|| {
                    assert!(cache.contains(&context, &id(1)));
                    barrier.wait();
                    barrier.wait();
                });
            }
            for looker in 0..LOOKERS as u64 {
                let (cache, context, barrier) = (&cache, &context, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for n in 0..LOOKS {
                        assert_eq!(
                            cache.contains(context, &id((n + looker) % 2)),
                            (n + looker) % 2 == 1
                        );
                    }
                    barrier.wait();
                });
            }
        });
        let stats = cache.stats();
        let half = LOOKERS as u64 * LOOKS / 2;
        assert_eq!(
            (stats.hits, stats.misses),
            (half + numbered as u64, half),
            "{numbered}"
        );
    }
}
