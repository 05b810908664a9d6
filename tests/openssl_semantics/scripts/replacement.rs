//! What takes whose place: the end of OpenSSL's `execute_test_session`, and the return values of add and remove.

use crate::books::Books;
use crate::counts;
use crate::on_both;
use crate::store::{Ledger, Store};

on_both!(
    a_newcomer_that_expires_first_still_takes_the_place,
    another_object_of_the_id_takes_its_place_in_silence,
    add_and_remove_tell_whether_they_did_it,
);

fn a_newcomer_that_expires_first_still_takes_the_place<S: Store>() {
    let mut on = Ledger::<S>::new(100);
    assert_eq!(on.set_size(1), 100);
    let (first, second) = (on.session(1, 2000), on.session(2, 4000));
    assert!(on.add(&first));
    assert!(on.add(&second));
    on.step(
        "the second displaces the first",
        counts!(remove: 1, number: 1, cache_full: 1),
    );
    assert!(on.add(&on.again(&first, 2000)));
    on.step(
        "the first displaces the second, though it expires earlier",
        counts!(remove: 1, cache_full: 1),
    );
    assert!(on.has(1) && !on.has(2));
    assert_eq!(on.log().removed(), [[1; 32], [2; 32]]);
}

fn another_object_of_the_id_takes_its_place_in_silence<S: Store>() {
    let mut on = Ledger::<S>::new(1);
    let (old, new) = (on.session(1, 100), on.session(1, 200));
    assert!(on.add(&old));
    on.step("in", counts!(number: 1));
    assert!(on.add(&new));
    on.step("replaced, nothing evicted, nobody told", Books::NONE);
    on.flush(150);
    on.step("the new one's deadline counts", Books::NONE);
    assert!(on.remove(&new));
    on.step("removed", counts!(remove: 1, number: -1));
}

fn add_and_remove_tell_whether_they_did_it<S: Store>() {
    let mut on = Ledger::<S>::new(10);
    let session = on.session(1, 100);
    assert!(on.add(&session));
    assert!(!on.add(&session), "it is in already");
    on.step("once", counts!(number: 1));
    assert!(on.remove(&session));
    on.step("out", counts!(remove: 1, number: -1));
    assert!(!on.is_resumable(&session));
    assert!(!on.remove(&session), "it is out already");
}
