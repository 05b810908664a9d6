//! A client's connection: it stores, and offers what the application found by a key of its own.

use refrain::{CacheMode, RemovalCause};

use super::common::{id, number, session};
use super::shop::{Shop, establish, key};

fn shop() -> Shop {
    Shop::with(CacheMode::CLIENT)
}

#[test]
fn a_client_stores_what_it_negotiates_and_looks_nothing_up() {
    // A server's connections would find something.
    let shop = Shop::with(CacheMode::BOTH);
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 1));
    assert_eq!(shop.told(), [1]);
    connection.close();
    drop(connection);
    assert!(shop.has(1));
    shop.supply(2);
    let mut connection = shop.connect();
    for n in [1, 2] {
        assert!(connection.resume(key(n)).is_none());
        assert!(connection.resume_once(key(n)).is_none());
    }
    assert_eq!(shop.asked(), []);
    assert!(!connection.reused());
}

#[test]
fn what_it_offers_is_reused_once_the_handshake_is_finished() {
    let shop = shop();
    shop.stock(1);
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(1).unwrap());
    assert_eq!(connection.session().map(number), Some(1));
    assert!(!connection.reused(), "the server has not answered");
    let hits = shop.cache().stats().hits;
    connection.finish();
    assert!(connection.reused());
    assert_eq!(shop.cache().stats().hits - hits, 1);
    connection.close();
    drop(connection);
    assert!(shop.has(1));
}

#[test]
fn what_the_server_refuses_is_declined_and_a_miss() {
    let shop = shop();
    shop.stock(1);
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(1).unwrap());
    let misses = || shop.cache().stats().misses;
    let before = misses();
    connection.decline();
    assert_eq!(misses() - before, 1);
    connection.decline();
    assert_eq!(misses() - before, 1, "there is nothing left to decline");
    connection.finish();
    assert!(!connection.reused() && connection.session().is_none());
    drop(connection);
    assert!(shop.has(1), "the cache keeps it");
    assert_eq!(shop.gone(), []);
}

#[test]
fn a_client_claims_what_it_used_and_goes_on_with_it_either_way() {
    let shop = shop();
    shop.stock(1);
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(1).unwrap());
    connection.finish();
    assert!(connection.claim());
    assert!(!shop.has(1));
    assert!(connection.reused() && connection.session().is_some());
    // It is gone now.
    assert!(!connection.claim());
    assert!(connection.reused() && connection.session().is_some());
    connection.close();
    assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
    // What only an external store has is used up all the same, and that store hears of it once.
    let mut connection = shop.connect();
    connection.offer(session(&shop.rig.context, 2));
    assert!(connection.claim());
    assert_eq!(connection.session().map(number), Some(2));
    assert!(!connection.claim());
    assert_eq!(shop.gone(), [(2, RemovalCause::Removed)]);
}

/// `SSL_set_session` on a connection that was not shut down.
#[test]
fn another_offer_on_a_finished_connection_is_an_unclean_end_of_the_first() {
    let shop = shop();
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 1));
    connection.offer(session(&shop.rig.context, 2));
    assert!(!shop.has(1));
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    assert_eq!(connection.session().map(number), Some(2));
    // In order, it is none.
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 3));
    connection.close();
    connection.offer(session(&shop.rig.context, 4));
    assert!(shop.has(3));
    // And before the handshake there is nothing to end.
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(3).unwrap());
    connection.offer(session(&shop.rig.context, 5));
    assert!(shop.has(3));
}

#[test]
fn a_client_ends_as_a_server_does() {
    let shop = shop();
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 1));
    drop(connection);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 2));
    connection.fail();
    drop(connection);
    assert_eq!(shop.gone(), [(2, RemovalCause::Removed)]);
    // Dropped before the server has answered.
    shop.stock(3);
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(3).unwrap());
    drop(connection);
    assert!(shop.has(3));
}

#[test]
fn clearing_a_client_that_has_closed_offers_its_session_again() {
    let shop = shop();
    let mut connection = shop.connect();
    assert!(establish(&mut connection, 1));
    connection.close();
    connection.clear();
    assert_eq!(connection.session().map(number), Some(1));
    assert!(!connection.reused());
    assert_eq!(shop.cache().stats().connects, 2);
    connection.finish();
    assert!(connection.reused());
    // Cut off, it is not offered again.
    connection.clear();
    assert!(connection.session().is_none());
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    // Nor is one that has left the cache meanwhile.
    assert!(establish(&mut connection, 2));
    connection.close();
    assert!(shop.rig.remove(2));
    connection.clear();
    assert!(connection.session().is_none());
}

#[test]
fn a_deadline_that_came_with_an_offer_is_passed_on() {
    let shop = shop();
    let end = refrain::Time::from_millis(5000);
    let builder = refrain::Session::builder(&shop.rig.context, id(1)).not_after(end);
    let mut connection = shop.connect();
    connection.offer(builder.build(b"").unwrap());
    let next = connection.session_builder(id(2)).build(b"").unwrap();
    assert_eq!(next.not_after(), end);
}
