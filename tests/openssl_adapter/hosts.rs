//! Virtual hosts: a server name callback switches to the context of the host, which has a policy of its own.

use std::sync::{Arc, Mutex};

use openssl::ssl::{NameType, SslContext};

use super::common::{Rig, assert_settled};
use super::memory::Side;
use super::party::{
    Client, VERSIONS, Version, close, go_on, plain_server, server_with, sessions, shake,
};

pub(crate) const FIRST: Option<&str> = Some("first.example");
pub(crate) const SECOND: Option<&str> = Some("second.example");

/// A server of two hosts, whose second can be replaced.
pub(crate) struct Hosts {
    pub(crate) server: SslContext,
    second: Arc<Mutex<SslContext>>,
}

impl Hosts {
    fn new(rig: &Rig, second: SslContext, groups: Option<&str>) -> Self {
        let second = Arc::new(Mutex::new(second));
        let mut builder = plain_server();
        if let Some(groups) = groups {
            builder.set_groups_list(groups).unwrap();
        }
        sessions(&rig.cache, "first").install(&mut builder).unwrap();
        let host = Arc::clone(&second);
        builder.set_servername_callback(move |ssl, _| {
            if ssl.servername(NameType::HOST_NAME) == SECOND {
                ssl.set_ssl_context(&host.lock().unwrap()).unwrap();
            }
            Ok(())
        });
        Self {
            server: builder.build(),
            second,
        }
    }

    /// With the cache installed for the second, too.
    pub(crate) fn installed(rig: &Rig) -> Self {
        Self::new(rig, server_with(sessions(&rig.cache, "second")), None)
    }
}

pub(crate) fn invalidate(rig: &Rig, context: &str) {
    let context = sessions(&rig.cache, context);
    rig.cache.invalidate_context(context.context()).unwrap();
}

#[test]
fn a_hosts_sessions_end_with_the_hosts_context_and_no_others() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let hosts = Hosts::installed(&rig);
        let (one, two) = (Client::new(version), Client::new(version));
        assert!(!one.visit_as(FIRST, &hosts.server));
        assert!(!two.visit_as(SECOND, &hosts.server));
        assert!(two.visit_as(SECOND, &hosts.server), "{version:?}");
        invalidate(&rig, "second");
        assert!(!two.visit_as(SECOND, &hosts.server), "{version:?}");
        assert!(two.visit_as(SECOND, &hosts.server), "{version:?}");
        assert!(one.visit_as(FIRST, &hosts.server), "{version:?}");
        // Those of all hosts end with the context that libssl asks.
        invalidate(&rig, "first");
        assert!(!one.visit_as(FIRST, &hosts.server), "{version:?}");
        assert!(!two.visit_as(SECOND, &hosts.server), "{version:?}");
    }
}

#[test]
fn a_host_with_a_new_policy_resumes_nothing_that_the_old_one_let_in() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let hosts = Hosts::installed(&rig);
        let client = Client::new(version);
        assert!(!client.visit_as(SECOND, &hosts.server));
        *hosts.second.lock().unwrap() = server_with(sessions(&rig.cache, "second, stricter"));
        invalidate(&rig, "second");
        assert!(!client.visit_as(SECOND, &hosts.server), "{version:?}");
        assert!(client.visit_as(SECOND, &hosts.server), "{version:?}");
    }
}

#[test]
fn a_handshake_that_began_before_the_hosts_invalidation_stores_nothing() {
    for version in VERSIONS {
        for moment in ["before the hello", "after the hello"] {
            let rig = Rig::new(100);
            let hosts = Hosts::installed(&rig);
            let client = Client::new(version);
            let (mut side, mut server) = (client.connect(SECOND), Side::server(&hosts.server));
            let mut to_server = side.feed(&[]);
            if moment == "after the hello" {
                to_server = side.feed(&server.feed(&to_server));
            }
            invalidate(&rig, "second");
            assert!(go_on(&mut side, &mut server, to_server));
            close(&mut side, &mut server);
            assert!(rig.cache.is_empty(), "{version:?}, {moment}");
            assert!(!client.visit_as(SECOND, &hosts.server));
            assert!(client.visit_as(SECOND, &hosts.server));
            rig.cache.settle();
            assert_settled(&rig.cache.stats());
        }
    }
}

#[test]
fn a_ticket_that_was_taken_before_a_retry_ends_with_the_hosts_context() {
    for ends in [false, true] {
        let rig = Rig::new(100);
        let second = server_with(sessions(&rig.cache, "second"));
        let hosts = Hosts::new(&rig, second, Some("P-384"));
        let client = Client::with(Version::Tls13, |builder| {
            builder.set_groups_list("P-256:P-384").unwrap();
        });
        assert!(!client.visit_as(SECOND, &hosts.server));
        let (mut side, mut server) = (client.connect(SECOND), Side::server(&hosts.server));
        let first = side.feed(&[]);
        let second = side.feed(&server.feed(&first));
        if ends {
            invalidate(&rig, "second");
        }
        assert!(go_on(&mut side, &mut server, second));
        assert_eq!(server.has_resumed(), !ends);
    }
}

#[test]
fn hosts_without_a_context_in_this_cache_resume_as_the_first_allows() {
    for version in VERSIONS {
        let (rig, elsewhere) = (Rig::new(100), Rig::new(100));
        let others = [
            ("nothing installed", plain_server().build()),
            (
                "another cache",
                server_with(sessions(&elsewhere.cache, "second")),
            ),
            ("the first's", server_with(sessions(&rig.cache, "first"))),
        ];
        for (what, second) in others {
            let hosts = Hosts::new(&rig, second, None);
            let client = Client::new(version);
            assert!(!client.visit_as(SECOND, &hosts.server));
            assert!(
                client.visit_as(SECOND, &hosts.server),
                "{version:?}: {what}"
            );
            invalidate(&elsewhere, "second");
            assert!(
                client.visit_as(SECOND, &hosts.server),
                "{version:?}: {what}"
            );
            invalidate(&rig, "first");
            assert!(!client.visit_as(SECOND, &hosts.server), "{version:?}");
        }
        assert!(elsewhere.cache.is_empty());
    }
}

#[test]
fn a_connection_of_a_host_outlives_its_context() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let hosts = Hosts::installed(&rig);
        let client = Client::new(version);
        let (mut side, mut server) = (client.connect(SECOND), Side::server(&hosts.server));
        assert!(shake(&mut side, &mut server));
        drop(hosts);
        server.feed(&side.send(b"still here"));
        assert_eq!(server.received(), b"still here");
        close(&mut side, &mut server);
    }
}
