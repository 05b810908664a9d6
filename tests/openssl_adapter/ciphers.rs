//! Cipher suites of TLS 1.3: a session resumes with those of its hash, and is left alone by the others.

use openssl::ssl::SslSession;

use super::common::Rig;
use super::memory::Side;
use super::party::{Client, NAME, Version, finish, id_of, server};

const SHA256: [&str; 2] = ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"];
const SHA384: &str = "TLS_AES_256_GCM_SHA384";

/// A client that can only speak this one.
fn client(suite: &str) -> Client {
    Client::with(Version::Tls13, |builder| {
        builder.set_ciphersuites(suite).unwrap();
    })
}

#[test]
fn a_hello_of_another_hash_burns_no_ticket() {
    for (own, other) in [(SHA256[0], SHA384), (SHA384, SHA256[1])] {
        let rig = Rig::new(100);
        let server = server(&rig.cache);
        let owner = client(own);
        assert!(!owner.visit(&server));
        let offered: SslSession = owner.sessions().pop().unwrap();
        let id = id_of(&rig.cache, &offered);
        let misses = rig.cache.stats().misses;
        let stranger = client(other).connect_with(Some(NAME), Some(&offered));
        assert!(!finish(stranger, Side::server(&server)), "{own} < {other}");
        assert_eq!(rig.cache.stats().misses - misses, 1);
        assert!(rig.cache.contains(&rig.context, &id), "{own} < {other}");
        let owner = owner.connect_with(Some(NAME), Some(&offered));
        assert!(finish(owner, Side::server(&server)), "{own} < {other}");
        assert!(!rig.cache.contains(&rig.context, &id));
    }
}

#[test]
fn another_suite_of_the_same_hash_resumes() {
    let rig = Rig::new(100);
    let server = server(&rig.cache);
    let maker = client(SHA256[0]);
    assert!(!maker.visit(&server));
    let offered = maker.sessions().pop().unwrap();
    let other = client(SHA256[1]).connect_with(Some(NAME), Some(&offered));
    assert!(finish(other, Side::server(&server)));
}
