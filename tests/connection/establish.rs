//! What a handshake stores, and what it passes on.

use std::sync::Arc;

use refrain::{RemovalCause, Session, Time};

use super::common::{id, number, secs};
use super::shop::{Shop, establish, key};

#[test]
fn each_ticket_is_stored_told_of_and_the_connections_session_from_then_on() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    for n in 1..=3 {
        assert!(establish(&mut connection, n));
        assert_eq!(connection.session().map(number), Some(n));
        assert_eq!(shop.told(), [n]);
    }
    // The cache's reference and the connection's.
    assert_eq!(connection.session().unwrap().references(), 2);
    connection.close();
    drop(connection);
    assert!((1..=3).all(|n| shop.has(n)));
    assert_eq!(shop.gone(), []);
}

#[test]
fn establishing_finishes_the_handshake_and_finishing_counts_once() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    let good = || shop.cache().stats().accepts_good;
    assert_eq!(good(), 0);
    assert!(establish(&mut connection, 1));
    assert_eq!(good(), 1);
    assert!(establish(&mut connection, 2));
    connection.finish();
    connection.finish();
    assert_eq!(good(), 1);
    connection.close();
}

#[test]
fn a_new_callback_that_refuses_has_the_session_removed() {
    let shop = Shop::new();
    shop.cache().set_on_new(Some(Arc::new(|_: &Session| false)));
    let mut connection = shop.accept();
    assert!(!establish(&mut connection, 1));
    assert!(!shop.has(1));
    assert_eq!(
        connection.session().map(number),
        Some(1),
        "this connection still has it"
    );
    drop(connection);
    // Removed once, whatever the end.
    assert_eq!(shop.gone(), [(1, RemovalCause::Refused)]);
}

#[test]
fn a_new_callback_that_panics_costs_nothing() {
    let shop = Shop::new();
    shop.cache()
        .set_on_new(Some(Arc::new(|_: &Session| -> bool {
            std::panic::resume_unwind(Box::new("the store's"))
        })));
    let mut connection = shop.accept();
    assert!(establish(&mut connection, 1));
    connection.close();
    assert!(shop.has(1));
    assert_eq!(shop.cache().stats().callback_panics, 1);
}

#[test]
fn a_context_invalidated_during_the_handshake_keeps_its_session_out() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    let before = connection.generation();
    assert_eq!(before, shop.rig.context.generation());
    shop.cache().invalidate_context(&shop.rig.context).unwrap();
    assert_eq!(connection.generation(), before);
    assert_ne!(shop.rig.context.generation(), before);
    assert!(!establish(&mut connection, 1));
    assert_eq!(shop.told(), []);
    assert!(shop.cache().is_empty());
    connection.close();
    // The next handshake is of the new generation.
    let mut next = shop.accept();
    assert!(establish(&mut next, 2));
    assert!(next.session().is_some() && shop.has(2));
    next.close();
}

#[test]
fn a_session_begun_before_an_invalidation_does_not_slip_in_after_it() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    let session = connection.session_builder(id(1)).build(b"").unwrap();
    shop.cache().invalidate_context(&shop.rig.context).unwrap();
    assert!(!connection.establish(session));
    assert!(!shop.has(1));
    assert!(shop.accept().resume(key(1)).is_none());
    assert_eq!(shop.told(), []);
    connection.close();
}

#[test]
fn a_renegotiation_does_not_move_the_generation() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    assert!(establish(&mut connection, 1));
    shop.cache().invalidate_context(&shop.rig.context).unwrap();
    connection.renegotiate();
    assert!(!establish(&mut connection, 2));
    connection.close();
}

#[test]
fn a_connection_that_must_not_be_resumed_stores_nothing_and_tells_nobody() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    connection.forbid_resumption();
    assert!(!establish(&mut connection, 1));
    assert_eq!(connection.session().map(number), Some(1));
    assert_eq!(shop.cache().stats().accepts_good, 1);
    drop(connection);
    let mut failed = shop.accept();
    failed.forbid_resumption();
    assert!(!establish(&mut failed, 2));
    failed.fail();
    assert!(shop.cache().is_empty());
    assert_eq!((shop.told(), shop.gone()), (vec![], vec![]));
}

#[test]
fn an_authentication_deadline_follows_the_chain_of_resumptions() {
    let shop = Shop::new();
    let end = Time::from_millis(100_000);
    let first = Session::builder(&shop.rig.context, id(1)).not_after(end);
    assert!(shop.cache().add(first.build(b"").unwrap()).is_cached());
    for n in 1..=3 {
        shop.rig.advance(secs(25));
        let mut connection = shop.accept();
        assert!(connection.resume_once(key(n)).is_some(), "number {n}");
        assert!(connection.claim());
        assert!(establish(&mut connection, n + 1));
        let session = connection.session().unwrap();
        assert_eq!((session.not_after(), session.deadline()), (end, end));
        connection.close();
    }
    shop.rig.advance(secs(25));
    assert!(shop.accept().resume_once(key(4)).is_none());
}

#[test]
fn of_its_own_deadline_and_an_inherited_one_the_earlier_counts() {
    let shop = Shop::new();
    let time = Time::from_millis;
    let old = Session::builder(&shop.rig.context, id(1)).not_after(time(5000));
    assert!(shop.cache().add(old.build(b"").unwrap()).is_cached());
    for (own, earlier) in [(4000, 4000), (5000, 5000), (6000, 5000)] {
        let mut connection = shop.accept();
        connection.set_not_after(time(own));
        let alone = connection.session_builder(id(2)).build(b"").unwrap();
        assert_eq!(alone.not_after(), time(own));
        assert!(connection.resume(key(1)).is_some());
        let next = connection.session_builder(id(2)).build(b"").unwrap();
        assert_eq!(next.not_after(), time(earlier));
    }
}

/// A second handshake on the connection, which is a full one, authenticates anew.
#[test]
fn a_renegotiation_begins_with_nothing_resumed() {
    let shop = Shop::new();
    let end = Time::from_millis(5000);
    let old = Session::builder(&shop.rig.context, id(1)).not_after(end);
    assert!(shop.cache().add(old.build(b"").unwrap()).is_cached());
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    connection.finish();
    assert!(connection.reused());
    connection.renegotiate();
    assert!(!connection.reused());
    assert_eq!(
        connection.session().map(number),
        Some(1),
        "until there is another"
    );
    assert!(establish(&mut connection, 2));
    assert_eq!(connection.session().map(number), Some(2));
    assert_eq!(connection.session().unwrap().not_after(), Time::MAX);
    connection.close();
}

#[test]
fn a_session_that_was_not_resumed_passes_nothing_on() {
    let shop = Shop::new();
    let end = Time::from_millis(100_000);
    let built = |connection: &refrain::Connection| {
        let session = connection.session_builder(id(9)).build(b"").unwrap();
        session.not_after()
    };
    let offered = Session::builder(&shop.rig.context, id(1)).not_after(end);
    assert!(shop.cache().add(offered.build(b"").unwrap()).is_cached());
    let mut connection = shop.accept();
    assert!(connection.resume(key(1)).is_some());
    assert_eq!(built(&connection), end);
    connection.decline();
    assert_eq!(built(&connection), Time::MAX);
    assert!(connection.resume(key(1)).is_some());
    assert!(connection.resume(key(2)).is_none());
    assert_eq!(built(&connection), Time::MAX);
    // Found, and lost to another before it was claimed.
    assert!(connection.resume_once(key(1)).is_some());
    shop.rig.remove(1);
    assert!(!connection.claim());
    assert_eq!(built(&connection), Time::MAX);
}

#[test]
fn a_session_that_can_not_be_kept_is_not_offered_elsewhere() {
    let shop = Shop::new();
    let mut connection = shop.accept();
    let builder = connection.session_builder(id(1)).timeout(secs(0));
    let stillborn = builder.build(b"").unwrap();
    assert!(!connection.establish(stillborn));
    let large = connection.session_builder(id(2)).build(&[0; 1 << 17]);
    assert!(!connection.establish(large.unwrap()));
    assert_eq!(shop.told(), []);
    connection.close();
}

#[test]
fn a_session_of_the_same_id_replaces_the_one_before() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    assert!(establish(&mut connection, 1));
    connection.close();
    drop(connection);
    assert_eq!(shop.cache().len(), 1);
    assert_eq!(shop.cache().stats().replaced, 1);
    assert_eq!(shop.gone(), []);
}
