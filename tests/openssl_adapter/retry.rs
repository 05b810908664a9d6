//! Handshakes with a HelloRetryRequest: the server sees the client's ticket twice, and may resume it once.

use openssl::ssl::SslContext;
use refrain::adapter::openssl::UncleanShutdown;
use refrain::{CacheMode, RemovalCause, SessionCache};

use super::common::{Rig, assert_settled, secs};
use super::early_data::read_early;
use super::memory::Side;
use super::party::{Client, NAME, Version, close, go_on, plain_server, sessions};
use super::store::Store;

/// A server that wants another key share than the clients send first.
fn server(rig: &Rig) -> SslContext {
    let mut builder = plain_server();
    builder.set_groups_list("P-384").unwrap();
    sessions(&rig.cache, "rig")
        .unclean_shutdown(UncleanShutdown::Keep)
        .authentication_lifetime(secs(100))
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

/// Lets a client's handshake wait between its two hellos while `meanwhile` happens; tells whether it was resumed.
fn parked(rig: &Rig, client: &Client, meanwhile: impl FnOnce()) -> bool {
    let context = server(rig);
    assert!(!client.visit(&context));
    if rig.cache.mode().contains(CacheMode::NO_INTERNAL) {
        assert!(rig.cache.is_empty());
    }
    let (mut side, mut server) = (client.connect(Some(NAME)), Side::server(&context));
    let first = side.feed(&[]);
    let second = side.feed(&server.feed(&first));
    meanwhile();
    assert!(go_on(&mut side, &mut server, second));
    close(&mut side, &mut server);
    server.has_resumed()
}

#[test]
fn what_ends_between_the_hellos_does_not_resume() {
    type End = (&'static str, bool, fn(&Rig));
    let ends: [End; 6] = [
        ("nothing", true, |_| ()),
        ("time, but not enough", true, |rig| {
            rig.clock.advance(secs(59))
        }),
        ("its context", false, |rig| {
            rig.cache.invalidate_context(&rig.context).unwrap();
        }),
        ("its timeout", false, |rig| rig.clock.advance(secs(60))),
        ("its authentication", false, |rig| {
            rig.clock.advance(secs(100));
        }),
        ("another context", true, |rig| {
            let other = sessions(&rig.cache, "other");
            rig.cache.invalidate_context(other.context()).unwrap();
        }),
    ];
    for (what, resumes, end) in ends {
        // So that the timeout does not end it first.
        let timeout = if what == "its authentication" {
            1000
        } else {
            60
        };
        let rig = Rig::with(SessionCache::builder().timeout(secs(timeout)));
        assert_eq!(parked(&rig, &client(), || end(&rig)), resumes, "{what}");
    }
}

#[test]
fn what_came_from_a_store_and_ends_between_the_hellos_does_not_resume() {
    type End = (&'static str, bool, fn(&Rig));
    let ends: [End; 3] = [
        ("nothing", true, |_| ()),
        ("its context", false, |rig| {
            rig.cache.invalidate_context(&rig.context).unwrap();
        }),
        ("its authentication", false, |rig| {
            rig.clock.advance(secs(200));
        }),
    ];
    for (what, resumes, end) in ends {
        let mode = CacheMode::SERVER | CacheMode::NO_INTERNAL;
        let rig = Store::default().rig(SessionCache::builder().mode(mode));
        assert_eq!(parked(&rig, &client(), || end(&rig)), resumes, "{what}");
    }
}

/// The answer to such a hello can't be finished by a client that has sent another; but it tells what the server does.
#[test]
fn another_server_name_in_the_second_hello_is_a_full_handshake() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig), client());
    assert!(!client.visit(&context));
    let (mut side, mut server) = (client.connect(Some(NAME)), Side::server(&context));
    let first = side.feed(&[]);
    let mut second = side.feed(&server.feed(&first));
    let name = second
        .windows(NAME.len())
        .position(|window| window == NAME.as_bytes())
        .unwrap();
    second[name] ^= 1;
    assert!(!server.feed(&second).is_empty());
    assert!(!server.has_failed() && !server.has_resumed());
}
