//! A session is bound to the server name that it was made under (CVE-2025-23419).

use openssl::ssl::{NameType, SslContext};
use refrain::SessionCache;

use super::common::Rig;
use super::party::{Client, VERSIONS, Version, plain_server, server, server_with, sessions};

const NAMES: [Option<&str>; 4] = [
    None,
    Some("a.example"),
    Some("b.example"),
    Some("sub.a.example"),
];

#[test]
fn a_session_resumes_only_under_the_name_it_was_made_under() {
    for version in VERSIONS {
        let rig = Rig::new(1000);
        let server = server(&rig.cache);
        for made in NAMES {
            for asked in NAMES {
                let client = Client::new(version);
                assert!(!client.visit_as(made, &server));
                let kept = client.sessions().clone();
                let refused = rig.cache.stats().wrong_name;
                let resumed = client.visit_as(asked, &server);
                assert_eq!(resumed, made == asked, "{version:?}: {made:?} > {asked:?}");
                if made != asked {
                    assert_eq!(rig.cache.stats().wrong_name - refused, 1);
                    // The session that it has now is bound to the other name.
                    assert!(client.visit_as(asked, &server), "{version:?}: {asked:?}");
                    // What was offered to another is not used up by it.
                    *client.sessions() = kept;
                    assert!(client.visit_as(made, &server), "{version:?}: {made:?}");
                }
            }
        }
    }
}

#[test]
fn names_are_the_same_in_any_case_of_letters() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit_as(Some("a.example"), &server));
        for name in ["A.EXAMPLE", "a.Example", "a.example"] {
            assert!(client.visit_as(Some(name), &server), "{version:?}, {name}");
        }
    }
}

#[test]
fn servers_that_say_so_resume_under_any_name() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let server = server_with(sessions(&rig.cache, "rig").any_server_name());
        let client = Client::new(version);
        assert!(!client.visit_as(NAMES[0], &server));
        for name in NAMES {
            assert!(client.visit_as(name, &server), "{version:?}, {name:?}");
        }
        assert_eq!(rig.cache.stats().wrong_name, 0);
    }
}

/// A server that asks for no name binds to none what another has bound to a name, and the reverse.
#[test]
fn a_change_of_that_rule_makes_strangers_of_those_before() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let bound = server(&rig.cache);
        let unbound = server_with(sessions(&rig.cache, "rig").any_server_name());
        let client = Client::new(version);
        assert!(!client.visit(&bound));
        assert!(!client.visit(&unbound));
        assert!(client.visit(&unbound));
        assert!(!client.visit(&bound));
    }
}

/// Two virtual hosts with a policy each: a server name callback switches to the second.
fn virtual_hosts(cache: &SessionCache) -> SslContext {
    let second = server_with(sessions(cache, "second"));
    let mut first = plain_server();
    sessions(cache, "first").install(&mut first).unwrap();
    first.set_servername_callback(move |ssl, _| {
        if ssl.servername(NameType::HOST_NAME) == Some("second.example") {
            ssl.set_ssl_context(&second).unwrap();
        }
        Ok(())
    });
    first.build()
}

#[test]
fn a_session_of_one_virtual_host_does_not_resume_at_another() {
    let hosts = [Some("first.example"), Some("second.example"), None];
    for version in VERSIONS {
        let rig = Rig::new(1000);
        let server = virtual_hosts(&rig.cache);
        for made in hosts {
            for asked in hosts {
                let client = Client::new(version);
                assert!(!client.visit_as(made, &server));
                let kept = client.sessions().clone();
                let resumed = client.visit_as(asked, &server);
                assert_eq!(resumed, made == asked, "{version:?}: {made:?} > {asked:?}");
                *client.sessions() = kept;
                if version == Version::Tls12 || made != asked {
                    assert!(client.visit_as(made, &server), "{version:?}: {made:?}");
                }
            }
        }
    }
}
