//! Which servers resume each other's sessions, and what an invalidation means for handshakes under way.

use openssl::ssl::{SslOptions, SslSessionCacheMode, SslVerifyMode};
use refrain::{CacheMode, SessCounters, SessionCache};

use super::common::{Rig, assert_settled};
use super::memory::Side;
use super::party::{
    Client, NAME, VERSIONS, Version, close, finish, go_on, plain_server, server, server_with,
    sessions,
};

#[test]
fn a_rebuilt_server_resumes_by_the_same_context_and_not_by_another() {
    for version in VERSIONS {
        let (rig, client) = (Rig::new(100), Client::new(version));
        let old = server_with(sessions(&rig.cache, "policy 1"));
        assert!(!client.visit(&old));
        drop(old);
        // As after a reload: a new context of libssl's, the same cache.
        assert!(client.visit(&server_with(sessions(&rig.cache, "policy 1"))));
        let kept = client.sessions().clone();
        let other = server_with(sessions(&rig.cache, "policy 2"));
        assert!(!client.visit(&other), "{version:?}");
        assert!(client.visit(&other), "{version:?}");
        // And the first policy's session has not suffered.
        *client.sessions() = kept;
        assert!(client.visit(&server_with(sessions(&rig.cache, "policy 1"))));
    }
}

#[test]
fn an_invalidated_contexts_sessions_are_refused() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&server));
        rig.cache.invalidate_context(&rig.context).unwrap();
        assert!(!client.visit(&server), "{version:?}");
        assert!(client.visit(&server), "{version:?}");
    }
}

/// What was authenticated before the invalidation must not be stored after it.
#[test]
fn a_handshake_that_began_before_an_invalidation_stores_nothing() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (context, client) = (server(&rig.cache), Client::new(version));
        let invalidate = || rig.cache.invalidate_context(&rig.context).unwrap();
        for moment in ["before the hello", "after the hello"] {
            let (mut client, mut server) = (client.connect(Some(NAME)), Side::server(&context));
            let mut to_server = client.feed(&[]);
            if moment == "after the hello" {
                to_server = client.feed(&server.feed(&to_server));
            }
            invalidate();
            let connected = go_on(&mut client, &mut server, to_server);
            assert!(connected, "{version:?}, {moment}");
            close(&mut client, &mut server);
            assert!(rig.cache.is_empty(), "{version:?}, {moment}");
        }
        rig.cache.settle();
        assert_eq!(rig.log.drain(), [], "nothing came, so nothing left");
        assert!(!client.visit(&context), "{version:?}");
        assert!(client.visit(&context), "{version:?}");
    }
}

#[test]
fn a_resumption_that_began_before_an_invalidation_stores_no_further_tickets() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls13));
    assert!(!client.visit(&context));
    let (mut client, mut server) = (client.connect(Some(NAME)), Side::server(&context));
    let flight = server.feed(&client.feed(&[]));
    rig.cache.invalidate_context(&rig.context).unwrap();
    let finished = client.feed(&flight);
    assert!(go_on(&mut client, &mut server, finished) && server.has_resumed());
    rig.cache.settle();
    assert!(rig.cache.is_empty());
    close(&mut client, &mut server);
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_mode_that_is_off_costs_only_the_resumption() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&server));
        let entries = rig.cache.len();
        rig.cache.set_mode(CacheMode::OFF);
        assert!(!client.visit(&server), "{version:?}");
        assert_eq!(rig.cache.len(), entries, "{version:?}");
        rig.cache.set_mode(CacheMode::SERVER);
        assert!(!Client::new(version).visit(&server));
        assert!(rig.cache.len() > entries);
    }
}

/// libssl refuses to resume for a server that asks for certificates, unless it has a session id context.
#[test]
fn clients_with_certificates_resume() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let mut builder = plain_server();
        sessions(&rig.cache, "rig").install(&mut builder).unwrap();
        builder.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        let (server, client) = (builder.build(), Client::new(version));
        assert!(!client.visit(&server));
        assert!(client.visit(&server), "{version:?}");
    }
}

#[test]
fn libssl_keeps_nothing_itself_and_makes_no_tickets() {
    let rig = Rig::new(100);
    let mut builder = plain_server();
    assert!(!builder.options().contains(SslOptions::NO_TICKET));
    sessions(&rig.cache, "rig").install(&mut builder).unwrap();
    assert!(builder.options().contains(SslOptions::NO_TICKET));
    let mode = SslSessionCacheMode::SERVER
        | SslSessionCacheMode::NO_INTERNAL
        | SslSessionCacheMode::NO_AUTO_CLEAR;
    assert_eq!(builder.set_session_cache_mode(mode), mode);
    let server = builder.build();
    for version in VERSIONS {
        let client = Client::new(version);
        assert!(!client.visit(&server));
        assert!(client.visit(&server));
        assert_eq!(SessCounters::of(&server).number, 0);
    }
}

#[test]
fn libssls_counters_can_be_read() {
    let rig = Rig::new(100);
    let (server, client) = (server(&rig.cache), Client::new(Version::Tls12));
    assert_eq!(SessCounters::of(&server), SessCounters::default());
    assert!(!client.visit(&server));
    assert!(client.visit(&server));
    // Cut off before its handshake is finished.
    drop(Side::server(&server).feed(&client.connect(Some(NAME)).feed(&[])));
    let expected = SessCounters {
        accept: 3,
        accept_good: 2,
        hits: 2,
        cb_hits: 2,
        ..SessCounters::default()
    };
    assert_eq!(SessCounters::of(&server), expected);
}

#[test]
fn caches_do_not_mix() {
    for version in VERSIONS {
        let rigs = [Rig::new(100), Rig::new(100)];
        let servers = rigs.each_ref().map(|rig| server(&rig.cache));
        let client = Client::new(version);
        assert!(!client.visit(&servers[0]));
        assert!(!client.visit(&servers[1]), "{version:?}");
        assert!(client.visit(&servers[1]), "{version:?}");
    }
}

#[test]
fn a_full_cache_evicts_and_the_handshakes_go_on() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().capacity(4).shards(1));
        let server = server(&rig.cache);
        let clients = [(); 8].map(|()| Client::new(version));
        for client in &clients {
            assert!(!client.visit(&server));
            assert!(rig.cache.len() <= 4);
        }
        // The last one's is there; the first one's had to go.
        assert!(clients[7].visit(&server), "{version:?}");
        assert!(!clients[0].visit(&server), "{version:?}");
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn two_sessions_of_one_client_are_two() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls12));
    assert!(!client.visit(&context));
    let first = client.sessions().pop().unwrap();
    assert!(!client.visit(&context));
    let second = client.sessions().pop().unwrap();
    assert_ne!(first.id(), second.id());
    for session in [&first, &second, &first] {
        let client = client.connect_with(Some(NAME), Some(session));
        assert!(finish(client, Side::server(&context)));
    }
}
