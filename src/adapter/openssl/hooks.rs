//! What libssl calls.

use std::ffi::{c_int, c_long, c_uchar, c_uint, c_void};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{NameType, Ssl, SslContext, SslRef, SslSession, SslSessionRef};
use openssl_sys as sys;

use super::attached::{Attached, Link};
use super::der;
use super::terms::{Terms, unix_now, whole};
use super::{Sessions, UncleanShutdown, ffi};
use crate::adapter::wipe;
use crate::cache::handshake::{Side, Terms as _, Usage};
use crate::callbacks::without_panic;
use crate::clock::Time;
use crate::connection::Connection;
use crate::context::{Context, Generation, Horizon};
use crate::host::tag_of;
use crate::id::{ContextId, SessionId};
use crate::session::Session;

use foreign_types::ForeignTypeRef;

const TLS1_3: i64 = 0x0304;

/// The places in libssl's objects, the same for all contexts.
#[derive(Clone, Copy)]
pub(super) struct Indexes {
    /// In an `SSL_CTX`: what was installed there.
    pub(super) installed: Index<SslContext, Arc<Installed>>,
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
            installed: SslContext::new_ex_index()?,
            born: ffi::ssl_index(born).ok_or_else(ErrorStack::get)?,
            state: Ssl::new_ex_index()?,
            attached: super::attached::index().ok_or_else(ErrorStack::get)?,
        };
        Ok(*INDEXES.get_or_init(|| indexes))
    }
}

/// When an authentication ends: in seconds since 1970, as the payload says it, and by the cache's own, finer clock.
#[derive(Clone, Copy)]
struct End {
    unix: i64,
    time: Time,
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
    /// When what this handshake itself authenticates ends.
    until: End,
    /// The same of the session that was found, which decides if it is resumed.
    inherited: Option<End>,
    /// For the sessions of this connection.
    link: Option<Arc<Link>>,
}

impl State {
    /// The session that this handshake has taken already. libssl looks for it once more in the ClientHello that answers a
    /// HelloRetryRequest, and the client decides when it sends that. Asked once, and only for a hello without early data:
    /// such data must find nothing that was ever used.
    fn taken(&self, id: &[u8], terms: &Terms<'_>) -> Option<Session> {
        if self.established || self.retried || !self.connection.reused() {
            return None;
        }
        let taken = self.connection.session_owned()?;
        let good = taken.id() == id
            && taken.is_for(terms.name)
            && terms.cache().is_usable(&taken)
            && terms.want(&taken);
        good.then_some(taken)
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
        without_panic(|| self.store(ssl, session));
    }

    /// A handshake looks for a session.
    pub(super) fn on_get(self: &Arc<Self>, ssl: &mut SslRef, id: &[u8]) -> Option<SslSession> {
        without_panic(|| self.find(ssl, id)).flatten()
    }

    /// libssl has removed a session that it never had: a connection failed, or was cut off.
    pub(super) fn on_remove(&self, session: &SslSessionRef) {
        without_panic(|| {
            let attached = Attached::of(session, self.indexes.attached)?;
            let keeps = self.sessions.unclean == UncleanShutdown::Keep;
            // An end of the stream without a close_notify is an unclean end, too, although libssl sends an alert for it.
            let failed = || {
                let in_init = attached.connection.as_ref().is_some_and(|c| c.is_in_init());
                in_init && !is_unexpected_eof()
            };
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
            state.until = self.until();
            state.inherited = None;
        }
        Some(state)
    }

    /// When what a handshake authenticates now ends. Taken once per handshake: a ticket that goes out later, on the same
    /// connection, authenticates nobody anew.
    fn until(&self) -> End {
        let lifetime = self.sessions.lifetime;
        End {
            unix: unix_now().saturating_add(whole(lifetime)),
            time: self.sessions.cache.now() + lifetime,
        }
    }

    fn begin(self: &Arc<Self>, ssl: &SslRef) -> State {
        let Sessions { cache, context, .. } = &self.sessions;
        let generation = self.generation(context, ssl);
        let mut connection = Connection::new(cache, context, generation, Side::Server, false);
        connection.set_external_lookups(self.sessions.external_lookups);
        // libssl says by its remove callback what a bad end is.
        connection.close();
        let keeps = self.sessions.unclean == UncleanShutdown::Keep;
        State {
            installed: Arc::clone(self),
            connection,
            random: random(ssl),
            established: false,
            retried: false,
            until: self.until(),
            inherited: None,
            link: keeps.then(|| Link::new(ssl.as_ptr())),
        }
    }

    /// A context's generation when the `SSL` was made.
    fn generation(&self, context: &Context, ssl: &SslRef) -> Generation {
        // SAFETY: a live `SSL`. At this index is a number, never a pointer to anything.
        let born = unsafe { sys::SSL_get_ex_data(ssl.as_ptr(), self.indexes.born) };
        match born as u64 {
            0 => context.generation(),
            value => context.generation_at(Horizon::from_value(value)),
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
        let is_tls13 = version == TLS1_3;
        let suite = is_tls13.then(|| der::suite(ssl)).flatten();
        let may_retry = is_tls13 && !der::has_early_data(ssl);
        let state = self.state(ssl)?;
        let terms = Terms {
            sessions: &self.sessions,
            generation: state.connection.generation(),
            name: name.as_deref(),
            id,
            version,
            suite,
            now: unix_now(),
        };
        let taken = may_retry.then(|| state.taken(id, &terms)).flatten();
        let found = match taken {
            Some(taken) => {
                state.retried = true;
                taken
            }
            None => {
                let usage = if is_tls13 { Usage::Once } else { Usage::Again };
                state.connection.set_server_name(terms.name);
                state.connection.look_up(id, usage, &terms)?.clone()
            }
        };
        let unix = terms.until(&found);
        let time = match found.not_after() {
            Time::MAX => self.sessions.moment(unix),
            time => time,
        };
        state.inherited = Some(End { unix, time });
        let connection = state.link.clone();
        let session = decode(found.payload())?;
        self.outlive(&session, &found, terms.now);
        if !is_tls13 {
            // Only what was taken may be asked for again, and only what is still in the cache can be removed from it.
            state.connection.decline();
            let attached = Attached {
                session: found,
                connection,
            };
            attached.attach(&session, self.indexes.attached);
        }
        Some(session)
    }

    /// libssl compares the session's age with its timeout once more. The cache's deadline decides; it may be later, by
    /// `UPDATE_TIME` or because the cache's timeout was changed.
    fn outlive(&self, session: &SslSessionRef, found: &Session, unix: i64) {
        let deadline = found.deadline();
        if deadline == Time::ZERO {
            return;
        }
        // SAFETY: a live session that nobody else has.
        unsafe {
            let age = (unix - sys::SSL_SESSION_get_time(session.as_ptr()) as i64).max(0);
            let age = c_long::try_from(age).unwrap_or(c_long::MAX);
            if age >= sys::SSL_SESSION_get_timeout(session.as_ptr()) {
                let left = seconds(deadline.saturating_since(self.sessions.cache.now()));
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
        let is_tls13 = der::version(ssl) == TLS1_3;
        let id = SessionId::new(session.id()).ok()?;
        let name = match ssl.servername_raw(NameType::HOST_NAME) {
            // A name that can't be compared.
            Some(b"") => return None,
            Some(name) if !self.sessions.any_server_name => {
                Some(std::str::from_utf8(name).ok()?.to_owned())
            }
            _ => None,
        };
        let (tag, host) = self.host(ssl)?;
        let resumed = ssl.session_reused();
        // SAFETY: a live session, which no cache of libssl's has.
        let timeout = unsafe {
            if resumed {
                // It was inherited, and means nothing; in particular it must not end up in the DER.
                ffi::SSL_SESSION_set_timeout(session.as_ptr(), self.timeout);
            }
            sys::SSL_SESSION_get_timeout(session.as_ptr())
        };

        let state = self.state(ssl)?;
        state.established = true;
        let until = match state.inherited {
            Some(inherited) if resumed => inherited,
            _ => state.until,
        };
        let connection = &mut state.connection;
        if !resumed {
            // What was found, if anything, libssl has refused.
            connection.decline();
        }
        connection.set_server_name(name.as_deref());
        connection.set_not_after(until.time);
        let mut builder = connection.session_builder(id).tag(tag);
        // One that was changed by the application.
        if timeout != self.timeout {
            builder = builder.timeout(Duration::from_secs(u64::try_from(timeout).unwrap_or(0)));
        }
        let mut payload = der::seal(session.to_der().ok()?, until.unix);
        let built = builder.build(&payload);
        wipe(&mut payload);
        let built = built.ok()?;
        let usage = if is_tls13 { Usage::Once } else { Usage::Again };
        connection.establish_for(built.clone(), usage, host.as_ref());
        connection.forget();
        let attached = Attached {
            session: built,
            connection: state.link.clone(),
        };
        attached.attach(session, self.indexes.attached);
        Some(())
    }

    /// The tag and the id of the context that a server name callback has switched to, as of the connection's start, so that a
    /// session of a host ends with that host's context, too; zero and none if there is no other. `None` if it is over already.
    fn host(&self, ssl: &SslRef) -> Option<(u64, Option<ContextId>)> {
        const NONE: (u64, Option<ContextId>) = (0, None);
        let Some(host) = ssl.ssl_context().ex_data(self.indexes.installed) else {
            return Some(NONE);
        };
        let context = &host.sessions.context;
        let own = context.id() == self.sessions.context.id();
        // Another cache's numbers can't be looked up in this one.
        if own || !host.sessions.cache.is_same(&self.sessions.cache) {
            return Some(NONE);
        }
        match self.generation(context, ssl).number() {
            0 => None,
            number => Some((tag_of(number), Some(*context.id()))),
        }
    }
}

/// libssl's own form of a session. The secret does not go through its decoder, which frees a copy of all that it reads, and
/// does not wipe it.
fn decode(payload: &[u8]) -> Option<SslSession> {
    let (der, secret) = der::part(payload)?;
    let session = SslSession::from_der(&der).ok()?;
    // SAFETY: a live session that nobody else has, and bytes that it copies.
    let set = unsafe {
        ffi::SSL_SESSION_set1_master_key(session.as_ptr(), secret.as_ptr(), secret.len())
    };
    (set == 1).then_some(session)
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
    let made = without_panic(|| {
        // SAFETY: libssl's promise.
        let (ssl, id) = unsafe {
            let len = usize::try_from(*len).unwrap_or(0);
            (
                SslRef::from_ptr(ssl),
                std::slice::from_raw_parts_mut(id, len),
            )
        };
        let indexes = Indexes::new().ok()?;
        let installed = ssl.ssl_context().ex_data(indexes.installed);
        let ids = installed.and_then(|installed| installed.sessions.ids);
        match ids.and_then(|ids| ids.generate().ok()) {
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

/// Whether what this thread's libssl complained of last is the end of a stream without a close_notify.
fn is_unexpected_eof() -> bool {
    // SAFETY: reads the thread's own queue.
    let error = unsafe { sys::ERR_peek_last_error() };
    let (library, reason) = (sys::ERR_GET_LIB(error), sys::ERR_GET_REASON(error));
    library == ffi::ERR_LIB_SSL && reason == ffi::UNEXPECTED_EOF
}

/// The client's random number.
fn random(ssl: &SslRef) -> [u8; 32] {
    let mut random = [0; 32];
    ssl.client_random(&mut random);
    random
}
