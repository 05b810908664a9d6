//! Ids that their server recognises, made for real sessions.

use openssl::ssl::{NameType, SslContext, SslContextBuilder};
use refrain::{SessionCache, TaggedIds};

use super::common::Rig;
use super::party::{Client, VERSIONS, Version, plain_server, server, server_with, sessions};

fn ids(key: u8) -> TaggedIds {
    TaggedIds::new(&[key; 16]).unwrap()
}

#[test]
fn every_id_that_is_stored_carries_the_tag() {
    let rig = Rig::new(100);
    let tagged = server_with(sessions(&rig.cache, "rig").tagged_ids(ids(1)));
    for version in VERSIONS {
        let client = Client::new(version);
        assert!(!client.visit(&tagged));
        for _ in 0..3 {
            assert!(client.visit(&tagged), "{version:?}");
        }
    }
    assert!(rig.cache.len() >= 3);
    rig.cache.retain(|session| {
        assert!(ids(1).recognizes(session.id()));
        assert!(!ids(2).recognizes(session.id()));
        true
    });
    assert_eq!(rig.cache.stats().forged, 0);
}

#[test]
fn sessions_with_other_ids_from_before_are_lost_and_nothing_else() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let before = server(&rig.cache);
        let client = Client::new(version);
        assert!(!client.visit(&before));
        let tagged = server_with(sessions(&rig.cache, "rig").tagged_ids(ids(1)));
        assert!(!client.visit(&tagged), "{version:?}");
        assert_eq!(rig.cache.stats().forged, 1, "{version:?}");
        assert!(client.visit(&tagged), "{version:?}");
        // The other way round, an id is an id.
        assert!(client.visit(&before), "{version:?}");
    }
}

/// Two virtual hosts: a server name callback switches to the second.
fn virtual_hosts(cache: &SessionCache, keys: [u8; 2]) -> SslContext {
    let of = |host, key| sessions(cache, host).tagged_ids(ids(key));
    let second = server_with(of("second", keys[1]));
    let mut first = plain_server();
    of("first", keys[0]).install(&mut first).unwrap();
    switching(first, second)
}

/// A server whose server name callback switches to the second context.
fn switching(mut first: SslContextBuilder, second: SslContext) -> SslContext {
    first.set_servername_callback(move |ssl, _| {
        if ssl.servername(NameType::HOST_NAME) == Some("second.example") {
            ssl.set_ssl_context(&second).unwrap();
        }
        Ok(())
    });
    first.build()
}

/// libssl makes the ids of TLS 1.2 before the callback switches, and those of TLS 1.3 afterwards.
#[test]
fn contexts_that_a_callback_switches_between_need_the_same_key() {
    for version in VERSIONS {
        for (keys, at_second) in [([1, 1], true), ([1, 2], false)] {
            let rig = Rig::new(100);
            let server = virtual_hosts(&rig.cache, keys);
            for (name, expected) in [("first.example", true), ("second.example", at_second)] {
                let client = Client::new(version);
                assert!(!client.visit_as(Some(name), &server));
                let resumed = client.visit_as(Some(name), &server);
                let expected = expected || version == Version::Tls12;
                assert_eq!(resumed, expected, "{version:?}, {name}, {keys:?}");
            }
        }
    }
}

/// A host on which the cache is not installed tags no ids, and the context that recognises them knows none but tagged ones.
#[test]
fn a_host_without_ids_of_its_own_resumes_in_tls12_only() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let second = plain_server().build();
        let mut first = plain_server();
        let tagged = sessions(&rig.cache, "first").tagged_ids(ids(1));
        tagged.install(&mut first).unwrap();
        let server = switching(first, second);
        for (name, at_host) in [("first.example", false), ("second.example", true)] {
            let client = Client::new(version);
            assert!(!client.visit_as(Some(name), &server));
            let forged = rig.cache.stats().forged;
            let strange = at_host && version == Version::Tls13;
            let resumed = client.visit_as(Some(name), &server);
            assert_eq!(resumed, !strange, "{version:?}, {name}");
            assert_eq!(rig.cache.stats().forged - forged, u64::from(strange));
        }
    }
}
