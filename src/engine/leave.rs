//! How sessions leave: one compare-and-swap decides who ends a life, one empties the slot, one push hands it on.
//!
//! Who finds a session in its slot ends and unlinks it at one stroke. Locked instructions of a `take` or `remove`: the end, the
//! slot, the permit, the push, and two counters; for both one more for the reference that they take.

use crate::budget::Permit;
use crate::clock::Time;
use crate::id::SessionId;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::stats::Event;
use crate::sync::atomic::Ordering;
use crate::sync::fence_after_rmw;

use super::bucket::Word;
use super::header::Raw;
use super::removed::Pile;
use super::table::{Path, Place, Table};
use super::word::{Life, Owed, State};
use super::{Engine, Shard};

/// What became of an attempt to end a session that was found by its id.
enum Fate {
    Ended(Raw),
    /// There is none, or somebody else ended it.
    Gone,
    /// Its deadline has passed.
    Expired,
    /// Another session had taken its slot: look again.
    Replaced,
}

/// Where a session stands, at some moment while that was looked at.
pub(super) enum Standing {
    /// In a slot, for all to find.
    In(Place, Word),
    /// Nowhere yet: its add is under way, and may fail. Or it left its slot while this looked, and stood there before.
    Coming,
    /// Nowhere: it was never added, or has left, or another session has just taken its slot.
    Out,
}

/// What became of an attempt to end a session that was never added.
enum Unadded {
    Ended,
    /// Too much waits for callbacks and readers: nothing was done.
    BackedUp,
    /// An add has begun, or the session was ended.
    Added,
}

impl Engine {
    /// Ends the live session of an id and returns a reference to it: of any number of callers, one wins.
    ///
    /// Lock-free: it looks again only when the session it found was replaced meanwhile. LINEARIZATION: the
    /// compare-and-swap that ends the life; or, if the session had just been replaced in its slot, right before that.
    ///
    /// `want` may refuse what it sees, which is then a miss. It is called under the pin.
    pub(crate) fn take(
        &self,
        id: &SessionId,
        context: u32,
        now: Time,
        cause: RemovalCause,
        want: impl Fn(Raw) -> bool,
    ) -> Option<Raw> {
        let (shard, path) = self.route(id, context);
        shard.table.home(&path);
        let guard = self.domain.pin();
        loop {
            let found = shard.table.find(&guard, &path, id, context);
            let fate = match found {
                None => Fate::Gone,
                // It was found in a slot under the guard, which outlives the call.
                Some((_, _, raw)) if !want(raw) => Fate::Gone,
                Some((place, word, raw)) => {
                    self.end_found(&guard, shard, &path, (place, word, raw), now, cause)
                }
            };
            match fate {
                Fate::Ended(raw) => {
                    self.count(cause, Event::Hit);
                    return Some(raw);
                }
                Fate::Gone => {
                    self.count(cause, Event::Miss);
                    return None;
                }
                Fate::Expired => {
                    self.count(cause, Event::Timeout);
                    return None;
                }
                Fate::Replaced => {}
            }
        }
    }

    /// Only a `take` is a lookup; a removal is none.
    fn count(&self, cause: RemovalCause, what: Event) {
        if cause == RemovalCause::Taken {
            self.cells.count(what);
        }
    }

    fn end_found(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        path: &Path,
        (place, word, raw): (Place, Word, Raw),
        now: Time,
        cause: RemovalCause,
    ) -> Fate {
        // SAFETY: found in a slot under the guard; so in the rest of this function.
        let state = &unsafe { raw.header() }.state;
        let seen = state.load();
        if seen.life() == Life::Live && seen.is_expired(now) {
            return Fate::Expired;
        }
        // The reference comes first: once the session is ended, the cache's own may go its way.
        // SAFETY: as above.
        if seen.life() == Life::Live && !unsafe { raw.try_retain() } {
            return Fate::Gone;
        }
        match state.end_in_slot(cause, |s| !s.is_expired(now)) {
            Ok(owed) => {
                let permit = self.finish(guard, shard, path, (place, word, raw), cause, owed);
                self.cells.budget.release(permit);
                Fate::Ended(raw)
            }
            Err(now_seen) => {
                if seen.life() == Life::Live {
                    // SAFETY: the reference taken above. The cache's own lives on under the guard.
                    unsafe { raw.release() };
                }
                if now_seen.life() == Life::Replaced {
                    Fate::Replaced
                } else {
                    Fate::Gone
                }
            }
        }
    }

    /// What the winner of an end in a slot does: counts it, empties the slot, pushes the session. Returns the slot's permit if
    /// it was this call that emptied it.
    fn finish(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        path: &Path,
        (place, word, raw): (Place, Word, Raw),
        cause: RemovalCause,
        owed: Owed,
    ) -> Permit {
        shard.cells.end(cause, 1);
        let permit = Self::vacate(shard, path, (place, word, raw));
        // Nobody finds it any more, who was not at it already.
        self.settle(guard, shard, raw, owed);
        // ORDERING: SeqCst, behind read-modify-writes; partner: this same fence in another thread. Of two threads that each
        // end a session and then look for the other's, one finds it gone. Else each id by itself had an order that is true to
        // time, and all of them together had none.
        fence_after_rmw();
        permit
    }

    /// Empties a slot that holds `word`, if it still does; returns its permit then. The session, live or dead, is
    /// unlinked, and pushed if it is dead.
    pub(super) fn unlink(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        path: &Path,
        place: Place,
        word: Word,
        raw: Raw,
    ) -> Permit {
        if !shard.table.empty(path, place, word) {
            // Another took the slot, and settles what is owed.
            return Permit::NONE;
        }
        // SAFETY: it was in a slot under the guard.
        let (header, units) = unsafe { (raw.header(), raw.units()) };
        let owed = header.state.unlink();
        self.settle(guard, shard, raw, owed);
        Permit::new(1, units)
    }

    /// Empties the slot of a session that the caller has ended; returns its permit, which is none if another took the slot, or
    /// emptied it.
    pub(super) fn vacate(
        shard: &Shard,
        path: &Path,
        (place, word, raw): (Place, Word, Raw),
    ) -> Permit {
        if shard.table.empty(path, place, word) {
            // SAFETY: its reference is the caller's to push.
            Permit::new(1, unsafe { raw.units() })
        } else {
            Permit::NONE
        }
    }

    /// Pushes a session if that is owed.
    pub(super) fn settle(&self, _guard: &Guard<'_>, shard: &Shard, raw: Raw, owed: Owed) {
        if owed == Owed::Push {
            // SAFETY: alive under the guard; the push is owed by the transition that the caller has just made.
            unsafe { self.push(shard, &Pile::of(raw), raw.units()) };
        }
    }

    /// Pushes what has left, so many units of memory, and wakes the maintainer if that is much.
    ///
    /// # Safety
    ///
    /// As for [`Removed::push`](super::removed::Removed::push).
    pub(super) unsafe fn push(&self, shard: &Shard, pile: &Pile, units: u64) {
        let cells = &shard.cells;
        let before = cells
            .pushed
            .add(units)
            .saturating_sub(cells.collected.value());
        // At least one shard has no less on its stack than the average.
        let guess = self.cells.in_hand() + (before + units) * self.shards.len() as u64;
        // ORDERING: Relaxed, both. See `is_backed_up`.
        if guess > self.backlog / 2 && !self.crowded.load(Ordering::Relaxed) {
            self.crowded.store(true, Ordering::Relaxed);
        }
        // SAFETY: passed on to the caller.
        unsafe { shard.removed.push(pile) };
        if before < self.wake_at && before + units >= self.wake_at {
            self.wake_maintainer();
        }
    }

    /// Ends this very session, wherever it is in its life. The caller has a handle. Returns whether this call ended it.
    ///
    /// A session whose slot an add has taken is not ended any more, even if that add has not yet ended its life: the newcomer
    /// can be found already. One that is just being added can't be taken yet.
    ///
    /// A session that was never added is ended too, and its event delivered, unless too much is waiting already.
    pub(crate) fn end_exact(
        &self,
        raw: Raw,
        cause: RemovalCause,
        when: impl Fn(State) -> bool,
    ) -> bool {
        // SAFETY: the caller has a handle; so in the rest of this function.
        let header = unsafe { raw.header() };
        if !header.is_owned_by(self.cache) {
            return false;
        }
        // SAFETY: as above.
        let (id, context) = unsafe { (raw.session_id(), raw.context()) };
        let (shard, path) = self.route(&id, context);
        let guard = self.domain.pin();
        if header.state.load().life() == Life::New && cause == RemovalCause::Removed {
            match self.end_unadded(&guard, shard, raw, cause) {
                Unadded::Ended => return true,
                Unadded::BackedUp => return false,
                Unadded::Added => {}
            }
        }
        // LINEARIZATION: of a success, the end; or, if an add has replaced the session in its slot since `standing`
        // began to look, right before that. Of a failure, the end or the replacement that came first.
        let ended = match self.standing(&guard, shard, &path, raw) {
            Standing::In(place, word) => {
                let Ok(owed) = header.state.end_in_slot(cause, when) else {
                    return false;
                };
                let permit = self.finish(&guard, shard, &path, (place, word, raw), cause, owed);
                self.cells.budget.release(permit);
                return true;
            }
            // It can't be used before it is there; it can be removed.
            Standing::Coming if cause != RemovalCause::Taken => header.state.end(cause, when),
            Standing::Coming | Standing::Out => return false,
        };
        let Ok(owed) = ended else {
            return false;
        };
        shard.cells.end(cause, 1);
        // ORDERING: SeqCst, behind the read-modify-write that ended the life; partner: the fence in `add` between
        // putting the session into a slot and looking at its state. Either the add sees it dead and empties the slot, or
        // this search sees the slot.
        fence_after_rmw();
        if let Some((place, word)) = shard.table.locate(&path, raw) {
            let permit = self.unlink(&guard, shard, &path, place, word, raw);
            self.cells.budget.release(permit);
        }
        self.settle(&guard, shard, raw, owed);
        true
    }

    /// Where a session stands. The caller has a handle.
    pub(super) fn standing(
        &self,
        _guard: &Guard<'_>,
        shard: &Shard,
        path: &Path,
        raw: Raw,
    ) -> Standing {
        // SAFETY: the caller has a handle.
        let state = unsafe { raw.header() }.state.load();
        if state.life() != Life::Live {
            return Standing::Out;
        }
        let found = shard.table.locate(path, raw);
        match found.filter(|(_, word)| word.is_published()) {
            Some((place, word)) => Standing::In(place, word),
            // It had been published by then, and a session never moves: it has left, or been replaced.
            None if state.has_stood() => Standing::Out,
            None => Standing::Coming,
        }
    }

    /// Takes this very session, if it has not expired and its context has not been invalidated. The caller has a handle.
    pub(crate) fn take_exact(&self, raw: Raw, now: Time) -> bool {
        // SAFETY: the caller has a handle.
        let context = unsafe { raw.context() };
        self.end_exact(raw, RemovalCause::Taken, |s| {
            !s.is_expired(now) && self.contexts.is_current(context)
        })
    }

    fn end_unadded(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        raw: Raw,
        cause: RemovalCause,
    ) -> Unadded {
        // The reference that the stack will own. SAFETY: the caller of `end_exact` has a handle.
        if self.is_backed_up() || !unsafe { raw.try_retain() } {
            return Unadded::BackedUp;
        }
        // SAFETY: as above.
        if unsafe { raw.header() }.state.end_unadded(cause) {
            self.cells.never_added.add(1);
            self.settle(guard, shard, raw, Owed::Push);
            return Unadded::Ended;
        }
        // SAFETY: the reference taken above, not the caller's.
        unsafe { raw.release() };
        Unadded::Added
    }

    /// Ends a session that was found by its bucket, if `when` agrees. Returns the slot's permit, which is none if another
    /// emptied the slot.
    pub(super) fn end_in_bucket(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        at: (usize, usize),
        (word, raw): (Word, Raw),
        cause: RemovalCause,
        when: impl Fn(State) -> bool,
    ) -> Option<Permit> {
        let (path, place) = self.place(shard, at, (word, raw))?;
        // SAFETY: found in a slot under the guard.
        let owed = unsafe { raw.header() }
            .state
            .end_in_slot(cause, when)
            .ok()?;
        Some(self.finish(guard, shard, &path, (place, word, raw), cause, owed))
    }

    /// The path and the place of a session that was found by its bucket.
    #[inline]
    pub(super) fn place(
        &self,
        shard: &Shard,
        (bucket, slot): (usize, usize),
        (word, raw): (Word, Raw),
    ) -> Option<(Path, Place)> {
        if !word.is_away() {
            let place = Table::place_at_home(bucket, slot);
            return Some((Path::home_only(bucket), place));
        }
        // SAFETY: the callers found it in a slot under their guard.
        let (_, path) = unsafe { self.route(&raw.session_id(), raw.context()) };
        let place = shard.table.place(&path, bucket, slot)?;
        Some((path, place))
    }
}
