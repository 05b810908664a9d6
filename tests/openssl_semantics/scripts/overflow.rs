//! OpenSSL's `test_session_cache_overflow`: a cache of one, and an external store that has what fell out of it.

use crate::books::Books;
use crate::counts;
use crate::differences::SINGLE_USE;
use crate::server::{Bench, Plan, Protocol, Server};
use crate::store::libssl;
use crate::with_both;

with_both!(
    what_overflows_still_resumes_from_outside_in_tls13,
    what_overflows_still_resumes_from_outside_in_tls12,
    what_never_expires_overflows_in_tls13,
    what_never_expires_overflows_in_tls12,
);

fn what_overflows_still_resumes_from_outside_in_tls13<S: Server>() {
    overflow::<S>(Protocol::Tls1_3, false);
}

fn what_overflows_still_resumes_from_outside_in_tls12<S: Server>() {
    overflow::<S>(Protocol::Tls1_2, false);
}

fn what_never_expires_overflows_in_tls13<S: Server>() {
    overflow::<S>(Protocol::Tls1_3, true);
}

fn what_never_expires_overflows_in_tls12<S: Server>() {
    overflow::<S>(Protocol::Tls1_2, true);
}

fn overflow<S: Server>(protocol: Protocol, for_ever: bool) {
    let mut plan = Plan::new(protocol);
    plan.external = true;
    plan.size = 1;
    let mut on = Bench::<S>::new(plan);
    let each = if protocol == Protocol::Tls1_3 { 2 } else { 1 };

    let first = on.connect(None);
    on.step(
        "of a handshake's sessions the last one stays",
        Books::ACCEPTED + counts!(new: each, number: 1, remove: each - 1, cache_full: each - 1),
    );
    if for_ever {
        on.prolong(&first.server_session());
        assert!(on.has(&first.server_session()));
        on.step("it may stay for ever", Books::NONE);
    }
    first.close();

    let second = on.connect(None);
    on.step(
        "and leaves for others nevertheless",
        Books::ACCEPTED + counts!(new: each, remove: each, cache_full: each),
    );
    let session = second.client_session();
    on.log().set_supply(Some(second.server_session()));
    assert!(on.has(&second.server_session()));
    second.close();

    let third = on.connect(Some(&session));
    assert!(third.reused());
    let resumed = if protocol == Protocol::Tls1_3 {
        // The new session takes the place of the one that was used, or finds it empty.
        let cache_full = on.by(SINGLE_USE, 1, 0);
        counts!(hits: 1, new: 1, remove: 1, cache_full)
    } else {
        counts!(hits: 1)
    };
    on.step("the last one resumes", Books::ACCEPTED + resumed);
    third.close();
    on.log().set_supply(None);
}

with_both!(an_evicted_session_resumes_from_outside);

/// What the scripts above are named for, with every step checked: the store outside has what was evicted.
fn an_evicted_session_resumes_from_outside<S: Server>() {
    let mut plan = Plan::new(Protocol::Tls1_2);
    plan.external = true;
    plan.size = 1;
    let mut on = Bench::<S>::new(plan);
    let first = on.connect(None);
    let (session, outside) = (
        first.client_session(),
        libssl::duplicate(&first.server_session()),
    );
    first.close();
    on.connect(None).close();
    assert!(!on.has(&outside));
    on.step(
        "evicted",
        counts!(accept: 2, accept_good: 2) + counts!(new: 2, number: 1, remove: 1, cache_full: 1),
    );
    on.log().set_supply(Some(outside));
    let back = on.connect(Some(&session));
    assert!(back.reused());
    on.step(
        "asked for, stored, and another one evicted for it",
        Books::ACCEPTED + counts!(misses: 1, get: 1, cb_hits: 1, hits: 1, remove: 1, cache_full: 1),
    );
    back.close();
    on.connect(Some(&session)).close();
    on.step("found inside", Books::ACCEPTED + counts!(hits: 1));
    on.log().set_supply(None);
}
