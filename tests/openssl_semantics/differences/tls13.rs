//! TLS 1.3, where a session is a ticket.

use openssl::ssl::SslSession;

use super::{EXPIRED_TLS13, HITS, SINGLE_USE, STATELESS_TOLD};
use crate::books::Books;
use crate::counts;
use crate::server::{Bench, Client, Installed, Own, Plan, Protocol, Server};

/// A server of TLS 1.3 after a full handshake, and copies of the client's ticket.
fn served<S: Server>() -> (Bench<S>, impl Fn() -> SslSession) {
    let mut on = Bench::<S>::new(Plan::new(Protocol::Tls1_3));
    let link = on.connect(None);
    let bytes = link.client_session().to_der().unwrap();
    link.close();
    on.step(
        "a full handshake",
        Books::ACCEPTED + counts!(new: 2, number: 2),
    );
    (on, move || SslSession::from_der(&bytes).unwrap())
}

#[test]
fn single_use_in_tls13() {
    SINGLE_USE.quote();
    let (mut on, ticket) = served::<Own>();
    for _ in 0..3 {
        let link = on.connect(Some(&ticket()));
        assert!(link.reused());
        link.close();
        on.step(
            "again and again, and one more each time",
            Books::ACCEPTED + counts!(hits: 1, new: 1, number: 1),
        );
    }

    let (mut on, ticket) = served::<Installed>();
    let link = on.connect(Some(&ticket()));
    assert!(link.reused());
    link.close();
    on.step(
        "the new one is in the place of the old one",
        Books::ACCEPTED + counts!(hits: 1, new: 1, remove: 1),
    );
    for _ in 0..2 {
        let link = on.connect(Some(&ticket()));
        assert!(!link.reused());
        link.close();
        on.step(
            "once",
            Books::ACCEPTED + counts!(misses: 1, new: 2, number: 2),
        );
    }
}

#[test]
fn expired_tls13_session() {
    EXPIRED_TLS13.quote();
    // In TLS 1.2 libssl removes what it finds expired. In TLS 1.3 it stays.
    for (protocol, sessions, gone) in [(Protocol::Tls1_2, 1, 1), (Protocol::Tls1_3, 2, 0)] {
        let mut on = Bench::<Own>::new(Plan::new(protocol));
        let link = on.connect(None);
        let (session, stored) = (link.client_session(), link.server_session());
        link.close();
        on.expire(&stored);
        on.settle();
        let link = on.connect(Some(&session));
        assert!(!link.reused());
        link.close();
        let found = counts!(timeouts: 1, remove: gone, number: -gone);
        on.step(
            "too late",
            Books::ACCEPTED + found + counts!(new: sessions, number: sessions),
        );
        assert_eq!(on.has(&stored), gone == 0);
    }

    // Refrain removes what has expired, whoever finds it.
    for (protocol, sessions) in [(Protocol::Tls1_2, 1), (Protocol::Tls1_3, 2)] {
        let mut on = Bench::<Installed>::new(Plan::new(protocol));
        let link = on.connect(None);
        let (session, stored) = (link.client_session(), link.server_session());
        link.close();
        on.settle();
        on.expire(&stored);
        let link = on.connect(Some(&session));
        assert!(!link.reused());
        link.close();
        let found = counts!(timeouts: 1, remove: sessions, number: -sessions);
        on.step(
            "too late",
            Books::ACCEPTED + found + counts!(new: sessions, number: sessions),
        );
        assert!(!on.has(&stored));
    }
}

#[test]
fn stateless_tls13_tickets() {
    STATELESS_TOLD.quote();
    fn connect<S: Server>(told: bool) -> Bench<S> {
        let mut plan = Plan::new(Protocol::Tls1_3);
        plan.stateful = false;
        plan.told = told;
        let on = Bench::<S>::new(plan);
        on.connect(None).close();
        on
    }
    connect::<Own>(true).step(
        "stored in vain",
        Books::ACCEPTED + counts!(new: 2, number: 2),
    );
    connect::<Own>(false).step("nobody is there to be told", Books::ACCEPTED);
    connect::<Installed>(true).step("not the cache's business", Books::ACCEPTED);
    connect::<Installed>(false).step("not the cache's business", Books::ACCEPTED);
}

#[test]
fn hits() {
    HITS.quote();
    // A session that is there, and whose cipher's hash the client does not offer any more.
    let other = || {
        Client::new(Protocol::Tls1_3, |ctx| {
            ctx.set_ciphersuites("TLS_AES_256_GCM_SHA384").unwrap();
        })
    };
    fn first() -> Client {
        Client::new(Protocol::Tls1_3, |ctx| {
            ctx.set_ciphersuites("TLS_AES_128_GCM_SHA256").unwrap();
        })
    }
    fn looked_up<S: Server>(other: Client) -> (i64, i64) {
        let mut on = Bench::<S>::new(Plan::new(Protocol::Tls1_3));
        on.client = first();
        let link = on.connect(None);
        let session = link.client_session();
        link.close();
        on.client = other;
        let link = on.connect(Some(&session));
        assert!(!link.reused());
        link.close();
        (on.books().hits, on.books().misses)
    }
    assert_eq!(looked_up::<Own>(other()), (0, 0), "found, and not resumed");
    assert_eq!(looked_up::<Installed>(other()), (0, 1), "of no use");

    // One that both hellos of a handshake offer.
    fn retry<S: Server>() -> i64 {
        let mut plan = Plan::new(Protocol::Tls1_3);
        plan.ctx.set_groups_list("P-256").unwrap();
        let mut on = Bench::<S>::new(plan);
        on.client = Client::new(Protocol::Tls1_3, |ctx| {
            ctx.set_groups_list("X25519:P-256").unwrap();
        });
        let link = on.connect(None);
        let session = link.client_session();
        link.close();
        let link = on.connect(Some(&session));
        assert!(link.reused());
        link.close();
        on.books().hits
    }
    assert_eq!(retry::<Own>(), 2, "once for each hello");
    assert_eq!(retry::<Installed>(), 1, "once for the session");
}
