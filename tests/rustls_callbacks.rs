//! The callbacks that belong to handshakes, and the mode, by way of the rustls storage.

#![allow(missing_docs)]
#![cfg(feature = "rustls")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Rig, assert_settled, context, millis, number, secs};
use refrain::adapter::rustls::Sessions;
use refrain::{
    CacheMode, ContextId, RemovalCause, Session, SessionBuilder, SessionCache, SessionId, Time,
};
use rustls::server::StoresServerSessions;

/// A key as rustls makes them: 32 bytes, the number of `common::id`.
fn key(n: u64) -> Vec<u8> {
    common::id(n).as_bytes().to_vec()
}

fn sessions(rig: &Rig) -> Arc<Sessions> {
    Sessions::new(&rig.cache, ContextId::derive("rig", &[])).unwrap()
}

#[test]
fn a_refusing_new_callback_removes_the_session() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = heard.clone();
    let builder = SessionCache::builder().on_new(move |session| {
        log.lock().unwrap().push(number(session));
        match number(session) {
            1 => false,
            2 => std::panic::resume_unwind(Box::new("no answer")),
            _ => true,
        }
    });
    let rig = Rig::with(builder);
    let sessions = sessions(&rig);
    assert!(!sessions.put(key(1), vec![1]));
    assert_eq!(sessions.get(&key(1)), None);
    assert_eq!(rig.gone(), [(1, RemovalCause::Refused)]);
    // A panic has not said no; it is counted.
    assert!(sessions.put(key(2), vec![1]));
    assert!(sessions.put(key(3), vec![1]));
    assert!(sessions.get(&key(2)).is_some() && sessions.get(&key(3)).is_some());
    assert_eq!(*heard.lock().unwrap(), [1, 2, 3]);
    rig.cache.settle();
    let stats = rig.cache.stats();
    assert_eq!((stats.refused, stats.callback_panics), (1, 1));
    assert_settled(&stats);
}

#[test]
fn the_new_callback_may_use_the_cache() {
    let _watchdog = common::watchdog();
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    let (cache, context) = (rig.cache.clone(), rig.context.clone());
    rig.cache
        .set_on_new(Some(Arc::new(move |session: &Session| {
            assert!(cache.contains(&context, &session.session_id()));
            // Removed by the callback itself: then its no finds nothing left to remove.
            assert!(cache.remove_exact(session));
            false
        })));
    assert!(!sessions.put(key(1), vec![1]));
    assert_eq!(rig.gone(), [(1, RemovalCause::Removed)]);
    rig.cache.set_on_new(None);
}

/// Sets a get callback that answers by `make`, and returns the count of its calls.
fn supply(
    rig: &Rig,
    make: impl Fn(SessionBuilder<'_>) -> Option<Session> + Send + Sync + 'static,
) -> Arc<AtomicUsize> {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    rig.cache
        .set_on_get(Some(Arc::new(move |lookup: &refrain::Lookup<'_>| {
            count.fetch_add(1, Ordering::SeqCst);
            make(Session::builder(lookup.context, *lookup.id))
        })));
    calls
}

#[test]
fn the_get_callback_supplies_what_is_not_here() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    let calls = supply(&rig, |builder| builder.build(b"outside").ok());
    // For a session that can be used again: from then on it is here.
    assert_eq!(sessions.get(&key(1)).unwrap(), b"outside");
    assert_eq!(sessions.get(&key(1)).unwrap(), b"outside");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(rig.cache.len(), 1);
    // For single use: it is not, and each use is the outside store's to give out.
    assert_eq!(sessions.take(&key(2)).unwrap(), b"outside");
    assert!(!rig.has(2));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    // What is here is not asked for.
    assert!(sessions.put(key(3), b"inside".to_vec()));
    assert_eq!(sessions.get(&key(3)).unwrap(), b"inside");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    assert_eq!(rig.cache.stats().external_hits, 2);

    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    rig.cache
        .set_on_get(Some(Arc::new(move |lookup: &refrain::Lookup<'_>| {
            log.lock().unwrap().push((*lookup.id, lookup.single_use));
            None
        })));
    assert_eq!(sessions.get(&key(8)), None);
    assert_eq!(sessions.take(&key(9)), None);
    let asked = [(common::id(8), false), (common::id(9), true)];
    assert_eq!(*told.lock().unwrap(), asked);
}

#[test]
fn what_the_get_callback_supplies_must_be_what_was_asked_for() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    let other = context(&rig.cache, "other");
    let elsewhere = Rig::new(10);
    let foreign = elsewhere.context.clone();
    let dead = common::session(&rig.context, 1);
    assert!(rig.cache.remove_exact(&dead));
    let expect_miss = |what: &str, calls: Arc<AtomicUsize>| {
        assert_eq!(sessions.get(&key(1)), None, "{what}, get");
        assert_eq!(sessions.take(&key(1)), None, "{what}, take");
        assert_eq!(calls.load(Ordering::SeqCst), 2, "{what}");
        assert_eq!(rig.cache.len(), 0, "{what}");
    };
    let mine = rig.context.clone();
    expect_miss("another id", {
        let mine = mine.clone();
        supply(&rig, move |_| Some(common::session(&mine, 2)))
    });
    expect_miss("a longer id", {
        supply(&rig, move |_| {
            let id = SessionId::new(&common::id(1).as_bytes()[..31]).unwrap();
            Session::new(&mine, id, b"").ok()
        })
    });
    expect_miss("another context", {
        supply(&rig, move |_| Some(common::session(&other, 1)))
    });
    expect_miss("another cache's context", {
        supply(&rig, move |_| Some(common::session(&foreign, 1)))
    });
    expect_miss("one that has left the cache", {
        supply(&rig, move |_| Some(dead.clone()))
    });
    expect_miss("a timeout of zero", {
        supply(&rig, |builder| builder.timeout(secs(0)).build(b"").ok())
    });
    rig.advance(secs(100));
    expect_miss("past its authentication", {
        let now = Time::ZERO + secs(100);
        supply(&rig, move |builder| builder.not_after(now).build(b"").ok())
    });
    expect_miss("a panic", {
        supply(&rig, |_| std::panic::resume_unwind(Box::new("no answer")))
    });
    let stats = rig.cache.stats();
    // Answers count, good or not, but for those that had left the cache; hits are what was accepted.
    assert_eq!((stats.external_hits, stats.callback_panics), (12, 2));
    assert_eq!(stats.hits, 0);
    // A good one is still served.
    supply(&rig, |builder| builder.build(b"good").ok());
    assert_eq!(sessions.get(&key(1)).unwrap(), b"good");
    assert_eq!(
        rig.gone(),
        [(1, RemovalCause::Removed)],
        "only the one removed above"
    );
}

#[test]
fn what_comes_from_outside_expired_is_not_revived() {
    let mode = CacheMode::SERVER | CacheMode::UPDATE_TIME;
    let rig = Rig::with(SessionCache::builder().mode(mode));
    let sessions = sessions(&rig);
    let until = Time::ZERO + secs(10);
    supply(&rig, move |builder| {
        builder.not_after(until).build(b"outside").ok()
    });
    rig.clock.advance(millis(9999));
    assert!(sessions.get(&key(1)).is_some());
    assert_eq!(rig.get(1).unwrap().deadline(), until);
    rig.clock.advance(millis(1));
    assert_eq!(sessions.get(&key(1)), None);
    assert_eq!(sessions.get(&key(2)), None);
    let stats = rig.cache.stats();
    assert_eq!((stats.external_hits, stats.hits), (3, 2));
}

#[test]
fn a_thread_asks_outside_so_often_a_second_and_no_more() {
    // A thread of its own, as the bound is kept per thread.
    let asks = |per_second: u32| {
        let work = move || {
            let rig = Rig::new(10);
            let context = ContextId::derive("rig", &[]);
            let sessions = Sessions::with_external_rate(&rig.cache, context, per_second).unwrap();
            let calls = supply(&rig, |_| None);
            let mut seen = Vec::new();
            for wait in [0, 1000, 400, 600, 60_000] {
                rig.clock.advance(millis(wait));
                for n in 0..20 {
                    assert_eq!(sessions.take(&key(n)), None);
                }
                seen.push(calls.swap(0, Ordering::SeqCst));
            }
            seen
        };
        std::thread::spawn(work).join().unwrap()
    };
    assert_eq!(asks(5), [5, 5, 2, 3, 5]);
    assert_eq!(asks(0), [0; 5]);
    assert_eq!(asks(1000), [20; 5]);
}

#[test]
fn the_mode_decides_what_handshakes_may_do() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    let calls = supply(&rig, |builder| builder.build(b"outside").ok());
    assert!(sessions.can_cache());
    for mode in [CacheMode::OFF, CacheMode::CLIENT] {
        assert!(sessions.put(key(1), b"inside".to_vec()));
        rig.cache.set_mode(mode);
        assert!(!sessions.can_cache());
        assert!(!sessions.put(key(2), vec![1]));
        assert_eq!(sessions.get(&key(1)), None);
        assert_eq!(sessions.take(&key(1)), None);
        assert_eq!(rig.cache.set_mode(CacheMode::BOTH), mode);
        assert!(sessions.can_cache());
        assert_eq!(sessions.take(&key(1)).unwrap(), b"inside");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);

    rig.cache
        .set_mode(CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP);
    assert!(sessions.put(key(1), b"inside".to_vec()));
    assert_eq!(sessions.get(&key(1)).unwrap(), b"outside");
    assert_eq!(sessions.take(&key(1)).unwrap(), b"outside");
    rig.cache.clear();

    rig.cache
        .set_mode(CacheMode::SERVER | CacheMode::NO_INTERNAL_STORE);
    // Stored nowhere, then only by the new callback.
    assert!(!sessions.put(key(1), vec![1]));
    rig.cache.set_on_new(Some(Arc::new(|_: &Session| true)));
    assert!(sessions.put(key(1), vec![1]));
    rig.cache.set_on_new(Some(Arc::new(|_: &Session| false)));
    assert!(!sessions.put(key(1), vec![1]));
    assert_eq!(sessions.get(&key(1)).unwrap(), b"outside");
    assert_eq!(rig.cache.len(), 0);
}

/// Two nodes that share a store and keep nothing themselves: what is for single use is used at one of them.
#[test]
fn what_is_in_a_shared_store_is_taken_by_one_of_two_nodes() {
    type Store = Arc<Mutex<std::collections::HashMap<SessionId, Vec<u8>>>>;
    let store = Store::default();
    let mode = CacheMode::SERVER | CacheMode::NO_INTERNAL;
    let rigs = [(); 2].map(|()| {
        let (write, read) = (Arc::clone(&store), Arc::clone(&store));
        let builder = SessionCache::builder()
            .mode(mode)
            .on_new(move |session| {
                let value = session.payload().to_vec();
                write.lock().unwrap().insert(session.session_id(), value);
                true
            })
            .on_get(move |lookup| {
                let mut store = read.lock().unwrap();
                let value = if lookup.single_use {
                    store.remove(lookup.id)
                } else {
                    store.get(lookup.id).cloned()
                };
                Session::new(lookup.context, *lookup.id, &value?).ok()
            });
        Rig::with(builder)
    });
    let nodes = rigs.each_ref().map(sessions);
    for made_by in [0, 1] {
        for first in [0, 1] {
            assert!(nodes[made_by].put(key(1), b"state".to_vec()));
            // Read as often as anybody likes.
            assert!(nodes.iter().all(|node| node.get(&key(1)).is_some()));
            assert_eq!(nodes[first].take(&key(1)).unwrap(), b"state");
            for again in [1 - first, first] {
                assert_eq!(nodes[again].take(&key(1)), None);
                assert_eq!(nodes[again].get(&key(1)), None);
            }
        }
    }
    assert!(rigs.iter().all(|rig| rig.cache.is_empty()));
}
