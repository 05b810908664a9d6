//! Making room: what is expired first, then dead generations, then the oldest that nobody came back for.

use crate::budget::Permit;
use crate::clock::Time;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::sync::atomic::Ordering;
use crate::sync::{MODEL, fence_after_rmw, prefetch};

use super::age::{SLACK, years};
use super::bitmap::RING;
use super::bucket::{SLOTS, Word};
use super::header::Raw;
use super::maintain::Work;
use super::word::{Life, State};
use super::{Engine, Shard};

/// Victims that one add looks for before it gives up, besides one for each unit of memory that it needs.
const VICTIMS: u64 = 64;

/// Times that one add goes round all shards without finding a victim, before it gives up.
const VAIN_ROUNDS: usize = if MODEL { 2 } else { 16 };

/// Looks by age in one attempt to find a victim in one shard.
const LOOKS: usize = if MODEL { 2 } else { 32 };

/// Looks by the hand, where those by age were in vain.
const HAND_LOOKS: usize = 256;

/// Second chances that one attempt gives before it evicts a session in spite of its visits.
const CHANCES: usize = if MODEL { 1 } else { 16 };

/// Words, or their worth in buckets, by which one add helps to turn the wheels and to sweep, when it finds the cache
/// full and nothing comes of it.
const HELP: usize = 4096;

/// Sessions that it ends so before it looks whether there is room.
const ENOUGH: usize = 8;

/// A bucket that the age ring has given, and the generation whose bit it was.
pub(super) type Prospect = (usize, u64);

/// One search for a victim in one shard, or several one after the other.
#[derive(Debug)]
pub(super) struct Search {
    /// The session that must stay.
    pub(super) spared: Option<Raw>,
    /// Where the first look goes, if that is known already.
    prospect: Option<Prospect>,
    /// The bucket in which the spared session was met.
    spared_in: Option<usize>,
    /// Second chances that were given.
    chances: usize,
    now: Time,
}

impl Search {
    pub(super) fn new(now: Time, prospect: Option<Prospect>) -> Self {
        Self {
            spared: None,
            prospect,
            spared_in: None,
            chances: 0,
            now,
        }
    }
}

impl Engine {
    /// Where an add of so many units is going to look for its victim, after so many adds to the shard; `None` if there is room for
    /// it. What that look reads is asked for from the memory, and comes while the add goes along its own path. The bit is taken
    /// out of the age ring: it is used by the search that this is given to, or [given back](Self::give_back).
    #[inline]
    pub(super) fn prospect(&self, shard: &Shard, units: u64, adds: u64) -> Option<Prospect> {
        if self.cells.budget.has_room(Permit::new(1, units)) {
            return None;
        }
        let (bucket, generation) = shard.age.oldest(adds)?;
        prefetch(shard.table.bucket(bucket));
        prefetch(shard.age.births(bucket));
        Some((bucket, generation))
    }

    /// Puts back where the search was to look first, if nothing was searched for.
    #[inline]
    pub(super) fn give_back(&self, shard: &Shard, search: &Search) {
        if let Some((bucket, generation)) = search.prospect {
            shard.age.note(bucket, generation);
        }
    }

    /// Makes `held` at least `need`: by taking what is free, else by evicting. Returns whether it succeeded; what was gathered
    /// stays in `held`, more than needed perhaps.
    pub(super) fn reserve(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        held: &mut Permit,
        need: Permit,
        search: &mut Search,
    ) -> bool {
        let now = search.now;
        let budget = &self.cells.budget;
        let mut help = Work::new(HELP, 0);
        let mut vain = 0;
        for _ in 0..VICTIMS + need.units() {
            let missing = need.without(*held);
            if self.take_free(held, missing) {
                return true;
            }
            if self.is_behind(now) && self.help(guard, shard, now, &mut help) {
                continue;
            }
            let Some(freed) = self.evict_somewhere(guard, shard, search) else {
                // What is in the hands of other adds will be in slots soon, or free.
                vain += 1;
                if vain == VAIN_ROUNDS {
                    return self.take_free(held, missing);
                }
                continue;
            };
            if budget.is_over() {
                // The limit was lowered: the count may only fall.
                budget.release(freed);
            } else {
                *held = held.and(freed);
                if held.covers(need) {
                    return true;
                }
            }
        }
        false
    }

    /// Takes what is missing, if it is free.
    fn take_free(&self, held: &mut Permit, missing: Permit) -> bool {
        let taken = self.cells.budget.take(missing);
        if taken {
            *held = held.and(missing);
        }
        taken
    }

    /// Collects expired sessions and dead generations, with which the maintainer is behind, as far as `work` allows. True if
    /// that made room.
    #[cold]
    fn help(&self, guard: &Guard<'_>, first: &Shard, now: Time, work: &mut Work) -> bool {
        if work.is_spent() {
            return false;
        }
        work.allow(ENOUGH);
        // ORDERING: Acquire; partner: the Release in `note_invalidation`.
        let invalidations = self.invalidations.load(Ordering::Acquire);
        let before = work.ended;
        let mut done = true;
        for shard in self.shards_from(first) {
            // Never waits: if somebody else is at it, the room comes without our help.
            let Ok(mut progress) = shard.progress.try_lock() else {
                done = false;
                continue;
            };
            done &= self.expire_shard(guard, shard, &mut progress, now, work);
            if work.ended == before {
                done &= self.sweep_stale(guard, shard, &mut progress, work);
            }
            if work.ended > before {
                // Only looks in vain count against the effort.
                work.refill(HELP);
                return true;
            }
            if !done && work.is_spent() {
                return false;
            }
        }
        if done {
            self.note_caught_up(now, invalidations);
        }
        false
    }

    fn shards_from(&self, first: &Shard) -> impl Iterator<Item = &Shard> {
        let (before, from) = self.shards.split_at(first.number);
        from.iter().chain(before)
    }

    /// Evicts one session, from this shard if it has one, else from the next that does.
    fn evict_somewhere(
        &self,
        guard: &Guard<'_>,
        first: &Shard,
        search: &mut Search,
    ) -> Option<Permit> {
        self.evict(guard, first, search)
            .or_else(|| self.evict_elsewhere(guard, first, search))
    }

    #[cold]
    fn evict_elsewhere(
        &self,
        guard: &Guard<'_>,
        first: &Shard,
        search: &mut Search,
    ) -> Option<Permit> {
        self.shards_from(first)
            .skip(1)
            .find_map(|shard| self.evict(guard, shard, search))
    }

    /// Ends the oldest session of a shard that was not visited since its birth or its last second chance; after
    /// [`CHANCES`] second chances, the next one in spite of it. Returns the permit of its slot.
    pub(super) fn evict(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        search: &mut Search,
    ) -> Option<Permit> {
        search.chances = 0;
        search.spared_in = None;
        let mut victim = None;
        for _ in 0..LOOKS {
            let known = search.prospect.take();
            let Some(at) = known.or_else(|| shard.age.oldest(shard.cells.begun.value())) else {
                break;
            };
            // ORDERING: SeqCst, behind the read-modify-write that took the bit; partner: the fence in `add` between
            // publishing a session and noting its age. Either it notes the age again, or this look sees the session.
            fence_after_rmw();
            victim = self.evict_by_age(guard, shard, at, search);
            if victim.is_some() {
                break;
            }
        }
        if let Some(bucket) = search.spared_in {
            let age = &shard.age;
            age.note(bucket, self.newest_generation(shard));
        }
        if victim.is_some() || shard.cells.live() == 0 {
            return victim;
        }
        self.evict_by_hand(guard, shard, search.spared, search.now)
    }

    fn newest_generation(&self, shard: &Shard) -> u64 {
        let adds = shard.cells.begun.value();
        shard.age.generation(adds)
    }

    /// Evicts one session of a bucket that is as old as `generation`. If others of that age stay in it, the bucket is
    /// noted again.
    fn evict_by_age(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        (bucket, generation): (usize, u64),
        search: &mut Search,
    ) -> Option<Permit> {
        let mut victim = None;
        let mut more = false;
        let mut passed = 0;
        loop {
            let oldest = self.oldest_in(shard, (bucket, generation), &mut passed);
            let Some(((slot, word, raw), others)) = oldest else {
                break;
            };
            if search.spared == Some(raw) {
                // Noted again when the search is over: now, it might be met again and again.
                search.spared_in = Some(bucket);
                continue;
            }
            // SAFETY: found in a slot under the guard.
            let state = &unsafe { raw.header() }.state;
            let seen = state.load();
            if seen.life() != Life::Live {
                continue;
            }
            let forgiven = seen.is_visited() && state.forgive() && search.chances < CHANCES;
            if forgiven && self.is_worth_keeping(raw, seen, search.now) {
                search.chances += 1;
                self.rejuvenate(shard, bucket, slot);
                continue;
            }
            match self.evict_found(guard, shard, (bucket, slot), (word, raw), search.now) {
                Some(permit) if permit != Permit::NONE => {
                    victim = Some(permit);
                    more |= others;
                    break;
                }
                // Another emptied the slot, and has the permit.
                Some(_) => {}
                // It was visited at this very moment, or is gone.
                None => more = true,
            }
        }
        if more {
            shard.age.note(bucket, generation);
        }
        victim
    }

    /// Of a bucket's sessions in slots that were not passed, the oldest that is as old as `generation`, and whether there are
    /// others: there may be some that are older than the ring, and that it does not know.
    ///
    /// Without a branch for each slot, as in [`Bucket::find`](super::bucket::Bucket::find): which of them are in use is chance.
    fn oldest_in(
        &self,
        shard: &Shard,
        (bucket, generation): (usize, u64),
        passed: &mut u32,
    ) -> Option<((usize, Word, Raw), bool)> {
        let slots = shard.table.bucket(bucket);
        let births = shard.age.births(bucket);
        let mut words = [Word::EMPTY; SLOTS];
        let (mut oldest, mut many) = (-1, 0);
        for (slot, word) in words.iter_mut().enumerate() {
            // In this order: the birth of what stands in the slot, or of what came after it.
            *word = slots.load(slot);
            let years = years(births.of(slot), generation);
            let is_there = word.is_published() & (*passed & 1 << slot == 0);
            let rank = if is_there {
                years << 3 | slot as i32
            } else {
                -1
            };
            many += i32::from(rank >= 0);
            oldest = oldest.max(rank);
        }
        let newest = self.newest_generation(shard);
        if newest >= generation + RING {
            if newest >= generation + u64::from(SLACK) {
                // So slow that the young may look old. Whoever searches next finds the bit where it belongs now.
                shard.age.note(bucket, generation);
                return None;
            }
            *passed |= self.rejuvenate_strays(shard, (bucket, generation), &words, *passed);
        }
        if oldest < 0 {
            return None;
        }
        let slot = (oldest & 7) as usize;
        *passed |= 1 << slot;
        let raw = words[slot].raw()?;
        Some(((slot, words[slot], raw), many > 1))
    }

    /// Lets younger ones be born again whose generation has this very position in the ring, because this thread was slow: the bit
    /// was theirs. Returns their slots.
    #[cold]
    fn rejuvenate_strays(
        &self,
        shard: &Shard,
        (bucket, generation): (usize, u64),
        words: &[Word; SLOTS],
        passed: u32,
    ) -> u32 {
        let mut strays = 0;
        for (slot, word) in words.iter().enumerate() {
            let years = years(shard.age.births(bucket).of(slot), generation);
            let is_there = word.is_published() && passed & 1 << slot == 0;
            if is_there && years < 0 && years % RING as i32 == 0 {
                self.rejuvenate(shard, bucket, slot);
                strays |= 1 << slot;
            }
        }
        strays
    }

    /// Lets a session be born again into the newest generation.
    fn rejuvenate(&self, shard: &Shard, bucket: usize, slot: usize) {
        let newest = self.newest_generation(shard);
        let age = &shard.age;
        age.born(bucket, slot, newest);
        age.note(bucket, newest);
    }

    /// Evicts a session of the next bucket that has one: one that is expired or stale, else the oldest that was not
    /// visited, else the oldest.
    #[cold]
    fn evict_by_hand(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        spared: Option<Raw>,
        now: Time,
    ) -> Option<Permit> {
        let buckets = shard.table.len();
        for _ in 0..HAND_LOOKS.min(buckets) {
            let bucket = shard.age.hand(buckets);
            let newest = self.newest_generation(shard);
            let least = shard
                .table
                .published(bucket)
                .filter_map(|(slot, word, raw)| {
                    // SAFETY: found in a slot under the guard.
                    let header = unsafe { raw.header() };
                    let state = header.state.load();
                    let live = state.life() == Life::Live && spared != Some(raw);
                    let worth = self.is_worth_keeping(raw, state, now);
                    let age = years(shard.age.births(bucket).of(slot), newest);
                    live.then_some(((!worth, !state.is_visited(), age), (slot, word, raw)))
                })
                .max_by_key(|(rank, _)| *rank);
            let Some((_, (slot, word, raw))) = least else {
                continue;
            };
            // SAFETY: as above.
            unsafe { raw.header() }.state.forgive();
            match self.evict_found(guard, shard, (bucket, slot), (word, raw), now) {
                Some(permit) if permit != Permit::NONE => return Some(permit),
                _ => {}
            }
        }
        None
    }

    /// Whether a session has not expired and its context is alive.
    fn is_worth_keeping(&self, raw: Raw, state: State, now: Time) -> bool {
        // SAFETY: the callers found it in a slot under their guard.
        !state.is_expired(now) && self.contexts.is_current(unsafe { raw.context() })
    }

    /// Ends a session to make room, by the cause that fits it best. A visit at the last moment saves it.
    fn evict_found(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        at: (usize, usize),
        (word, raw): (Word, Raw),
        now: Time,
    ) -> Option<Permit> {
        // SAFETY: found in a slot under the guard.
        let state = unsafe { raw.header() }.state.load();
        let cause = if state.is_expired(now) {
            RemovalCause::Expired
        // SAFETY: as above.
        } else if !self.contexts.is_current(unsafe { raw.context() }) {
            RemovalCause::Invalidated
        } else {
            RemovalCause::Evicted
        };
        let when = |s: State| match cause {
            RemovalCause::Expired => s.is_expired(now),
            RemovalCause::Evicted => !s.is_visited(),
            _ => true,
        };
        self.end_in_bucket(guard, shard, at, (word, raw), cause, when)
    }
}
