//! One handshake's side of the cache, for authors of TLS stacks.

mod offer;

use std::fmt;

use crate::cache::SessionCache;
use crate::cache::handshake::{Shelf, Side, Usage};
use crate::clock::Time;
use crate::context::{Context, Generation};
use crate::id::{ContextId, SessionId};
use crate::session::{Session, SessionBuilder};
use crate::stats::Event;

use offer::Offer;

pub use crate::cache::handshake::EXTERNAL_LOOKUPS;

/// What one connection has to do with a session cache: OpenSSL's `SSL`, as far as its session goes.
///
/// A TLS stack makes one when a handshake begins, asks it for the session that the client offers, hands it the sessions
/// that the handshake establishes, and says how the connection ended. It fires the new and get callbacks, on the calling
/// thread and with nothing held; nothing of it blocks but them, and look-ups, [`claim`](Self::claim) and
/// [`establish`](Self::establish) cost what [`SessionCache`]'s `get`, `take` and `add` do, and a reading of the clock.
///
/// Making one counts the handles of the cache and of the context up, and dropping it down: six locked instructions on
/// lines that all connections share. It allocates nothing but a copy of the server name.
///
/// | OpenSSL | here |
/// |---|---|
/// | `SSL_new`, `SSL_accept` | [`SessionCache::accept`] |
/// | a ClientHello with a session id, a TLS 1.3 identity | [`resume`](Self::resume), [`resume_once`](Self::resume_once) |
/// | the binder was right: `SSL_CTX_remove_session` as anti-replay | [`claim`](Self::claim) |
/// | the handshake is complete, a ticket goes out | [`finish`](Self::finish), [`establish`](Self::establish) |
/// | `SSL_shutdown` | [`close`](Self::close) |
/// | a fatal alert | [`fail`](Self::fail) |
/// | `SSL_free` without a shutdown | dropping it |
///
/// A connection that is dropped without [`close`](Self::close) after its handshake was finished was cut off, maybe by
/// somebody in between: its session is removed, and the remove callback called, once. Where the handshake was not finished
/// either, nobody has proved anything, and the session stays.
///
/// # Examples
///
/// ```
/// use refrain::{ContextId, SessionCache, SessionId};
///
/// let cache = SessionCache::builder().build()?;
/// let context = cache.context(ContextId::derive("shop", &[("cert", b"fingerprint")]))?;
///
/// // A full handshake.
/// let mut first = cache.accept(&context);
/// assert!(first.resume(b"what the client offered").is_none());
/// let session = first.session_builder(SessionId::new(&[7; 32])?).build(b"state")?;
/// assert!(first.establish(session));
/// first.close();
///
/// // The client is back, with a session that works once.
/// let mut second = cache.accept(&context);
/// assert_eq!(second.resume_once([7; 32]).map(|session| session.payload()), Some(&b"state"[..]));
/// // ... the TLS stack verifies that the client knows the secret ...
/// assert!(second.claim() && second.reused());
/// second.finish();
/// second.close();
///
/// assert!(cache.accept(&context).resume([7; 32]).is_none());
/// # Ok::<(), refrain::Error>(())
/// ```
#[doc(alias = "SSL_new")]
#[must_use = "dropping it is an unclean end"]
pub struct Connection {
    cache: SessionCache,
    context: Context,
    generation: Generation,
    side: Side,
    server_name: Option<Box<str>>,
    external_limit: u32,
    external_left: u32,
    session: Option<Session>,
    /// Whether anybody may know of the session, so that its removal is news.
    known: bool,
    /// The deadline of what this handshake itself has authenticated.
    not_after: Time,
    /// The deadline that came with the session that was found or offered.
    inherited: Time,
    offer: Offer,
    finished: bool,
    closed: bool,
    resumable: bool,
    /// Whether its handshakes are counted here, and not by the TLS stack.
    counted: bool,
}

impl SessionCache {
    /// A server's connection, in the context's current generation.
    #[doc(alias = "SSL_accept")]
    pub fn accept(&self, context: &Context) -> Connection {
        self.count(Event::Accept);
        Connection::new(self, context, context.generation(), Side::Server, true)
    }

    /// A client's connection. It stores what it negotiates if the mode has [`CLIENT`](crate::CacheMode::CLIENT). It looks
    /// nothing up, as in OpenSSL: the application finds a session by a key of its own, and [`offer`](Connection::offer)s it.
    #[doc(alias = "SSL_connect")]
    pub fn connect(&self, context: &Context) -> Connection {
        self.count(Event::Connect);
        Connection::new(self, context, context.generation(), Side::Client, true)
    }
}

impl Connection {
    pub(crate) fn new(
        cache: &SessionCache,
        context: &Context,
        generation: Generation,
        side: Side,
        counted: bool,
    ) -> Self {
        let limit = cache.external_lookups();
        Self {
            cache: cache.clone(),
            context: context.clone(),
            generation,
            side,
            server_name: None,
            external_limit: limit,
            external_left: limit,
            session: None,
            known: false,
            not_after: Time::MAX,
            inherited: Time::MAX,
            offer: Offer::None,
            finished: false,
            closed: false,
            resumable: true,
            counted,
        }
    }

    fn count(&self, server: Event, client: Event) {
        if self.counted {
            self.cache.count(match self.side {
                Side::Server => server,
                Side::Client => client,
            });
        }
    }

    /// The server name of this handshake, without regard to case; an empty one is none. A session is resumed only under
    /// the name that it is bound to, and one that is bound to none only where there is none (CVE-2025-23419).
    pub fn set_server_name(&mut self, name: Option<&str>) {
        let name = name.filter(|name| !name.is_empty());
        self.server_name = name.map(|name| name.to_ascii_lowercase().into());
    }

    /// How many look-ups of a handshake may reach the get callback and a shared tier, instead of [`EXTERNAL_LOOKUPS`]. Further ones are
    /// misses, counted in [`Stats::external_denied`](crate::Stats::external_denied).
    pub fn set_external_lookups(&mut self, limit: u32) {
        self.external_limit = limit;
        self.external_left = limit;
    }

    /// The generation of the context when the handshake began.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The session that a client will offer to the server. It is reused if the handshake is [finished](Self::finish)
    /// before it was [declined](Self::decline).
    #[doc(alias = "SSL_set_session")]
    pub fn offer(&mut self, session: Session) {
        self.drop_bad_session();
        self.inherited = session.not_after();
        self.session = Some(session);
        self.known = true;
        self.offer = Offer::Open;
    }

    /// The moment at which what this handshake authenticates ends, such as the expiry of the client's certificate.
    pub fn set_not_after(&mut self, time: Time) {
        self.not_after = time;
    }

    /// Begins a session of this connection: with the generation of the handshake's start, with the server name, and with
    /// the authentication's deadline: its own, or that of the session that was resumed, which so ends a chain of
    /// resumptions.
    pub fn session_builder(&self, id: SessionId) -> SessionBuilder<'_> {
        let mut builder = Session::builder(&self.context, id).generation(self.generation);
        let not_after = self.not_after.min(self.inherited);
        if not_after != Time::MAX {
            builder = builder.not_after(not_after);
        }
        match &self.server_name {
            Some(name) => builder.server_name(name),
            None => builder,
        }
    }

    /// Stores a session that the handshake has established and tells the new callback; TLS 1.3 does it once per ticket.
    /// From here on it is the connection's [`session`](Self::session), and the handshake counts as
    /// [finished](Self::finish). Returns whether it is stored anywhere: in the cache, or by the callback.
    ///
    /// Nothing is stored if the mode does not have the connection's side, after
    /// [`forbid_resumption`](Self::forbid_resumption), and if the context was invalidated since the handshake began.
    #[doc(alias = "SSL_CTX_sess_set_new_cb")]
    #[doc(alias = "SSL_new_session_ticket")]
    pub fn establish(&mut self, session: Session) -> bool {
        self.establish_for(session, Usage::OnceProved, None)
    }

    /// As [`establish`](Self::establish), for look-ups of this usage; with the host's context that the session's tag names.
    pub(crate) fn establish_for(
        &mut self,
        session: Session,
        usage: Usage,
        host: Option<&ContextId>,
    ) -> bool {
        self.finish();
        self.session = Some(session.clone());
        if matches!(self.offer, Offer::Reused { .. }) {
            self.offer = Offer::Past;
        }
        let context = &self.context;
        let shelf = Shelf {
            context,
            usage,
            host,
        };
        self.known = self.resumable && self.cache.establish(self.side, session, shelf);
        self.known
    }

    /// Lets go of the session without any consequence, for a TLS stack that keeps a handle of its own.
    #[cfg(feature = "openssl")]
    pub(crate) fn forget(&mut self) {
        self.session = None;
    }

    /// The handshake is complete. From here on, an unclean end removes the session.
    pub fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        match self.offer {
            // Nobody has proved anything about it.
            Offer::Unclaimed | Offer::Held => self.decline(),
            Offer::Open => {
                self.offer = Offer::Reused { claimed: false };
                self.cache.count(Event::Hit);
            }
            Offer::None | Offer::Past | Offer::Reused { .. } => {}
        }
        self.count(Event::AcceptGood, Event::ConnectGood);
    }

    /// Keeps what this connection establishes out of the cache and from the new callback.
    #[doc(alias = "SSL_CTX_set_not_resumable_session_callback")]
    #[doc(alias = "SSL_set_not_resumable_session_callback")]
    pub fn forbid_resumption(&mut self) {
        self.resumable = false;
    }

    /// Another handshake begins on the connection. Its look-ups are bounded anew; the generation stays, and so does the
    /// session until there is another.
    #[doc(alias = "SSL_renegotiate")]
    pub fn renegotiate(&mut self) {
        self.finished = false;
        self.external_left = self.external_limit;
        self.offer = Offer::None;
        self.inherited = Time::MAX;
        self.count(Event::AcceptAgain, Event::ConnectAgain);
    }

    /// The connection's session, if it has one: found, offered, or the one that was established last. Get0: the borrow
    /// can't outlive the connection's own reference.
    #[doc(alias = "SSL_get_session")]
    #[doc(alias = "SSL_get0_session")]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// As [`session`](Self::session), with a reference of the caller's own: get1.
    #[doc(alias = "SSL_get1_session")]
    pub fn session_owned(&self) -> Option<Session> {
        self.session.clone()
    }

    /// Whether the handshake resumes, or has resumed, a session. One for single use counts once it was claimed, and a
    /// client's once the handshake was finished with it.
    #[doc(alias = "SSL_session_reused")]
    pub fn reused(&self) -> bool {
        matches!(self.offer, Offer::Reused { .. } | Offer::Past)
    }

    /// The connection was shut down in order: its session stays.
    #[doc(alias = "SSL_shutdown")]
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// A fatal alert was sent or received: the session is removed, and the remove callback called once, as TLS 1.2 demands
    /// (RFC 5246, 7.2.2), even in the middle of a handshake. A session for single use that was not claimed stays: nobody
    /// has proved anything about it.
    #[doc(alias = "SSL_CTX_remove_session")]
    pub fn fail(&mut self) {
        self.closed = true;
        if self.offer == Offer::Unclaimed {
            return;
        }
        if let Some(session) = self.session.as_ref().filter(|_| self.known) {
            self.cache.remove_exact(session);
        }
    }

    /// Ends the connection as dropping it would, and makes it ready for the next one, of the same side, context and bound
    /// on look-ups; it counts as begun. A client that has closed in order keeps its session, and offers it again.
    #[doc(alias = "SSL_clear")]
    pub fn clear(&mut self) {
        let kept = (self.side == Side::Client && self.closed)
            .then(|| self.session.take())
            .flatten()
            .filter(Session::is_resumable);
        self.drop_bad_session();
        let fresh = match self.side {
            Side::Server => self.cache.accept(&self.context),
            Side::Client => self.cache.connect(&self.context),
        };
        let limit = self.external_limit;
        // The one before has nothing left to remove.
        *self = fresh;
        self.set_external_lookups(limit);
        if let Some(session) = kept {
            self.offer(session);
        }
    }

    /// Removes the session of a connection that ends uncleanly.
    fn drop_bad_session(&mut self) {
        let bad = self.finished && !self.closed && self.known;
        if let Some(session) = self.session.take().filter(|_| bad) {
            self.cache.remove_exact(&session);
        }
    }
}

impl Drop for Connection {
    #[doc(alias = "SSL_free")]
    fn drop(&mut self) {
        self.drop_bad_session();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("context", &self.context)
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
