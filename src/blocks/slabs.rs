//! One yard's slabs and regions.

use std::alloc::{self, Layout};
use std::ptr::{NonNull, null_mut};

use super::{Block, LINES};
use crate::budget::UNIT;

/// Bytes of a region, and what it is aligned to: a huge page of x86-64 and aarch64.
const REGION: usize = 2 << 20;
const SLAB: usize = 32 << 10;
const SLABS: u32 = (REGION / SLAB) as u32;

/// In front of a slab's blocks.
const FRONT: usize = 2 * UNIT;

/// Which slabs of a region are free, a bit for each.
type Free = u64;
const ALL: Free = Free::MAX;
const _: () = assert!(ALL.count_ones() == SLABS);

/// Regions may be so many bytes more than one and a half times what is out.
const SPARE: usize = 4 << 20;

/// So many free slabs are enough: half a megabyte.
const ENOUGH: u32 = SLABS / 4;

/// What stands first in a slab's line and a region's: its neighbours in a list.
#[repr(C)]
struct Links {
    next: *mut Links,
    previous: *mut Links,
}

impl Links {
    const NONE: Self = Self {
        next: null_mut(),
        previous: null_mut(),
    };
}

/// A list of slabs or of regions, by the first.
pub(super) struct List(*mut Links);

impl List {
    pub(super) const NEW: Self = Self(null_mut());

    fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// Puts one in front.
    ///
    /// # Safety
    ///
    /// It is there, and in no list; the list is the caller's, or its yard locked.
    unsafe fn push(&mut self, one: *mut Links) {
        // SAFETY: passed on to the caller, as for all that are in the list.
        unsafe {
            one.write(Links {
                next: self.0,
                previous: null_mut(),
            });
            if !self.0.is_null() {
                (*self.0).previous = one;
            }
        }
        self.0 = one;
    }

    /// Takes one out.
    ///
    /// # Safety
    ///
    /// It is in this list; which is the caller's, or its yard locked.
    unsafe fn remove(&mut self, one: *mut Links) {
        // SAFETY: passed on to the caller, as for all that are in the list.
        unsafe {
            let Links { next, previous } = one.read();
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.0 = next;
            } else {
                (*previous).next = next;
            }
        }
    }

    /// Gives all of its regions back to the allocator. Returns how many they were.
    ///
    /// # Safety
    ///
    /// They are the caller's, from no yard any more, and nothing of them is out.
    pub(super) unsafe fn discard(self) -> usize {
        let mut count = 0;
        let mut at = self.0;
        while let Some(region) = NonNull::new(at) {
            // SAFETY: passed on to the caller.
            unsafe {
                at = region.as_ref().next;
                Region::discard(region.cast());
            }
            count += 1;
        }
        count
    }
}

/// The first line of a region.
#[repr(C, align(64))]
pub(super) struct Region {
    /// Among those of its yard that have free slabs; or among those that are given away.
    links: Links,
    free: Free,
    /// The number of its yard; never changes.
    pub(super) yard: usize,
}

/// The second line of a slab that is in use.
#[repr(C, align(64))]
struct Slab {
    /// Among the slabs of its size that have blocks left.
    links: Links,
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
                links: Links::NONE,
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
    /// The regions that have free slabs.
    regions: List,
    /// For each size, the slabs that have blocks left.
    open: [List; LINES + 1],
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
            regions: List::NEW,
            open: [List::NEW; LINES + 1],
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
        unsafe { self.regions.push(region.as_ptr().cast()) };
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
            if self.open[lines].is_empty() && !self.open_one(lines) {
                break;
            }
            let slab = self.open[lines].0.cast::<Slab>();
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
                    self.open[lines].remove(slab.cast());
                }
            }
        }
        cut
    }

    /// Makes a free slab one of this size; false if there is none.
    fn open_one(&mut self, lines: usize) -> bool {
        if self.regions.is_empty() {
            return false;
        }
        let region = self.regions.0.cast::<Region>();
        // SAFETY: a region in the list is there, and has a free slab; the yard is locked.
        unsafe {
            let index = (*region).free.trailing_zeros();
            (*region).free &= !(1 << index);
            self.free -= 1;
            if (*region).free == 0 {
                self.regions.remove(region.cast());
            }
            let slab = slab_of(region, index as usize);
            slab.write(Slab {
                links: Links::NONE,
                idle: null_mut(),
                cut: 0,
                out: 0,
                lines: lines as u32,
            });
            self.open[lines].push(slab.cast());
        }
        true
    }

    /// Puts blocks back into their slabs, and slabs into their regions. Regions that are free then go to `vacant`, but for one:
    /// else it might go and come with every chain.
    ///
    /// # Safety
    ///
    /// The chain's blocks are so many lines long, from this yard, out, and not used any more.
    pub(super) unsafe fn put(&mut self, chain: *mut Block, lines: usize, vacant: &mut List) {
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
                        self.open[lines].push(slab.cast());
                    }
                } else {
                    if was_listed {
                        self.open[lines].remove(slab.cast());
                    }
                    self.free_slab(region, index, vacant);
                }
            }
        }
    }

    /// # Safety
    ///
    /// The slab is of this yard, in use, in no list, and none of its blocks is out.
    unsafe fn free_slab(&mut self, region: *mut Region, index: usize, vacant: &mut List) {
        // SAFETY: passed on to the caller; the yard is locked.
        unsafe {
            if (*region).free == 0 {
                self.regions.push(region.cast());
            }
            (*region).free |= 1 << index;
            self.free += 1;
            if (*region).free == ALL && self.free >= 2 * SLABS {
                self.regions.remove(region.cast());
                self.slabs -= SLABS;
                self.free -= SLABS;
                vacant.push(region.cast());
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
