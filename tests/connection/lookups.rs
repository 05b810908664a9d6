//! Where a session is looked for, in which order, how often outside, and what is checked.

use refrain::{EXTERNAL_LOOKUPS, Session, SessionCache, Time};

use super::common::{Rig, context, id, lasting, number, secs, session};
use super::shop::{Shop, key};

#[test]
fn the_cache_is_asked_first_and_the_callback_only_if_it_has_nothing() {
    let shop = Shop::new();
    shop.stock(1);
    shop.supply(1);
    shop.supply(2);
    let mut connection = shop.accept();
    assert_eq!(connection.resume(key(1)).map(number), Some(1));
    assert!(connection.reused());
    assert_eq!(shop.asked(), []);
    assert_eq!(connection.resume(key(2)).map(number), Some(2));
    assert!(connection.reused());
    assert_eq!(shop.asked(), [(id(2), false)]);
    assert!(connection.resume(key(3)).is_none());
    assert!(!connection.reused());
    assert_eq!(shop.asked(), [(id(3), false)]);
}

#[test]
fn what_the_callback_supplied_is_in_the_cache_afterwards() {
    let shop = Shop::new();
    shop.supply(1);
    for _ in 0..3 {
        let mut connection = shop.accept();
        assert_eq!(connection.resume(key(1)).map(number), Some(1));
        connection.close();
    }
    assert_eq!(shop.asked().len(), 1);
    assert!(shop.has(1));
    assert_eq!(shop.told(), [], "a supplied session is no new one");
    assert_eq!(shop.gone(), []);
}

#[test]
fn a_reusable_session_stays_for_the_next_one() {
    let shop = Shop::new();
    shop.stock(1);
    for _ in 0..3 {
        let mut connection = shop.accept();
        assert!(connection.resume(key(1)).is_some() && connection.reused());
        connection.finish();
        connection.close();
    }
    assert!(shop.has(1));
    assert_eq!(shop.cache().stats().taken, 0);
    assert_eq!(shop.gone(), []);
}

#[test]
fn a_handshake_asks_the_callback_no_more_often_than_it_may() {
    let shop = Shop::new();
    shop.stock(1);
    let denied = || shop.cache().stats().external_denied;
    let ask = |connection: &mut refrain::Connection| {
        for n in 100..110 {
            assert!(connection.resume(key(n)).is_none());
            // What the cache has costs nothing.
            assert!(connection.resume(key(1)).is_some());
            // Nor does what can be no id.
            assert!(connection.resume([7; 33]).is_none());
        }
        shop.asked().len() as u64
    };
    let mut plain = shop.accept();
    assert_eq!(ask(&mut plain), u64::from(EXTERNAL_LOOKUPS));
    assert_eq!(denied(), 10 - u64::from(EXTERNAL_LOOKUPS));
    assert_eq!(ask(&mut plain), 0);
    // Each handshake has its own bound, and so has each on one connection.
    assert_eq!(ask(&mut shop.accept()), u64::from(EXTERNAL_LOOKUPS));
    plain.renegotiate();
    assert_eq!(ask(&mut plain), u64::from(EXTERNAL_LOOKUPS));
    for limit in [0, 1, 7, 100] {
        let mut connection = shop.accept();
        connection.set_external_lookups(limit);
        let before = denied();
        let allowed = u64::from(limit.min(10));
        assert_eq!(ask(&mut connection), allowed, "limit {limit}");
        assert_eq!(denied() - before, 10 - allowed, "limit {limit}");
        connection.renegotiate();
        assert_eq!(ask(&mut connection), allowed, "limit {limit} again");
    }
}

#[test]
fn an_id_of_any_length_is_a_miss_and_asks_nobody_if_it_can_be_none() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    connection.set_external_lookups(1000);
    for length in (0..=40).chain([255, 256, 65_535, 1 << 20]) {
        let before = shop.cache().stats().misses;
        assert!(connection.resume(vec![7; length]).is_none(), "{length}");
        assert!(
            connection.resume_once(vec![7; length]).is_none(),
            "{length}"
        );
        // As in OpenSSL, an empty one is no offer at all.
        let missed = if length == 0 { 0 } else { 2 };
        assert_eq!(shop.cache().stats().misses - before, missed, "{length}");
        let asked = if (1..=32).contains(&length) { 2 } else { 0 };
        assert_eq!(shop.asked().len(), asked, "{length}");
    }
    assert!(!connection.reused() && connection.session().is_none());
}

#[test]
fn ids_come_in_any_form_that_shows_bytes() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    let bytes = id(1).as_bytes().to_vec();
    assert!(connection.resume(&bytes).is_some());
    assert!(connection.resume(&bytes[..]).is_some());
    assert!(connection.resume(bytes).is_some());
    assert!(connection.resume(id(1)).is_some());
    assert!(
        connection
            .resume(shop.rig.get(1).unwrap().session_id())
            .is_some()
    );
}

#[test]
fn an_expired_session_is_refused_at_its_deadline() {
    let shop = Shop::new();
    assert!(shop.rig.add_for(1, secs(10)).is_cached());
    shop.rig.clock.advance(secs(10) - super::common::millis(1));
    assert!(shop.accept().resume(key(1)).is_some());
    // Nobody but the look-up itself brings the clock up to date.
    shop.rig.clock.advance(super::common::millis(1));
    assert!(shop.accept().resume(key(1)).is_none());
    assert!(shop.accept().resume_once(key(1)).is_none());
    assert_eq!(shop.cache().stats().timeouts, 2);
}

#[test]
fn a_session_of_another_context_is_not_there() {
    let shop = Shop::new();
    shop.stock(1);
    let other = context(shop.cache(), "other");
    let mut connection = shop.cache().accept(&other);
    assert!(connection.resume(key(1)).is_none());
    assert!(connection.resume_once(key(1)).is_none());
    assert!(shop.has(1));
}

#[test]
fn what_comes_from_outside_is_refused_unless_it_is_what_was_asked_for() {
    let shop = Shop::new();
    let other = context(shop.cache(), "other");
    let elsewhere = Rig::new(10);
    shop.rig.advance(secs(50));
    shop.supply_by(1, |lookup| Some(session(lookup.context, 99)));
    shop.supply_by(2, move |_| Some(session(&other, 2)));
    shop.supply_by(3, move |_| Some(session(&elsewhere.context, 3)));
    shop.supply_by(4, |lookup| Some(lasting(lookup.context, 4, secs(0))));
    shop.supply_by(5, |lookup| {
        let builder = Session::builder(lookup.context, id(5));
        builder.not_after(Time::from_millis(50_000)).build(b"").ok()
    });
    // One that has left this cache already.
    let gone = session(&shop.rig.context, 6);
    assert!(shop.cache().add(gone.clone()).is_cached());
    shop.cache().remove_exact(&gone);
    shop.supply_by(6, move |_| Some(gone.clone()));
    shop.gone();
    for n in 1..=6 {
        for single_use in [false, true] {
            let mut connection = shop.accept();
            let found = if single_use {
                connection.resume_once(key(n))
            } else {
                connection.resume(key(n))
            };
            assert!(found.is_none(), "{n}");
            assert!(!connection.reused() && connection.session().is_none());
            assert_eq!(shop.asked(), [(id(n), single_use)]);
        }
    }
    assert!(shop.cache().is_empty());
    let stats = shop.cache().stats();
    assert_eq!(stats.hits, 0);
    assert_eq!(stats.timeouts, 4, "two sessions were too old, twice each");
    assert_eq!(stats.external_hits, 10, "all but the one that had left");
    assert_eq!(shop.gone(), []);
}

#[test]
fn the_next_offer_gives_up_the_session_before_it() {
    let shop = Shop::new();
    shop.stock(1);
    let kept = shop.rig.get(1).unwrap();
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    assert_eq!(kept.references(), 3);
    assert!(connection.resume(key(2)).is_none());
    assert_eq!(kept.references(), 2);
    assert!(connection.session().is_none() && !connection.reused());
    // Given up is not removed, whatever becomes of the connection.
    connection.finish();
    connection.fail();
    drop(connection);
    assert!(shop.has(1));
    assert_eq!(shop.gone(), []);
}

#[test]
fn get0_borrows_the_connections_reference_and_get1_counts_one_more() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    assert!(connection.session().is_none() && connection.session_owned().is_none());
    assert_eq!(connection.resume(key(1)).unwrap().references(), 2);
    assert_eq!(connection.session().unwrap().references(), 2);
    let owned = connection.session_owned().unwrap();
    assert_eq!(owned.references(), 3);
    assert!(connection.session().unwrap().is_same(&owned));
    connection.close();
    drop(connection);
    assert_eq!(owned.references(), 2);
    shop.cache().clear();
    shop.cache().settle();
    assert_eq!(
        (owned.references(), owned.payload()),
        (1, &1u64.to_be_bytes()[..])
    );
}

#[test]
fn a_panicking_callback_is_a_miss() {
    let shop = Shop::new();
    shop.supply_by(1, |_| std::panic::resume_unwind(Box::new("the store's")));
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_none());
    assert!(connection.resume_once(key(1)).is_none());
    assert_eq!(shop.cache().stats().callback_panics, 2);
    shop.stock(2);
    assert!(connection.resume(key(2)).is_some());
}

/// The callback runs with nothing held: it may use the cache, and the connection's own.
#[test]
fn the_callback_may_use_the_cache() {
    let shop = Shop::new();
    let cache = shop.cache().clone();
    shop.supply_by(1, move |lookup| {
        assert!(cache.get(lookup.context, lookup.id).is_none());
        assert!(cache.add(session(lookup.context, 1)).is_cached());
        cache.accept(lookup.context).resume(lookup.id.as_bytes())?;
        cache.get(lookup.context, lookup.id)
    });
    assert_eq!(shop.accept().resume(key(1)).map(number), Some(1));
    assert_eq!(shop.cache().len(), 1);
}

#[test]
fn without_a_callback_nothing_is_denied() {
    let rig = Rig::with(SessionCache::builder());
    let mut connection = rig.cache.accept(&rig.context);
    connection.set_external_lookups(0);
    assert!(connection.resume(key(1)).is_none());
    let stats = rig.cache.stats();
    assert_eq!((stats.misses, stats.external_denied), (1, 0));
}
