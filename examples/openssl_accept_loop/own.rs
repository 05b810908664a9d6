//! libssl's internal cache, filled from outside and flushed.

use std::ffi::{c_int, c_long, c_uchar, c_uint};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslAcceptor;
use openssl_sys::{SSL_CTX, SSL_CTX_add_session, SSL_SESSION, SSL_SESSION_free};

use crate::flood::{self, Flush};
use crate::output::Failure;

const TLS1_3: c_int = 0x0304;

// What the crate lacks.
unsafe extern "C" {
    fn SSL_SESSION_new() -> *mut SSL_SESSION;
    fn SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, len: c_uint) -> c_int;
    fn SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_CTX_flush_sessions(ctx: *mut SSL_CTX, time: c_long);
}

/// Puts so many sessions in, which end after `timeout`. What is returned flushes them.
pub(crate) fn fill(
    acceptor: &SslAcceptor,
    sessions: usize,
    timeout: Duration,
) -> Result<Flush, Failure> {
    let seconds = timeout.as_secs() as c_long;
    let ctx = acceptor.context().as_ptr();
    for id in flood::ids(sessions) {
        // SAFETY: the session is this function's until it is in the cache, which takes a reference of its own; the id is
        // as long as is said, and the context alive.
        let added = unsafe {
            let session = SSL_SESSION_new();
            if session.is_null() {
                return Err(Failure::broken("libssl has no memory left".to_owned()));
            }
            SSL_SESSION_set1_id(session, id.as_ptr(), id.len() as c_uint);
            SSL_SESSION_set_protocol_version(session, TLS1_3);
            SSL_SESSION_set_timeout(session, seconds);
            let added = SSL_CTX_add_session(ctx, session);
            SSL_SESSION_free(session);
            added
        };
        if added != 1 {
            return Err(Failure::broken("libssl keeps not every session".to_owned()));
        }
    }
    let acceptor = acceptor.clone();
    Ok(Box::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let all = now.map_or(0, |now| now.as_secs() as c_long) + seconds + 1;
        // SAFETY: the acceptor has a reference to the context.
        unsafe { SSL_CTX_flush_sessions(acceptor.context().as_ptr(), all) };
        None
    }))
}
