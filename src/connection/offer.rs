//! The session that a client offers: found, claimed, given up.

use crate::cache::SessionCache;
use crate::cache::handshake::{Found, Side, Terms, Usage};
use crate::clock::Time;
use crate::id::SessionId;
use crate::session::Session;
use crate::stats::Event;

use super::Connection;

/// What became of the session that the client offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// There is none.
    None,
    /// For single use, and the cache still has it.
    Unclaimed,
    /// For single use, and nobody else can get it any more; but the client has not proved anything yet.
    Held,
    /// It is resumed.
    Reused { claimed: bool },
    /// It was resumed, and the connection's session is another one by now.
    Past,
    /// A client's, before the server has answered.
    Open,
}

impl Connection {
    /// Finds the session that a client offers, which may be resumed again and again: in the cache, then by the get
    /// callback; checked, in OpenSSL's order, for its context, its deadline, its id; then for its server name.
    ///
    /// The id comes from the network: of whatever length, it is no more than a miss. A session that was offered before
    /// is given up.
    #[doc(alias = "SSL_CTX_sess_set_get_cb")]
    pub fn resume(&mut self, id: impl AsRef<[u8]>) -> Option<&Session> {
        self.look_up(id.as_ref(), Usage::Again, &|_: &Session| true)
    }

    /// As [`resume`](Self::resume), for a session that works once. It stays in the cache until it is
    /// [claimed](Self::claim), so that who merely knows its id can't burn it. The get callback is told that an external
    /// store has to hand the session out once.
    pub fn resume_once(&mut self, id: impl AsRef<[u8]>) -> Option<&Session> {
        self.look_up(id.as_ref(), Usage::OnceProved, &|_: &Session| true)
    }

    pub(crate) fn look_up(
        &mut self,
        id: &[u8],
        usage: Usage,
        terms: &impl Terms,
    ) -> Option<&Session> {
        if self.side == Side::Client {
            return None;
        }
        if self.finished {
            // Another handshake of the connection, whose session stays until there is another.
            self.offer = Offer::None;
            self.inherited = Time::MAX;
        } else {
            self.decline();
        }
        let name = self.server_name.as_deref();
        let terms = Named {
            cache: &self.cache,
            name,
            terms,
        };
        let left = &mut self.external_left;
        let may_ask = || {
            let asks = *left > 0;
            *left = left.saturating_sub(1);
            asks
        };
        let Ok(id) = SessionId::new(id) else {
            self.cache.count_unlike(id);
            return None;
        };
        // Once per look-up of a handshake, so that sessions expire on time whoever maintains.
        self.cache.now();
        let Found { session, claimed } =
            self.cache
                .resume(&self.context, &id, usage, &terms, name, may_ask)?;
        self.inherited = session.not_after();
        self.offer = match (usage, claimed) {
            // A stack that takes at once has nothing left to wait for.
            (Usage::Again | Usage::Once, claimed) => Offer::Reused { claimed },
            (Usage::OnceProved, true) => Offer::Held,
            (Usage::OnceProved, false) => Offer::Unclaimed,
        };
        self.known = true;
        Some(self.session.insert(session))
    }

    /// Takes the session that was found, so that nobody else resumes it: true for one of any number of connections, and
    /// only if it is still there. If false, the connection has no session any more; go on with a full handshake.
    ///
    /// Call it once the client has proved that it knows the secret (in TLS 1.3: by its binder), and before anything that
    /// it sent early is used. A client uses up the session that it offered by this, and goes on with it either way; if it was
    /// never in the cache, the remove callback hears of it all the same.
    #[doc(alias = "SSL_CTX_remove_session")]
    pub fn claim(&mut self) -> bool {
        let Some(session) = &self.session else {
            return false;
        };
        let won = match self.offer {
            Offer::Held | Offer::Reused { claimed: true } => true,
            Offer::None | Offer::Past => return false,
            Offer::Unclaimed | Offer::Open | Offer::Reused { claimed: false } => {
                // A client's may be kept outside only: that it is used up is news to whoever keeps it.
                let outside = self.side == Side::Client && session.deadline() == Time::ZERO;
                let taken = match self.side {
                    Side::Server => self.cache.claim(&self.context, session),
                    Side::Client => self.cache.take_exact(session),
                };
                taken || (outside && self.cache.remove_exact(session))
            }
        };
        if self.side == Side::Server {
            if won {
                self.offer = Offer::Reused { claimed: true };
            } else {
                self.decline();
            }
        }
        won
    }

    /// Gives up the session that was found or offered, if there is one: the handshake will be a full one. The cache keeps
    /// it, if it still has it. A client whose server has refused says so by this, which counts as a miss.
    pub fn decline(&mut self) {
        if matches!(self.offer, Offer::None | Offer::Past) {
            return;
        }
        if self.offer == Offer::Open {
            self.cache.count(Event::Miss);
        }
        self.session = None;
        self.offer = Offer::None;
        self.inherited = Time::MAX;
    }
}

/// Terms, and a server name.
struct Named<'a, T> {
    cache: &'a SessionCache,
    name: Option<&'a str>,
    terms: &'a T,
}

impl<T: Terms> Terms for Named<'_, T> {
    fn want(&self, session: &Session) -> bool {
        let wanted = self.terms.want(session);
        let same = session.is_for(self.name);
        if wanted && !same {
            self.cache.count_wrong_name();
        }
        wanted && same
    }

    fn adopt(&self, session: Session) -> Option<Session> {
        self.terms.adopt(session)
    }
}
