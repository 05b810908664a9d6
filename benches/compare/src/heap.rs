//! The allocator, which counts the bytes that are asked for, if it is told to: only in the processes that measure memory.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicUsize = AtomicUsize::new(0);

#[cfg(feature = "mimalloc")]
use mimalloc::MiMalloc as Inner;
#[cfg(not(feature = "mimalloc"))]
use std::alloc::System as Inner;

/// What allocates in this process.
pub(crate) const ALLOCATOR: &str = if cfg!(feature = "mimalloc") {
    "mimalloc"
} else {
    "the system's"
};

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

/// From here on it counts.
pub(crate) fn count() {
    COUNTS.store(true, Ordering::Relaxed);
}

/// Bytes that were asked for since and not given back. What is given back may be older, so only differences tell.
pub(crate) fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// How much more there are than there were.
pub(crate) fn since(before: usize) -> usize {
    let more = live().wrapping_sub(before);
    // Less than before is nothing.
    if more > usize::MAX / 2 { 0 } else { more }
}

fn came(size: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(size, Ordering::Relaxed);
    }
}

fn went(size: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_sub(size, Ordering::Relaxed);
    }
}

// SAFETY: everything is the inner allocator's; what is counted changes nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        came(layout.size());
        // SAFETY: the caller keeps the trait's contract, which is the inner one's too; so in all the methods below.
        unsafe { Inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        came(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { Inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        went(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { Inner.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        came(size);
        went(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { Inner.realloc(memory, layout, size) }
    }
}

/// Bytes that malloc has given out, what it adds for itself included, where its own books can be read. It also knows what
/// C code asks for.
pub(crate) fn malloced() -> Option<usize> {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(feature = "mimalloc")))]
    {
        // SAFETY: it has no conditions, and returns numbers.
        let books = unsafe { libc::mallinfo2() };
        Some(books.uordblks + books.hblkhd)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu", not(feature = "mimalloc"))))]
    None
}

/// The process's memory as the system sees it, in bytes, where the system tells.
pub(crate) fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    #[cfg(unix)]
    {
        // SAFETY: it has no conditions.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Some(pages * usize::try_from(size).ok()?)
    }
    #[cfg(not(unix))]
    None
}
