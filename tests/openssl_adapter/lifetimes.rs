//! How long a session resumes: its timeout, its own, and the authentication behind it.

use openssl::ssl::SslOptions;
use refrain::adapter::openssl::AUTHENTICATION_LIFETIME;
use refrain::{CacheMode, Session, SessionCache, Time};

use super::common::{Rig, secs};
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, finish, id_of, server, server_with, sessions};

#[test]
fn an_expired_session_is_refused_and_the_handshake_a_full_one() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(60)));
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&server));
        rig.clock.advance(secs(59));
        assert!(client.visit(&server), "{version:?}");
        // Nothing but the handshake brings the cache's clock up to date.
        rig.clock.advance(secs(60));
        let timeouts = rig.cache.stats().timeouts;
        assert!(!client.visit(&server), "{version:?}");
        assert_eq!(rig.cache.stats().timeouts - timeouts, 1, "{version:?}");
        assert!(client.visit(&server), "{version:?}");
    }
}

#[test]
fn no_timeout_means_no_resumption_and_no_harm() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(0)));
        let (server, client) = (server(&rig.cache), Client::new(version));
        for _ in 0..2 {
            assert!(!client.visit(&server), "{version:?}");
        }
        assert!(rig.cache.is_empty());
    }
}

#[test]
fn a_chain_of_resumptions_ends_with_the_authentication() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(100));
        let (server, client) = (server_with(lifetime), Client::new(version));
        assert!(!client.visit(&server));
        for _ in 0..4 {
            rig.clock.advance(secs(24));
            assert!(client.visit(&server), "{version:?}");
        }
        rig.clock.advance(secs(4));
        assert!(!client.visit(&server), "{version:?}: 100 seconds are over");
        // What was authenticated now lives as long again.
        rig.clock.advance(secs(99));
        assert!(client.visit(&server), "{version:?}");
        rig.clock.advance(secs(1));
        assert!(!client.visit(&server), "{version:?}");
    }
}

/// libssl finds the session and then refuses it: made without an extended master secret, it must not be resumed with one.
#[test]
fn a_session_that_was_refused_passes_no_deadline_on() {
    let rig = Rig::new(100);
    let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(100));
    let context = server_with(lifetime);
    let old = Client::with(Version::Tls12, |builder| {
        // SSL_OP_NO_EXTENDED_MASTER_SECRET, which the crate does not name.
        builder.set_options(SslOptions::from_bits_retain(1));
    });
    assert!(!old.visit(&context));
    assert!(old.visit(&context));
    rig.advance(secs(60));
    let client = Client::new(Version::Tls12);
    let hits = rig.cache.stats().hits;
    let offered = old.sessions().pop();
    let side = client.connect_with(Some(NAME), offered.as_ref());
    assert!(!finish(side, Side::server(&context)));
    assert_eq!(rig.cache.stats().hits - hits, 1, "it was found");
    rig.advance(secs(99));
    assert!(client.visit(&context));
}

#[test]
fn a_day_is_the_default_lifetime_however_long_the_timeout() {
    assert_eq!(AUTHENTICATION_LIFETIME, secs(24 * 60 * 60));
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(7 * 24 * 60 * 60)));
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&server));
        for _ in 0..23 {
            rig.clock.advance(secs(60 * 60));
            assert!(client.visit(&server), "{version:?}");
        }
        rig.clock.advance(secs(60 * 60));
        assert!(!client.visit(&server), "{version:?}");
    }
}

/// Each ticket of TLS 1.3 has its timeout from when it was made; a session of TLS 1.2 only under `UPDATE_TIME`.
#[test]
fn an_authentication_for_ever_leaves_only_the_timeout() {
    for (version, mode, alive) in [
        (Version::Tls12, CacheMode::SERVER, false),
        (
            Version::Tls12,
            CacheMode::SERVER | CacheMode::UPDATE_TIME,
            true,
        ),
        (Version::Tls13, CacheMode::SERVER, true),
    ] {
        let rig = Rig::with(SessionCache::builder().timeout(secs(60)).mode(mode));
        let sessions = sessions(&rig.cache, "rig");
        let server = server_with(sessions.authentication_lifetime(std::time::Duration::MAX));
        let client = Client::new(version);
        assert!(!client.visit(&server));
        rig.clock.advance(secs(40));
        assert!(client.visit(&server), "{version:?}, {mode:?}");
        rig.clock.advance(secs(40));
        assert_eq!(client.visit(&server), alive, "{version:?}, {mode:?}");
    }
}

/// libssl compares a session's age with its timeout on its own clock, which here does not agree with the cache's.
#[test]
fn the_caches_deadline_decides_not_libssls_idea_of_the_age() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (context, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&context));
        let offered = client.sessions().last().cloned().unwrap();
        let id = id_of(&rig.cache, &offered);
        // The same session, but libssl would say that it is some years old.
        let session = rig.cache.take(&rig.context, &id).unwrap();
        let mut der = session.payload().to_vec();
        let time = der
            .windows(4)
            .position(|window| window == [0xa1, 6, 2, 4])
            .unwrap();
        der[time + 4] -= 8;
        let mut older = Session::builder(&rig.context, id).not_after(session.not_after());
        if let Some(name) = session.server_name() {
            older = older.server_name(name);
        }
        assert!(rig.cache.add(older.build(&der).unwrap()).is_cached());
        let client = client.connect_with(Some(NAME), Some(&offered));
        assert!(finish(client, Side::server(&context)), "{version:?}");
    }
}

#[test]
fn a_session_of_a_cache_whose_timeout_was_changed_lives_as_the_cache_says() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(10)));
        let (server, client) = (server(&rig.cache), Client::new(version));
        rig.cache.set_timeout(secs(1000));
        assert!(!client.visit(&server));
        rig.clock.advance(secs(999));
        assert!(client.visit(&server), "{version:?}");
    }
}

#[test]
fn deadlines_are_what_was_asked_for() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(60)));
        let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(90));
        let (server, client) = (server_with(lifetime), Client::new(version));
        rig.advance(secs(5));
        assert!(!client.visit(&server));
        rig.cache.retain(|session| {
            assert_eq!(session.deadline(), Time::from_millis(65_000), "{version:?}");
            assert_eq!(
                session.not_after(),
                Time::from_millis(95_000),
                "{version:?}"
            );
            true
        });
        assert_eq!(rig.cache.len() as u64, version.tickets());
    }
}
