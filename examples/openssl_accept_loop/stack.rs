//! The server's TLS library: libssl, by the crate openssl. Each of the two examples has a file of this name and interface.

use std::cell::Cell;
use std::ffi::{c_int, c_long};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::ssl::{
    SslAcceptor, SslAcceptorBuilder, SslMethod, SslOptions, SslSessionCacheMode, SslStream,
    SslVersion,
};
use openssl::x509::X509;
use refrain::adapter::openssl::Sessions;
use refrain::{SessCounters, SessionCache, Time};

use crate::args::{CacheKind, Options, TlsChoice};
use crate::census;
use crate::checker::Checker;
use crate::flood::Flush;
use crate::library::Library;
use crate::net::Bounded;
use crate::output::Failure;
use crate::own;
use crate::pki::Pki;
use crate::store;

/// The example's name.
pub(crate) const PROGRAM: &str = "openssl_accept_loop";
/// The library's name, and that of its own cache on the command line.
pub(crate) const LIBRARY: &str = "openssl";
/// The caches that `--flush` goes with.
pub(crate) const FLUSHES: &str = "refrain or openssl";
/// What `--help` says of `--cache`.
pub(crate) const CACHE_HELP: &str = "\
--cache CACHE       refrain, openssl (libssl's internal cache, whose TLS 1.3 sessions work more than once and whose
                      lifetimes are whole seconds) or none, for comparison: with the last two the checks on sessions
                      and books are off [default: refrain]";

/// What the server's threads accept connections with.
pub(crate) struct Stack {
    acceptor: SslAcceptor,
    /// Who is told of new sessions.
    checker: Option<Arc<Checker>>,
}

thread_local! {
    /// The id of the session that the handshake on this thread has made, and whether the cache keeps it.
    static MADE: Cell<Option<(Vec<u8>, bool)>> = const { Cell::new(None) };
}

impl Stack {
    /// A server that keeps its sessions where the options say. It makes no tickets that hold a session, so every
    /// resumption asks the cache. `cache` is there if it is Refrain, and `checker` if there is one to look on.
    pub(crate) fn open(
        options: &Options,
        pki: &Pki,
        cache: Option<&SessionCache>,
        checker: Option<&Arc<Checker>>,
    ) -> Result<Self, Failure> {
        census::begin()?;
        let mut builder = acceptor(options.tls, pki).map_err(broken)?;
        match cache {
            Some(cache) => Sessions::new(cache, store::context_id())
                .map_err(broken)?
                .install(&mut builder),
            None => own_cache(&mut builder, options),
        }
        .map_err(broken)?;
        if checker.is_some() {
            watch(&mut builder, cache);
        }
        Ok(Self {
            acceptor: builder.build(),
            checker: checker.cloned(),
        })
    }

    /// Fills libssl's own cache.
    pub(crate) fn fill(
        &self,
        sessions: usize,
        timeout: Duration,
    ) -> Result<Option<Flush>, Failure> {
        own::fill(&self.acceptor, sessions, timeout).map(Some)
    }

    /// Makes the handshake.
    pub(crate) fn accept<'a>(&self, stream: Bounded<'a>) -> io::Result<Accepted<'a>> {
        let began = Instant::now();
        let accepted = self.acceptor.accept(stream);
        // The client can't come back with it yet, because it waits for the page.
        if let (Some(checker), Some((id, cached))) = (&self.checker, MADE.take()) {
            checker.stored(&id, began, cached);
        }
        let stream = accepted.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Accepted { stream })
    }

    /// Ends the server's use of the cache, and says what libssl has counted.
    pub(crate) fn close(self) -> Library {
        let counters = SessCounters::of(self.acceptor.context());
        // With the last of its connections gone, this frees the `SSL_CTX` and all that hangs on it.
        drop(self);
        let (made, freed) = census::counts();
        let mut faults = Vec::new();
        if made != freed {
            faults.push(format!("{made} SSL_SESSIONs were made, but {freed} freed"));
        }
        Library {
            groups: vec![
                (
                    "libssl",
                    vec![
                        ("accept", counters.accept),
                        ("accept_good", counters.accept_good),
                        ("hits", counters.hits),
                        ("cb_hits", counters.cb_hits),
                        ("misses", counters.misses),
                        ("timeouts", counters.timeouts),
                        ("cache_full", counters.cache_full),
                        ("number", counters.number),
                    ],
                ),
                ("objects", vec![("made", made), ("freed", freed)]),
            ],
            faults,
        }
    }
}

/// An acceptor with the certificate and the versions, whose sessions are nowhere yet.
fn acceptor(tls: TlsChoice, pki: &Pki) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let key = PKey::private_key_from_pkcs8(pki.leaf_key.secret_pkcs8_der())?;
    builder.set_private_key(&key)?;
    builder.set_certificate(&*X509::from_der(&pki.leaf)?)?;
    let (oldest, newest) = match tls {
        TlsChoice::Tls12 => (SslVersion::TLS1_2, SslVersion::TLS1_2),
        TlsChoice::Tls13 => (SslVersion::TLS1_3, SslVersion::TLS1_3),
        TlsChoice::Both => (SslVersion::TLS1_2, SslVersion::TLS1_3),
    };
    builder.set_min_proto_version(Some(oldest))?;
    builder.set_max_proto_version(Some(newest))?;
    // A client of the fleet uses one session per visit: one is enough, and two would only fill the cache.
    builder.set_num_tickets(1)?;
    Ok(builder)
}

/// libssl's internal cache, or none.
fn own_cache(builder: &mut SslAcceptorBuilder, options: &Options) -> Result<(), ErrorStack> {
    // With this, what libssl calls a ticket is the id of a session that it keeps.
    builder.set_options(SslOptions::NO_TICKET);
    if options.cache == CacheKind::None {
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        return builder.set_num_tickets(0);
    }
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    builder.set_session_id_context(PROGRAM.as_bytes())?;
    builder.set_session_cache_size(i32::try_from(options.room()).unwrap_or(i32::MAX));
    set_timeout(builder, options.timeout);
    Ok(())
}

/// Has [`MADE`] filled when a handshake's session is stored: by Refrain, or by libssl, which keeps what it tells of.
fn watch(builder: &mut SslAcceptorBuilder, cache: Option<&SessionCache>) {
    match cache {
        Some(cache) => {
            cache.set_on_new(Some(Arc::new(|session| {
                // One that was refused is over, or was never begun.
                let cached = session.is_resumable() && session.deadline() > Time::ZERO;
                MADE.set(Some((session.id().to_vec(), cached)));
                true
            })));
        }
        None => builder.set_new_session_callback(|_, session| {
            MADE.set(Some((session.id().to_vec(), true)));
        }),
    }
}

/// How long libssl's own sessions live: in seconds, rounded up, because none would mean its default.
fn set_timeout(builder: &mut SslAcceptorBuilder, timeout: Duration) {
    unsafe extern "C" {
        fn SSL_CTX_set_timeout(ctx: *mut openssl_sys::SSL_CTX, seconds: c_long) -> c_long;
    }
    let seconds = timeout.as_secs_f64().ceil() as c_int;
    // SAFETY: the builder owns a valid `SSL_CTX`, and the call stores a number in it.
    unsafe { SSL_CTX_set_timeout(builder.as_ptr(), seconds.into()) };
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::broken(error.to_string())
}

/// A connection after its handshake.
pub(crate) struct Accepted<'a> {
    /// What to read from and write to.
    pub(crate) stream: SslStream<Bounded<'a>>,
}

impl Accepted<'_> {
    pub(crate) fn version(&self) -> &'static str {
        match self.stream.ssl().version2() {
            Some(SslVersion::TLS1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        }
    }

    pub(crate) fn resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// Says goodbye. Without it the client could not know that it has got everything, and libssl would take the session
    /// out of the cache.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.stream.shutdown().map(drop).map_err(io::Error::other)
    }
}
