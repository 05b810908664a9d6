//! More handshakes on one connection, and sessions that are not to be resumed.

use std::ffi::c_int;

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslOptions;

use crate::books::Books;
use crate::counts;
use crate::ffi;
use crate::net::link::Link;
use crate::server::{Bench, Plan, Protocol, Server};
use crate::with_both;

with_both!(
    renegotiations_are_counted,
    a_session_that_must_not_be_resumed_is_not_stored
);

fn renegotiations_are_counted<S: Server>() {
    let mut plan = Plan::new(Protocol::Tls1_2);
    let allow = SslOptions::from_bits_retain(ffi::SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    plan.ctx.set_options(allow);
    let mut on = Bench::<S>::new(plan);
    let mut link = on.connect(None);
    let full = counts!(new: 1, number: 1);
    on.step("a full handshake", Books::ACCEPTED + full);

    let again = counts!(accept_renegotiate: 1, accept_good: 1);
    // SAFETY: the `SSL` is alive.
    unsafe {
        assert_eq!(
            ffi::SSL_renegotiate_abbreviated(link.client.ssl().as_ptr()),
            1
        )
    };
    go_on(&mut link);
    assert!(link.reused());
    on.step("the client wants to resume", again + counts!(hits: 1));

    // SAFETY: the `SSL` is alive.
    unsafe { assert_eq!(ffi::SSL_renegotiate(link.client.ssl().as_ptr()), 1) };
    go_on(&mut link);
    assert!(!link.reused());
    on.step("the client wants another session", again + full);
    link.close();
    on.step("closed", Books::NONE);
}

/// Completes the handshake that the client has begun. The server handles it as it reads.
fn go_on(link: &mut Link) {
    for _ in 0..5 {
        let done = link.client.do_handshake().is_ok();
        link.read_all();
        if done {
            return;
        }
    }
    panic!("the renegotiation does not end");
}

unsafe extern "C" fn forbid(_: *mut openssl_sys::SSL, _: c_int) -> c_int {
    1
}

fn a_session_that_must_not_be_resumed_is_not_stored<S: Server>() {
    for protocol in [Protocol::Tls1_2, Protocol::Tls1_3] {
        let plan = Plan::new(protocol);
        // SAFETY: the context is alive, and the function is what libssl expects.
        unsafe {
            ffi::SSL_CTX_set_not_resumable_session_callback(plan.ctx.as_ptr(), Some(forbid));
        }
        let mut on = Bench::<S>::new(plan);
        let link = on.connect(None);
        on.step("nobody is told", Books::ACCEPTED);
        link.close();
        on.step("not at its end either", Books::NONE);
    }
}
