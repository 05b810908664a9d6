//! OpenSSL's `tls13tickettest`, as far as it concerns the cache: a session does not resume with a cipher of another hash,
//! and a client that refuses its sessions is none of the server's business.

use crate::books::Books;
use crate::counts;
use crate::differences::{HITS, SINGLE_USE};
use crate::server::{Bench, Client, Plan, Protocol, Server};
use crate::version::{ISSUES_BEHIND_ANOTHER_HASH, version};
use crate::with_both;

with_both!(
    a_session_does_not_resume_with_another_hash,
    a_client_may_refuse_its_sessions
);

fn client(ciphers: &str) -> Client {
    Client::new(Protocol::Tls1_3, |ctx| {
        ctx.set_ciphersuites(ciphers).unwrap()
    })
}

fn full() -> Books {
    Books::ACCEPTED + counts!(new: 2, number: 2)
}

fn a_session_does_not_resume_with_another_hash<S: Server>() {
    let mut on = Bench::<S>::new(Plan::new(Protocol::Tls1_3));
    on.client = client("TLS_AES_128_GCM_SHA256");
    let link = on.connect(None);
    let session = link.client_session();
    assert_eq!(on.client.take_sessions().len(), 2);
    on.step("a full handshake", full());
    link.close();

    // The same hash.
    on.client = client("TLS_CHACHA20_POLY1305_SHA256");
    let link = on.connect(Some(&session));
    assert!(link.reused());
    let session = link.client_session();
    assert_eq!(on.client.take_sessions().len(), 1);
    let taken = on.by(SINGLE_USE, 0, 1);
    on.step(
        "resumed",
        Books::ACCEPTED + counts!(hits: 1, new: 1, number: 1 - taken, remove: taken),
    );
    link.close();

    // Another one: the session is found, but can't be used, and stays where it is.
    on.client = client("TLS_AES_256_GCM_SHA384");
    let link = on.connect(Some(&session));
    assert!(!link.reused());
    let issued = on.client.take_sessions().len() as i64;
    if version() >= ISSUES_BEHIND_ANOTHER_HASH {
        assert_eq!(issued, 2);
    } else {
        // libssl did not always think of tickets here; either way it is libssl that decides.
        assert!(issued == 0 || issued == 2);
    }
    let found = counts!(misses: on.by(HITS, 0, 1), number: issued, new: issued);
    on.step("a full handshake", Books::ACCEPTED + found);
    link.close();
    on.step("closed", Books::NONE);
}

fn a_client_may_refuse_its_sessions<S: Server>() {
    let mut on = Bench::<S>::new(Plan::new(Protocol::Tls1_3));
    on.client.refuse_sessions();
    let link = on.connect(None);
    assert_eq!(on.client.sessions_seen(), 2);
    assert_eq!(on.client.take_sessions().len(), 0);
    on.step("a full handshake", full());
    link.close();
    on.step("closed", Books::NONE);
}
