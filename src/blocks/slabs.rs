//! One yard's slabs and regions.

use std::alloc::{self, Layout};
use std::ptr::{NonNull, null_mut};

use super::{Block, LINES};
use crate::budget::UNIT;

/// Bytes of a region, and what it is aligned to: a huge page of x86-64 and aarch64.
pub(super) const REGION: usize = 2 << 20;
pub(super) const SLAB: usize = 32 << 10;
pub(super) const SLABS: u32 = (REGION / SLAB) as u32;

/// In front of a slab's blocks.
const FRONT: usize = 2 * UNIT;

/// Which slabs of a region are free, a bit for each.
type Free = u64;
const ALL: Free = Free::MAX;
const _: () = assert!(ALL.count_ones() == SLABS);

/// Regions may be so many bytes more than one and a half times what is out.
pub(super) const SPARE: usize = 4 << 20;

/// So many free slabs are enough: half a megabyte.
pub(super) const ENOUGH: u32 = SLABS / 4;

/// The first line of a region.
#[repr(C, align(64))]
pub(super) struct Region {
    /// Its neighbours among those of its yard that have free slabs; of one that is given away, the next such.
    pub(super) next: *mut Region,
    previous: *mut Region,
    free: Free,
    /// The number of its yard; never changes.
    pub(super) yard: usize,
}

/// The second line of a slab that is in use.
#[repr(C, align(64))]
struct Slab {
    /// Its neighbours among the slabs of its size that have blocks left.
    next: *mut Slab,
    previous: *mut Slab,
    /// Blocks that have come back.
    idle: *mut Block,
    /// How many have been cut off it, and how many of these are out.
    cut: u32,
    out: u32,
    lines: u32,
}

const _: () = assert!(size_of::<Region>() == UNIT && size_of::<Slab>() == UNIT);

/// How many blocks of so many lines a slab has.
const fn blocks(lines: usize) -> u32 {
    ((SLAB - FRONT) / (lines * UNIT)) as u32
}

/// The region that a block or a slab is in.
pub(super) fn region_of<T>(at: NonNull<T>) -> *mut Region {
    at.as_ptr().map_addr(|at| at & !(REGION - 1)).cast()
}

impl Region {
    const LAYOUT: Layout = match Layout::from_size_align(REGION, REGION) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    #[cold]
    pub(super) fn new(yard: usize) -> Option<NonNull<Self>> {
        // SAFETY: the size is not zero.
        let region = NonNull::new(unsafe { alloc::alloc(Self::LAYOUT) })?.cast::<Self>();
        // SAFETY: large enough, aligned, and ours.
        unsafe {
            region.write(Self {
                next: null_mut(),
                previous: null_mut(),
                free: ALL,
                yard,
            });
        }
        Some(region)
    }

    /// Has the system supply its pages.
    ///
    /// # Safety
    ///
    /// It is the caller's, and nothing is in it.
    pub(super) unsafe fn supply(region: NonNull<Self>) {
        const PAGE: usize = 4096;
        // SAFETY: passed on to the caller. Advice, which may be refused.
        #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
        unsafe {
            libc::madvise(region.as_ptr().cast(), REGION, libc::MADV_HUGEPAGE);
        }
        for page in 1..REGION / PAGE {
            // SAFETY: within the region, behind its line, and the caller's alone.
            unsafe { region.cast::<u8>().add(page * PAGE).write_volatile(0) };
        }
    }

    /// Gives it back to the allocator.
    ///
    /// # Safety
    ///
    /// From `new`, in no yard, and nothing in it is in use.
    pub(super) unsafe fn discard(region: NonNull<Self>) {
        // SAFETY: passed on to the caller.
        unsafe { alloc::dealloc(region.as_ptr().cast(), Self::LAYOUT) }
    }
}

/// Slabs and regions.
pub(super) struct Yard {
    /// The first of the regions that have free slabs.
    regions: *mut Region,
    /// For each size, the first of the slabs that have blocks left.
    open: [*mut Slab; LINES + 1],
    /// Slabs of all regions, and those that are free.
    slabs: u32,
    free: u32,
    /// Lines of blocks that are out.
    out: usize,
}

// SAFETY: it owns the regions, and whatever points into them is used under the lock of the yard.
unsafe impl Send for Yard {}

/// Blocks that have been cut off, not linked all of them.
pub(super) struct Cut {
    /// Some that were out before, linked.
    idle: *mut Block,
    idles: usize,
    /// And some side by side that were not.
    fresh: *mut u8,
    freshes: usize,
}

impl Cut {
    pub(super) fn len(&self) -> usize {
        self.idles + self.freshes
    }

    /// All of them as a chain, those that lie in front first.
    ///
    /// # Safety
    ///
    /// They are the caller's, and so many lines long.
    pub(super) unsafe fn link(&self, lines: usize) -> *mut Block {
        (0..self.freshes).rev().fold(self.idle, |next, index| {
            // SAFETY: passed on to the caller: so many lie there.
            unsafe {
                let block = self.fresh.add(index * lines * UNIT).cast::<Block>();
                block.write(Block { next });
                block
            }
        })
    }
}

impl Yard {
    pub(super) const fn new() -> Self {
        Self {
            regions: null_mut(),
            open: [null_mut(); LINES + 1],
            slabs: 0,
            free: 0,
            out: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn out(&self) -> usize {
        self.out
    }

    #[cfg(test)]
    pub(super) fn slabs(&self) -> u32 {
        self.slabs
    }

    /// Whether few slabs are free.
    pub(super) fn is_short(&self) -> bool {
        self.free < ENOUGH
    }

    /// Whether another region is in proportion to what is out.
    pub(super) fn may_grow(&self) -> bool {
        self.slabs as usize * SLAB <= self.out * UNIT / 2 * 3 + SPARE
    }

    pub(super) fn add(&mut self, region: NonNull<Region>) {
        self.slabs += SLABS;
        self.free += SLABS;
        // SAFETY: it is ours now, and in no list.
        unsafe { self.list_region(region.as_ptr()) };
    }

    /// Cuts off at most so many blocks: those that came back first, and then some that lie side by side.
    pub(super) fn cut(&mut self, lines: usize, links: usize) -> Cut {
        let mut cut = Cut {
            idle: null_mut(),
            idles: 0,
            fresh: null_mut(),
            freshes: 0,
        };
        while cut.len() < links && cut.freshes == 0 {
            if self.open[lines].is_null() && !self.open_one(lines) {
                break;
            }
            let slab = self.open[lines];
            let before = cut.len();
            // SAFETY: slabs in the lists are in use, and nobody else's: the yard is locked. Blocks that came back hold the
            // next one's address, and what is cut off lies within the slab.
            unsafe {
                while cut.len() < links && !(*slab).idle.is_null() {
                    let block = (*slab).idle;
                    (*slab).idle = (*block).next;
                    (*block).next = cut.idle;
                    cut.idle = block;
                    cut.idles += 1;
                }
                cut.freshes = (links - cut.len()).min((blocks(lines) - (*slab).cut) as usize);
                if cut.freshes > 0 {
                    let at = FRONT - UNIT + (*slab).cut as usize * lines * UNIT;
                    cut.fresh = slab.cast::<u8>().add(at);
                    (*slab).cut += cut.freshes as u32;
                }
                let taken = cut.len() - before;
                (*slab).out += taken as u32;
                self.out += taken * lines;
                if !Slab::has_blocks(slab) {
                    self.unlist(slab);
                }
            }
        }
        cut
    }

    /// Makes a free slab one of this size; false if there is none.
    fn open_one(&mut self, lines: usize) -> bool {
        let region = self.regions;
        if region.is_null() {
            return false;
        }
        // SAFETY: a region in the list is there, and has a free slab; the yard is locked.
        unsafe {
            let index = (*region).free.trailing_zeros();
            (*region).free &= !(1 << index);
            self.free -= 1;
            if (*region).free == 0 {
                self.unlist_region(region);
            }
            let slab = slab_of(region, index as usize);
            slab.write(Slab {
                next: null_mut(),
                previous: null_mut(),
                idle: null_mut(),
                cut: 0,
                out: 0,
                lines: lines as u32,
            });
            self.list(slab);
        }
        true
    }

    /// Puts blocks back into their slabs, and slabs into their regions. Regions that are free then go to `vacant`, but for one:
    /// else it might go and come with every chain.
    ///
    /// # Safety
    ///
    /// The chain's blocks are so many lines long, from this yard, out, and not used any more.
    pub(super) unsafe fn put(&mut self, chain: *mut Block, lines: usize, vacant: &mut *mut Region) {
        let mut at = chain;
        while let Some(block) = NonNull::new(at) {
            // SAFETY: passed on to the caller. A block of the slab is out, so slab and region are in use.
            unsafe {
                at = block.as_ref().next;
                let region = region_of(block);
                let index = (block.addr().get() & (REGION - 1)) / SLAB;
                let slab = slab_of(region, index);
                debug_assert!((*slab).out > 0 && (*slab).lines as usize == lines);
                let was_listed = Slab::has_blocks(slab);
                (*slab).out -= 1;
                self.out -= lines;
                if (*slab).out > 0 {
                    block.write(Block { next: (*slab).idle });
                    (*slab).idle = block.as_ptr();
                    if !was_listed {
                        self.list(slab);
                    }
                } else {
                    if was_listed {
                        self.unlist(slab);
                    }
                    self.free_slab(region, index, vacant);
                }
            }
        }
    }

    /// # Safety
    ///
    /// The slab is of this yard, in use, in no list, and none of its blocks is out.
    unsafe fn free_slab(&mut self, region: *mut Region, index: usize, vacant: &mut *mut Region) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            if (*region).free == 0 {
                self.list_region(region);
            }
            (*region).free |= 1 << index;
            self.free += 1;
            if (*region).free == ALL && self.free >= 2 * SLABS {
                self.unlist_region(region);
                self.slabs -= SLABS;
                self.free -= SLABS;
                (*region).next = *vacant;
                *vacant = region;
            }
        }
    }

    /// Puts a slab in front of those that have blocks left.
    ///
    /// # Safety
    ///
    /// It is in use, of this yard, and not among them.
    unsafe fn list(&mut self, slab: *mut Slab) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            let first = &mut self.open[(*slab).lines as usize];
            (*slab).next = *first;
            (*slab).previous = null_mut();
            if !first.is_null() {
                (**first).previous = slab;
            }
            *first = slab;
        }
    }

    /// Takes a slab out of those that have blocks left.
    ///
    /// # Safety
    ///
    /// It is in use, of this yard, and among them.
    unsafe fn unlist(&mut self, slab: *mut Slab) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.open[(*slab).lines as usize] = next;
            } else {
                (*previous).next = next;
            }
        }
    }

    /// As [`list`](Self::list), a region among those that have free slabs.
    ///
    /// # Safety
    ///
    /// It is of this yard, and not among them.
    unsafe fn list_region(&mut self, region: *mut Region) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            (*region).next = self.regions;
            (*region).previous = null_mut();
            if !self.regions.is_null() {
                (*self.regions).previous = region;
            }
        }
        self.regions = region;
    }

    /// As [`unlist`](Self::unlist).
    ///
    /// # Safety
    ///
    /// It is among those that have free slabs.
    unsafe fn unlist_region(&mut self, region: *mut Region) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            let (next, previous) = ((*region).next, (*region).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.regions = next;
            } else {
                (*previous).next = next;
            }
        }
    }
}

impl Slab {
    /// # Safety
    ///
    /// It is in use, and its yard is locked.
    unsafe fn has_blocks(slab: *const Self) -> bool {
        // SAFETY: passed on to the caller.
        let slab = unsafe { &*slab };
        !slab.idle.is_null() || slab.cut < blocks(slab.lines as usize)
    }
}

/// The line of a region's slab.
///
/// # Safety
///
/// The region is there.
unsafe fn slab_of(region: *mut Region, index: usize) -> *mut Slab {
    // SAFETY: passed on to the caller: within the region.
    unsafe { region.cast::<u8>().add(index * SLAB + UNIT).cast() }
}

#[cfg(test)]
mod tests;
