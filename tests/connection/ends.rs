//! How a connection ends, and what that means for its session.

use refrain::{Connection, RemovalCause};

use super::common::{id, number};
use super::shop::{Shop, establish, key};

/// A connection that has stored the session of number `n`.
fn established(shop: &Shop, n: u64) -> Connection {
    let mut connection = shop.accept();
    assert!(establish(&mut connection, n));
    connection
}

/// A connection that has resumed the session of number `n`.
fn resumed(shop: &Shop, n: u64) -> Connection {
    let mut connection = shop.accept();
    assert!(connection.resume(key(n)).is_some());
    connection.finish();
    connection
}

#[test]
fn a_close_in_order_keeps_the_session() {
    let shop = Shop::new();
    established(&shop, 1).close();
    resumed(&shop, 1).close();
    assert!(shop.has(1));
    assert_eq!(shop.gone(), []);
}

#[test]
fn an_unclean_end_removes_the_session_once() {
    let shop = Shop::new();
    drop(established(&shop, 1));
    assert!(!shop.has(1));
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    established(&shop, 2).close();
    drop(resumed(&shop, 2));
    assert!(!shop.has(2));
    assert_eq!(shop.gone(), [(2, RemovalCause::Removed)]);
}

#[test]
fn of_many_unclean_ends_of_one_session_the_callback_hears_once() {
    let shop = Shop::new();
    let first = established(&shop, 1);
    let others = [resumed(&shop, 1), resumed(&shop, 1)];
    drop(first);
    drop(others);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
}

#[test]
fn an_unclean_end_removes_the_last_ticket_only() {
    let shop = Shop::new();
    let mut connection = established(&shop, 1);
    assert!(establish(&mut connection, 2));
    drop(connection);
    assert_eq!(shop.gone(), [(2, RemovalCause::Removed)]);
    assert!(shop.has(1));
}

#[test]
fn before_the_handshake_is_finished_an_unclean_end_removes_nothing() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    drop(connection);
    // Nor does the second handshake of a connection.
    let mut connection = resumed(&shop, 1);
    connection.renegotiate();
    assert!(connection.resume(key(1)).is_some());
    drop(connection);
    assert!(shop.has(1));
    assert_eq!(shop.gone(), []);
}

#[test]
fn a_connection_without_a_session_ends_without_a_word() {
    let shop = Shop::new();
    shop.stock(1);
    drop(shop.accept());
    shop.accept().fail();
    shop.accept().close();
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    connection.decline();
    assert!(!connection.reused() && connection.session().is_none());
    connection.finish();
    connection.fail();
    drop(connection);
    assert!(shop.has(1));
    assert_eq!(shop.gone(), []);
}

#[test]
fn a_fatal_alert_removes_the_session_once() {
    let shop = Shop::new();
    let mut connection = established(&shop, 1);
    connection.fail();
    assert!(!shop.has(1));
    connection.fail();
    drop(connection);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    // Even when the close was on its way already, and for a session that was resumed.
    established(&shop, 2).close();
    let mut connection = resumed(&shop, 2);
    connection.close();
    connection.fail();
    drop(connection);
    assert_eq!(shop.gone(), [(2, RemovalCause::Removed)]);
}

#[test]
fn what_was_claimed_is_gone_already_whatever_the_end() {
    let ends: [fn(&mut Connection); 3] = [|_| (), |c| c.fail(), |c| c.close()];
    for end in ends {
        let shop = Shop::new();
        shop.stock(1);
        let mut connection = shop.accept();
        assert!(connection.resume_once(key(1)).is_some() && connection.claim());
        connection.finish();
        end(&mut connection);
        drop(connection);
        assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
    }
}

#[test]
fn what_somebody_else_has_removed_is_not_removed_again() {
    let shop = Shop::new();
    let connection = established(&shop, 1);
    assert!(shop.rig.remove(1));
    drop(connection);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    // Nor is the session that has taken its place.
    let connection = established(&shop, 2);
    shop.stock(2);
    drop(connection);
    assert!(shop.has(2));
    assert_eq!(shop.gone(), []);
}

/// It was never in the cache, but the new callback may have put it into another store.
#[test]
fn what_only_the_new_callback_knows_is_removed_for_it_too() {
    let shop = Shop::with(refrain::CacheMode::SERVER | refrain::CacheMode::NO_INTERNAL_STORE);
    drop(established(&shop, 1));
    assert_eq!(shop.told(), [1]);
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    assert_eq!(shop.cache().stats().never_added, 1);
}

#[test]
fn clearing_a_server_ends_its_connection_and_begins_the_next() {
    let shop = Shop::new();
    let mut connection = established(&shop, 1);
    connection.clear();
    assert_eq!(shop.gone(), [(1, RemovalCause::Removed)]);
    assert!(connection.session().is_none() && !connection.reused());
    assert_eq!(shop.cache().stats().accepts, 2);
    assert!(establish(&mut connection, 2));
    connection.close();
    connection.clear();
    assert!(shop.has(2));
    assert!(connection.session().is_none());
    assert_eq!(connection.resume(key(2)).map(number), Some(2));
    // The next handshake has not begun to prove anything.
    drop(connection);
    assert!(shop.has(2));
    assert_eq!(shop.gone(), []);
    assert_eq!(shop.cache().stats().accepts, 3);
}

#[test]
fn clearing_gives_up_what_the_handshake_was_told() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    connection.forbid_resumption();
    connection.set_server_name(Some("a.example"));
    connection.set_not_after(refrain::Time::from_millis(5000));
    connection.clear();
    let next = connection.session_builder(id(9)).build(b"").unwrap();
    assert_eq!(
        (next.not_after(), next.server_name()),
        (refrain::Time::MAX, None)
    );
    assert!(connection.resume(key(1)).is_some());
    assert!(establish(&mut connection, 2));
    connection.close();
    // And it is in the generation of now.
    shop.cache().invalidate_context(&shop.rig.context).unwrap();
    connection.clear();
    assert_eq!(connection.generation(), shop.rig.context.generation());
    assert!(establish(&mut connection, 3));
    connection.close();
}

#[test]
fn clearing_keeps_the_bound_on_look_ups_and_gives_them_back() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    connection.set_external_lookups(1);
    for _ in 0..3 {
        for n in 1..=3 {
            assert!(connection.resume(key(n)).is_none());
        }
        assert_eq!(shop.asked().len(), 1);
        connection.clear();
    }
}

#[test]
fn debug_shows_no_bytes() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    let session = connection
        .session_builder(id(1))
        .build(b"\xde\xad\xbe\xef secret");
    connection.establish(session.unwrap());
    connection.close();
    let shown = format!("{connection:?}");
    assert!(shown.starts_with("Connection"), "{shown}");
    for bytes in ["secret", "222, 173", "dead", "5a5a", "90, 90"] {
        assert!(!shown.contains(bytes), "{shown}");
    }
}
