//! The allocator: what fails when it has no memory, and who does not ask it for any.
//!
//! One test at a time, because all caches of a process share their grace periods: a thread that looks something up collects
//! what others have left, every 128th time.
//!
//! The allocator of this test counts the calling thread's calls and can be told to fail one of them. It fails only what the
//! crate asks for with an answer for the case that there is none: sessions, and the arrays of the index. All else is
//! std's, which ends the process then; `manual/operations.md` says where. Sessions up to 4 KiB are cut out of regions and
//! kept for others; who wants to see a session's allocation fail makes it larger, or lets there be no region.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};

use common::{Random, Rig, assert_settled, context, id, lasting, millis, secs, session, sized};
use refrain::{Added, CacheMode, Context, Error, Maintenance, NotCached, Session, SessionCache};

thread_local! {
    /// Allocations of this thread, whatever for.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that it has allocated and not freed.
    static HELD: Cell<i64> = const { Cell::new(0) };
    /// Of those that may fail, how many there were.
    static FALLIBLE: Cell<u64> = const { Cell::new(0) };
    /// The one that fails.
    static FAILS: Cell<u64> = const { Cell::new(u64::MAX) };
    /// Whether regions fail, which many sessions are cut out of.
    static NO_REGIONS: Cell<bool> = const { Cell::new(false) };
}

/// Regions of all threads.
static REGIONS: AtomicI64 = AtomicI64::new(0);

fn regions() -> i64 {
    REGIONS.load(Ordering::SeqCst)
}

struct Failing;

#[global_allocator]
static ALLOCATOR: Failing = Failing;

fn held(bytes: i64) {
    HELD.set(HELD.get() + bytes);
}

/// Counts a call, and tells whether it fails.
fn fails(is_fallible: bool) -> bool {
    CALLS.set(CALLS.get() + 1);
    if is_fallible {
        FALLIBLE.set(FALLIBLE.get() + 1);
    }
    is_fallible && FALLIBLE.get() == FAILS.get()
}

// SAFETY: everything is the system allocator's, but for what is told to fail, as allocators may.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Nothing but sessions is aligned so.
        if fails(layout.align() == 64) {
            return std::ptr::null_mut();
        }
        // Nor this.
        if layout.align() > 4096 {
            if NO_REGIONS.get() {
                return std::ptr::null_mut();
            }
            REGIONS.fetch_add(1, Ordering::SeqCst);
        }
        held(layout.size() as i64);
        // SAFETY: passed on; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Nothing but the index begins as zeros.
        if fails(true) {
            return std::ptr::null_mut();
        }
        held(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.align() > 4096 {
            REGIONS.fetch_sub(1, Ordering::SeqCst);
        }
        held(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        fails(false);
        held(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// Runs `f` while the `k`-th allocation that may fail does. Returns what it did, how many there were, and by how many bytes
/// this thread holds more than before.
fn failing<R>(k: u64, f: impl FnOnce() -> R) -> (R, u64, i64) {
    let before = HELD.get();
    FALLIBLE.set(0);
    FAILS.set(k);
    let result = f();
    FAILS.set(u64::MAX);
    (result, FALLIBLE.get(), HELD.get() - before)
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for the test before, and collects what it has left.
fn alone() -> MutexGuard<'static, ()> {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let rig = Rig::new(1);
    (0..100_000).for_each(|_| assert!(!rig.has(1)));
    alone
}

/// How many allocations `f` makes.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    f();
    CALLS.get() - before
}

#[test]
fn a_session_without_memory_is_an_error_and_the_next_one_is_not() {
    /// Larger than any memory that is kept.
    const PAYLOAD: [u8; 5000] = [7; 5000];
    let _alone = alone();
    let rig = Rig::new(10);
    assert!(rig.add(1).is_cached());
    let plain = || Session::new(&rig.context, id(2), &PAYLOAD);
    let rich = || {
        Session::builder(&rig.context, id(2))
            .timeout(secs(60))
            .tag(9)
            .server_name("example.org")
            .build(&PAYLOAD)
    };
    let mut connection = rig.cache.accept(&rig.context);
    let connected = || connection.session_builder(id(2)).build(&PAYLOAD);
    let builds: [&dyn Fn() -> Result<Session, Error>; 3] = [&plain, &rich, &connected];
    for build in builds {
        let (built, calls, held) = failing(1, || build().map(drop));
        let Err(Error::OutOfMemory { bytes }) = built else {
            panic!("{built:?}");
        };
        assert!((5064..=5120).contains(&bytes) && bytes % 64 == 0, "{bytes}");
        assert_eq!((calls, held), (1, 0));
        // Nothing of it is left behind, and the next may succeed.
        let (built, calls, _) = failing(2, build);
        assert_eq!(calls, 1);
        assert!(rig.cache.add(built.unwrap()).is_cached());
        assert!(rig.has(1) && rig.take(2).is_some());
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
    connection.close();
}

#[test]
fn an_index_without_memory_is_an_error_whichever_part_it_is() {
    let _alone = alone();
    let bystander = Rig::new(10);
    for shards in [1, 8] {
        for maintenance in [Maintenance::Manual, Maintenance::Threads] {
            let build = || {
                SessionCache::builder()
                    .capacity(5000)
                    .shards(shards)
                    .maintenance(maintenance)
                    .on_remove(|_, _| ())
                    .build()
            };
            // Of each shard the table, three rings of the wheel, one of the ages, and the births.
            let parts = 6 * shards as u64;
            // What a process or a thread allocates once is there.
            drop(build().unwrap());
            for k in 1..=parts {
                let (built, calls, held) = failing(k, || build().map(drop));
                let Err(Error::OutOfMemory { bytes }) = built else {
                    panic!("{built:?}");
                };
                assert!(bytes > 0);
                assert_eq!((calls, held), (k, 0), "{k} of {parts} parts");
                assert!(bystander.add(k).is_cached() && bystander.has(k));
            }
            let (built, calls, _) = failing(parts + 1, build);
            assert_eq!(calls, parts, "all of them may fail");
            let cache = built.unwrap();
            let context = context(&cache, "x");
            for n in 0..5000 {
                assert!(cache.add(session(&context, n)).is_cached());
            }
            assert!(cache.contains(&context, &id(4999)));
        }
    }
}

/// A cache at whose operations it is looked, and sessions that were built before.
struct Warm {
    cache: SessionCache,
    context: Context,
    built: Vec<Session>,
}

const BUILT: u64 = 4000;

impl Warm {
    fn new(maintenance: Maintenance, mode: CacheMode) -> Self {
        let cache = SessionCache::builder()
            .capacity(100)
            .shards(4)
            .tick(millis(1))
            .mode(mode)
            .maintenance(maintenance)
            .on_remove(|_, _| ())
            .build()
            .unwrap();
        let context = context(&cache, "x");
        // Each number twice, some of them with an end of their own, so that sessions are replaced, and expire.
        let built = (0..BUILT)
            .map(|n| match n % 5 {
                0 => lasting(&context, n / 2, millis(1)),
                _ => session(&context, n / 2),
            })
            .collect();
        // A thread's first operation registers it.
        assert!(!cache.contains(&context, &id(0)));
        Self {
            cache,
            context,
            built,
        }
    }

    /// Everything that a handshake does, with what it finds.
    fn work(&mut self, random: &mut Random) {
        let Self {
            cache,
            context,
            built,
        } = self;
        while let Some(session) = built.pop() {
            let n = common::number(&session);
            let kept = (n % 7 == 0).then(|| session.clone());
            black_box(cache.add(session).is_cached());
            let n = id(n + random.below(8));
            black_box(cache.with(context, &n, |lent| lent.payload().len()));
            drop(black_box(cache.get(context, &n)));
            black_box(cache.contains(context, &n));
            match random.below(4) {
                0 => drop(black_box(cache.take(context, &n))),
                1 => _ = black_box(cache.remove(context, &n)),
                _ => {}
            }
            if let Some(kept) = kept {
                black_box(cache.take_exact(&kept) || cache.remove_exact(&kept));
                assert!(!cache.add(kept).is_cached());
            }
        }
    }
}

#[test]
fn no_operation_allocates() {
    let _alone = alone();
    for mode in [
        CacheMode::SERVER,
        CacheMode::SERVER | CacheMode::UPDATE_TIME,
    ] {
        let mut warm = Warm::new(Maintenance::Manual, mode);
        let mut random = Random::new(1);
        assert_eq!(allocations(|| warm.work(&mut random)), 0);
        let stats = warm.cache.stats();
        let reached = [
            stats.inserted,
            stats.replaced,
            stats.evicted,
            stats.taken,
            stats.removed,
            stats.hits,
            stats.misses,
        ];
        assert!(reached.iter().all(|&n| n > 50), "{stats:?}");
        // Nor does what is done at a distance, but for the maintenance itself.
        let Warm { cache, context, .. } = &warm;
        let settings = allocations(|| {
            cache.set_capacity(50).unwrap();
            cache.set_byte_budget(1 << 20).unwrap();
            cache.set_timeout(secs(5));
            cache.flush(cache.now());
            cache.invalidate_context(context).unwrap();
            cache.clear();
            black_box(cache.stats());
        });
        assert_eq!(settings, 0);
    }
}

/// Sessions of sizes that are kept come out of those that are gone, round after round. What is left to the allocator is what
/// maintenance itself makes of those that it sees out.
#[test]
fn sessions_are_built_from_what_is_kept() {
    /// The largest payload of a session with a tag that is kept, and how many sessions a round has: fewer than are kept.
    const LARGEST: usize = 4096 - 96;
    const ROUND: u64 = 300;
    let _alone = alone();
    let builder = SessionCache::builder().capacity(100).shards(4);
    let rig = Rig::with(builder.byte_budget(1 << 20).backlog(8 << 20));
    let mut connection = rig.cache.accept(&rig.context);
    let round = || {
        for n in 0..ROUND {
            let payload = &[7; LARGEST][..LARGEST - (n as usize % 32) * 125];
            let session = match n % 3 {
                0 => connection.session_builder(id(n)).tag(n).build(payload),
                _ => Session::new(&rig.context, id(n), payload),
            };
            assert!(rig.cache.add(session.unwrap()).is_cached());
            match n % 8 {
                0 => assert!(rig.take(n).is_some()),
                1 => assert!(rig.cache.remove(&rig.context, &id(n))),
                _ => {}
            }
        }
    };
    // All go, so that each round finds as many of each size.
    let see_out = || {
        rig.cache.clear();
        rig.cache.settle();
    };
    // The first ones ask the allocator, for a few regions.
    let first = allocations(round);
    assert!(first <= ROUND / 16, "{first}");
    for _ in 0..4 {
        see_out();
        round();
    }
    see_out();
    for n in 0..20 {
        let calls = allocations(round);
        assert_eq!(calls, 0, "in round {n}");
        // And maintenance, which allocates, asks for none of a session's kind.
        let ((), calls, _) = failing(u64::MAX, see_out);
        assert_eq!(calls, 0, "behind round {n}");
    }
    assert_settled(&rig.cache.stats());
    connection.close();
}

#[test]
fn where_there_is_no_region_each_session_is_allocated_by_itself() {
    /// Of a size that nothing else here has, so that none is kept.
    const PAYLOAD: [u8; 53 * 64] = [7; 53 * 64];
    const SESSIONS: u64 = 100;
    let _alone = alone();
    let rig = Rig::new(SESSIONS as usize);
    // Slabs that are free already are no help: each is as good as another, and there are few.
    let fill = || {
        (0..20 * SESSIONS)
            .map(|n| Session::new(&rig.context, id(n), &PAYLOAD).unwrap())
            .collect::<Vec<_>>()
    };
    NO_REGIONS.set(true);
    let mut built = Vec::new();
    let (_, alone, held) = failing(u64::MAX, || built = fill());
    assert!(alone > SESSIONS && held > SESSIONS as i64 * 54 * 64);
    // One that the allocator does not have either.
    let (one, calls, _) = failing(1, || Session::new(&rig.context, id(0), &PAYLOAD));
    assert!(matches!(one, Err(Error::OutOfMemory { bytes }) if bytes == 54 * 64));
    assert_eq!(calls, 1);
    NO_REGIONS.set(false);
    for session in built.drain(..SESSIONS as usize) {
        assert!(rig.cache.add(session).is_cached());
    }
    assert!((0..SESSIONS).all(|n| rig.has(n)));
    // Each goes back by itself.
    let (_, _, freed) = failing(u64::MAX, || drop(built));
    assert!(
        freed <= -(alone as i64 - SESSIONS as i64) * 54 * 64,
        "{freed}"
    );
    rig.cache.clear();
    rig.cache.settle();
    assert_settled(&rig.cache.stats());
}

#[test]
fn what_a_cache_had_goes_back_at_its_end() {
    const SESSIONS: u64 = 40_000;
    let _alone = alone();
    let build = || {
        let rig = Rig::new(SESSIONS as usize);
        for n in 0..SESSIONS {
            let session = Session::new(&rig.context, id(n), &[7; 500][..n as usize % 500]).unwrap();
            assert!(rig.cache.add(session).is_cached());
        }
        rig
    };
    let rig = build();
    let full = regions();
    assert!(full >= 5, "{full}");
    // What leaves goes back by the region when nobody has kept any of it.
    rig.cache.clear();
    rig.cache.settle();
    assert!(regions() <= full + 2, "one more in each yard, ahead");
    drop(rig);
    // One of each yard's stays, with what has been kept on both.
    assert!(regions() <= 2, "{}", regions());
    // A thread that lives on keeps what it has.
    let (rig, start, end) = (build(), Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..100 {
                assert!(rig.cache.remove(&rig.context, &id(n)));
                drop(Session::new(&rig.context, id(n), &[7; 100]).unwrap());
            }
            start.wait();
            end.wait();
        });
        start.wait();
        rig.cache.clear();
        rig.cache.settle();
        let other = Rig::new(10);
        assert!(other.add(1).is_cached());
        drop(other);
        assert!(regions() <= full / 2 + 2, "{} of {full}", regions());
        end.wait();
    });
    drop(rig);
    assert!(regions() <= 2, "{}", regions());
}

/// Beside a maintainer, every 128th pin of a thread collects up to eight of its batches, and each 64 of those cost
/// crossbeam-epoch an allocation: on a thread that does this for the first time, one in 1024 pins at the most.
#[test]
fn beside_maintenance_next_to_none_does() {
    let _alone = alone();
    let mut warm = Warm::new(Maintenance::Threads, CacheMode::SERVER);
    let stop = AtomicBool::new(false);
    let (calls, looks) = std::thread::scope(|scope| {
        let (cache, context) = (warm.cache.clone(), warm.context.clone());
        let stop = &stop;
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // A batch of its own for each.
                cache.remove_exact(&session(&context, 0));
                cache.run_maintenance();
            }
        });
        let mut random = Random::new(1);
        let mut calls = allocations(|| warm.work(&mut random));
        let Warm { cache, context, .. } = &warm;
        calls += allocations(|| {
            for n in 0..1_000_000 {
                black_box(cache.contains(context, &id(n % 100)));
            }
        });
        stop.store(true, Ordering::Relaxed);
        let stats = cache.stats();
        (calls, stats.hits + stats.misses + stats.timeouts)
    });
    println!("{calls} allocations in {looks} look-ups and what came with them");
    assert!(calls <= 1 + 2 * looks / 1024, "{calls} in {looks}");
}

#[test]
fn no_refusal_allocates() {
    let _alone = alone();
    let rig = Rig::with(SessionCache::builder().capacity(64).max_session_bytes(4096));
    assert!(rig.add(1).is_cached());
    let stale = session(&rig.context, 2);
    rig.cache.invalidate_context(&rig.context).unwrap();
    let refused = [
        (stale, NotCached::Stale),
        (lasting(&rig.context, 3, secs(0)), NotCached::Expired),
        (sized(&rig.context, 4, 5000), NotCached::TooLarge),
    ];
    for (session, reason) in refused {
        let calls = allocations(|| {
            assert_eq!(rig.cache.add(session), Added::NotCached(reason));
        });
        assert_eq!(calls, 0, "{reason}");
    }
    // And the one for the backlog, at which nothing is maintained.
    let mut n = 1000;
    let backlog = Added::NotCached(NotCached::Backlog);
    let refused = loop {
        n += 1;
        let session = sized(&rig.context, n, 4000);
        let mut added = backlog;
        let calls = allocations(|| added = rig.cache.add(session));
        assert_eq!(calls, 0);
        if added == backlog {
            break n;
        }
        assert!(added.is_cached());
        assert!(rig.take(n).is_some());
    };
    assert!(refused > 1200, "{refused}");
}
