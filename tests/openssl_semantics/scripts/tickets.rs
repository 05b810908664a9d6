//! OpenSSL's `test_stateful_tickets`, `test_stateless_tickets` and `test_extra_tickets`: how many TLS 1.3 sessions there are.

use std::ffi::c_int;

use foreign_types::ForeignTypeRef;
use openssl::ssl::{ErrorCode, SslSession, SslVerifyMode};

use crate::books::Books;
use crate::counts;
use crate::differences::{SINGLE_USE, STATELESS_TOLD};
use crate::ffi;
use crate::net::identity;
use crate::net::link::{Link, read};
use crate::server::{Bench, Client, Plan, Protocol, Server};
use crate::version::{HAS_TICKETS_ON_REQUEST, version};
use crate::with_both;

with_both!(
    stateful_tickets_resume_where_they_were_made,
    stateless_tickets_resume_where_they_were_made,
    stateful_tickets_are_sent_on_request,
    stateless_tickets_are_sent_on_request,
);

fn stateful_tickets_resume_where_they_were_made<S: Server>() {
    (0..=2).for_each(|tickets| issue::<S>(true, tickets));
}

fn stateless_tickets_resume_where_they_were_made<S: Server>() {
    (0..=2).for_each(|tickets| issue::<S>(false, tickets));
}

fn stateful_tickets_are_sent_on_request<S: Server>() {
    (0..=2).for_each(|tickets| request::<S>(true, tickets));
}

fn stateless_tickets_are_sent_on_request<S: Server>() {
    (0..=2).for_each(|tickets| request::<S>(false, tickets));
}

/// A server that issues so many tickets, and a client that lets itself be authenticated later.
fn bench<S: Server>(stateful: bool, tickets: usize) -> Bench<S> {
    let mut plan = Plan::new(Protocol::Tls1_3);
    plan.stateful = stateful;
    plan.ctx.set_num_tickets(tickets).unwrap();
    let mut on = Bench::<S>::new(plan);
    on.client = Client::new(Protocol::Tls1_3, |ctx| {
        identity::install(ctx);
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_set_post_handshake_auth(ctx.as_ptr(), 1) };
    });
    on
}

/// What the server's books say of `tickets` tickets.
fn issued<S: Server>(on: &Bench<S>, stateful: bool, tickets: usize) -> Books {
    let told = if stateful {
        1
    } else {
        on.by(STATELESS_TOLD, 1, 0)
    };
    let sessions = tickets as i64 * told;
    counts!(new: sessions, number: sessions)
}

/// The server asks the client for its certificate.
fn authenticate(link: &mut Link) {
    let ssl = link.server.ssl().as_ptr();
    let mode = SslVerifyMode::PEER.bits() as c_int;
    // SAFETY: the `SSL` is alive; the callback takes every certificate.
    unsafe {
        openssl_sys::SSL_set_verify(ssl, mode, Some(accept_any));
        assert_eq!(ffi::SSL_verify_client_post_handshake(ssl), 1);
    }
    link.server.do_handshake().unwrap();
    link.read_all();
}

extern "C" fn accept_any(_: c_int, _: *mut openssl_sys::X509_STORE_CTX) -> c_int {
    1
}

fn issue<S: Server>(stateful: bool, tickets: usize) {
    let mut on = bench::<S>(stateful, tickets);
    on.connect(None).close();
    let sessions = on.client.take_sessions();
    assert_eq!(sessions.len(), tickets);
    let expected = Books::ACCEPTED + issued(&on, stateful, tickets);
    on.step("a full handshake", expected);

    // Nobody else takes them.
    let mut on = bench::<S>(stateful, tickets);
    for n in 0..2 * tickets {
        let link = on.connect(sessions.get(n).map(|s| &**s));
        assert!(!link.reused());
        assert_eq!(on.client.take_sessions().len(), tickets);
        let misses = i64::from(stateful && n < tickets);
        let expected = Books::ACCEPTED + issued(&on, stateful, tickets) + counts!(misses);
        on.step("a full handshake in spite of a ticket", expected);
        link.close();
    }

    let mut on = bench::<S>(stateful, tickets);
    let mut link = on.connect(None);
    let mut sessions = on.client.take_sessions();
    let expected = Books::ACCEPTED + issued(&on, stateful, tickets);
    on.step("before the authentication", expected);
    authenticate(&mut link);
    sessions.extend(on.client.take_sessions());
    assert_eq!(sessions.len(), 2 * tickets);
    let expected = issued(&on, stateful, tickets);
    on.step("and behind it", expected);
    link.close();

    for session in &sessions {
        resume(&mut on, stateful, session);
    }
}

fn resume<S: Server>(on: &mut Bench<S>, stateful: bool, session: &SslSession) {
    let mut link = on.connect(Some(session));
    assert!(link.reused());
    assert_eq!(on.client.take_sessions().len(), 1);
    let found = if stateful {
        let taken = on.by(SINGLE_USE, 0, 1);
        counts!(hits: 1, number: -taken, remove: taken)
    } else {
        counts!(hits: on.by(STATELESS_TOLD, 1, 0))
    };
    let expected = Books::ACCEPTED + found + issued(on, stateful, 1);
    on.step("resumed", expected);
    authenticate(&mut link);
    assert_eq!(on.client.take_sessions().len(), 1);
    let expected = issued(on, stateful, 1);
    on.step("and authenticated", expected);
    link.close();
    on.step("and closed", Books::NONE);
}

/// So many tickets are asked for; none goes out yet.
fn ask(link: &Link, tickets: usize) {
    for _ in 0..tickets {
        // SAFETY: the `SSL` is alive.
        let asked = unsafe { ffi::new_session_ticket(link.server.ssl().as_ptr()) };
        assert_eq!(asked, Some(1));
    }
}

fn request<S: Server>(stateful: bool, tickets: usize) {
    if version() < HAS_TICKETS_ON_REQUEST {
        println!(
            "NOT RUN on libssl {:?}: it sends no ticket on request",
            version()
        );
        return;
    }
    let mut on = bench::<S>(stateful, tickets);
    let mut link = on.connect(None);
    assert_eq!(on.client.take_sessions().len(), tickets);
    let expected = Books::ACCEPTED + issued(&on, stateful, tickets);
    on.step("a full handshake", expected);
    let sent = |on: &mut Bench<S>, n| {
        let expected = issued(on, stateful, n);
        on.step("sent", expected);
    };
    let received = |on: &Bench<S>, link: &mut Link, data: &[u8], n| {
        assert_eq!(read(&mut link.client), data);
        assert_eq!(on.client.take_sessions().len(), n);
    };

    ask(&link, 2);
    sent(&mut on, 0);
    assert_eq!(link.server.ssl_write(b"1").unwrap(), 1);
    sent(&mut on, 2);
    received(&on, &mut link, b"1", 2);

    ask(&link, 1);
    assert_eq!(link.server.ssl_write(b"2").unwrap(), 1);
    sent(&mut on, 1);
    received(&on, &mut link, b"2", 1);

    ask(&link, 2);
    // The crate openssl would not trouble libssl with zero bytes.
    // SAFETY: the `SSL` is alive, and not a byte is read.
    unsafe {
        let nothing = std::ptr::NonNull::dangling().as_ptr();
        openssl_sys::SSL_write(link.server.ssl().as_ptr(), nothing, 0);
    }
    sent(&mut on, 2);
    received(&on, &mut link, b"", 2);

    ask(&link, 2);
    link.server.do_handshake().unwrap();
    sent(&mut on, 2);
    received(&on, &mut link, b"", 2);

    // While a write waits, nothing else may come between.
    link.server.get_ref().block_writes(true);
    let waits = link.server.ssl_write(b"3").unwrap_err();
    assert_eq!(waits.code(), ErrorCode::WANT_WRITE);
    ask(&link, 2);
    link.server.do_handshake().unwrap();
    sent(&mut on, 0);
    link.server.get_ref().block_writes(false);
    assert_eq!(link.server.ssl_write(b"3").unwrap(), 1);
    sent(&mut on, 0);
    received(&on, &mut link, b"3", 0);
    link.server.do_handshake().unwrap();
    sent(&mut on, 0);
    assert_eq!(link.server.ssl_write(b"4").unwrap(), 1);
    sent(&mut on, 2);
    received(&on, &mut link, b"4", 2);
    link.close();
}
