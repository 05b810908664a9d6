//! What libssl calls.

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{NameType, Ssl, SslContext, SslRef, SslSession, SslSessionRef};
use openssl_sys as sys;

use super::attached::{Attached, Link};
use super::der::{self, Summary};
use super::{Sessions, UncleanShutdown, ffi};
use crate::adapter::wipe;
use crate::cache::handshake::{Side, Usage};
use crate::clock::Time;
use crate::connection::Connection;
use crate::context::Horizon;
use crate::id::SessionId;
use crate::session::Session;
use crate::stats::Event;
use crate::tagged::TaggedIds;

use foreign_types::ForeignTypeRef;

const TLS1_3: i64 = 0x0304;

/// The places in libssl's objects, the same for all contexts.
#[derive(Clone, Copy)]
pub(super) struct Indexes {
    /// In an `SSL_CTX`: who makes its ids.
    pub(super) ids: Index<SslContext, TaggedIds>,
    /// In an `SSL`: when it was made. The pointer is the number.
    born: c_int,
    /// In an `SSL`: its side of the cache.
    state: Index<Ssl, State>,
    /// In an `SSL_SESSION`: its [`Attached`].
    attached: c_int,
}

impl Indexes {
    pub(super) fn new() -> Result<Self, ErrorStack> {
        static INDEXES: OnceLock<Indexes> = OnceLock::new();
        if let Some(indexes) = INDEXES.get() {
            return Ok(*indexes);
        }
        // Two threads may get here at once; the places of one of them are then never used.
        let indexes = Self {
            ids: SslContext::new_ex_index()?,
            born: ffi::ssl_index(born).ok_or_else(ErrorStack::get)?,
            state: Ssl::new_ex_index()?,
            attached: super::attached::index().ok_or_else(ErrorStack::get)?,
        };
        Ok(*INDEXES.get_or_init(|| indexes))
    }
}

/// One connection's side of the cache.
struct State {
    installed: Arc<Installed>,
    connection: Connection,
    /// The client's, which tells one handshake from the next.
    random: [u8; 32],
    /// Whether this handshake has got as far as a session of its own.
    established: bool,
    /// Whether this handshake has asked for what it had taken already.
    retried: bool,
    /// For the sessions of this connection.
    link: Option<Arc<Link>>,
}

impl State {
    /// The session that this handshake has taken already. libssl looks for it once more in the ClientHello that answers a
    /// HelloRetryRequest. Asked once, and only for a hello without early data: such data must find nothing that was ever
    /// used.
    fn taken(&self, id: &[u8], name: Option<&str>) -> Option<Session> {
        let taken = self.connection.session_owned()?;
        let again = self.connection.reused() && !self.established && !self.retried;
        (again && taken.id() == id && taken.is_for(name)).then_some(taken)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.cut();
        }
    }
}

/// One installation, shared by the callbacks of a context.
pub(super) struct Installed {
    pub(super) sessions: Sessions,
    pub(super) indexes: Indexes,
    /// The context's timeout, in seconds.
    pub(super) timeout: c_long,
}

impl Installed {
    /// A handshake has established a session.
    pub(super) fn on_new(self: &Arc<Self>, ssl: &mut SslRef, session: &SslSessionRef) {
        contain(|| self.store(ssl, session));
    }

    /// A handshake looks for a session.
    pub(super) fn on_get(self: &Arc<Self>, ssl: &mut SslRef, id: &[u8]) -> Option<SslSession> {
        contain(|| self.find(ssl, id)).flatten()
    }

    /// libssl has removed a session that it never had: a connection failed, or was cut off.
    pub(super) fn on_remove(&self, session: &SslSessionRef) {
        contain(|| {
            let attached = Attached::of(session, self.indexes.attached)?;
            let keeps = self.sessions.unclean == UncleanShutdown::Keep;
            let failed = || attached.connection.as_ref().is_some_and(|c| c.is_in_init());
            (!keeps || failed()).then(|| self.sessions.cache.remove_exact(&attached.session))
        });
    }

    /// The connection's side of the cache, in the handshake that is going on.
    fn state<'a>(self: &Arc<Self>, ssl: &'a mut SslRef) -> Option<&'a mut State> {
        let index = self.indexes.state;
        let known = ssl.ex_data(index);
        if !known.is_some_and(|state| Arc::ptr_eq(&state.installed, self)) {
            let state = self.begin(ssl);
            ssl.set_ex_data(index, state);
        }
        let random = random(ssl);
        let is_tls13 = der::version(ssl) == TLS1_3;
        let state = ssl.ex_data_mut(index)?;
        // A client may change it within a handshake of TLS 1.3, after a HelloRetryRequest.
        if state.random != random && (state.established || !is_tls13) {
            state.random = random;
            state.established = false;
            state.retried = false;
            state.connection.renegotiate();
            state.connection.set_not_after(self.not_after());
        }
        Some(state)
    }

    /// The deadline of what a handshake authenticates now. Taken once per handshake: a ticket that goes out later, on the
    /// same connection, authenticates nobody anew.
    fn not_after(&self) -> Time {
        self.sessions.cache.now() + self.sessions.lifetime
    }

    fn begin(self: &Arc<Self>, ssl: &SslRef) -> State {
        let Sessions { cache, context, .. } = &self.sessions;
        // SAFETY: a live `SSL`. At this index is a number, never a pointer to anything.
        let born = unsafe { sys::SSL_get_ex_data(ssl.as_ptr(), self.indexes.born) };
        let generation = match born as u64 {
            0 => context.generation(),
            value => context.generation_at(Horizon::from_value(value)),
        };
        let mut connection = Connection::new(cache, context, generation, Side::Server, false);
        connection.set_external_lookups(self.sessions.external_lookups);
        connection.set_not_after(self.not_after());
        // libssl says by its remove callback what a bad end is.
        connection.close();
        let keeps = self.sessions.unclean == UncleanShutdown::Keep;
        State {
            installed: Arc::clone(self),
            connection,
            random: random(ssl),
            established: false,
            retried: false,
            link: keeps.then(|| Link::new(ssl.as_ptr())),
        }
    }

    fn find(self: &Arc<Self>, ssl: &mut SslRef, id: &[u8]) -> Option<SslSession> {
        let Sessions { cache, ids, .. } = &self.sessions;
        if ids.is_some_and(|ids| !ids.recognizes(id)) {
            cache.count_forged();
            return None;
        }
        let name = match self.sessions.any_server_name {
            true => None,
            false => der::requested_name(ssl).ok()?,
        };
        let version = der::version(ssl);
        let usage = if version == TLS1_3 {
            Usage::Once
        } else {
            Usage::Again
        };
        let unix = unix_now();
        let want = |session: &Session| {
            let same = |summary: &Summary<'_>| summary.version == version && summary.id == id;
            let Some(summary) = Summary::read(session.payload()).filter(same) else {
                return false;
            };
            // A session from outside has its own idea of its age, which nobody has compared with anything yet.
            let expired = session.deadline() == Time::ZERO && summary.is_expired(unix);
            if expired {
                cache.count(Event::Timeout);
            }
            !expired
        };

        let may_retry = version == TLS1_3 && !der::has_early_data(ssl);
        let state = self.state(ssl)?;
        let found = match state.taken(id, name.as_deref()).filter(|_| may_retry) {
            Some(taken) => {
                state.retried = true;
                taken
            }
            None => {
                state.connection.set_server_name(name.as_deref());
                state.connection.look_up(id, usage, want)?.clone()
            }
        };
        let connection = state.link.clone();
        let session = SslSession::from_der(found.payload()).ok()?;
        self.outlive(&session, &found, unix);
        let attached = Attached {
            session: found,
            connection,
        };
        attached.attach(&session, self.indexes.attached);
        Some(session)
    }

    /// libssl compares the session's age with its timeout once more. The cache's deadline decides; it may be later, by
    /// `UPDATE_TIME` or because the cache's timeout was changed.
    fn outlive(&self, session: &SslSessionRef, found: &Session, unix: i64) {
        let deadline = found.deadline();
        if deadline == Time::ZERO {
            return;
        }
        let left = seconds(deadline.saturating_since(self.sessions.cache.now()));
        // SAFETY: a live session that nobody else has.
        unsafe {
            let age = (unix - sys::SSL_SESSION_get_time(session.as_ptr()) as i64).max(0);
            let age = c_long::try_from(age).unwrap_or(c_long::MAX);
            if age >= sys::SSL_SESSION_get_timeout(session.as_ptr()) {
                let timeout = age.saturating_add(left).min(LONGEST);
                ffi::SSL_SESSION_set_timeout(session.as_ptr(), timeout);
            }
        }
    }

    fn store(self: &Arc<Self>, ssl: &mut SslRef, session: &SslSessionRef) -> Option<()> {
        // SAFETY: a live `SSL`.
        let options = unsafe { ffi::SSL_get_options(ssl.as_ptr()) };
        if der::version(ssl) == TLS1_3 && options & ffi::NO_TICKET == 0 {
            // libssl tells of stateless tickets too; the client has all there is.
            return None;
        }
        let id = SessionId::new(session.id()).ok()?;
        let name = match (
            self.sessions.any_server_name,
            ssl.servername_raw(NameType::HOST_NAME),
        ) {
            (true, _) | (_, None) => None,
            (false, Some(name)) => Some(std::str::from_utf8(name).ok()?.to_owned()),
        };
        let resumed = ssl.session_reused();
        // SAFETY: a live session.
        let timeout = unsafe { sys::SSL_SESSION_get_timeout(session.as_ptr()) };

        let state = self.state(ssl)?;
        let connection = &mut state.connection;
        if !resumed {
            // What was found, if anything, libssl has refused.
            connection.decline();
        }
        connection.set_server_name(name.as_deref());
        let mut builder = connection.session_builder(id);
        // One that was changed by the application; a resumed session's was inherited, and means nothing.
        if !resumed && timeout != self.timeout {
            builder = builder.timeout(Duration::from_secs(u64::try_from(timeout).unwrap_or(0)));
        }
        let mut der = session.to_der().ok()?;
        let built = builder.build(&der);
        wipe(&mut der);
        let built = built.ok()?;
        connection.establish(built.clone());
        state.established = true;
        let attached = Attached {
            session: built,
            connection: state.link.clone(),
        };
        attached.attach(session, self.indexes.attached);
        Some(())
    }
}

/// Makes an id for a session: tagged, if the context has such.
///
/// # Safety
///
/// libssl's: `id` has room for `len` bytes, which are 32.
pub(super) unsafe extern "C" fn generate(
    ssl: *mut sys::SSL,
    id: *mut c_uchar,
    len: *mut c_uint,
) -> c_int {
    let made = contain(|| {
        // SAFETY: libssl's promise.
        let (ssl, id) = unsafe {
            let len = usize::try_from(*len).unwrap_or(0);
            (
                SslRef::from_ptr(ssl),
                std::slice::from_raw_parts_mut(id, len),
            )
        };
        let indexes = Indexes::new().ok()?;
        let tagged = ssl.ssl_context().ex_data(indexes.ids);
        match tagged.and_then(|ids| ids.generate().ok()) {
            Some(tagged) if tagged.as_bytes().len() == id.len() => {
                id.copy_from_slice(tagged.as_bytes());
                Some(())
            }
            // An id without a tag costs a full handshake later, and none at all would cost this one.
            _ => openssl::rand::rand_bytes(id).ok(),
        }
    });
    c_int::from(made.flatten().is_some())
}

/// Notes in every new `SSL` which generations there were.
unsafe extern "C" fn born(
    _parent: *mut c_void,
    _own: *mut c_void,
    ad: *mut c_void,
    index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    let number = Horizon::now().value() as usize as *mut c_void;
    // SAFETY: libssl passes the data of the object that it is making. Without memory it stays zero.
    unsafe { ffi::CRYPTO_set_ex_data(ad, index, number) };
}

/// The longest timeout that every libssl can calculate with, in seconds: 68 years.
const LONGEST: c_long = i32::MAX as c_long;

/// Whole seconds, rounded up.
pub(super) fn seconds(duration: Duration) -> c_long {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    c_long::try_from(rounded).map_or(LONGEST, |seconds| seconds.min(LONGEST))
}

/// The client's random number.
fn random(ssl: &SslRef) -> [u8; 32] {
    let mut random = [0; 32];
    ssl.client_random(&mut random);
    random
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        })
}

/// Calls what libssl has called; a panic ends here.
fn contain<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f))
        .map_err(|payload| {
            // What was thrown may panic once more when it is dropped.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
        })
        .ok()
}
