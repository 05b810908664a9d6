//! Real handshakes of rustls at servers that share a store.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use refrain::adapter::rustls::Sessions;
use refrain::store::{ExternalOptions, Offered, resumption_ids};
use refrain::{ContextId, SessionCache};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::StoresServerSessions;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, SupportedProtocolVersion,
};

use crate::common::{id, watchdog};
use crate::node::{SOON, best_effort, options};
use crate::store::{Fault, Shop};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

struct Pki {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

struct Server {
    cache: SessionCache,
    sessions: Arc<Sessions>,
    config: Arc<ServerConfig>,
}

impl Pki {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    fn server(&self, shop: &Arc<Shop>, options: ExternalOptions) -> Server {
        let cache = SessionCache::builder()
            .external(Arc::clone(shop), options)
            .build()
            .unwrap();
        let sessions = Sessions::new(&cache, ContextId::derive("site", &[])).unwrap();
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        config.session_storage = sessions.clone();
        let config = Arc::new(config);
        Server {
            cache,
            sessions,
            config,
        }
    }

    fn client(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
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

impl Server {
    fn settle(&self) {
        assert!(self.cache.settle_external(SOON));
    }
}

/// A handshake and an exchange; whether it was resumed. `peek` sees the first bytes that the server gets.
fn connect_with(client: &Arc<ClientConfig>, server: &Server, peek: impl FnOnce(&[u8])) -> bool {
    let name = ServerName::try_from("server.example").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut peek = Some(peek);
    let mut server = ServerConnection::new(server.config.clone()).unwrap();
    let mut buffer = Vec::new();
    let mut greeted = false;
    loop {
        buffer.clear();
        while client.wants_write() {
            client.write_tls(&mut buffer).unwrap();
        }
        if let Some(peek) = peek.take() {
            peek(&buffer);
        }
        let mut bytes = &buffer[..];
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).unwrap();
            server.process_new_packets().unwrap();
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
        if client.is_handshaking() || server.is_handshaking() {
            continue;
        }
        if greeted {
            break;
        }
        greeted = true;
        client.writer().write_all(b"hello").unwrap();
    }
    let mut said = [0; 5];
    server.reader().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");
    server.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn connect(client: &Arc<ClientConfig>, server: &Server) -> bool {
    connect_with(client, server, |_| ())
}

#[test]
fn a_client_resumes_at_whichever_server_it_comes_to() {
    let _dog = watchdog();
    for version in VERSIONS {
        for options in [options, best_effort] {
            let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
            let servers = [pki.server(&shop, options()), pki.server(&shop, options())];
            let client = pki.client(version);
            assert!(!connect(&client, &servers[0]));
            for n in 1..10 {
                servers.iter().for_each(Server::settle);
                assert!(connect(&client, &servers[n % 2]), "{version:?}, {n}");
            }
        }
    }
}

#[test]
fn a_client_that_returns_at_once_is_resumed_though_nothing_is_written_yet() {
    let _dog = watchdog();
    for version in VERSIONS {
        let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
        let server = pki.server(&shop, options());
        server.settle();
        let client = pki.client(version);
        assert!(!connect(&client, &server));
        assert!((0..20).all(|_| connect(&client, &server)), "{version:?}");
    }
}

#[test]
fn a_single_use_session_of_two_thieves_and_its_owner_works_once() {
    let _dog = watchdog();
    let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
    let (a, b) = (pki.server(&shop, options()), pki.server(&shop, options()));
    let client = pki.client(VERSIONS[1]);
    assert!(!connect(&client, &a));
    // Both servers hold what either handed out, if they look for it; each ticket works once in total. A machine that stands still
    // for longer than a handshake waits for the store costs one attempt.
    let mut hello = Vec::new();
    let resumed = [&b, &a, &b].into_iter().any(|server| {
        a.settle();
        b.settle();
        connect_with(&client, server, |bytes| hello = bytes.to_vec())
    });
    assert!(resumed);
    let ids = resumption_ids(&hello);
    assert_eq!(ids.len(), 1);
    assert!(ids[0].single_use);
    for server in [&a, &b] {
        assert!(server.sessions.take(ids[0].id.as_bytes()).is_none());
        assert!(server.sessions.get(ids[0].id.as_bytes()).is_none());
    }
}

#[test]
fn with_the_store_away_every_handshake_succeeds() {
    let _dog = watchdog();
    for version in VERSIONS {
        for fault in [Fault::Down, Fault::Silent, Fault::Garbage, Fault::Panics] {
            let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
            let servers = [pki.server(&shop, options()), pki.server(&shop, options())];
            let client = pki.client(version);
            connect(&client, &servers[0]);
            shop.set(fault);
            for n in 0..6 {
                let resumed = connect(&client, &servers[n % 2]);
                // In TLS 1.2 what is in the first tier is enough.
                assert!(!resumed || version.version == ProtocolVersion::TLSv1_2 || n == 0);
            }
        }
    }
}

/// What `take` takes for a session of TLS 1.3.
const TICKET: &[u8] = &[0, 3, 4, 0, 0];

fn offer(n: u64) -> [Offered; 1] {
    [Offered {
        id: id(n),
        single_use: true,
    }]
}

#[test]
fn what_was_fetched_ahead_ends_with_its_context() {
    let _dog = watchdog();
    let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
    let (a, b) = (pki.server(&shop, options()), pki.server(&shop, options()));
    let hears = |server: &Server| {
        while server.cache.external_stats().unwrap().invalidations_heard == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let fetch = |n: u64| {
        [&a, &b].into_iter().for_each(Server::settle);
        assert!(a.sessions.put(id(n).as_bytes().to_vec(), TICKET.to_vec()));
        a.settle();
        assert_eq!(b.cache.prefetch(b.sessions.context(), &offer(n)), 1);
    };
    let take = |n: u64| b.sessions.take(id(n).as_bytes());
    fetch(1);
    assert_eq!(take(1).as_deref(), Some(TICKET));
    // Another server invalidates, and then this one.
    fetch(2);
    a.cache.invalidate_context(a.sessions.context()).unwrap();
    a.settle();
    hears(&b);
    assert_eq!(take(2), None);
    fetch(3);
    b.cache.clear();
    b.settle();
    assert_eq!(take(3), None);
    hears(&a);
    fetch(4);
    b.cache.remove(b.sessions.context(), &id(4));
    assert_eq!(take(4), None);
    assert_eq!(b.cache.external_stats().unwrap().prefetched, 2);
}

#[test]
fn a_hello_of_many_ids_makes_few_reads() {
    let _dog = watchdog();
    let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
    let server = pki.server(&shop, options());
    server.settle();
    let begun = Instant::now();
    for n in 0..1000 {
        assert_eq!(server.sessions.take(id(n).as_bytes()), None);
    }
    // What the bucket has earned meanwhile, by a clock that may be coarse, comes on top.
    let reads = u128::from(shop.reads());
    assert!(
        (8..=20 + begun.elapsed().as_millis()).contains(&reads),
        "{reads}"
    );
}

#[test]
fn who_may_not_ask_the_store_ends_nothing() {
    let _dog = watchdog();
    let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
    let server = pki.server(&shop, options());
    let site = *server.sessions.context().id();
    let slow = Sessions::with_external_rate(&server.cache, site, 1).unwrap();
    server.settle();
    assert!(slow.put(id(1).as_bytes().to_vec(), TICKET.to_vec()));
    server.settle();
    assert_eq!(slow.take(id(2).as_bytes()), None);
    // The allowance is used up, for a second.
    assert_eq!(slow.take(id(1).as_bytes()), None);
    assert!(server.cache.contains(slow.context(), &id(1)));
    while slow.take(id(1).as_bytes()).as_deref() != Some(TICKET) {
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn what_was_fetched_ahead_costs_no_allowance() {
    let _dog = watchdog();
    let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
    let (a, b) = (pki.server(&shop, options()), pki.server(&shop, options()));
    let slow = Sessions::with_external_rate(&b.cache, *b.sessions.context().id(), 1).unwrap();
    [&a, &b].into_iter().for_each(Server::settle);
    for n in 1..=5 {
        assert!(a.sessions.put(id(n).as_bytes().to_vec(), TICKET.to_vec()));
        a.settle();
        assert_eq!(b.cache.prefetch(slow.context(), &offer(n)), 1);
        assert_eq!(slow.take(id(n).as_bytes()).as_deref(), Some(TICKET), "{n}");
    }
}

#[test]
fn what_was_fetched_ahead_is_used_without_the_store() {
    let _dog = watchdog();
    for version in VERSIONS {
        let (shop, pki) = (Arc::new(Shop::default()), Pki::new());
        let (a, b) = (pki.server(&shop, options()), pki.server(&shop, options()));
        b.settle();
        let client = pki.client(version);
        assert!(!connect(&client, &a));
        a.settle();
        let warm = |hello: &[u8]| {
            let ids = resumption_ids(hello);
            assert_eq!(ids.len(), 1, "{version:?}");
            assert_eq!(b.cache.prefetch(b.sessions.context(), &ids), 1);
            shop.set(Fault::Down);
        };
        let reads = || shop.reads();
        let before = reads();
        assert!(connect_with(&client, &b, warm), "{version:?}");
        assert_eq!(reads(), before + 1);
        assert_eq!(
            shop.takes.load(SeqCst) > 0,
            version.version == ProtocolVersion::TLSv1_3
        );
        if version.version == ProtocolVersion::TLSv1_3 {
            assert_eq!(b.cache.external_stats().unwrap().prefetched, 1);
        }
    }
}
