//! The getters return what was set, and the setters what was set before.

use std::ffi::c_uint;
use std::sync::Arc;
use std::time::Duration;

use foreign_types::ForeignType;

use openssl::ssl::SslSession;
use refrain::{OnGet, OnNew, OnRemove, SessCounters, Session, Time};

use crate::counts;
use crate::ffi;
use crate::on_both;
use crate::server::{Bench, Installed, Plan, Protocol, Server};
use crate::store::{Ledger, Libssl, Refrain, Store, libssl};

on_both!(size_mode_and_timeout_are_what_was_set);

fn size_mode_and_timeout_are_what_was_set<S: Store>() {
    let mut on = Ledger::<S>::new(60);
    assert_eq!(on.size(), 60);
    assert_eq!(on.set_size(7), 60);
    assert_eq!(on.set_size(60), 7);
    assert_eq!(on.size(), 60);

    // SERVER at first; then every flag there is, and none.
    let mut before = 0x2;
    for mode in [0x0, 0x1, 0x3, 0x82, 0x102, 0x202, 0x302, 0x402, 0x783, 0x2] {
        assert_eq!(on.mode(), before);
        assert_eq!(on.set_mode(mode), before);
        before = mode;
    }
    assert_eq!(on.mode(), 0x2);

    assert_eq!(on.timeout(), 7200, "both have two hours by default");
    assert_eq!(on.set_timeout(300), 7200);
    assert_eq!(on.set_timeout(1_209_600), 300);
    assert_eq!(on.timeout(), 1_209_600);
    on.step("none of it is an event", crate::books::Books::NONE);
}

#[test]
fn the_default_size_is_20480_on_both() {
    let ctx = openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_server()).unwrap();
    assert_eq!(ctx.build().session_cache_size(), 20_480);
    let cache = refrain::SessionCache::builder().build().unwrap();
    assert_eq!(cache.capacity(), 20_480);
}

#[test]
fn the_callbacks_are_what_was_set_in_libssl() {
    let on = Libssl::new(10);
    let ctx = on.ctx().as_ptr();
    // SAFETY: the context is alive.
    let (new, remove, get) = unsafe {
        (
            ffi::SSL_CTX_sess_get_new_cb(ctx),
            ffi::SSL_CTX_sess_get_remove_cb(ctx),
            ffi::SSL_CTX_sess_get_get_cb(ctx),
        )
    };
    assert_eq!(
        new.map(|f| f as usize),
        Some(libssl::on_new as *const () as usize)
    );
    assert_eq!(
        remove.map(|f| f as usize),
        Some(libssl::on_remove as *const () as usize)
    );
    assert!(get.is_none());
}

#[test]
fn the_callbacks_are_what_was_set_in_refrain() {
    let on = Refrain::new(10);
    let new: OnNew = Arc::new(|_| true);
    let get: OnGet = Arc::new(|_| None);
    let remove: OnRemove = Arc::new(|_, _| {});
    assert!(on.cache().on_get().is_none());

    let (before_new, before_remove) = (
        on.cache().on_new().unwrap(),
        on.cache().on_remove().unwrap(),
    );
    let old = on.cache().set_on_new(Some(Arc::clone(&new))).unwrap();
    assert!(Arc::ptr_eq(&old, &before_new));
    assert!(on.cache().set_on_get(Some(Arc::clone(&get))).is_none());
    let old = on.cache().set_on_remove(Some(Arc::clone(&remove))).unwrap();
    assert!(Arc::ptr_eq(&old, &before_remove));

    assert!(Arc::ptr_eq(&on.cache().on_new().unwrap(), &new));
    assert!(Arc::ptr_eq(&on.cache().on_get().unwrap(), &get));
    assert!(Arc::ptr_eq(&on.cache().on_remove().unwrap(), &remove));
    assert!(Arc::ptr_eq(&on.cache().set_on_get(None).unwrap(), &get));
    assert!(on.cache().on_get().is_none());
}

#[test]
fn a_session_of_libssl_is_what_it_was_made_of() {
    let on = Libssl::new(10);
    let session = on.raw_session(&[7, 8, 9], 1000, 500);
    let raw = session.as_ptr();
    assert_eq!(session.id(), [7, 8, 9]);
    // SAFETY: the session is alive, and so are the bytes.
    unsafe {
        assert_eq!(openssl_sys::SSL_SESSION_get_time(raw) as i64, 1000);
        assert_eq!(openssl_sys::SSL_SESSION_get_timeout(raw) as i64, 500);
        let too_long = [0; 33];
        assert_eq!(
            ffi::SSL_SESSION_set1_id(raw, too_long.as_ptr(), too_long.len() as c_uint),
            0
        );
        let copy = SslSession::from_ptr(ffi::SSL_SESSION_dup(raw));
        assert_eq!(copy.id(), [7, 8, 9]);
    }
    assert_eq!(session.id(), [7, 8, 9]);
}

#[test]
fn a_session_of_refrain_is_what_it_was_built_of() {
    let on = Refrain::new(10);
    let session = Session::builder(on.context(), refrain::SessionId::new(&[7, 8, 9]).unwrap())
        .timeout(Duration::from_secs(500))
        .not_after(Time::from_millis(400_000))
        .tag(11)
        .server_name("localhost")
        .build(b"payload")
        .unwrap();
    assert_eq!(session.id(), [7, 8, 9]);
    assert_eq!(session.timeout(), Some(Duration::from_secs(500)));
    assert_eq!(session.not_after(), Time::from_millis(400_000));
    assert_eq!(session.tag(), 11);
    assert_eq!(session.server_name(), Some("localhost"));
    assert_eq!(session.payload(), b"payload");
    assert_eq!(session.deadline(), Time::ZERO, "it was not added yet");
    on.clock().set(Time::from_millis(1000));
    assert!(on.add(&session));
    assert_eq!(session.deadline(), Time::from_millis(400_000));
    assert!(refrain::SessionId::new(&[0; 33]).is_err());
}

#[test]
fn an_installed_context_says_what_it_was_installed_with() {
    let mut plan = Plan::new(Protocol::Tls1_2);
    plan.timeout = Some(300);
    let on = Bench::<Installed>::new(plan);
    let ctx = on.ctx().as_ptr();
    // SAFETY: the context is alive; the control only reads.
    let (timeout, mode) = unsafe {
        let control = ffi::SSL_CTRL_GET_SESS_CACHE_MODE;
        (
            ffi::SSL_CTX_get_timeout(ctx),
            openssl_sys::SSL_CTX_ctrl(ctx, control, 0, std::ptr::null_mut()),
        )
    };
    assert_eq!(timeout, 300);
    // SERVER, NO_INTERNAL, NO_AUTO_CLEAR: libssl is to keep nothing of its own.
    assert_eq!(mode, 0x382);
    let link = on.connect(None);
    assert_eq!(libssl::context_of(&link.server_session()), b"semantics");
    link.close();
    on.connect(None).close();
    let counters = SessCounters::of(on.ctx());
    assert_eq!((counters.accept, counters.accept_good), (2, 2));
    assert_eq!(
        libssl::counters(on.ctx()),
        counts!(accept: 2, accept_good: 2)
    );
}
