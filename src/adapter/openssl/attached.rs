//! The cache's handle in an `SSL_SESSION`, so that libssl's remove callback ends exactly that session, once.

use std::ffi::{c_int, c_long, c_void};
use std::sync::Arc;

use openssl::ssl::SslSessionRef;
use openssl_sys::SSL;

use super::ffi;
use crate::callbacks::without_panic;
use crate::session::Session;
use crate::sync::{Mutex, lock};

use foreign_types::ForeignTypeRef;

/// What an `SSL_SESSION` carries.
pub(super) struct Attached {
    pub(super) session: Session,
    /// The connection that it was made for, if anybody will want to know its state.
    pub(super) connection: Option<Arc<Link>>,
}

/// The way from a session back to its connection, as long as that is there.
pub(super) struct Link(Mutex<Option<Pointer>>);

struct Pointer(*const SSL);

// SAFETY: it is only followed under the lock, which is taken to forget it before the `SSL` is freed; and what is read
// there is one number.
unsafe impl Send for Pointer {}

impl Link {
    pub(super) fn new(ssl: *const SSL) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Pointer(ssl)))))
    }

    /// The connection is about to be freed.
    pub(super) fn cut(&self) {
        *lock(&self.0) = None;
    }

    /// Whether the connection is in the middle of a handshake, or has failed: both are the same to libssl.
    pub(super) fn is_in_init(&self) -> bool {
        match &*lock(&self.0) {
            // SAFETY: not forgotten yet, and so not freed; whoever frees it waits for the lock. libssl's remove callback
            // comes on the connection's own thread. Only an application that removes a connection's session by itself, from
            // another thread, has this number read while it may be written.
            Some(pointer) => unsafe { ffi::SSL_in_init(pointer.0) != 0 },
            None => false,
        }
    }
}

/// Registers the place in every `SSL_SESSION`.
pub(super) fn index() -> Option<c_int> {
    ffi::session_index(do_not_copy, free)
}

impl Attached {
    /// Attaches to a session that carries nothing yet. Without memory it is not attached.
    pub(super) fn attach(self, session: &SslSessionRef, index: c_int) {
        let own = Box::into_raw(Box::new(self));
        // SAFETY: a live session. libssl hands the pointer back to `free` once.
        let kept = unsafe { ffi::SSL_SESSION_set_ex_data(session.as_ptr(), index, own.cast()) };
        if kept != 1 {
            // SAFETY: libssl did not take it.
            drop(unsafe { Box::from_raw(own) });
        }
    }

    /// What a session carries.
    pub(super) fn of(session: &SslSessionRef, index: c_int) -> Option<&Self> {
        // SAFETY: what is at this index was put there by `attach`, and lives as long as the session.
        unsafe {
            let own = ffi::SSL_SESSION_get_ex_data(session.as_ptr(), index);
            own.cast::<Self>().as_ref()
        }
    }
}

/// libssl copies a session for each further TLS 1.3 ticket, which then is another session to the cache.
unsafe extern "C" fn do_not_copy(
    _to: *mut c_void,
    _from: *const c_void,
    pointer: *mut *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) -> c_int {
    // SAFETY: libssl passes a pointer to the pointer that it is going to store in the copy.
    unsafe { *pointer = std::ptr::null_mut() };
    1
}

unsafe extern "C" fn free(
    _parent: *mut c_void,
    own: *mut c_void,
    _ad: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    if !own.is_null() {
        // SAFETY: `attach` gave it away, and this is its end.
        let own = unsafe { Box::from_raw(own.cast::<Attached>()) };
        without_panic(|| drop(own));
    }
}
