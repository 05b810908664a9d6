//! Where blocks come from: slabs, cut out of regions.
//!
//! A general allocator leaves a gap in front of memory that is aligned to lines, and puts what is allocated one after another
//! all over its own. Here blocks of one size lie side by side in *slabs* (Bonwick, "The Slab Allocator", USENIX 1994), and slabs in
//! *regions* that are as large as a huge page, and aligned so.
//!
//! ```text
//! region  | slab | slab | slab | ...                   2 MiB, from the allocator
//! slab    | its line | block | block | block | ...     128 KiB, blocks of one size
//! ```
//!
//! A slab whose blocks have all come back is one for any size again, and a region whose slabs are all free goes back to the allocator, but
//! for one that is kept.
//!
//! All of it is behind one lock, which is asked for once for each chain. Who builds sessions does not wait for it, but takes a
//! block of the allocator's.

use std::alloc::{self, Layout};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use super::{Block, LINES, discard, layout};
use crate::budget::UNIT;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Home, Mutex};

/// Bytes of a region, and what it is aligned to: a huge page of x86-64 and aarch64.
const REGION: usize = 2 << 20;
const SLAB: usize = 128 << 10;
const SLABS: u32 = (REGION / SLAB) as u32;

/// Which slabs of a region are free, a bit for each.
type Free = u16;
const ALL: Free = Free::MAX;
const _: () = assert!(ALL.count_ones() == SLABS);

/// The first line of a slab that is in use.
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

const _: () = assert!(size_of::<Slab>() == UNIT);

/// How many blocks of so many lines a slab has.
const fn blocks(lines: usize) -> u32 {
    ((SLAB - UNIT) / (lines * UNIT)) as u32
}

impl Slab {
    fn has_blocks(&self) -> bool {
        !self.idle.is_null() || self.cut < blocks(self.lines as usize)
    }
}

struct Region {
    start: NonNull<u8>,
    free: Free,
}

/// All slabs and regions.
pub(super) struct Yard {
    /// In the order of their addresses.
    regions: Vec<Region>,
    /// For each size, the first of the slabs that have blocks left.
    open: [*mut Slab; LINES + 1],
    /// Slabs of all regions that are free.
    free: u32,
}

// SAFETY: it owns the regions, and whatever points into them is used under the lock of the yard.
unsafe impl Send for Yard {}

static YARD: Mutex<Yard> = Mutex::new(Yard::new());

/// The process that the yard was made in.
static HOME: OnceLock<Home> = OnceLock::new();

/// Whether another region is wanted, somebody was told so, and somebody is at it.
static WANTED: AtomicU8 = AtomicU8::new(NO);
const NO: u8 = 0;
const YES: u8 = 1;
const TOLD: u8 = 2;
const COMING: u8 = 3;

/// So many free slabs are enough: half a megabyte.
const ENOUGH: u32 = SLABS / 4;

/// A chain of so many blocks, or null: if somebody else is here, or the allocator has no memory.
pub(super) fn take(lines: usize, links: usize) -> *mut Block {
    HOME.get_or_init(Home::here);
    let Ok(mut yard) = YARD.try_lock() else {
        return null_mut();
    };
    let chain = yard.take(lines, links);
    let is_short = yard.free < ENOUGH;
    drop(yard);
    if is_short {
        change(NO, YES);
    }
    chain
}

/// Gives a chain back: blocks of slabs to these, and others to the allocator.
///
/// # Safety
///
/// Its blocks are so many lines long, from a yard's slabs or the allocator, the caller's alone, and not used any more.
#[cold]
pub(super) unsafe fn put(chain: *mut Block, lines: usize) {
    if chain.is_null() {
        return;
    }
    let home = HOME.get_or_init(Home::here);
    // In a forked child the lock may be held by a thread that is not there. What comes back then is lost, with all that is
    // behind the lock.
    let Some(mut yard) = home.lock(&YARD) else {
        return;
    };
    // SAFETY: passed on to the caller.
    unsafe { yard.put(chain, lines) };
}

/// Changes what is wanted, if that is still so.
fn change(from: u8, to: u8) -> bool {
    // ORDERING: Relaxed, all. A wish on its own. The load spares a line that is seldom written.
    WANTED.load(Ordering::Relaxed) == from
        && WANTED
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
}

/// Whether somebody should call [`stock`]: true once, when the yard runs short. A load, as a rule.
#[inline]
pub(crate) fn is_short() -> bool {
    change(YES, TOLD)
}

/// Adds a region if the yard is short of slabs. Its pages are there when this returns, huge ones where the system has
/// them, so that nobody waits for them who builds a session.
pub(super) fn stock() {
    if !change(YES, COMING) && !change(TOLD, COMING) {
        return;
    }
    if let Some(region) = Region::new() {
        region.supply();
        match HOME.get_or_init(Home::here).lock(&YARD) {
            Some(mut yard) => yard.add(region),
            None => region.discard(),
        }
    }
    change(COMING, NO);
}

impl Region {
    const LAYOUT: Layout = match Layout::from_size_align(REGION, REGION) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    };

    fn new() -> Option<Self> {
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc::alloc(Self::LAYOUT) })?;
        Some(Self { start, free: ALL })
    }

    /// Has the system supply its pages.
    fn supply(&self) {
        // SAFETY: the region is ours, and nothing is in it. Advice, which may be refused.
        #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
        unsafe {
            libc::madvise(self.start.as_ptr().cast(), REGION, libc::MADV_HUGEPAGE);
        }
        const PAGE: usize = 4096;
        for page in 0..REGION / PAGE {
            // SAFETY: within the region, which is ours alone.
            unsafe { self.start.add(page * PAGE).write_volatile(0) };
        }
    }

    fn discard(self) {
        // SAFETY: allocated in `new`, and nothing in it is in use.
        unsafe { alloc::dealloc(self.start.as_ptr(), Self::LAYOUT) }
    }
}

impl Yard {
    pub(super) const fn new() -> Self {
        Self {
            regions: Vec::new(),
            open: [null_mut(); LINES + 1],
            free: 0,
        }
    }

    fn add(&mut self, region: Region) {
        let at = self.regions.partition_point(|r| r.start < region.start);
        self.free += region.free.count_ones();
        self.regions.insert(at, region);
    }

    /// The region that a block or slab is in.
    fn region(&self, address: usize) -> Option<usize> {
        let start = address & !(REGION - 1);
        self.regions
            .binary_search_by_key(&start, |region| region.start.addr().get())
            .ok()
    }

    /// A chain of so many blocks, or null if the allocator has no memory.
    pub(super) fn take(&mut self, lines: usize, links: usize) -> *mut Block {
        let mut chain = null_mut();
        for _ in 0..links {
            let Some(block) = self.take_one(lines) else {
                // SAFETY: these were just taken.
                unsafe { self.put(chain, lines) };
                return null_mut();
            };
            // SAFETY: a block of the yard's is at least a line long, and was just taken.
            unsafe { block.write(Block { next: chain }) };
            chain = block.as_ptr();
        }
        chain
    }

    fn take_one(&mut self, lines: usize) -> Option<NonNull<Block>> {
        if self.open[lines].is_null() {
            self.open(lines)?;
        }
        // SAFETY: slabs in the lists are in use, and nobody else's: the yard is locked.
        let slab = unsafe { &mut *self.open[lines] };
        let block = match NonNull::new(slab.idle) {
            Some(block) => {
                // SAFETY: a block that came back is the slab's, and holds the next one's address.
                slab.idle = unsafe { block.as_ref() }.next;
                block
            }
            None => {
                let offset = UNIT + slab.cut as usize * lines * UNIT;
                slab.cut += 1;
                // SAFETY: it has blocks left, so this one lies within it. From the region's pointer, not from the line's.
                unsafe { self.memory(slab.into()).add(offset).cast() }
            }
        };
        slab.out += 1;
        if !slab.has_blocks() {
            self.close(slab.into());
        }
        Some(block)
    }

    /// A slab as the region's memory.
    fn memory(&self, slab: NonNull<Slab>) -> NonNull<u8> {
        let address = slab.addr().get();
        let region = self.region(address).map(|at| self.regions[at].start);
        // SAFETY: a slab lies within its region.
        region.map_or(slab.cast(), |start| unsafe {
            start.add(address & (REGION - 1))
        })
    }

    /// Makes a free slab one of this size.
    fn open(&mut self, lines: usize) -> Option<()> {
        if self.free == 0 {
            self.add(Region::new()?);
        }
        let region = self.regions.iter_mut().find(|region| region.free != 0)?;
        let index = region.free.trailing_zeros();
        region.free &= !(1 << index);
        self.free -= 1;
        // SAFETY: within the region, and free.
        let slab = unsafe { region.start.add(index as usize * SLAB) }.cast::<Slab>();
        // SAFETY: as above, and aligned.
        unsafe {
            slab.write(Slab {
                next: null_mut(),
                previous: null_mut(),
                idle: null_mut(),
                cut: 0,
                out: 0,
                lines: lines as u32,
            });
        }
        self.list(slab);
        Some(())
    }

    /// Puts a slab in front of those that have blocks left.
    fn list(&mut self, slab: NonNull<Slab>) {
        // SAFETY: a slab in use, and its neighbour to be; the yard is locked.
        unsafe {
            let lines = (*slab.as_ptr()).lines as usize;
            let next = self.open[lines];
            (*slab.as_ptr()).next = next;
            (*slab.as_ptr()).previous = null_mut();
            if !next.is_null() {
                (*next).previous = slab.as_ptr();
            }
            self.open[lines] = slab.as_ptr();
        }
    }

    /// Takes a slab out of those that have blocks left.
    fn close(&mut self, slab: NonNull<Slab>) {
        // SAFETY: a slab in use, and its neighbours; the yard is locked.
        unsafe {
            let Slab {
                next,
                previous,
                lines,
                ..
            } = slab.read();
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.open[lines as usize] = next;
            } else {
                (*previous).next = next;
            }
        }
    }

    /// As [`put`].
    ///
    /// # Safety
    ///
    /// As there.
    pub(super) unsafe fn put(&mut self, chain: *mut Block, lines: usize) {
        let mut at = chain;
        while let Some(block) = NonNull::new(at) {
            // SAFETY: passed on to the caller.
            at = unsafe { block.as_ref() }.next;
            match self.region(block.addr().get()) {
                Some(region) => self.put_back(region, block),
                // SAFETY: passed on to the caller: not of a slab, so it is the allocator's.
                None => unsafe { discard(block.cast(), layout(lines)) },
            }
        }
    }

    /// Puts a block back into its slab, and the slab into its region, and the region into the allocator.
    fn put_back(&mut self, at: usize, block: NonNull<Block>) {
        let region = &mut self.regions[at];
        let index = (block.addr().get() & (REGION - 1)) / SLAB;
        // SAFETY: within the region.
        let slab = unsafe { region.start.add(index * SLAB) }.cast::<Slab>();
        // SAFETY: a block of it is out, so it is a slab in use. The yard is locked.
        let header = unsafe { &mut *slab.as_ptr() };
        debug_assert!(header.out > 0);
        let listed = header.has_blocks();
        header.out -= 1;
        if header.out > 0 {
            // SAFETY: the block is the slab's now.
            unsafe { block.write(Block { next: header.idle }) };
            header.idle = block.as_ptr();
            if !listed {
                self.list(slab);
            }
            return;
        }
        region.free |= 1 << index;
        let vacant = region.free == ALL;
        self.free += 1;
        if listed {
            self.close(slab);
        }
        // One is kept, with what is free elsewhere: else it might go and come with every chain.
        if vacant && self.free >= 2 * SLABS {
            self.free -= SLABS;
            self.regions.remove(at).discard();
        }
    }
}

#[cfg(test)]
mod tests;
