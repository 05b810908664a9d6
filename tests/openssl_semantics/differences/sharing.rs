//! Whose the session objects are.

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslSession;

use super::SHARED_OBJECTS;
use crate::ffi;
use crate::net::link::Link;
use crate::server::{Bench, Installed, Own, Plan, Protocol, Server};
use crate::watch::Watch;

/// Two connections that resume one session at the same time; and what tells whether the object of the full handshake is
/// freed, after its connection was closed.
fn resumed_twice<S: Server>() -> (Bench<S>, Link, Link, Watch) {
    let on = Bench::<S>::new(Plan::new(Protocol::Tls1_2));
    let link = on.connect(None);
    let session = link.client_session();
    let bytes = session.to_der().unwrap();
    let watch = Watch::new(link.server.ssl().session().unwrap());
    link.close();
    let again = || {
        let link = on.connect(Some(&SslSession::from_der(&bytes).unwrap()));
        assert!(link.reused());
        link
    };
    let (one, other) = (again(), again());
    (on, one, other, watch)
}

/// The address of the server's session, and whether it may be resumed.
fn object(link: &Link) -> (usize, bool) {
    let session = link.server.ssl().session().unwrap().as_ptr();
    // SAFETY: the connection has it.
    (session as usize, unsafe {
        ffi::SSL_SESSION_is_resumable(session) == 1
    })
}

#[test]
fn shared_session_objects() {
    SHARED_OBJECTS.quote();
    let (_on, one, other, watch) = resumed_twice::<Own>();
    assert!(!watch.is_freed(), "the cache and both connections have it");
    let (address, resumable) = object(&one);
    assert!(resumable);
    assert_eq!(object(&other), (address, true));
    drop(one);
    assert_eq!(
        object(&other),
        (address, false),
        "one is cut off, and both are spoilt"
    );

    let (_on, one, other, watch) = resumed_twice::<Installed>();
    assert!(
        watch.is_freed(),
        "the cache has bytes, and made each of them an object"
    );
    let (address, _) = object(&other);
    assert_ne!(object(&one).0, address);
    drop(one);
    assert_eq!(object(&other), (address, true));
}
