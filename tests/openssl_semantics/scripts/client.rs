//! OpenSSL's `execute_test_session`, as far as it concerns a client.

use openssl::ssl::SslContext;

use crate::books::Books;
use crate::client::{Caching, Connected, Own};
use crate::counts;
use crate::differences::REMOVE_OF_ABSENT;
use crate::server::{Plan, Protocol};
use crate::watch::leaves_none_alive;

macro_rules! clients {
    ($($test:ident: $protocol:ident, $internal:literal, $external:literal;)*) => {
        $(mod $test {
            use super::*;

            #[test]
            fn on_libssl() {
                leaves_none_alive(|| client::<Own>(Protocol::$protocol, $internal, $external));
            }

            #[test]
            fn on_refrain() {
                leaves_none_alive(|| client::<Connected>(Protocol::$protocol, $internal, $external));
            }
        })*
    };
}

clients! {
    sessions_inside_in_tls12: Tls1_2, true, false;
    sessions_outside_in_tls12: Tls1_2, false, true;
    sessions_on_both_sides_in_tls12: Tls1_2, true, true;
    sessions_inside_in_tls13: Tls1_3, true, false;
    sessions_outside_in_tls13: Tls1_3, false, true;
    sessions_on_both_sides_in_tls13: Tls1_3, true, true;
}

/// A client whose calls and counters are checked at every step.
struct Ledger<C> {
    client: C,
    last: Books,
}

impl<C: Caching> Ledger<C> {
    #[track_caller]
    fn step(&mut self, what: &str, expected: Books) {
        let now = self.client.books();
        assert_eq!(now - self.last, expected, "{:?}: {what}", C::SUBJECT);
        self.last = now;
    }
}

/// A server that leaves everything to its clients, up to this version.
fn server(protocol: Protocol) -> SslContext {
    Plan::new(protocol).ctx.build()
}

fn client<C: Caching>(protocol: Protocol, internal: bool, external: bool) {
    let tls13 = protocol == Protocol::Tls1_3;
    let (inside, told) = (i64::from(internal), i64::from(external));
    let tickets = if tls13 { 2 } else { 1 };
    let server = server(protocol);
    let mut on = Ledger {
        client: C::new(protocol, internal, external),
        last: Books::NONE,
    };

    let open = on.client.connect(&server, None).unwrap();
    let full = Books::CONNECTED + counts!(new: tickets * told, number: tickets * inside);
    on.step("a full handshake", full);
    let first = C::session(&open);
    if internal {
        assert!(!on.client.add(&first), "it is in already");
        on.step("no change", Books::NONE);
    }
    C::close(open);

    let open = on.client.connect(&server, Some(&first)).unwrap();
    assert!(C::reused(&open));
    // In TLS 1.3 the session that was used goes, and another one comes.
    let changed = if tls13 { told } else { 0 };
    on.step(
        "resumed",
        Books::CONNECTED + counts!(hits: 1, new: changed, remove: changed),
    );
    let first = C::session(&open);
    C::close(open);

    let mut open = on.client.connect(&server, None).unwrap();
    on.step("another full handshake", full);
    let second = C::session(&open);
    C::set_session(&mut open, &first);
    on.step(
        "the session of an open connection is bad where another one takes its place",
        counts!(remove: told, number: -inside),
    );
    assert!(C::is_same(&C::session(&open), &first));
    if internal {
        let second = on.client.again(&second);
        assert!(on.client.add(&second) && on.client.remove(&second));
        on.step("in and out", counts!(remove: told));
    }
    assert!(!on.client.remove(&second));
    let again = on.client.by(REMOVE_OF_ABSENT, told, 0);
    on.step("out already", counts!(remove: again));
    C::close(open);
    on.step("closed", Books::NONE);

    let old_server = self::server(Protocol::Tls1_1);
    assert!(on.client.connect(&old_server, Some(&first)).is_none());
    on.step(
        "a handshake that fails spoils the session that it offered",
        counts!(connect: 1, remove: told, number: -inside),
    );
    if internal {
        assert!(on.client.add(&on.client.again(&second)));
        on.step("the other one may come back", counts!(number: 1));
    }
}
