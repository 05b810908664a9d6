//! The first tier and the shared one together: what goes on to the store, what comes from there, and what must not.

use std::sync::Arc;
use std::time::Duration;

use crate::callbacks::RemoveSink;
use crate::config::CacheMode;
use crate::context::Context;
use crate::engine::departures::Sink;
use crate::engine::word::Life;
use crate::error::Error;
use crate::host::tag_of;
use crate::id::{ContextId, SessionId};
use crate::removal::{End, RemovalCause};
use crate::session::Session;
use crate::stats::Event;
use crate::store::query::Query;
use crate::store::tier::Tier;
use crate::store::worker::Host;
use crate::store::{Class, ExternalStats, Keys, Offered};

use super::SessionCache;
use super::handshake::{Found, Shelf, Terms, Usage};
use super::life::Core;

impl SessionCache {
    pub(super) fn tier(&self) -> Option<&Tier> {
        self.core.tier.as_deref()
    }

    /// The counters of the shared tier; `None` without one.
    pub fn external_stats(&self) -> Option<ExternalStats> {
        Some(self.tier()?.stats())
    }

    /// What went wrong when a call of the store failed last, in words; `None` if none ever has. For a log, not for decisions.
    pub fn external_failure(&self) -> Option<String> {
        self.tier()?.last_failure()
    }

    /// Gives the shared tier other keys. What was sealed with a key that is not among them is refused from here on. False
    /// without a shared tier.
    pub fn set_external_keys(&self, keys: Keys) -> bool {
        self.tier().map(|tier| tier.replace_keys(keys)).is_some()
    }

    /// Waits until what was queued for the shared tier is written, removals and invalidations too, and its counts of
    /// invalidations are known for all contexts. False if that is not so within the limit; true without a shared tier, and
    /// false in a forked child, for which the store is away. For a
    /// server that wants to begin with the store in reach, for an orderly hand-over, and for tests.
    pub fn settle_external(&self, limit: Duration) -> bool {
        self.tier().is_none_or(|tier| tier.settle(limit))
    }

    /// Fetches sessions from the shared tier before the handshake that wants them, so that the handshake does not wait for
    /// the store. Returns how many are at hand now.
    ///
    /// For servers that must not block where they do their handshakes: peek at the ClientHello, read the
    /// [ids](crate::store::resumption_ids) in it, call this where blocking is allowed (in tokio, `spawn_blocking`), and then
    /// begin the handshake. It makes no more reads than a handshake may, each within the read budget.
    ///
    /// A session for single use is taken from the store, and kept aside for ten seconds for the handshake, which claims it; it
    /// is then used here or nowhere. Others are put into the first tier.
    pub fn prefetch(&self, context: &Context, ids: &[Offered]) -> usize {
        let Some(tier) = self.tier() else {
            return 0;
        };
        let mut at_hand = 0;
        let mut left = tier.reads_per_handshake();
        for offered in ids {
            let here = self.contains(context, &offered.id);
            // One for single use has to be claimed at the store, even if it is here.
            let asks = if offered.single_use {
                tier.is_strict() || !here
            } else {
                !here
            };
            let brought = asks && left > 0 && self.bring(tier, context, offered);
            left = left.saturating_sub(u32::from(asks));
            at_hand += usize::from(brought || !asks);
        }
        at_hand
    }

    fn bring(&self, tier: &Tier, context: &Context, offered: &Offered) -> bool {
        let Some(query) = tier.query(context, &offered.id) else {
            return false;
        };
        if offered.single_use {
            return tier.warm(&query);
        }
        let now = self.core.engine.clock.refresh();
        let tag = |host: &ContextId| self.tag_of(host);
        let Some(session) = tier.get(&query, Class::Looked, now, &tag) else {
            return false;
        };
        self.admit(tier, &query, &session, true)
    }

    /// Puts what was read into the first tier, if it is to be kept there. False if it was removed or invalidated meanwhile:
    /// then it is not kept either.
    fn admit(&self, tier: &Tier, query: &Query<'_>, session: &Session, keeps: bool) -> bool {
        if keeps {
            // Whether there is room for it here does not matter to this handshake.
            let _ = self.add(session.clone());
        }
        // Behind the add, so that a removal that does not see the session in the cache is seen here.
        let admitted = tier.admits(query);
        if keeps && !admitted {
            let engine = &self.core.engine;
            engine.end_exact(session.raw(), RemovalCause::Removed, |_| true);
        }
        admitted
    }

    /// How many look-ups of a handshake may leave the process, unless it is told otherwise.
    pub(crate) fn reads_per_handshake(&self) -> Option<u32> {
        self.tier().map(Tier::reads_per_handshake)
    }

    /// The tag that sessions of a host have in this process, if there is such a host.
    fn tag_of(&self, host: &ContextId) -> Option<u64> {
        let number = self.core.engine.contexts.number_of(host)?;
        Some(tag_of(number))
    }

    /// Whether a single-use session that was found here may be used: strictly, only if the store hands it out.
    pub(super) fn confirm(&self, context: &Context, session: &Session) -> bool {
        let tier = self.tier().filter(|tier| tier.is_strict());
        tier.is_none_or(|tier| win(tier, context, session, Class::Taken))
    }

    /// Looks for a session at the store.
    pub(super) fn ask_store(
        &self,
        context: &Context,
        id: &SessionId,
        usage: Usage,
        terms: &impl Terms,
        may_ask: &mut impl FnMut() -> bool,
    ) -> Option<Found> {
        let tier = self.tier()?;
        if !may_ask() {
            self.core.engine.cells.external_denied.add(1);
            return None;
        }
        let now = self.core.engine.clock.refresh();
        let query = tier.query(context, id)?;
        let claimed = usage == Usage::Once;
        let tag = |host: &ContextId| self.tag_of(host);
        let mut session = if claimed {
            tier.build(&query, now, &tier.take(&query, Class::Taken)?, &tag)?
        } else {
            tier.get(&query, Class::Looked, now, &tag)?
        };
        let life = self.accept_external(&session, context, id)?;
        if !terms.want(&session) {
            return None;
        }
        if life == Life::New {
            session = terms.adopt(session)?;
        }
        let keeps = usage == Usage::Again && !self.mode().contains(CacheMode::NO_INTERNAL_STORE);
        if !claimed && !self.admit(tier, &query, &session, keeps) {
            return None;
        }
        self.core.engine.cells.count(Event::Hit);
        Some(Found { session, claimed })
    }

    /// Takes the session that a handshake has found, once the client has proved that it knows the secret.
    pub(super) fn claim_at(&self, tier: &Tier, context: &Context, session: &Session) -> bool {
        // SAFETY: the handle is a reference.
        let life = unsafe { session.raw().header() }.state.load().life();
        let engine = &self.core.engine;
        match life {
            // It came from the store, which has it still.
            Life::New => win(tier, context, session, Class::Looked),
            _ if !engine.take_exact(session.raw(), engine.clock.now()) => false,
            _ => !tier.is_strict() || win(tier, context, session, Class::Looked),
        }
    }

    /// Queues a session that a handshake has established, unless it has been removed meanwhile.
    pub(super) fn share(&self, shelf: Shelf<'_>, session: Session, deadline: crate::Time) -> bool {
        let Some(tier) = self.tier() else {
            return false;
        };
        let class = match shelf.usage {
            Usage::Once => Class::Taken,
            Usage::Again | Usage::OnceProved => Class::Looked,
        };
        let context = shelf.context.id();
        let now = self.core.engine.clock.now();
        let queued = tier.put(context, class, session.clone(), shelf.host, (deadline, now));
        // Behind the put: a removal that came before it has not stopped it.
        if ended(&session).is_some_and(is_removal) {
            tier.remove(context, &session.session_id());
            return false;
        }
        queued
    }

    /// Removes a session here and at the store: the removal is queued first, so that a read under way can't bring the
    /// session back, and again after, for what was queued to be stored meanwhile.
    pub(super) fn removing<R>(
        &self,
        context: &ContextId,
        id: &SessionId,
        remove: impl FnOnce() -> R,
    ) -> R {
        let Some(tier) = self.tier() else {
            return remove();
        };
        tier.remove(context, id);
        let removed = remove();
        tier.remove(context, id);
        removed
    }

    /// The context that a session was built for; `None` without a shared tier, and once that generation is over.
    pub(super) fn context_of(&self, session: &Session) -> Option<ContextId> {
        self.tier()?;
        self.core.context_of(session)
    }

    /// Removes this very session by `end`, and what there is of it at the store; or, if it has left the cache before without
    /// being removed, what a read may have brought back of it.
    pub(super) fn removing_exact(&self, session: &Session, end: impl FnOnce() -> bool) -> bool {
        let replaced = matches!(ended(session), Some(End::Replaced));
        let Some(context) = self.context_of(session).filter(|_| !replaced) else {
            return end();
        };
        self.removing(&context, &session.session_id(), || {
            let won = end();
            if !won {
                self.remove_copy(&context, session);
            }
            won
        })
    }

    /// Whether the store has the say in single use.
    pub(super) fn is_strict(&self) -> bool {
        self.tier().is_some_and(Tier::is_strict)
    }

    /// Whether a session was [fetched ahead](Self::prefetch) for single use, and waits for its handshake.
    pub(super) fn is_aside(&self, context: &Context, id: &SessionId) -> bool {
        self.tier()
            .is_some_and(|tier| tier.is_aside(context.id(), id))
    }

    /// A single-use session was taken by the application itself: strictly, it must not come back from the store. Not inlined:
    /// a take without a strict tier shall cost nothing more.
    #[inline(never)]
    pub(super) fn used_up(&self, context: &ContextId, session: &Session) {
        let id = session.session_id();
        self.removing(context, &id, || self.remove_copy(context, session));
    }

    /// The same, of a session whose context is not at hand.
    #[inline(never)]
    pub(super) fn used_up_exact(&self, session: &Session) {
        if let Some(context) = self.context_of(session) {
            self.used_up(&context, session);
        }
    }

    /// Invalidates a context here by `first`, and at the store.
    pub(super) fn invalidating<R>(&self, context: &ContextId, first: impl FnOnce() -> R) -> R {
        match self.tier() {
            Some(tier) => tier.invalidate(Some(context), first),
            None => first(),
        }
    }

    /// Removes what a read has brought back of a session that has left the cache before.
    fn remove_copy(&self, context: &ContextId, session: &Session) {
        let number = self.core.engine.contexts.number_of(context);
        let Some(number) = number.filter(|_| !matches!(ended(session), Some(End::Replaced))) else {
            return;
        };
        let engine = &self.core.engine;
        let now = engine.clock.now();
        let same = |raw| {
            // SAFETY: `take` shows only what is in a slot, under its pin; the handle borrows that, and is not dropped.
            let found = std::mem::ManuallyDrop::new(unsafe { Session::from_raw(raw) });
            found.payload() == session.payload()
        };
        let id = session.session_id();
        if let Some(raw) = engine.take(&id, number, now, RemovalCause::Removed, same) {
            // SAFETY: the reference that `take` took.
            drop(unsafe { Session::from_raw(raw) });
        }
    }

    /// Has what `sweep` removes here become unreachable at the store, too: by one count for everything.
    pub(super) fn sweeping_all<R>(&self, sweep: impl FnOnce() -> R) -> R {
        match self.tier() {
            Some(tier) => tier.invalidate(None, sweep),
            None => sweep(),
        }
    }

    /// As [`removing`](Self::removing), for many: where the queue is full, the store's records of the whole context go.
    pub(super) fn retiring<R>(&self, session: &Session, remove: impl FnOnce() -> R) -> R {
        let (Some(tier), Some(context)) = (self.tier(), self.context_of(session)) else {
            return remove();
        };
        let id = session.session_id();
        let queued = tier.remove(&context, &id);
        let removed = remove();
        if !(tier.remove(&context, &id) && queued) {
            tier.invalidate(Some(&context), || ());
        }
        removed
    }
}

/// Whether the store hands out this very session.
fn win(tier: &Tier, context: &Context, session: &Session, class: Class) -> bool {
    let query = tier.query(context, &session.session_id());
    let prize = query.and_then(|query| tier.take(&query, class));
    let won = prize.is_some_and(|prize| prize.payload() == session.payload());
    if won {
        tier.count_claim();
    }
    won
}

/// How a session has ended, if it has.
fn ended(session: &Session) -> Option<End> {
    // SAFETY: the handle is a reference.
    let state = unsafe { session.raw().header() }.state.load();
    matches!(state.life(), Life::Dead | Life::Replaced).then(|| state.end())
}

/// Whether the store's copy has to go with it.
fn is_removal(end: End) -> bool {
    matches!(
        end,
        End::Event(cause) if !matches!(cause, RemovalCause::Expired | RemovalCause::Evicted | RemovalCause::Dropped)
    )
}

impl Core {
    fn context_of(&self, session: &Session) -> Option<ContextId> {
        // SAFETY: the handle is a reference.
        let number = unsafe { session.raw().context() };
        self.engine.contexts.id_of(number)
    }
}

impl Host for Core {
    fn is_current(&self, generation: u32) -> bool {
        self.engine.contexts.is_current(generation)
    }

    fn knows(&self, context: &ContextId) -> bool {
        self.engine.contexts.number_of(context).is_some()
    }

    fn invalidate(&self, context: Option<&ContextId>) {
        // It fails where there are no numbers left, and then nothing can be stored any more, either.
        let _ = self.engine.invalidate_heard(context);
        self.engine.wake_maintainer();
    }
}

/// Who hears of removals: the callback, and, where single use is not strict, the store.
pub(crate) struct Listeners<'a> {
    pub(super) callback: RemoveSink<'a>,
    pub(super) core: &'a Core,
}

impl Listeners<'_> {
    fn follower(&self) -> Option<&Arc<Tier>> {
        self.core.tier.as_ref().filter(|tier| !tier.is_strict())
    }
}

impl Sink for Listeners<'_> {
    fn is_listening(&self) -> bool {
        self.callback.is_listening() || self.follower().is_some()
    }

    fn removed(&self, session: &Session, cause: RemovalCause) {
        let follower = self.follower().filter(|_| cause == RemovalCause::Taken);
        // Not for every event: the context's id takes a lock.
        let told = follower.and_then(|tier| Some((tier, self.core.context_of(session)?)));
        if let Some((tier, context)) = told {
            tier.remove(&context, &session.session_id());
        }
        self.callback.removed(session, cause);
    }
}

/// A shared tier that was asked for.
pub(crate) fn tier_of(builder: &mut crate::config::Builder) -> Result<Option<Arc<Tier>>, Error> {
    let Some(external) = builder.external.take() else {
        return Ok(None);
    };
    Tier::new(external.store, external.options).map(|tier| Some(Arc::new(tier)))
}
