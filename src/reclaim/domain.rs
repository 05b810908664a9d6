//! The domain that everybody gets: a thread's place, or a handle of crossbeam-epoch's where there is no `membarrier`.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ptr::null_mut;

use super::epoch::{self, Collector, LocalHandle};
use super::places::{Pin, Place, Places, Waiting};
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::sync::{Counter, Home, Mutex, MutexGuard, asymmetric};

/// What all caches that were built in one process share. Never freed.
///
/// The child of a fork goes on with its parent's for the caches that it inherited. Threads may be pinned in it that the
/// child does not have, and then it frees nothing any more; so what the child builds by itself gets one of its own.
#[derive(Debug)]
struct Era {
    home: Home,
    kind: Kind,
}

/// Which of them is decided before the first pin, and never again: a reader that relies on the heavy fence must not meet a
/// waiter that does without it.
#[derive(Debug)]
enum Kind {
    Places(Places),
    Epochs(Collector),
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
        kind: if asymmetric::prepare() {
            Kind::Places(Places::new())
        } else {
            Kind::Epochs(Collector::new())
        },
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

/// A thread's place in one era, or its handle there.
enum Local {
    Place(&'static Place),
    Handle(LocalHandle),
}

impl Local {
    fn new(era: &'static Era) -> Self {
        match &era.kind {
            Kind::Places(places) => Self::Place(places.take()),
            Kind::Epochs(collector) => Self::Handle(collector.register()),
        }
    }
}

/// What a thread has in the eras that it has to do with: nearly always one. A thread that forked may need the child's as
/// well, and one of the child its parent's.
#[derive(Default)]
struct Locals(RefCell<Vec<(&'static Era, Local)>>);

impl Drop for Locals {
    fn drop(&mut self) {
        // From here on this thread's pins are made one by one.
        LAST.set((std::ptr::null(), std::ptr::null()));
        for (_, local) in self.0.borrow_mut().drain(..) {
            if let Local::Place(place) = local {
                place.give_back();
            }
        }
    }
}

std::thread_local! {
    /// The era whose place the thread used last, and the place; both null if there is none. Without a destructor, so that
    /// reading it is one instruction.
    static LAST: Cell<(*const Era, *const Place)> = const { Cell::new((std::ptr::null(), std::ptr::null())) };
    static LOCALS: Locals = Locals::default();
}

/// One cache's view of what the process shares.
#[derive(Debug)]
pub(crate) struct Domain {
    era: &'static Era,
    /// Empty where crossbeam-epoch keeps them.
    waiting: Mutex<Waiting>,
    home: Home,
    /// In a forked child: whether its parent was just at the mutex, so that there is nothing to be had of it.
    lost: Counter,
}

/// While it lives, nothing that was reachable when it was made is freed.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    pin: Either,
    domain: PhantomData<&'a Domain>,
}

#[derive(Debug)]
#[allow(dead_code, reason = "held, and never read")]
enum Either {
    Place(Pin<'static>),
    Epoch(epoch::Guard),
}

impl Domain {
    pub(crate) fn new() -> Self {
        Self {
            era: era(),
            waiting: Mutex::default(),
            home: Home::here(),
            lost: Counter::new(0),
        }
    }

    fn waiting(&self) -> Option<MutexGuard<'_, Waiting>> {
        // Once is enough to find out, which takes a while.
        if self.lost.value() > 0 {
            return None;
        }
        let waiting = self.home.lock(&self.waiting);
        if waiting.is_none() {
            self.lost.add(1);
        }
        waiting
    }

    /// Pins the calling thread. A load and a store of a line of its own, no locked instruction, nothing that others write.
    ///
    /// Where there is no `membarrier`: one locked instruction on a line of its own; every 128th pin also looks at the other
    /// threads' lines to move the epoch on.
    #[inline(always)]
    pub(crate) fn pin(&self) -> Guard<'_> {
        let (era, place) = LAST.get();
        let pin = if std::ptr::eq(era, self.era) {
            // SAFETY: where there is an era, the place is one of it, and the places of an era are never freed.
            Either::Place(unsafe { &*place }.pin())
        } else {
            self.pin_slowly()
        };
        Guard {
            pin,
            domain: PhantomData,
        }
    }

    /// The first pin of a thread, all pins of crossbeam-epoch's, and those in an era that was not the last one.
    #[inline(never)]
    fn pin_slowly(&self) -> Either {
        let pin = |locals: &Locals| {
            let mut locals = locals.0.borrow_mut();
            let known = locals
                .iter()
                .position(|(era, _)| std::ptr::eq(*era, self.era));
            let known = known.unwrap_or_else(|| {
                locals.push((self.era, Local::new(self.era)));
                locals.len() - 1
            });
            match &locals[known].1 {
                Local::Place(place) => {
                    LAST.set((self.era, *place));
                    Either::Place(place.pin())
                }
                Local::Handle(handle) => Either::Epoch(handle.pin()),
            }
        };
        LOCALS.try_with(pin).unwrap_or_else(|_| {
            // A thread whose thread-locals are already gone: a session dropped by a destructor, say.
            match Local::new(self.era) {
                Local::Place(place) => Either::Place(place.for_once().pin()),
                Local::Handle(handle) => Either::Epoch(handle.pin()),
            }
        })
    }

    /// Runs `f` after every guard that exists now has been dropped: as a part of some later [`flush`](Self::flush), or, where
    /// there is no `membarrier`, of any thread's pin.
    pub(crate) fn defer(&self, f: impl FnOnce() + Send + 'static) {
        match &self.era.kind {
            Kind::Places(_) => {
                // In a forked child whose parent was just at it, what is deferred stays for ever.
                if let Some(mut waiting) = self.waiting() {
                    waiting.add(Box::new(f));
                }
            }
            Kind::Epochs(_) => {
                if let Either::Epoch(guard) = self.pin().pin {
                    epoch::defer(&guard, f);
                }
            }
        }
    }

    /// Runs what has become due, as far as readers allow. Enough of them and no reader left: all of it.
    pub(crate) fn flush(&self) {
        match &self.era.kind {
            Kind::Places(places) => {
                if let Some(mut waiting) = self.waiting() {
                    // SAFETY: a domain has one era for good.
                    unsafe { waiting.advance(places) };
                }
            }
            Kind::Epochs(_) => {
                if let Either::Epoch(guard) = self.pin().pin {
                    epoch::flush(&guard);
                }
            }
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // Nobody is pinned by it any more: a guard borrows it.
        if let Ok(waiting) = self.waiting.get_mut() {
            waiting.finish();
        }
    }
}
