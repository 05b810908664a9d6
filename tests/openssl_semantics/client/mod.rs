//! A client that caches its sessions, in its `SSL_CTX` or in Refrain: what it stores, removes and offers. Its handshakes are
//! real, with a server that keeps nothing.

mod own;
mod refrain;

use openssl::ssl::SslContext;

use crate::books::Books;
use crate::differences::Difference;
use crate::server::Protocol;
use crate::store::Subject;

pub(crate) use own::Own;
pub(crate) use refrain::Connected;

/// A client's cache, with a log of its callbacks.
pub(crate) trait Caching: Sized {
    const SUBJECT: Subject;
    type Session: Clone;
    /// A connection after its handshake.
    type Open;

    /// With sessions inside, or only told of; with callbacks for new and removed ones, or without.
    fn new(protocol: Protocol, internal: bool, told: bool) -> Self;
    fn books(&self) -> Books;

    /// A connection, or that the handshake failed.
    fn connect(&self, server: &SslContext, offer: Option<&Self::Session>) -> Option<Self::Open>;
    fn reused(open: &Self::Open) -> bool;
    fn session(open: &Self::Open) -> Self::Session;
    fn is_same(one: &Self::Session, other: &Self::Session) -> bool;
    /// Gives an open connection another session.
    fn set_session(open: &mut Self::Open, session: &Self::Session);
    fn close(open: Self::Open);

    /// Whether it is newly in.
    fn add(&self, session: &Self::Session) -> bool;
    /// What stands for a session that has left when it is to come back.
    fn again(&self, session: &Self::Session) -> Self::Session;
    /// Whether it was in.
    fn remove(&self, session: &Self::Session) -> bool;

    fn by<T>(&self, difference: Difference, libssl: T, refrain: T) -> T {
        Self::SUBJECT.by(difference, libssl, refrain)
    }
}
