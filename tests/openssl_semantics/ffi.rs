//! What libssl has and the crates openssl and openssl-sys do not. Every function here is in 1.1.1 as in 4.x, but for
//! those that say otherwise.

#![allow(
    unexpected_cfgs,
    reason = "only an untested build sets refrain_openssl_111"
)]

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_ulong, c_void};

use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};

pub(crate) const SSL_CTRL_GET_SESS_CACHE_MODE: c_int = 45;
pub(crate) const SSL_CTRL_SET_TLSEXT_TICKET_KEYS: c_int = 59;
pub(crate) const SSL_SESS_CACHE_UPDATE_TIME: c_long = 0x400;
pub(crate) const CRYPTO_EX_INDEX_SSL_SESSION: c_int = 2;
pub(crate) const SSL_EARLY_DATA_REJECTED: c_int = 1;
pub(crate) const SSL_EARLY_DATA_ACCEPTED: c_int = 2;
/// Since 3.0; what it allows was allowed before.
pub(crate) const SSL_OP_ALLOW_CLIENT_RENEGOTIATION: u64 = 1 << 8;
pub(crate) const SSL_OP_NO_ANTI_REPLAY: u64 = 1 << 24;
pub(crate) const SSL_OP_DISABLE_TLSEXT_CA_NAMES: u64 = 1 << 9;

/// As openssl-sys declares the callbacks when they are set.
pub(crate) type OnNew = unsafe extern "C" fn(*mut SSL, *mut SSL_SESSION) -> c_int;
pub(crate) type OnRemove = unsafe extern "C" fn(*mut SSL_CTX, *mut SSL_SESSION);
pub(crate) type OnGet =
    unsafe extern "C" fn(*mut SSL, *const c_uchar, c_int, *mut c_int) -> *mut SSL_SESSION;
pub(crate) type OnForwardSecure = unsafe extern "C" fn(*mut SSL, c_int) -> c_int;
pub(crate) type OnEarlyData = unsafe extern "C" fn(*mut SSL, *mut c_void) -> c_int;

/// `CRYPTO_EX_new` and `CRYPTO_EX_free`. What the former returns is ignored where it returns anything.
pub(crate) type ExEvent = unsafe extern "C" fn(
    parent: *mut c_void,
    value: *mut c_void,
    data: *mut c_void,
    index: c_int,
    argl: c_long,
    argp: *mut c_void,
);
/// `CRYPTO_EX_dup`: `from_d` points to the value, whatever the version declares it as.
pub(crate) type ExDup = unsafe extern "C" fn(
    to: *mut c_void,
    from: *const c_void,
    from_d: *mut *mut c_void,
    index: c_int,
    argl: c_long,
    argp: *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(crate) fn CRYPTO_get_ex_new_index(
        class: c_int,
        argl: c_long,
        argp: *mut c_void,
        on_new: Option<ExEvent>,
        on_dup: Option<ExDup>,
        on_free: Option<ExEvent>,
    ) -> c_int;

    pub(crate) fn SSL_CTX_sessions(ctx: *mut SSL_CTX) -> *mut c_void;
    pub(crate) fn OPENSSL_LH_retrieve(table: *mut c_void, like: *const c_void) -> *mut c_void;
    pub(crate) fn SSL_CTX_sess_get_new_cb(ctx: *mut SSL_CTX) -> Option<OnNew>;
    pub(crate) fn SSL_CTX_sess_get_remove_cb(ctx: *mut SSL_CTX) -> Option<OnRemove>;
    pub(crate) fn SSL_CTX_sess_get_get_cb(ctx: *mut SSL_CTX) -> Option<OnGet>;
    pub(crate) fn SSL_CTX_set_timeout(ctx: *mut SSL_CTX, seconds: c_long) -> c_long;
    pub(crate) fn SSL_CTX_get_timeout(ctx: *const SSL_CTX) -> c_long;
    pub(crate) fn SSL_CTX_flush_sessions(ctx: *mut SSL_CTX, time: c_long);
    pub(crate) fn SSL_CTX_set_not_resumable_session_callback(
        ctx: *mut SSL_CTX,
        f: Option<OnForwardSecure>,
    );
    pub(crate) fn SSL_CTX_set_allow_early_data_cb(
        ctx: *mut SSL_CTX,
        f: Option<OnEarlyData>,
        arg: *mut c_void,
    );
    pub(crate) fn SSL_CTX_set_post_handshake_auth(ctx: *mut SSL_CTX, on: c_int);

    pub(crate) fn SSL_has_matching_session_id(
        ssl: *const SSL,
        id: *const c_uchar,
        len: c_uint,
    ) -> c_int;
    pub(crate) fn SSL_set_session_id_context(
        ssl: *mut SSL,
        context: *const c_uchar,
        len: c_uint,
    ) -> c_int;
    pub(crate) fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
    pub(crate) fn SSL_renegotiate_abbreviated(ssl: *mut SSL) -> c_int;
    pub(crate) fn SSL_clear(ssl: *mut SSL) -> c_int;
    pub(crate) fn SSL_verify_client_post_handshake(ssl: *mut SSL) -> c_int;
    pub(crate) fn SSL_get_early_data_status(ssl: *const SSL) -> c_int;

    pub(crate) fn SSL_SESSION_new() -> *mut SSL_SESSION;
    pub(crate) fn SSL_SESSION_dup(src: *mut SSL_SESSION) -> *mut SSL_SESSION;
    pub(crate) fn SSL_SESSION_set1_id(
        session: *mut SSL_SESSION,
        id: *const c_uchar,
        len: c_uint,
    ) -> c_int;
    pub(crate) fn SSL_SESSION_get0_id_context(
        session: *const SSL_SESSION,
        len: *mut c_uint,
    ) -> *const c_uchar;
    pub(crate) fn SSL_SESSION_set1_id_context(
        session: *mut SSL_SESSION,
        context: *const c_uchar,
        len: c_uint,
    ) -> c_int;
    pub(crate) fn SSL_SESSION_set_protocol_version(
        session: *mut SSL_SESSION,
        version: c_int,
    ) -> c_int;
    pub(crate) fn SSL_SESSION_set_time(session: *mut SSL_SESSION, time: c_long) -> c_long;
    pub(crate) fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, seconds: c_long) -> c_long;
    pub(crate) fn SSL_SESSION_is_resumable(session: *const SSL_SESSION) -> c_int;
    pub(crate) fn SSL_SESSION_get_ticket_lifetime_hint(session: *const SSL_SESSION) -> c_ulong;
    pub(crate) fn SSL_SESSION_set_ex_data(
        session: *mut SSL_SESSION,
        index: c_int,
        value: *mut c_void,
    ) -> c_int;
}

/// Asks for one more ticket: since 3.0, so `None` before. Whoever builds against 1.1.1 says so by
/// `--cfg refrain_openssl_111`; no test runs on it.
///
/// # Safety
///
/// The `SSL` is alive.
pub(crate) unsafe fn new_session_ticket(ssl: *mut SSL) -> Option<c_int> {
    #[cfg(not(refrain_openssl_111))]
    {
        unsafe extern "C" {
            fn SSL_new_session_ticket(ssl: *mut SSL) -> c_int;
        }
        // SAFETY: the caller's promise.
        Some(unsafe { SSL_new_session_ticket(ssl) })
    }
    #[cfg(refrain_openssl_111)]
    {
        let _ = ssl;
        None
    }
}
