//! A server whose sessions are in one of the two caches, and its clients: real handshakes.

mod installed;
mod own;
mod plan;

use std::ops::Deref;

use openssl::ssl::{SslContext, SslSessionRef};

use crate::books::Books;
use crate::differences::Difference;
use crate::log::Log;
use crate::net::link::{Failed, Link};
use crate::store::Subject;

pub(crate) use installed::Installed;
pub(crate) use own::Own;
pub(crate) use plan::{Client, Plan, Protocol, share_ticket_keys};

/// A server's `SSL_CTX` with a cache, and a log of the cache's callbacks. Sessions are libssl's, and stand for the cache's
/// by their ids.
pub(crate) trait Server: Sized {
    const SUBJECT: Subject;

    fn start(plan: Plan) -> Self;
    /// Another `SSL_CTX` that may resume the sessions of this one.
    fn sibling(&self, plan: Plan) -> Self;
    /// Sees to it that the cache has a session that was established at a sibling.
    fn adopt(&self, session: &SslSessionRef) -> bool;
    fn ctx(&self) -> &SslContext;
    fn log(&self) -> &Log;
    /// Calls and counters, once everything that is under way has happened.
    fn books(&self) -> Books;

    /// Whether the cache has a session with the id of this one. Counts nothing.
    fn has(&self, session: &SslSessionRef) -> bool;
    /// Puts a session that was established here into the cache: whether it is newly in.
    fn add(&self, session: &SslSessionRef) -> bool;
    /// Removes the session from the cache: whether it was in.
    fn remove(&self, session: &SslSessionRef) -> bool;
    /// Makes a session in the cache too old to be resumed.
    fn expire(&self, session: &SslSessionRef);
    /// Gives a session in the cache the longest of all timeouts.
    fn prolong(&self, session: &SslSessionRef);

    fn set_mode(&self, mode: u32);
    /// In seconds. Returns the timeout before.
    fn set_timeout(&self, seconds: u64) -> u64;
}

/// A server whose calls and counters are checked at every step, with a client.
pub(crate) struct Bench<S> {
    server: S,
    pub(crate) client: Client,
    last: Books,
}

impl<S: Server> Bench<S> {
    pub(crate) fn new(plan: Plan) -> Self {
        let client = Client::of(&plan);
        let server = S::start(plan);
        let last = server.books();
        assert_eq!(last, Books::NONE);
        Self {
            server,
            client,
            last,
        }
    }

    /// A bench for a sibling of the server, with another client.
    pub(crate) fn sibling(&self, plan: Plan, client: Client) -> Self {
        let server = self.server.sibling(plan);
        let last = server.books();
        Self {
            server,
            client,
            last,
        }
    }

    /// Forgets what has changed since the last step.
    pub(crate) fn settle(&mut self) {
        self.last = self.server.books();
    }

    /// A connection after its handshake, with a session offered or without.
    pub(crate) fn try_connect(&self, session: Option<&SslSessionRef>) -> Result<Link, Failed> {
        Link::open(self.client.ctx(), self.server.ctx(), session)
    }

    /// As `try_connect`, where a handshake must succeed.
    #[track_caller]
    pub(crate) fn connect(&self, session: Option<&SslSessionRef>) -> Link {
        self.try_connect(session).unwrap()
    }

    /// Asserts that exactly this has changed since the last step.
    #[track_caller]
    pub(crate) fn step(&mut self, what: &str, expected: Books) {
        let now = self.server.books();
        assert_eq!(now - self.last, expected, "{:?}: {what}", S::SUBJECT);
        self.last = now;
    }

    pub(crate) fn by<T>(&self, difference: Difference, libssl: T, refrain: T) -> T {
        S::SUBJECT.by(difference, libssl, refrain)
    }
}

impl<S> Deref for Bench<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.server
    }
}

/// Makes two tests of a script for servers.
#[macro_export]
macro_rules! with_both {
    ($($script:ident),* $(,)?) => {
        $(mod $script {
            #[test]
            fn on_libssl() {
                $crate::watch::leaves_none_alive(super::$script::<$crate::server::Own>);
            }

            #[test]
            fn on_refrain() {
                $crate::watch::leaves_none_alive(super::$script::<$crate::server::Installed>);
            }
        })*
    };
}
