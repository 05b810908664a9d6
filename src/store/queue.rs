//! What waits to be written: bounded, in order, and for each session no more than its last word.
//!
//! A removal takes the place of the put that waits before it. Until it is written, and for a while after, it stands as a
//! tombstone: what a read brings back meanwhile is not let in again. A put is sent once at most: sent again after an answer that
//! never came, it could bring back what another server has used or removed meanwhile. The removal of one whose answer never
//! came is sent more than once: the put may still be on its way.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::sync::{Condvar, Mutex, MutexGuard, lock};

use super::doubts::Doubts;
use super::name::{Class, Name};
use super::tombs::{TOMBSTONE, Tombs};

/// So many places with nothing to do are not worth looking for.
const FEW: usize = 64;

/// What is to be done with a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<P> {
    Put(Class, P),
    Remove,
    /// There is nothing left to do.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Op<P> {
    pub(crate) name: Name,
    pub(crate) step: Step<P>,
    /// What it weighs against the bound on bytes.
    bytes: usize,
}

/// What became of an attempt to take a put back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cancelled<P> {
    /// It had not been sent, and now never will be: nobody else can have it.
    Unsent(P),
    /// Nothing of this name waits any more.
    Absent,
    /// It was being sent until the deadline.
    InFlight,
}

/// What happened to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Operations that wait, or are being written.
    pub(crate) depth: u64,
    /// What the sessions among them weigh.
    pub(crate) bytes: u64,
    /// Puts that found it full.
    pub(crate) dropped: u64,
    /// Puts whose writing failed.
    pub(crate) lost: u64,
    /// Removals that found it full.
    pub(crate) removals_dropped: u64,
}

struct State<P> {
    ops: VecDeque<Op<P>>,
    /// The place of the first of them. Places go on, also to the left.
    first: u64,
    /// The place of a name's last word.
    last: HashMap<Name, u64>,
    /// What is being written, and whether that is a removal.
    flight: HashMap<Name, bool>,
    tombs: Tombs,
    /// Puts that were sent and not answered.
    doubts: Doubts,
    puts: usize,
    removes: usize,
    /// Places with nothing left to do.
    voids: usize,
    tally: Tally,
    woken: bool,
    stop: bool,
}

/// The queue, with the worker at one end.
pub(crate) struct Queue<P> {
    state: Mutex<State<P>>,
    /// Tells the worker of news.
    news: Condvar,
    /// Tells of a batch's end, and that nothing waits any more.
    done: Condvar,
    entries: usize,
    bytes: usize,
}

impl<P> Queue<P> {
    /// A queue for so many puts, and as many removals; and for so many bytes.
    pub(crate) fn new(entries: usize, bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ops: VecDeque::new(),
                first: 1 << 32,
                last: HashMap::new(),
                flight: HashMap::new(),
                tombs: Tombs::default(),
                doubts: Doubts::new(entries),
                puts: 0,
                removes: 0,
                voids: 0,
                tally: Tally::default(),
                woken: false,
                stop: false,
            }),
            news: Condvar::new(),
            done: Condvar::new(),
            entries,
            bytes,
        }
    }

    /// Queues a put. False if there is no room.
    pub(crate) fn put(&self, name: Name, class: Class, what: P, bytes: usize) -> bool {
        let mut state = lock(&self.state);
        let old = state.waiting(&name).map_or(0, |op| op.bytes);
        let replaces = old > 0;
        let fits = (replaces || state.puts < self.entries)
            && state.tally.bytes as usize - old + bytes <= self.bytes;
        if !fits || state.stop {
            state.tally.dropped += 1;
            return false;
        }
        state.doubts.forget(&name);
        let step = Step::Put(class, what);
        if replaces {
            state.replace(&name, step, bytes);
        } else {
            state.push(Op { name, step, bytes });
        }
        self.news.notify_one();
        true
    }

    /// Queues a removal, in the place of the put that waits before it, if there is one. From here on nothing of this name is
    /// let in. False if there is no room.
    pub(crate) fn remove(&self, name: Name, now: Instant) -> bool {
        let mut state = lock(&self.state);
        state.tombs.bury(name, now);
        match state.waiting(&name).map(|op| &op.step) {
            Some(Step::Remove) => return true,
            Some(_) => {
                state.replace(&name, Step::Remove, 0);
            }
            None if state.removes >= self.entries || state.stop => {
                state.tally.removals_dropped += 1;
                return false;
            }
            None => state.push(Op {
                name,
                step: Step::Remove,
                bytes: 0,
            }),
        }
        self.news.notify_one();
        true
    }

    /// Takes a put of this class back, if it was not sent. Waits for one that is being sent.
    pub(crate) fn cancel(&self, name: &Name, class: Class, deadline: Instant) -> Cancelled<P> {
        let mut state = lock(&self.state);
        loop {
            if !state.flight.contains_key(name) {
                let is_it = |op: &Op<P>| matches!(op.step, Step::Put(of, _) if of == class);
                if !state.waiting(name).is_some_and(is_it) {
                    return Cancelled::Absent;
                }
                return match state.empty(name) {
                    Some(Step::Put(_, what)) => Cancelled::Unsent(what),
                    _ => Cancelled::Absent,
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Cancelled::InFlight;
            }
            state = self.wait_on(&self.done, state, left);
        }
    }

    /// Whether what a read that began at `started` brings may be let in.
    pub(crate) fn admits(&self, name: &Name, started: Instant, now: Instant) -> bool {
        let state = lock(&self.state);
        let removed = state.flight.get(name).is_some_and(|&remove| remove)
            || state
                .waiting(name)
                .is_some_and(|op| matches!(op.step, Step::Remove))
            || state.tombs.keep_out(name, now);
        !removed && now.saturating_duration_since(started) < TOMBSTONE
    }

    /// Drops the puts that wait of these names.
    pub(crate) fn forget(&self, of: impl Fn(&Name) -> bool) {
        let mut state = lock(&self.state);
        let names: Vec<_> = state.last.keys().filter(|name| of(name)).copied().collect();
        for name in names {
            if state
                .waiting(&name)
                .is_some_and(|op| matches!(op.step, Step::Put(..)))
            {
                state.empty(&name);
            }
        }
    }

    /// Takes what is to be written next. It is in flight until [`finish`](Self::finish).
    pub(crate) fn next(&self, entries: usize, bytes: usize) -> Vec<Op<P>> {
        let mut state = lock(&self.state);
        let (mut batch, mut weight) = (Vec::new(), 0);
        while let Some(op) = state.ops.front() {
            weight += op.bytes;
            let full = batch.len() == entries || (!batch.is_empty() && weight > bytes);
            if full {
                break;
            }
            let place = state.first;
            let Some(op) = state.ops.pop_front() else {
                break;
            };
            state.first += 1;
            if state.last.get(&op.name) == Some(&place) {
                state.last.remove(&op.name);
            }
            let remove = match &op.step {
                Step::Nothing => {
                    state.voids -= 1;
                    continue;
                }
                Step::Remove => true,
                Step::Put(..) => false,
            };
            *state.flight.entry(op.name).or_default() |= remove;
            batch.push(op);
        }
        if batch.is_empty() {
            self.done.notify_all();
        }
        batch
    }

    /// The batch was written, or not. Removals that were not go back to where they were; puts are lost.
    pub(crate) fn finish(&self, batch: Vec<Op<P>>, written: bool, now: Instant) {
        let mut state = lock(&self.state);
        state.flight.clear();
        for op in batch.into_iter().rev() {
            let is_remove = matches!(op.step, Step::Remove);
            state.tally.bytes -= op.bytes as u64;
            if is_remove {
                state.removes -= 1;
                state.tombs.bury(op.name, now);
                if written {
                    state.doubts.removed(&op.name, now);
                }
            } else {
                state.puts -= 1;
                if !written {
                    state.tally.lost += 1;
                    state.doubts.add(op.name, now);
                }
            }
            if is_remove && !written {
                state.first -= 1;
                let place = state.first;
                state.last.entry(op.name).or_insert(place);
                state.removes += 1;
                state.ops.push_front(op);
            }
        }
        self.done.notify_all();
    }

    /// Queues the removals that are to be sent again by `now`.
    pub(crate) fn repeat(&self, now: Instant) {
        let mut state = lock(&self.state);
        for name in state.doubts.due(now) {
            if !state.last.contains_key(&name) {
                state.push(Op {
                    name,
                    step: Step::Remove,
                    bytes: 0,
                });
            }
        }
    }

    /// Waits until there is something to write or to repeat, somebody has woken the worker, or the time is up. False once it is
    /// stopped.
    pub(crate) fn wait(&self, limit: Duration, writes: bool) -> bool {
        let mut state = lock(&self.state);
        let until = Instant::now() + limit;
        let until = state.doubts.next().map_or(until, |next| until.min(next));
        loop {
            let due = std::mem::take(&mut state.woken) || (writes && !state.ops.is_empty());
            let left = until.saturating_duration_since(Instant::now());
            if state.stop || due || left.is_zero() {
                return !state.stop;
            }
            state = self.wait_on(&self.news, state, left);
        }
    }

    /// Has the worker look around.
    pub(crate) fn wake(&self) {
        lock(&self.state).woken = true;
        self.news.notify_one();
    }

    /// Tells the worker that it is the end. Nothing is accepted any more.
    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.news.notify_one();
    }

    /// Waits until everything was written that was queued by now or meanwhile. False if it was not in time.
    pub(crate) fn drained(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut state = lock(&self.state);
        loop {
            if state.ops.is_empty() && state.flight.is_empty() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.wait_on(&self.done, state, left);
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        let state = lock(&self.state);
        Tally {
            depth: (state.puts + state.removes) as u64,
            ..state.tally
        }
    }

    fn wait_on<'a>(
        &self,
        what: &Condvar,
        state: MutexGuard<'a, State<P>>,
        limit: Duration,
    ) -> MutexGuard<'a, State<P>> {
        what.wait_timeout(state, limit)
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .0
    }
}

impl<P> State<P> {
    /// A name's last word, if it waits.
    fn waiting(&self, name: &Name) -> Option<&Op<P>> {
        let place = self.last.get(name)?;
        self.ops.get((place - self.first) as usize)
    }

    fn push(&mut self, op: Op<P>) {
        let place = self.first + self.ops.len() as u64;
        self.last.insert(op.name, place);
        self.count(&op.step, 1);
        self.tally.bytes += op.bytes as u64;
        self.ops.push_back(op);
    }

    /// Puts another step in the place of a name's last word, which it returns.
    fn replace(&mut self, name: &Name, step: Step<P>, bytes: usize) -> Option<Step<P>> {
        let place = *self.last.get(name)?;
        self.count(&step, 1);
        let op = self.ops.get_mut((place - self.first) as usize)?;
        let old = std::mem::replace(&mut op.step, step);
        let weight = std::mem::replace(&mut op.bytes, bytes);
        self.tally.bytes = self.tally.bytes - weight as u64 + bytes as u64;
        self.count(&old, -1);
        Some(old)
    }

    /// Leaves nothing to do in the place of a name's last word, which it returns. Such places are given back before they are
    /// more than the others.
    fn empty(&mut self, name: &Name) -> Option<Step<P>> {
        let step = self.replace(name, Step::Nothing, 0);
        self.last.remove(name);
        self.voids += 1;
        if self.voids > FEW && self.voids > self.ops.len() / 2 {
            self.close_up();
        }
        step
    }

    fn close_up(&mut self) {
        self.voids = 0;
        let mut places = self.first..;
        for (at, op) in (self.first..).zip(std::mem::take(&mut self.ops)) {
            if matches!(op.step, Step::Nothing) {
                continue;
            }
            let place = places.next().unwrap_or(at);
            match self.last.get_mut(&op.name) {
                Some(last) if *last == at => *last = place,
                _ => {}
            }
            self.ops.push_back(op);
        }
    }

    fn count(&mut self, step: &Step<P>, by: isize) {
        match step {
            Step::Put(..) => self.puts = self.puts.wrapping_add_signed(by),
            Step::Remove => self.removes = self.removes.wrapping_add_signed(by),
            Step::Nothing => {}
        }
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
