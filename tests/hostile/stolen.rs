//! Ids that are somebody's: seen on the wire, of another context, of the other protocol version, recorded whole.

use super::answer::Answer;
use super::hello::{BINDER, Hello};
use super::site::{Site, attack};
use super::stack::{Stack, VERSIONS, Version, visit};

on_each_stack!(
    an_id_of_another_context_is_unknown_here_and_unharmed_there,
    a_tls12_id_offered_as_a_key_is_not_burnt,
    a_tls13_id_offered_as_a_session_id_is_not_burnt,
    who_knows_a_single_use_id_can_burn_it_and_no_more,
    who_knows_a_reusable_id_gets_nowhere_with_it,
    a_finished_of_noise_costs_a_reusable_session_at_most,
    a_recorded_hello_is_accepted_once_between_the_two_of_them,
    a_retry_gives_a_stolen_id_to_one_connection_only,
);

fn an_id_of_another_context_is_unknown_here_and_unharmed_there(stack: Stack) {
    let site = Site::new(stack);
    let neighbour = site.neighbour("another context");
    for version in VERSIONS {
        let client = site.regular(version);
        let resumed = site.visit_past(&*client, |id| {
            let (answer, cost) = site.cost(|| attack(&*neighbour, &Hello::offering(version, id)));
            assert_eq!(answer, Answer::Full, "{version:?}");
            assert_eq!((cost.lookups, cost.changes), (1, 0), "{version:?}");
        });
        assert!(resumed, "{version:?}");
        // Nor is the client itself resumed there; and it is a stranger to neither side afterwards.
        assert!(!visit(&*client, &*neighbour, |_| ()), "{version:?}");
        assert!(visit(&*client, &*neighbour, |_| ()), "{version:?}");
    }
}

fn a_tls12_id_offered_as_a_key_is_not_burnt(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls12);
    for _ in 0..3 {
        let resumed = site.visit_past(&*client, |id| {
            let (answer, cost) = site.cost(|| site.attack(&Hello::offering(Version::Tls13, id)));
            assert_eq!((answer, cost.changes), (Answer::Full, 0));
        });
        assert!(resumed);
    }
}

fn a_tls13_id_offered_as_a_session_id_is_not_burnt(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    for _ in 0..3 {
        let resumed = site.visit_past(&*client, |id| {
            let (answer, cost) = site.cost(|| site.attack(&Hello::offering(Version::Tls12, id)));
            assert_eq!((answer, cost.changes), (Answer::Full, 0));
        });
        assert!(resumed);
    }
}

/// Both stacks take a single-use session before they have verified that the client knows its secret.
fn who_knows_a_single_use_id_can_burn_it_and_no_more(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    let witness = site.regular(Version::Tls13);
    let entries = site.rig.cache.len();
    let resumed = site.visit_past(&*client, |id| {
        let answer = site.attack(&Hello::offering(Version::Tls13, id));
        assert!(answer.refuses_binder(), "{answer:?}");
        assert_eq!(site.rig.cache.len(), entries - 1);
        // Burnt once, it is nothing any more.
        let (answer, cost) = site.cost(|| site.attack(&Hello::offering(Version::Tls13, id)));
        assert_eq!((answer, cost.changes), (Answer::Full, 0));
    });
    assert!(!resumed, "the owner pays with a full handshake");
    assert!(site.visit(&*client));
    assert!(site.visit(&*witness));
}

fn who_knows_a_reusable_id_gets_nowhere_with_it(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls12);
    for _ in 0..3 {
        let resumed = site.visit_past(&*client, |id| {
            // The server has no way to see, before the client's Finished, that this is not its owner.
            let (answer, cost) = site.cost(|| site.attack(&Hello::offering(Version::Tls12, id)));
            assert_eq!((answer, cost.changes), (Answer::Resumed, 0));
        });
        assert!(resumed);
    }
}

/// TLS 1.2 demands that a fatal alert ends the session (RFC 5246, 7.2.2), and libssl heeds it, even when it is the one
/// that sends the alert to a stranger.
fn a_finished_of_noise_costs_a_reusable_session_at_most(stack: Stack) {
    let site = Site::new(stack);
    let (client, witness) = (site.regular(Version::Tls12), site.regular(Version::Tls12));
    let resumed = site.visit_past(&*client, |id| {
        let mut server = site.server.accept();
        server.feed(&Hello::offering(Version::Tls12, id).records());
        server.feed(&[20, 3, 3, 0, 1, 1]);
        server.feed(&[&[22, 3, 3, 0, 40][..], &[0xaa; 40]].concat());
        assert!(!server.is_connected());
    });
    match stack {
        // rustls shows no alert to its storage.
        Stack::Rustls => assert!(resumed),
        #[cfg(feature = "openssl")]
        Stack::Openssl => assert!(!resumed),
    }
    assert!(site.visit(&*client));
    assert!(site.visit(&*witness));
}

fn a_recorded_hello_is_accepted_once_between_the_two_of_them(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    let mut record = Vec::new();
    let replay = |hello: &[u8]| Answer::read(&site.server.accept().feed(hello), &[]);
    // Sent before the original, it takes the original's place, but can't go on from there.
    let resumed = site.visit_recorded(&*client, |hello| {
        assert_eq!(replay(hello), Answer::Resumed);
        assert_eq!(replay(hello), Answer::Full);
    });
    assert!(!resumed);
    // Sent afterwards, it is nothing.
    assert!(site.visit_recorded(&*client, |hello| record = hello.to_vec()));
    for _ in 0..3 {
        assert_eq!(replay(&record), Answer::Full);
    }
    assert!(site.visit(&*client));
}

/// libssl looks for a session in both hellos of a handshake with a retry, rustls in the second.
fn a_retry_gives_a_stolen_id_to_one_connection_only(stack: Stack) {
    let site = Site::new(stack);
    let client = site.regular(Version::Tls13);
    let resumed = site.visit_past(&*client, |id| {
        let first = Hello::tls13_without_share().keys(&[id], 1, BINDER);
        let second = Hello::offering(Version::Tls13, id);
        let mut servers = [(); 3].map(|()| site.server.accept());
        let [retries, answers] = [first, second].map(|hello| {
            let records = hello.records();
            let read = |answer: Vec<u8>| Answer::read(&answer, &[]);
            servers.each_mut().map(|server| read(server.feed(&records)))
        });
        // Whoever has found it refuses it for its binder, and the others go on.
        let all = [retries, answers].concat();
        let refused = all.iter().filter(|answer| answer.refuses_binder()).count();
        let full = all.iter().filter(|answer| **answer == Answer::Full).count();
        assert_eq!((refused, full), (1, 2), "{all:?}");
        assert_eq!(site.rig.cache.stats().taken, 1);
    });
    assert!(!resumed);
    assert!(site.visit(&*client));
}
