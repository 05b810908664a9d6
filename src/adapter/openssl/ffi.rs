//! What the crate openssl lacks of libssl's interface, 1.1.1 to 4.x.
//!
//! Types are narrowed to what every version has: where a version widened a return value, the bits that are used here are
//! the same.

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_void};

use openssl_sys::{SSL, SSL_CIPHER, SSL_CTX, SSL_SESSION};

/// `SSL_OP_NO_ANTI_REPLAY`: single use is the application's business.
pub(super) const NO_ANTI_REPLAY: u64 = 1 << 24;
/// `SSL_OP_NO_TICKET`.
pub(super) const NO_TICKET: u64 = 1 << 14;
/// `ERR_LIB_SSL`.
pub(super) const ERR_LIB_SSL: c_int = 20;
/// `SSL_R_UNEXPECTED_EOF_WHILE_READING`, since 3.0.
pub(super) const UNEXPECTED_EOF: c_int = 294;
/// `TLSEXT_TYPE_server_name`.
pub(super) const SERVER_NAME: c_uint = 0;
/// `TLSEXT_TYPE_early_data`.
pub(super) const EARLY_DATA: c_uint = 42;

const CRYPTO_EX_INDEX_SSL: c_int = 0;
const CRYPTO_EX_INDEX_SSL_SESSION: c_int = 2;

/// The first and the last of `SSL_CTRL_SESS_NUMBER` and its siblings.
pub(super) const CTRL_SESS: std::ops::RangeInclusive<c_int> = 20..=31;

/// `GEN_SESSION_CB`.
pub(super) type Generate = unsafe extern "C" fn(*mut SSL, *mut c_uchar, *mut c_uint) -> c_int;
/// `CRYPTO_EX_new`, and `CRYPTO_EX_free`, which has the same type.
type ExChange =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, c_int, c_long, *mut c_void);
/// `CRYPTO_EX_dup`. The third argument points to the pointer that will be stored, whatever its declared type.
type ExDup = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    *mut *mut c_void,
    c_int,
    c_long,
    *mut c_void,
) -> c_int;

unsafe extern "C" {
    pub(super) fn SSL_get_options(ssl: *const SSL) -> u64;
    pub(super) fn SSL_get_pending_cipher(ssl: *const SSL) -> *const SSL_CIPHER;
    pub(super) fn SSL_CIPHER_get_protocol_id(cipher: *const SSL_CIPHER) -> u16;
    pub(super) fn SSL_in_init(ssl: *const SSL) -> c_int;
    pub(super) fn SSL_client_hello_get0_ext(
        ssl: *mut SSL,
        kind: c_uint,
        out: *mut *const c_uchar,
        len: *mut usize,
    ) -> c_int;
    pub(super) fn SSL_CTX_ctrl(
        ctx: *mut SSL_CTX,
        cmd: c_int,
        larg: c_long,
        parg: *mut c_void,
    ) -> c_long;
    pub(super) fn SSL_CTX_set_timeout(ctx: *mut SSL_CTX, seconds: c_long) -> c_long;
    pub(super) fn SSL_CTX_set_generate_session_id(ctx: *mut SSL_CTX, f: Option<Generate>) -> c_int;
    pub(super) fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, seconds: c_long) -> c_long;
    pub(super) fn SSL_SESSION_set1_master_key(
        session: *mut SSL_SESSION,
        key: *const c_uchar,
        len: usize,
    ) -> c_int;
    pub(super) fn SSL_SESSION_set_ex_data(
        session: *mut SSL_SESSION,
        index: c_int,
        data: *mut c_void,
    ) -> c_int;
    pub(super) fn SSL_SESSION_get_ex_data(session: *const SSL_SESSION, index: c_int)
    -> *mut c_void;
    fn CRYPTO_get_ex_new_index(
        class: c_int,
        argl: c_long,
        argp: *mut c_void,
        new: Option<ExChange>,
        dup: Option<ExDup>,
        free: Option<ExChange>,
    ) -> c_int;
    pub(super) fn CRYPTO_set_ex_data(ad: *mut c_void, index: c_int, data: *mut c_void) -> c_int;
}

/// A place in every `SSL` that is made from here on, which `new` fills when one is made. `None` without memory.
pub(super) fn ssl_index(new: ExChange) -> Option<c_int> {
    // SAFETY: registers a function, which lives for good.
    let index = unsafe {
        CRYPTO_get_ex_new_index(
            CRYPTO_EX_INDEX_SSL,
            0,
            std::ptr::null_mut(),
            Some(new),
            None,
            None,
        )
    };
    (index >= 0).then_some(index)
}

/// A place in every `SSL_SESSION` that is made from here on, which `dup` decides about when one is copied, and which
/// `free` ends. `None` without memory.
pub(super) fn session_index(dup: ExDup, free: ExChange) -> Option<c_int> {
    // SAFETY: as above.
    let index = unsafe {
        CRYPTO_get_ex_new_index(
            CRYPTO_EX_INDEX_SSL_SESSION,
            0,
            std::ptr::null_mut(),
            None,
            Some(dup),
            Some(free),
        )
    };
    (index >= 0).then_some(index)
}
