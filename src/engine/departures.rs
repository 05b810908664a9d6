//! How sessions go, once they have left: the way from the removed stack to the allocator.
//!
//! ```text
//! removed stack --collect--> batch --+--> grace period: a flag, set by the reclamation ---+
//!                                    |                                                    +--> reference dropped:
//!                                    +--> delivery: the remove callback, by the listener --+    wiped and freed
//! ```
//!
//! No step waits for another's user code: a callback that blocks holds its own batch and the ones behind it in the
//! queue, nothing else, until the backlog's bound makes adds answer [`NotCached::Backlog`](super::NotCached).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::removal::{End, RemovalCause};
use crate::session::Session;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Condvar, Home, MODEL, Mutex, MutexGuard, lock, prefetch, thread_token};

use super::Engine;
use super::header::Raw;
use super::removed::Taken;

/// Sessions in a batch: what one deferred closure and one pass of the listener handle.
const BATCH: usize = if MODEL { 2 } else { 1024 };

/// So many sessions before its turn, a session is asked for from the memory.
const AHEAD: usize = 4;

/// Who hears of removals.
pub(crate) trait Sink {
    /// Whether anybody listens at the moment.
    fn is_listening(&self) -> bool;
    /// Tells of one removal. User code: may block, re-enter, panic.
    fn removed(&self, session: &Session, cause: RemovalCause);
}

/// Sessions that left together. It owns the cache's references to them.
#[derive(Debug)]
struct Batch {
    /// Batches are numbered as they are made.
    number: u64,
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

    /// Whether no callback is due any more, or running.
    fn is_delivered(&self) -> bool {
        // ORDERING: Acquire; partner: the Release stores when the last callback has returned or none will be called.
        self.delivered.load(Ordering::Acquire)
    }

    /// Lets nobody be told of what is in it.
    fn hush(&self) {
        // ORDERING: Release; partner: `is_delivered`.
        self.delivered.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct Limbo {
    next: u64,
    batches: VecDeque<Arc<Batch>>,
    /// The process that it was made in, or the forked child that has taken its copy over.
    owner: Home,
}

/// Sessions on their way out, between the removed stacks and the allocator.
#[derive(Debug)]
pub(crate) struct Departures {
    /// Batches whose references have not been dropped yet, in the order of their numbers.
    limbo: Mutex<Limbo>,
    /// Batches with callbacks to call.
    queue: Mutex<VecDeque<Arc<Batch>>>,
    /// Tells the listener of news in the queue, or of the end.
    news: Condvar,
    /// The token of the thread that is calling callbacks, or zero: there is one at a time, so callbacks come in order and
    /// do not nest.
    deliverer: AtomicU64,
    /// The mutexes' home.
    home: Home,
}

impl Departures {
    pub(crate) fn new() -> Self {
        let home = Home::here();
        Self {
            limbo: Mutex::new(Limbo {
                next: 0,
                batches: VecDeque::new(),
                owner: home,
            }),
            queue: Mutex::new(VecDeque::new()),
            news: Condvar::new(),
            deliverer: AtomicU64::new(0),
            home,
        }
    }

    /// `None` in a forked child, if the lock was held by a thread that the child does not have.
    fn limbo(&self) -> Option<MutexGuard<'_, Limbo>> {
        self.home.lock(&self.limbo)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.limbo().is_none_or(|limbo| limbo.batches.is_empty())
    }

    /// Takes a forked child's copy over, once in each child: what was waiting for its callbacks when the process forked is
    /// the parent's to tell of, and the thread that was calling them is not here, or has come along inside one.
    ///
    /// The batch that it was at is not told of here, and not let go, unless that thread comes out of the callback.
    pub(crate) fn adopt(&self) {
        let Some(mut limbo) = self.limbo() else {
            return;
        };
        if limbo.owner.is_here() {
            return;
        }
        limbo.owner = Home::here();
        if let Some(mut queue) = self.home.lock(&self.queue) {
            queue.drain(..).for_each(|batch| batch.hush());
        }
        // ORDERING: Relaxed. The one who stored it is gone, and with it what there was to order.
        self.deliverer.store(0, Ordering::Relaxed);
    }

    /// The number that the next batch will have.
    pub(crate) fn next_number(&self) -> u64 {
        lock(&self.limbo).next
    }

    /// Whether all batches before that number are gone: delivered, and their references dropped.
    pub(crate) fn is_gone_before(&self, number: u64) -> bool {
        let limbo = lock(&self.limbo);
        limbo.batches.front().is_none_or(|b| b.number >= number)
    }

    /// Whether the calling thread is inside one of this cache's remove callbacks.
    pub(crate) fn is_delivering_here(&self) -> bool {
        // ORDERING: Relaxed. Only this thread can have put its own token there.
        self.deliverer.load(Ordering::Relaxed) == thread_token()
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
        let claimed = self.deliverer.compare_exchange(
            0,
            thread_token(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        if claimed.is_err() {
            return 0;
        }
        let here = Home::here();
        let mut delivered = 0;
        loop {
            let next = self.home.lock(&self.queue).and_then(|mut q| q.pop_front());
            let Some(batch) = next else {
                break;
            };
            for (at, &raw) in batch.sessions.iter().enumerate() {
                if let Some(ahead) = batch.sessions.get(at + AHEAD) {
                    prefetch(ahead.as_ptr());
                }
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
            if !here.is_here() {
                // Forked inside a callback. The rest is for who adopts the child's copy.
                return delivered;
            }
        }
        // ORDERING: Release; partner: the compare-and-swap above.
        self.deliverer.store(0, Ordering::Release);
        delivered
    }
}

impl Engine {
    /// Takes what has left the shards, each one's in the order in which it left. Their stacks are walked side by side: each
    /// step along one of them waits for the memory, and so all do at once.
    fn take_removed(&self) -> Vec<Raw> {
        let stacks = self.shards.iter().map(|shard| shard.removed.take());
        let mut stacks: Vec<(Taken, Vec<Raw>)> = stacks.map(|taken| (taken, Vec::new())).collect();
        let mut more = true;
        while more {
            more = false;
            for (stack, list) in &mut stacks {
                if let Some(raw) = stack.next() {
                    list.push(raw);
                    more = true;
                }
            }
        }
        let mut all = Vec::with_capacity(stacks.iter().map(|(_, list)| list.len()).sum());
        for (cells, (_, list)) in self.cells.shards.iter().zip(stacks) {
            if !list.is_empty() {
                // SAFETY: the stack's references are ours now.
                let units = list.iter().map(|raw| unsafe { raw.units() }).sum();
                self.cells.collected.add(units);
                cells.collected.add(units);
                all.extend(list.into_iter().rev());
            }
        }
        all
    }

    /// Takes what has left, starts its grace period, and queues its callbacks. False if it can't, in a forked child.
    pub(super) fn collect(&self, departures: &Departures, sink: &impl Sink) -> bool {
        // Under the lock of the limbo, so that two runs at once can't swap the order of two events.
        let Some(mut limbo) = departures.limbo() else {
            return false;
        };
        let taken = self.take_removed();
        if taken.is_empty() {
            return true;
        }
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
                number: limbo.next,
                sessions: sessions.into(),
                ripe: AtomicBool::new(false),
                delivered: AtomicBool::new(!has_events),
            });
            let flag = Arc::clone(&batch);
            // ORDERING: Release; partner: `is_finished`.
            self.domain
                .defer(move || flag.ripe.store(true, Ordering::Release));
            limbo.next += 1;
            limbo.batches.push_back(Arc::clone(&batch));
            if has_events {
                match departures.home.lock(&departures.queue) {
                    Some(mut queue) => queue.push_back(batch),
                    None => batch.hush(),
                }
            }
        };
        silent
            .chunks(BATCH)
            .for_each(|chunk| send_off(chunk, false));
        events.chunks(BATCH).for_each(|chunk| send_off(chunk, true));
        if !events.is_empty() {
            departures.news.notify_all();
        }
        true
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
        let mut reclaimed = 0;
        // Under the lock, so that a batch is in the limbo until its memory is wiped.
        let Some(mut limbo) = departures.limbo() else {
            return 0;
        };
        limbo.batches.retain(|batch| {
            let finished = batch.is_finished();
            if finished {
                reclaimed += self.let_go(batch);
            }
            !finished
        });
        reclaimed
    }

    fn let_go(&self, batch: &Batch) -> usize {
        let mut units = 0;
        for (at, &raw) in batch.sessions.iter().enumerate() {
            if let Some(ahead) = batch.sessions.get(at + AHEAD) {
                // SAFETY: as below.
                unsafe { ahead.prefetch() };
            }
            // SAFETY: the batch owns this reference, and is let go once: it has just been taken out of the limbo.
            unsafe {
                units += raw.units();
                raw.release();
            }
        }
        self.cells.freed.add(units);
        // Much may leave at once, and the coarse clock must not stand still for that.
        self.clock.refresh();
        batch.sessions.len()
    }

    /// Sees everything out that has left, without waiting for readers: the caller is the last user of the engine.
    /// Callbacks are called on this thread.
    pub(crate) fn see_off(&self, departures: &Departures, sink: &impl Sink) {
        self.collect(departures, sink);
        departures.deliver(sink);
        let batches = std::mem::take(&mut lock(&departures.limbo).batches);
        for batch in batches {
            self.let_go(&batch);
        }
    }

    /// As [`see_off`](Self::see_off), in a forked child: nobody is told, and what somebody was at when the process forked
    /// stays where it is.
    pub(crate) fn abandon(&self, departures: &Departures) {
        departures.adopt();
        if !self.collect(departures, &Nobody) {
            return;
        }
        let Some(mut limbo) = departures.limbo() else {
            return;
        };
        limbo.batches.retain(|batch| {
            let told = batch.is_delivered();
            if told {
                self.let_go(batch);
            }
            !told
        });
    }
}

/// Hears nothing.
struct Nobody;

impl Sink for Nobody {
    fn is_listening(&self) -> bool {
        false
    }

    fn removed(&self, _: &Session, _: RemovalCause) {}
}
