//! TLS to the store: by a certificate that is trusted, and by none other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use refrain::store::{ExternalStore, Memcached, Redis, StoreError};
use rustls::{ClientConfig, RootCertStore};

use crate::contract::contract;
use crate::proxy::{Mode, Proxy};
use crate::servers::{
    Server, fails_in_time, free_port, get, key, later, memcached, millis, not_run, put, redis_on,
    timed_out, unavailable,
};

/// An authority, and a certificate of its for this machine's address, written where a server finds them.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn write(&self, directory: &Path, name: &str) {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        fs::write(directory.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(directory.join("key.pem"), key.serialize_pem()).unwrap();
        fs::write(directory.join("ca.pem"), self.0.pem()).unwrap();
    }

    /// A client that trusts this authority.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        Arc::new(config.with_no_client_auth())
    }
}

/// A Redis that speaks TLS alone, with a certificate for this name. `None` if there is none that can.
fn server(authority: &Authority, name: &str) -> Option<Server> {
    let port = free_port();
    let certificates = tempfile::TempDir::new().unwrap();
    authority.write(certificates.path(), name);
    let path = |file: &str| certificates.path().join(file).display().to_string();
    let lines = format!(
        "port 0\ntls-port {port}\ntls-auth-clients no\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\nrequirepass secret",
        path("cert.pem"),
        path("key.pem"),
        path("ca.pem"),
    );
    if !redis_has_tls() {
        not_run("redis-server is built without TLS");
        return None;
    }
    // It has read them once it listens.
    redis_on(port, &lines)
}

/// The client is built as the server is, and tells.
fn redis_has_tls() -> bool {
    let Ok(output) = Command::new("redis-cli").arg("--help").output() else {
        // Its absence is told by `redis_on`.
        return true;
    };
    let help = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&help).contains("--tls")
}

fn store(server: u16, host: &str, config: Arc<ClientConfig>) -> Redis {
    Redis::at(&format!("rediss://:secret@{host}:{server}"))
        .unwrap()
        .tls(config)
        .build()
        .unwrap()
}

#[test]
fn a_trusted_certificate() {
    let authority = Authority::new();
    for (name, host) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let Some(server) = server(&authority, name) else {
            return;
        };
        let store = store(server.port, host, authority.client());
        store.probe(later()).unwrap();
        contract(&store, millis(200));
    }
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let authority = Authority::new();
    let Some(server) = server(&authority, "127.0.0.1") else {
        return;
    };
    let strangers = store(server.port, "127.0.0.1", Authority::new().client());
    let error = fails_in_time(unavailable, |deadline| strangers.probe(deadline));
    assert!(error.to_string().contains("certificate"), "{error}");
    // Trusted, but for another host.
    let elsewhere = store(server.port, "localhost", authority.client());
    let error = elsewhere.probe(later()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
    // A client without TLS does not get anywhere either.
    let plain = Redis::at(&format!("redis://:secret@127.0.0.1:{}", server.port)).unwrap();
    let plain = plain.build().unwrap();
    assert!(plain.probe(later()).is_err());
}

#[test]
fn a_server_without_tls() {
    let Some(server) = crate::servers::redis("") else {
        return;
    };
    let store = store(server.port, "127.0.0.1", Authority::new().client());
    fails_in_time(
        |error| timed_out(error) || unavailable(error),
        |deadline| store.probe(deadline),
    );
}

#[test]
fn slow_in_tls() {
    let authority = Authority::new();
    let Some(server) = server(&authority, "127.0.0.1") else {
        return;
    };
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port, "127.0.0.1", authority.client());
    for mode in [Mode::Trickle, Mode::Lost, Mode::Late(60)] {
        proxy.set(mode);
        // Within the handshake of TLS.
        fails_in_time(timed_out, |deadline| store.probe(deadline));
        proxy.set(Mode::Pass);
        store.probe(later()).unwrap();
        put(&store, &key(1), b"one");
        put(&store, &key(2), b"two");
        proxy.set(mode);
        let error = fails_in_time(timed_out, |deadline| match store.get(&key(1), deadline) {
            // Its connections are gone by and by.
            Err(StoreError::Unavailable(_)) => {
                proxy.set(Mode::Pass);
                store.probe(later()).unwrap();
                proxy.set(mode);
                store.get(&key(1), deadline.max(crate::servers::soon()))
            }
            done => done,
        });
        assert!(matches!(error, StoreError::TimedOut), "{error:?}");
        proxy.set(Mode::Pass);
        store.probe(later()).unwrap();
        assert_eq!(get(&store, &key(2)).unwrap(), b"two");
    }
    // A record of TLS that was changed on the way is nonsense, and its connection is gone.
    proxy.set(Mode::Garbage(
        b"\x17\x03\x03\x00\x20garbagegarbagegarbagegarbagegarb",
    ));
    let error = store.get(&key(1), later()).unwrap_err();
    assert!(matches!(error, StoreError::Protocol(_)), "{error:?}");
    proxy.set(Mode::Pass);
    store.probe(later()).unwrap();
    assert_eq!(get(&store, &key(1)).unwrap(), b"one");
}

#[test]
fn memcached_in_tls() {
    let authority = Authority::new();
    let certificates = tempfile::TempDir::new().unwrap();
    authority.write(certificates.path(), "127.0.0.1");
    if !memcached_has_tls() {
        not_run("memcached is built without TLS");
        return;
    }
    let chain = format!(
        "ssl_chain_cert={}",
        certificates.path().join("cert.pem").display()
    );
    let key = format!("ssl_key={}", certificates.path().join("key.pem").display());
    let Some(server) = memcached(&["-Z", "-o", &chain, "-o", &key]) else {
        return;
    };
    let at = |config| {
        let store = Memcached::at(&format!("127.0.0.1:{}", server.port)).unwrap();
        store.tls(config).build().unwrap()
    };
    let store = at(authority.client());
    store.probe(later()).unwrap();
    contract(&store, Duration::from_secs(1));
    let error = at(Authority::new().client()).probe(later()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

fn memcached_has_tls() -> bool {
    let Ok(output) = Command::new("memcached").arg("-h").output() else {
        return true;
    };
    let help = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&help).contains("enable-ssl")
}
