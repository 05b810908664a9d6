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

/// The modelled domain.
pub(crate) struct Domain {
    /// Every pin, unpin and deferral does a read-modify-write here. It carries the promise's happens-before, and
    /// it makes all of them depend on each other in the checker's eyes: loom 0.7.2 skips interleavings of
    /// operations that it believes independent.
    order: AtomicU64,
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
            order: AtomicU64::new(0),
            state: std::sync::Mutex::new(State::default()),
        }
    }

    fn step(&self) {
        // ORDERING: AcqRel, so that all steps are ordered; partner: every other step.
        self.order.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn pin(&self) -> Guard<'_> {
        self.step();
        // ORDERING: SeqCst, as a real pin has.
        fence(Ordering::SeqCst);
        let mut state = self.state.lock().unwrap();
        let id = state.next;
        state.next += 1;
        state.pinned.insert(id);
        Guard { id, domain: self }
    }

    pub(crate) fn defer(&self, f: impl FnOnce() + Send + 'static) {
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
        self.domain.step();
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
        for (_, job) in due {
            job();
        }
    }
}
