//! What several servers with one store promise together, and what a session from a store is still worth.

use openssl::ssl::{SslContext, SslSession};
use refrain::{CacheMode, Session, SessionCache};

use super::common::{Rig, secs};
use super::early_data::read_early;
use super::memory::Side;
use super::party::{
    Client, NAME, VERSIONS, Version, finish, id_of, plain_server, server_with, sessions,
};
use super::store::{Asked, Store};

/// A server that keeps nothing itself, as is asked of those that share a store and use sessions once.
fn node(store: &Store) -> (Rig, SslContext) {
    let mode = CacheMode::SERVER | CacheMode::NO_INTERNAL;
    let rig = store.rig(SessionCache::builder().mode(mode));
    let mut builder = plain_server();
    sessions(&rig.cache, "rig").install(&mut builder).unwrap();
    builder.set_max_early_data(1000).unwrap();
    (rig, builder.build())
}

#[test]
fn a_session_for_single_use_is_accepted_by_one_of_two_servers() {
    for made_by in [0, 1] {
        let store = Store::default();
        let nodes = [node(&store), node(&store)];
        let client = Client::new(Version::Tls13);
        assert!(!client.visit(&nodes[made_by].1));
        for first in [0, 1] {
            let offered = client.sessions().pop().unwrap();
            let offer = |to: usize| {
                let side = client.connect_with(Some(NAME), Some(&offered));
                finish(side, Side::server(&nodes[to].1))
            };
            assert!(offer(first), "made by {made_by}, used at {first}");
            for again in [1 - first, first] {
                assert!(!offer(again), "made by {made_by}, used at {first}, {again}");
            }
            // Those that the three connections have brought.
            client.sessions().truncate(1);
        }
        assert!(nodes.iter().all(|(rig, _)| rig.cache.is_empty()));
    }
}

#[test]
fn a_flight_of_early_data_is_accepted_by_one_of_two_servers() {
    for first in [0, 1] {
        let store = Store::default();
        let nodes = [node(&store), node(&store)];
        let client = Client::new(Version::Tls13);
        assert!(!client.visit(&nodes[0].1));
        let mut side = client.connect(Some(NAME));
        side.stream().write_early_data(b"pay").unwrap();
        let flight = side.take_outgoing();
        let read = |n: usize| read_early(&mut Side::server(&nodes[n].1), &flight);
        assert_eq!(read(first), b"pay");
        for again in [1 - first, first] {
            assert_eq!(read(again), b"", "first at {first}, then at {again}");
        }
    }
}

#[test]
fn a_session_of_tls12_is_accepted_by_both() {
    let store = Store::default();
    let nodes = [node(&store), node(&store)];
    let client = Client::new(Version::Tls12);
    assert!(!client.visit(&nodes[0].1));
    for n in [1, 0, 1, 0] {
        assert!(client.visit(&nodes[n].1));
    }
}

#[test]
fn the_store_is_told_what_name_the_client_asks_for() {
    for version in VERSIONS {
        for any in [false, true] {
            let store = Store::default();
            let rig = store.rig(SessionCache::builder());
            let sessions = sessions(&rig.cache, "rig");
            let server = server_with(if any {
                sessions.any_server_name()
            } else {
                sessions
            });
            let asks = |name: Option<&str>| {
                let client = Client::new(version);
                assert!(!client.visit_as(Some("a.example"), &server));
                rig.cache.clear();
                client.visit_as(name, &server);
                std::mem::take(&mut store.lock().asked)
            };
            for name in [Some("a.example"), Some("b.example"), None] {
                let expected = Asked {
                    single_use: version == Version::Tls13,
                    name: name.filter(|_| !any).map(str::to_owned),
                };
                assert_eq!(asks(name), [expected], "{version:?}, any: {any}");
            }
        }
    }
}

/// A lifetime, and what passes it in steps: time enough for the machine to be slow in between.
const LIFETIME: u64 = 1000;
const STEP: u32 = 240;

#[test]
fn an_authentication_ends_however_often_its_sessions_went_through_the_store() {
    for version in VERSIONS {
        let store = Store::default();
        let nodes = [(); 2].map(|()| {
            let rig = store.rig(SessionCache::builder());
            let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(LIFETIME));
            (server_with(lifetime), rig)
        });
        let client = Client::new(version);
        assert!(!client.visit(&nodes[0].0));
        let mut visits = (1..).map(|n: usize| {
            let (server, rig) = &nodes[n % 2];
            rig.cache.clear();
            client.visit(server)
        });
        for step in 1..=4 {
            store.age(STEP);
            assert_eq!(visits.next(), Some(true), "{version:?}, step {step}");
        }
        store.age(STEP / 4);
        assert_eq!(visits.next(), Some(false), "{version:?}");
        // What was authenticated now lives as long again.
        store.age(STEP);
        assert_eq!(visits.next(), Some(true), "{version:?}");
    }
}

#[test]
fn a_session_that_says_nothing_of_its_authentication_was_authenticated_when_it_was_made() {
    for version in VERSIONS {
        let store = Store::default();
        let rig = store.rig(SessionCache::builder());
        let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(LIFETIME));
        let (server, client) = (server_with(lifetime), Client::new(version));
        assert!(!client.visit(&server));
        store.forget_authentications();
        store.age(3 * STEP);
        rig.cache.clear();
        assert!(client.visit(&server), "{version:?}");
        // It ends then in this cache, too, for itself and for what came of it.
        let end = rig.cache.now() + secs(LIFETIME - u64::from(3 * STEP));
        rig.cache.retain(|session| {
            assert!(session.not_after() <= end, "{version:?}");
            true
        });
        assert!(!rig.cache.is_empty());
        store.age(2 * STEP);
        rig.cache.clear();
        assert!(!client.visit(&server), "{version:?}");
    }
}

#[test]
fn what_is_too_old_and_says_nothing_of_its_authentication_is_refused() {
    for version in VERSIONS {
        let store = Store::default();
        let rig = store.rig(SessionCache::builder());
        let lifetime = sessions(&rig.cache, "rig").authentication_lifetime(secs(LIFETIME));
        let (server, client) = (server_with(lifetime), Client::new(version));
        assert!(!client.visit(&server));
        store.forget_authentications();
        store.age(LIFETIME as u32);
        rig.cache.clear();
        let timeouts = rig.cache.stats().timeouts;
        assert!(!client.visit(&server), "{version:?}");
        assert_eq!(rig.cache.stats().timeouts - timeouts, 1);
    }
}

#[test]
fn what_comes_from_the_store_lives_here_as_long_as_it_would_there() {
    let store = Store::default();
    let rig = store.rig(SessionCache::builder().timeout(secs(7200)));
    let server = server_with(sessions(&rig.cache, "rig"));
    let client = Client::new(Version::Tls12);
    assert!(!client.visit(&server));
    store.age(7100);
    rig.cache.clear();
    assert!(client.visit(&server));
    // From here on, it is here only.
    store.lock().sessions.clear();
    assert_eq!(rig.cache.len(), 1);
    rig.clock.advance(secs(40));
    assert!(client.visit(&server));
    rig.clock.advance(secs(60));
    assert!(!client.visit(&server));
}

/// libssl lets a resumption inherit the timeout, which may have been lifted for it.
#[test]
fn the_timeout_of_what_came_of_a_resumption_is_the_caches() {
    let rig = Rig::with(SessionCache::builder().timeout(secs(600)));
    let server = server_with(sessions(&rig.cache, "rig"));
    let client = Client::new(Version::Tls13);
    assert!(!client.visit(&server));
    // A session that libssl would call some years old, and the cache does not.
    let offered = client.sessions().pop().unwrap();
    let id = id_of(&rig.cache, &offered);
    let taken = rig.cache.take(&rig.context, &id).unwrap();
    let mut state = taken.payload().to_vec();
    let time = state.windows(4).position(|w| w == [0xa1, 6, 2, 4]).unwrap();
    state[time + 4] -= 8;
    let builder = Session::builder(&rig.context, id).server_name(NAME);
    assert!(rig.cache.add(builder.build(&state).unwrap()).is_cached());
    let before = rig.cache.len();
    let side = client.connect_with(Some(NAME), Some(&offered));
    assert!(finish(side, Side::server(&server)));
    assert!(rig.cache.len() >= before);
    rig.cache.retain(|session| {
        let session = SslSession::from_der(session.payload()).unwrap();
        assert_eq!(session.timeout(), 600);
        true
    });
}

#[test]
fn a_tag_that_the_callback_gives_gets_into_the_cache() {
    let store = Store::default();
    let rig = store.rig(SessionCache::builder());
    let (server, client) = (
        server_with(sessions(&rig.cache, "rig")),
        Client::new(Version::Tls12),
    );
    assert!(!client.visit(&server));
    rig.cache.clear();
    let found = rig.cache.on_get().unwrap();
    rig.cache
        .set_on_get(Some(std::sync::Arc::new(move |lookup| {
            let session = found(lookup)?;
            Session::builder(lookup.context, *lookup.id)
                .server_name(session.server_name().unwrap_or_default())
                .tag(7)
                .build(session.payload())
                .ok()
        })));
    assert!(client.visit(&server));
    let mut tags = Vec::new();
    rig.cache.retain(|session| {
        tags.push(session.tag());
        true
    });
    assert_eq!(tags, [7]);
}
