//! What adapters do for a handshake: the mode decides, and the callbacks for external stores are called.

use crate::callbacks::Lookup;
use crate::config::CacheMode;
use crate::context::Context;
use crate::engine::word::Life;
use crate::engine::{Added, NotCached};
use crate::id::SessionId;
use crate::removal::RemovalCause;
use crate::session::Session;

use super::SessionCache;

impl SessionCache {
    /// Whether server handshakes may use the cache.
    pub(crate) fn serves_handshakes(&self) -> bool {
        self.mode().contains(CacheMode::SERVER)
    }

    /// Stores a server handshake's session and tells the new callback. Returns whether it is stored anywhere, so that
    /// the client may be told its id.
    pub(crate) fn establish(&self, session: Session) -> bool {
        let core = &self.core;
        if !self.serves_handshakes() {
            return false;
        }
        // A session that is too late or too large to be worth keeping here is not offered elsewhere either.
        let now = core.engine.clock.refresh();
        if core.engine.deadline(&session, core.timeout(), now).is_err() {
            return false;
        }
        // A handle for the new callback, if there is one to call.
        let kept = core.callbacks.new.is_set().then(|| session.clone());
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
        match core.callbacks.ask_new(&kept, &core.engine.cells) {
            Some(true) => true,
            Some(false) => {
                core.engine
                    .end_exact(kept.raw(), RemovalCause::Refused, |_| true);
                false
            }
            // It has panicked: nobody knows what became of the session elsewhere.
            None => added.is_cached(),
        }
    }

    /// Finds a session for a server handshake: in the cache, else by the get callback if `may_ask` allows it. For single
    /// use it is taken, and nobody else gets it; unless `want` refuses it by its payload, which leaves it where it is.
    pub(crate) fn resume(
        &self,
        context: &Context,
        id: &SessionId,
        single_use: bool,
        want: impl Fn(&[u8]) -> bool,
        may_ask: impl FnOnce() -> bool,
    ) -> Option<Session> {
        if !self.serves_handshakes() {
            return None;
        }
        if !self.mode().contains(CacheMode::NO_INTERNAL_LOOKUP) {
            let found = if single_use {
                self.end(context, id, RemovalCause::Taken, &want)
            } else {
                self.get(context, id)
            };
            if found.is_some() {
                return found;
            }
        }
        self.ask(context, id, single_use, want, may_ask)
    }

    /// Asks the get callback for a session, and checks what it answers before it is used or stored.
    fn ask(
        &self,
        context: &Context,
        id: &SessionId,
        single_use: bool,
        want: impl Fn(&[u8]) -> bool,
        may_ask: impl FnOnce() -> bool,
    ) -> Option<Session> {
        let core = &self.core;
        if !core.callbacks.get.is_set() || !may_ask() {
            return None;
        }
        let lookup = Lookup {
            context,
            id,
            single_use,
        };
        let session = core.callbacks.ask_get(&lookup, &core.engine.cells)?;
        if !self.is_acceptable(&session, context, id) {
            return None;
        }
        if single_use {
            // The callback may have handed out a session that it found in this very cache: then it must be taken.
            // SAFETY: the handle is a reference.
            let life = unsafe { session.raw().header() }.state.load().life();
            if !want(session.payload()) || (life == Life::Live && !self.take_exact(&session)) {
                return None;
            }
        } else if !self.mode().contains(CacheMode::NO_INTERNAL_STORE) {
            // Whether it is kept here too does not matter to this handshake.
            let _ = self.add(session.clone());
        }
        core.engine.cells.external_hits.add(1);
        Some(session)
    }

    /// Whether what came from outside is what was asked for, and still good.
    fn is_acceptable(&self, session: &Session, context: &Context, id: &SessionId) -> bool {
        let now = self.core.engine.clock.refresh();
        // SAFETY: the handle is a reference.
        let (header, number) = unsafe { (session.raw().header(), session.raw().context()) };
        let timeout = session.timeout().unwrap_or_else(|| self.timeout());
        let alive = match header.state.load().life() {
            Life::New => !timeout.is_zero(),
            Life::Live => now < session.deadline(),
            _ => false,
        };
        alive
            && now < session.not_after()
            && session.id() == id.as_bytes()
            && number == context.number()
    }
}
