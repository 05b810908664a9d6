//! The grace period: what was unlinked is handed back only when nobody can still be looking at it.
//!
//! A [`Domain`] promises one thing. A closure given to [`Domain::defer`] runs after every [`Guard`] that existed at
//! that moment has been dropped, and everything that those guards' owners did happens before it.
//!
//! The closures are tiny: they set a flag (see `engine::maintain`). They must be, because crossbeam-epoch runs them on
//! whichever thread happens to pin next, and that may be an accept thread.
//!
//! Two back ends. Everybody gets crossbeam-epoch, with a [`Collector`](crossbeam_epoch::Collector) of this library's
//! own, so that no other crate's garbage runs on our pins and no other crate's long pin holds our garbage. The models
//! get a small one that runs a closure as early as the promise allows, which is what finds a pin that ends too soon;
//! crossbeam-epoch frees nothing at all inside a model of a few operations. A few models hold both to the promise; for
//! these alone crossbeam-epoch is built for loom, under `crossbeam_loom`. Miri gets the small one too, by the cfg
//! `refrain_modelled`, where it watches provenance and leaks: crossbeam-epoch keeps its pointers as numbers.

/// What is asked of crossbeam-epoch, besides a pin.
#[cfg(any(
    not(any(refrain_loom, refrain_shuttle, refrain_modelled)),
    all(refrain_loom, crossbeam_loom)
))]
pub(crate) mod epoch {
    pub(crate) use crossbeam_epoch::{Collector, Guard, LocalHandle};

    pub(crate) fn defer(guard: &Guard, f: impl FnOnce() + Send + 'static) {
        guard.defer(f);
        guard.flush();
    }

    pub(crate) fn flush(guard: &Guard) {
        guard.flush();
    }
}

#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
mod imp {
    use std::cell::RefCell;
    use std::marker::PhantomData;
    use std::ptr::null_mut;

    use super::epoch::{self, Collector, LocalHandle};
    use crate::sync::Home;
    use crate::sync::atomic::{AtomicPtr, Ordering};

    /// The collector of all caches that were built in one process, never freed.
    ///
    /// The child of a fork goes on with its parent's for the caches that it inherited. Threads may be pinned in it that the
    /// child does not have, and then it frees nothing any more; so what the child builds by itself gets one of its own.
    #[derive(Debug)]
    struct Era {
        home: Home,
        collector: Collector,
    }

    static CURRENT: AtomicPtr<Era> = AtomicPtr::new(null_mut());

    /// The calling process's.
    fn era() -> &'static Era {
        // ORDERING: Acquire; partner: the Release half below. Who sees the pointer sees the era.
        let known = CURRENT.load(Ordering::Acquire);
        // SAFETY: null, or one of the boxes below, which are never freed once they are here.
        if let Some(era) = unsafe { known.as_ref() }.filter(|era| era.home.is_here()) {
            return era;
        }
        let fresh = Box::into_raw(Box::new(Era {
            home: Home::here(),
            collector: Collector::new(),
        }));
        // ORDERING: AcqRel, and Acquire on failure; partners: this operation by another thread, and the load above.
        match CURRENT.compare_exchange(known, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: it has just been made, and is never freed from here on.
            Ok(_) => unsafe { &*fresh },
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: as at the beginning; it is not null any more.
                unsafe { &*other }
            }
        }
    }

    /// A thread's places in the eras that it has to do with.
    struct Handles {
        /// In that of the process in which it first pinned: the one that nearly all threads have.
        first: (&'static Era, LocalHandle),
        /// A thread that forked may need the child's as well, and one of the child its parent's.
        others: RefCell<Vec<(&'static Era, LocalHandle)>>,
    }

    thread_local! {
        static HANDLES: Handles = {
            let era = era();
            Handles {
                first: (era, era.collector.register()),
                others: RefCell::default(),
            }
        };
    }

    impl Handles {
        #[cold]
        fn pin_other(&self, era: &'static Era) -> crossbeam_epoch::Guard {
            let mut others = self.others.borrow_mut();
            if let Some((_, handle)) = others.iter().find(|(known, _)| std::ptr::eq(*known, era)) {
                return handle.pin();
            }
            let handle = era.collector.register();
            let guard = handle.pin();
            others.push((era, handle));
            guard
        }
    }

    /// One cache's view of the library's collector.
    #[derive(Debug)]
    pub(crate) struct Domain {
        era: &'static Era,
    }

    /// While it lives, nothing that was reachable when it was made is freed.
    #[derive(Debug)]
    pub(crate) struct Guard<'a> {
        guard: epoch::Guard,
        domain: PhantomData<&'a Domain>,
    }

    impl Domain {
        pub(crate) fn new() -> Self {
            Self { era: era() }
        }

        /// Pins the calling thread: one locked instruction on a line of its own; every 128th pin also looks at the
        /// other threads' lines to move the epoch on.
        #[inline]
        pub(crate) fn pin(&self) -> Guard<'_> {
            let pin = |handles: &Handles| {
                let (era, handle) = &handles.first;
                if std::ptr::eq(*era, self.era) {
                    handle.pin()
                } else {
                    handles.pin_other(self.era)
                }
            };
            // The fallback serves a thread whose thread-locals are already gone (a session dropped by a destructor).
            let guard = HANDLES
                .try_with(pin)
                .unwrap_or_else(|_| self.era.collector.register().pin());
            Guard {
                guard,
                domain: PhantomData,
            }
        }

        /// Runs `f` after every guard that exists now has been dropped.
        pub(crate) fn defer(&self, f: impl FnOnce() + Send + 'static) {
            epoch::defer(&self.pin().guard, f);
        }

        /// Moves the epoch on if no reader holds it back, and runs what has become due.
        pub(crate) fn flush(&self) {
            epoch::flush(&self.pin().guard);
        }
    }
}

#[cfg(any(refrain_loom, refrain_shuttle, refrain_modelled))]
mod imp {
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
}

pub(crate) use imp::{Domain, Guard};
