//! Who keeps a session in memory, after it has left the cache.

use refrain::Session;

use super::common::{Rig, assert_settled};
use super::party::{Client, VERSIONS, Version, close, id_of, plain_server, server, sessions};

/// Handles to all that is in the cache.
fn all(rig: &Rig) -> Vec<Session> {
    let mut handles = Vec::new();
    rig.cache.retain(|session| {
        handles.push(session.clone());
        true
    });
    handles
}

/// How many handles there are of each, besides the test's.
fn others(handles: &[Session]) -> Vec<u32> {
    handles.iter().map(|s| s.references() - 1).collect()
}

#[test]
fn a_session_that_was_removed_is_kept_by_nobody_once_its_connection_has_ended() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let server = server(&rig.cache);
        let client = Client::new(version);
        let (mut open, mut at_server) = client.open(&server, false);
        let handles = all(&rig);
        assert_eq!(handles.len() as u64, version.tickets());
        assert_eq!(rig.cache.clear(), handles.len());
        rig.cache.settle();
        // An open connection keeps the last of its own.
        let kept: u32 = others(&handles).iter().sum();
        assert!(kept <= 1, "{version:?}: {:?}", others(&handles));
        close(&mut open, &mut at_server);
        drop((open, at_server));
        assert!(others(&handles).iter().all(|n| *n == 0), "{version:?}");
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn a_session_that_was_resumed_is_kept_by_nobody_once_its_connection_has_ended() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let server = server(&rig.cache);
        let client = Client::new(version);
        assert!(!client.visit(&server));
        let id = id_of(&rig.cache, client.sessions().last().unwrap());
        let resumed = [rig.cache.get(&rig.context, &id).unwrap()];
        let (mut open, mut at_server) = client.open(&server, true);
        rig.cache.remove(&rig.context, &id);
        rig.cache.settle();
        // One of TLS 1.3 was used up; the connection has others by now.
        let kept = u32::from(version == Version::Tls12);
        assert_eq!(others(&resumed), [kept], "{version:?}");
        close(&mut open, &mut at_server);
        drop((open, at_server));
        assert_eq!(others(&resumed), [0], "{version:?}");
        assert_eq!(rig.cache.stats().backlog_bytes, 0);
    }
}

/// libssl then keeps the very session that it was given, which holds nothing of the cache's.
#[test]
fn a_resumption_of_tls13_that_brings_no_tickets_keeps_one_handle() {
    let rig = Rig::new(100);
    let client = Client::new(Version::Tls13);
    assert!(!client.visit(&server(&rig.cache)));
    let id = id_of(&rig.cache, client.sessions().last().unwrap());
    let resumed = [rig.cache.get(&rig.context, &id).unwrap()];
    let mut builder = plain_server();
    sessions(&rig.cache, "rig").install(&mut builder).unwrap();
    builder.set_num_tickets(0).unwrap();
    let (mut open, mut at_server) = client.open(&builder.build(), true);
    rig.cache.settle();
    assert_eq!(others(&resumed), [1]);
    close(&mut open, &mut at_server);
    drop((open, at_server));
    assert_eq!(others(&resumed), [0]);
}
