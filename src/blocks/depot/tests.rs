//! Magazines, depots of their own, and the one that all share.

use std::ptr;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::*;

/// The bytes in the depot are counted together: who stores chains does so alone.
static STORING: Mutex<()> = Mutex::new(());

fn storing() -> MutexGuard<'static, ()> {
    STORING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(lines: usize) -> Layout {
    Layout::from_size_align(lines * UNIT, UNIT).unwrap()
}

/// A block of the allocator's.
fn fresh(lines: usize) -> *mut Block {
    // SAFETY: the layout's size is not zero.
    let block = unsafe { std::alloc::alloc_zeroed(layout(lines)) };
    assert!(!block.is_null());
    block.cast()
}

/// Gives blocks back to the allocator.
fn discard(lines: usize, blocks: impl IntoIterator<Item = *mut Block>) {
    for block in blocks {
        // SAFETY: all blocks here are `fresh` ones of so many lines, each discarded once.
        unsafe { std::alloc::dealloc(block.cast(), layout(lines)) };
    }
}

/// A block as who builds a session gets it.
fn alloc(lines: usize) -> Room {
    super::alloc(layout(lines)).unwrap()
}

/// The blocks of a chain.
fn links(chain: *mut Block) -> Vec<*mut Block> {
    // SAFETY: a chain's blocks are alive, and hold the next one's address.
    let next = |&block: &*mut Block| Some(unsafe { (*block).next }).filter(|b| !b.is_null());
    std::iter::successors(Some(chain).filter(|b| !b.is_null()), next).collect()
}

/// Keeps a block; what is too much goes to `surplus`.
fn give(
    magazine: &Magazine,
    size: &Size,
    lines: usize,
    block: *mut Block,
    surplus: &mut Vec<*mut Block>,
) {
    // SAFETY: `fresh`, or taken; not used any more.
    surplus.extend(links(unsafe { magazine.give(size, lines, block) }));
}

/// Everything that a magazine still gives.
fn drain(magazine: &Magazine, size: &Size, lines: usize) -> Vec<*mut Block> {
    let take = || NonNull::new(magazine.take(size, lines));
    std::iter::from_fn(take).map(NonNull::as_ptr).collect()
}

#[test]
fn what_is_given_is_taken_again_the_last_one_first() {
    static SIZE: Size = Size::new();
    const LINES: usize = 3;
    let magazine = Magazine::new();
    assert!(magazine.take(&SIZE, LINES).is_null());
    let blocks = [(); 5].map(|()| fresh(LINES));
    let mut surplus = Vec::new();
    for block in blocks {
        give(&magazine, &SIZE, LINES, block, &mut surplus);
    }
    assert!(surplus.is_empty());
    for &block in blocks.iter().rev() {
        assert_eq!(magazine.take(&SIZE, LINES), block);
        // SAFETY: a block of so many lines, `fresh`: all of it is initialized.
        let bytes = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), LINES * UNIT) };
        assert!(bytes[size_of::<Block>()..].iter().all(|&byte| byte == 0));
    }
    assert!(magazine.take(&SIZE, LINES).is_null());
    discard(LINES, blocks);
}

#[test]
fn a_block_is_written_to_in_its_first_word_only() {
    const LINES: usize = 64;
    static SIZE: Size = Size::new();
    let magazine = Magazine::new();
    let block = fresh(LINES);
    // SAFETY: a block of so many lines.
    unsafe { block.write_bytes(0xff, LINES * UNIT / size_of::<Block>()) };
    give(&magazine, &SIZE, LINES, block, &mut Vec::new());
    assert_eq!(magazine.take(&SIZE, LINES), block);
    // SAFETY: as above, and initialized.
    let words = unsafe { std::slice::from_raw_parts(block.cast::<u64>(), LINES * UNIT / 8) };
    assert_eq!(words[0], 0, "it was the only one");
    assert!(words[1..].iter().all(|&word| word == u64::MAX));
    discard(LINES, [block]);
}

#[test]
fn chains_have_a_bounded_number_of_bytes() {
    for (lines, &links) in LINKS_OF.iter().enumerate().skip(1) {
        assert!((4..=LINKS).contains(&links) && bytes(lines) <= CHAIN as u64);
        assert!(links == LINKS || bytes(lines) + (lines * UNIT) as u64 > CHAIN as u64);
    }
}

#[test]
fn chains_move_from_who_frees_to_who_allocates() {
    const LINES: usize = 16;
    static SIZE: Size = Size::new();
    let _alone = storing();
    let count = 4 * LINKS_OF[LINES];
    let addresses =
        |blocks: &[*mut Block]| -> Vec<usize> { blocks.iter().map(|b| b.addr()).collect() };
    let (mut given, left) = thread::spawn(move || {
        let magazine = Magazine::new();
        let blocks: Vec<_> = (0..count).map(|_| fresh(LINES)).collect();
        let mut surplus = Vec::new();
        for &block in &blocks {
            give(&magazine, &SIZE, LINES, block, &mut surplus);
        }
        assert!(surplus.is_empty());
        // What it has itself goes nowhere: the open chain, and a whole one.
        let own = [&magazine.open, &magazine.full].map(|chain| links(chain.get()));
        assert_eq!([own[0].len(), own[1].len()], [count / 4; 2]);
        discard(LINES, own.iter().flatten().copied());
        (addresses(&blocks), addresses(&own.concat()))
    })
    .join()
    .unwrap();
    let mut taken = thread::spawn(move || {
        let magazine = Magazine::new();
        let blocks = drain(&magazine, &SIZE, LINES);
        discard(LINES, blocks.iter().copied());
        addresses(&blocks)
    })
    .join()
    .unwrap();
    assert_eq!(taken.len(), count / 2);
    given.retain(|address| !left.contains(address));
    given.sort_unstable();
    taken.sort_unstable();
    assert_eq!(taken, given);
    assert_eq!(SIZE.chains.value(), 0);
}

/// A whole chain of the yard's.
fn cut(lines: usize) -> *mut Block {
    let mut whole = null_mut();
    for _ in 0..LINKS_OF[lines] {
        // Others may have the locks for a moment.
        let one = std::iter::repeat_with(|| yard::take(lines, 1)).find(|cut| cut.1 == 1);
        let block = one.unwrap().0;
        // SAFETY: just taken.
        unsafe { (*block).next = whole };
        whole = block;
    }
    whole
}

#[test]
fn what_is_not_kept_is_cut_by_the_chain() {
    const LINES: usize = 40;
    static SIZE: Size = Size::new();
    let magazine = Magazine::new();
    let cut = std::iter::repeat_with(|| magazine.cut(&SIZE, LINES)).find(|block| !block.is_null());
    let mut all = vec![cut.unwrap()];
    all.extend(drain(&magazine, &SIZE, LINES));
    assert!((1..=LINKS_OF[LINES]).contains(&all.len()));
    assert!(USED.all().any(|lines| lines == LINES));
    for block in all {
        // SAFETY: a block of so many lines, of the yard's.
        unsafe {
            block.write(Block { next: null_mut() });
            yard::put(block, LINES);
        }
    }
}

#[test]
fn what_nobody_wants_for_a_second_goes_by_halves() {
    const LINES: usize = 12;
    static SIZES: [Size; super::LINES + 1] = [const { Size::new() }; super::LINES + 1];
    let _alone = storing();
    let start = Instant::now();
    let mut tended = Tended::new(start);
    let mut after = |millis| {
        if tended.is_due(start + Duration::from_millis(millis)) {
            tended.let_go(&SIZES);
        }
    };
    let size = &SIZES[LINES];
    let store = |chains: usize| (0..chains).for_each(|_| assert!(size.store(cut(LINES), LINES)));
    let fetch = |chains: usize| {
        for _ in 0..chains {
            let chain = size.fetch(LINES);
            assert_eq!(links(chain).len(), LINKS_OF[LINES]);
            // SAFETY: a whole chain of the yard's.
            unsafe { yard::put(chain, LINES) };
        }
    };
    store(9);
    after(999);
    assert_eq!(size.chains.value(), 9);
    // They may have come just now.
    after(1000);
    assert_eq!(size.chains.value(), 9);
    after(1999);
    assert_eq!(size.chains.value(), 9);
    after(2000);
    assert_eq!(size.chains.value(), 4);
    // Half of the four that were there: of the nine that are, five may have come just now.
    fetch(3);
    store(8);
    after(3000);
    assert_eq!(size.chains.value(), 7);
    fetch(6);
    after(4000);
    assert_eq!(size.chains.value(), 0);
}

#[test]
fn where_there_is_no_shelf_what_is_too_much_comes_back() {
    static SIZE: Size = Size::new();
    let _alone = storing();
    // Nobody looks into these.
    let chain = ptr::without_provenance_mut::<Block>(UNIT);
    let stored = (0..SHELVES + 10).filter(|_| SIZE.store(chain, 1)).count();
    assert_eq!((stored, SIZE.chains.value()), (SHELVES, SHELVES as u64));
    // The chain before the last comes back to who gives one block more.
    let magazine = Magazine::new();
    let mut surplus = Vec::new();
    let blocks: Vec<_> = (0..=2 * LINKS_OF[1]).map(|_| fresh(1)).collect();
    for &block in &blocks {
        assert!(surplus.is_empty());
        give(&magazine, &SIZE, 1, block, &mut surplus);
    }
    surplus.reverse();
    assert_eq!(surplus, blocks[..LINKS_OF[1]]);
    // Everything is found again, and then there is room.
    let fetched = || std::iter::from_fn(|| NonNull::new(SIZE.fetch(1))).count();
    assert_eq!((fetched(), SIZE.chains.value()), (SHELVES, 0));
    assert!(SIZE.store(chain, 1));
    assert_eq!(fetched(), 1);
    surplus.extend(drain(&magazine, &SIZE, 1));
    assert_eq!(surplus.len(), blocks.len());
    discard(1, surplus);
}

#[cfg(not(any(miri, refrain_modelled, refrain_unpooled)))]
#[test]
fn the_depot_has_a_bound_and_a_size_that_nobody_builds_gives_way() {
    // Of two sizes that no other test has.
    const OLD: usize = 61;
    const NEW: usize = 59;
    let _alone = storing();
    let fill = |lines: usize| {
        let blocks = 2 * DEPOT as usize / (lines * UNIT);
        let all: Vec<_> = (0..blocks).map(|_| alloc(lines)).collect();
        for room in all {
            // SAFETY: from `alloc`, with this layout; not used any more.
            unsafe { free(room, layout(lines)) };
            // Other threads may be at it, with a chain each that they are just putting there.
            assert!(HELD.value() < DEPOT + DEPOT / 8);
        }
        SIZES[lines].chains.value()
    };
    let old = fill(OLD);
    assert!(old * bytes(OLD) > DEPOT / 2, "{old} chains");
    let new = fill(NEW);
    assert!(new * bytes(NEW) > DEPOT / 2, "{new} chains");
    assert!(SIZES[OLD].chains.value() < old / 2);
}

#[test]
fn a_shelf_has_room_for_one_chain() {
    let shelf = Shelf::new();
    let [first, second] = [1, 2].map(|n| ptr::without_provenance_mut::<Block>(n * UNIT));
    assert!(shelf.take().is_null());
    assert!(shelf.put(first) && !shelf.put(second));
    assert_eq!(shelf.take(), first);
    assert!(shelf.take().is_null());
    assert!(shelf.put(second));
    assert_eq!(shelf.take(), second);
}

#[test]
fn larger_ones_and_those_of_threads_without_a_number_are_not_kept() {
    assert!(kept(layout(LINES + 1)).is_none());
    let numbered = thread_number().is_some();
    assert_eq!(kept(layout(LINES)).is_some(), KEEPS && numbered);
    // More threads than there are numbers, all of them at once.
    let threads = THREAD_NUMBERS + 4;
    let there = Barrier::new(threads);
    let unkept: usize = thread::scope(|scope| {
        let work = || {
            let is_numbered = thread_number().is_some();
            there.wait();
            assert_eq!(kept(layout(5)).is_some(), KEEPS && is_numbered);
            let room = alloc(5);
            assert!(is_numbered || room.is_alone);
            // SAFETY: a block of five lines; then as `free` wants it.
            unsafe {
                room.at.write_bytes(0xff, 5 * UNIT);
                room.at.write_bytes(0, 5 * UNIT);
                free(room, layout(5));
            }
            usize::from(!is_numbered)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert!(unkept >= 4, "{unkept}");
}

/// Threads build and free blocks, mostly such as others have built, and write into each what nobody else may overwrite.
#[test]
fn no_block_is_anybodys_twice() {
    const THREADS: u64 = 4;
    const STEPS: u64 = if cfg!(miri) { 40 } else { 20_000 };
    const AT_A_TIME: usize = 400;
    let _alone = storing();
    // The block, its lines, and what is in it.
    type Held = (Room, usize, u64);
    let held: Mutex<Vec<Held>> = Mutex::default();
    struct Shared<'a>(&'a Mutex<Vec<Held>>);
    // SAFETY: a block in the list is its finder's alone.
    unsafe impl Sync for Shared<'_> {}
    let shared = Shared(&held);
    let check = |(room, lines, mark): Held| {
        for word in 0..lines * UNIT / 8 {
            // SAFETY: the block is so long, and the caller's alone.
            let there = unsafe { room.at.cast::<u64>().add(word).replace(0) };
            assert_eq!(there, mark, "word {word} of {lines} lines");
        }
        // SAFETY: from `alloc`, with this layout, and zeros again.
        unsafe { free(room, layout(lines)) };
    };
    let work = |thread: u64| {
        let Shared(held) = &shared;
        let mut random = thread * 2 + 1;
        for step in 0..STEPS {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
            let chance = random >> 33;
            let mut list = held.lock().unwrap();
            if list.len() == AT_A_TIME || chance % 2 == 0 && !list.is_empty() {
                let at = (chance >> 1) as usize % list.len();
                let found = list.swap_remove(at);
                drop(list);
                check(found);
                continue;
            }
            drop(list);
            // Few sizes, with short chains, which go through the depot often; and one that is not kept.
            let lines = [40, 50, LINES, LINES + 4][(chance >> 1) as usize % 4];
            let room = alloc(lines);
            let mark = thread << 32 | step | 1 << 63;
            for word in 0..lines * UNIT / 8 {
                // SAFETY: the block is so long, and this thread's alone.
                unsafe { room.at.cast::<u64>().add(word).write(mark) };
            }
            held.lock().unwrap().push((room, lines, mark));
            // Now and then a cache ends.
            if step % 1000 == 0 {
                relinquish();
                tend();
            }
        }
    };
    thread::scope(|scope| {
        let work = &work;
        (0..THREADS).for_each(|n| _ = scope.spawn(move || work(n)));
    });
    held.into_inner().unwrap().into_iter().for_each(check);
}
