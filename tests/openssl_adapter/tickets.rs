//! Stateless tickets, where they are wanted.

use openssl::ssl::SslOptions;
use refrain::{SessionCache, Stats};

use super::common::Rig;
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, finish, server_with, sessions};

/// What the cache was used for.
fn used(cache: &SessionCache) -> (u64, u64) {
    let Stats {
        inserted,
        hits,
        misses,
        timeouts,
        ..
    } = cache.stats();
    (inserted, hits + misses + timeouts)
}

#[test]
fn clients_with_stateless_tickets_do_not_use_the_cache() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let server = server_with(sessions(&rig.cache, "rig").stateless_tickets());
        let client = Client::new(version);
        assert!(!client.visit(&server));
        for _ in 0..3 {
            assert!(client.visit(&server), "{version:?}");
        }
        assert_eq!(used(&rig.cache), (0, 0), "{version:?}");
        rig.cache.settle();
        assert_eq!(rig.cache.stats().never_added, 0);
    }
}

#[test]
fn clients_without_tickets_use_it() {
    let rig = Rig::new(100);
    let server = server_with(sessions(&rig.cache, "rig").stateless_tickets());
    let client = Client::with(Version::Tls12, |builder| {
        builder.set_options(SslOptions::NO_TICKET);
    });
    assert!(!client.visit(&server));
    assert!(client.visit(&server));
    assert_eq!(used(&rig.cache), (1, 1));
}

#[test]
fn a_cut_off_connection_with_a_stateless_ticket_removes_nothing() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let context = server_with(sessions(&rig.cache, "rig").stateless_tickets());
        drop(Client::new(version).open(&context, false));
        rig.cache.settle();
        assert_eq!(rig.log.drain(), []);
        assert_eq!(rig.cache.stats().never_added, 0);
    }
}

#[test]
fn tickets_from_before_the_cache_are_full_handshakes() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let stateless = server_with(sessions(&rig.cache, "rig").stateless_tickets());
        let stateful = server_with(sessions(&rig.cache, "rig"));
        let client = Client::new(version);
        assert!(!client.visit(&stateless));
        let old = client.sessions().pop().unwrap();
        let side = client.connect_with(Some(NAME), Some(&old));
        assert!(!finish(side, Side::server(&stateful)), "{version:?}");
        assert!(client.visit(&stateful), "{version:?}");
    }
}
