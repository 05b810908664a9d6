//! Real rustls handshakes, in memory: they resume from the cache, and across configurations that share it.

#![allow(missing_docs)]
#![cfg(feature = "rustls")]

mod common;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Rig, assert_settled, secs};
use refrain::adapter::rustls::Sessions;
use refrain::{CacheMode, ContextId, RemovalCause, Session, SessionCache};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A server's certificate, and clients that trust it.
struct Pki {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    fn server(&self, cache: &SessionCache, context: &str) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        config.session_storage = Sessions::new(cache, ContextId::derive(context, &[])).unwrap();
        Arc::new(config)
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

/// Makes a connection and an exchange over it; tells whether it was resumed. Both sides must agree on that.
fn connect(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> bool {
    let name = ServerName::try_from("server.example").unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut buffer = Vec::new();
    while client.wants_write() || server.wants_write() {
        while client.wants_write() {
            client.write_tls(&mut buffer).unwrap();
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
        buffer.clear();
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    let resumed = server.handshake_kind() == Some(HandshakeKind::Resumed);
    assert_eq!(
        client.handshake_kind() == Some(HandshakeKind::Resumed),
        resumed
    );
    resumed
}

#[test]
fn a_client_that_returns_is_resumed() {
    for version in VERSIONS {
        let (rig, pki) = (Rig::new(100), Pki::new());
        let (server, client) = (pki.server(&rig.cache, "rig"), pki.client(version));
        assert!(!connect(&client, &server), "{version:?}");
        for _ in 0..5 {
            assert!(connect(&client, &server), "{version:?}");
        }
        let stats = rig.cache.stats();
        if version.version == rustls::ProtocolVersion::TLSv1_3 {
            // Two tickets for each of six handshakes, one used by each of five.
            assert_eq!((stats.inserted, stats.taken, stats.hits), (12, 5, 5));
        } else {
            assert_eq!(stats.taken, 0);
            assert_eq!(stats.hits, 5);
        }
        // Another client has nothing to resume.
        assert!(!connect(&pki.client(version), &server));
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn a_rebuilt_configuration_resumes_by_the_same_context_and_not_by_another() {
    for version in VERSIONS {
        let (rig, pki) = (Rig::new(100), Pki::new());
        let client = pki.client(version);
        let old = pki.server(&rig.cache, "policy 1");
        assert!(!connect(&client, &old));
        drop(old);
        // As after a reload: a new configuration, a new storage, the same cache.
        assert!(connect(&client, &pki.server(&rig.cache, "policy 1")));
        // As after a change of policy.
        let other = pki.server(&rig.cache, "policy 2");
        assert!(!connect(&client, &other), "{version:?}");
        assert!(connect(&client, &other));
    }
}

#[test]
fn what_expired_was_removed_or_invalidated_is_a_full_handshake() {
    for version in VERSIONS {
        let rig = Rig::with(SessionCache::builder().timeout(secs(60)));
        let pki = Pki::new();
        let (server, client) = (pki.server(&rig.cache, "rig"), pki.client(version));
        let ends: [(&str, &dyn Fn()); 4] = [
            ("expired", &|| rig.advance(secs(60))),
            ("cleared", &|| assert!(rig.cache.clear() > 0)),
            ("swept", &|| assert!(rig.cache.retain(|_| false) > 0)),
            ("invalidated", &|| {
                rig.cache.invalidate_context(&rig.context).unwrap();
            }),
        ];
        connect(&client, &server);
        for (what, end) in ends {
            assert!(connect(&client, &server), "{version:?} before {what}");
            end();
            assert!(!connect(&client, &server), "{version:?}, {what}");
        }
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn a_refusing_callback_and_a_mode_that_is_off_cost_only_the_resumption() {
    for version in VERSIONS {
        let (rig, pki) = (Rig::new(100), Pki::new());
        let (server, client) = (pki.server(&rig.cache, "rig"), pki.client(version));
        rig.cache.set_on_new(Some(Arc::new(|_: &Session| false)));
        assert!(!connect(&client, &server));
        assert!(!connect(&client, &server));
        rig.cache.settle();
        let gone = rig.log.drain();
        assert!(!gone.is_empty() && gone.iter().all(|(_, c)| *c == RemovalCause::Refused));
        rig.cache.set_on_new(Some(Arc::new(|_: &Session| -> bool {
            std::panic::resume_unwind(Box::new("a callback's"))
        })));
        assert!(!connect(&client, &server));
        assert!(connect(&client, &server), "a panic has not said no");
        rig.cache.set_mode(CacheMode::OFF);
        assert!(!connect(&client, &server));
        rig.cache.set_mode(CacheMode::SERVER);
        rig.cache.set_on_new(None);
        rig.cache.clear();
        connect(&client, &server);
        assert!(connect(&client, &server));
    }
}

/// A store that hands out once what is for single use.
type Store = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A cache on this store.
fn node(store: &Store, mode: CacheMode) -> Rig {
    let (write, read) = (store.clone(), store.clone());
    let builder = SessionCache::builder()
        .mode(mode)
        .on_new(move |session| {
            let (key, value) = (session.id().to_vec(), session.payload().to_vec());
            write.lock().unwrap().insert(key, value);
            true
        })
        .on_get(move |lookup| {
            let mut store = read.lock().unwrap();
            let key = lookup.id.as_bytes();
            let value = if lookup.single_use {
                store.remove(key)
            } else {
                store.get(key).cloned()
            };
            Session::new(lookup.context, *lookup.id, &value?).ok()
        });
    Rig::with(builder)
}

/// Two servers, each with its own cache, share their sessions by the callbacks.
#[test]
fn a_session_resumes_on_another_server_by_way_of_an_external_store() {
    for version in VERSIONS {
        let (store, pki) = (Store::default(), Pki::new());
        let [one, two] = [(); 2].map(|()| node(&store, CacheMode::SERVER));
        let (first, second) = (pki.server(&one.cache, "x"), pki.server(&two.cache, "x"));
        let client = pki.client(version);
        assert!(!connect(&client, &first));
        assert!(connect(&client, &second), "{version:?}");
        assert_eq!(two.cache.stats().external_hits, 1);
    }
}

/// Two servers that keep nothing themselves, and get the same flight of early data.
#[test]
fn early_data_is_accepted_by_one_of_two_servers_that_share_a_store() {
    for first in [0, 1] {
        let (store, pki) = (Store::default(), Pki::new());
        let mode = CacheMode::SERVER | CacheMode::NO_INTERNAL;
        let rigs = [(); 2].map(|()| node(&store, mode));
        let servers = rigs.each_ref().map(|rig| {
            let mut config = ServerConfig::clone(&pki.server(&rig.cache, "x"));
            config.max_early_data_size = 1000;
            Arc::new(config)
        });
        let mut client = ClientConfig::clone(&pki.client(&rustls::version::TLS13));
        client.enable_early_data = true;
        let client = Arc::new(client);
        assert!(!connect(&client, &servers[0]));
        let name = ServerName::try_from("server.example").unwrap();
        let mut side = ClientConnection::new(client, name).unwrap();
        side.early_data().unwrap().write_all(b"pay").unwrap();
        let mut flight = Vec::new();
        while side.wants_write() {
            side.write_tls(&mut flight).unwrap();
        }
        let read = |n: usize| {
            let mut server = ServerConnection::new(servers[n].clone()).unwrap();
            let mut bytes = &flight[..];
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut data = Vec::new();
            if let Some(mut early) = server.early_data() {
                early.read_to_end(&mut data).unwrap();
            }
            data
        };
        assert_eq!(read(first), b"pay");
        for again in [1 - first, first] {
            assert_eq!(read(again), b"", "first at {first}, then at {again}");
        }
        assert!(rigs.iter().all(|rig| rig.cache.is_empty()));
    }
}

#[test]
fn many_clients_on_threads_with_a_small_cache_never_fail() {
    let _watchdog = common::watchdog();
    let cache = SessionCache::builder()
        .capacity(8)
        .on_remove(|_, _| {})
        .build()
        .unwrap();
    let pki = Pki::new();
    let server = pki.server(&cache, "x");
    let resumed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pki, server, resumed) = (&pki, &server, &resumed);
            scope.spawn(move || {
                for round in 0..8 {
                    let client = pki.client(VERSIONS[(thread + round) % 2]);
                    for _ in 0..4 {
                        let again = connect(&client, server);
                        resumed.fetch_add(usize::from(again), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(resumed.load(Ordering::Relaxed) > 0);
    assert!(cache.len() <= 8);
    cache.settle();
    assert_settled(&cache.stats());
}
