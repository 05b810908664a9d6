//! What a connection's end means for its session.

use openssl::ssl::{ShutdownState, SslContext};
use refrain::RemovalCause;
use refrain::adapter::openssl::UncleanShutdown;

use super::common::{Rig, assert_settled};
use super::memory::Side;
use super::party::{Client, VERSIONS, Version, close, cut_off, server_with, sessions, shake};

const CHOICES: [UncleanShutdown; 2] = [UncleanShutdown::Remove, UncleanShutdown::Keep];

fn server(rig: &Rig, choice: UncleanShutdown) -> SslContext {
    server_with(sessions(&rig.cache, "rig").unclean_shutdown(choice))
}

/// The causes of what has left since the last call.
fn causes(rig: &Rig) -> Vec<RemovalCause> {
    rig.cache.settle();
    rig.log
        .drain()
        .into_iter()
        .map(|(_, cause)| cause)
        .collect()
}

/// What ends the connection's own session: the one of TLS 1.2, or the last ticket of two, and nothing else.
fn assert_own_session_removed(rig: &Rig, version: Version) {
    assert_eq!(causes(rig), [RemovalCause::Removed], "{version:?}");
    assert_eq!(rig.cache.len() as u64, version.tickets() - 1);
    assert_settled(&rig.cache.stats());
}

#[test]
fn removing_is_the_default() {
    assert_eq!(UncleanShutdown::default(), UncleanShutdown::Remove);
}

#[test]
fn a_connection_that_was_closed_in_order_keeps_its_sessions() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig, choice), Client::new(version));
        assert!(!client.visit(&server));
        assert_eq!(rig.cache.len() as u64, version.tickets());
        assert_eq!(causes(&rig), []);
        assert!(client.visit(&server), "{version:?}, {choice:?}");
    }
}

#[test]
fn a_connection_that_was_cut_off_removes_its_session_unless_told_to_keep_it() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig, choice), Client::new(version));
        cut_off(client.open(&server, false));
        match choice {
            UncleanShutdown::Remove => assert_own_session_removed(&rig, version),
            UncleanShutdown::Keep => {
                assert_eq!(causes(&rig), []);
                assert!(client.visit(&server), "{version:?}");
            }
        }
    }
}

/// What counts is what this side has sent; so it is in libssl.
#[test]
fn a_close_of_the_other_side_alone_is_unclean() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let context = server(&rig, choice);
        let (mut client, mut server) = Client::new(version).open(&context, false);
        server.feed(&client.close());
        drop(server);
        match choice {
            UncleanShutdown::Remove => assert_own_session_removed(&rig, version),
            UncleanShutdown::Keep => assert_eq!(causes(&rig), []),
        }
    }
}

#[test]
fn a_server_that_says_that_it_has_closed_keeps_its_session() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let context = server(&rig, UncleanShutdown::Remove);
        let client = Client::new(version);
        let (side, mut server) = client.open(&context, false);
        server.stream().set_shutdown(ShutdownState::SENT);
        cut_off((side, server));
        assert_eq!(causes(&rig), []);
        assert!(client.visit(&context), "{version:?}");
    }
}

#[test]
fn a_resumed_connection_that_is_cut_off_is_treated_as_any_other() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig, choice), Client::new(version));
        assert!(!client.visit(&server));
        cut_off(client.open(&server, true));
        let mut expected = match version {
            Version::Tls12 => vec![],
            Version::Tls13 => vec![RemovalCause::Taken],
        };
        if choice == UncleanShutdown::Remove {
            expected.push(RemovalCause::Removed);
        }
        assert_eq!(causes(&rig), expected, "{version:?}, {choice:?}");
        let stays = version == Version::Tls13 || choice == UncleanShutdown::Keep;
        // In TLS 1.3 the client has the other ticket of its first visit.
        client.sessions().truncate(1);
        assert_eq!(client.visit(&server), stays, "{version:?}, {choice:?}");
    }
}

/// Two connections on one reusable session, both cut off.
#[test]
fn a_shared_session_is_removed_once() {
    let rig = Rig::new(100);
    let server = server(&rig, UncleanShutdown::Remove);
    let client = Client::new(Version::Tls12);
    assert!(!client.visit(&server));
    let (one, two) = (client.open(&server, true), client.open(&server, true));
    cut_off(one);
    cut_off(two);
    assert_eq!(causes(&rig), [RemovalCause::Removed]);
    assert!(rig.cache.is_empty());
    assert_settled(&rig.cache.stats());
}

#[test]
fn a_handshake_that_is_cut_off_removes_nothing() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let (context, client) = (server(&rig, choice), Client::new(version));
        assert!(!client.visit(&context));
        let mut server = Side::server(&context);
        server.feed(&client.connect(Some("server.example")).feed(&[]));
        drop(server);
        match version {
            Version::Tls12 => {
                assert_eq!(causes(&rig), []);
                assert!(client.visit(&context));
            }
            // Used up, as it was offered.
            Version::Tls13 => assert_eq!(causes(&rig), [RemovalCause::Taken]),
        }
    }
}

#[test]
fn a_fatal_alert_that_the_server_sends_removes_the_session_whatever_the_choice() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let context = server(&rig, choice);
        let (_client, mut server) = Client::new(version).open(&context, false);
        // A record that nobody could have protected.
        let alert = server.feed(&[&[23, 3, 3, 0, 40][..], &[0xaa; 40]].concat());
        assert!(server.has_failed() && !alert.is_empty());
        assert_own_session_removed(&rig, version);
        drop(server);
        assert_eq!(causes(&rig), []);
    }
}

#[test]
fn a_fatal_alert_that_the_server_gets_removes_the_session_whatever_the_choice() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let context = server(&rig, choice);
        let (mut client, mut server) = Client::new(version).open(&context, false);
        let alert = client.feed(&[&[23, 3, 3, 0, 40][..], &[0xaa; 40]].concat());
        assert!(client.has_failed() && !alert.is_empty());
        server.feed(&alert);
        assert!(server.has_failed());
        assert_own_session_removed(&rig, version);
        drop(server);
        assert_eq!(causes(&rig), []);
    }
}

#[test]
fn a_connection_outlives_the_cache_and_its_context() {
    for (version, choice) in both() {
        let rig = Rig::new(100);
        let context = server(&rig, choice);
        let (mut client, mut server) = Client::new(version).open(&context, false);
        drop(context);
        drop(rig);
        assert!(shake(&mut client, &mut server));
        assert!(server.feed(&client.send(b"still here")).is_empty());
        assert_eq!(server.received(), b"still here");
        close(&mut client, &mut server);
    }
}

fn both() -> impl Iterator<Item = (Version, UncleanShutdown)> {
    VERSIONS
        .into_iter()
        .flat_map(|version| CHOICES.map(|choice| (version, choice)))
}
