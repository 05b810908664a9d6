//! OpenSSL's twelve numbers, counted as it counts them.

use refrain::{CacheMode, SessCounters, SessionCache};

use super::common::{Rig, lasting, secs};
use super::shop::{Shop, establish, key};

/// The counters' growth since `before`.
fn since(shop: &Shop, before: SessCounters) -> SessCounters {
    let now = counters(shop);
    SessCounters {
        number: now.number - before.number,
        connect: now.connect - before.connect,
        connect_good: now.connect_good - before.connect_good,
        connect_renegotiate: now.connect_renegotiate - before.connect_renegotiate,
        accept: now.accept - before.accept,
        accept_good: now.accept_good - before.accept_good,
        accept_renegotiate: now.accept_renegotiate - before.accept_renegotiate,
        hits: now.hits - before.hits,
        cb_hits: now.cb_hits - before.cb_hits,
        misses: now.misses - before.misses,
        timeouts: now.timeouts - before.timeouts,
        cache_full: now.cache_full - before.cache_full,
    }
}

fn counters(shop: &Shop) -> SessCounters {
    shop.cache().stats().openssl()
}

#[test]
fn a_full_handshake_and_a_resumption() {
    let shop = Shop::new();
    assert_eq!(counters(&shop), SessCounters::default());
    let mut connection = shop.accept();
    let begun = SessCounters {
        accept: 1,
        ..SessCounters::default()
    };
    assert_eq!(counters(&shop), begun);
    assert!(establish(&mut connection, 1));
    connection.close();
    let full = SessCounters {
        number: 1,
        accept_good: 1,
        ..begun
    };
    assert_eq!(counters(&shop), full);
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    connection.finish();
    connection.close();
    let resumed = SessCounters {
        accept: 2,
        accept_good: 2,
        hits: 1,
        ..full
    };
    assert_eq!(counters(&shop), resumed);
}

#[test]
fn a_handshake_that_does_not_finish_is_no_good_one() {
    let shop = Shop::new();
    drop(shop.accept());
    drop(shop.connect());
    let expected = SessCounters {
        accept: 1,
        connect: 1,
        ..SessCounters::default()
    };
    assert_eq!(counters(&shop), expected);
}

#[test]
fn further_handshakes_on_a_connection_have_a_counter_of_their_own() {
    let shop = Shop::with(CacheMode::BOTH);
    for mut connection in [shop.accept(), shop.connect()] {
        connection.finish();
        for _ in 0..3 {
            connection.renegotiate();
        }
        connection.finish();
    }
    let expected = SessCounters {
        accept: 1,
        accept_good: 2,
        accept_renegotiate: 3,
        connect: 1,
        connect_good: 2,
        connect_renegotiate: 3,
        ..SessCounters::default()
    };
    assert_eq!(counters(&shop), expected);
}

#[test]
fn what_was_not_there_was_too_old_or_came_from_outside() {
    let shop = Shop::new();
    shop.supply(2);
    shop.supply_by(4, |lookup| Some(lasting(lookup.context, 4, secs(0))));
    assert!(shop.rig.add_for(3, secs(1)).is_cached());
    shop.rig.advance(secs(1));
    for (n, expected) in [
        (
            1,
            SessCounters {
                misses: 1,
                ..SessCounters::default()
            },
        ),
        (
            // A miss first, then a hit of the callback, and a hit.
            2,
            SessCounters {
                number: 1,
                misses: 1,
                cb_hits: 1,
                hits: 1,
                ..SessCounters::default()
            },
        ),
        (
            3,
            SessCounters {
                timeouts: 1,
                ..SessCounters::default()
            },
        ),
        (
            4,
            SessCounters {
                misses: 1,
                cb_hits: 1,
                timeouts: 1,
                ..SessCounters::default()
            },
        ),
    ] {
        let mut connection = shop.accept();
        let before = counters(&shop);
        let found = connection.resume(key(n)).is_some();
        assert_eq!(found, n == 2);
        assert_eq!(since(&shop, before), expected, "number {n}");
    }
}

#[test]
fn one_eviction_counts_as_one() {
    let rig = Rig::with(SessionCache::builder().capacity(2).shards(1));
    let mut connection = rig.cache.accept(&rig.context);
    for n in 0..5 {
        assert!(establish(&mut connection, n));
    }
    connection.close();
    let counters = rig.cache.stats().openssl();
    assert_eq!((counters.number, counters.cache_full), (2, 3));
}

#[test]
fn each_number_is_the_statistics_own() {
    let shop = Shop::with(CacheMode::BOTH);
    shop.supply(2);
    let mut connection = shop.accept();
    connection.resume(key(1));
    connection.resume(key(2));
    connection.renegotiate();
    establish(&mut connection, 3);
    let mut client = shop.connect();
    client.finish();
    let stats = shop.cache().stats();
    let numbers = stats.openssl();
    assert_eq!(
        (
            numbers.number,
            numbers.hits,
            numbers.misses,
            numbers.cb_hits
        ),
        (stats.entries, stats.hits, stats.misses, stats.external_hits)
    );
    assert_eq!(
        (
            numbers.accept,
            numbers.accept_good,
            numbers.accept_renegotiate
        ),
        (stats.accepts, stats.accepts_good, stats.accepts_again)
    );
    assert_eq!(
        (
            numbers.connect,
            numbers.connect_good,
            numbers.connect_renegotiate
        ),
        (stats.connects, stats.connects_good, stats.connects_again)
    );
    assert_eq!(
        (numbers.timeouts, numbers.cache_full),
        (stats.timeouts, stats.evicted)
    );
}

#[test]
fn an_id_that_is_none_is_a_miss_unless_it_is_empty_or_nothing_is_looked_up() {
    let long = [7; 33];
    let ids: [(&[u8], u64); 3] = [(&[], 0), (&long, 1), (&long[..32], 1)];
    for (mode, looks) in [
        (CacheMode::SERVER, 1),
        (CacheMode::OFF, 0),
        (CacheMode::CLIENT, 0),
        (CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP, 0),
    ] {
        let shop = Shop::with(mode);
        for (id, counts) in ids {
            let before = counters(&shop);
            assert!(shop.accept().resume(id).is_none());
            assert!(shop.accept().resume_once(id).is_none());
            let misses = since(&shop, before).misses;
            assert_eq!(misses, 2 * counts * looks, "{mode:?}, {} bytes", id.len());
        }
    }
}

/// It is ready for the next one from there on, which so counts as begun, though nobody may ever come.
#[test]
fn clearing_counts_a_further_handshake() {
    let shop = Shop::with(CacheMode::BOTH);
    for mut connection in [shop.accept(), shop.connect()] {
        connection.close();
        connection.clear();
        connection.close();
    }
    let expected = SessCounters {
        accept: 2,
        connect: 2,
        ..SessCounters::default()
    };
    assert_eq!(counters(&shop), expected);
}
