//! The depot of blocks that are kept: chains on their way from one thread to another.
#![cfg(any(refrain_loom, refrain_shuttle))]

use std::sync::Arc;

use loom_tests::three;
use refrain::internal::{Chain, OneShelf, live_sessions};

/// Uses a chain and puts it on the shelf; if there is one already, it goes back to the allocator. Returns whether it stays.
fn put(shelf: &OneShelf, chain: Chain) -> bool {
    chain.read();
    let refused = shelf.put(chain).err();
    let stays = refused.is_none();
    refused.into_iter().for_each(Chain::end);
    stays
}

/// Takes what is on the shelf, for new sessions. Returns whether there was a chain.
fn take(shelf: &OneShelf) -> bool {
    let taken = shelf.take();
    let found = taken.is_some();
    taken.into_iter().for_each(Chain::end);
    found
}

/// Takes what is left; nothing was lost, and nothing was taken twice.
fn clear(shelf: &OneShelf) -> bool {
    let left = take(shelf);
    assert!(!take(shelf));
    assert_eq!(live_sessions(), 0, "blocks that were lost");
    left
}

/// Two threads put a chain on one shelf, and another takes: who takes a chain has all its blocks, and has them alone, after
/// all that was done with them before. A chain for which there is no room stays where it is.
///
/// Threads: use, put; the same; take. Protects: `Shelf::put` (its Release, and the compare-and-swap), `Shelf::take` (its
/// Acquire).
#[test]
fn two_puts_against_take() {
    let outcomes = &["one put, left", "one put, taken", "both put, one taken"];
    three("two_puts_against_take", outcomes, |run| {
        let shelf = Arc::new(OneShelf::default());
        let (one, other) = (Chain::default(), Chain::default());
        let (a, b, taken) = run.race3(
            &shelf,
            move |shelf| put(shelf, one),
            move |shelf| put(shelf, other),
            take,
        );
        let left = clear(&shelf);
        assert_eq!(u8::from(a) + u8::from(b), u8::from(taken) + u8::from(left));
        run.reached(match (a && b, taken) {
            (false, false) => "one put, left",
            (false, true) => "one put, taken",
            (true, true) => "both put, one taken",
            (true, false) => panic!("both put, none taken"),
        });
    });
}

/// Two threads take from a shelf with a chain, and another puts one there: no chain is taken twice.
///
/// Threads: take; take; use, put. Protects: the exchange in `Shelf::take`.
#[test]
fn two_takes_against_put() {
    let outcomes = &["one taken, none put", "one taken, one left", "both taken"];
    three("two_takes_against_put", outcomes, |run| {
        let shelf = Arc::new(OneShelf::default());
        assert!(put(&shelf, Chain::default()));
        let another = Chain::default();
        let (a, b, put) = run.race3(&shelf, take, take, move |shelf| put(shelf, another));
        let left = clear(&shelf);
        assert_eq!(
            u8::from(a) + u8::from(b) + u8::from(left),
            1 + u8::from(put)
        );
        run.reached(match (a && b, put) {
            (true, true) => "both taken",
            (false, true) => "one taken, one left",
            (false, false) => "one taken, none put",
            (true, false) => panic!("taken twice"),
        });
    });
}
