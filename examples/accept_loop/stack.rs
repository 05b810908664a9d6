//! The server's TLS library: rustls. Each of the two examples has a file of this name and interface.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use refrain::SessionCache;
use refrain::adapter::rustls::Sessions;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};

use crate::accepted::Accepted;
use crate::args::{CacheKind, Options};
use crate::checked::Checked;
use crate::checker::Checker;
use crate::flood::Flush;
use crate::library::Library;
use crate::net::Bounded;
use crate::output::Failure;
use crate::pki::Pki;
use crate::run::versions;
use crate::store;

/// The example's name.
pub(crate) const PROGRAM: &str = "accept_loop";
/// The library's name, and that of its own cache on the command line.
pub(crate) const LIBRARY: &str = "rustls";
/// The caches that `--flush` goes with.
pub(crate) const FLUSHES: &str = "refrain";
/// What `--help` says of `--cache`.
pub(crate) const CACHE_HELP: &str = "\
--cache CACHE       refrain, rustls (rustls's own memory cache) or none, for comparison: with the last two the checks
                      on sessions and books are off [default: refrain]";

/// Reads of a file that each thread may make in a second. This load asks for more than an honest one does.
const READS_PER_SECOND: u32 = 100_000;

/// What the server's threads accept connections with.
pub(crate) struct Stack {
    config: Arc<ServerConfig>,
}

impl Stack {
    /// A server that keeps its sessions where the options say. It makes no tickets, so every resumption asks the store.
    /// `cache` is there if it is Refrain, and `checker` if there is one to look on.
    pub(crate) fn open(
        options: &Options,
        pki: &Pki,
        cache: Option<&SessionCache>,
        checker: Option<&Arc<Checker>>,
    ) -> Result<Self, Failure> {
        let mut sessions = sessions(options, cache)?;
        if let Some(checker) = checker {
            sessions = Arc::new(Checked {
                store: sessions,
                checker: Arc::clone(checker),
            });
        }
        let versions: Vec<_> = versions(options.tls)
            .into_iter()
            .map(|(_, version)| version)
            .collect();
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&pki.provider))
            .with_protocol_versions(&versions)?
            .with_no_client_auth()
            .with_single_cert(
                vec![pki.leaf.clone()],
                PrivateKeyDer::Pkcs8(pki.leaf_key.clone_key()),
            )?;
        config.session_storage = sessions;
        // A client of the fleet uses one session per visit: one is enough, and two would only fill the cache.
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// rustls's own cache can't be flushed.
    pub(crate) fn fill(&self, _: usize, _: Duration) -> Result<Option<Flush>, Failure> {
        Ok(None)
    }

    /// Makes the handshake.
    pub(crate) fn accept<'a>(&self, stream: Bounded<'a>) -> io::Result<Accepted<'a>> {
        Accepted::accept(&self.config, stream)
    }

    /// Ends the server's use of the cache. rustls counts nothing.
    pub(crate) fn close(self) -> Library {
        Library::default()
    }
}

/// The session store that the options ask for.
fn sessions(
    options: &Options,
    cache: Option<&SessionCache>,
) -> Result<Arc<dyn StoresServerSessions>, Failure> {
    Ok(match (cache, options.cache) {
        (Some(cache), _) => {
            Sessions::with_external_rate(cache, store::context_id(), READS_PER_SECOND)
                .map_err(|error| Failure::broken(error.to_string()))?
        }
        (None, CacheKind::Library) => ServerSessionMemoryCache::new(options.capacity),
        (None, _) => Arc::new(NoServerSessionStorage {}),
    })
}
