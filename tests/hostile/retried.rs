//! What a HelloRetryRequest gives back of a session that its first hello has taken: that session, to the same offer.

use openssl::ssl::SslContextBuilder;
use refrain::SessionCache;

use super::answer::{Answer, offered};
use super::common::Rig;
use super::hello::{BINDER, Hello};
use super::over_openssl::{client_with, server_by};
use super::stack::{Client, Server, Version, visit};

/// A server that knows no group but the second of its clients, and so has to ask for a key share of that.
fn server(cache: &SessionCache) -> Box<dyn Server> {
    let change = |builder: &mut SslContextBuilder| builder.set_groups_list("X25519").unwrap();
    server_by(cache, change)
}

fn client() -> Box<dyn Client> {
    let change = |builder: &mut SslContextBuilder| {
        builder.set_groups_list("P-256:X25519").unwrap();
    };
    client_with(Version::Tls13, change)
}

#[test]
fn only_the_offer_of_the_first_hello_is_answered_in_the_second() {
    let other = [0x42; 32];
    let second = |hello: Hello, id: &[u8]| hello.keys(&[id], 1, BINDER);
    type Change<'a> = &'a dyn Fn(&[u8]) -> Hello;
    let changes: [(&str, Change<'_>, bool); 4] = [
        // What the server finds, it refuses for its binder.
        ("the same", &|id| second(Hello::tls13(), id), true),
        ("another id", &|_| second(Hello::tls13(), &other), false),
        (
            "another name",
            &|id| second(Hello::tls13().server_name(b"other.example"), id),
            false,
        ),
        (
            "no name",
            &|id| second(Hello::tls13().nameless(), id),
            false,
        ),
    ];
    for (what, change, found) in changes {
        let rig = Rig::new(100);
        let (server, client) = (server(&rig.cache), client());
        assert!(!visit(&*client, &*server, |_| ()));
        assert!(visit(&*client, &*server, |_| ()), "with a retry, too");
        let resumed = visit(&*client, &*server, |hello| {
            let mut stolen = server.accept();
            assert_eq!(Answer::read(&stolen.feed(hello), &[]), Answer::Retry);
            let taken = rig.cache.stats().taken;
            let answer = stolen.feed(&change(&offered(hello).unwrap()).records());
            let answer = Answer::read(&answer, &[]);
            assert_eq!(answer.refuses_binder(), found, "{what}: {answer:?}");
            assert_eq!(answer == Answer::Full, !found, "{what}: {answer:?}");
            assert_eq!(rig.cache.stats().taken, taken, "{what}");
        });
        assert!(!resumed, "taken by whoever came first");
    }
}
