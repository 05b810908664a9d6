//! OpenSSL's `10-resumption` and `11-dtls_resumption`: a session resumes in its own version, and in no other.
//!
//! The second handshake goes to another `SSL_CTX` than the first, as after a restart of the configuration: libssl's own cache
//! has to be given the session, Refrain's is there.

use crate::books::Books;
use crate::counts;
use crate::differences::{HITS, SINGLE_USE};
use crate::server::{Bench, Client, Plan, Protocol, Server, share_ticket_keys};
use crate::with_both;

with_both!(
    a_tls_session_resumes_in_its_own_version_by_the_server_s_choice,
    a_tls_session_resumes_in_its_own_version_by_the_client_s_choice,
    a_tls_ticket_resumes_in_its_own_version,
    a_dtls_session_resumes_in_its_own_version,
    a_session_resumes_across_a_hello_retry_request,
);

/// Whose versions are limited, while the other speaks them all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limited {
    Server,
    Client,
}

fn a_tls_session_resumes_in_its_own_version_by_the_server_s_choice<S: Server>() {
    matrix::<S>(&Protocol::TLS, Limited::Server, true);
}

fn a_tls_session_resumes_in_its_own_version_by_the_client_s_choice<S: Server>() {
    matrix::<S>(&Protocol::TLS, Limited::Client, true);
}

fn a_tls_ticket_resumes_in_its_own_version<S: Server>() {
    matrix::<S>(&Protocol::TLS, Limited::Server, false);
    matrix::<S>(&Protocol::TLS, Limited::Client, false);
}

fn a_dtls_session_resumes_in_its_own_version<S: Server>() {
    for stateful in [true, false] {
        matrix::<S>(&Protocol::DTLS, Limited::Server, stateful);
        matrix::<S>(&Protocol::DTLS, Limited::Client, stateful);
    }
}

fn matrix<S: Server>(protocols: &[Protocol], limited: Limited, stateful: bool) {
    for &original in protocols {
        for &resumed in protocols {
            pair::<S>(protocols, limited, stateful, (original, resumed));
        }
    }
}

fn pair<S: Server>(
    protocols: &[Protocol],
    limited: Limited,
    stateful: bool,
    (original, resumed): (Protocol, Protocol),
) {
    let what = format!("{original:?}, then {resumed:?}, stateful: {stateful}");
    let all = (protocols[0], protocols[protocols.len() - 1]);
    let plan = |protocol| {
        let mut plan = Plan::new(protocol);
        plan.stateful = stateful;
        share_ticket_keys(&mut plan.ctx);
        if limited == Limited::Client {
            Protocol::limit(&mut plan.ctx, all.0, all.1);
        }
        plan
    };
    let client = |protocol| {
        Client::new(protocol, |ctx| {
            if limited == Limited::Server {
                Protocol::limit(ctx, all.0, all.1);
            }
        })
    };

    let mut first = Bench::<S>::new(plan(original));
    first.client = client(original);
    let link = first.connect(None);
    let (session, server_session) = (link.client_session(), link.server_session());
    link.close();

    let mut second = first.sibling(plan(resumed), client(resumed));
    if stateful {
        assert!(second.adopt(&server_session), "{what}");
    }
    second.settle();
    let link = second.connect(Some(&session));
    assert_eq!(link.reused(), original == resumed, "{what}");
    assert_eq!(
        link.server.ssl().version2().unwrap(),
        resumed.version(),
        "{what}"
    );
    if stateful {
        let expected = changes(&second, limited, original, resumed);
        second.step(&what, Books::ACCEPTED + expected);
    }
    link.close();
}

/// What the second handshake changes in the books, where the session is in the cache.
fn changes<S: Server>(
    on: &Bench<S>,
    limited: Limited,
    original: Protocol,
    resumed: Protocol,
) -> Books {
    let tls13 = resumed == Protocol::Tls1_3;
    let sessions = if tls13 { 2 } else { 1 };
    if original != resumed {
        // A client that speaks all versions offers the session, one that does not speak the session's doesn't. A server
        // that goes on in TLS 1.3 has no use for an id.
        let misses = i64::from(limited == Limited::Server && !tls13);
        return counts!(new: sessions, number: sessions, misses);
    }
    let found = counts!(hits: 1);
    if tls13 {
        let taken = on.by(SINGLE_USE, 0, 1);
        found + counts!(new: 1, number: 1 - taken, remove: taken)
    } else {
        found
    }
}

fn a_session_resumes_across_a_hello_retry_request<S: Server>() {
    for stateful in [true, false] {
        let mut plan = Plan::new(Protocol::Tls1_3);
        plan.stateful = stateful;
        plan.ctx.set_groups_list("P-256").unwrap();
        let mut on = Bench::<S>::new(plan);
        // Its first guess is X25519.
        on.client = Client::new(Protocol::Tls1_3, |ctx| {
            ctx.set_groups_list("X25519:P-256").unwrap()
        });
        let link = on.connect(None);
        let session = link.client_session();
        link.close();
        on.settle();
        let link = on.connect(Some(&session));
        assert!(link.reused(), "stateful: {stateful}");
        if stateful {
            let taken = on.by(SINGLE_USE, 0, 1);
            // Both of its hellos offer the session.
            let hits = on.by(HITS, 2, 1);
            on.step(
                "resumed",
                Books::ACCEPTED + counts!(hits, new: 1, number: 1 - taken, remove: taken),
            );
        }
        link.close();
    }
}
