//! The reclamation by itself: the modelled one, and those that everybody gets, as `reclaim` uses them.

use std::sync::Mutex;

use crate::reclaim::places::{Pin as PlacePin, Place, Places, Waiting};
use crate::reclaim::{Domain, Guard};
use crate::sync::Alive;
use crate::sync::atomic::{AtomicBool, Ordering};

/// A reclamation domain.
pub trait Epochs: Send + Sync + 'static {
    /// What a thread needs to use it.
    type Local<'a>: Local;

    fn new() -> Self;
    fn enter(&self) -> Self::Local<'_>;
}

/// The three calls that the engine makes.
pub trait Local {
    type Pin<'a>
    where
        Self: 'a;

    fn pin(&self) -> Self::Pin<'_>;
    fn defer(&self, f: impl FnOnce() + Send + 'static);
    fn flush(&self);
}

/// Lets the pins of all domains that are made from now on order more than they have to.
pub fn pins_order_more(more: bool) {
    crate::reclaim::order_more(more);
}

/// The modelled domain.
#[derive(Debug)]
pub struct Modelled(Domain);

/// A pin of [`Modelled`].
#[derive(Debug)]
pub struct Pin<'a>(#[allow(dead_code, reason = "dropped, never read")] Guard<'a>);

impl Epochs for Modelled {
    type Local<'a> = &'a Self;

    fn new() -> Self {
        Self(Domain::new())
    }

    fn enter(&self) -> &Self {
        self
    }
}

impl Local for &Modelled {
    type Pin<'a>
        = Pin<'a>
    where
        Self: 'a;

    fn pin(&self) -> Pin<'_> {
        Pin(self.0.pin())
    }

    fn defer(&self, f: impl FnOnce() + Send + 'static) {
        self.0.defer(f);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// The places of threads: a list for each execution, and one retiring thread.
#[derive(Debug)]
pub struct Asymmetric {
    /// Never held while another thread of a model wants it.
    waiting: Mutex<Waiting>,
    places: Places,
}

/// A thread's place in an [`Asymmetric`].
#[derive(Debug)]
pub struct Reader<'a> {
    domain: &'a Asymmetric,
    place: &'a Place,
}

/// A pin of [`Asymmetric`].
#[derive(Debug)]
pub struct Placed<'a>(#[allow(dead_code, reason = "dropped, never read")] PlacePin<'a>);

impl Epochs for Asymmetric {
    type Local<'a> = Reader<'a>;

    fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            places: Places::new(),
        }
    }

    fn enter(&self) -> Reader<'_> {
        Reader {
            domain: self,
            place: self.places.take(),
        }
    }
}

impl Drop for Asymmetric {
    fn drop(&mut self) {
        self.waiting.get_mut().unwrap().finish();
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.place.give_back();
    }
}

impl Local for Reader<'_> {
    type Pin<'a>
        = Placed<'a>
    where
        Self: 'a;

    fn pin(&self) -> Placed<'_> {
        Placed(self.place.pin())
    }

    fn defer(&self, f: impl FnOnce() + Send + 'static) {
        self.domain.waiting.lock().unwrap().add(Box::new(f));
    }

    fn flush(&self) {
        let mut waiting = self.domain.waiting.lock().unwrap();
        // SAFETY: a domain has one list.
        unsafe { waiting.advance(&self.domain.places) };
    }
}

/// crossbeam-epoch on loom's atomics: a collector for each execution, a handle for each thread, and the calls of
/// `reclaim` with them.
#[cfg(crossbeam_loom)]
mod crossbeam {
    use crate::reclaim::epoch::{self, Collector, Guard, LocalHandle};

    use super::{Epochs, Local};

    #[derive(Debug)]
    pub struct Crossbeam(Collector);

    impl Epochs for Crossbeam {
        type Local<'a> = LocalHandle;

        fn new() -> Self {
            Self(Collector::new())
        }

        fn enter(&self) -> LocalHandle {
            self.0.register()
        }
    }

    impl Local for LocalHandle {
        type Pin<'a> = Guard;

        fn pin(&self) -> Guard {
            LocalHandle::pin(self)
        }

        fn defer(&self, f: impl FnOnce() + Send + 'static) {
            epoch::defer(&self.pin(), f);
        }

        fn flush(&self) {
            epoch::flush(&self.pin());
        }
    }
}

#[cfg(crossbeam_loom)]
pub use crossbeam::Crossbeam;

/// Memory that counts as one of [`live_sessions`](super::live_sessions) until its end. A read after the end fails; under
/// loom, so does one that is not ordered before the end.
#[derive(Debug)]
pub struct Memory {
    alive: Alive,
    /// A step of the checker's before each access, which orders nothing: something may come in between.
    touched: AtomicBool,
}

// SAFETY: under loom the cell checks every access; under shuttle one OS thread runs all threads of a model.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    pub fn new() -> Self {
        Self {
            alive: Alive::new(),
            touched: AtomicBool::new(false),
        }
    }

    pub fn read(&self) {
        // ORDERING: Relaxed, so that it orders nothing.
        self.touched.load(Ordering::Relaxed);
        self.alive.check();
    }

    pub fn end(&self) {
        // ORDERING: Relaxed, as above.
        self.touched.store(true, Ordering::Relaxed);
        self.alive.end();
    }
}
