//! What comes from an external store.

use std::ffi::c_long;
use std::sync::{Arc, Mutex};

use foreign_types::ForeignType;
use openssl::ssl::{SslSession, SslSessionRef};
use refrain::Session;

use super::{EXPIRED_EXTERNAL, EXTERNAL_ANTI_REPLAY};
use crate::books::Books;
use crate::counts;
use crate::ffi;
use crate::log::lock;
use crate::server::{Bench, Installed, Own, Plan, Protocol, Server};
use crate::store::libssl;

/// A server of TLS 1.2 with an external store, which has an expired session that the cache has not; and the client's.
fn with_expired<S: Server>(update_time: bool) -> (Bench<S>, SslSession) {
    let mut plan = Plan::new(Protocol::Tls1_2);
    plan.external = true;
    if update_time {
        plan.mode |= ffi::SSL_SESS_CACHE_UPDATE_TIME as u32;
    }
    let mut on = Bench::<S>::new(plan);
    let link = on.connect(None);
    let (session, stored) = (link.client_session(), link.server_session());
    let outside = libssl::duplicate(&stored);
    link.close();
    assert!(on.remove(&stored));
    // SAFETY: the session is alive, and in no cache.
    unsafe {
        let past = libssl::now() - 10_000 as c_long;
        assert_eq!(ffi::SSL_SESSION_set_time(outside.as_ptr(), past), past);
    }
    on.log().store(outside.id(), &outside.to_der().unwrap());
    on.log().set_supply(Some(outside));
    on.settle();
    (on, session)
}

#[test]
fn expired_session_from_the_external_cache() {
    EXPIRED_EXTERNAL.quote();
    let asked = counts!(misses: 1, get: 1, cb_hits: 1);
    let full = Books::ACCEPTED + counts!(new: 1, number: 1);

    let (mut on, session) = with_expired::<Own>(false);
    let link = on.connect(Some(&session));
    assert!(!link.reused());
    on.step(
        "stored, found expired, removed",
        asked + full + counts!(timeouts: 1, remove: 1),
    );
    link.close();
    let (mut on, session) = with_expired::<Own>(true);
    let link = on.connect(Some(&session));
    assert!(link.reused(), "storing it has revived it");
    on.step(
        "resumed",
        asked + Books::ACCEPTED + counts!(hits: 1, number: 1),
    );
    link.close();

    for update_time in [false, true] {
        let (mut on, session) = with_expired::<Installed>(update_time);
        let link = on.connect(Some(&session));
        assert!(!link.reused());
        on.step("not even stored", asked + full + counts!(timeouts: 1));
        link.close();
    }
}

/// A server of TLS 1.3 whose sessions work once, and the ticket of a client. The external store has the session.
fn single_use<S: Server>(internal: bool) -> (Bench<S>, impl Fn() -> SslSession) {
    let mut plan = Plan::new(Protocol::Tls1_3);
    plan.external = true;
    plan.anti_replay = true;
    plan.ctx.set_max_early_data(16_384).unwrap();
    if !internal {
        plan.mode |= openssl_sys::SSL_SESS_CACHE_NO_INTERNAL as u32;
    }
    let mut on = Bench::<S>::new(plan);
    let link = on.connect(None);
    let bytes = link.client_session().to_der().unwrap();
    let stored = link.server_session();
    on.log().set_supply(Some(fresh(&stored)));
    link.close();
    on.settle();
    (on, move || SslSession::from_der(&bytes).unwrap())
}

/// A session as an external store makes it: an object of its own.
fn fresh(session: &SslSessionRef) -> SslSession {
    SslSession::from_der(&session.to_der().unwrap()).unwrap()
}

#[test]
fn anti_replay_with_an_external_cache() {
    EXTERNAL_ANTI_REPLAY.quote();
    // libssl's anti-replay needs its own cache: without it, nothing ever resumes, though the store may hand it out once.
    let (mut on, ticket) = single_use::<Own>(false);
    let link = on.connect(Some(&ticket()));
    assert!(!link.reused());
    on.step(
        "refused",
        Books::ACCEPTED + counts!(get: 1, cb_hits: 1, remove: 1, new: 2),
    );
    link.close();
    // With it, a store that hands out fresh objects lets a ticket resume again and again.
    let (on, ticket) = single_use::<Own>(true);
    for _ in 0..3 {
        let stored = on.log().supply().unwrap();
        on.log().set_supply(Some(fresh(&stored)));
        let link = on.connect(Some(&ticket()));
        assert!(link.reused());
        link.close();
    }
    on.log().set_supply(None);
    let books = on.books();
    assert_eq!(
        (books.cb_hits, books.hits),
        (2, 3),
        "the first time it was inside"
    );

    // Refrain's single use is the store's: it is told, and what it hands out is resumed, with a cache inside or without.
    for internal in [false, true] {
        let (mut on, ticket) = single_use::<Installed>(internal);
        let id = on.log().supply().unwrap().id().to_vec();
        let bytes = on.log().stored(&id).unwrap();
        let store = Arc::new(Mutex::new(Some(bytes)));
        on.cache().set_on_get(Some(Arc::new(move |lookup| {
            assert!(lookup.single_use);
            let bytes = lock(&store).take_if(|_| lookup.id.as_bytes() == id)?;
            Session::new(lookup.context, *lookup.id, &bytes).ok()
        })));
        let stored = on.by(EXTERNAL_ANTI_REPLAY, 0, i64::from(internal));
        if internal {
            // So that it has to be asked for.
            assert!(on.remove(&on.log().supply().unwrap()));
            on.settle();
        }
        let link = on.connect(Some(&ticket()));
        assert!(link.reused());
        let misses = i64::from(internal);
        on.step(
            "once",
            Books::ACCEPTED + counts!(misses, cb_hits: 1, hits: 1, new: 1, number: stored),
        );
        link.close();
        let link = on.connect(Some(&ticket()));
        assert!(!link.reused());
        on.step(
            "and not again",
            Books::ACCEPTED + counts!(misses, new: 2, number: 2 * stored),
        );
        link.close();
    }
}
