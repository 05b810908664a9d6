//! A session: immutable bytes with a fixed identity, behind a counted handle.

use std::fmt;
use std::time::Duration;

use crate::clock::Time;
use crate::context::{Context, Generation};
use crate::engine::header::{Extras, Parts, Raw};
use crate::engine::word::Life;
use crate::error::Error;
use crate::id::SessionId;

/// A handle to one session. Cloning counts one more reference (`SSL_SESSION_up_ref`), dropping gives it back
/// (`SSL_SESSION_free`); the last one wipes the session's memory and frees it.
///
/// Its bytes never change. A session is added to one cache, once, and never comes back after it has left; handles
/// outlive that, and the cache too. `Debug` shows neither payload nor id.
///
/// One block of memory holds the header (one cache line) and the payload behind it. Cloning and dropping are wait-free: one
/// locked instruction each. The last handle needs none; it wipes the memory and keeps it for another session of the same size,
/// which is lock-free once in a few dozen times; of more than 4 KiB it is given to the allocator.
///
/// # Examples
///
/// ```
/// use refrain::{ContextId, Session, SessionCache, SessionId};
///
/// let cache = SessionCache::builder().build()?;
/// let context = cache.context(ContextId::derive("example", &[]))?;
/// let session = Session::new(&context, SessionId::new(b"id")?, b"secret")?;
/// assert_eq!(session.payload(), b"secret");
/// assert_eq!(session.references(), 1);
/// # Ok::<(), refrain::Error>(())
/// ```
pub struct Session(Raw);

// A handle is a pointer with a niche: what lookups return costs no more.
const _: () = assert!(size_of::<Option<Session>>() == size_of::<usize>());

impl Session {
    /// A session of these bytes, for this context as it is now, with the cache's timeout.
    ///
    /// One copy of the payload; the caller's copy is the caller's to wipe. The memory is that of a session that is gone, if this
    /// thread has such a block or is given some by another, which is lock-free; else, and for more than 4 KiB, it is an allocation.
    ///
    /// # Errors
    ///
    /// [`Error::PayloadLength`] for 16 MiB or more, [`Error::OutOfMemory`] if the allocator has no memory, and
    /// [`Error::AddressSpace`] on machines whose allocator uses the upper 16 bits of addresses.
    #[doc(alias = "d2i_SSL_SESSION")]
    #[doc(alias = "SSL_SESSION_new")]
    pub fn new(context: &Context, id: SessionId, payload: &[u8]) -> Result<Self, Error> {
        Raw::new(&Parts {
            id: &id,
            context: context.number(),
            owner: context.cache(),
            extras: None,
            name: b"",
            payload,
        })
        .map(Self)
    }

    /// A session with a timeout of its own, an authentication deadline, a tag or a server name.
    pub fn builder(context: &Context, id: SessionId) -> SessionBuilder<'_> {
        SessionBuilder {
            id,
            generation: Ok(context.generation()),
            owner: context.cache(),
            extras: None,
            name: "",
        }
    }

    /// The handle of a reference that the caller has.
    ///
    /// # Safety
    ///
    /// The caller hands its reference over, or keeps the handle from being dropped.
    pub(crate) unsafe fn from_raw(raw: Raw) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(&self) -> Raw {
        self.0
    }

    /// The reference, without the handle.
    pub(crate) fn into_raw(self) -> Raw {
        std::mem::ManuallyDrop::new(self).0
    }

    /// The id.
    #[doc(alias = "SSL_SESSION_get_id")]
    pub fn id(&self) -> &[u8] {
        // SAFETY: the handle is a reference; so in all the methods below.
        unsafe { self.0.id() }
    }

    /// The id as a value, for lookups.
    pub fn session_id(&self) -> SessionId {
        // SAFETY: as in `id`.
        unsafe { self.0.session_id() }
    }

    /// The bytes that the TLS stack stored.
    #[inline]
    #[doc(alias = "i2d_SSL_SESSION")]
    pub fn payload(&self) -> &[u8] {
        // SAFETY: as in `id`.
        unsafe { self.0.payload() }
    }

    /// When it expires, by the cache's [clock](crate::SessionCache::now); [`Time::ZERO`] as long as it has not been added.
    #[doc(alias = "SSL_SESSION_get_time")]
    #[doc(alias = "SSL_SESSION_set_time")]
    #[doc(alias = "SSL_SESSION_get_time_ex")]
    #[doc(alias = "SSL_SESSION_set_time_ex")]
    pub fn deadline(&self) -> Time {
        // SAFETY: as in `id`.
        unsafe { self.0.header() }.state.load().deadline()
    }

    /// The timeout that it was built with, if it has one of its own.
    #[doc(alias = "SSL_SESSION_get_timeout")]
    pub fn timeout(&self) -> Option<Duration> {
        // SAFETY: as in `id`.
        match unsafe { self.0.extras() }.timeout {
            Extras::NO_TIMEOUT => None,
            millis => Some(Duration::from_millis(millis)),
        }
    }

    /// The moment that neither its own timeout nor a chain of resumptions may pass; [`Time::MAX`] if there is none.
    /// Who stores a session born from a resumption passes the old one's on.
    pub fn not_after(&self) -> Time {
        // SAFETY: as in `id`.
        unsafe { self.0.extras() }.not_after
    }

    /// The tag that it was built with, zero by default.
    pub fn tag(&self) -> u64 {
        // SAFETY: as in `id`.
        unsafe { self.0.extras() }.tag
    }

    /// The server name that it is bound to, if any.
    #[doc(alias = "SSL_SESSION_get0_hostname")]
    pub fn server_name(&self) -> Option<&str> {
        // SAFETY: as in `id`.
        let name = unsafe { self.0.name() };
        // It was a `str` when it was written.
        (!name.is_empty()).then(|| std::str::from_utf8(name).unwrap_or_default())
    }

    /// Whether it may be resumed under this server name: its own, or none if it is bound to none. Regardless of case.
    pub fn is_for(&self, server_name: Option<&str>) -> bool {
        match (self.server_name(), server_name) {
            (Some(bound), Some(name)) => bound.eq_ignore_ascii_case(name),
            (bound, name) => bound == name,
        }
    }

    /// Whether it has not left a cache: a session that was taken, removed, expired, evicted or replaced is not
    /// resumable any more, even though its bytes are still here.
    #[doc(alias = "SSL_SESSION_is_resumable")]
    pub fn is_resumable(&self) -> bool {
        // SAFETY: as in `id`.
        let life = unsafe { self.0.header() }.state.load().life();
        matches!(life, Life::New | Life::Live)
    }

    /// How many references there are at this moment, the cache's included.
    pub fn references(&self) -> u32 {
        // SAFETY: as in `id`.
        unsafe { self.0.refs() }
    }

    /// Whether two handles are of the same session object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// The memory that it takes, in bytes: what counts against the byte budget.
    pub fn memory(&self) -> usize {
        // SAFETY: as in `id`.
        unsafe { self.0.units() as usize * crate::budget::UNIT }
    }
}

impl Clone for Session {
    /// # Panics
    ///
    /// Never; beyond two billion references it aborts, as `Arc` does.
    #[doc(alias = "SSL_SESSION_up_ref")]
    fn clone(&self) -> Self {
        // SAFETY: the handle is a reference.
        unsafe { self.0.retain() };
        Self(self.0)
    }
}

impl Drop for Session {
    #[doc(alias = "SSL_SESSION_free")]
    fn drop(&mut self) {
        // SAFETY: the handle is a reference, and ends here.
        unsafe { self.0.release() };
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the handle is a reference.
        let state = unsafe { self.0.header() }.state.load();
        f.debug_struct("Session")
            .field("state", &state)
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// Builds a [`Session`] that needs more than an id and a payload. Made by [`Session::builder`].
///
/// A session with any of these carries 32 bytes more, and the server name.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionBuilder<'a> {
    id: SessionId,
    /// Or that one of another context was given.
    generation: Result<Generation, Error>,
    owner: u32,
    extras: Option<Extras>,
    name: &'a str,
}

impl<'a> SessionBuilder<'a> {
    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert(Extras::NONE)
    }

    /// How long it lives from the moment it is added, instead of the cache's timeout. Zero means expired at once;
    /// what is too long for the clock means never.
    #[doc(alias = "SSL_SESSION_set_timeout")]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.extras().timeout = (Time::ZERO + timeout).as_millis();
        self
    }

    /// The moment that no deadline of it may pass: when the authentication behind it ends.
    pub fn not_after(mut self, time: Time) -> Self {
        self.extras().not_after = time;
        self
    }

    /// A number that [`retain`](crate::SessionCache::retain) can look for, for example from the client's certificate.
    pub fn tag(mut self, tag: u64) -> Self {
        self.extras().tag = tag;
        self
    }

    /// The server name that it may be resumed for.
    pub fn server_name<'b>(self, name: &'b str) -> SessionBuilder<'b>
    where
        'a: 'b,
    {
        SessionBuilder { name, ..self }
    }

    /// The generation in which the handshake began, instead of the context's current one: if the context has been
    /// invalidated since, the session will not be cached.
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = match self.generation {
            Ok(own) if !own.is_akin(generation) => Err(Error::ForeignGeneration),
            Ok(_) => Ok(generation),
            error => error,
        };
        self
    }

    /// The session, with this payload.
    ///
    /// # Errors
    ///
    /// As [`Session::new`]; [`Error::ServerNameLength`] for a server name of more than 255 bytes; and
    /// [`Error::ForeignGeneration`] for the generation of another context.
    pub fn build(self, payload: &[u8]) -> Result<Session, Error> {
        Raw::new(&Parts {
            id: &self.id,
            context: self.generation?.number(),
            owner: self.owner,
            extras: self.extras,
            name: self.name.as_bytes(),
            payload,
        })
        .map(Session)
    }
}
