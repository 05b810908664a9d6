//! Every session's memory holds no secret any more when it goes back to the allocator, whichever way the session left.
//!
//! The allocator of this test looks at each block of a session's size before it frees it. It sees all of the larger ones.
//! Of others the memory is kept, up to a bound, for the sessions to come; what is too much is seen.

#![allow(missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System, alloc, dealloc};
use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// The bytes that are kept for all threads, and the most blocks of the largest size that a thread has besides.
const DEPOT: usize = 8 << 20;
const MAGAZINE: usize = 8;

struct Looking;

/// Of blocks of one size, how many were freed, and how many of those still held the secret.
struct Seen {
    block: usize,
    freed: AtomicUsize,
    leaked: AtomicUsize,
}

impl Seen {
    const fn new(secrets: usize) -> Self {
        Self {
            block: block(secrets),
            freed: AtomicUsize::new(0),
            leaked: AtomicUsize::new(0),
        }
    }

    /// Since the last look.
    fn take(&self) -> (usize, usize) {
        (
            self.freed.swap(0, Ordering::SeqCst),
            self.leaked.swap(0, Ordering::SeqCst),
        )
    }
}

/// Each test's own.
static SEEN: [Seen; 2] = [Seen::new(LARGE), Seen::new(KEPT)];

#[global_allocator]
static ALLOCATOR: Looking = Looking;

// SAFETY: passes everything on to the system's allocator; only looks at a block that is about to be freed.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let is_session = |seen: &&Seen| layout.size() == seen.block && layout.align() == 64;
        if let Some(seen) = SEEN.iter().find(is_session) {
            // SAFETY: the block is still allocated, this large, and all of a session's bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            let secret = bytes.windows(SECRET.len()).any(|part| part == SECRET);
            seen.freed.fetch_add(1, Ordering::SeqCst);
            seen.leaked.fetch_add(usize::from(secret), Ordering::SeqCst);
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Sees that the allocator finds what it looks for.
fn leak_one(seen: &Seen) {
    let layout = Layout::from_size_align(seen.block, 64).unwrap();
    // SAFETY: the layout has a size; the block is written and freed once, with the layout it was allocated with.
    unsafe {
        // An optimizer would do without a block that nobody reads.
        let block = std::hint::black_box(alloc(layout));
        block.write_bytes(0, layout.size());
        block
            .add(500)
            .copy_from_nonoverlapping(SECRET.as_ptr(), SECRET.len());
        dealloc(std::hint::black_box(block), layout);
    }
    assert_eq!(seen.take(), (1, 1));
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
    let seen = &SEEN[0];
    leak_one(seen);
    let freed = || seen.take();
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
    assert_eq!(session(1).memory(), seen.block);
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

/// Once as much is kept as may be, what leaves is seen again, a chain of blocks at a time.
#[test]
fn no_secret_goes_back_from_what_is_kept() {
    const MANY: usize = 32;
    let seen = &SEEN[1];
    leak_one(seen);
    let clock = ManualClock::new();
    let cache = cache(MANY, &clock);
    let context = |name| cache.context(ContextId::derive(name, &[])).unwrap();
    let (lasting, passing) = (context("lasting"), context("passing"));
    // All are built before any goes, so that none is made of what is kept.
    let build = |context: &Context, n: usize| {
        let id = SessionId::from([n as u8; 32]);
        Session::new(context, id, &SECRET.repeat(KEPT)).unwrap()
    };
    let batch = |context| (0..MANY).map(|n| build(context, n)).collect();
    let mut stock: Vec<Vec<Session>> = iter::repeat_with(|| batch(&lasting)).take(11).collect();
    let stale: Vec<Session> = batch(&passing);
    let fill = DEPOT / seen.block + MAGAZINE;
    let filling: Vec<Session> = (0..fill).map(|_| build(&lasting, 0)).collect();
    assert_eq!(filling[0].memory(), seen.block);
    drop(filling);
    let mut next = || stock.pop().unwrap();
    let add = |sessions: Vec<Session>| {
        for session in sessions {
            assert!(cache.add(session).is_cached());
        }
    };
    let ids = || (0..MANY).map(|n| SessionId::from([n as u8; 32]));
    let gone = |by: &str| {
        cache.settle();
        let (freed, leaked) = seen.take();
        // But for what a thread has, which takes the place of as many others.
        assert!(freed + MAGAZINE >= MANY, "{freed} by {by}");
        assert_eq!(leaked, 0, "{by}");
    };

    drop(next());
    gone("handles that were never added");
    add(next());
    ids().for_each(|id| drop(cache.take(&lasting, &id).unwrap()));
    gone("take");
    add(next());
    ids().for_each(|id| assert!(cache.remove(&lasting, &id)));
    gone("remove");
    add(next());
    add(next());
    gone("replacement");
    clock.advance(Duration::from_secs(60));
    gone("expiry");
    add(next());
    cache.set_capacity(1).unwrap();
    cache.settle();
    cache.set_capacity(MANY).unwrap();
    cache.clear();
    gone("eviction");
    add(next());
    assert_eq!(
        cache.flush(clock.now() + Duration::from_secs(60)),
        MANY,
        "all have their time behind them"
    );
    gone("flush");
    add(stale);
    cache.invalidate_context(&passing).unwrap();
    gone("invalidation");
    add(next());
    assert_eq!(cache.retain(|_| false), MANY);
    gone("retain");
    for never in next() {
        assert!(cache.remove_exact(&never) && !cache.add(never).is_cached());
    }
    gone("removal without an add");
    cache.set_timeout(Duration::ZERO);
    for refused in next() {
        assert!(!cache.add(refused).is_cached());
    }
    gone("refusal");
    cache.set_timeout(Duration::from_secs(60));
    add(next());
    assert!(stock.is_empty(), "all ways out are above");
    drop(cache);
    let (freed, leaked) = seen.take();
    assert!(freed + MAGAZINE >= MANY && leaked == 0);
}
