//! The allocator, with a count of one kind of session: a witness of the cache's memory that is not the cache.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The payload, and the memory, of the sessions that are counted. No other test has any of this size.
pub(crate) const PAYLOAD: usize = 8000;
pub(crate) const BLOCK: usize = 64 + PAYLOAD;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes of such sessions that are allocated now.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::SeqCst)
}

/// The most there ever were.
pub(crate) fn peak() -> usize {
    PEAK.load(Ordering::SeqCst)
}

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

fn is_counted(layout: Layout) -> bool {
    layout.size() == BLOCK && layout.align() == 64
}

// SAFETY: everything is the system allocator's; what is counted changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_counted(layout) {
            let live = LIVE.fetch_add(BLOCK, Ordering::SeqCst) + BLOCK;
            PEAK.fetch_max(live, Ordering::SeqCst);
        }
        // SAFETY: the caller keeps the trait's contract, which is the system's too; so below.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_counted(layout) {
            LIVE.fetch_sub(BLOCK, Ordering::SeqCst);
        }
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above. Sessions are never reallocated.
        unsafe { System.realloc(memory, layout, size) }
    }
}
