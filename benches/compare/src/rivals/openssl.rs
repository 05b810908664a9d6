//! OpenSSL's own internal cache, through libssl.
//!
//! Nothing in its interface gives a session for an id, so look-ups ask whether it is there, by
//! `SSL_has_matching_session_id`: the same hash, the same lock, no reference and no bytes. That asks for the version of
//! the connection, which is TLS 1.3 on a new one, and so that is the sessions' version. A take is
//! `SSL_CTX_remove_session`, as libssl's own anti-replay does it, of a session with the wanted id. The bytes travel as
//! application data of a ticket.

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openssl_sys::{
    SSL, SSL_CTX, SSL_CTX_add_session, SSL_CTX_ctrl, SSL_CTX_free, SSL_CTX_new,
    SSL_CTX_remove_session, SSL_SESSION, SSL_SESSION_free, SSL_free, SSL_new, TLS_server_method,
};

use crate::cache::{Cache, Id, Need, Setup, TIMEOUT, hear};

const TLS1_3: c_int = 0x0304;
/// `SSL_CTRL_SET_SESS_CACHE_SIZE`.
const SET_CACHE_SIZE: c_int = 42;
/// `SSL_CTRL_SET_SESS_CACHE_MODE`, with `SSL_SESS_CACHE_SERVER`.
const SET_CACHE_MODE: c_int = 44;
const CACHE_SERVER: c_long = 2;
/// `SSL_CTRL_SESS_NUMBER`.
const SESS_NUMBER: c_int = 20;

/// The remove callback's type.
type Remove = unsafe extern "C" fn(*mut SSL_CTX, *mut SSL_SESSION);

// What the crate lacks.
unsafe extern "C" {
    fn SSL_SESSION_new() -> *mut SSL_SESSION;
    fn SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, len: c_uint) -> c_int;
    fn SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_SESSION_set1_ticket_appdata(
        session: *mut SSL_SESSION,
        data: *const c_void,
        len: usize,
    ) -> c_int;
    fn SSL_has_matching_session_id(ssl: *const SSL, id: *const c_uchar, len: c_uint) -> c_int;
    fn SSL_CTX_flush_sessions(ctx: *mut SSL_CTX, time: c_long);
    fn SSL_CTX_sess_set_remove_cb(ctx: *mut SSL_CTX, remove: Option<Remove>);
}

pub(crate) struct OpenSsl(*mut SSL_CTX);

// SAFETY: an `SSL_CTX` is made to be shared: it locks its cache, and counts its references atomically.
unsafe impl Send for OpenSsl {}
// SAFETY: as above.
unsafe impl Sync for OpenSsl {}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // SAFETY: `build` made it, and every `Local` has a reference of its own.
        unsafe { SSL_CTX_free(self.0) }
    }
}

/// A thread's connection, which is asked for ids, and its session that only has an id.
pub(crate) struct Local {
    ssl: *mut SSL,
    probe: *mut SSL_SESSION,
}

// SAFETY: both belong to this alone.
unsafe impl Send for Local {}

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: `local` made both.
        unsafe {
            SSL_SESSION_free(self.probe);
            SSL_free(self.ssl);
        }
    }
}

/// A new session of this id.
fn session(id: &Id) -> *mut SSL_SESSION {
    // SAFETY: the session is new, and the id is as long as is said.
    unsafe {
        let session = SSL_SESSION_new();
        assert!(!session.is_null(), "libssl has no memory left");
        SSL_SESSION_set1_id(session, id.0.as_ptr(), 32);
        SSL_SESSION_set_protocol_version(session, TLS1_3);
        session
    }
}

/// How long the listener sleeps, in nanoseconds: that of the last cache that was built with one.
static NAP: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn listen(_: *mut SSL_CTX, _: *mut SSL_SESSION) {
    hear(Duration::from_nanos(NAP.load(Ordering::Relaxed)));
}

impl Cache for OpenSsl {
    const NAME: &'static str = "openssl";
    const LACKS: &'static [(Need, &'static str)] = &[(Need::Own, "no interface gives a session")];
    const BLIND: bool = true;
    const ONE_LESS: bool = true;
    const CLEARS: bool = true;
    const SHRINKS: bool = true;

    type Key = Id;
    type Local = Local;

    fn build(setup: &Setup) -> Self {
        // SAFETY: ordinary calls on a context that nobody else has yet.
        unsafe {
            let ctx = SSL_CTX_new(TLS_server_method());
            assert!(!ctx.is_null(), "libssl makes no context");
            SSL_CTX_ctrl(ctx, SET_CACHE_MODE, CACHE_SERVER, ptr::null_mut());
            SSL_CTX_ctrl(
                ctx,
                SET_CACHE_SIZE,
                setup.capacity as c_long,
                ptr::null_mut(),
            );
            if let Some(nap) = setup.listener {
                NAP.store(nap.as_nanos() as u64, Ordering::Relaxed);
                SSL_CTX_sess_set_remove_cb(ctx, Some(listen));
            }
            Self(ctx)
        }
    }

    fn local(&self) -> Local {
        // SAFETY: the context is alive, and the connection keeps it so.
        let ssl = unsafe { SSL_new(self.0) };
        assert!(!ssl.is_null(), "libssl has no memory left");
        Local {
            ssl,
            probe: session(&Id([0; 32])),
        }
    }

    #[inline]
    fn lend(&self, local: &mut Local, key: &Id) -> Option<u8> {
        // SAFETY: the connection is this thread's, and the id as long as is said.
        let found = unsafe { SSL_has_matching_session_id(local.ssl, key.0.as_ptr(), 32) };
        (found == 1).then_some(0)
    }

    #[inline]
    fn find(&self, local: &mut Local, key: &Id) -> Option<u8> {
        self.lend(local, key)
    }

    #[inline]
    fn take(&self, local: &mut Local, key: &Id) -> Option<u8> {
        // SAFETY: the probe is this thread's, and in no cache.
        let removed = unsafe {
            SSL_SESSION_set1_id(local.probe, key.0.as_ptr(), 32);
            SSL_CTX_remove_session(self.0, local.probe)
        };
        (removed == 1).then_some(0)
    }

    #[inline]
    fn add(&self, _: &mut Local, id: Id, payload: &[u8]) -> bool {
        let session = session(&id);
        // SAFETY: the session is this function's until it is in the cache, which takes a reference of its own. The bytes
        // are copied.
        unsafe {
            SSL_SESSION_set_timeout(session, TIMEOUT.as_secs() as c_long);
            let told =
                SSL_SESSION_set1_ticket_appdata(session, payload.as_ptr().cast(), payload.len());
            let added = SSL_CTX_add_session(self.0, session);
            SSL_SESSION_free(session);
            told == 1 && added == 1
        }
    }

    fn len(&self, _: &Local) -> Option<usize> {
        // SAFETY: the context is alive.
        let number = unsafe { SSL_CTX_ctrl(self.0, SESS_NUMBER, 0, ptr::null_mut()) };
        usize::try_from(number).ok()
    }

    /// By a flush, as of a time when all have expired.
    fn clear(&self, _: &mut Local) {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        // SAFETY: the context is alive.
        unsafe { SSL_CTX_flush_sessions(self.0, (now + 2 * TIMEOUT.as_secs()) as c_long) };
    }

    /// The next add then evicts what is too much.
    fn shrink(&self, capacity: usize) {
        // SAFETY: the context is alive.
        unsafe { SSL_CTX_ctrl(self.0, SET_CACHE_SIZE, capacity as c_long, ptr::null_mut()) };
    }
}

/// The version of the libssl that is there.
pub(crate) fn version() -> String {
    // SAFETY: it returns a string that lives as long as the process.
    let text = unsafe { std::ffi::CStr::from_ptr(openssl_sys::OpenSSL_version(0)) };
    text.to_string_lossy().into_owned()
}
