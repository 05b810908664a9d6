//! Everything that is nobody's handshake: turning the wheels, sweeping, and setting off what has left.

use crate::blocks;
use crate::budget::Permit;
use crate::clock::Time;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::sync::MODEL;
use crate::sync::atomic::Ordering;

use super::bitmap;
use super::departures::{Departures, Sink};
use super::evict::Search;
use super::wheel::{Progress, Turn};
use super::word::State;
use super::{Engine, Shard};

/// Words that one step of maintenance looks at in one shard, or their worth in buckets, before it sees the others.
const STEP: usize = 1 << 16;

/// Sessions that one run evicts from all shards, while more are in use than a lowered limit allows.
const TRIM: usize = 4096;

/// Words that a look at a bucket is worth.
const BUCKET_PRICE: usize = 32;

/// Buckets per step of the slow look that finds what everything else has missed.
const PATROL: usize = if MODEL { 1 } else { 8 };

/// What one run of maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintained {
    /// Sessions that it removed because their deadline had passed.
    pub expired: usize,
    /// Sessions that it removed because their context is invalid or the capacity was lowered.
    pub swept: usize,
    /// Remove callbacks that it called. Zero with [`Maintenance::Threads`](crate::Maintenance::Threads), whose listener
    /// thread calls them.
    pub delivered: usize,
    /// Sessions whose reference it dropped: wiped and freed, unless somebody still holds a handle.
    pub reclaimed: usize,
    /// Whether something is left to do that only waits for another run.
    pub more: bool,
}

/// When the tick after that of `now` begins, in milliseconds.
pub(super) fn next_tick(now: Time, tick: u64) -> u64 {
    (now.as_millis() / tick + 1) * tick
}

/// A piece of work with a bound.
#[derive(Debug)]
pub(super) struct Work {
    /// Words that may still be looked at; a bucket counts for many.
    left: usize,
    /// Sessions that were ended.
    pub(super) ended: usize,
    /// As many are enough.
    enough: usize,
}

impl Work {
    pub(super) fn new(left: usize, enough: usize) -> Self {
        Self {
            left,
            ended: 0,
            enough,
        }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Lets it end that many sessions more.
    pub(super) fn allow(&mut self, sessions: usize) {
        self.enough = self.ended + sessions;
    }

    /// Lets it look at that many words again.
    pub(super) fn refill(&mut self, words: usize) {
        self.left = words;
    }

    fn is_enough(&self) -> bool {
        self.ended >= self.enough
    }

    /// Takes the price of a word; false if there is none left, or no need.
    fn spend(&mut self) -> bool {
        let go_on = self.left > 0 && !self.is_enough();
        self.left = self.left.saturating_sub(1);
        go_on
    }

    /// Takes the price of a bucket, whose sessions lie all over the memory.
    fn spend_bucket(&mut self) -> bool {
        let go_on = self.spend();
        self.left = self.left.saturating_sub(BUCKET_PRICE - 1);
        go_on
    }
}

impl Engine {
    /// Turns a shard's wheel towards `now` as far as `work` allows. True when it is up to date.
    pub(super) fn expire_shard(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        progress: &mut Progress,
        now: Time,
        work: &mut Work,
    ) -> bool {
        let look = |bucket| {
            self.look(
                guard,
                shard,
                bucket,
                RemovalCause::Expired,
                |_, state: State| {
                    let is_expired = state.is_expired(now);
                    if !is_expired {
                        shard.wheel.schedule(bucket, state.deadline());
                    }
                    is_expired
                },
            )
        };
        while work.spend() {
            match shard.wheel.step(progress, now, shard.table.len()) {
                Turn::Done => return true,
                Turn::Bucket(bucket) => {
                    work.spend_bucket();
                    work.ended += look(bucket);
                }
                Turn::Word(word, bits) => {
                    let mut rest = bits;
                    for bucket in bitmap::buckets(word, bits) {
                        if work.is_enough() {
                            break;
                        }
                        // The lowest bit is this bucket's.
                        rest &= rest - 1;
                        work.spend_bucket();
                        work.ended += look(bucket);
                    }
                    progress.rest = (rest != 0).then_some((word, rest));
                }
            }
        }
        false
    }

    /// Removes sessions of dead generations from a shard, as far as `work` allows. True when there are none.
    pub(super) fn sweep_stale(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        progress: &mut Progress,
        work: &mut Work,
    ) -> bool {
        // ORDERING: Acquire; partner: the Release in `note_invalidation`.
        let due = self.invalidations.load(Ordering::Acquire);
        if progress.answered == due {
            return true;
        }
        // A sweep that was begun for an earlier invalidation goes on, and another round follows it.
        let (mut bucket, answering) = progress.stale.unwrap_or((0, due));
        while bucket < shard.table.len() {
            if !work.spend_bucket() {
                progress.stale = Some((bucket, answering));
                return false;
            }
            let cause = RemovalCause::Invalidated;
            work.ended += self.look(guard, shard, bucket, cause, |raw, _| {
                // SAFETY: found in a slot under the guard.
                !self.contexts.is_current(unsafe { raw.context() })
            });
            bucket += 1;
        }
        progress.stale = None;
        progress.answered = answering;
        answering == due
    }

    /// One run over all shards: expires, sweeps, trims, collects what has left, drops what is finished. Calls no user
    /// code. Blocks only for another run in the same shard.
    pub(crate) fn maintain(
        &self,
        departures: &Departures,
        sink: &impl Sink,
        expire: bool,
    ) -> Maintained {
        let now = self.clock.refresh();
        let mut done = Maintained::default();
        // ORDERING: Acquire; partner: the Release in `note_invalidation`.
        let invalidations = self.invalidations.load(Ordering::Acquire);
        for shard in &self.shards {
            // There is none in a forked child whose parent was just at it.
            if let Some(mut progress) = self.home.lock(&shard.progress) {
                if expire {
                    let mut work = Work::new(STEP, usize::MAX);
                    // Each step pins anew, so that a long run does not hold up its own garbage.
                    let guard = self.domain.pin();
                    done.more |= !self.expire_shard(&guard, shard, &mut progress, now, &mut work);
                    self.patrol(&guard, shard, &mut progress, now, &mut work);
                    done.expired += work.ended;
                }
                let mut work = Work::new(STEP, usize::MAX);
                let guard = self.domain.pin();
                done.more |= !self.sweep_stale(&guard, shard, &mut progress, &mut work);
                done.swept += work.ended;
            }
            done.swept += self.trim(shard, now);
        }
        self.collect(departures, sink);
        if expire && !done.more {
            self.note_caught_up(now, invalidations);
        }
        done.more |= self.cells.budget.is_over();
        done.reclaimed = self.reclaim(departures);
        blocks::tend();
        done
    }

    /// Whether some wheel has not been turned to `now`'s tick, or some dead generation not been swept, as far as is known.
    /// Two loads of lines that are rarely written.
    pub(super) fn is_behind(&self, now: Time) -> bool {
        // ORDERING: Relaxed, both. Hints; what they hint at is looked at under the shard's lock.
        now.as_millis() >= self.caught_up.load(Ordering::Relaxed)
            || self.invalidations.load(Ordering::Relaxed) > self.swept.load(Ordering::Relaxed)
    }

    /// Notes that all wheels were turned to `now`'s tick, and all shards swept for that many invalidations.
    pub(super) fn note_caught_up(&self, now: Time, invalidations: u64) {
        // ORDERING: Relaxed, both, as in `is_behind`.
        self.caught_up
            .fetch_max(next_tick(now, self.tick), Ordering::Relaxed);
        self.swept.fetch_max(invalidations, Ordering::Relaxed);
    }

    /// Looks at a few buckets in turn, whatever the wheel says: the net under it.
    fn patrol(
        &self,
        guard: &Guard<'_>,
        shard: &Shard,
        progress: &mut Progress,
        now: Time,
        work: &mut Work,
    ) {
        let buckets = shard.table.len();
        for _ in 0..PATROL {
            let bucket = progress.patrol % buckets;
            progress.patrol = bucket + 1;
            let is_expired = |_, state: State| state.is_expired(now);
            work.ended += self.look(guard, shard, bucket, RemovalCause::Expired, is_expired);
        }
    }

    /// Evicts while more is in use than a lowered limit allows.
    fn trim(&self, shard: &Shard, now: Time) -> usize {
        let mut evicted = 0;
        let share = TRIM / self.shards.len().min(TRIM);
        while evicted < share && self.cells.budget.is_over() {
            let guard = self.domain.pin();
            let Some(permit) = self.evict(&guard, shard, &mut Search::new(now, None)) else {
                break;
            };
            self.cells.budget.release(permit);
            evicted += 1;
        }
        evicted
    }

    /// Ends every session to which `when` applies, bucket by bucket, pinned for one bucket at a time. Returns how many this
    /// call ended.
    pub(crate) fn sweep(&self, cause: RemovalCause, when: impl Fn(State) -> bool) -> usize {
        let mut ended = 0;
        for shard in &self.shards {
            for bucket in 0..shard.table.len() {
                let guard = self.domain.pin();
                ended += self.look(&guard, shard, bucket, cause, |_, state| when(state));
            }
        }
        ended
    }

    /// Calls `f` with a handle to each session that is in the cache all the while, outside of any pin.
    pub(crate) fn for_each(&self, mut f: impl FnMut(Session)) {
        let mut handles = Vec::new();
        for part in &self.shards {
            for bucket in 0..part.table.len() {
                let guard = self.domain.pin();
                for (_, _, raw) in part.table.published(bucket) {
                    // SAFETY: found in a slot under the guard; the handle owns the reference taken here.
                    unsafe {
                        if raw.try_retain() {
                            handles.push(Session::from_raw(raw));
                        }
                    }
                }
                drop(guard);
                handles.drain(..).for_each(&mut f);
            }
        }
    }

    /// Changes the limit of entries or memory. What is too much goes by and by.
    pub(crate) fn set_limit(&self, change: impl Fn(Permit) -> Permit) -> Permit {
        self.cells.budget.set_limit(change)
    }

    /// Whether nothing is left of any session in the index; only meaningful when nothing else runs.
    pub(crate) fn is_pristine(&self) -> bool {
        self.shards.iter().all(|shard| shard.table.is_pristine())
    }
}

/// Single steps of maintenance, for the models.
#[cfg(any(refrain_loom, refrain_shuttle))]
impl Engine {
    pub(crate) fn turn_wheels(&self, now: Time) -> usize {
        let mut work = Work::new(usize::MAX, usize::MAX);
        for shard in &self.shards {
            let guard = self.domain.pin();
            let mut progress = crate::sync::lock(&shard.progress);
            self.expire_shard(&guard, shard, &mut progress, now, &mut work);
        }
        work.ended
    }

    pub(crate) fn sweep_all_stale(&self) -> usize {
        let mut work = Work::new(usize::MAX, usize::MAX);
        for shard in &self.shards {
            let guard = self.domain.pin();
            let mut progress = crate::sync::lock(&shard.progress);
            while !self.sweep_stale(&guard, shard, &mut progress, &mut work) {}
        }
        work.ended
    }

    pub(crate) fn collect_all(&self, departures: &Departures, sink: &impl Sink) {
        self.collect(departures, sink);
    }
}
