//! The search finds what is there, wherever it is, and as little as fifteen bytes of it.

use std::cell::UnsafeCell;
use std::hint::black_box;

use super::scan::copies;
use super::secret::{Secret, wipe};
use super::stage::{alone, assert_none, assert_one};

const LEN: usize = 48;

/// A place in the program's own data.
struct Place(UnsafeCell<[u8; LEN]>);

// SAFETY: used by one test, on one thread.
unsafe impl Sync for Place {}

static PLACE: Place = Place(UnsafeCell::new([1; LEN]));

/// Puts the secret into a place, finds it there, wipes it, and finds nothing.
fn seen(what: &str, secret: &Secret, place: &mut [u8]) {
    assert_none(secret, what);
    secret.write(place);
    assert_one(secret, what);
    let found = copies(secret);
    assert_eq!(found[0].at(), place.as_ptr().addr(), "{what}");
    wipe(place);
    assert_none(secret, what);
}

#[test]
fn a_copy_is_seen_on_the_heap_on_a_stack_and_among_static_data() {
    let _alone = alone();
    let secret = Secret::new(LEN);
    seen("heap", &secret, &mut *Box::new([0; LEN]));
    seen("stack", &secret, &mut [0; LEN]);
    // SAFETY: nobody else has it.
    seen("static data", &secret, unsafe { &mut *PLACE.0.get() });
    std::thread::scope(|scope| {
        scope.spawn(|| seen("another stack", &secret, &mut [0; LEN]));
    });
    // So large that it is a mapping of its own, and the copy lies across two of the pieces in which it is read.
    let mut large = vec![1; 1 << 20];
    let edge = 5 * (1 << 16) - large.as_ptr().addr() % (1 << 16);
    seen("large", &secret, &mut large[edge - LEN / 2..][..LEN]);
}

#[test]
fn a_copy_in_freed_memory_is_seen() {
    let _alone = alone();
    let secret = Secret::new(400);
    let mut block = vec![0; 400];
    secret.write(&mut block);
    let at = block.as_ptr().addr();
    drop(block);
    let found = copies(&secret);
    assert!(found.len() == 1 && found[0].at() == at, "{found:?}");
    // The allocator has written its own words over the first ones.
    assert!(!found[0].is_whole(), "{found:?}");
}

#[test]
fn any_fifteen_bytes_of_it_are_seen_and_each_copy_is_counted() {
    let _alone = alone();
    let secret = Secret::new(100);
    let clear = secret.clear();
    let mut place = Box::new([0; 64]);
    for from in 0..=85 {
        let to = &mut place[from % 8..][..15];
        to.copy_from_slice(&clear[from..][..15]);
        let found = copies(&secret);
        assert_eq!(found.len(), 2, "from {from}: {found:?}");
        let piece = found.iter().find(|c| !c.is_whole()).unwrap();
        assert_eq!(piece.at(), to.as_ptr().addr() - from);
        wipe(to);
    }
    let second = clear.to_vec();
    assert_eq!(copies(&secret).len(), 2);
    drop(clear);
    assert_one(&secret, "the second copy");
    wipe(&mut black_box(second));
    assert_none(&secret, "both wiped");
}
