//! Memory of sessions that are gone, kept for sessions to come.
//!
//! Accept threads build sessions, and the maintainer frees them. A general allocator takes a lock to free what another
//! thread has allocated, and then adds wait for that lock, the only one on their way. So blocks go round: wiped, sorted by
//! their number of cache lines, through a *magazine* of each thread and a *depot* that all share (Bonwick and Adams,
//! "Magazines and Vmem", USENIX 2001). What does not fit into them goes back to the *yard*, and what they do not have comes from
//! there.
//!
//! ```text
//! session freed --> magazine of the thread --chain--> depot --chain--> magazine of the thread --> session built
//!                            |                          |                         ^
//!                            +------ too much ----------+------> yard ------------+
//! ```

#[cfg(not(any(refrain_loom, refrain_shuttle)))]
mod depot;
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
mod slabs;
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
mod yard;

use std::ptr::{NonNull, null_mut};

use crate::budget::UNIT;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::prefetch_to_write;

#[cfg(not(any(refrain_loom, refrain_shuttle)))]
pub(crate) use depot::{alloc, free, relinquish, tend};
#[cfg(any(refrain_loom, refrain_shuttle))]
pub(crate) use unkept::{alloc, free, is_short, relinquish, tend};
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
pub(crate) use yard::is_short;

/// The largest blocks that are kept, in lines.
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
const LINES: usize = 64;

/// Memory for one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) at: NonNull<u8>,
    /// It is the allocator's, and goes back to it.
    pub(crate) is_alone: bool,
}

/// A block that is kept: zeros, but for its first word, once a session has been in it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) next: *mut Self,
}

/// Room for one chain of blocks. None is ever taken apart here, so there is no ABA.
#[derive(Debug)]
pub(crate) struct Shelf(AtomicPtr<Block>);

impl Shelf {
    #[cfg(not(any(refrain_loom, refrain_shuttle)))]
    const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The checkers' atomics are not made at compile time.
    #[cfg(any(refrain_loom, refrain_shuttle))]
    pub(crate) fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Puts a chain here, if there is none. Wait-free.
    pub(crate) fn put(&self, chain: *mut Block) -> bool {
        // ORDERING: Relaxed. A look, so that a shelf in use is not written to; the compare-and-swap decides.
        if !self.0.load(Ordering::Relaxed).is_null() {
            return false;
        }
        // ORDERING: Release; partner: the Acquire in `take`. The links, and all that was done with the blocks before.
        // Relaxed on failure: another shelf will do.
        self.0
            .compare_exchange(null_mut(), chain, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes the chain that is here; null if there is none. Wait-free.
    pub(crate) fn take(&self) -> *mut Block {
        // ORDERING: Relaxed. A look, as in `put`.
        if self.0.load(Ordering::Relaxed).is_null() {
            return null_mut();
        }
        // ORDERING: Acquire; partner: the Release in `put`.
        self.0.swap(null_mut(), Ordering::Acquire)
    }
}

/// Makes memory zero, of whole words, and lets no compiler see that nobody reads it again.
///
/// # Safety
///
/// The memory is the caller's alone, so long, and aligned for words.
#[inline]
pub(crate) unsafe fn wipe(memory: NonNull<u8>, len: usize) {
    #[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]
    // SAFETY: passed on to the caller. The empty instruction might read the memory, for all that the compiler knows.
    unsafe {
        memory.write_bytes(0, len);
        std::arch::asm!("/* {0} */", in(reg) memory.as_ptr(), options(nostack, preserves_flags));
    }
    #[cfg(not(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(miri))))]
    for word in 0..len / size_of::<u64>() {
        // SAFETY: passed on to the caller.
        unsafe { memory.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Asks for a block's first sixteen lines, to be written to: what follows, the processor sees coming. It need not be there.
#[inline]
pub(crate) fn prefetch<T>(block: *const T, lines: usize) {
    for line in 0..lines.min(16) {
        prefetch_to_write(block.wrapping_byte_add(line * UNIT));
    }
}

/// Under the checkers no block is kept.
#[cfg(any(refrain_loom, refrain_shuttle))]
mod unkept {
    use std::alloc::{self, Layout};
    use std::ptr::NonNull;

    use super::Room;

    pub(crate) fn alloc(layout: Layout) -> Option<Room> {
        // SAFETY: the layout's size is not zero: it holds a header.
        let at = NonNull::new(unsafe { alloc::alloc(layout) })?;
        let is_alone = true;
        Some(Room { at, is_alone })
    }

    /// Leaves the memory where it is, so that a late reader finds it.
    ///
    /// # Safety
    ///
    /// None is needed here.
    pub(crate) unsafe fn free(_: Room, _: Layout) {}

    pub(crate) fn is_short() -> bool {
        false
    }

    pub(crate) fn tend() {}

    pub(crate) fn relinquish() {}
}
