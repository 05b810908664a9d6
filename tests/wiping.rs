//! Every session's memory holds no secret any more when it goes back to the allocator, or is kept for another, whichever way
//! the session left.
//!
//! The allocator of this test looks at each large session before it frees it. Smaller ones are cut out of regions, and kept
//! for the sessions to come; the regions are searched.

#![allow(missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System, alloc, dealloc};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use refrain::{
    Context, ContextId, Maintenance, ManualClock, RemovalCause, Session, SessionCache, SessionId,
};

const SECRET: [u8; 16] = *b"a master secret!";

/// A session of so many secrets: one line of header and as many bytes, in whole lines.
const fn block(secrets: usize) -> usize {
    64 + (secrets * SECRET.len()).next_multiple_of(64)
}

/// Of 77 lines, where those of more than 64 are not kept.
const LARGE: usize = 300;
/// Of 64 lines.
const KEPT: usize = 252;

struct Looking;

/// Of large sessions, how many were freed, and how many of these still held the secret.
static FREED: AtomicUsize = AtomicUsize::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// The memory of smaller ones, by address and length: regions, or each for itself where none is kept.
static SMALL: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

fn small() -> MutexGuard<'static, Vec<(usize, usize)>> {
    SMALL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_small(layout: Layout) -> bool {
    layout.align() > 4096 || layout.align() == 64 && layout.size() == block(KEPT)
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

// SAFETY: passes everything on to the system's allocator; only looks at memory that is about to be freed, and notes where
// it is.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let memory = unsafe { System.alloc(layout) };
        if is_small(layout) && !memory.is_null() {
            // What of a region nobody has had yet is looked at, too.
            // SAFETY: it is so long, and nobody else's.
            unsafe { memory.write_bytes(0, layout.size()) };
            small().push((memory.expose_provenance(), layout.size()));
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.align() == 64 && layout.size() == block(LARGE) {
            // SAFETY: it is still allocated, this large, and all of a session's bytes were written.
            let secrets = unsafe { secrets(memory, layout.size()) };
            FREED.fetch_add(1, Ordering::SeqCst);
            LEAKED.fetch_add(usize::from(secrets > 0), Ordering::SeqCst);
        }
        if is_small(layout) {
            // SAFETY: as above. A region's blocks were written, and its rest is nobody's.
            let secrets = unsafe { secrets(memory, layout.size()) };
            LEAKED.fetch_add(usize::from(secrets > 0), Ordering::SeqCst);
            small().retain(|&(at, _)| at != memory.addr());
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often the secret stands in memory.
///
/// # Safety
///
/// It is allocated, this long, and nobody writes to it.
unsafe fn secrets(memory: *const u8, len: usize) -> usize {
    // SAFETY: passed on.
    let bytes = unsafe { std::slice::from_raw_parts(memory, len) };
    // Sessions, and what they hold, begin at multiples of 16.
    bytes.chunks(16).filter(|part| *part == SECRET).count()
}

/// Sessions freed, and leaks, since the last look.
fn freed() -> (usize, usize) {
    (
        FREED.swap(0, Ordering::SeqCst),
        LEAKED.swap(0, Ordering::SeqCst),
    )
}

/// Sees that the allocator finds what it looks for.
fn leak_one() {
    let layout = Layout::from_size_align(block(LARGE), 64).unwrap();
    // SAFETY: the layout has a size; the block is written and freed once, with the layout it was allocated with.
    unsafe {
        // An optimizer would do without a block that nobody reads.
        let block = std::hint::black_box(alloc(layout));
        block.write_bytes(0, layout.size());
        block
            .add(512)
            .copy_from_nonoverlapping(SECRET.as_ptr(), SECRET.len());
        dealloc(std::hint::black_box(block), layout);
    }
    assert_eq!(freed(), (1, 1));
}

/// The tests count the same things.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cache(capacity: usize, clock: &ManualClock) -> SessionCache {
    SessionCache::builder()
        .capacity(capacity)
        .clock(clock.clone())
        .timeout(Duration::from_secs(60))
        .byte_budget(64 << 20)
        .maintenance(Maintenance::Manual)
        .on_remove(|session, _| assert!(session.payload().starts_with(&SECRET)))
        .build()
        .unwrap()
}

#[test]
fn no_secret_goes_back_to_the_allocator() {
    let _alone = alone();
    leak_one();
    let clock = ManualClock::new();
    let cache = cache(4, &clock);
    let context = cache.context(ContextId::derive("test", &[])).unwrap();
    let id = |n: u8| SessionId::from([n; 32]);
    let session = |n: u8| Session::new(&context, id(n), &SECRET.repeat(LARGE)).unwrap();
    let add = |n: u8| assert!(cache.add(session(n)).is_cached());
    let gone = |by: &str, count: usize| {
        cache.settle();
        assert_eq!(freed(), (count, 0), "{by}");
    };
    assert_eq!(session(1).memory(), block(LARGE));
    gone("a handle that was never added", 1);

    add(1);
    drop(cache.take(&context, &id(1)));
    gone("take", 1);
    add(1);
    assert!(cache.remove(&context, &id(1)));
    gone("remove", 1);
    add(1);
    add(1);
    gone("replacement", 1);
    clock.advance(Duration::from_secs(60));
    gone("expiry", 1);
    (0..6).for_each(add);
    gone("eviction", 2);
    assert_eq!(cache.flush(clock.now() + Duration::from_secs(60)), 4);
    gone("flush", 4);
    (0..2).for_each(add);
    cache.invalidate_context(&context).unwrap();
    gone("invalidation", 2);
    (0..2).for_each(add);
    assert_eq!(cache.retain(|_| false), 2);
    gone("retain", 2);
    (0..2).for_each(add);
    assert_eq!(cache.clear(), 2);
    gone("clear", 2);

    let never = session(9);
    assert!(cache.remove_exact(&never));
    gone("removal without an add, with a handle left", 0);
    assert!(!cache.add(never).is_cached());
    gone("its last handle", 1);
    cache.set_timeout(Duration::ZERO);
    assert!(!cache.add(session(1)).is_cached());
    gone("refusal", 1);
    cache.set_timeout(Duration::from_secs(60));

    add(1);
    let outlives = cache.get(&context, &id(1)).unwrap();
    add(2);
    let stats = cache.stats_handle();
    drop(cache);
    assert_eq!(freed(), (1, 0), "drop of the cache");
    assert_eq!(stats.snapshot().dropped, 2);
    assert!(outlives.payload().starts_with(&SECRET));
    drop(outlives);
    assert_eq!(freed(), (1, 0), "the last handle");
    assert_eq!(RemovalCause::ALL.len(), 9, "all ways out are above");
}

#[test]
fn no_secret_stays_in_what_is_kept() {
    const MANY: usize = 32;
    let _alone = alone();
    let clock = ManualClock::new();
    let cache = cache(MANY, &clock);
    let context = |name| cache.context(ContextId::derive(name, &[])).unwrap();
    let (lasting, passing) = (context("lasting"), context("passing"));
    let ids = || (0..MANY).map(|n| SessionId::from([n as u8; 32]));
    let there = || -> usize {
        let small = small();
        let memory = small.iter().map(|&(at, len)| {
            // SAFETY: allocated, or it would not be in the list. Nobody else has sessions, or maintains these.
            unsafe { secrets(std::ptr::with_exposed_provenance(at), len) }
        });
        memory.sum()
    };
    let build = |context: &Context| -> Vec<Session> {
        let build = |id| Session::new(context, id, &SECRET.repeat(KEPT)).unwrap();
        let sessions: Vec<Session> = ids().map(build).collect();
        assert_eq!(sessions[0].memory(), block(KEPT));
        assert!(there() >= MANY * KEPT, "they are where it is looked");
        sessions
    };
    let add = |context: &Context| {
        for session in build(context) {
            assert!(cache.add(session).is_cached());
        }
    };
    let gone = |by: &str| {
        cache.settle();
        assert_eq!((there(), freed().1), (0, 0), "{by}");
    };
    gone("nothing");

    drop(build(&lasting));
    gone("handles that were never added");
    add(&lasting);
    ids().for_each(|id| drop(cache.take(&lasting, &id).unwrap()));
    gone("take");
    add(&lasting);
    ids().for_each(|id| assert!(cache.remove(&lasting, &id)));
    gone("remove");
    add(&lasting);
    add(&lasting);
    cache.settle();
    assert_eq!(there(), MANY * KEPT, "replacement");
    clock.advance(Duration::from_secs(60));
    gone("expiry");
    add(&lasting);
    cache.set_capacity(1).unwrap();
    cache.settle();
    assert_eq!(there(), KEPT, "eviction");
    cache.set_capacity(MANY).unwrap();
    cache.clear();
    gone("clear");
    add(&lasting);
    let end = clock.now() + Duration::from_secs(60);
    assert_eq!(cache.flush(end), MANY, "all have their time behind them");
    gone("flush");
    add(&passing);
    cache.invalidate_context(&passing).unwrap();
    gone("invalidation");
    add(&lasting);
    assert_eq!(cache.retain(|_| false), MANY);
    gone("retain");
    for never in build(&lasting) {
        assert!(cache.remove_exact(&never) && !cache.add(never).is_cached());
    }
    gone("removal without an add");
    cache.set_timeout(Duration::ZERO);
    for refused in build(&lasting) {
        assert!(!cache.add(refused).is_cached());
    }
    gone("refusal");
    cache.set_timeout(Duration::from_secs(60));
    add(&lasting);
    let kept = cache.get(&lasting, &ids().next().unwrap()).unwrap();
    drop(cache);
    assert_eq!((there(), freed().1), (KEPT, 0), "drop of the cache");
    drop(kept);
    assert_eq!((there(), freed().1), (0, 0), "the last handle");
}
