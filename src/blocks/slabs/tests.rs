//! Yards of their own.

use std::collections::HashSet;

use super::*;

/// The blocks of a chain.
fn links(chain: *mut Block) -> Vec<*mut Block> {
    // SAFETY: a chain's blocks are alive, and hold the next one's address.
    let next = |&block: &*mut Block| Some(unsafe { (*block).next }).filter(|b| !b.is_null());
    std::iter::successors(Some(chain).filter(|b| !b.is_null()), next).collect()
}

/// As many blocks, from as many regions as that needs.
fn take(yard: &mut Yard, lines: usize, count: usize) -> Vec<*mut Block> {
    let mut all = Vec::new();
    while all.len() < count {
        let cut = yard.cut(lines, count - all.len());
        if cut.len() == 0 {
            yard.add(Region::new(1).unwrap());
            continue;
        }
        // SAFETY: just cut.
        let more = links(unsafe { cut.link(lines) });
        assert_eq!(more.len(), cut.len());
        all.extend(more);
    }
    all
}

/// Puts blocks back that were taken from the yard. Returns how many regions it gives away.
fn put(yard: &mut Yard, blocks: &[*mut Block], lines: usize) -> usize {
    let link = |next: *mut Block, &block: &*mut Block| {
        // SAFETY: a block of a yard's, taken from it.
        unsafe { block.write(Block { next }) };
        block
    };
    let mut vacant = List::NEW;
    // SAFETY: taken from this yard, as so many lines, and put back once.
    unsafe { yard.put(blocks.iter().fold(null_mut(), link), lines, &mut vacant) };
    // SAFETY: given away by the yard.
    unsafe { vacant.discard() }
}

/// The end of a yard that has got everything back: one region is left.
fn close_down(yard: Yard) {
    assert!(yard.open.iter().all(|slab| slab.is_empty()));
    assert_eq!((yard.slabs, yard.free, yard.out), (SLABS, SLABS, 0));
    // SAFETY: nothing of it is out, and nobody uses the yard again.
    assert_eq!(unsafe { yard.regions.discard() }, 1);
}

fn blocks_of(lines: usize) -> usize {
    super::blocks(lines) as usize
}

#[test]
fn blocks_do_not_overlap_and_are_aligned() {
    let mut yard = Yard::new();
    for lines in [1, 5, 33, LINES] {
        let count = if cfg!(miri) { 40 } else { 5000 };
        let blocks = take(&mut yard, lines, count);
        assert_eq!(yard.out, count * lines);
        for &block in &blocks {
            // SAFETY: the block is so long, and ours.
            unsafe { block.cast::<u8>().write_bytes(0xff, lines * UNIT) };
        }
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

#[test]
fn a_slab_holds_as_many_as_fit_into_it() {
    for lines in 1..=LINES {
        let bytes = FRONT + blocks_of(lines) * lines * UNIT;
        assert!(bytes <= SLAB && bytes + lines * UNIT > SLAB);
    }
}

#[test]
fn what_came_back_is_taken_first() {
    let mut yard = Yard::new();
    let blocks = take(&mut yard, 7, 20);
    let back: HashSet<_> = blocks[3..9].iter().copied().collect();
    put(&mut yard, &blocks[3..9], 7);
    let again: HashSet<_> = take(&mut yard, 7, 6).into_iter().collect();
    assert_eq!(again, back);
    put(&mut yard, &blocks, 7);
    close_down(yard);
}

#[test]
fn a_slab_that_is_free_again_is_one_for_any_size() {
    let mut yard = Yard::new();
    let small = take(&mut yard, 64, blocks_of(64));
    let slab = small.iter().map(|block| block.addr() / SLAB).max();
    assert_eq!(yard.free, SLABS - 1);
    put(&mut yard, &small, 64);
    assert_eq!(yard.free, SLABS);
    let large = take(&mut yard, 3, 1);
    assert_eq!(Some(large[0].addr() / SLAB), slab);
    put(&mut yard, &large, 3);
    close_down(yard);
}

#[test]
fn a_full_slab_is_not_looked_at_until_something_comes_back() {
    let mut yard = Yard::new();
    let blocks = take(&mut yard, 64, blocks_of(64));
    assert!(yard.open[64].is_empty());
    let (one, rest) = blocks.split_first().unwrap();
    put(&mut yard, &[*one], 64);
    assert_eq!(take(&mut yard, 64, 1), [*one]);
    assert!(yard.open[64].is_empty());
    // Three slabs, of which the middle one goes, in the list of those that have blocks.
    let more = take(&mut yard, 64, 2 * blocks_of(64));
    let [first, last] = [&more[..1], &more[more.len() - 1..]];
    put(&mut yard, first, 64);
    put(&mut yard, &[*one], 64);
    put(&mut yard, last, 64);
    put(&mut yard, rest, 64);
    let again = take(&mut yard, 64, 2);
    assert!(again.iter().all(|block| more.contains(block)));
    assert!(yard.open[64].is_empty());
    put(&mut yard, &more, 64);
    close_down(yard);
}

#[test]
fn regions_that_are_free_go_back_but_for_one() {
    let mut yard = Yard::new();
    let blocks = take(&mut yard, 64, 3 * SLABS as usize * blocks_of(64));
    assert_eq!((yard.slabs, yard.free), (3 * SLABS, 0));
    assert!(yard.regions.is_empty());
    // In an order that empties them all at the end.
    let (odd, even): (Vec<_>, Vec<_>) = blocks
        .iter()
        .partition(|block| block.addr() / (64 * UNIT) % 2 == 1);
    assert_eq!(put(&mut yard, &odd, 64), 0);
    assert_eq!((yard.slabs, yard.free), (3 * SLABS, 0));
    assert_eq!(put(&mut yard, &even, 64), 2);
    close_down(yard);
}

#[test]
fn where_sizes_shift_regions_are_in_proportion() {
    const AT_A_TIME: usize = if cfg!(miri) { 64 << 10 } else { 8 << 20 };
    let mut yard = Yard::new();
    let mut kept = Vec::new();
    let mut most = 0;
    // Of each size, as much as there was of the one before; and of that, a block in each slab stays.
    for lines in (2..40).step_by(if cfg!(miri) { 30 } else { 2 }) {
        let mut blocks: Vec<*mut Block> = Vec::new();
        while blocks.len() * lines * UNIT < AT_A_TIME {
            let cut = yard.cut(lines, 50);
            if cut.len() > 0 {
                // SAFETY: just cut.
                blocks.extend(links(unsafe { cut.link(lines) }));
            } else if yard.may_grow() {
                yard.add(Region::new(0).unwrap());
            } else {
                break;
            }
        }
        most = most.max(yard.out * UNIT);
        let (stay, go): (Vec<_>, Vec<_>) =
            (0..blocks.len()).partition(|n| n % blocks_of(lines) == 0);
        let pick = |list: Vec<usize>| -> Vec<_> { list.into_iter().map(|n| blocks[n]).collect() };
        put(&mut yard, &pick(go), lines);
        kept.push((lines, pick(stay)));
        assert!(yard.slabs as usize * SLAB <= most / 2 * 3 + SPARE + REGION);
    }
    assert!(cfg!(miri) || !yard.may_grow(), "it has come to that");
    for (lines, blocks) in kept {
        put(&mut yard, &blocks, lines);
    }
    close_down(yard);
}
