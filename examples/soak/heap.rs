//! The allocator, with a count of what sessions take: a witness of the cache's memory that is not the cache.
//!
//! Sessions are aligned to cache lines, and the regions that smaller ones are cut out of to huge pages. So is the cache's index to
//! lines, which is there from its beginning and does not grow.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A cache line: what sessions are aligned to, and accounted in.
const LINE: usize = 64;

/// What nothing but a region is aligned to.
const REGION: usize = 2 << 20;

fn is_for_sessions(layout: Layout) -> bool {
    matches!(layout.align(), LINE | REGION)
}

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting what is aligned to cache lines.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

/// Bytes in whole cache lines that are allocated now.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The most there ever were.
pub(crate) fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

fn came(layout: Layout) {
    if is_for_sessions(layout) {
        let size = layout.size().next_multiple_of(LINE);
        let live = LIVE.fetch_add(size, Ordering::Relaxed) + size;
        if live > PEAK.load(Ordering::Relaxed) {
            PEAK.fetch_max(live, Ordering::Relaxed);
        }
    }
}

fn went(layout: Layout) {
    if is_for_sessions(layout) {
        let size = layout.size().next_multiple_of(LINE);
        LIVE.fetch_sub(size, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system allocator's; what is counted changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the trait's contract, which is the system's too; so in all the methods below.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            came(layout);
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            came(layout);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // Before it is given back, so that nobody who gets it is counted on top.
        went(layout);
        // SAFETY: as in `alloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let moved = unsafe { System.realloc(memory, layout, size) };
        if !moved.is_null() {
            went(layout);
            // The caller answers for the new size: it is one that a layout can have.
            if let Ok(layout) = Layout::from_size_align(size, layout.align()) {
                came(layout);
            }
        }
        moved
    }
}

/// The process's memory as the system sees it, in bytes, where the system tells.
pub(crate) fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    page_size().map(|size| pages * size)
}

/// The size of a page, from the auxiliary vector: pairs of words, of which the one with key 6 has it.
fn page_size() -> Option<usize> {
    const KEY: u64 = 6;
    let bytes = std::fs::read("/proc/self/auxv").ok()?;
    let words: Vec<u64> = bytes
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok().map(u64::from_ne_bytes))
        .collect();
    let pair = words.chunks_exact(2).find(|pair| pair[0] == KEY)?;
    usize::try_from(pair[1]).ok()
}
