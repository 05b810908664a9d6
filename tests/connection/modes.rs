//! What the mode allows handshakes to do; and every setting can be read back.

use std::sync::Arc;
use std::time::Duration;

use refrain::{CacheMode, Lookup, OnGet, OnNew, OnRemove, RemovalCause, Session, SessionCache};

use super::common::{Rig, id, number};
use super::shop::{Shop, establish, key};

#[test]
fn each_side_uses_the_cache_only_if_the_mode_has_it() {
    for (mode, server, client) in [
        (CacheMode::OFF, false, false),
        (CacheMode::SERVER, true, false),
        (CacheMode::CLIENT, false, true),
        (CacheMode::BOTH, true, true),
    ] {
        let shop = Shop::with(mode);
        shop.stock(1);
        shop.supply(2);
        let mut connection = shop.accept();
        assert_eq!(connection.resume(key(1)).is_some(), server, "{mode:?}");
        assert_eq!(connection.resume_once(key(1)).is_some(), server, "{mode:?}");
        assert_eq!(connection.resume(key(2)).is_some(), server, "{mode:?}");
        assert_eq!(shop.asked().len(), usize::from(server), "{mode:?}");
        assert_eq!(establish(&mut connection, 3), server, "{mode:?}");
        assert_eq!(shop.has(3), server, "{mode:?}");
        connection.close();
        let mut connection = shop.connect();
        assert_eq!(establish(&mut connection, 4), client, "{mode:?}");
        assert_eq!(shop.has(4), client, "{mode:?}");
        connection.close();
        let told: Vec<u64> = [(3, server), (4, client)]
            .iter()
            .filter_map(|(n, on)| on.then_some(*n))
            .collect();
        assert_eq!(shop.told(), told, "{mode:?}");
        // What is in the cache stays, and direct calls work in every mode.
        assert!(shop.has(1));
    }
}

#[test]
fn the_mode_counts_at_the_moment_of_the_call() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    shop.cache().set_mode(CacheMode::OFF);
    assert!(connection.resume(key(1)).is_none());
    shop.cache().set_mode(CacheMode::SERVER);
    assert!(connection.resume(key(1)).is_some());
    shop.cache().set_mode(CacheMode::OFF);
    assert!(!establish(&mut connection, 2));
    connection.close();
}

#[test]
fn without_internal_lookups_only_the_callback_is_asked() {
    let shop = Shop::with(CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP);
    shop.stock(1);
    shop.supply(2);
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_none());
    assert_eq!(connection.resume(key(2)).map(number), Some(2));
    assert_eq!(shop.asked(), [(id(1), false), (id(2), false)]);
    let stats = shop.cache().stats();
    assert_eq!((stats.hits, stats.misses), (1, 0));
    assert!(shop.has(2), "what is supplied is stored nevertheless");
    connection.close();
}

#[test]
fn without_an_internal_store_only_the_callback_is_told() {
    let shop = Shop::with(CacheMode::SERVER | CacheMode::NO_INTERNAL_STORE);
    shop.supply(2);
    let mut connection = shop.accept();
    assert!(establish(&mut connection, 1), "the callback has it");
    assert_eq!(shop.told(), [1]);
    assert!(connection.resume(key(2)).is_some());
    assert!(shop.cache().is_empty());
    // What is in the cache is found nevertheless.
    shop.stock(3);
    assert!(connection.resume(key(3)).is_some());
    // Without a callback, or if it refuses, it is stored nowhere.
    shop.cache().set_on_new(None);
    assert!(!establish(&mut connection, 4));
    shop.cache().set_on_new(Some(Arc::new(|_: &Session| false)));
    assert!(!establish(&mut connection, 5));
    connection.close();
}

#[test]
fn without_anything_internal_the_cache_is_only_a_relay() {
    let shop = Shop::with(CacheMode::SERVER | CacheMode::NO_INTERNAL);
    shop.stock(1);
    shop.supply(2);
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_none());
    assert!(connection.resume_once(key(2)).is_some() && connection.claim());
    assert!(connection.resume(key(2)).is_some());
    assert!(establish(&mut connection, 3));
    connection.close();
    assert_eq!((shop.asked().len(), shop.told()), (3, vec![3]));
    assert_eq!(shop.cache().len(), 1);
}

/// As `SSL_SESS_CACHE_UPDATE_TIME` is documented: the timeout begins anew when a session is used.
#[test]
fn under_update_time_a_resumption_gives_the_timeout_again() {
    for (mode, alive) in [
        (CacheMode::SERVER, false),
        (CacheMode::SERVER | CacheMode::UPDATE_TIME, true),
    ] {
        let shop = Shop::with(mode);
        assert!(shop.rig.add_for(1, Duration::from_secs(10)).is_cached());
        for _ in 0..2 {
            shop.rig.advance(Duration::from_secs(6));
            shop.accept().resume(key(1));
        }
        assert_eq!(shop.accept().resume(key(1)).is_some(), alive, "{mode:?}");
    }
}

#[test]
fn what_is_set_can_be_read_back() {
    let rig = Rig::with(SessionCache::builder().capacity(100).max_capacity(1000));
    let cache = &rig.cache;
    for entries in [1, 7, 1000] {
        let before = cache.capacity();
        assert_eq!(cache.set_capacity(entries).unwrap(), before);
        assert_eq!(cache.capacity(), entries);
    }
    for bytes in [64, 6400, 1 << 30] {
        let before = cache.byte_budget();
        assert_eq!(cache.set_byte_budget(bytes).unwrap(), before);
        assert_eq!(cache.byte_budget(), bytes);
    }
    for timeout in [0, 1, 1000, 3_600_000].map(Duration::from_millis) {
        let before = cache.timeout();
        assert_eq!(cache.set_timeout(timeout), before);
        assert_eq!(cache.timeout(), timeout);
    }
    let flags = [
        CacheMode::OFF,
        CacheMode::CLIENT,
        CacheMode::SERVER,
        CacheMode::NO_AUTO_CLEAR,
        CacheMode::NO_INTERNAL_LOOKUP,
        CacheMode::NO_INTERNAL_STORE,
        CacheMode::UPDATE_TIME,
    ];
    for mode in flags.iter().flat_map(|a| flags.map(|b| *a | b)) {
        let before = cache.mode();
        assert_eq!(cache.set_mode(mode), before);
        assert_eq!(cache.mode(), mode);
        assert_eq!(CacheMode::from_bits(mode.bits()), mode);
    }
    let (new, get, remove): (OnNew, OnGet, OnRemove) = (
        Arc::new(|_: &Session| true),
        Arc::new(|_: &Lookup<'_>| None),
        Arc::new(|_: &Session, _: RemovalCause| ()),
    );
    assert!(cache.on_new().is_none() && cache.on_get().is_none());
    assert!(cache.set_on_new(Some(Arc::clone(&new))).is_none());
    assert!(cache.set_on_get(Some(Arc::clone(&get))).is_none());
    assert!(cache.set_on_remove(Some(Arc::clone(&remove))).is_some());
    assert!(Arc::ptr_eq(&cache.on_new().unwrap(), &new));
    assert!(Arc::ptr_eq(&cache.on_get().unwrap(), &get));
    assert!(Arc::ptr_eq(&cache.on_remove().unwrap(), &remove));
    assert!(Arc::ptr_eq(&cache.set_on_new(None).unwrap(), &new));
    assert!(Arc::ptr_eq(&cache.set_on_get(None).unwrap(), &get));
    assert!(Arc::ptr_eq(&cache.set_on_remove(None).unwrap(), &remove));
    assert!(cache.on_new().is_none() && cache.on_get().is_none() && cache.on_remove().is_none());
}
