//! Yards of their own, and the one that all share.

use std::collections::HashSet;
use std::{ptr, thread};

use super::*;

/// The blocks of a chain.
fn links(chain: *mut Block) -> Vec<*mut Block> {
    // SAFETY: a chain's blocks are alive, and hold the next one's address.
    let next = |&block: &*mut Block| Some(unsafe { (*block).next }).filter(|b| !b.is_null());
    std::iter::successors(Some(chain).filter(|b| !b.is_null()), next).collect()
}

/// Makes blocks a chain again.
fn chain(blocks: &[*mut Block]) -> *mut Block {
    let link = |next: *mut Block, &block: &*mut Block| {
        // SAFETY: a block of a yard's, taken from it.
        unsafe { block.write(Block { next }) };
        block
    };
    blocks.iter().fold(null_mut(), link)
}

/// Puts blocks back that were taken from the yard.
fn put(yard: &mut Yard, blocks: &[*mut Block], lines: usize) {
    // SAFETY: taken from this yard, as so many lines, and put back once.
    unsafe { yard.put(chain(blocks), lines) };
}

/// Writes to all of a block.
fn fill(block: *mut Block, lines: usize) {
    // SAFETY: the block is so long, and the caller's alone.
    unsafe { block.cast::<u8>().write_bytes(0xff, lines * UNIT) };
}

/// Gives a yard's last region back to the allocator.
fn close_down(mut yard: Yard) {
    assert!(yard.open.iter().all(|slab| slab.is_null()));
    assert_eq!(yard.free, SLABS * yard.regions.len() as u32);
    yard.regions.drain(..).for_each(Region::discard);
}

#[test]
fn blocks_do_not_overlap_and_are_aligned() {
    let mut yard = Yard::new();
    for lines in [1, 5, 33, LINES] {
        let count = if cfg!(miri) { 40 } else { 5000 };
        let blocks = links(yard.take(lines, count));
        assert_eq!(blocks.len(), count);
        blocks.iter().for_each(|&block| fill(block, lines));
        let mut at: Vec<usize> = blocks.iter().map(|block| block.addr()).collect();
        at.sort_unstable();
        assert!(at.iter().all(|at| at % UNIT == 0));
        assert!(at.windows(2).all(|two| two[1] - two[0] >= lines * UNIT));
        // Side by side, but where a slab ends.
        let apart = at.windows(2).filter(|two| two[1] - two[0] > lines * UNIT);
        assert!(apart.count() <= count / blocks_of(lines));
        put(&mut yard, &blocks, lines);
    }
    close_down(yard);
}

fn blocks_of(lines: usize) -> usize {
    super::blocks(lines) as usize
}

#[test]
fn a_slab_holds_as_many_as_fit_into_it() {
    for lines in 1..=LINES {
        let bytes = UNIT + blocks_of(lines) * lines * UNIT;
        assert!(bytes <= SLAB && bytes + lines * UNIT > SLAB);
    }
}

#[test]
fn what_came_back_is_taken_first() {
    let mut yard = Yard::new();
    let blocks = links(yard.take(7, 20));
    let back: HashSet<_> = blocks[3..9].iter().copied().collect();
    put(&mut yard, &blocks[3..9], 7);
    let again: HashSet<_> = links(yard.take(7, 6)).into_iter().collect();
    assert_eq!(again, back);
    put(&mut yard, &blocks, 7);
    close_down(yard);
}

#[test]
fn a_slab_that_is_free_again_is_one_for_any_size() {
    let mut yard = Yard::new();
    let small = links(yard.take(64, blocks_of(64)));
    let slab = small.iter().map(|block| block.addr() / SLAB).max();
    assert_eq!(yard.free, SLABS - 1);
    put(&mut yard, &small, 64);
    assert_eq!(yard.free, SLABS);
    let large = links(yard.take(3, 1));
    assert_eq!(Some(large[0].addr() / SLAB), slab);
    put(&mut yard, &large, 3);
    close_down(yard);
}

#[test]
fn a_full_slab_is_not_looked_at_until_something_comes_back() {
    let mut yard = Yard::new();
    let blocks = links(yard.take(64, blocks_of(64)));
    assert!(yard.open[64].is_null());
    let (one, rest) = blocks.split_first().unwrap();
    put(&mut yard, &[*one], 64);
    assert_eq!(links(yard.take(64, 1)), [*one]);
    assert!(yard.open[64].is_null());
    // Three slabs, of which the middle one goes, in the list of those that have blocks.
    let more = links(yard.take(64, 2 * blocks_of(64)));
    let [first, last] = [&more[..1], &more[more.len() - 1..]];
    put(&mut yard, first, 64);
    put(&mut yard, &[*one], 64);
    put(&mut yard, last, 64);
    put(&mut yard, rest, 64);
    assert_eq!(links(yard.take(64, 2)).len(), 2);
    assert!(yard.open[64].is_null());
    put(&mut yard, &more, 64);
    close_down(yard);
}

#[test]
fn regions_that_are_free_go_back_but_for_one() {
    let mut yard = Yard::new();
    let count = 3 * (REGION / SLAB) * blocks_of(64);
    let blocks = links(yard.take(64, count));
    assert_eq!((yard.regions.len(), yard.free), (3, 0));
    assert!(yard.regions.is_sorted_by_key(|region| region.start));
    // In an order that empties them all at the end.
    let (odd, even): (Vec<_>, Vec<_>) = blocks
        .iter()
        .partition(|block| block.addr() / (64 * UNIT) % 2 == 1);
    put(&mut yard, &odd, 64);
    assert_eq!((yard.regions.len(), yard.free), (3, 0));
    put(&mut yard, &even, 64);
    assert_eq!((yard.regions.len(), yard.free), (1, SLABS));
    close_down(yard);
}

#[test]
fn what_is_of_no_region_is_the_allocators() {
    let mut yard = Yard::new();
    let own = links(yard.take(5, 2));
    // SAFETY: the size is not zero.
    let alone = unsafe { alloc::alloc(layout(5)) }.cast::<Block>();
    assert!(yard.region(alone.addr()).is_none());
    put(&mut yard, &[own[0], alone, own[1]], 5);
    close_down(yard);
}

#[test]
fn where_somebody_is_at_it_nobody_waits() {
    let held = crate::sync::lock(&YARD);
    let is_none = thread::spawn(|| super::take(5, 3).is_null());
    assert!(is_none.join().unwrap());
    drop(held);
    let chain = std::iter::repeat_with(|| super::take(5, 3)).find(|chain| !chain.is_null());
    // SAFETY: just taken.
    unsafe { super::put(chain.unwrap_or(ptr::null_mut()), 5) };
}

#[test]
fn who_runs_short_is_given_a_region_ahead() {
    const LINES: usize = 62;
    let free = || crate::sync::lock(&YARD).free;
    // Until it is short of slabs: others may be at it too.
    let mut taken = Vec::new();
    while !is_short() {
        taken.push(super::take(LINES, blocks_of(LINES)));
        assert!(taken.len() < 4 * SLABS as usize);
    }
    stock();
    assert!(free() >= SLABS);
    for chain in taken {
        // SAFETY: just taken.
        unsafe { super::put(chain, LINES) };
    }
}
