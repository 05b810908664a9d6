//! What rustls stores, in its adapter's hands and in real handshakes.

use std::fmt;
use std::sync::{Arc, Mutex};

use refrain::ContextId;
use refrain::adapter::rustls::Sessions;
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use super::common::Rig;
use super::scan::copies;
use super::secret::{Secret, wipe};
use super::stage::{alone, assert_gone_by_one_call, assert_one, scrub_stack};

fn storage(rig: &Rig) -> Arc<Sessions> {
    Sessions::new(&rig.cache, ContextId::derive("rig", &[])).unwrap()
}

#[test]
fn the_adapter_wipes_what_it_is_handed_and_keeps_no_copy_of_what_it_returns() {
    let _alone = alone();
    let (rig, secret) = (Rig::new(4), Secret::new(300));
    let sessions = storage(&rig);
    let key = [7; 32].to_vec();
    assert!(sessions.put(key.clone(), secret.clear().to_vec()));
    assert_one(&secret, "put");
    // Refused, and wiped all the same.
    assert!(!sessions.put(vec![7; 33], secret.clear().to_vec()));
    assert_one(&secret, "an id that is too long");

    for look in [Sessions::get, Sessions::take] {
        let mut returned = look(&sessions, &key).unwrap();
        assert_eq!(copies(&secret).len(), 2, "the cache's and the caller's");
        wipe(&mut returned);
        drop(returned);
        assert_one(&secret, "the caller has wiped its own");
    }
    assert_gone_by_one_call(&rig.cache, &secret, "taken");
}

/// A storage that notes, masked, what goes into another.
struct Spy(Arc<dyn StoresServerSessions>, Arc<Mutex<Vec<Secret>>>);

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spy")
    }
}

impl StoresServerSessions for Spy {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.1
            .lock()
            .unwrap()
            .push(Secret::of(master_secret(&value)));
        self.0.put(key, value)
    }
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }
    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.take(key)
    }
    fn can_cache(&self) -> bool {
        self.0.can_cache()
    }
}

/// The secret in what rustls stores: behind the server name, if there is one, the version, the cipher suite and a length.
fn master_secret(value: &[u8]) -> &[u8] {
    let name = match value {
        [0, ..] => 1,
        [1, len, ..] => 2 + usize::from(*len),
        _ => panic!("rustls stores something else"),
    };
    let rest = &value[name + 4..];
    &rest[1..][..usize::from(rest[0])]
}

/// Two connections of one client, the second of which is resumed; what the server has stored.
fn visit_twice(
    storage: Arc<dyn StoresServerSessions>,
    version: &'static SupportedProtocolVersion,
) -> Vec<Secret> {
    let stored = Arc::default();
    let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.session_storage = Arc::new(Spy(storage, Arc::clone(&stored)));
    let mut client = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.resumption =
        Resumption::in_memory_sessions(16).tls12_resumption(Tls12Resumption::SessionIdOnly);
    let (server, client) = (Arc::new(server), Arc::new(client));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let name = ServerName::try_from("server.example").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&client), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server)).unwrap();
        let mut bytes = Vec::new();
        while client.wants_write() || server.wants_write() {
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets().unwrap();
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut &bytes[..]).unwrap();
            client.process_new_packets().unwrap();
            bytes.clear();
        }
        assert_eq!(server.handshake_kind(), Some(kind));
    }
    drop((client, server));
    Arc::into_inner(stored).unwrap().into_inner().unwrap()
}

/// How many copies there are in memory of each of these secrets.
fn count(secrets: &[Secret]) -> Vec<usize> {
    // What is still on the stack below is any later call's to overwrite.
    scrub_stack();
    secrets.iter().map(|secret| copies(secret).len()).collect()
}

#[test]
fn after_real_handshakes_no_more_is_left_than_by_rustls_own_storage() {
    let _alone = alone();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let rig = Rig::new(100);
        let secrets = visit_twice(storage(&rig), version);
        let kept = count(&secrets);
        let sessions = rig.cache.clear();
        rig.cache.run_maintenance();
        let ours = count(&secrets);
        let theirs = count(&visit_twice(ServerSessionMemoryCache::new(100), version));
        println!(
            "{:?}: copies of each secret with {sessions} sessions in the cache: {kept:?}; when they are gone: {ours:?}; when \
             rustls's own storage is gone: {theirs:?}",
            version.version
        );
        // What the cache had is gone. The others are in memory that rustls has freed.
        let sum = |counts: &[usize]| counts.iter().sum::<usize>();
        assert!(sessions > 0 && sum(&ours) + sessions <= sum(&kept));
        // How many there are of one secret differs from run to run: freed memory is used again.
        let some = |counts: &[usize]| counts.iter().filter(|n| **n > 0).count();
        assert!(some(&ours) <= some(&theirs));
    }
}
