//! Stores outside of the process, by way of the callbacks.

use std::panic::resume_unwind;
use std::sync::Arc;

use refrain::{CacheMode, Lookup, RemovalCause, Session};

use super::common::Rig;
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, finish, server};
use super::store::Store;

#[test]
fn a_session_resumes_on_another_server_by_way_of_the_store() {
    for version in VERSIONS {
        let store = Store::default();
        let nodes = [store.node(), store.node()];
        let client = Client::new(version);
        assert!(!client.visit(&nodes[0].1));
        for n in 1..=4 {
            assert!(client.visit(&nodes[n % 2].1), "{version:?}");
        }
        let single_use = version == Version::Tls13;
        let asked = std::mem::take(&mut store.lock().asked);
        assert!(!asked.is_empty() && asked.iter().all(|asked| asked.single_use == single_use));
        // What was used up elsewhere may still be here, but not the other way round.
        assert_eq!(
            nodes[1].0.cache.stats().external_hits,
            if single_use { 2 } else { 1 }
        );
    }
}

#[test]
fn a_server_name_binds_what_comes_from_outside_too() {
    for version in VERSIONS {
        let store = Store::default();
        let nodes = [store.node(), store.node()];
        let client = Client::new(version);
        assert!(!client.visit_as(Some("a.example"), &nodes[0].1));
        assert!(
            !client.visit_as(Some("b.example"), &nodes[1].1),
            "{version:?}"
        );
        assert_eq!(nodes[1].0.cache.stats().wrong_name, 1);
    }
}

/// Answers of a get callback that are no session at all, or not the one that the handshake can use.
#[test]
fn whatever_the_store_answers_the_handshake_goes_on() {
    type Change = fn(&Lookup<'_>, &[u8]) -> Option<Session>;
    let answers: [(&str, Change); 9] = [
        ("nothing", |_, _| None),
        ("no bytes", |lookup, _| made(lookup, b"")),
        ("noise", |lookup, _| made(lookup, &[0x30; 200])),
        ("half of it", |lookup, state| {
            made(lookup, &state[..state.len() / 2])
        }),
        ("another version's", |lookup, state| {
            let mut other = state.to_vec();
            let version = other.windows(3).position(|w| w == [2, 2, 3]).unwrap();
            other[version + 3] ^= 3 ^ 4;
            made(lookup, &other)
        }),
        ("one that libssl calls too old", |lookup, state| {
            let mut old = state.to_vec();
            let time = old.windows(4).position(|w| w == [0xa1, 6, 2, 4]).unwrap();
            old[time + 4] -= 8;
            made(lookup, &old)
        }),
        ("one that names another id", |lookup, state| {
            let mut other = state.to_vec();
            let id = lookup.id.as_bytes();
            let place = other.windows(id.len()).position(|w| w == id).unwrap();
            other[place] ^= 1;
            made(lookup, &other)
        }),
        ("one of another session id context", |lookup, state| {
            let mut other = state.to_vec();
            let context = lookup.context.id().as_bytes();
            let place = other
                .windows(context.len())
                .position(|w| w == context)
                .unwrap();
            other[place] ^= 1;
            made(lookup, &other)
        }),
        ("a panic", |_, _| resume_unwind(Box::new("the store's"))),
    ];
    for version in VERSIONS {
        for (what, answer) in answers {
            let store = Store::default();
            let (rig, server) = store.node();
            let client = Client::new(version);
            assert!(!client.visit(&server));
            let kept = store.clone();
            rig.cache
                .set_on_get(Some(Arc::new(move |lookup: &Lookup<'_>| {
                    let state = kept.lock().sessions[lookup.id.as_bytes()].state.clone();
                    answer(lookup, &state)
                })));
            rig.cache.clear();
            assert!(!client.visit(&server), "{version:?}: {what}");
            assert!(client.visit(&server), "{version:?}: {what}");
        }
    }
}

/// The session that was asked for, with this state.
fn made(lookup: &Lookup<'_>, state: &[u8]) -> Option<Session> {
    let builder = Session::builder(lookup.context, *lookup.id).server_name(NAME);
    builder.build(state).ok()
}

/// A store may be another handle of this very cache. What it finds there for single use is taken, and by one only.
#[test]
fn what_the_callback_found_in_the_cache_itself_has_one_winner() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls13));
    assert!(!client.visit(&context));
    rig.cache
        .set_mode(CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP);
    let cache = rig.cache.clone();
    rig.cache
        .set_on_get(Some(Arc::new(move |lookup: &Lookup<'_>| {
            assert!(lookup.single_use);
            cache.get(lookup.context, lookup.id)
        })));
    let session = client.sessions().last().cloned();
    for first in [true, false, false] {
        let side = client.connect_with(Some(NAME), session.as_ref());
        assert_eq!(finish(side, Side::server(&context)), first);
    }
    // A callback that owns its own cache would keep it alive.
    rig.cache.set_on_get(None);
}

#[test]
fn a_store_that_refuses_a_session_costs_only_the_resumption() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), Client::new(version));
        rig.cache.set_on_new(Some(Arc::new(|_: &Session| false)));
        assert!(!client.visit(&server));
        assert!(!client.visit(&server), "{version:?}");
        rig.cache.settle();
        let gone = rig.log.drain();
        assert_eq!(gone.len() as u64, 2 * version.tickets());
        assert!(
            gone.iter()
                .all(|(_, cause)| *cause == RemovalCause::Refused)
        );
    }
}
