//! An `SSL_CTX`'s own cache.

use std::ffi::{c_int, c_long, c_uchar, c_uint};
use std::ptr;
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::ex_data::Index;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslSession, SslSessionRef,
};
use openssl_sys::{SSL, SSL_CTX, SSL_SESSION};
use refrain::SessCounters;

use super::{Store, Subject};
use crate::books::Books;
use crate::ffi;
use crate::log::{Hook, Log, What};
use crate::watch::Watch;

/// The version of the sessions made here: what an `SSL` looks for that has negotiated nothing yet.
const VERSION: c_int = openssl_sys::TLS1_3_VERSION;

pub(crate) struct Libssl {
    ctx: SslContext,
    log: Arc<Log>,
    /// The moment zero, in seconds of the wall clock.
    epoch: c_long,
}

fn log_index() -> Index<SslContext, Arc<Log>> {
    static INDEX: OnceLock<Index<SslContext, Arc<Log>>> = OnceLock::new();
    *INDEX.get_or_init(|| SslContext::new_ex_index().unwrap())
}

/// Gives an `SSL_CTX` a log, which the callbacks below write.
pub(crate) fn attach(ctx: &mut SslContextBuilder, log: &Arc<Log>) {
    ctx.set_ex_data(log_index(), Arc::clone(log));
}

fn log_of<'a>(ctx: *mut SSL_CTX) -> &'a Log {
    // SAFETY: libssl calls with a live context, and the log lives as long; nobody keeps the reference beyond the call.
    let ctx: &'a SslContextRef = unsafe { SslContextRef::from_ptr(ctx) };
    ctx.ex_data(log_index()).expect("the context has a log")
}

fn id_of<'a>(session: *mut SSL_SESSION) -> &'a [u8] {
    // SAFETY: as in `log_of`.
    let session: &'a SslSessionRef = unsafe { SslSessionRef::from_ptr(session) };
    session.id()
}

/// Counts, and keeps the reference if the log wants it.
pub(crate) unsafe extern "C" fn on_new(ssl: *mut SSL, session: *mut SSL_SESSION) -> c_int {
    // SAFETY: libssl calls with a live `SSL`.
    let log = log_of(unsafe { openssl_sys::SSL_get_SSL_CTX(ssl) });
    log.note(What::New, id_of(session));
    if log.refuses() {
        return 0;
    }
    // SAFETY: a reference was made for this call, and it says that it takes it.
    log.offer(unsafe { SslSession::from_ptr(session) });
    1
}

/// Counts.
pub(crate) unsafe extern "C" fn on_remove(ctx: *mut SSL_CTX, session: *mut SSL_SESSION) {
    log_of(ctx).note(What::Remove, id_of(session));
}

/// Counts, and lends what the log supplies.
pub(crate) unsafe extern "C" fn on_get(
    ssl: *mut SSL,
    id: *const c_uchar,
    len: c_int,
    copy: *mut c_int,
) -> *mut SSL_SESSION {
    // SAFETY: libssl calls with a live `SSL`, with as many bytes, and with room for an answer.
    let (log, id) = unsafe {
        *copy = 1;
        (
            log_of(openssl_sys::SSL_get_SSL_CTX(ssl)),
            std::slice::from_raw_parts(id, len as usize),
        )
    };
    log.note(What::Get, id);
    // The log has another reference, until the script takes it away.
    log.supply()
        .map_or(ptr::null_mut(), |session| session.as_ptr())
}

/// Sets the two callbacks that tell of sessions.
pub(crate) fn listen(ctx: &mut SslContextBuilder) {
    // SAFETY: the functions are what libssl expects.
    unsafe {
        openssl_sys::SSL_CTX_sess_set_new_cb(ctx.as_ptr(), Some(on_new));
        openssl_sys::SSL_CTX_sess_set_remove_cb(ctx.as_ptr(), Some(on_remove));
    }
}

/// The twelve counters of an `SSL_CTX`.
pub(crate) fn counters(ctx: &SslContextRef) -> Books {
    SessCounters::of(ctx).into()
}

/// Whether a context's own cache has a session of the newest version and this id. Counts nothing.
pub(crate) fn has(ctx: &SslContext, id: &[u8]) -> bool {
    let ssl = Ssl::new(ctx).unwrap();
    // SAFETY: the bytes are alive, and as many.
    unsafe { ffi::SSL_has_matching_session_id(ssl.as_ptr(), id.as_ptr(), id.len() as c_uint) == 1 }
}

/// Whether a context's own cache has this session, or another one of its version and id. Counts nothing.
pub(crate) fn holds(ctx: &SslContext, session: &SslSessionRef) -> bool {
    // SAFETY: all are alive; the table's own functions compare, and nobody else uses the context now.
    unsafe {
        let sessions = ffi::SSL_CTX_sessions(ctx.as_ptr());
        !ffi::OPENSSL_LH_retrieve(sessions, session.as_ptr().cast()).is_null()
    }
}

/// The session id context that a session is for.
pub(crate) fn context_of(session: &SslSessionRef) -> &[u8] {
    let mut len = 0;
    // SAFETY: the session is alive, and as long as it is, so are as many bytes.
    unsafe {
        let bytes = ffi::SSL_SESSION_get0_id_context(session.as_ptr(), &mut len);
        std::slice::from_raw_parts(bytes, len as usize)
    }
}

/// A new session object of this version and id.
pub(crate) fn session(version: c_int, id: &[u8]) -> SslSession {
    // SAFETY: makes an object, which the handle owns.
    let session = unsafe { SslSession::from_ptr(ffi::SSL_SESSION_new()) };
    let raw = session.as_ptr();
    // SAFETY: the object is new and nobody else's; the bytes are alive, and as many.
    unsafe {
        assert_eq!(
            ffi::SSL_SESSION_set1_id(raw, id.as_ptr(), id.len() as c_uint),
            1
        );
        assert_eq!(ffi::SSL_SESSION_set_protocol_version(raw, version), 1);
    }
    session
}

/// A copy of a session, as resumable as it is.
pub(crate) fn duplicate(session: &SslSessionRef) -> SslSession {
    // SAFETY: the session is alive; the handle owns what is made.
    unsafe { SslSession::from_ptr(ffi::SSL_SESSION_dup(session.as_ptr())) }
}

/// Seconds of the wall clock.
pub(crate) fn now() -> c_long {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs() as c_long
}

impl Libssl {
    pub(crate) fn ctx(&self) -> &SslContext {
        &self.ctx
    }

    /// A session object with this id, of whatever length, time and timeout.
    pub(crate) fn raw_session(&self, id: &[u8], time: c_long, timeout: c_long) -> SslSession {
        let session = session(VERSION, id);
        let raw = session.as_ptr();
        // SAFETY: the object is new and nobody else's.
        unsafe {
            assert_eq!(ffi::SSL_SESSION_set_time(raw, time), time);
            assert_eq!(ffi::SSL_SESSION_set_timeout(raw, timeout), 1);
        }
        session
    }

    pub(crate) fn epoch(&self) -> c_long {
        self.epoch
    }
}

impl Store for Libssl {
    const SUBJECT: Subject = Subject::Libssl;
    type Session = SslSession;
    type Watch = Watch;

    fn new(size: usize) -> Self {
        let log = Arc::new(Log::default());
        let mut ctx = SslContext::builder(SslMethod::tls_server()).unwrap();
        attach(&mut ctx, &log);
        listen(&mut ctx);
        ctx.set_session_cache_size(size as i32);
        Self {
            ctx: ctx.build(),
            log,
            epoch: now(),
        }
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn books(&self) -> Books {
        self.log.books() + counters(&self.ctx)
    }

    fn session(&self, id: u8, until: u64) -> SslSession {
        self.raw_session(&[id; 32], self.epoch, until as c_long)
    }

    fn aged(&self, id: u8, ago: u64, timeout: u64) -> SslSession {
        self.raw_session(&[id; 32], self.epoch - ago as c_long, timeout as c_long)
    }

    fn again(&self, session: &SslSession, _: u64) -> SslSession {
        session.clone()
    }

    fn watch(&self, session: &SslSession) -> Watch {
        Watch::new(session)
    }

    fn is_freed(&self, watch: &Watch) -> bool {
        watch.is_freed()
    }

    fn is_resumable(&self, session: &SslSession) -> bool {
        // SAFETY: the handle is a reference.
        unsafe { ffi::SSL_SESSION_is_resumable(session.as_ptr()) == 1 }
    }

    fn add(&self, session: &SslSession) -> bool {
        // SAFETY: both are alive; the cache takes a reference of its own.
        unsafe { openssl_sys::SSL_CTX_add_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }

    fn remove(&self, session: &SslSession) -> bool {
        // SAFETY: both are alive.
        unsafe { openssl_sys::SSL_CTX_remove_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }

    fn flush(&self, at: u64) {
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_flush_sessions(self.ctx.as_ptr(), self.epoch + at as c_long) };
    }

    fn flush_all(&self) {
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_flush_sessions(self.ctx.as_ptr(), 0) };
    }

    fn reentry(&self) -> Hook {
        let ctx = self.ctx.clone();
        // SAFETY: the handle keeps the context alive.
        Arc::new(move || unsafe { ffi::SSL_CTX_flush_sessions(ctx.as_ptr(), 1) })
    }

    fn has(&self, id: u8) -> bool {
        has(&self.ctx, &[id; 32])
    }

    fn set_size(&self, size: usize) -> usize {
        // SAFETY: the context is alive.
        unsafe {
            openssl_sys::SSL_CTX_sess_set_cache_size(self.ctx.as_ptr(), size as c_long) as usize
        }
    }

    fn size(&self) -> usize {
        // SAFETY: the context is alive.
        unsafe { openssl_sys::SSL_CTX_sess_get_cache_size(self.ctx.as_ptr()) as usize }
    }

    fn set_mode(&self, mode: u32) -> u32 {
        // SAFETY: the context is alive.
        unsafe {
            openssl_sys::SSL_CTX_set_session_cache_mode(self.ctx.as_ptr(), c_long::from(mode))
                as u32
        }
    }

    fn mode(&self) -> u32 {
        let control = ffi::SSL_CTRL_GET_SESS_CACHE_MODE;
        // SAFETY: this control only reads.
        unsafe { openssl_sys::SSL_CTX_ctrl(self.ctx.as_ptr(), control, 0, ptr::null_mut()) as u32 }
    }

    fn set_timeout(&self, seconds: u64) -> u64 {
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_set_timeout(self.ctx.as_ptr(), seconds as c_long) as u64 }
    }

    fn timeout(&self) -> u64 {
        // SAFETY: the context is alive.
        unsafe { ffi::SSL_CTX_get_timeout(self.ctx.as_ptr()) as u64 }
    }
}
