//! Where a session may be resumed.

use std::ffi::c_uint;

use foreign_types::ForeignTypeRef;
use openssl::ssl::{SslContext, SslSession};
use refrain::ContextId;
use refrain::adapter::openssl::Sessions;

use super::{KEY, SERVER_NAME};
use crate::books::Books;
use crate::counts;
use crate::ffi;
use crate::net::link::Link;
use crate::server::{Bench, Installed, Own, Plan, Protocol, Server};

/// A connection to a server of this name, or of none.
fn connect<S: Server>(on: &Bench<S>, name: Option<&str>, session: Option<&SslSession>) -> Link {
    let mut link = Link::prepared(on.client.ctx(), on.ctx(), |client, _| {
        if let Some(name) = name {
            client.set_hostname(name).unwrap();
        }
        if let Some(session) = session {
            // SAFETY: the session is of a context with the same settings.
            unsafe { client.set_session(session) }.unwrap();
        }
    });
    link.handshake().unwrap();
    link
}

/// Whether a session that was made under one name resumes under another.
fn resumes<S: Server>(protocol: Protocol, first: Option<&str>, then: Option<&str>) -> bool {
    let on = Bench::<S>::new(Plan::new(protocol));
    let link = connect(&on, first, None);
    let session = link.client_session();
    link.close();
    let link = connect(&on, then, Some(&session));
    let reused = link.reused();
    link.close();
    reused
}

#[test]
fn server_name() {
    SERVER_NAME.quote();
    const A: Option<&str> = Some("a.example");
    const B: Option<&str> = Some("b.example");
    for protocol in [Protocol::Tls1_2, Protocol::Tls1_3] {
        for (first, then) in [(A, A), (None, None)] {
            assert!(resumes::<Own>(protocol, first, then));
            assert!(resumes::<Installed>(protocol, first, then));
        }
        assert!(resumes::<Installed>(protocol, A, Some("A.Example")));
        for (first, then) in [(A, B), (None, A), (A, None)] {
            assert!(resumes::<Own>(protocol, first, then), "{first:?}, {then:?}");
            assert!(
                !resumes::<Installed>(protocol, first, then),
                "{first:?}, {then:?}"
            );
        }
    }
}

#[test]
fn key() {
    KEY.quote();
    // A session of another context: libssl finds it, looks at its context, and counts nothing.
    let mut on = Bench::<Own>::new(Plan::new(Protocol::Tls1_2));
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.settle();
    let mut link = Link::prepared(on.client.ctx(), on.ctx(), |client, server| {
        let context = b"another";
        // SAFETY: all are alive; the session is of a context with the same settings.
        unsafe {
            let (bytes, len) = (context.as_ptr(), context.len() as c_uint);
            assert_eq!(
                ffi::SSL_set_session_id_context(server.as_ptr(), bytes, len),
                1
            );
            client.set_session(&session).unwrap();
        }
    });
    link.handshake().unwrap();
    assert!(!link.reused());
    link.close();
    on.step(
        "a full handshake",
        Books::ACCEPTED + counts!(new: 1, number: 1),
    );

    // For Refrain it is not there.
    let mut on = Bench::<Installed>::new(Plan::new(Protocol::Tls1_2));
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.settle();
    let another: SslContext = {
        let mut ctx = Plan::new(Protocol::Tls1_2).ctx;
        let id = ContextId::new(b"another").unwrap();
        Sessions::new(on.cache(), id)
            .unwrap()
            .install(&mut ctx)
            .unwrap();
        ctx.build()
    };
    let link = Link::open(on.client.ctx(), &another, Some(&session)).unwrap();
    assert!(!link.reused());
    link.close();
    on.step("a miss", counts!(misses: 1, new: 1, number: 1));
}
