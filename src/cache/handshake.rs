//! What is done for a handshake: the mode decides, and the callbacks for external stores are called.
#![cfg_attr(
    any(refrain_loom, refrain_shuttle),
    allow(dead_code, reason = "the models build no adapters")
)]

use std::cell::Cell;

use crate::callbacks::Lookup;
#[cfg(feature = "openssl")]
use crate::clock::Time;
use crate::config::CacheMode;
use crate::context::Context;
use crate::engine::word::Life;
use crate::engine::{Added, NotCached};
use crate::id::{ContextId, SessionId};
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::stats::Event;

use super::SessionCache;

/// How many of a connection's look-ups may reach the get callback, unless it is told otherwise.
///
/// An honest client offers one session, or two. One ClientHello can carry more than a thousand. With a shared tier its
/// options decide.
pub const EXTERNAL_LOOKUPS: u32 = 4;

/// Whose handshake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// How often a session that is looked for may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Again and again, as TLS 1.2 does: it stays in the cache.
    Again,
    /// Once: it is taken as it is found.
    #[cfg_attr(
        not(any(feature = "rustls", feature = "openssl")),
        allow(dead_code, reason = "for TLS stacks that can't take later")
    )]
    Once,
    /// Once: it is found, and claimed when the client has proved that it knows the secret.
    OnceProved,
}

/// What a handshake found.
pub(crate) struct Found {
    pub(crate) session: Session,
    /// It is for single use, and nobody else can get it any more.
    pub(crate) claimed: bool,
}

/// Where else a session that was established may go: to a shared tier, for look-ups in this context, of this usage.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "external"),
    allow(dead_code, reason = "for the shared tier")
)]
pub(crate) struct Shelf<'a> {
    pub(crate) context: &'a Context,
    pub(crate) usage: Usage,
    /// The host's context that the session's tag names, if it does.
    pub(crate) host: Option<&'a ContextId>,
}

/// What a TLS stack asks of a session, besides that it lives and is the right one.
pub(crate) trait Terms {
    /// Whether it can be used. Called under the pin.
    fn want(&self, session: &Session) -> bool;

    /// What came from outside and is wanted, as it is to be used and kept.
    fn adopt(&self, session: Session) -> Option<Session> {
        Some(session)
    }
}

impl<F: Fn(&Session) -> bool> Terms for F {
    fn want(&self, session: &Session) -> bool {
        self(session)
    }
}

impl SessionCache {
    /// Whether handshakes of this side may use the cache.
    pub(crate) fn serves(&self, side: Side) -> bool {
        self.mode().contains(match side {
            Side::Server => CacheMode::SERVER,
            Side::Client => CacheMode::CLIENT,
        })
    }

    /// Stores a handshake's session and tells the new callback. Returns whether it is stored anywhere, so that the client
    /// may be told its id. A server's goes on to the shared tier, if there is one.
    pub(crate) fn establish(&self, side: Side, session: Session, shelf: Shelf<'_>) -> bool {
        let core = &self.core;
        if !self.serves(side) {
            return false;
        }
        // A session that is too late or too large to be worth keeping here is not offered elsewhere either, nor one of a
        // generation that is over.
        let now = core.engine.clock.recent();
        // SAFETY: the handle is a reference.
        let generation = unsafe { session.raw().context() };
        let Ok(deadline) = core.engine.deadline(&session, core.timeout(), now) else {
            return false;
        };
        if !core.engine.contexts.is_current(generation) {
            return false;
        }
        let shelf = Some(shelf).filter(|_| side == Side::Server && self.has_tier());
        // A handle for who else wants it: the new callback, the shared tier.
        let wanted = core.callbacks.new.is_set() || shelf.is_some();
        let kept = wanted.then(|| session.clone());
        let added = if self.mode().contains(CacheMode::NO_INTERNAL_STORE) {
            Added::NotCached(NotCached::Disabled)
        } else {
            self.add(session)
        };
        let gone = matches!(
            added,
            Added::Removed | Added::NotCached(NotCached::Stale | NotCached::Expired)
        );
        let Some(kept) = kept.filter(|_| !gone) else {
            return added.is_cached();
        };
        let answer = core.callbacks.ask_new(&kept, &core.engine.cells);
        if answer == Some(false) {
            core.engine
                .end_exact(kept.raw(), RemovalCause::Refused, |_| true);
            return false;
        }
        #[cfg(feature = "external")]
        let shared = shelf.is_some_and(|shelf| self.share(shelf, kept, deadline));
        #[cfg(not(feature = "external"))]
        let (shared, _) = (false, (shelf, deadline));
        // Where the callback has panicked, nobody knows what became of the session with it.
        answer == Some(true) || added.is_cached() || shared
    }

    /// How many look-ups of a handshake may leave the process, unless it is told otherwise.
    pub(crate) fn external_lookups(&self) -> u32 {
        #[cfg(feature = "external")]
        if let Some(reads) = self.reads_per_handshake() {
            return reads;
        }
        EXTERNAL_LOOKUPS
    }

    /// Takes the session that a server's handshake has found, once the client has proved that it knows the secret.
    pub(crate) fn claim(&self, context: &Context, session: &Session) -> bool {
        #[cfg(feature = "external")]
        if let Some(tier) = self.tier() {
            return self.claim_at(tier, context, session);
        }
        let _ = context;
        self.take_exact(session)
    }

    /// Whether there is a shared tier.
    pub(crate) fn has_tier(&self) -> bool {
        #[cfg(feature = "external")]
        return self.core.tier.is_some();
        #[cfg(not(feature = "external"))]
        false
    }

    /// Finds a session for a server handshake: in the cache, else in the shared tier, else by the get callback, if `may_ask`
    /// allows it. What the terms refuse is left where it is, and is a miss.
    pub(crate) fn resume(
        &self,
        context: &Context,
        id: &SessionId,
        usage: Usage,
        terms: &impl Terms,
        name: Option<&str>,
        mut may_ask: impl FnMut() -> bool,
    ) -> Option<Found> {
        if !self.serves(Side::Server) {
            return None;
        }
        // Strictly, a session that is here is of no use without the store: who may not ask must not end it.
        // What was fetched ahead costs no read.
        #[cfg(feature = "external")]
        let aside = usage == Usage::Once && self.is_aside(context, id);
        #[cfg(feature = "external")]
        let mut granted = aside || (usage == Usage::Once && self.is_strict());
        #[cfg(feature = "external")]
        if granted && !aside && !may_ask() {
            self.core.engine.cells.external_denied.add(1);
            return None;
        }
        if !self.mode().contains(CacheMode::NO_INTERNAL_LOOKUP) {
            let refused = Cell::new(false);
            let judge = |session: &Session| {
                refused.set(!terms.want(session));
                !refused.get()
            };
            let (found, claimed) = match usage {
                Usage::Once => (self.end(context, id, RemovalCause::Taken, judge), true),
                Usage::Again | Usage::OnceProved => (self.find(context, id, judge), false),
            };
            if let Some(session) = found {
                #[cfg(feature = "external")]
                if claimed && !self.confirm(context, &session) {
                    return None;
                }
                return Some(Found { session, claimed });
            }
            // What is here and of no use is not to be had elsewhere either.
            if refused.get() {
                return None;
            }
        }
        #[cfg(feature = "external")]
        {
            let mut may_ask = || std::mem::take(&mut granted) || may_ask();
            if let Some(found) = self.ask_store(context, id, usage, terms, &mut may_ask) {
                return Some(found);
            }
        }
        if !self.core.callbacks.get.is_set() {
            return None;
        }
        if !may_ask() {
            self.core.engine.cells.external_denied.add(1);
            return None;
        }
        let lookup = Lookup {
            context,
            id,
            single_use: usage != Usage::Again,
            server_name: name,
        };
        self.ask(&lookup, usage, terms)
    }

    /// Asks the get callback for a session, and checks what it answers before it is used or stored.
    fn ask(&self, lookup: &Lookup<'_>, usage: Usage, terms: &impl Terms) -> Option<Found> {
        let core = &self.core;
        let mut session = core.callbacks.ask_get(lookup, &core.engine.cells)?;
        let life = self.accept_external(&session, lookup.context, lookup.id)?;
        if !terms.want(&session) {
            return None;
        }
        if life == Life::New {
            session = terms.adopt(session)?;
        }
        // The callback may have handed out a session that it found in this very cache: then that must be taken too.
        let mut claimed = usage != Usage::Again && life == Life::New;
        match usage {
            Usage::Once if !claimed => {
                claimed = self.take_exact(&session);
                if !claimed {
                    return None;
                }
            }
            Usage::Again if !self.mode().contains(CacheMode::NO_INTERNAL_STORE) => {
                // Whether it is kept here too does not matter to this handshake.
                let _ = self.add(session.clone());
            }
            _ => {}
        }
        core.engine.cells.count(Event::Hit);
        Some(Found { session, claimed })
    }

    /// Whether a session that a handshake has got hold of may still be used.
    #[cfg(feature = "openssl")]
    pub(crate) fn is_usable(&self, session: &Session) -> bool {
        let now = self.core.engine.clock.refresh();
        // SAFETY: the handle is a reference.
        let number = unsafe { session.raw().context() };
        let in_time = session.deadline() == Time::ZERO || now < session.deadline();
        in_time && now < session.not_after() && self.is_current(number)
    }

    /// Whether this is the number of a context's generation that is not over.
    #[cfg(feature = "openssl")]
    pub(crate) fn is_current(&self, number: u32) -> bool {
        self.core.engine.contexts.is_current(number)
    }

    /// Whether what came from outside is what was asked for, and still good; its life, if so.
    pub(super) fn accept_external(
        &self,
        session: &Session,
        context: &Context,
        id: &SessionId,
    ) -> Option<Life> {
        let cells = &self.core.engine.cells;
        let now = self.core.engine.clock.refresh();
        // SAFETY: the handle is a reference.
        let (header, number) = unsafe { (session.raw().header(), session.raw().context()) };
        let life = header.state.load().life();
        let timeout = session.timeout().unwrap_or_else(|| self.timeout());
        let in_time = match life {
            Life::New => !timeout.is_zero(),
            Life::Live => now < session.deadline(),
            _ => return None,
        };
        cells.external_hits.add(1);
        if number != context.number() {
            return None;
        }
        if !in_time || now >= session.not_after() {
            cells.count(Event::Timeout);
            return None;
        }
        (session.id() == id.as_bytes()).then_some(life)
    }
}
