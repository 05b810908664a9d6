//! The cache by itself: sessions are put in and taken out by hand, no handshake is made.

pub(crate) mod libssl;
pub(crate) mod refrain;

use std::ops::Deref;

use crate::books::Books;
use crate::differences::Difference;
use crate::log::{Hook, Log};

pub(crate) use libssl::Libssl;
pub(crate) use refrain::Refrain;

/// Whose cache a script runs against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Libssl,
    Refrain,
}

impl Subject {
    /// What is expected where the two differ on purpose.
    pub(crate) fn by<T>(self, _: Difference, libssl: T, refrain: T) -> T {
        match self {
            Self::Libssl => libssl,
            Self::Refrain => refrain,
        }
    }
}

/// A cache with a log of its callbacks. Moments are seconds since it was made.
pub(crate) trait Store: Sized {
    const SUBJECT: Subject;
    /// A handle to a session object.
    type Session: Clone;
    /// Knows whether a session was freed.
    type Watch;

    fn new(size: usize) -> Self;
    fn log(&self) -> &Log;
    /// Calls and counters, once everything that is under way has happened.
    fn books(&self) -> Books;

    /// A new session object, whose id is `id` repeated, that lives until `until`.
    fn session(&self, id: u8, until: u64) -> Self::Session;
    /// A new session object that was established `ago` seconds before the store was made, with this timeout.
    fn aged(&self, id: u8, ago: u64, timeout: u64) -> Self::Session;
    /// An object with the bytes of another one that has left: that one itself, where it may come back.
    fn again(&self, session: &Self::Session, until: u64) -> Self::Session;
    fn watch(&self, session: &Self::Session) -> Self::Watch;
    /// Whether nobody but the watch refers to it.
    fn is_freed(&self, watch: &Self::Watch) -> bool;
    fn is_resumable(&self, session: &Self::Session) -> bool;

    /// Whether it is newly in.
    fn add(&self, session: &Self::Session) -> bool;
    /// Whether it was in, and is no more.
    fn remove(&self, session: &Self::Session) -> bool;
    /// Removes what is expired at that moment.
    fn flush(&self, at: u64);
    fn flush_all(&self);
    /// A remove callback's use of the cache that calls it: a flush that finds nothing. Keeps the store alive.
    fn reentry(&self) -> Hook;
    /// Whether there is a session of this id. Counts nothing.
    fn has(&self, id: u8) -> bool;

    /// Returns the size before.
    fn set_size(&self, size: usize) -> usize;
    fn size(&self) -> usize;
    /// The mode's flags, as OpenSSL numbers them. Returns those before.
    fn set_mode(&self, mode: u32) -> u32;
    fn mode(&self) -> u32;
    /// In seconds. Returns the timeout before.
    fn set_timeout(&self, seconds: u64) -> u64;
    fn timeout(&self) -> u64;
}

/// A store whose calls and counters are checked at every step.
pub(crate) struct Ledger<S> {
    store: S,
    last: Books,
}

impl<S: Store> Ledger<S> {
    pub(crate) fn new(size: usize) -> Self {
        let store = S::new(size);
        let last = store.books();
        assert_eq!(last, Books::NONE);
        Self { store, last }
    }

    /// Asserts that exactly this has changed since the last step.
    #[track_caller]
    pub(crate) fn step(&mut self, what: &str, expected: Books) {
        let now = self.store.books();
        assert_eq!(now - self.last, expected, "{:?}: {what}", S::SUBJECT);
        self.last = now;
    }
}

impl<S> Deref for Ledger<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

/// Makes two tests of a script for stores.
#[macro_export]
macro_rules! on_both {
    ($($script:ident),* $(,)?) => {
        $(mod $script {
            #[test]
            fn on_libssl() {
                $crate::watch::leaves_none_alive(super::$script::<$crate::store::Libssl>);
            }

            #[test]
            fn on_refrain() {
                $crate::watch::leaves_none_alive(super::$script::<$crate::store::Refrain>);
            }
        })*
    };
}
