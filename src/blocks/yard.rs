//! Where blocks come from: slabs, cut out of regions.
//!
//! A general allocator leaves a gap in front of memory that is aligned to lines, and puts what is allocated one after another
//! all over its own. Here blocks of one size lie side by side in *slabs* (Bonwick, "The Slab Allocator", USENIX 1994), and slabs in
//! *regions* that are as large as a huge page, and aligned so.
//!
//! ```text
//! region  | slab | slab | slab | ...                             2 MiB, from the allocator
//! slab    | region's line | its line | block | block | ...       32 KiB, blocks of one size
//! ```
//!
//! A slab whose blocks have all come back is one for any size again, and a region whose slabs are all free goes back to the
//! allocator, but for one that is kept. Where sizes shift, slabs of the old size may stay for the sake of a block each; so a region is
//! added only while all of them together are less than one and a half times what is out, and 4 MiB.
//!
//! There are two yards, each behind a lock. Nobody waits for it: who builds goes to the other one, or takes a block of the allocator's; who
//! gives back leaves the chain at the gate, for the next one who has the lock. Under it nothing is allocated, freed, or touched
//! for the first time but the line of a slab.

use std::ptr::{NonNull, null_mut};

use super::Block;
use super::slabs::{List, Region, Yard, region_of};
use crate::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard, thread_number};

/// Looks at a lock before it is left alone.
const LOOKS: usize = 64;

/// A chain at the gate: the beginning of its first block.
#[repr(C)]
struct Returned {
    block: Block,
    more: *mut Returned,
    lines: usize,
}

/// A yard and its gate.
struct Place {
    yard: Mutex<Yard>,
    /// Chains that have come back.
    gate: AtomicPtr<Returned>,
    /// Whether another region is wanted, somebody was told so, and somebody is at it.
    wanted: AtomicU8,
}

const NO: u8 = 0;
const YES: u8 = 1;
const TOLD: u8 = 2;
const COMING: u8 = 3;

static PLACES: [Place; 2] = [const { Place::new() }; 2];

/// A chain of at most so many blocks, and how many; none if locks are busy, or another region is not to be had.
pub(super) fn take(lines: usize, links: usize) -> (*mut Block, usize) {
    let first = thread_number().unwrap_or(0) % PLACES.len();
    for number in [first, (first + 1) % PLACES.len()] {
        let cut = PLACES[number].take(number, lines, links);
        if cut.1 > 0 {
            return cut;
        }
    }
    (null_mut(), 0)
}

/// Gives a chain back. Lock-free, but for the allocator, if a region goes back to it.
///
/// # Safety
///
/// Its blocks are so many lines long, from [`take`], the caller's alone, and not used any more.
#[cold]
pub(super) unsafe fn put(chain: *mut Block, lines: usize) {
    let mut chains = [null_mut::<Block>(); PLACES.len()];
    let mut at = chain;
    while let Some(block) = NonNull::new(at) {
        // SAFETY: passed on to the caller; the region of a block that is out is there, and its number does not change.
        unsafe {
            at = (*block.as_ptr()).next;
            let number = (*region_of(block)).yard;
            (*block.as_ptr()).next = chains[number];
            chains[number] = block.as_ptr();
        }
    }
    for (place, chain) in PLACES.iter().zip(chains) {
        if let Some(first) = NonNull::new(chain) {
            // SAFETY: passed on to the caller.
            unsafe { place.leave(first, lines) };
            place.settle();
        }
    }
}

/// Takes in what was left at the gates while somebody else had the lock.
pub(super) fn settle() {
    PLACES.iter().for_each(Place::settle);
}

/// Whether somebody should call [`stock`]: true once, when a yard runs short. Two loads, as a rule.
#[inline]
pub(crate) fn is_short() -> bool {
    PLACES.iter().any(|place| place.change(YES, TOLD))
}

/// Adds regions where yards are short of slabs. Their pages are there when this returns, huge ones where the system has
/// them, so that nobody waits for them who builds a session.
pub(super) fn stock() {
    for (number, place) in PLACES.iter().enumerate() {
        place.stock(number);
    }
}

impl Place {
    const fn new() -> Self {
        Self {
            yard: Mutex::new(Yard::new()),
            gate: AtomicPtr::new(null_mut()),
            wanted: AtomicU8::new(NO),
        }
    }

    /// The yard, unless somebody else is there for longer than is usual: who was suspended there, or did not come along
    /// when the process forked.
    fn enter(&self) -> Option<MutexGuard<'_, Yard>> {
        for _ in 0..LOOKS {
            match self.yard.try_lock() {
                Ok(yard) => return Some(yard),
                Err(std::sync::TryLockError::Poisoned(poison)) => return Some(poison.into_inner()),
                Err(std::sync::TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }

    /// Changes what is wanted, if that is still so.
    #[inline]
    fn change(&self, from: u8, to: u8) -> bool {
        // ORDERING: Relaxed, all. A wish on its own. The load spares a line that is seldom written.
        self.wanted.load(Ordering::Relaxed) == from
            && self
                .wanted
                .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn take(&self, number: usize, lines: usize, links: usize) -> (*mut Block, usize) {
        for _ in 0..2 {
            let Some(mut yard) = self.enter() else {
                break;
            };
            let cut = yard.cut(lines, links);
            let (is_short, may_grow) = (yard.is_short(), yard.may_grow());
            drop(yard);
            if cut.len() > 0 {
                if is_short && may_grow {
                    self.change(NO, YES);
                }
                // SAFETY: just cut.
                return (unsafe { cut.link(lines) }, cut.len());
            }
            let Some(region) = may_grow.then(|| Region::new(number)).flatten() else {
                break;
            };
            self.add(region);
        }
        (null_mut(), 0)
    }

    fn stock(&self, number: usize) {
        if !self.change(YES, COMING) && !self.change(TOLD, COMING) {
            return;
        }
        // It may have got enough back since.
        let is_short = self.enter().is_some_and(|yard| yard.is_short());
        if let Some(region) = is_short.then(|| Region::new(number)).flatten() {
            // SAFETY: it is ours, and nothing is in it.
            unsafe { Region::supply(region) };
            self.add(region);
        }
        self.change(COMING, NO);
    }

    /// Adds a region, if there is still need for it.
    fn add(&self, region: NonNull<Region>) {
        if let Some(mut yard) = self.enter() {
            if yard.is_short() {
                yard.add(region);
                return;
            }
        }
        // SAFETY: from `new`, and in no yard.
        unsafe { Region::discard(region) };
    }

    /// Leaves a chain at the gate.
    ///
    /// # Safety
    ///
    /// As for [`put`]; all of it is this yard's.
    unsafe fn leave(&self, chain: NonNull<Block>, lines: usize) {
        let returned = chain.cast::<Returned>().as_ptr();
        // ORDERING: Relaxed; the compare-and-swap decides.
        let mut more = self.gate.load(Ordering::Relaxed);
        loop {
            // SAFETY: a block is at least a line long, and the caller's; its link stays.
            unsafe {
                (*returned).more = more;
                (*returned).lines = lines;
            }
            // ORDERING: Release; partner: the Acquire in `settle`. The links, and all that was done with the blocks.
            // Relaxed on failure: it is tried again.
            match self.gate.compare_exchange_weak(
                more,
                returned,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(seen) => more = seen,
            }
        }
    }

    /// Takes in what is at the gate, unless somebody else is there. What is left there then, the next one takes in.
    fn settle(&self) {
        // ORDERING: Relaxed; only a hint that there is nothing.
        while !self.gate.load(Ordering::Relaxed).is_null() {
            let Some(mut yard) = self.enter() else {
                return;
            };
            // ORDERING: Acquire; partner: the Release in `leave`, all of which are one release sequence.
            let mut at = self.gate.swap(null_mut(), Ordering::Acquire);
            let mut vacant = List::NEW;
            while let Some(chain) = NonNull::new(at) {
                // SAFETY: what is at the gate is ours, and of this yard.
                unsafe {
                    let Returned { more, lines, .. } = chain.read();
                    (*chain.as_ptr()).more = null_mut();
                    (*chain.as_ptr()).lines = 0;
                    yard.put(chain.cast().as_ptr(), lines, &mut vacant);
                    at = more;
                }
            }
            drop(yard);
            // SAFETY: in no yard any more, and nothing of them is out.
            unsafe { vacant.discard() };
        }
    }
}

#[cfg(test)]
mod tests;
