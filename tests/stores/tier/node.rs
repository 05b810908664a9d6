//! Servers and clients of rustls, and how long a handshake was held up.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use refrain::adapter::rustls::Sessions;
use refrain::store::{BreakerState, ExternalOptions, ExternalStats, ExternalStore, Keys};
use refrain::{Context, ContextId, SessionCache};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::servers::{millis, wait};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// What handshakes wait for the store here.
pub(crate) const BUDGET: Duration = millis(20);
pub(crate) const REFRESH: Duration = millis(100);

const NAME: &str = "server.example";

pub(crate) fn key(n: u8) -> [u8; 32] {
    std::array::from_fn(|i| (i as u8 ^ n).wrapping_mul(37).wrapping_add(n))
}

pub(crate) fn options() -> ExternalOptions {
    ExternalOptions::new(Keys::new(&key(1), &key(2)).unwrap())
        .read_budget(BUDGET)
        .epoch_refresh(REFRESH)
}

/// A certificate for all servers.
pub(crate) struct Pki {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption =
            Resumption::in_memory_sessions(16).tls12_resumption(Tls12Resumption::SessionIdOnly);
        Arc::new(config)
    }
}

/// A server: a cache before the store, and a rustls that uses it.
pub(crate) struct Node {
    pub(crate) cache: SessionCache,
    pub(crate) config: Arc<ServerConfig>,
    sessions: Arc<Sessions>,
}

impl Node {
    pub(crate) fn new(pki: &Pki, store: Arc<dyn ExternalStore>, options: ExternalOptions) -> Self {
        let cache = SessionCache::builder()
            .external(store, options)
            .build()
            .unwrap();
        let context = ContextId::derive("site", &[]);
        // Tests come more often than clients do.
        let sessions = Sessions::with_external_rate(&cache, context, 1_000_000).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![pki.certificate.clone()], pki.key.clone_key())
            .unwrap();
        config.session_storage = sessions.clone();
        config.send_tls13_tickets = 4;
        Self {
            cache,
            sessions,
            config: Arc::new(config),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.sessions.context()
    }

    pub(crate) fn stats(&self) -> ExternalStats {
        self.cache.external_stats().unwrap()
    }

    /// Calls of the store that brought nothing, for whatever reason.
    pub(crate) fn failures(&self) -> u64 {
        let stats = self.stats();
        stats.timeouts
            + stats.unavailable
            + stats.store_refused
            + stats.store_garbled
            + stats.denied_breaker
    }

    /// Waits until the store has everything, and may be read.
    pub(crate) fn settle(&self) {
        wait("the store to have everything", || {
            self.cache.settle_external(millis(500)) && self.stats().breaker == BreakerState::Closed
        });
    }
}

/// A handshake that went well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shaken {
    pub(crate) resumed: bool,
    /// How long the server's thread has waited for something other than a processor, in all.
    pub(crate) held_up: Duration,
}

/// How long this thread has run, and has waited for a processor.
fn busy() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let told = told.split_whitespace().take(2);
    told.filter_map(|nanos| nanos.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

pub(crate) fn hello(client: &Arc<ClientConfig>) -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    (client, bytes)
}

/// A handshake and an exchange; whatever fails of them ends the test.
pub(crate) fn connect(client: &Arc<ClientConfig>, node: &Node) -> Shaken {
    let (mut client, mut buffer) = hello(client);
    let mut server = ServerConnection::new(node.config.clone()).unwrap();
    let mut held_up = Duration::ZERO;
    let mut greeted = false;
    loop {
        let mut bytes = &buffer[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            let (begin, busy_before) = (Instant::now(), busy());
            server.process_new_packets().unwrap();
            held_up += begin.elapsed().saturating_sub(busy() - busy_before);
        }
        buffer.clear();
        while server.wants_write() {
            server.write_tls(&mut buffer).unwrap();
        }
        let mut bytes = &buffer[..];
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).unwrap();
            client.process_new_packets().unwrap();
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            if greeted {
                break;
            }
            greeted = true;
            client.writer().write_all(b"hello").unwrap();
        }
        buffer.clear();
        while client.wants_write() {
            client.write_tls(&mut buffer).unwrap();
        }
    }
    let mut said = [0; 5];
    server.reader().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    Shaken {
        resumed: server.handshake_kind() == Some(HandshakeKind::Resumed),
        held_up,
    }
}
