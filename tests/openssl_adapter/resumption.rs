//! Resumption itself: once or again and again, from fresh objects, through a retry, on many threads.

use std::sync::Barrier;
use std::thread;

use refrain::SessionCache;

use super::common::{Rig, assert_settled, watchdog};
use super::memory::Side;
use super::party::{Client, NAME, VERSIONS, Version, close, cut_off, finish, go_on, server, shake};

#[test]
fn a_client_that_returns_is_resumed() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&server));
        assert_eq!(rig.cache.stats().inserted, version.tickets());
        for n in 1..=5 {
            assert!(client.visit(&server), "{version:?}");
            let stats = rig.cache.stats();
            let (inserted, taken) = match version {
                Version::Tls12 => (1, 0),
                // Each resumption uses one ticket up, and makes one.
                Version::Tls13 => (2 + n, n),
            };
            assert_eq!(
                (stats.inserted, stats.taken, stats.hits),
                (inserted, taken, n)
            );
        }
        assert!(!Client::new(version).visit(&server), "it is nobody else");
        rig.cache.settle();
        assert_settled(&rig.cache.stats());
    }
}

#[test]
fn data_goes_both_ways_over_a_resumed_connection() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (context, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&context));
        let (mut client, mut server) = client.open(&context, true);
        server.feed(&client.send(b"ping"));
        client.feed(&server.send(b"pong"));
        assert_eq!(
            (server.received(), client.received()),
            (&b"ping"[..], &b"pong"[..])
        );
        close(&mut client, &mut server);
    }
}

#[test]
fn a_tls13_ticket_works_once_and_a_tls12_session_again_and_again() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let (context, client) = (server(&rig.cache), Client::new(version));
        assert!(!client.visit(&context));
        let session = client.sessions().last().cloned().unwrap();
        for first in [true, false, false] {
            let side = client.connect_with(Some(NAME), Some(&session));
            let resumed = finish(side, Side::server(&context));
            assert_eq!(resumed, first || version == Version::Tls12, "{version:?}");
        }
    }
}

#[test]
fn of_many_connections_that_offer_one_ticket_at_once_one_is_resumed() {
    let _watchdog = watchdog();
    let rig = Rig::new(1000);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls13));
    for _ in 0..20 {
        assert!(!client.visit(&context));
        let session = client.sessions().pop().unwrap();
        let start = Barrier::new(4);
        let resumed: usize = thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    let side = client.connect_with(Some(NAME), Some(&session));
                    start.wait();
                    usize::from(finish(side, Side::server(&context)))
                })
            });
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(resumed, 1);
        client.sessions().clear();
    }
}

/// libssl's shared, mutable sessions are where CVE-2024-2511 and its relatives came from.
#[test]
fn each_resumption_has_a_session_object_of_its_own() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls12));
    let (mut first, mut origin) = client.open(&context, false);
    let resumed = [(); 3].map(|()| client.open(&context, true));
    let mut objects: Vec<_> = resumed
        .iter()
        .map(|(_, server)| server)
        .chain([&origin])
        .map(|server| std::ptr::from_ref(server.ssl().session().unwrap()))
        .collect();
    objects.sort_unstable();
    objects.dedup();
    assert_eq!(objects.len(), 4);
    for (mut client, mut server) in resumed {
        close(&mut client, &mut server);
    }
    close(&mut first, &mut origin);
}

/// One that is cut off marks its `SSL_SESSION` as not resumable. In libssl that hits everybody who resumes it just then.
#[test]
fn a_connection_that_fails_does_not_break_the_others_on_its_session() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls12));
    assert!(!client.visit(&context));
    let (mut kept, mut resumed) = client.open(&context, true);
    // In the middle of its handshake while the session goes.
    let (mut late, mut server) = (client.connect(Some(NAME)), Side::server(&context));
    let flight = server.feed(&late.feed(&[]));
    cut_off(client.open(&context, true));
    assert!(rig.cache.is_empty());
    let finished = late.feed(&flight);
    assert!(go_on(&mut late, &mut server, finished) && server.has_resumed());
    for (client, server) in [(&mut late, &mut server), (&mut kept, &mut resumed)] {
        server.feed(&client.send(b"alive"));
        assert_eq!(server.received(), b"alive");
        close(client, server);
    }
    rig.cache.settle();
    assert_eq!(rig.log.drain().len(), 1);
    assert!(!client.visit(&context));
}

#[test]
fn hellos_that_nothing_follows_burn_one_ticket_between_them() {
    let rig = Rig::new(100);
    let (context, client) = (server(&rig.cache), Client::new(Version::Tls13));
    let witness = Client::new(Version::Tls13);
    assert!(!client.visit(&context) && !witness.visit(&context));
    let mut hello = client.connect(Some(NAME));
    let flight = hello.feed(&[]);
    let answers = [(); 3].map(|()| Side::server(&context).feed(&flight));
    assert!(answers.iter().all(|answer| !answer.is_empty()));
    assert_eq!(rig.cache.stats().taken, 1);
    assert!(client.visit(&context), "with its other ticket");
    assert!(witness.visit(&context));
}

#[test]
fn many_threads_resume_while_a_small_cache_evicts_and_callbacks_are_called() {
    let _watchdog = watchdog();
    let cache = SessionCache::builder()
        .capacity(16)
        .on_new(|session| !session.payload().is_empty())
        .on_remove(|session, _| assert!(!session.payload().is_empty()))
        .build()
        .unwrap();
    let context = server(&cache);
    thread::scope(|scope| {
        for version in VERSIONS.repeat(2) {
            let context = &context;
            let cache = &cache;
            scope.spawn(move || {
                for n in 0..20 {
                    let client = Client::new(version);
                    assert!(!client.visit(context));
                    client.visit(context);
                    if n % 4 == 0 {
                        // Cut off.
                        let mut server = Side::server(context);
                        assert!(shake(&mut client.connect(Some(NAME)), &mut server));
                    }
                    assert!(cache.len() <= 16);
                }
            });
        }
    });
    cache.settle();
    assert_settled(&cache.stats());
    assert_eq!(cache.stats().callback_panics, 0);
}
