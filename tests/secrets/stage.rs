//! What the tests stand on: a cache, one test at a time, and what is to be seen of a secret.

use std::sync::{Mutex, MutexGuard, PoisonError};

use refrain::{Added, Context, Session, SessionCache};

use super::common::{Watchdog, id, watchdog};
use super::scan::copies;
use super::secret::Secret;

/// Held by the one test that runs.
pub(crate) struct Alone {
    _turn: MutexGuard<'static, ()>,
    _watchdog: Watchdog,
}

pub(crate) fn alone() -> Alone {
    static TURN: Mutex<()> = Mutex::new(());
    Alone {
        _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        _watchdog: watchdog(),
    }
}

/// Lengths of secrets: a TLS master secret's, one that ends within a word, and longer than a page.
pub(crate) const LENGTHS: [usize; 3] = [48, 61, 5000];

/// A session with this payload, which stands nowhere else.
pub(crate) fn session_of(context: &Context, n: u64, secret: &Secret) -> Session {
    Session::new(context, id(n), &secret.clear()).unwrap()
}

pub(crate) fn add(cache: &SessionCache, context: &Context, n: u64, secret: &Secret) -> Added {
    cache.add(session_of(context, n, secret))
}

/// There is one copy, a whole one.
#[track_caller]
pub(crate) fn assert_one(secret: &Secret, when: &str) {
    let found = copies(secret);
    assert!(found.len() == 1 && found[0].is_whole(), "{when}: {found:?}");
}

#[track_caller]
pub(crate) fn assert_none(secret: &Secret, when: &str) {
    let found = copies(secret);
    assert!(found.is_empty(), "{when}: {found:?}");
}

/// There is a copy, until one call of maintenance has seen it out.
#[track_caller]
pub(crate) fn assert_gone_by_one_call(cache: &SessionCache, secret: &Secret, when: &str) {
    assert_one(secret, when);
    cache.run_maintenance();
    assert_none(secret, when);
}

/// Overwrites what calls that have returned left of their variables on the stack, as any later call may.
#[inline(never)]
pub(crate) fn scrub_stack() {
    std::hint::black_box(&mut [0_u8; 1 << 18]);
}

/// Waits until the cache's own threads have seen to it that the secret is gone. A hang is the watchdog's.
pub(crate) fn await_gone(secret: &Secret) {
    while !copies(secret).is_empty() {
        std::thread::yield_now();
    }
}
