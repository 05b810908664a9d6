//! When a session is too old.

use std::ffi::c_long;
use std::time::Duration;

use foreign_types::ForeignType;
use refrain::{Added, NotCached, Session, Time};

use super::{DEADLINE, EXPIRED_ADDED, TIMEOUTS, UPDATE_TIME};
use crate::books::Books;
use crate::counts;
use crate::ffi;
use crate::store::{Ledger, Libssl, Refrain, Store};
use crate::version::{COUNTS_NANOSECONDS, version};

/// What becomes of a number of seconds that is counted in nanoseconds, in 64 bits.
fn wrapped(seconds: c_long) -> c_long {
    const NANOS: u64 = 1_000_000_000;
    ((seconds as u64).wrapping_mul(NANOS) / NANOS) as c_long
}

#[test]
fn timeout_0_negative_huge() {
    TIMEOUTS.quote();
    let on = Libssl::new(10);
    let set = |seconds: c_long| {
        // SAFETY: the context is alive.
        unsafe {
            ffi::SSL_CTX_set_timeout(on.ctx().as_ptr(), seconds);
            ffi::SSL_CTX_get_timeout(on.ctx().as_ptr())
        }
    };
    // That sessions then get two hours is asserted by handshakes.
    assert_eq!(set(0), 0);
    let held = |seconds| {
        if version() >= COUNTS_NANOSECONDS {
            wrapped(seconds)
        } else {
            seconds
        }
    };
    for seconds in [-1, c_long::MAX, 18_446_744_073, 18_446_744_074] {
        assert_eq!(set(seconds), held(seconds));
    }
    assert_eq!(wrapped(-1), 18_446_744_072);
    assert_eq!(
        wrapped(18_446_744_074),
        0,
        "so long that it is expired at once"
    );

    let on = Refrain::new(10);
    let add = |id, timeout| {
        let session = Session::builder(on.context(), Refrain::id(id)).timeout(timeout);
        on.cache().add(session.build(b"payload").unwrap())
    };
    assert_eq!(add(1, Duration::ZERO), Added::NotCached(NotCached::Expired));
    on.set_timeout(0);
    assert_eq!(on.timeout(), 0);
    let session = Session::new(on.context(), Refrain::id(1), b"payload").unwrap();
    assert_eq!(
        on.cache().add(session),
        Added::NotCached(NotCached::Expired)
    );
    // A negative Duration can't be written. A huge one means never.
    on.cache().set_timeout(Duration::MAX);
    assert_eq!(Time::ZERO + on.cache().timeout(), Time::MAX);
    let session = Session::new(on.context(), Refrain::id(1), b"payload").unwrap();
    assert_eq!(on.cache().add(session), Added::Inserted);
    assert_eq!(add(2, Duration::MAX), Added::Inserted);
    on.cache().flush(Time::MAX);
    assert!(on.has(1) && on.has(2));
}

#[test]
fn the_deadline_itself() {
    DEADLINE.quote();
    let mut on = Ledger::<Libssl>::new(10);
    assert!(on.add(&on.session(1, 100)));
    on.flush(100);
    on.step("still good at its deadline", counts!(number: 1));

    let mut on = Ledger::<Refrain>::new(10);
    assert!(on.add(&on.session(1, 100)));
    on.cache().flush(Time::from_millis(99_999));
    on.step("good until a millisecond before", counts!(number: 1));
    on.flush(100);
    on.step(
        "expired from its deadline on",
        counts!(remove: 1, number: -1),
    );
}

#[test]
fn expired_session_added() {
    EXPIRED_ADDED.quote();
    let mut on = Ledger::<Libssl>::new(1);
    assert!(on.add(&on.session(1, 1000)));
    on.step("a live one", counts!(number: 1));
    assert!(on.add(&on.aged(2, 1000, 500)));
    on.step("it had to go", counts!(remove: 1, cache_full: 1));
    assert!(on.has(2));

    let mut on = Ledger::<Refrain>::new(1);
    assert!(on.add(&on.session(1, 1000)));
    on.step("a live one", counts!(number: 1));
    let past = Session::builder(on.context(), Refrain::id(2))
        .not_after(on.cache().now())
        .build(b"payload")
        .unwrap();
    assert_eq!(on.cache().add(past), Added::NotCached(NotCached::Expired));
    on.step("it stays", Books::NONE);
    assert!(on.has(1));
}

#[test]
fn update_time() {
    UPDATE_TIME.quote();
    let flag = ffi::SSL_SESS_CACHE_UPDATE_TIME as u32;
    // Only an add gives libssl's sessions their time again, whether or not the session was in already; that an internal
    // hit does not is asserted by handshakes.
    let mut on = Ledger::<Libssl>::new(10);
    on.set_mode(on.mode() | flag);
    assert!(on.add(&on.aged(1, 5000, 1000)), "it has long expired");
    on.flush(900);
    on.step("and is alive again", counts!(number: 1));

    // A look-up gives Refrain's sessions their time again, and nothing revives them.
    let mut on = Ledger::<Refrain>::new(10);
    on.set_mode(on.mode() | flag);
    let session = on.aged(1, 0, 1000);
    assert!(on.add(&session));
    on.step("in", counts!(number: 1));
    on.clock().advance(Duration::from_secs(500));
    on.cache().now();
    assert!(on.cache().get(on.context(), &Refrain::id(1)).is_some());
    assert_eq!(session.deadline(), Time::from_millis(1_500_000));
    on.flush(1400);
    on.step("a look-up", counts!(hits: 1));
    on.clock().advance(Duration::from_secs(1000));
    on.cache().now();
    assert!(on.cache().get(on.context(), &Refrain::id(1)).is_none());
    on.step("too late", counts!(timeouts: 1, remove: 1, number: -1));
}
