//! A node's TLS: rustls, its sessions in a cache with the shared tier behind it.

use std::io;
use std::sync::Arc;

use refrain::adapter::rustls::Sessions;
use refrain::store::{ExternalOptions, Redis};
use refrain::{ContextId, SessionCache};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::accepted::Accepted;
use crate::library::Library;
use crate::net::Bounded;
use crate::orders::Orders;
use crate::output::Failure;
use crate::timed::Timed;
use crate::watched::Watched;

/// Reads of the store that each thread may make in a second. This load asks for more than an honest one does.
const READS_PER_SECOND: u32 = 100_000;

/// What the node's threads accept connections with.
pub(crate) struct Stack {
    config: Arc<ServerConfig>,
}

/// The parts that a node is watched by.
pub(crate) struct Watch {
    pub(crate) cache: SessionCache,
    pub(crate) store: Arc<Watched<Redis>>,
    pub(crate) timed: Arc<Timed>,
}

impl Stack {
    /// The node that the orders ask for. All nodes have one certificate, one context and one set of keys.
    pub(crate) fn open(orders: &Orders) -> Result<(Self, Watch), Failure> {
        let store = Redis::at(&orders.redis)
            .and_then(|builder| builder.connections(orders.threads).build())
            .map_err(|error| Failure::usage(format!("--redis: {error}")))?;
        let store = Arc::new(Watched::new(store));
        let options = ExternalOptions::new(orders.keys.keys()?).read_budget(orders.budget);
        let cache = SessionCache::builder()
            .external(Arc::clone(&store), options)
            .build()?;
        // Sessions may be resumed at every node, so nothing that only one has goes into the context.
        let context = ContextId::derive("cluster", &[("cert", &orders.certificate)]);
        let sessions = Sessions::with_external_rate(&cache, context, READS_PER_SECOND)?;
        let timed = Arc::new(Timed::new(sessions));

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(orders.certificate.clone())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(orders.key.clone())),
            )?;
        config.session_storage = Arc::clone(&timed) as _;
        // A client uses one session per visit.
        config.send_tls13_tickets = 1;
        let config = Arc::new(config);
        let watch = Watch {
            cache,
            store,
            timed,
        };
        Ok((Self { config }, watch))
    }

    /// Makes the handshake.
    pub(crate) fn accept<'a>(&self, stream: Bounded<'a>) -> io::Result<Accepted<'a>> {
        Accepted::accept(&self.config, stream)
    }

    /// Ends the node's use of the cache.
    pub(crate) fn close(self) -> Library {
        Library::default()
    }
}
