//! OpenSSL's `test_ssl_clear` and `test_shutdown`: what becomes of a session when its connection ends.

use foreign_types::ForeignTypeRef;

use crate::books::Books;
use crate::counts;
use crate::differences::SINGLE_USE;
use crate::ffi;
use crate::net::link::{Link, read};
use crate::server::{Bench, Plan, Protocol, Server};
use crate::with_both;

with_both!(
    a_session_survives_an_orderly_end,
    a_session_does_not_survive_a_cut,
    a_resumed_session_does_not_survive_a_cut,
    a_session_does_not_survive_a_fatal_alert,
    a_session_does_not_survive_a_resumption_that_fails,
    a_cleared_client_resumes,
    a_client_of_tls13_has_no_session_before_a_ticket,
);

const BOTH: [Protocol; 2] = [Protocol::Tls1_2, Protocol::Tls1_3];

/// How many sessions a full handshake makes.
fn sessions(protocol: Protocol) -> i64 {
    if protocol == Protocol::Tls1_3 { 2 } else { 1 }
}

fn established(protocol: Protocol) -> Books {
    let n = sessions(protocol);
    Books::ACCEPTED + counts!(new: n, number: n)
}

/// What a resumption adds to the books, of a session that is in the cache.
fn resumed<S: Server>(on: &Bench<S>, protocol: Protocol) -> Books {
    let found = counts!(hits: 1);
    if protocol == Protocol::Tls1_2 {
        return Books::ACCEPTED + found;
    }
    let taken = on.by(SINGLE_USE, 0, 1);
    let one_more = counts!(new: 1, number: 1 - taken, remove: taken);
    Books::ACCEPTED + found + one_more
}

fn is_resumable(session: &openssl::ssl::SslSessionRef) -> bool {
    // SAFETY: the session is alive.
    unsafe { ffi::SSL_SESSION_is_resumable(session.as_ptr()) == 1 }
}

fn a_session_survives_an_orderly_end<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let link = on.connect(None);
        let session = link.client_session();
        on.step("a full handshake", established(protocol));
        link.close();
        on.step("closed", Books::NONE);
        assert!(is_resumable(&session));
        let link = on.connect(Some(&session));
        assert!(link.reused());
        let expected = resumed(&on, protocol);
        on.step("resumed", expected);
        link.close();
        on.step("closed again", Books::NONE);
    }
}

fn a_session_does_not_survive_a_cut<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let link = on.connect(None);
        let (session, server_session) = (link.client_session(), link.server_session());
        on.step("a full handshake", established(protocol));
        assert!(on.has(&server_session));
        drop(link);
        on.step(
            "the last of its sessions goes",
            counts!(remove: 1, number: -1),
        );
        assert!(!on.has(&server_session));
        // The client has spoilt its own.
        assert!(!is_resumable(&session));
    }
}

fn a_resumed_session_does_not_survive_a_cut<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let link = on.connect(None);
        let session = link.client_session();
        link.close();
        on.step("a full handshake", established(protocol));
        let link = on.connect(Some(&session));
        assert!(link.reused());
        let expected = resumed(&on, protocol);
        on.step("resumed", expected);
        let server_session = link.server_session();
        assert!(on.has(&server_session));
        drop(link);
        on.step("cut off", counts!(remove: 1, number: -1));
        assert!(!on.has(&server_session));
    }
}

fn a_session_does_not_survive_a_fatal_alert<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let mut link = on.connect(None);
        let server_session = link.server_session();
        on.step("a full handshake", established(protocol));
        // No record of any version: the server sends an alert.
        link.client.get_ref().inject(&[0x99; 64]);
        read(&mut link.server);
        on.step("removed at once", counts!(remove: 1, number: -1));
        assert!(!on.has(&server_session));
        drop(link);
        on.step("once", Books::NONE);
    }
}

fn a_session_does_not_survive_a_resumption_that_fails<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let link = on.connect(None);
        let (session, server_session) = (link.client_session(), link.server_session());
        link.close();
        on.step("a full handshake", established(protocol));
        let mut link = Link::prepared(on.client.ctx(), on.ctx(), |client, _| {
            // SAFETY: the session is of a context with the same settings.
            unsafe { client.set_session(&session) }.unwrap();
        });
        // The server has answered, and waits for the client's Finished.
        assert!(link.client.do_handshake().is_err());
        assert!(link.server.do_handshake().is_err());
        link.client.get_ref().inject(&[0x99; 64]);
        assert!(link.server.do_handshake().is_err());
        on.step(
            "found, and removed",
            counts!(accept: 1, hits: 1, remove: 1, number: -1),
        );
        assert!(!on.has(&server_session));
        drop(link);
        on.step("once", Books::NONE);
    }
}

fn a_cleared_client_resumes<S: Server>() {
    for protocol in BOTH {
        let mut on = Bench::<S>::new(Plan::new(protocol));
        let mut link = on.connect(None);
        on.step("a full handshake", established(protocol));
        link.shut_down();
        // SAFETY: the `SSL` is alive.
        unsafe { assert_eq!(ffi::SSL_clear(link.client.ssl().as_ptr()), 1) };
        let mut link = link.with_server(on.ctx());
        link.handshake().unwrap();
        assert!(link.reused());
        let expected = resumed(&on, protocol);
        on.step("the same client again", expected);
        link.close();
        on.step("closed", Books::NONE);
    }
}

fn a_client_of_tls13_has_no_session_before_a_ticket<S: Server>() {
    let mut on = Bench::<S>::new(Plan::new(Protocol::Tls1_3));
    let mut link = Link::prepared(on.client.ctx(), on.ctx(), |_, _| {});
    // The server's flight, the client's answer; the tickets are not read.
    assert!(link.client.do_handshake().is_err());
    assert!(link.server.do_handshake().is_err());
    link.client.do_handshake().unwrap();
    link.server.do_handshake().unwrap();
    assert!(!is_resumable(&link.client_session()));
    on.step("the server has sent them", established(Protocol::Tls1_3));
    link.read_all();
    assert!(is_resumable(&link.client_session()));
    link.close();
    on.step("closed", Books::NONE);
}
