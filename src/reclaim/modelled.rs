//! The domain of the models: it runs a closure as early as the promise allows, which is what finds a pin that ends too
//! soon.

use std::collections::BTreeSet;

use crate::sync::atomic::{AtomicU64, Ordering, fence};

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    next: u64,
    pinned: BTreeSet<u64>,
    waiting: Vec<(BTreeSet<u64>, Job)>,
}

#[cfg(any(refrain_loom, refrain_shuttle))]
std::thread_local! {
    /// Whether pins of domains that are made from now on order more than they have to.
    static ORDERS_MORE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets the pins of what is made from now on order more than they have to: as if each made a SeqCst fence, and knew of all
/// that came before. For models of so many threads that loom would not come to an end otherwise.
#[cfg(any(refrain_loom, refrain_shuttle))]
pub(crate) fn order_more(more: bool) {
    ORDERS_MORE.set(more);
}

/// The modelled domain.
///
/// A pin orders no more than it has to: it sees what was unlinked before what was deferred before it, and knows nothing of
/// other pins. So nothing in the engine can lean on it, as far as models of two threads tell.
///
/// Every step is a read-modify-write on one of two words. They carry the promise's happens-before, and they make steps
/// depend on each other in the checker's eyes: loom 0.7.2 skips interleavings of operations that it believes independent.
pub(crate) struct Domain {
    /// Written by who defers, read by who pins.
    unlinked: AtomicU64,
    /// Written by who unpins and by who defers, and read by both: either may run what was deferred.
    ended: AtomicU64,
    orders_more: bool,
    /// Never held across an operation that the checker can interrupt.
    state: std::sync::Mutex<State>,
}

impl std::fmt::Debug for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Domain")
    }
}

#[derive(Debug)]
pub(crate) struct Guard<'a> {
    id: u64,
    domain: &'a Domain,
}

impl Domain {
    pub(crate) fn new() -> Self {
        Self {
            unlinked: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            #[cfg(any(refrain_loom, refrain_shuttle))]
            orders_more: ORDERS_MORE.get(),
            #[cfg(not(any(refrain_loom, refrain_shuttle)))]
            orders_more: false,
            state: std::sync::Mutex::new(State::default()),
        }
    }

    fn step(&self) {
        // ORDERING: AcqRel; partner: the Release in `Guard::drop`, and this operation. What was done in a pin happens before
        // what waits for its end.
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn pin(&self) -> Guard<'_> {
        if self.orders_more {
            self.step();
            // ORDERING: SeqCst, as crossbeam-epoch's pin has.
            fence(Ordering::SeqCst);
        } else {
            // ORDERING: Acquire; partner: the Release in `defer`. What was unlinked before is seen unlinked.
            self.unlinked.fetch_add(1, Ordering::Acquire);
        }
        let mut state = self.state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        state.pinned.insert(id);
        Guard { id, domain: self }
    }

    pub(crate) fn defer(&self, f: impl FnOnce() + Send + 'static) {
        if !self.orders_more {
            // ORDERING: Release; partner: the Acquire in `pin`.
            self.unlinked.fetch_add(1, Ordering::Release);
        }
        self.step();
        let mut state = self.state.lock().unwrap();
        if state.pinned.is_empty() {
            drop(state);
            f();
        } else {
            let readers = state.pinned.clone();
            state.waiting.push((readers, Box::new(f)));
        }
    }

    pub(crate) fn flush(&self) {}
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.domain.orders_more {
            self.domain.step();
        } else {
            // ORDERING: Release; partner: the Acquire half in `step`.
            self.domain.ended.fetch_add(1, Ordering::Release);
        }
        let mut state = self.domain.state.lock().unwrap();
        state.pinned.remove(&self.id);
        for (readers, _) in &mut state.waiting {
            readers.remove(&self.id);
        }
        let (due, waiting) = std::mem::take(&mut state.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|(readers, _)| readers.is_empty());
        state.waiting = waiting;
        drop(state);
        if !due.is_empty() {
            self.domain.step();
        }
        for (_, job) in due {
            job();
        }
    }
}
