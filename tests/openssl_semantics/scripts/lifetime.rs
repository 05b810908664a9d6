//! OpenSSL's `test_ticket_lifetime`: what the server tells the client about how long its session will do.

use foreign_types::ForeignTypeRef;

use crate::ffi;
use crate::server::{Bench, Plan, Protocol, Server};
use crate::with_both;

with_both!(
    a_hint_is_the_timeout_in_tls12,
    a_hint_is_a_week_at_most_in_tls13
);

const WEEK: u64 = 7 * 24 * 60 * 60;

/// The hint that a client gets where sessions live for two weeks.
fn hint<S: Server>(protocol: Protocol, stateful: bool) -> u64 {
    let mut plan = Plan::new(protocol);
    plan.stateful = stateful;
    plan.timeout = Some(2 * WEEK);
    let on = Bench::<S>::new(plan);
    assert_eq!(on.set_timeout(2 * WEEK), 2 * WEEK);
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    // SAFETY: the session is alive.
    unsafe { ffi::SSL_SESSION_get_ticket_lifetime_hint(session.as_ptr()) }
}

fn a_hint_is_the_timeout_in_tls12<S: Server>() {
    assert_eq!(hint::<S>(Protocol::Tls1_2, false), 2 * WEEK);
}

fn a_hint_is_a_week_at_most_in_tls13<S: Server>() {
    for stateful in [false, true] {
        assert_eq!(hint::<S>(Protocol::Tls1_3, stateful), WEEK);
    }
}
