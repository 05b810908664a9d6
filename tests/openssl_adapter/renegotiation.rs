//! A second handshake on a connection of TLS 1.2.

use std::ffi::c_int;

use foreign_types::ForeignTypeRef;
use openssl::ssl::{SslContext, SslOptions};
use openssl_sys::SSL;
use refrain::Time;

use super::common::{Rig, secs};
use super::memory::Side;
use super::party::{Client, NAME, Version, close, finish, go_on, id_of, plain_server, sessions};

unsafe extern "C" {
    fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
}

/// Has the server ask for another handshake, and lets both go through it.
fn renegotiate(client: &mut Side, server: &mut Side) {
    // SAFETY: a live connection, which nobody else uses.
    assert_eq!(unsafe { SSL_renegotiate(server.ssl().as_ptr()) }, 1);
    server.stream().do_handshake().unwrap();
    let asked = server.take_outgoing();
    let hello = client.feed(&asked);
    assert!(!hello.is_empty());
    assert!(go_on(client, server, hello));
}

/// A server whose renegotiations are full handshakes, or resume what the connection has.
fn server(rig: &Rig, full: bool) -> SslContext {
    let mut builder = plain_server();
    let sessions = sessions(&rig.cache, "rig").authentication_lifetime(secs(100));
    sessions.install(&mut builder).unwrap();
    if full {
        // SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION, which the crate does not name.
        builder.set_options(SslOptions::from_bits_retain(1 << 16));
    }
    builder.build()
}

#[test]
fn one_that_resumes_makes_no_further_session() {
    let rig = Rig::new(100);
    let context = server(&rig, false);
    let client = Client::new(Version::Tls12);
    let (mut side, mut server) = client.open(&context, false);
    renegotiate(&mut side, &mut server);
    assert!(server.has_resumed() && side.has_resumed());
    let stats = rig.cache.stats();
    assert_eq!((stats.inserted, stats.hits), (1, 1));
    close(&mut side, &mut server);
    assert!(client.visit(&context));
}

#[test]
fn a_full_one_makes_a_session_of_its_own_with_a_deadline_of_its_own() {
    let rig = Rig::new(100);
    let context = server(&rig, true);
    let client = Client::new(Version::Tls12);
    let (mut side, mut server) = client.open(&context, false);
    rig.advance(secs(60));
    renegotiate(&mut side, &mut server);
    assert_eq!(rig.cache.stats().inserted, 2);
    let held = client.sessions().clone();
    let deadlines: Vec<_> = held
        .iter()
        .map(|session| {
            let id = id_of(&rig.cache, session);
            rig.cache.get(&rig.context, &id).unwrap().not_after()
        })
        .collect();
    let seconds = |n: u64| Time::from_millis(n * 1000);
    assert_eq!(deadlines, [seconds(100), seconds(160)]);
    server.feed(&side.send(b"more"));
    assert_eq!(server.received(), b"more");
    close(&mut side, &mut server);
    for session in &held {
        let again = client.connect_with(Some(NAME), Some(session));
        assert!(finish(again, Side::server(&context)));
    }
}

#[test]
fn its_session_is_stored_in_the_generation_of_the_connections_beginning() {
    let rig = Rig::new(100);
    let context = server(&rig, true);
    let (mut client, mut server) = Client::new(Version::Tls12).open(&context, false);
    rig.cache.invalidate_context(&rig.context).unwrap();
    renegotiate(&mut client, &mut server);
    rig.cache.settle();
    assert!(rig.cache.is_empty());
    close(&mut client, &mut server);
}
