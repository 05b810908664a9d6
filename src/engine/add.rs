//! How a session gets in: claim a slot, look again, publish.
//!
//! 1. The session goes from new to live and linked. That fails for one that was added before.
//! 2. A published session of the same id, dead or alive, is replaced in its slot by one compare-and-swap.
//! 3. Else a permit is taken, evicting if need be, and the first empty slot on the path is claimed: a tentative
//!    pointer, which lookups pass by.
//! 4. A SeqCst fence, and the path is read again. Of two adds of one id at least one sees the other. If the other has
//!    published, this one takes its claim back and replaces it. If both are tentative, the one in the lower place stays:
//!    the higher one takes itself back or is emptied by the lower.
//! 5. The claim is published by a compare-and-swap: the add's linearization point. If the claim is gone, this add lost.
//! 6. Another fence, and the state is read again: who removed the session meanwhile may not have found its slot.
//!
//! Locked instructions of a plain insertion: the state, the permit, the claim, the publication, the
//! add's number, and a bit each in the wheel and the age ring where they are not set yet. In a full cache the permit is the
//! victim's, and its end costs six: a bit of the age ring, the state, the slot, the push and two counters. A replacement has the state, the slot, and the replaced session's state, twice, and push; in a full cache also the bit, which
//! goes back. No allocation.

use crate::blocks;
use crate::budget::{Permit, UNIT};
use crate::clock::Time;
use crate::id::SessionId;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::sync::atomic::Ordering;
use crate::sync::fence_after_rmw;

use super::bucket::Word;
use super::evict::Search;
use super::header::Raw;
use super::leave::Standing;
use super::table::{Claim, Path, Place, Rival, Scan};
use super::word::{Begin, Life};
use super::{Engine, Shard};

/// Times that an add begins, because another was in its way.
const ROUNDS: usize = 3;

/// What became of a session that was given to [`add`](crate::SessionCache::add).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a cache may refuse a session: a TLS stack should then not advertise it"]
pub enum Added {
    /// It is in the cache, and no session of its id was before.
    Inserted,
    /// It is in the cache, in the place of another session of the same id, expired or not, which fires no callback.
    Replaced,
    /// This very session is in the cache already, expired perhaps, or another add of it is under way; nothing was done
    /// (`SSL_CTX_add_session` returns 0).
    AlreadyPresent,
    /// This very session has been removed, or left the cache: it can't come back. Build a new one of the same bytes.
    Removed,
    /// The cache did not keep it, and no event tells of it. Unless the reason lay in the session itself or in the
    /// backlog, its life is over: to try again, build a new one.
    NotCached(NotCached),
}

impl Added {
    /// Whether a lookup can find the session now.
    pub const fn is_cached(self) -> bool {
        matches!(self, Self::Inserted | Self::Replaced | Self::AlreadyPresent)
    }
}

/// Why a sound session was not kept. A cache may always refuse; the client then gets a full handshake the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NotCached {
    /// Others were added at the same time and were in its way: one of the same id that won, or, which is rare, others that
    /// took the free slots which it had found, three times over.
    Raced,
    /// No room could be made within the effort that one add may spend.
    Full,
    /// Too much memory waits for callbacks or for slow readers; see [`Builder::backlog`](crate::Builder::backlog).
    Backlog,
    /// Its deadline has passed, or its timeout is zero.
    Expired,
    /// Its context has been invalidated since it was built, or belongs to another cache.
    Stale,
    /// The buckets of its path are full, as may happen to one id in many billions.
    Crowded,
    /// It is larger than [`Builder::max_session_bytes`](crate::Builder::max_session_bytes) or than the byte budget.
    TooLarge,
    /// The cache's mode does not let sessions be stored. Only said to handshakes.
    Disabled,
}

impl std::fmt::Display for NotCached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raced => "another add was in its way",
            Self::Full => "no room could be made",
            Self::Backlog => "too much waits for callbacks and readers",
            Self::Expired => "its deadline has passed",
            Self::Stale => "its context was invalidated or is another cache's",
            Self::Crowded => "the buckets of its path are full",
            Self::TooLarge => "it is too large",
            Self::Disabled => "the mode does not allow it",
        })
    }
}

impl std::fmt::Display for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inserted => f.write_str("inserted"),
            Self::Replaced => f.write_str("replaced another"),
            Self::AlreadyPresent => f.write_str("already present"),
            Self::Removed => f.write_str("removed before"),
            Self::NotCached(reason) => write!(f, "not cached: {reason}"),
        }
    }
}

/// An add under way.
struct Add<'a> {
    engine: &'a Engine,
    guard: &'a Guard<'a>,
    shard: &'a Shard,
    path: Path,
    id: &'a SessionId,
    context: u32,
    raw: Raw,
    units: u64,
    held: Permit,
    generation: u64,
    search: Search,
}

/// How an attempt to put the session into a slot ended.
enum Landed {
    /// Published there, as this word; a live session was replaced by it.
    At(Place, Word, bool),
    /// Not published, and the session still owns its link.
    Refused(NotCached),
    /// Somebody emptied the slot that was claimed, and unlinked the session.
    Lost,
    /// Start over.
    Again,
}

impl Engine {
    /// Adds a session, which has so many milliseconds if it has no timeout of its own. The handle becomes the cache's
    /// reference.
    pub(crate) fn add(&self, session: Session, timeout: u64, now: Time) -> Added {
        match self.try_add(session, timeout, now) {
            Ok(added) => added,
            Err(reason) => {
                self.cells.not_cached.add(1);
                match reason {
                    NotCached::Backlog => self.cells.not_cached_backlog.add(1),
                    NotCached::Raced => self.cells.not_cached_raced.add(1),
                    _ => 0,
                };
                Added::NotCached(reason)
            }
        }
    }

    /// The deadline that a session would get now, if it is fit to be added at all.
    #[inline(always)]
    pub(crate) fn deadline(
        &self,
        session: &Session,
        timeout: u64,
        now: Time,
    ) -> Result<Time, NotCached> {
        let raw = session.raw();
        // SAFETY: the handle is a reference.
        let (header, context, extras) = unsafe { (raw.header(), raw.context(), raw.extras()) };
        if !header.is_owned_by(self.cache) || !self.contexts.is_current(context) {
            return Err(NotCached::Stale);
        }
        let limit = self.cells.budget.limit().units() as usize * UNIT;
        if session.memory() > self.max_session.min(limit) {
            return Err(NotCached::TooLarge);
        }
        let deadline = extras.deadline(now, timeout);
        if now < deadline {
            Ok(deadline)
        } else {
            Err(NotCached::Expired)
        }
    }

    fn try_add(&self, session: Session, timeout: u64, now: Time) -> Result<Added, NotCached> {
        let raw = session.raw();
        // SAFETY: the handle is a reference; the guard below takes over when it has become the cache's.
        let (header, context, id, units) =
            unsafe { (raw.header(), raw.context(), raw.session_id(), raw.units()) };
        match header.state.load().life() {
            Life::New => {}
            Life::Live => return Ok(self.added_before(&session)),
            Life::Dead | Life::Replaced => return Ok(Added::Removed),
        }
        let deadline = self.deadline(&session, timeout, now)?;
        let (shard, path) = self.route(&id, context);
        if self.is_backed_up() {
            return Err(NotCached::Backlog);
        }
        shard.table.home(&path);
        shard.age.expect(path.home());
        if blocks::is_short() {
            self.wake_maintainer();
        }
        let guard = self.domain.pin();
        match header.state.begin(deadline) {
            Begin::Begun => {}
            Begin::AlreadyPresent => return Ok(self.added_before(&session)),
            Begin::Ended => return Ok(Added::Removed),
        }
        let raw = session.into_raw();
        let number = shard.cells.begun.add(1);
        let generation = shard.age.generation(number);
        let mut add = Add {
            engine: self,
            guard: &guard,
            shard,
            path,
            id: &id,
            context,
            raw,
            units,
            held: Permit::NONE,
            generation,
            search: Search::new(now, self.prospect(shard, units, number + 1)),
        };
        let landed = add.land();
        self.cells.budget.release(add.held);
        self.give_back(shard, &add.search);
        match landed {
            Landed::At(place, word, replaced) => {
                add.look_back(place, word);
                shard.wheel.schedule(place.bucket, deadline);
                shard.age.note(place.bucket, generation);
                Ok(if replaced {
                    Added::Replaced
                } else {
                    Added::Inserted
                })
            }
            Landed::Refused(reason) => add.give_up(true, reason),
            Landed::Again => add.give_up(true, NotCached::Raced),
            Landed::Lost => add.give_up(false, NotCached::Raced),
        }
    }

    /// What became of a session that was alive before this add of it.
    fn added_before(&self, session: &Session) -> Added {
        // SAFETY: the handle is a reference.
        let context = unsafe { session.raw().context() };
        let (shard, path) = self.route(&session.session_id(), context);
        let guard = self.domain.pin();
        match self.standing(&guard, shard, &path, session.raw()) {
            Standing::In(..) | Standing::Coming => Added::AlreadyPresent,
            Standing::Out => Added::Removed,
        }
    }

    /// Whether so much has left and not yet been freed that it has to be counted.
    pub(crate) fn is_crowded(&self) -> bool {
        // ORDERING: Relaxed. A hint that comes early: it is set at half the bound.
        self.crowded.load(Ordering::Relaxed)
    }

    /// Whether what has left the slots and not yet been freed, together with what is in them, is at its bound.
    pub(super) fn is_backed_up(&self) -> bool {
        if !self.is_crowded() {
            return false;
        }
        let waiting = self.cells.backlog();
        if waiting < self.backlog / 4 {
            // ORDERING: Relaxed. See `is_crowded`.
            self.crowded.store(false, Ordering::Relaxed);
        }
        let budget = &self.cells.budget;
        let room = budget.limit().units() + self.backlog;
        waiting > self.backlog && waiting + budget.used().units() > room
    }
}

impl Add<'_> {
    /// Puts the session into a slot.
    fn land(&mut self) -> Landed {
        for _ in 0..ROUNDS {
            let table = &self.shard.table;
            let landed = match table.scan(self.guard, &self.path, self.id, self.context) {
                Scan::Published(place, word, old) => self.replace(place, word, old),
                Scan::Crowded => Landed::Refused(NotCached::Crowded),
                Scan::Free(place) => {
                    let need = Permit::new(1, self.units);
                    if self.held.covers(need) || self.reserve(need, None) {
                        self.claim(place)
                    } else {
                        Landed::Refused(NotCached::Full)
                    }
                }
            };
            if !matches!(landed, Landed::Again) {
                return landed;
            }
        }
        Landed::Again
    }

    fn reserve(&mut self, need: Permit, spared: Option<Raw>) -> bool {
        let (engine, held, search) = (self.engine, &mut self.held, &mut self.search);
        search.spared = spared;
        engine.reserve(self.guard, self.shard, held, need, search)
    }

    /// What is going to stand in a slot.
    fn word(&self, place: Place) -> Word {
        Word::published(self.raw, self.path.fingerprint(), place.is_away())
    }

    /// Notes the age of what is going to stand in a slot, before it can be found there.
    fn note_birth(&self, place: Place) {
        let age = &self.shard.age;
        age.born(place.bucket, place.slot, self.generation);
    }

    /// Where another session stands, or may, that has got this one's age: lets the age ring know.
    fn note_birth_elsewhere(&self, place: Place) {
        let age = &self.shard.age;
        age.note(place.bucket, self.generation);
    }

    /// Puts the session into the slot of another of its id.
    fn replace(&mut self, place: Place, word: Word, old: Raw) -> Landed {
        // SAFETY: found in a slot under the guard.
        let old_units = unsafe { old.units() };
        // The slot's permit goes with it; only what the newcomer needs beyond it has to be found.
        let slot = Permit::new(1, old_units);
        let need = Permit::new(0, self.units.saturating_sub(old_units));
        // It must not be evicted to make room for its own successor: that would fire a callback for its id.
        if need != Permit::NONE && !self.reserve(need, Some(old)) {
            return Landed::Refused(NotCached::Full);
        }
        // From here on, who does not find the old one in its slot knows that it was replaced.
        // SAFETY: as above.
        unsafe { old.header() }.state.note_stood();
        let table = &self.shard.table;
        let new = self.word(place);
        self.note_birth(place);
        // LINEARIZATION: of an add that replaces.
        if !table.replace(place, word, new) {
            self.note_birth_elsewhere(place);
            return Landed::Again;
        }
        self.held = self.held.and(slot).without(Permit::new(1, self.units));
        // SAFETY: as above.
        let (was_live, owed) = unsafe { old.header() }.state.supersede();
        if was_live {
            self.shard.cells.replaced.add(1);
        }
        self.engine.settle(self.guard, self.shard, old, owed);
        Landed::At(place, new, was_live)
    }

    /// Claims an empty slot, settles with other adds of the id, and publishes. The permit is held.
    fn claim(&mut self, place: Place) -> Landed {
        let table = &self.shard.table;
        let word = self.word(place);
        let tentative = word.tentative();
        match table.claim(&self.path, place, tentative) {
            Claim::Held => {}
            Claim::Lost => return Landed::Again,
            Claim::Saturated => return Landed::Refused(NotCached::Crowded),
        }
        self.note_birth(place);
        // The permit is the slot's now.
        let permit = Permit::new(1, self.units);
        self.held = self.held.without(permit);
        // ORDERING: SeqCst, behind the claim's read-modify-write; partner: this same fence in another add of the id.
        // Whichever comes later sees the other's claim.
        fence_after_rmw();
        loop {
            let rival = table.rescan(self.guard, &self.path, self.id, self.context, place);
            let verdict = match rival {
                Rival::None => break,
                Rival::Higher(other, word, raw) => {
                    // Its add will find its claim gone.
                    let freed = self
                        .engine
                        .unlink(self.guard, self.shard, &self.path, other, word, raw);
                    self.engine.cells.budget.release(freed);
                    continue;
                }
                Rival::Published => Landed::Again,
                Rival::Lower => Landed::Refused(NotCached::Raced),
            };
            if !table.empty(&self.path, place, tentative) {
                self.note_birth_elsewhere(place);
                return Landed::Lost;
            }
            self.held = self.held.and(permit);
            return verdict;
        }
        // LINEARIZATION: of an add that inserts.
        if table.replace(place, tentative, word) {
            Landed::At(place, word, false)
        } else {
            self.note_birth_elsewhere(place);
            Landed::Lost
        }
    }

    /// Looks at the published session once more: somebody may have ended it before it stood in its slot, or its context
    /// may have been invalidated.
    fn look_back(&self, place: Place, word: Word) {
        let engine = self.engine;
        // ORDERING: SeqCst, behind the publication's read-modify-write. Partners: the fence in `end_exact`, between
        // ending a life and searching the slot; the fence in `Contexts::renew`, before a sweep; the fences of who
        // drains a wheel position or an age generation, before the look at the bucket.
        fence_after_rmw();
        // SAFETY: the session is alive under the guard: it was in a slot.
        let state = &unsafe { self.raw.header() }.state;
        if !engine.contexts.is_current(self.context) {
            if let Ok(owed) = state.end(RemovalCause::Invalidated, |_| true) {
                self.shard.cells.end(RemovalCause::Invalidated, 1);
                engine.settle(self.guard, self.shard, self.raw, owed);
            }
        }
        if state.load().life() == Life::Dead {
            let freed = engine.unlink(self.guard, self.shard, &self.path, place, word, self.raw);
            engine.cells.budget.release(freed);
        }
    }

    /// Ends the life of a session that did not get in.
    fn give_up(&self, linked_is_mine: bool, reason: NotCached) -> Result<Added, NotCached> {
        // SAFETY: the session is alive under the guard: the cache's reference is not dropped before it has been pushed.
        let (by_us, owed) = unsafe { self.raw.header() }.state.abandon(linked_is_mine);
        if by_us {
            self.shard.cells.abandoned.add(1);
        }
        self.engine.settle(self.guard, self.shard, self.raw, owed);
        if by_us {
            Err(reason)
        } else {
            Ok(Added::Removed)
        }
    }
}
