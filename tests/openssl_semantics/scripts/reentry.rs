//! OpenSSL's `test_remove_session_cb_not_under_lock`: a remove callback may use the cache that calls it.

use crate::common::watchdog;
use crate::counts;
use crate::on_both;
use crate::store::{Ledger, Store, Subject};
use crate::version::{CALLS_UNLOCKED, version};

on_both!(a_remove_callback_may_use_the_cache);

fn a_remove_callback_may_use_the_cache<S: Store>() {
    if S::SUBJECT == Subject::Libssl && version() < CALLS_UNLOCKED {
        println!(
            "NOT RUN on libssl {:?}: it calls the callback under its lock, and would wait for itself",
            version()
        );
        return;
    }
    let _watchdog = watchdog();
    let mut on = Ledger::<S>::new(1);
    let hook = on.reentry();
    on.log().hook_remove(Some(hook));
    assert!(on.add(&on.session(1, 300)));
    assert!(on.add(&on.session(2, 300)));
    on.step(
        "the second took the place of the first",
        counts!(remove: 1, number: 1, cache_full: 1),
    );
    assert_eq!(on.log().removed(), [[1; 32]]);
    // The hook keeps the cache alive, which keeps the hook.
    on.log().hook_remove(None);
}
