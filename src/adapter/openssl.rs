//! The cache behind an `SSL_CTX` of the crate openssl.
//!
//! ```
//! use openssl::ssl::{SslAcceptor, SslMethod};
//! use refrain::adapter::openssl::Sessions;
//! use refrain::{ContextId, SessionCache};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = SessionCache::builder().capacity(100_000).build()?;
//! let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
//! Sessions::new(&cache, ContextId::derive("my-server", &[("cert", b"fingerprint")]))?.install(&mut acceptor)?;
//! # Ok(())
//! # }
//! ```
//!
//! With this, libssl keeps no session of its own, and no look-up takes a lock of its. (It still locks its context for a
//! moment when it makes an id, and when a connection ends badly.) The cache outlives the `SSL_CTX`: build the next one,
//! with a new certificate or a new policy, on the same cache.
//!
//! * **TLS 1.2** resumes by session ids, as often as the client likes, and **TLS 1.3** by stateful tickets, each of which
//!   works once: whoever offers it takes it out of the cache. So 0-RTT data is accepted once; libssl's own protection, which
//!   needs its own cache, is switched off. Where several servers share a store, that store must hand each session out once,
//!   and the mode be [`NO_INTERNAL`](crate::CacheMode::NO_INTERNAL): see [security](crate::manual::security). Like libssl
//!   itself, this takes a TLS 1.3 session before the client has proved that it knows the secret: who has seen a ticket on
//!   the wire can burn it, and its owner then gets a full handshake. A TLS 1.2 session that is here can't be burnt by
//!   offering its id in TLS 1.3, nor one of another server name or cipher's hash.
//! * A session is **immutable DER** in the cache (behind it stands when its authentication ends, which so gets through an
//!   external store too), encoded and decoded on the handshake's thread with nothing held; every resumption gets an
//!   `SSL_SESSION` of its own. libssl's shared, mutable sessions are where CVE-2024-2511 and its relatives came from.
//! * A session is bound to the **server name** that it was made under, and does not resume under another
//!   (CVE-2025-23419), unless [`any_server_name`](Sessions::any_server_name) says otherwise.
//! * Where a server name callback **switches contexts**, libssl goes on asking the one that the `SSL` was made from: its
//!   [`ContextId`] must cover the policies of all its hosts. Where the cache is installed on the hosts' contexts too, a
//!   host's sessions end when that host's context is [invalidated](crate::SessionCache::invalidate_context).
//! * The **generation** of the context is that of the moment at which the `SSL` was made: what was authenticated before
//!   [`invalidate_context`](crate::SessionCache::invalidate_context) is not stored after it.
//! * A chain of resumptions ends with the [authentication's lifetime](Sessions::authentication_lifetime). libssl would
//!   prolong it for ever.
//! * What it **costs** a handshake, besides the cache: encoding or decoding one session, each between one and two
//!   microseconds with libssl 3.0; with a client's certificate in it, decoding takes as long as libssl takes to read that
//!   certificate (tens of microseconds).
//! * Panics, of callbacks or of anything here, never reach libssl.
//!
//! libssl counts handshakes itself, see [`SessCounters::of`]; sessions are counted by [`Stats`](crate::Stats). libssl 1.1.1
//! to 4.x: tested with 3.0 and 4.0, and written to build with 1.1.1, which is not tested.

mod attached;
pub(crate) mod der;
mod ffi;
mod hooks;
mod terms;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslContextRef, SslOptions, SslSessionCacheMode};

use crate::cache::SessionCache;
use crate::context::Context;
use crate::error::Error;
use crate::id::ContextId;
use crate::stats::SessCounters;
use crate::tagged::TaggedIds;

use foreign_types::ForeignTypeRef;
use hooks::Installed;

/// How long what a full handshake has authenticated may be resumed, unless it is told otherwise.
pub const AUTHENTICATION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// What a connection's end without a close_notify means for its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UncleanShutdown {
    /// The session is removed, as in OpenSSL: somebody may have cut the connection off.
    #[default]
    Remove,
    /// The session stays, for clients that never close in order, such as many of FTPS. A fatal alert still removes it. So
    /// does [`SessionCache::remove`]; but a direct call of `SSL_CTX_remove_session` for a connection's session is taken for
    /// such an end, and does nothing.
    Keep,
}

/// Installs a [`SessionCache`] on contexts of the crate openssl, and says how it is to be used. Clones are the same.
#[derive(Clone)]
#[must_use = "it does nothing until it is installed"]
pub struct Sessions {
    cache: SessionCache,
    context: Context,
    ids: Option<TaggedIds>,
    unclean: UncleanShutdown,
    external_lookups: u32,
    any_server_name: bool,
    stateless_tickets: bool,
    lifetime: Duration,
}

impl Sessions {
    /// Sessions of one policy. The context decides which `SSL_CTX`s may resume each other's sessions: derive it from the
    /// certificates, the client CAs and whatever else differs between your policies. It also becomes libssl's session id
    /// context.
    ///
    /// # Errors
    ///
    /// As [`SessionCache::context`].
    pub fn new(cache: &SessionCache, context: ContextId) -> Result<Self, Error> {
        Ok(Self {
            context: cache.context(context)?,
            cache: cache.clone(),
            ids: None,
            unclean: UncleanShutdown::default(),
            external_lookups: cache.external_lookups(),
            any_server_name: false,
            stateless_tickets: false,
            lifetime: AUTHENTICATION_LIFETIME,
        })
    }

    /// Makes session ids that carry a keyed tag, and refuses all others before they cost a look-up; they are counted in
    /// [`Stats::forged`](crate::Stats::forged). Sessions with other ids, from before, are lost.
    ///
    /// Contexts between which a server name callback switches need the same `ids`: install the same `Sessions` on each, or
    /// its clone. An id is made by those of the context that was switched to, and recognised by those of the one before.
    #[doc(alias = "SSL_CTX_set_generate_session_id")]
    pub fn tagged_ids(mut self, ids: TaggedIds) -> Self {
        self.ids = Some(ids);
        self
    }

    /// What a connection's end without a close_notify means for its session. [`UncleanShutdown::Remove`] by default.
    pub fn unclean_shutdown(mut self, choice: UncleanShutdown) -> Self {
        self.unclean = choice;
        self
    }

    /// How many look-ups of one handshake may reach the get callback; [`EXTERNAL_LOOKUPS`](crate::EXTERNAL_LOOKUPS) by default. One ClientHello can
    /// carry more than a thousand ids.
    pub fn external_lookups(mut self, limit: u32) -> Self {
        self.external_lookups = limit;
        self
    }

    /// Lets sessions resume under other server names than the one that they were made under. Only for servers that
    /// give everybody the same, whatever name they ask for.
    pub fn any_server_name(mut self) -> Self {
        self.any_server_name = true;
        self
    }

    /// Leaves stateless tickets on: clients that can use them don't use the cache. It then serves TLS 1.2 clients without
    /// tickets only. Not together with early data: libssl's protection against its replay needs libssl's own cache, so
    /// that no TLS 1.3 session of such a server would resume.
    pub fn stateless_tickets(mut self) -> Self {
        self.stateless_tickets = true;
        self
    }

    /// How long what a full handshake has authenticated may be resumed, however long the chain of resumptions;
    /// [`AUTHENTICATION_LIFETIME`] by default. What is too long for the clock means for ever.
    pub fn authentication_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// The cache behind it.
    pub fn cache(&self) -> &SessionCache {
        &self.cache
    }

    /// The context of its sessions.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Puts the cache behind a context.
    ///
    /// It sets the new, get and remove callbacks; the modes `SERVER`, `NO_INTERNAL` and `NO_AUTO_CLEAR`; the session id
    /// context; the timeout, to the cache's; unless [stateless tickets](Self::stateless_tickets) are wanted,
    /// `SSL_OP_NO_TICKET` and `SSL_OP_NO_ANTI_REPLAY`; and, with [tagged ids](Self::tagged_ids), the callback that
    /// generates them. Don't change these afterwards. The context's `SSL`s must be made by the crate
    /// openssl, and each serve one connection: `SSL_clear`, which `SSL_stateless` calls too, does not make a new one of it
    /// here.
    ///
    /// # Errors
    ///
    /// When libssl has no memory.
    #[doc(alias = "SSL_CTX_sess_set_new_cb")]
    #[doc(alias = "SSL_CTX_sess_set_get_cb")]
    #[doc(alias = "SSL_CTX_sess_set_remove_cb")]
    #[doc(alias = "SSL_CTX_set_session_cache_mode")]
    #[doc(alias = "SSL_CTX_set_timeout")]
    pub fn install(&self, builder: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let indexes = hooks::Indexes::new()?;
        builder.set_session_id_context(self.context.id().as_bytes())?;
        let mode = SslSessionCacheMode::SERVER
            | SslSessionCacheMode::NO_INTERNAL
            | SslSessionCacheMode::NO_AUTO_CLEAR;
        builder.set_session_cache_mode(mode);
        if !self.stateless_tickets {
            // The two belong together: without its anti-replay, libssl would accept a stateless ticket's early data again
            // and again.
            let options = ffi::NO_TICKET | ffi::NO_ANTI_REPLAY;
            builder.set_options(SslOptions::from_bits_retain(options as _));
        }
        // libssl takes zero for its own default.
        let timeout = hooks::seconds(self.cache.timeout()).max(1);
        // SAFETY: a live context, which nobody else has yet.
        unsafe { ffi::SSL_CTX_set_timeout(builder.as_ptr(), timeout) };
        if self.ids.is_some() {
            // SAFETY: as above; the function lives for good.
            unsafe {
                ffi::SSL_CTX_set_generate_session_id(builder.as_ptr(), Some(hooks::generate));
            }
        }

        let installed = Arc::new(Installed {
            sessions: self.clone(),
            indexes,
            timeout,
        });
        builder.set_ex_data(indexes.installed, Arc::clone(&installed));
        let finder = Arc::clone(&installed);
        let remover = Arc::clone(&installed);
        builder.set_new_session_callback(move |ssl, session| installed.on_new(ssl, &session));
        builder.set_remove_session_callback(move |_, session| remover.on_remove(session));
        // SAFETY: each session that it returns was made a moment ago, and belongs to nobody else.
        unsafe { builder.set_get_session_callback(move |ssl, id| finder.on_get(ssl, id)) };
        Ok(())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("cache", &self.cache)
            .field("context", &self.context)
            .field("ids", &self.ids)
            .field("unclean", &self.unclean)
            .field("external_lookups", &self.external_lookups)
            .field("any_server_name", &self.any_server_name)
            .field("stateless_tickets", &self.stateless_tickets)
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

impl SessCounters {
    /// What libssl itself has counted for a context, whoever keeps its sessions.
    pub fn of(context: &SslContextRef) -> Self {
        let mut counts = ffi::CTRL_SESS.map(|number| {
            // SAFETY: a live context; these controls read a number and ignore their arguments.
            let count =
                unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), number, 0, std::ptr::null_mut()) };
            u64::try_from(count).unwrap_or(0)
        });
        let mut next = || counts.next().unwrap_or(0);
        // The order of the controls' numbers.
        Self {
            number: next(),
            connect: next(),
            connect_good: next(),
            connect_renegotiate: next(),
            accept: next(),
            accept_good: next(),
            accept_renegotiate: next(),
            hits: next(),
            cb_hits: next(),
            misses: next(),
            timeouts: next(),
            cache_full: next(),
        }
    }
}
