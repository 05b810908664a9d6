//! OpenSSL's `test_session_timeout`: what a flush removes, in which order, and what it leaves.

use crate::books::Books;
use crate::counts;
use crate::ffi::SSL_SESS_CACHE_UPDATE_TIME;
use crate::on_both;
use crate::store::{Ledger, Store};

on_both!(
    a_flush_removes_what_has_expired_and_no_more,
    update_time_gives_an_added_session_its_whole_timeout
);

fn a_flush_removes_what_has_expired_and_no_more<S: Store>() {
    let mut on = Ledger::<S>::new(100);
    // Not in the order of their deadlines.
    let (middle, late, early) = (on.session(2, 20), on.session(3, 30), on.session(1, 10));
    for session in [&early, &middle, &late] {
        assert!(on.add(session));
    }
    on.step("three are in", counts!(number: 3));

    on.flush(9);
    on.step("none has expired", Books::NONE);
    for (at, id, session) in [(19, 1, &early), (21, 2, &middle), (31, 3, &late)] {
        assert!(on.has(id) && on.is_resumable(session));
        on.flush(at);
        on.step("one by one", counts!(remove: 1, number: -1));
        assert_eq!(on.log().removed(), [[id; 32]]);
        assert!(!on.has(id) && !on.is_resumable(session));
    }

    for session in [&early, &middle, &late] {
        assert!(on.add(&on.again(session, 40)));
    }
    on.step("they are back", counts!(number: 3));
    on.flush_all();
    on.step("all at once", counts!(remove: 3, number: -3));
}

fn update_time_gives_an_added_session_its_whole_timeout<S: Store>() {
    let mut on = Ledger::<S>::new(100);
    let mode = on.mode();
    assert_eq!(on.set_mode(mode | SSL_SESS_CACHE_UPDATE_TIME as u32), mode);
    // Without the flag it would expire at 500.
    assert!(on.add(&on.aged(1, 500, 1000)));
    on.flush(900);
    on.step("its time begins when it is added", counts!(number: 1));
    on.flush(2000);
    on.step("and ends", counts!(remove: 1, number: -1));
}
