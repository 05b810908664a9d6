//! Handshakes with a HelloRetryRequest: the server sees the client's ticket twice, and may resume it once.

use openssl::ssl::SslContext;
use refrain::RemovalCause;
use refrain::adapter::openssl::UncleanShutdown;

use super::common::{Rig, assert_settled};
use super::early_data::read_early;
use super::memory::Side;
use super::party::{Client, NAME, Version, close, go_on, plain_server, sessions};

/// A server that wants another key share than the clients send first.
fn server(rig: &Rig) -> SslContext {
    let mut builder = plain_server();
    builder.set_groups_list("P-384").unwrap();
    sessions(&rig.cache, "rig")
        .unclean_shutdown(UncleanShutdown::Keep)
        .install(&mut builder)
        .unwrap();
    builder.set_max_early_data(1000).unwrap();
    builder.build()
}

fn client() -> Client {
    Client::with(Version::Tls13, |builder| {
        builder.set_groups_list("P-256:P-384").unwrap();
    })
}

#[test]
fn a_ticket_survives_the_retry_of_its_own_handshake() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig), client());
    assert!(!client.visit(&context));
    for _ in 0..3 {
        assert!(client.visit(&context));
    }
    rig.cache.settle();
    let gone: Vec<_> = rig
        .log
        .drain()
        .into_iter()
        .map(|(_, cause)| cause)
        .collect();
    assert_eq!(gone, [RemovalCause::Taken; 3]);
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_recorded_handshake_is_a_full_one_when_it_is_sent_again() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig), client());
    assert!(!client.visit(&context));
    let (mut side, mut server) = (client.connect(Some(NAME)), Side::server(&context));
    let first = side.feed(&[]);
    let second = side.feed(&server.feed(&first));
    // In the middle of the original handshake, and after it.
    let replay = || {
        let mut replayed = Side::server(&context);
        assert!(!replayed.feed(&first).is_empty());
        assert!(!replayed.feed(&second).is_empty());
        replayed.has_resumed()
    };
    assert!(!replay());
    assert!(go_on(&mut side, &mut server, second.clone()) && server.has_resumed());
    assert!(!replay());
    close(&mut side, &mut server);
    assert!(!replay());
    assert!(client.visit(&context));
}

/// A retry rejects early data: it is never read, not even the first time.
#[test]
fn early_data_before_a_retry_is_not_read() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig), client());
    assert!(!client.visit(&context));
    let mut side = client.connect(Some(NAME));
    side.stream().write_early_data(b"early").unwrap();
    let flight = side.take_outgoing();
    for _ in 0..2 {
        let mut server = Side::server(&context);
        assert_eq!(read_early(&mut server, &flight), b"");
    }
}
