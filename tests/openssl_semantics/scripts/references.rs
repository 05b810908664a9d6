//! The cache has one reference to each of its sessions, and gives it up on every way out.

use crate::books::Books;
use crate::counts;
use crate::on_both;
use crate::store::{Ledger, Store};

on_both!(
    each_way_out_frees_a_session_that_nobody_else_has,
    a_session_that_somebody_has_outlives_the_cache
);

fn each_way_out_frees_a_session_that_nobody_else_has<S: Store>() {
    type WayOut<S> = fn(&Ledger<S>, &<S as Store>::Session);
    let ways: [(&str, WayOut<S>, Books); 4] = [
        (
            "removed",
            |on, session| assert!(on.remove(session)),
            counts!(remove: 1, number: -1),
        ),
        (
            "flushed",
            |on, _| on.flush(101),
            counts!(remove: 1, number: -1),
        ),
        (
            "replaced",
            |on, _| assert!(on.add(&on.session(1, 200))),
            Books::NONE,
        ),
        (
            "evicted",
            |on, _| assert!(on.add(&on.session(2, 200))),
            counts!(remove: 1, cache_full: 1),
        ),
    ];
    for (way, leave, expected) in ways {
        let mut on = Ledger::<S>::new(1);
        let session = on.session(1, 100);
        let watch = on.watch(&session);
        assert!(on.add(&session));
        on.step("in", counts!(number: 1));

        let mine = session.clone();
        drop(session);
        leave(&on, &mine);
        on.step(way, expected);
        assert!(!on.is_freed(&watch), "{way}: one reference is left");
        drop(mine);
        assert!(on.is_freed(&watch), "{way}: the cache has kept a reference");
    }
}

fn a_session_that_somebody_has_outlives_the_cache<S: Store>() {
    let on = Ledger::<S>::new(10);
    let (kept, given) = (on.session(1, 100), on.session(2, 100));
    assert!(on.add(&kept) && on.add(&given));
    drop(given);
    drop(on);
    let later = Ledger::<S>::new(10);
    assert!(!later.is_resumable(&kept), "it was removed with the cache");
}
