//! Which sessions are the same.

use std::ffi::c_uint;
use std::time::Duration;

use foreign_types::ForeignTypeRef;
use refrain::{Added, ContextId, Error, Session, SessionId};

use super::{KEY, OTHER_OBJECT, SAME_OBJECT, ZERO_LENGTH_ID};
use crate::counts;
use crate::ffi;
use crate::store::{Ledger, Libssl, Refrain, Store};
use crate::version::{SORTS_BY_EXPIRY, re_adding_moves, version};

#[test]
fn same_object_added_again() {
    SAME_OBJECT.quote();
    // Both answer no, and count nothing: that is in the scripts. But libssl may move it in its list.
    let on = Libssl::new(3);
    let (first, second) = (on.session(1, 500), on.session(2, 500));
    assert!(on.add(&first) && on.add(&second));
    assert!(!on.add(&first));
    assert!(on.add(&on.session(3, 900)));
    let gone = on.log().removed();
    if version() >= SORTS_BY_EXPIRY && re_adding_moves() {
        assert_eq!(gone, [[2; 32]], "the first counts as the newer one now");
    } else if version() >= SORTS_BY_EXPIRY {
        assert_eq!(gone, [[1; 32]]);
    }
    // Under UPDATE_TIME, its time begins anew.
    on.set_mode(on.mode() | ffi::SSL_SESS_CACHE_UPDATE_TIME as u32);
    let old = on.aged(4, 500, 1000);
    let on = Libssl::new(10);
    assert!(on.add(&old));
    on.set_mode(on.mode() | ffi::SSL_SESS_CACHE_UPDATE_TIME as u32);
    assert!(!on.add(&old));
    on.flush(900);
    assert!(on.has(4));

    let on = Refrain::new(2);
    on.set_mode(on.mode() | ffi::SSL_SESS_CACHE_UPDATE_TIME as u32);
    let (first, second) = (on.aged(1, 0, 500), on.aged(2, 0, 500));
    assert!(on.add(&first) && on.add(&second));
    let deadline = first.deadline();
    on.clock().advance(Duration::from_secs(100));
    assert_eq!(on.cache().add(first.clone()), Added::AlreadyPresent);
    assert_eq!(first.deadline(), deadline, "nothing was done");
    assert!(on.add(&on.session(3, 900)));
    on.books();
    assert_eq!(on.log().removed(), [[1; 32]], "it is as old as before");
}

#[test]
fn other_object_same_id() {
    OTHER_OBJECT.quote();
    // Both replace in silence: that is in the scripts. In libssl the one that was replaced may come back.
    let mut on = Ledger::<Libssl>::new(10);
    let (old, new) = (on.session(1, 100), on.session(1, 200));
    assert!(on.add(&old) && on.add(&new));
    assert!(on.is_resumable(&old), "as if nothing had happened");
    assert!(on.add(&old));
    on.flush(150);
    on.step("the old one was in, and has expired", counts!(remove: 1));

    let mut on = Ledger::<Refrain>::new(10);
    let (old, new) = (on.session(1, 100), on.session(1, 200));
    assert_eq!(on.cache().add(old.clone()), Added::Inserted);
    assert_eq!(on.cache().add(new), Added::Replaced);
    assert!(!on.is_resumable(&old), "its life is over");
    assert_eq!(on.cache().add(old.clone()), Added::Removed);
    assert_eq!(on.cache().stats().replaced, 1);
    on.flush(150);
    on.step("the new one is in", counts!(number: 1));
}

#[test]
fn key() {
    KEY.quote();
    // The version belongs to libssl's key, the context does not.
    let on = Libssl::new(10);
    let (one, other) = (on.session(1, 100), on.session(1, 100));
    // SAFETY: both are alive, and not in a cache yet.
    unsafe {
        let tls12 = openssl_sys::TLS1_2_VERSION;
        assert_eq!(
            ffi::SSL_SESSION_set_protocol_version(one.as_ptr(), tls12),
            1
        );
    }
    assert!(on.add(&one) && on.add(&other));
    assert_eq!(on.books().number, 2);
    let in_context = on.session(1, 100);
    let context = b"another";
    // SAFETY: the session is alive and not in a cache yet; the bytes are alive, and as many.
    unsafe {
        let set = ffi::SSL_SESSION_set1_id_context(
            in_context.as_ptr(),
            context.as_ptr(),
            context.len() as c_uint,
        );
        assert_eq!(set, 1);
    }
    assert!(on.add(&in_context));
    assert_eq!(on.books().number, 2, "it took the other one's place");

    // Refrain's key is the context and the id.
    let on = Refrain::new(10);
    let another = on
        .cache()
        .context(ContextId::new(context).unwrap())
        .unwrap();
    let id = Refrain::id(1);
    assert!(on.add(&on.session(1, 100)));
    let in_context = Session::new(&another, id, b"another payload").unwrap();
    assert_eq!(on.cache().add(in_context.clone()), Added::Inserted);
    assert_eq!(on.books().number, 2);
    let found = on.cache().get(&another, &id).unwrap();
    assert!(found.is_same(&in_context));
    assert_eq!(
        on.cache().get(on.context(), &id).unwrap().payload(),
        b"payload"
    );
}

#[test]
fn zero_length_id() {
    ZERO_LENGTH_ID.quote();
    // libssl takes it in, cannot remove it, and cannot evict past it: the size no longer bounds anything.
    let on = Libssl::new(3);
    let nameless = on.raw_session(&[], on.epoch(), 1);
    assert!(on.add(&nameless));
    assert!(!on.remove(&nameless));
    for id in 1..=8 {
        assert!(on.add(&on.session(id, 1000)));
    }
    if version() >= SORTS_BY_EXPIRY {
        assert_eq!(on.books().number, 9);
    }

    assert_eq!(SessionId::new(&[]).unwrap_err(), Error::IdLength { len: 0 });
}
