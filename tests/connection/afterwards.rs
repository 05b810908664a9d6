//! What a call means once the connection has gone past the moment that it is meant for.

use refrain::{CacheMode, RemovalCause};

use super::common::{number, secs};
use super::shop::{Shop, establish, key};

#[test]
fn a_client_can_not_claim_what_has_expired_in_its_own_cache() {
    let shop = Shop::with(CacheMode::CLIENT);
    assert!(shop.rig.add_for(1, secs(1)).is_cached());
    let mut connection = shop.connect();
    connection.offer(shop.rig.get(1).unwrap());
    shop.rig.advance(secs(5));
    assert!(!connection.claim());
    assert_eq!(shop.gone(), [(1, RemovalCause::Expired)]);
}

#[test]
fn a_claim_after_the_handshake_has_made_its_own_session_takes_none() {
    for client in [false, true] {
        let shop = Shop::with(CacheMode::BOTH);
        shop.stock(1);
        let mut connection = if client {
            let mut connection = shop.connect();
            connection.offer(shop.rig.get(1).unwrap());
            connection
        } else {
            let mut connection = shop.accept();
            assert!(connection.resume(key(1)).is_some());
            connection
        };
        assert!(establish(&mut connection, 2));
        assert!(!connection.claim(), "client: {client}");
        assert!(shop.has(1) && shop.has(2), "client: {client}");
        assert_eq!(connection.session().map(number), Some(2));
        assert!(connection.reused());
        connection.close();
        drop(connection);
        assert_eq!(shop.gone(), []);
    }
}

#[test]
fn a_further_handshake_that_finds_nothing_leaves_the_session_there_was() {
    for once in [false, true] {
        let shop = Shop::new();
        let mut connection = shop.accept();
        assert!(establish(&mut connection, 1));
        connection.renegotiate();
        let found = if once {
            connection.resume_once(key(9)).is_some()
        } else {
            connection.resume(key(9)).is_some()
        };
        assert!(!found);
        assert_eq!(connection.session().map(number), Some(1));
        assert!(!connection.reused());
        connection.finish();
        // It is still the connection's own, so a bad end is its end.
        drop(connection);
        assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    }
}

#[test]
fn a_look_up_on_a_finished_connection_that_finds_nothing_leaves_the_session_there_was() {
    let shop = Shop::new();
    shop.stock(4);
    let mut connection = shop.accept();
    assert!(connection.resume(key(4)).is_some());
    connection.finish();
    assert!(connection.resume(key(9)).is_none());
    assert_eq!(connection.session().map(number), Some(4));
    drop(connection);
    assert_eq!(shop.gone(), [(4, RemovalCause::Removed)]);
}

#[test]
fn there_is_nothing_to_decline_about_a_session_of_its_own() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    assert!(establish(&mut connection, 1));
    connection.decline();
    assert_eq!(connection.session().map(number), Some(1));
    drop(connection);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
}

#[test]
fn a_session_that_was_never_stored_leaves_without_a_word() {
    type Refusal = (&'static str, fn(&Shop));
    let refusals: [Refusal; 3] = [
        ("its context was invalidated", |shop| {
            shop.cache().invalidate_context(&shop.rig.context).unwrap();
        }),
        ("the mode is off", |shop| {
            shop.cache().set_mode(CacheMode::OFF);
        }),
        ("it has no time", |shop| {
            shop.cache().set_timeout(secs(0));
        }),
    ];
    let ends: [fn(&mut refrain::Connection); 2] = [|_| (), |connection| connection.fail()];
    for (why, refuse) in refusals {
        for end in ends {
            let shop = Shop::new();
            let mut connection = shop.accept();
            refuse(&shop);
            assert!(!establish(&mut connection, 1), "{why}");
            end(&mut connection);
            drop(connection);
            assert_eq!(shop.told(), [], "{why}");
            assert_eq!(shop.gone(), [], "{why}");
            assert_eq!(shop.cache().stats().never_added, 0, "{why}");
        }
    }
}
