//! What the mode and the callbacks decide in handshakes.

use std::time::Duration;

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslSession;

use super::{AUTO_CLEAR, MODE_OFF, NEW_RETURNS_0, TIMEOUTS, UPDATE_TIME};
use crate::books::Books;
use crate::counts;
use crate::ffi;
use crate::server::{Bench, Installed, Own, Plan, Protocol, Server};
use crate::store::libssl;

const SERVER: u32 = 0x2;
const NO_AUTO_CLEAR: u32 = 0x80;

#[test]
fn new_callback_returns_0() {
    NEW_RETURNS_0.quote();
    let mut on = Bench::<Own>::new(Plan::new(Protocol::Tls1_2));
    on.log().refuse(true);
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.step(
        "it stays, whatever the manual says",
        Books::ACCEPTED + counts!(new: 1, number: 1),
    );
    let link = on.connect(Some(&session));
    assert!(link.reused());
    link.close();

    let mut on = Bench::<Installed>::new(Plan::new(Protocol::Tls1_2));
    on.log().refuse(true);
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.step(
        "it goes, as the manual says",
        Books::ACCEPTED + counts!(new: 1, remove: 1),
    );
    on.log().refuse(false);
    let link = on.connect(Some(&session));
    assert!(!link.reused());
    link.close();
    on.step(
        "a miss",
        Books::ACCEPTED + counts!(misses: 1, new: 1, number: 1),
    );
}

#[test]
fn auto_clear() {
    AUTO_CLEAR.quote();
    // libssl's 256th handshake removes what has expired, on its own time.
    for (mode, gone) in [(SERVER, 1), (SERVER | NO_AUTO_CLEAR, 0)] {
        let mut plan = Plan::new(Protocol::Tls1_2);
        plan.mode = mode;
        let mut on = Bench::<Own>::new(plan);
        let link = on.connect(None);
        on.expire(&link.server_session());
        link.close();
        (2..=255).for_each(|_| on.connect(None).close());
        let all = counts!(accept: 255, accept_good: 255, new: 255, number: 255);
        on.step("255 handshakes", all);
        on.connect(None).close();
        on.step(
            "one more",
            Books::ACCEPTED + counts!(new: 1, number: 1 - gone, remove: gone),
        );
    }

    // Refrain's maintenance does, without any handshake; or an explicit flush, where that is wanted.
    for (mode, gone) in [(SERVER, 1), (SERVER | NO_AUTO_CLEAR, 0)] {
        let mut plan = Plan::new(Protocol::Tls1_2);
        plan.mode = mode;
        let mut on = Bench::<Installed>::new(plan);
        let link = on.connect(None);
        let session = link.server_session();
        link.close();
        on.step("a handshake", Books::ACCEPTED + counts!(new: 1, number: 1));
        on.expire(&session);
        on.step("time", counts!(remove: gone, number: -gone));
        on.cache().flush(on.cache().now());
        on.step("a flush", counts!(remove: 1 - gone, number: gone - 1));
    }
}

#[test]
fn mode_off() {
    MODE_OFF.quote();
    for protocol in [Protocol::Tls1_2, Protocol::Tls1_3] {
        let (mut on, session) = with_mode_off::<Own>(protocol);
        let link = on.connect(Some(&session));
        assert!(link.reused(), "what is in the cache resumes");
        link.close();
        on.step("nothing new is stored", Books::ACCEPTED + counts!(hits: 1));
        on.connect(Some(&elsewhere(protocol))).close();
        on.step(
            "the external store is asked",
            Books::ACCEPTED + counts!(misses: 1, get: 1),
        );

        let (mut on, session) = with_mode_off::<Installed>(protocol);
        let link = on.connect(Some(&session));
        assert!(!link.reused(), "nothing is looked for");
        link.close();
        on.connect(Some(&elsewhere(protocol))).close();
        on.step(
            "nothing stored, nobody asked",
            counts!(accept: 2, accept_good: 2),
        );
        on.set_mode(SERVER);
        let link = on.connect(Some(&session));
        assert!(link.reused(), "it was there all the time");
        link.close();
    }
}

/// A server with a get callback and a session, whose mode was switched off since; and the client's session.
fn with_mode_off<S: Server>(protocol: Protocol) -> (Bench<S>, SslSession) {
    let mut plan = Plan::new(protocol);
    plan.external = true;
    let mut on = Bench::<S>::new(plan);
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.set_mode(0);
    on.settle();
    (on, session)
}

/// A session of another server.
fn elsewhere(protocol: Protocol) -> SslSession {
    let link = Bench::<Own>::new(Plan::new(protocol)).connect(None);
    let session = link.client_session();
    link.close();
    session
}

#[test]
fn update_time() {
    UPDATE_TIME.quote();
    let plan = || {
        let mut plan = Plan::new(Protocol::Tls1_2);
        plan.mode |= ffi::SSL_SESS_CACHE_UPDATE_TIME as u32;
        plan
    };
    let on = Bench::<Own>::new(plan());
    let link = on.connect(None);
    let (session, stored) = (link.client_session(), link.server_session());
    link.close();
    let past = libssl::now() - 5000;
    // SAFETY: the session is alive.
    unsafe { assert_eq!(ffi::SSL_SESSION_set_time(stored.as_ptr(), past), past) };
    let link = on.connect(Some(&session));
    assert!(link.reused());
    link.close();
    // SAFETY: the session is alive.
    let time = unsafe { openssl_sys::SSL_SESSION_get_time(stored.as_ptr()) };
    assert_eq!(
        time as i64, past as i64,
        "to be resumed gives it no more time"
    );

    let on = Bench::<Installed>::new(plan());
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    // Three times 5000 seconds are more than two hours.
    for _ in 0..3 {
        on.clock().advance(Duration::from_secs(5000));
        let link = on.connect(Some(&session));
        assert!(link.reused(), "to be resumed gives it its time again");
        link.close();
    }
}

#[test]
fn timeout_0() {
    TIMEOUTS.quote();
    let mut plan = Plan::new(Protocol::Tls1_2);
    plan.timeout = Some(0);
    let mut on = Bench::<Own>::new(plan);
    let link = on.connect(None);
    let (session, stored) = (link.client_session(), link.server_session());
    // SAFETY: the session is alive.
    let timeout = unsafe { openssl_sys::SSL_SESSION_get_timeout(stored.as_ptr()) };
    assert_eq!(timeout as i64, 7200, "none means the default");
    link.close();
    let link = on.connect(Some(&session));
    assert!(link.reused());
    link.close();
    on.settle();

    let mut plan = Plan::new(Protocol::Tls1_2);
    plan.timeout = Some(0);
    let mut on = Bench::<Installed>::new(plan);
    let link = on.connect(None);
    let session = link.client_session();
    link.close();
    on.step("expired before it is stored", Books::ACCEPTED);
    let link = on.connect(Some(&session));
    assert!(!link.reused());
    link.close();
    on.step("nothing to resume", Books::ACCEPTED + counts!(misses: 1));
}
