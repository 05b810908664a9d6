//! OpenSSL's `execute_test_session`, as far as it concerns a server: sessions in the cache, in an external store, in both.

use openssl::ssl::SslOptions;

use crate::books::Books;
use crate::counts;
use crate::differences::STATELESS_TOLD;
use crate::ffi;
use crate::server::{Bench, Plan, Protocol, Server};
use crate::store::libssl;
use crate::with_both;

with_both!(
    an_internal_session_resumes_in_tls12,
    an_external_session_resumes_in_tls12,
    a_session_resumes_in_tls12_with_both,
    an_internal_session_resumes_in_tls13,
    an_external_session_resumes_in_tls13,
    a_session_resumes_in_tls13_with_both,
    a_session_resumes_without_names_of_authorities,
);

fn an_internal_session_resumes_in_tls12<S: Server>() {
    resumes::<S>(Protocol::Tls1_2, true, false, 0);
}

fn an_external_session_resumes_in_tls12<S: Server>() {
    resumes::<S>(Protocol::Tls1_2, false, true, 0);
}

fn a_session_resumes_in_tls12_with_both<S: Server>() {
    resumes::<S>(Protocol::Tls1_2, true, true, 0);
}

fn an_internal_session_resumes_in_tls13<S: Server>() {
    resumes::<S>(Protocol::Tls1_3, true, false, 0);
}

fn an_external_session_resumes_in_tls13<S: Server>() {
    resumes::<S>(Protocol::Tls1_3, false, true, 0);
}

fn a_session_resumes_in_tls13_with_both<S: Server>() {
    resumes::<S>(Protocol::Tls1_3, true, true, 0);
}

fn a_session_resumes_without_names_of_authorities<S: Server>() {
    for protocol in [Protocol::Tls1_2, Protocol::Tls1_3] {
        resumes::<S>(protocol, true, false, ffi::SSL_OP_DISABLE_TLSEXT_CA_NAMES);
    }
}

fn resumes<S: Server>(protocol: Protocol, internal: bool, external: bool, options: u64) {
    let tls13 = protocol == Protocol::Tls1_3;
    let mut plan = Plan::new(protocol);
    // As upstream: in TLS 1.3 the client keeps everything in its tickets, in TLS 1.2 the server does.
    plan.stateful = !tls13;
    plan.external = external;
    plan.told = external;
    if !internal {
        plan.mode |= openssl_sys::SSL_SESS_CACHE_NO_INTERNAL_STORE as u32;
    }
    plan.ctx.set_options(SslOptions::from_bits_retain(options));
    let mut on = Bench::<S>::new(plan);

    let first = on.connect(None);
    let (sess1, sess2) = (first.client_session(), first.server_session());
    // libssl tells of the tickets that the client keeps, and if it is to tell of removals too, it stores them for that.
    let established = match (tls13, external) {
        (false, false) => counts!(number: 1),
        (false, true) => counts!(new: 1, number: i64::from(internal)),
        (true, false) => Books::NONE,
        (true, true) => on.by(
            STATELESS_TOLD,
            counts!(new: 2, number: 2 * i64::from(internal)),
            Books::NONE,
        ),
    };
    on.step("a full handshake", Books::ACCEPTED + established);

    if internal {
        match (tls13, external) {
            (true, false) => assert!(!on.remove(&sess2), "the client has it"),
            (true, true) => assert!(on.by(STATELESS_TOLD, true, false) == on.has(&sess2)),
            (false, _) => assert!(!on.add(&sess2), "it is in already"),
        }
        on.step("no change", Books::NONE);
    }
    let outside = if internal && external && !tls13 {
        // What is removed is not resumable any more; a copy from before is.
        let copy = libssl::duplicate(&sess2);
        assert!(on.has(&sess2) && on.remove(&sess2));
        on.step("only outside now", counts!(remove: 1, number: -1));
        copy
    } else {
        sess2
    };
    first.close();
    on.step("closed", Books::NONE);

    on.log().set_supply(Some(outside));
    let second = on.connect(Some(&sess1));
    assert!(second.reused());
    let resumed = match (tls13, external) {
        (false, false) => counts!(hits: 1),
        (false, true) => {
            counts!(get: 1, misses: 1, cb_hits: 1, hits: 1, number: i64::from(internal))
        }
        // Tickets that the client keeps are none of the cache's business.
        (true, false) => on.by(STATELESS_TOLD, counts!(hits: 1), Books::NONE),
        (true, true) => on.by(
            STATELESS_TOLD,
            counts!(hits: 1, new: 1, number: i64::from(internal)),
            Books::NONE,
        ),
    };
    on.step("resumed", Books::ACCEPTED + resumed);
    second.close();
    on.step("closed again", Books::NONE);
    on.log().set_supply(None);
}
