//! The rustls storage: what `put`, `get` and `take` do, and the callbacks that belong to handshakes.

#![allow(missing_docs)]
#![cfg(feature = "rustls")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use common::{Rig, assert_settled, millis, secs};
use refrain::adapter::rustls::{LIFETIME, Sessions};
use refrain::{ContextId, RemovalCause, Session, SessionCache, Time};
use rustls::server::StoresServerSessions;

/// A key as rustls makes them: 32 bytes, the number of `common::id`.
fn key(n: u64) -> Vec<u8> {
    common::id(n).as_bytes().to_vec()
}

fn sessions(rig: &Rig) -> Arc<Sessions> {
    Sessions::new(&rig.cache, ContextId::derive("rig", &[])).unwrap()
}

#[test]
fn put_get_take() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    assert!(sessions.put(key(1), vec![9; 300]));
    assert_eq!(sessions.get(&key(1)), Some(vec![9; 300]));
    assert_eq!(sessions.get(&key(1)), Some(vec![9; 300]));
    assert_eq!(sessions.get(&key(2)), None);
    assert!(sessions.put(key(1), vec![8; 200]));
    assert_eq!(sessions.take(&key(1)), Some(vec![8; 200]));
    assert_eq!(sessions.take(&key(1)), None);
    assert_eq!(sessions.get(&key(1)), None);
    assert!(sessions.put(key(3), Vec::new()));
    assert_eq!(sessions.take(&key(3)), Some(Vec::new()));
    let taken = [(1, RemovalCause::Taken), (3, RemovalCause::Taken)];
    assert_eq!(rig.gone(), taken);
    assert_settled(&rig.cache.stats());
}

#[test]
fn one_handshakes_lookup_counts_once() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    assert!(sessions.put(key(1), vec![9; 300]));
    assert!(sessions.get(&key(1)).is_some());
    assert!(sessions.take(&key(1)).is_some());
    assert!(sessions.take(&key(1)).is_none());
    let stats = rig.cache.stats();
    assert_eq!((stats.hits, stats.misses), (2, 1));
}

#[test]
fn keys_of_every_length() {
    let rig = Rig::new(100);
    let sessions = sessions(&rig);
    for len in (0..=40).chain([64, 255, 256, 65_535, 65_536]) {
        let key = vec![0; len];
        let good = (1..=32).contains(&len);
        assert_eq!(sessions.put(key.clone(), vec![1]), good, "length {len}");
        assert_eq!(sessions.get(&key).is_some(), good);
        assert_eq!(sessions.take(&key).is_some(), good);
        assert_eq!(sessions.take(&key), None);
    }
    assert_eq!(rig.cache.len(), 0);
}

#[test]
fn values_that_are_too_large_are_not_stored_anywhere() {
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let rig = Rig::with(SessionCache::builder().byte_budget(1 << 20));
    let sessions = sessions(&rig);
    assert!(sessions.put(key(1), vec![0; 60_000]));
    for len in [65_536, 1 << 20] {
        assert!(!sessions.put(key(2), vec![0; len]), "{len} bytes");
        assert_eq!(sessions.get(&key(2)), None);
    }
    rig.cache.set_on_new(Some(Arc::new(move |_: &Session| {
        count.fetch_add(1, Ordering::SeqCst);
        true
    })));
    assert!(
        !sessions.put(key(2), vec![0; 65_536]),
        "with a new callback"
    );
    assert_eq!(told.load(Ordering::SeqCst), 0, "offered elsewhere");
}

#[test]
fn sessions_expire_whether_or_not_anybody_maintains() {
    let rig = Rig::with(SessionCache::builder().timeout(secs(10)));
    let sessions = sessions(&rig);
    for n in 1..=2 {
        assert!(sessions.put(key(n), vec![1]));
    }
    rig.clock.advance(millis(9999));
    assert!(sessions.get(&key(1)).is_some());
    // Only the handshake itself can bring the clock up to date here.
    rig.clock.advance(millis(1));
    assert_eq!(sessions.get(&key(1)), None);
    assert_eq!(sessions.take(&key(2)), None);
    rig.cache.set_timeout(secs(0));
    assert!(!sessions.put(key(3), vec![1]));
}

#[test]
fn no_session_outlives_what_tls13_clients_are_told() {
    let rig = Rig::with(SessionCache::builder().timeout(10 * LIFETIME));
    let sessions = sessions(&rig);
    assert!(sessions.put(key(1), vec![1]));
    let kept = rig.get(1).unwrap();
    assert_eq!(kept.deadline(), Time::ZERO + LIFETIME);
    rig.cache.set_timeout(secs(5));
    assert!(sessions.put(key(2), vec![1]));
    assert_eq!(rig.get(2).unwrap().deadline(), Time::ZERO + secs(5));
}

#[test]
fn take_has_one_winner_of_eight_threads() {
    let _watchdog = common::watchdog();
    const THREADS: usize = 8;
    let rig = Rig::new(100);
    let sessions = sessions(&rig);
    let won = AtomicUsize::new(0);
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (sessions, won, barrier) = (&sessions, &won, &barrier);
            scope.spawn(move || {
                for n in 0..500 {
                    if thread == 0 {
                        assert!(sessions.put(key(n), n.to_be_bytes().to_vec()));
                    }
                    barrier.wait();
                    if let Some(value) = sessions.take(&key(n)) {
                        assert_eq!(value, n.to_be_bytes());
                        won.fetch_add(1, Ordering::SeqCst);
                    }
                    barrier.wait();
                    assert_eq!(won.load(Ordering::SeqCst) as u64, n + 1);
                    barrier.wait();
                }
            });
        }
    });
    assert_eq!(rig.gone().len(), 500);
    assert_settled(&rig.cache.stats());
}

#[test]
fn an_offer_for_single_use_does_not_burn_a_tls12_session() {
    let rig = Rig::new(10);
    let sessions = sessions(&rig);
    // As rustls encodes it: no server name, then the version.
    let value = [&[0, 0x03, 0x03][..], &[7; 100]].concat();
    assert!(sessions.put(key(1), value.clone()));
    assert_eq!(sessions.take(&key(1)), None);
    assert_eq!(sessions.get(&key(1)), Some(value));
    let tls13 = [&[0, 0x03, 0x04][..], &[7; 100]].concat();
    assert!(sessions.put(key(1), tls13.clone()));
    assert_eq!(sessions.take(&key(1)), Some(tls13));
}

#[test]
fn two_adapters_on_one_cache_do_not_see_each_others_sessions() {
    let rig = Rig::new(10);
    let make = |name| Sessions::new(&rig.cache, ContextId::derive(name, &[])).unwrap();
    let (public, admin, again) = (make("public"), make("admin"), make("public"));
    assert!(public.put(key(1), b"public".to_vec()));
    assert_eq!(admin.get(&key(1)), None);
    assert_eq!(admin.take(&key(1)), None);
    assert!(admin.put(key(1), b"admin".to_vec()));
    assert_eq!(public.get(&key(1)).unwrap(), b"public");
    assert_eq!(again.take(&key(1)).unwrap(), b"public");
    assert_eq!(public.get(&key(1)), None);
    assert_eq!(admin.get(&key(1)).unwrap(), b"admin");
    // Invalidated: gone at once, and the adapter goes on.
    rig.cache.invalidate_context(admin.context()).unwrap();
    assert_eq!(admin.get(&key(1)), None);
    assert!(admin.put(key(1), b"new".to_vec()));
    assert_eq!(admin.take(&key(1)).unwrap(), b"new");
}
