//! Making room: what is expired first, then dead generations, then the oldest that nobody came back for.

use crate::budget::Permit;
use crate::clock::Time;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::sync::atomic::Ordering;
use crate::sync::fence_after_rmw;

use super::Engine;
use super::age::is_as_old_as;
use super::maintain::Work;
use super::word::{Life, State};

/// Victims that one add looks for before it gives up, besides one for each unit of memory that it needs.
const EFFORT: u64 = 64;

/// Second chances that one add gives before it evicts a session in spite of its visits.
const CHANCES: usize = 16;

/// Words or buckets that an add helps to turn the wheel or to sweep, when it finds the cache full.
const HELP: usize = 16;

impl Engine {
    /// Makes `held` at least `need`: by taking what is free, else by evicting. Returns whether it succeeded; what was
    /// gathered stays in `held`, more than needed perhaps.
    pub(super) fn reserve(
        &self,
        guard: &Guard<'_>,
        shard: usize,
        held: &mut Permit,
        need: Permit,
        now: Time,
    ) -> bool {
        let budget = &self.cells.budget;
        for _ in 0..EFFORT + need.units() {
            let missing = need.without(*held);
            if budget.take(missing) {
                *held = held.and(missing);
                return true;
            }
            if self.help(guard, shard, now) {
                continue;
            }
            let Some(freed) = self.evict_somewhere(guard, shard, now) else {
                return false;
            };
            if budget.is_over() {
                // The limit was lowered: the count may only fall.
                budget.release(freed);
            } else {
                *held = held.and(freed);
            }
        }
        false
    }

    /// Collects a few expired sessions and dead generations in the shard, if the maintainer is behind with them. True
    /// if that made room.
    fn help(&self, guard: &Guard<'_>, shard: usize, now: Time) -> bool {
        // ORDERING: Relaxed. A hint; the sweep itself looks again.
        let invalidations = self.invalidations.load(Ordering::Relaxed);
        let behind = self.shards[shard].wheel.is_behind(now);
        if !behind && invalidations == 0 {
            return false;
        }
        // Never waits: if somebody else is at it, the room comes without our help.
        let Ok(mut progress) = self.shards[shard].progress.try_lock() else {
            return false;
        };
        let mut work = Work::new(HELP);
        self.expire_shard(guard, shard, &mut progress, now, &mut work);
        if work.ended == 0 {
            self.sweep_stale(guard, shard, &mut progress, &mut work);
        }
        work.ended > 0
    }

    /// Evicts one session, from this shard if it has one, else from the next that does.
    fn evict_somewhere(&self, guard: &Guard<'_>, shard: usize, now: Time) -> Option<Permit> {
        let all = self.shards.len();
        (0..all)
            .map(|i| (shard + i) % all)
            .find_map(|shard| self.evict(guard, shard, now))
    }

    /// Ends the oldest session of a shard that was not visited since its birth or its last second chance; after
    /// [`CHANCES`] second chances, the next one in spite of it. Returns the permit of its slot.
    pub(super) fn evict(&self, guard: &Guard<'_>, shard: usize, now: Time) -> Option<Permit> {
        let age = &self.shards[shard].age;
        let mut chances = 0;
        for _ in 0..EFFORT {
            let newest = age.generation(self.cells.shards[shard].begun.value());
            let (bucket, generation) = age.oldest(newest)?;
            // ORDERING: SeqCst, behind the read-modify-write that took the bit; partner: the fence in `add` between
            // publishing a session and noting its age. Either it notes the age again, or this look sees the session.
            fence_after_rmw();
            let mut victim = None;
            let mut more = false;
            for (slot, word, raw) in self.shards[shard].table.published(bucket) {
                // SAFETY: found in a slot under the guard.
                let header = unsafe { raw.header() };
                let state = header.state.load();
                // ORDERING: Relaxed. A hint; it was stored before the session was published.
                let birth = header.birth.load(Ordering::Relaxed);
                if state.life() != Life::Live || !is_as_old_as(birth, generation) {
                    continue;
                }
                if victim.is_some() {
                    more = true;
                    continue;
                }
                let cause = if state.is_expired(now) {
                    RemovalCause::Expired
                // SAFETY: as above.
                } else if !self.contexts.is_current(unsafe { raw.context() }) {
                    RemovalCause::Invalidated
                } else {
                    RemovalCause::Evicted
                };
                let visited =
                    cause == RemovalCause::Evicted && state.is_visited() && header.state.forgive();
                if visited && chances < CHANCES {
                    chances += 1;
                    // ORDERING: Relaxed, as above.
                    header.birth.store(newest as u32, Ordering::Relaxed);
                    age.note(bucket, newest);
                    continue;
                }
                let when = |s: State| match cause {
                    RemovalCause::Expired => s.is_expired(now),
                    RemovalCause::Evicted => !s.is_visited(),
                    _ => true,
                };
                match self.end_in_bucket(guard, shard, (bucket, slot), (word, raw), cause, when) {
                    Some(permit) if permit != Permit::NONE => victim = Some(permit),
                    // Another emptied the slot, and has the permit.
                    Some(_) => {}
                    // It was visited at this very moment, or is gone.
                    None => more = true,
                }
            }
            if more {
                age.note(bucket, generation);
            }
            if victim.is_some() {
                return victim;
            }
        }
        None
    }
}
