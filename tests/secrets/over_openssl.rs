//! What libssl's handshakes leave in memory, with the server's sessions here, and with them in libssl's own cache.

use openssl::ssl::{SslOptions, SslSession, SslSessionCacheMode, SslSessionRef};

use super::common::Rig;
use super::freed;
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, close, plain_server, server, sessions, shake};
use super::scan::copies;
use super::secret::{Secret, wipe};
use super::stage::{alone, scrub_stack};

/// Who keeps the server's sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keeper {
    Libssl,
    Refrain,
}

/// The secret of a client's session, which is that of the server's, too.
fn secret_of(session: &SslSessionRef) -> Secret {
    let mut clear = vec![0; session.master_key_len()];
    session.master_key(&mut clear);
    let secret = Secret::of(&clear);
    wipe(&mut clear);
    secret
}

/// Copies in memory of all of these secrets.
fn count(secrets: &[Secret]) -> usize {
    // What is still on the stack below is any later call's to overwrite.
    scrub_stack();
    secrets.iter().map(|secret| copies(secret).len()).sum()
}

/// How many copies there are at each stage of two connections.
#[derive(Debug, PartialEq)]
struct Copies {
    /// While the first one is open.
    open: usize,
    /// When it has been closed: those of the client's sessions, and the server's.
    closed: usize,
    /// While the second one is open.
    resumed: usize,
    /// When that has been closed, and the client is gone.
    kept: usize,
    /// When the sessions have been removed.
    left: usize,
}

/// A client that returns once. The copies, and where libssl frees any of them without wiping it.
fn visits(keeper: Keeper, version: Version) -> (Copies, Vec<String>) {
    let rig = Rig::new(100);
    let mut builder = plain_server();
    match keeper {
        Keeper::Refrain => sessions(&rig.cache, "rig").install(&mut builder).unwrap(),
        Keeper::Libssl => {
            builder.set_options(SslOptions::NO_TICKET);
            builder.set_session_id_context(b"rig").unwrap();
            builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
        }
    }
    let server = builder.build();
    let client = Client::new(version);
    let connect = |session: Option<&SslSession>| {
        let mut at_client = Side::client(client.context(), Some(NAME), session.map(|s| &**s));
        let mut at_server = Side::server(&server);
        assert!(shake(&mut at_client, &mut at_server));
        assert_eq!(at_server.has_resumed(), session.is_some());
        (at_client, at_server)
    };
    let end = |(mut at_client, mut at_server): (Side, Side)| close(&mut at_client, &mut at_server);

    let first = connect(None);
    let secrets: Vec<_> = client.sessions().iter().map(|s| secret_of(s)).collect();
    let open = count(&secrets);
    let mut unwiped = freed::unwiped(&secrets, || end(first));
    let closed = count(&secrets);

    let session = client.sessions().pop().unwrap();
    let mut second = None;
    unwiped.extend(freed::unwiped(&secrets, || {
        second = Some(connect(Some(&session)));
    }));
    let resumed = count(&secrets);
    unwiped.extend(freed::unwiped(&secrets, || {
        end(second.unwrap());
        drop((session, client));
    }));
    rig.cache.run_maintenance();
    let kept = count(&secrets);

    unwiped.extend(freed::unwiped(&secrets, || drop(server)));
    rig.cache.clear();
    rig.cache.run_maintenance();
    let left = count(&secrets);
    let copies = Copies {
        open,
        closed,
        resumed,
        kept,
        left,
    };
    (copies, unwiped)
}

#[test]
fn the_cache_adds_its_own_copy_and_leaves_nothing() {
    let _alone = alone();
    freed::install();
    for version in VERSIONS {
        let theirs = visits(Keeper::Libssl, version);
        let ours = visits(Keeper::Refrain, version);
        println!("{version:?}: libssl's own cache: {theirs:?}");
        println!("{version:?}: Refrain: {ours:?}");
        let ((theirs, their_unwiped), (ours, our_unwiped)) = (theirs, ours);
        // An open connection has an `SSL_SESSION` of its own, and does not share the cache's.
        assert_eq!(ours.open, theirs.open + 1);
        assert_eq!(ours.closed, theirs.closed);
        // Of two sessions of TLS 1.3, one was used up.
        assert_eq!(ours.kept, 1);
        assert!(ours.left <= theirs.left);
        assert!(our_unwiped.len() <= their_unwiped.len());
        // What the manual says of libssl 3.0. Another libssl may leave copies of its own.
        if openssl::version::version().starts_with("OpenSSL 3.0.") {
            assert_eq!((ours.left, our_unwiped.len()), (0, 0));
        }
    }
}

#[test]
fn a_block_that_libssl_frees_with_a_secret_in_it_is_seen() {
    let _alone = alone();
    freed::install();
    let rig = Rig::new(100);
    let (server, client) = (server(&rig.cache), Client::new(Version::Tls12));
    assert!(!client.visit(&server));
    let session = client.sessions().pop().unwrap();
    let secret = secret_of(&session);
    let mut der = session.to_der().unwrap();
    let decode = || drop(SslSession::from_der(&der).unwrap());
    let places = freed::unwiped([&secret], decode);
    // libssl's decoder. Who finds it mended may let the adapter use it.
    assert_eq!(places.len(), 1, "{places:?}");
    wipe(&mut der);
    assert_eq!(freed::unwiped([&secret], || drop(session)), [""; 0]);
}
