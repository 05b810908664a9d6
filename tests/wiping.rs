//! Every session's memory holds no secret any more when it goes back to the allocator, whichever way the session left.
//!
//! The allocator of this test looks at each block of a session's size before it frees it.

#![allow(missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System, alloc, dealloc};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use refrain::{
    ContextId, Maintenance, ManualClock, RemovalCause, Session, SessionCache, SessionId,
};

const SECRET: [u8; 16] = *b"a master secret!";

/// A session of 62 secrets: one line of header and 62 * 16 bytes, in whole lines.
const PAYLOAD: usize = 62 * SECRET.len();
const BLOCK: usize = 64 + PAYLOAD.next_multiple_of(64);

struct Looking;

static FREED: AtomicUsize = AtomicUsize::new(0);
static LEAKED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Looking = Looking;

// SAFETY: passes everything on to the system's allocator; only looks at a block that is about to be freed.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() == BLOCK && layout.align() == 64 {
            // SAFETY: the block is still allocated, this large, and all of a session's bytes were written.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            let secret = bytes.windows(SECRET.len()).any(|part| part == SECRET);
            FREED.fetch_add(1, Ordering::SeqCst);
            LEAKED.fetch_add(usize::from(secret), Ordering::SeqCst);
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What was freed since the last look, and how many of those still held the secret.
fn freed() -> (usize, usize) {
    (
        FREED.swap(0, Ordering::SeqCst),
        LEAKED.swap(0, Ordering::SeqCst),
    )
}

#[test]
fn no_secret_goes_back_to_the_allocator() {
    // The look finds what it looks for.
    let layout = Layout::from_size_align(BLOCK, 64).unwrap();
    // SAFETY: the layout has a size; the block is written and freed once, with the layout it was allocated with.
    unsafe {
        // An optimizer would do without a block that nobody reads.
        let block = std::hint::black_box(alloc(layout));
        block.write_bytes(0, BLOCK);
        block
            .add(500)
            .copy_from_nonoverlapping(SECRET.as_ptr(), SECRET.len());
        dealloc(std::hint::black_box(block), layout);
    }
    assert_eq!(freed(), (1, 1));

    let clock = ManualClock::new();
    let build = || {
        SessionCache::builder()
            .capacity(4)
            .clock(clock.clone())
            .timeout(Duration::from_secs(60))
            .maintenance(Maintenance::Manual)
            .on_remove(|session, _| assert!(session.payload().starts_with(&SECRET)))
            .build()
            .unwrap()
    };
    let cache = build();
    let context = cache.context(ContextId::derive("test", &[])).unwrap();
    let id = |n: u8| SessionId::from([n; 32]);
    let session = |n: u8| Session::new(&context, id(n), &SECRET.repeat(62)).unwrap();
    let add = |n: u8| assert!(cache.add(session(n)).is_cached());
    let gone = |by: &str, count: usize| {
        cache.settle();
        assert_eq!(freed(), (count, 0), "{by}");
    };
    assert_eq!(session(1).memory(), BLOCK);
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
