//! The yards that all share, and a place of its own.

use std::thread;

use super::*;
use crate::budget::UNIT;

#[test]
fn where_somebody_is_at_it_nobody_waits() {
    // Of a size that nobody else has.
    const LINES: usize = 61;
    static PLACE: Place = Place::new();
    // ORDERING: Relaxed; one thread at a time.
    let is_empty = || PLACE.gate.load(Ordering::Relaxed).is_null();
    let held = PLACE.enter().unwrap();
    assert_eq!(
        thread::spawn(|| PLACE.take(0, LINES, 3).1).join().unwrap(),
        0
    );
    drop(held);
    let (chain, len) = PLACE.take(0, LINES, 3);
    assert_eq!(len, 3);
    // What comes back meanwhile waits at the gate.
    let held = PLACE.enter().unwrap();
    assert_eq!(held.out(), 3 * LINES);
    // SAFETY: just taken.
    unsafe { PLACE.leave(NonNull::new(chain).unwrap(), LINES) };
    thread::scope(|scope| scope.spawn(|| PLACE.settle()).join().unwrap());
    assert!(!is_empty());
    assert_eq!(held.out(), 3 * LINES);
    drop(held);
    PLACE.settle();
    assert!(is_empty());
    assert_eq!(PLACE.enter().unwrap().out(), 0);
}

#[test]
fn what_is_at_the_gate_keeps_its_order_and_nothing_of_it_stays_behind() {
    const LINES: usize = 1;
    static PLACE: Place = Place::new();
    let chains: Vec<_> = (0..4).map(|_| PLACE.take(0, LINES, 7)).collect();
    let held = PLACE.enter().unwrap();
    for &(chain, len) in &chains {
        assert_eq!(len, 7);
        // SAFETY: just taken.
        unsafe { PLACE.leave(NonNull::new(chain).unwrap(), LINES) };
    }
    drop(held);
    PLACE.settle();
    assert_eq!(PLACE.enter().unwrap().out(), 0);
    let (chain, len) = PLACE.take(0, LINES, 7);
    assert_eq!(len, 7);
    // Blocks have nothing but their link in them.
    let mut firsts = 0;
    let mut at = chain;
    while !at.is_null() {
        if chains.iter().any(|&(first, _)| first == at) {
            // SAFETY: a line long, and written to when it was left at the gate.
            let words = unsafe { std::slice::from_raw_parts(at.cast::<u64>().add(1), 2) };
            assert_eq!(words, [0, 0]);
            firsts += 1;
        }
        // SAFETY: a chain's block.
        at = unsafe { (*at).next };
    }
    assert!(firsts > 0);
    // SAFETY: just taken.
    unsafe { PLACE.leave(NonNull::new(chain).unwrap(), LINES) };
    PLACE.settle();
}

#[test]
fn who_runs_short_is_told_and_gets_a_region_ahead() {
    const LINES: usize = 64;
    static PLACE: Place = Place::new();
    let mut taken = Vec::new();
    while !PLACE.change(YES, TOLD) {
        let (chain, len) = PLACE.take(0, LINES, 4);
        assert!(len > 0 && taken.len() < 4000);
        taken.push(chain);
    }
    assert!(!PLACE.change(YES, TOLD), "once");
    assert!(PLACE.enter().unwrap().is_short());
    PLACE.stock(0);
    assert!(!PLACE.enter().unwrap().is_short());
    // And nothing where nothing is wanted.
    let before = PLACE.enter().unwrap().slabs();
    PLACE.stock(0);
    assert_eq!(PLACE.enter().unwrap().slabs(), before);
    for chain in taken {
        // SAFETY: just taken.
        unsafe { PLACE.leave(NonNull::new(chain).unwrap(), LINES) };
    }
    PLACE.settle();
    assert_eq!(PLACE.enter().unwrap().out(), 0);
}

#[test]
fn chains_of_both_yards_find_their_way_home() {
    const LINES: usize = 60;
    let mut both = null_mut();
    for (number, place) in PLACES.iter().enumerate() {
        let take = || Some(place.take(number, LINES, 2)).filter(|cut| cut.1 > 0);
        let (chain, _) = std::iter::repeat_with(take).flatten().next().unwrap();
        let mut at = chain;
        while let Some(block) = NonNull::new(at) {
            // SAFETY: just taken.
            unsafe {
                assert_eq!((*region_of(block)).yard, number);
                block
                    .cast::<u8>()
                    .add(size_of::<Block>())
                    .write_bytes(0, LINES * UNIT - size_of::<Block>());
                at = (*block.as_ptr()).next;
                (*block.as_ptr()).next = both;
            }
            both = block.as_ptr();
        }
    }
    // SAFETY: taken above; both yards' in turn.
    unsafe { super::put(both, LINES) };
    settle();
}
