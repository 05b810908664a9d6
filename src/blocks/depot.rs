//! The magazines and the depot.

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::time::{Duration, Instant};

use super::{Block, LINES, Room, Shelf, prefetch, yard};
use crate::budget::UNIT;
use crate::sync::{
    CachePadded, Counter, Mutex, THREAD_NUMBERS, for_each_free_number, thread_number,
};

/// Whether any block is kept: not where tools want to see what becomes of each.
const KEEPS: bool = !cfg!(any(miri, refrain_modelled, refrain_unpooled));

/// Blocks in a chain, and their bytes, at most.
const LINKS: usize = 64;
const CHAIN: usize = 16 << 10;

/// Bytes in the depot, and chains of one size there, at most.
const DEPOT: u64 = 8 << 20;
const SHELVES: usize = 512;

/// How many blocks of so many lines are a chain.
static LINKS_OF: [usize; LINES + 1] = {
    let mut links = [0; LINES + 1];
    let mut lines = 1;
    while lines <= LINES {
        let fit = CHAIN / (lines * UNIT);
        links[lines] = if fit < LINKS { fit } else { LINKS };
        lines += 1;
    }
    links
};

/// What a thread keeps of one size.
struct Magazine {
    /// Where blocks are taken from and given to.
    open: Cell<*mut Block>,
    len: Cell<usize>,
    /// A chain, or null.
    full: Cell<*mut Block>,
}

/// What there is of one size. Who gets a thread's number gets what its last owner has left.
struct Size {
    magazines: [CachePadded<Magazine>; THREAD_NUMBERS],
    /// About how many of the shelves are in use: the first ones, about.
    chains: CachePadded<Counter>,
    shelves: [Shelf; SHELVES],
}

// SAFETY: only the one living thread that has a number touches its magazines, and numbers are handed on with Release and
// Acquire. Shelves are atomic.
unsafe impl Sync for Size {}

static SIZES: [Size; LINES + 1] = [const { Size::new() }; LINES + 1];

/// Bytes in the depot.
static HELD: Counter = Counter::new(0);

/// The size that gives way next where the depot is full.
static TURN: Counter = Counter::new(0);

/// The sizes that were ever asked of the yard.
static USED: Used = Used([const { Counter::new(0) }; LINES + 1]);

struct Used([Counter; LINES + 1]);

impl Used {
    fn note(&self, lines: usize) {
        if self.0[lines].value() == 0 {
            self.0[lines].add(1);
        }
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        (1..=LINES).filter(|&lines| self.0[lines].value() > 0)
    }
}

/// How often [`tend`] looks at what the depot is not used for.
const TENDING: Duration = Duration::from_secs(1);

/// What it saw the last time.
static TENDED: Mutex<Option<Tended>> = Mutex::new(None);

struct Tended {
    at: Instant,
    /// How many chains of each size were left in the depot.
    chains: [u64; LINES + 1],
}

impl Size {
    const fn new() -> Self {
        Self {
            magazines: [const { CachePadded::new(Magazine::new()) }; THREAD_NUMBERS],
            chains: CachePadded::new(Counter::new(0)),
            shelves: [const { Shelf::new() }; SHELVES],
        }
    }

    /// A chain from the depot, or null. Lock-free, and one or two looks as a rule.
    fn fetch(&self, lines: usize) -> *mut Block {
        let used = (self.chains.value() as usize).min(SHELVES);
        if used == 0 {
            // It is raised before a chain is put there, and lowered after one is taken.
            return null_mut();
        }
        for at in (0..used).rev().chain(used..SHELVES) {
            let chain = self.shelves[at].take();
            if !chain.is_null() {
                self.chains.sub(1);
                HELD.sub(bytes(lines));
                return chain;
            }
        }
        null_mut()
    }

    /// Puts a chain into the depot; false if there is no shelf for it. As [`fetch`](Self::fetch).
    fn store(&self, chain: *mut Block, lines: usize) -> bool {
        let used = (self.chains.add(1) as usize).min(SHELVES);
        let held = HELD.add(bytes(lines)) + bytes(lines);
        let mut up = (used..SHELVES).chain((0..used).rev());
        let stored = up.any(|at| self.shelves[at].put(chain));
        if !stored {
            self.chains.sub(1);
            HELD.sub(bytes(lines));
        } else if held > DEPOT {
            relieve();
        }
        stored
    }
}

/// Gives chains back to the yard until the depot is within its bound: of each size in its turn, so that none stays there for
/// ever that nobody builds any more.
#[cold]
fn relieve() {
    let mut vain = 0;
    while HELD.value() > DEPOT && vain < LINES {
        let lines = 1 + TURN.add(1) as usize % LINES;
        let chain = SIZES[lines].fetch(lines);
        if chain.is_null() {
            vain += 1;
        } else {
            vain = 0;
            // SAFETY: a chain from the depot is its taker's alone.
            unsafe { yard::put(chain, lines) };
        }
    }
}

/// What a maintainer does for the memory of all caches: has regions ready where they are about to be needed, and each second lets
/// go half of what has lain in the depot since the last, and what it has itself.
pub(crate) fn tend() {
    if !KEEPS {
        return;
    }
    yard::stock();
    yard::settle();
    // Somebody else may be at it.
    if let Ok(mut tended) = TENDED.try_lock() {
        let now = Instant::now();
        let tended = tended.get_or_insert_with(|| Tended::new(now));
        if tended.is_due(now) {
            tended.let_go(&SIZES);
            thread_number().into_iter().for_each(drain);
        }
    }
}

/// What the end of a cache does: gives to the yard what is in the depot, what the calling thread has, and what threads have left that are
/// gone. Other caches begin anew.
pub(crate) fn relinquish() {
    if !KEEPS {
        return;
    }
    thread_number().into_iter().for_each(drain);
    for_each_free_number(drain);
    for lines in USED.all() {
        let size = &SIZES[lines];
        while let Some(chain) = NonNull::new(size.fetch(lines)) {
            // SAFETY: a chain from the depot is its taker's alone.
            unsafe { yard::put(chain.as_ptr(), lines) };
        }
    }
}

/// Gives to the yard what a thread has, which is the calling one, or gone.
fn drain(number: usize) {
    for lines in USED.all() {
        let magazine = &SIZES[lines].magazines[number];
        for chain in [&magazine.open, &magazine.full] {
            if !chain.get().is_null() {
                // SAFETY: nobody else touches this magazine.
                unsafe { yard::put(chain.replace(null_mut()), lines) };
            }
        }
        if magazine.len.get() > 0 {
            magazine.len.set(0);
        }
    }
}

impl Tended {
    fn new(now: Instant) -> Self {
        Self {
            at: now,
            chains: [0; LINES + 1],
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.at) >= TENDING;
        if is_due {
            self.at = now;
        }
        is_due
    }

    /// Gives half of the chains to the yard that were there the last time and are there now.
    fn let_go(&mut self, sizes: &[Size; LINES + 1]) {
        for (lines, (size, before)) in sizes.iter().zip(&mut self.chains).enumerate() {
            let there = size.chains.value();
            let unused = there.min(*before).div_ceil(2);
            *before = there - unused;
            for _ in 0..unused {
                let chain = size.fetch(lines);
                // SAFETY: a chain from the depot is its taker's alone.
                unsafe { yard::put(chain, lines) };
            }
        }
    }
}

impl Magazine {
    const fn new() -> Self {
        Self {
            open: Cell::new(null_mut()),
            len: Cell::new(0),
            full: Cell::new(null_mut()),
        }
    }

    /// A block, or null.
    #[inline]
    fn take(&self, size: &Size, lines: usize) -> *mut Block {
        if self.open.get().is_null() && !self.refill(size, lines) {
            return null_mut();
        }
        let block = self.open.get();
        // SAFETY: a block of the magazine's is this thread's alone, and holds the next one's address.
        let next = unsafe { (*block).next };
        self.open.set(next);
        self.len.set(self.len.get() - 1);
        // Another thread has wiped it.
        prefetch(next, lines);
        block
    }

    /// Makes the open chain a whole one.
    #[cold]
    fn refill(&self, size: &Size, lines: usize) -> bool {
        let mut chain = self.full.replace(null_mut());
        if chain.is_null() {
            chain = size.fetch(lines);
        }
        self.open(chain, LINKS_OF[lines])
    }

    /// Makes a chain of so many blocks the open one, if there is any.
    fn open(&self, chain: *mut Block, len: usize) -> bool {
        if chain.is_null() {
            return false;
        }
        self.open.set(chain);
        self.len.set(len);
        true
    }

    /// A block of the yard's, or null.
    #[cold]
    fn cut(&self, size: &Size, lines: usize) -> *mut Block {
        USED.note(lines);
        let (chain, len) = yard::take(lines, LINKS_OF[lines]);
        if self.open(chain, len) {
            self.take(size, lines)
        } else {
            null_mut()
        }
    }

    /// Keeps a block; returns a chain that is too many, or null.
    ///
    /// # Safety
    ///
    /// The block is so many lines long, the caller's alone, and not used by it any more.
    #[inline]
    unsafe fn give(&self, size: &Size, lines: usize, block: *mut Block) -> *mut Block {
        let mut surplus = null_mut();
        if self.len.get() == LINKS_OF[lines] {
            surplus = self.full.replace(self.open.replace(null_mut()));
            self.len.set(0);
            if !surplus.is_null() && size.store(surplus, lines) {
                surplus = null_mut();
            }
        }
        // SAFETY: a block is at least a line long, and aligned to one.
        unsafe { (*block).next = self.open.get() };
        self.open.set(block);
        self.len.set(self.len.get() + 1);
        surplus
    }
}

/// The bytes of a chain.
fn bytes(lines: usize) -> u64 {
    (LINKS_OF[lines] * lines * UNIT) as u64
}

/// The size and the calling thread's magazine for blocks that are kept.
#[inline]
fn kept(layout: Layout) -> Option<(&'static Size, &'static Magazine, usize)> {
    let lines = layout.size() / UNIT;
    if !KEEPS || lines > LINES {
        return None;
    }
    let size = &SIZES[lines];
    Some((size, &size.magazines[thread_number()?], lines))
}

/// Memory for a session, of a line or more in whole lines: some that was kept, or a slab's, or the allocator's. `None` if that has
/// none.
#[inline]
pub(crate) fn alloc(layout: Layout) -> Option<Room> {
    debug_assert!(layout.size() >= UNIT && layout.size() % UNIT == 0 && layout.align() == UNIT);
    if let Some((size, magazine, lines)) = kept(layout) {
        let mut block = magazine.take(size, lines);
        if block.is_null() {
            block = magazine.cut(size, lines);
        }
        if let Some(block) = NonNull::new(block) {
            let (at, is_alone) = (block.cast(), false);
            return Some(Room { at, is_alone });
        }
    }
    // SAFETY: the layout's size is not zero.
    let at = NonNull::new(unsafe { alloc::alloc(layout) })?;
    let is_alone = true;
    Some(Room { at, is_alone })
}

/// Keeps wiped memory for another session, or gives it back to where it came from.
///
/// # Safety
///
/// It is from [`alloc`], with this layout, and not used any more.
#[inline]
pub(crate) unsafe fn free(room: Room, layout: Layout) {
    if room.is_alone {
        // SAFETY: passed on to the caller.
        return unsafe { alloc::dealloc(room.at.as_ptr(), layout) };
    }
    let block = room.at.cast::<Block>();
    let surplus = match kept(layout) {
        // SAFETY: passed on to the caller.
        Some((size, magazine, lines)) => unsafe { magazine.give(size, lines, block.as_ptr()) },
        None => {
            // SAFETY: a block is at least a line long, and aligned to one.
            unsafe { block.write(Block { next: null_mut() }) };
            block.as_ptr()
        }
    };
    if !surplus.is_null() {
        // SAFETY: nobody else has it any more.
        unsafe { yard::put(surplus, layout.size() / UNIT) };
    }
}

#[cfg(test)]
mod tests;
