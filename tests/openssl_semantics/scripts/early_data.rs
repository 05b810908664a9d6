//! OpenSSL's `test_early_data_replay`: a ticket is used, and then offered again with data in front.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslSession;

use crate::books::Books;
use crate::counts;
use crate::differences::{SINGLE_USE, STATELESS_TOLD};
use crate::ffi;
use crate::net::link::Link;
use crate::server::{Bench, Plan, Protocol, Server};
use crate::with_both;

with_both!(
    a_replay_gets_a_full_handshake_and_its_data_is_refused,
    a_replay_of_a_stateless_ticket_is_the_application_s_to_refuse,
    a_replay_without_anti_replay_is_the_application_s_to_refuse,
);

/// The callback's mind, and how often it was asked.
#[derive(Default)]
struct Opinion {
    allows: AtomicBool,
    asked: AtomicI64,
}

unsafe extern "C" fn allow(_: *mut openssl_sys::SSL, opinion: *mut c_void) -> c_int {
    // SAFETY: the script's, which outlives its handshakes.
    let opinion = unsafe { &*opinion.cast::<Opinion>() };
    opinion.asked.fetch_add(1, SeqCst);
    c_int::from(opinion.allows.load(SeqCst))
}

fn a_replay_gets_a_full_handshake_and_its_data_is_refused<S: Server>() {
    replay::<S>(true, true, None);
}

fn a_replay_of_a_stateless_ticket_is_the_application_s_to_refuse<S: Server>() {
    replay::<S>(false, false, Some(false));
    replay::<S>(false, false, Some(true));
}

fn a_replay_without_anti_replay_is_the_application_s_to_refuse<S: Server>() {
    replay::<S>(true, false, Some(false));
    replay::<S>(true, false, Some(true));
}

fn replay<S: Server>(stateful: bool, anti_replay: bool, allows: Option<bool>) {
    let opinion = Opinion::default();
    let mut plan = Plan::new(Protocol::Tls1_3);
    plan.stateful = stateful;
    plan.anti_replay = anti_replay;
    plan.ctx.set_max_early_data(16_384).unwrap();
    if let Some(allows) = allows {
        opinion.allows.store(allows, SeqCst);
        let argument = std::ptr::from_ref(&opinion).cast_mut().cast();
        // SAFETY: the function is what libssl expects, and the argument outlives the context.
        unsafe { ffi::SSL_CTX_set_allow_early_data_cb(plan.ctx.as_ptr(), Some(allow), argument) };
    }
    let mut on = Bench::<S>::new(plan);
    // Per stateless ticket, libssl's cache is told.
    let told = if stateful {
        1
    } else {
        on.by(STATELESS_TOLD, 1, 0)
    };
    let tickets = |n| counts!(new: n * told, number: n * told);

    let first = on.connect(None);
    // A client spoils what it has used, so each use gets its own copy.
    let bytes = first.client_session().to_der().unwrap();
    let copy = || SslSession::from_der(&bytes).unwrap();
    on.step("a full handshake", Books::ACCEPTED + tickets(2));
    first.close();

    let second = on.connect(Some(&copy()));
    assert!(second.reused());
    let single_use = stateful && (anti_replay || on.by(SINGLE_USE, false, true));
    let used = i64::from(single_use);
    let found = counts!(hits: told, remove: used, number: -used);
    on.step("the ticket is used", Books::ACCEPTED + tickets(1) + found);
    second.close();
    opinion.asked.store(0, SeqCst);

    let third = with_data(&on, &copy(), !single_use && allows == Some(true));
    assert_eq!(third.reused(), !single_use);
    assert_eq!(
        opinion.asked.load(SeqCst),
        i64::from(allows.is_some() && !single_use)
    );
    let expected = if single_use {
        tickets(2) + counts!(misses: 1)
    } else {
        tickets(1) + counts!(hits: told)
    };
    on.step("the ticket is used again", Books::ACCEPTED + expected);
    third.close();
}

/// A connection whose client sends data with its first flight, which the server accepts or not.
fn with_data<S: Server>(on: &Bench<S>, session: &SslSession, accepted: bool) -> Link {
    let mut link = Link::prepared(on.client.ctx(), on.ctx(), |client, _| {
        // SAFETY: the session is of a context with the same settings.
        unsafe { client.set_session(session) }.unwrap();
    });
    assert_eq!(link.client.write_early_data(b"early").unwrap(), 5);
    let mut data = [0; 16];
    let read = link.server.read_early_data(&mut data).unwrap();
    assert_eq!(&data[..read], if accepted { &b"early"[..] } else { b"" });
    // Until the client has said that there is no more.
    link.client.do_handshake().ok();
    while link.server.read_early_data(&mut data).is_ok_and(|n| n > 0) {}
    link.handshake().unwrap();
    // SAFETY: the `SSL` is alive.
    let status = unsafe { ffi::SSL_get_early_data_status(link.server.ssl().as_ptr()) };
    let expected = if accepted {
        ffi::SSL_EARLY_DATA_ACCEPTED
    } else {
        ffi::SSL_EARLY_DATA_REJECTED
    };
    assert_eq!(status, expected);
    link
}
