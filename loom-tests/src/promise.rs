//! The promise of a reclamation domain, as bodies of models: the same for the modelled one and for crossbeam-epoch.
//!
//! What was unlinked before it is deferred ends once: after every pin under which it could have been read, and after those
//! reads. Orderings outside the domain are Relaxed, so the domain alone has to order them.

use std::sync::Arc;

use refrain::internal::{Epochs, Local, Memory, live_sessions};

use crate::run::Run;
use crate::sync::{AtomicBool, Ordering};

/// A domain, and something that can be reached until it is unlinked.
struct Shelf<E> {
    domain: E,
    linked: AtomicBool,
    memory: Arc<Memory>,
}

impl<E: Epochs> Shelf<E> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            domain: E::new(),
            linked: AtomicBool::new(true),
            memory: Arc::new(Memory::new()),
        })
    }

    /// Reads, if there is still something to read. The caller has a pin.
    fn look(&self) -> bool {
        let linked = self.linked.load(Ordering::Relaxed);
        if linked {
            self.memory.read();
        }
        linked
    }

    fn read(&self) -> bool {
        let local = self.domain.enter();
        let pin = local.pin();
        let linked = self.look();
        drop(pin);
        linked
    }

    /// Pins, and pins and unpins once more before it reads.
    fn read_with_nested_pins(&self) -> bool {
        let local = self.domain.enter();
        let outer = local.pin();
        drop(local.pin());
        let linked = self.look();
        drop(outer);
        linked
    }

    /// Unlinks, ends the memory after the grace period, and helps that on with one flush, the fewest with which it can end.
    fn retire(&self) {
        let local = self.domain.enter();
        self.linked.store(false, Ordering::Relaxed);
        let memory = Arc::clone(&self.memory);
        local.defer(move || memory.end());
        local.flush();
    }

    /// Whether the memory had ended already, before the domain did.
    fn close(self: Arc<Self>, run: &Run) {
        run.reached(if live_sessions() == 0 {
            "in time"
        } else {
            "with the domain"
        });
        drop(Arc::into_inner(self).expect("all threads have ended"));
        assert_eq!(live_sessions(), 0, "it never ended");
    }
}

/// One reader. Threads: pin, look, read, unpin; unlink, defer, flush.
pub fn against_one_reader<E: Epochs>(run: &Run) {
    let shelf = Shelf::<E>::new();
    let (read, ()) = run.race(&shelf, Shelf::read, Shelf::retire);
    run.reached(if read { "read" } else { "missed" });
    shelf.close(run);
}

/// A pin within a pin, as a lookup from within the closure of another makes: the inner one's end is not the outer one's.
/// Threads: pin, pin, unpin, look, read, unpin; unlink, defer, flush.
pub fn with_nested_pins<E: Epochs>(run: &Run) {
    let shelf = Shelf::<E>::new();
    let (read, ()) = run.race(&shelf, Shelf::read_with_nested_pins, Shelf::retire);
    run.reached(if read { "read" } else { "missed" });
    shelf.close(run);
}

/// Two readers, of which the last one to unpin ends the grace period. Threads: pin, look, read, unpin; the same; unlink,
/// defer, flush.
pub fn against_two_readers<E: Epochs>(run: &Run) {
    let shelf = Shelf::<E>::new();
    let (a, b, ()) = run.race3(&shelf, Shelf::read, Shelf::read, Shelf::retire);
    run.reached(match (a, b) {
        (true, true) => "both read",
        (false, false) => "none read",
        _ => "one read",
    });
    shelf.close(run);
}
