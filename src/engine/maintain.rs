//! Everything that is nobody's handshake: turning the wheels, sweeping, and seeing sessions out.
//!
//! A session that has left goes this way, and never back:
//!
//! ```text
//! removed stack --collect--> batch --+--> grace period: a flag, set by the reclamation --+
//!                                    |                                                   +--> reference dropped:
//!                                    +--> delivery: the remove callback, by the listener --+    wiped and freed
//! ```
//!
//! No step waits for another's user code: a callback that blocks holds its own batch and the ones behind it in the
//! queue, nothing else, until the backlog's bound makes adds answer [`NotCached::Backlog`](super::NotCached).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::budget::Permit;
use crate::clock::Time;
use crate::reclaim::Guard;
use crate::removal::{End, RemovalCause};
use crate::session::Session;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, lock};

use super::Engine;
use super::bitmap;
use super::header::Raw;
use super::wheel::{Progress, Turn};
use super::word::State;

/// Sessions in a batch: what one deferred closure and one pass of the listener handle.
const BATCH: usize = if cfg!(any(refrain_loom, refrain_shuttle)) {
    2
} else {
    1024
};

/// Words or buckets that one step of maintenance looks at in one shard, before it sees the others.
const STEP: usize = 4096;

/// Buckets per step of the slow look that finds what everything else has missed.
const PATROL: usize = 8;

/// Who hears of removals.
pub(crate) trait Sink {
    /// Whether anybody listens at the moment.
    fn is_listening(&self) -> bool;
    /// Tells of one removal. User code: may block, re-enter, panic.
    fn removed(&self, session: &Session, cause: RemovalCause);
}

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

/// A piece of work with a bound.
#[derive(Debug)]
pub(super) struct Work {
    /// Words and buckets that may still be looked at.
    left: usize,
    /// Sessions that were ended.
    pub(super) ended: usize,
}

impl Work {
    pub(super) fn new(left: usize) -> Self {
        Self { left, ended: 0 }
    }

    /// Takes one look's worth; false if there is none left.
    fn spend(&mut self) -> bool {
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// Sessions that left together. It owns the cache's references to them.
#[derive(Debug)]
struct Batch {
    sessions: Box<[Raw]>,
    /// No reader can still be looking at them.
    ripe: AtomicBool,
    /// All callbacks have returned.
    delivered: AtomicBool,
}

impl Batch {
    fn is_finished(&self) -> bool {
        // ORDERING: Acquire, both; partners: the Release stores when the grace period ends and when the last callback
        // has returned. All reads of the sessions happen before they are wiped.
        self.ripe.load(Ordering::Acquire) && self.delivered.load(Ordering::Acquire)
    }
}

std::thread_local! {
    /// The address of the departures whose callbacks this thread is calling, or zero.
    static DELIVERING: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Sessions on their way out, between the removed stacks and the allocator.
#[derive(Debug)]
pub(crate) struct Departures {
    /// Batches whose references have not been dropped yet.
    limbo: Mutex<VecDeque<Arc<Batch>>>,
    /// Batches with callbacks to call.
    queue: Mutex<VecDeque<Arc<Batch>>>,
    /// Tells the listener of news in the queue, or of the end.
    news: Condvar,
    /// Somebody is calling callbacks: there is one listener at a time, so callbacks come in order and do not nest.
    delivering: AtomicBool,
}

impl Departures {
    pub(crate) fn new() -> Self {
        Self {
            limbo: Mutex::new(VecDeque::new()),
            queue: Mutex::new(VecDeque::new()),
            news: Condvar::new(),
            delivering: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.limbo).is_empty()
    }

    /// Whether the calling thread is inside one of this cache's remove callbacks.
    pub(crate) fn is_delivering_here(&self) -> bool {
        DELIVERING.get() == std::ptr::from_ref(self).addr()
    }

    /// Wakes the listener, whether or not there is news.
    pub(crate) fn wake_listener(&self) {
        let _queue = lock(&self.queue);
        self.news.notify_all();
    }

    /// Waits for a batch, as the listener does, until there is one or `stop` says so.
    pub(crate) fn wait(&self, stop: impl Fn() -> bool) {
        let mut queue = lock(&self.queue);
        while queue.is_empty() && !stop() {
            queue = self
                .news
                .wait(queue)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Calls the callbacks that are due, unless somebody already does, perhaps this very thread further up. Returns
    /// how many it called.
    pub(crate) fn deliver(&self, sink: &impl Sink) -> usize {
        // ORDERING: Acquire; partner: the Release store below, by the deliverer before.
        if self.delivering.swap(true, Ordering::Acquire) {
            return 0;
        }
        let outer = DELIVERING.replace(std::ptr::from_ref(self).addr());
        let mut delivered = 0;
        loop {
            let Some(batch) = lock(&self.queue).pop_front() else {
                break;
            };
            for &raw in &batch.sessions {
                // SAFETY: the batch holds the cache's reference until `delivered` is set below; the handle is not
                // dropped.
                let session = std::mem::ManuallyDrop::new(unsafe { Session::from_raw(raw) });
                // SAFETY: as above.
                if let End::Event(cause) = unsafe { raw.header() }.state.load().end() {
                    sink.removed(&session, cause);
                    delivered += 1;
                }
            }
            // ORDERING: Release; partner: `is_finished`.
            batch.delivered.store(true, Ordering::Release);
        }
        DELIVERING.set(outer);
        // ORDERING: Release; partner: the swap above.
        self.delivering.store(false, Ordering::Release);
        delivered
    }
}

impl Engine {
    /// Turns a shard's wheel towards `now` as far as `work` allows. True when it is up to date.
    pub(super) fn expire_shard(
        &self,
        guard: &Guard<'_>,
        shard: usize,
        progress: &mut Progress,
        now: Time,
        work: &mut Work,
    ) -> bool {
        let part = &self.shards[shard];
        while work.spend() {
            let turn = part.wheel.turn(progress, now, part.table.len());
            let mut look = |bucket| {
                work.ended += self.look(guard, shard, bucket, |_, state: State| {
                    if state.is_expired(now) {
                        return Some(RemovalCause::Expired);
                    }
                    part.wheel.schedule(bucket, state.deadline());
                    None
                });
            };
            match turn {
                Turn::Done => return true,
                Turn::Bucket(bucket) => look(bucket),
                Turn::Word(word, bits) => bitmap::buckets(word, bits).for_each(look),
            }
        }
        false
    }

    /// Removes sessions of dead generations from a shard, as far as `work` allows. True when there are none.
    pub(super) fn sweep_stale(
        &self,
        guard: &Guard<'_>,
        shard: usize,
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
        while bucket < self.shards[shard].table.len() {
            if !work.spend() {
                progress.stale = Some((bucket, answering));
                return false;
            }
            work.ended += self.look(guard, shard, bucket, |raw, _| {
                // SAFETY: found in a slot under the guard.
                let current = self.contexts.is_current(unsafe { raw.context() });
                (!current).then_some(RemovalCause::Invalidated)
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
        for shard in 0..self.shards.len() {
            let mut progress = lock(&self.shards[shard].progress);
            if expire {
                let mut work = Work::new(STEP);
                // Each step pins anew, so that a long run does not hold up its own garbage.
                let guard = self.domain.pin();
                done.more |= !self.expire_shard(&guard, shard, &mut progress, now, &mut work);
                self.patrol(&guard, shard, &mut progress, now, &mut work);
                done.expired += work.ended;
            }
            let mut work = Work::new(STEP);
            let guard = self.domain.pin();
            done.more |= !self.sweep_stale(&guard, shard, &mut progress, &mut work);
            done.swept += work.ended;
            drop(progress);
            drop(guard);
            done.swept += self.trim(shard, now);
            self.collect(shard, departures, sink);
        }
        done.more |= self.cells.budget.is_over();
        done.reclaimed = self.reclaim(departures);
        done
    }

    /// Looks at a few buckets in turn, whatever the wheel says: the net under it.
    fn patrol(
        &self,
        guard: &Guard<'_>,
        shard: usize,
        progress: &mut Progress,
        now: Time,
        work: &mut Work,
    ) {
        let buckets = self.shards[shard].table.len();
        for _ in 0..PATROL {
            let bucket = progress.patrol % buckets;
            progress.patrol = bucket + 1;
            work.ended += self.look(guard, shard, bucket, |_, state| {
                state.is_expired(now).then_some(RemovalCause::Expired)
            });
        }
    }

    /// Evicts while more is in use than a lowered limit allows.
    fn trim(&self, shard: usize, now: Time) -> usize {
        let mut evicted = 0;
        let share = STEP / self.shards.len().min(STEP);
        while evicted < share && self.cells.budget.is_over() {
            let guard = self.domain.pin();
            let Some(permit) = self.evict(&guard, shard, now) else {
                break;
            };
            self.cells.budget.release(permit);
            evicted += 1;
        }
        evicted
    }

    /// Takes what has left a shard, starts its grace period, and queues its callbacks.
    fn collect(&self, shard: usize, departures: &Departures, sink: &impl Sink) {
        // Under the lock of the limbo, so that two runs at once can't swap the order of two events.
        let mut limbo = lock(&departures.limbo);
        let taken = self.shards[shard].removed.take();
        if taken.is_empty() {
            return;
        }
        // SAFETY: the stack's references are ours now.
        let units = taken.iter().map(|raw| unsafe { raw.units() }).sum();
        self.cells.collected.add(units);
        self.cells.shards[shard].collected.add(units);
        let is_event = |raw: &&Raw| {
            // SAFETY: as above.
            let state = unsafe { raw.header() }.state.load();
            matches!(state.end(), End::Event(_))
        };
        let listening = sink.is_listening();
        let (events, silent): (Vec<Raw>, Vec<Raw>) = if listening {
            taken.iter().partition(is_event)
        } else {
            (Vec::new(), taken)
        };
        let mut send_off = |sessions: &[Raw], has_events: bool| {
            let batch = Arc::new(Batch {
                sessions: sessions.into(),
                ripe: AtomicBool::new(false),
                delivered: AtomicBool::new(!has_events),
            });
            let flag = Arc::clone(&batch);
            // ORDERING: Release; partner: `is_finished`.
            self.domain
                .defer(move || flag.ripe.store(true, Ordering::Release));
            limbo.push_back(Arc::clone(&batch));
            if has_events {
                lock(&departures.queue).push_back(batch);
            }
        };
        silent
            .chunks(BATCH)
            .for_each(|chunk| send_off(chunk, false));
        events.chunks(BATCH).for_each(|chunk| send_off(chunk, true));
        if !events.is_empty() {
            departures.news.notify_all();
        }
    }

    /// Drops the references of batches that nobody can be looking at any more and whose callbacks have returned.
    pub(crate) fn reclaim(&self, departures: &Departures) -> usize {
        if departures.is_idle() {
            return 0;
        }
        // Three steps of the epoch are enough for what is in its grace period now, if no reader holds it back.
        for _ in 0..3 {
            self.domain.flush();
        }
        let mut finished = Vec::new();
        lock(&departures.limbo).retain(|batch| {
            let done = batch.is_finished();
            if done {
                finished.push(Arc::clone(batch));
            }
            !done
        });
        finished.iter().map(|batch| self.let_go(batch)).sum()
    }

    fn let_go(&self, batch: &Batch) -> usize {
        for &raw in &batch.sessions {
            // SAFETY: the batch owns this reference, and is let go once: it has just been taken out of the limbo.
            unsafe {
                self.cells.freed.add(raw.units());
                raw.release();
            }
        }
        batch.sessions.len()
    }

    /// Sees everything out that has left, without waiting for readers: the caller is the last user of the engine.
    /// Callbacks are called on this thread.
    pub(crate) fn see_off(&self, departures: &Departures, sink: &impl Sink) {
        for shard in 0..self.shards.len() {
            self.collect(shard, departures, sink);
        }
        departures.deliver(sink);
        let batches = std::mem::take(&mut *lock(&departures.limbo));
        for batch in batches {
            self.let_go(&batch);
        }
    }

    /// Ends every session for which `judge` gives a cause, bucket by bucket, pinned for one bucket at a time. Returns
    /// how many this call ended.
    pub(crate) fn sweep(&self, judge: impl Fn(State) -> Option<RemovalCause>) -> usize {
        let mut ended = 0;
        for shard in 0..self.shards.len() {
            for bucket in 0..self.shards[shard].table.len() {
                let guard = self.domain.pin();
                ended += self.look(&guard, shard, bucket, |_, state| judge(state));
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

    /// Whether everything that has left was seen out: delivered, and its reference dropped.
    pub(crate) fn is_settled(&self, departures: &Departures) -> bool {
        departures.is_idle()
            && self
                .cells
                .shards
                .iter()
                .all(|cells| cells.pushed.value() == cells.collected.value())
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
        let mut work = Work::new(usize::MAX);
        for shard in 0..self.shards.len() {
            let guard = self.domain.pin();
            let mut progress = lock(&self.shards[shard].progress);
            self.expire_shard(&guard, shard, &mut progress, now, &mut work);
        }
        work.ended
    }

    pub(crate) fn sweep_all_stale(&self) -> usize {
        let mut work = Work::new(usize::MAX);
        for shard in 0..self.shards.len() {
            let guard = self.domain.pin();
            let mut progress = lock(&self.shards[shard].progress);
            while !self.sweep_stale(&guard, shard, &mut progress, &mut work) {}
        }
        work.ended
    }

    pub(crate) fn collect_all(&self, departures: &Departures, sink: &impl Sink) {
        for shard in 0..self.shards.len() {
            self.collect(shard, departures, sink);
        }
    }
}
