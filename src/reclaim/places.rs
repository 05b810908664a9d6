//! Pins without a locked instruction.
//!
//! Every thread that pins has a *place*: a word that says how deep it is pinned, and how often it was pinned before. To pin
//! and to unpin is a store each, to a line that nobody else writes. Who has unlinked something makes the
//! [heavy half](asymmetric::heavy) of a fence, looks at all places, and waits for the pins that it finds to end. A reader's
//! store and what it looks up afterwards are separated by the light half, which is no instruction. So, of a reader and a
//! waiter,
//!
//! - either the waiter finds the pin, and waits for it, or finds it over, and knows all that the reader has done;
//! - or the pin comes behind the heavy fence, and then the reader sees everything unlinked that the waiter had seen so.
//!
//! No epoch goes with it: a pin that the waiter did not find is of the second kind, whenever it is made.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};

use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use crate::sync::{CachePadded, asymmetric};

/// What waits for the end of a grace period.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// In a place's word, above the depth: how many times its thread was pinned before.
const PINS: u64 = 1 << 32;

/// In a place's word, the highest bit of the depth: the place is for one pin only, of a thread that can't keep it.
const ONCE: u64 = 1 << 31;

const DEPTH: u64 = ONCE - 1;

/// A thread's place, on lines of its own.
#[derive(Debug)]
pub(crate) struct Place {
    /// Written by its thread only. Pins within pins are counted to two billion, far beyond any stack; what comes after the
    /// four billionth pin is told from the first by nobody, and if somebody takes one for the other, then to wait longer.
    word: AtomicU64,
    taken: AtomicBool,
    /// The next in the list. Never changes.
    next: *mut CachePadded<Place>,
}

// SAFETY: the pointer is to another place, which lives as long as the list does and is shared by atomics.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

/// All places that there are. They are given out again, and freed with the list.
#[derive(Debug)]
pub(crate) struct Places {
    head: AtomicPtr<CachePadded<Place>>,
}

/// While it lives, its thread is pinned.
#[derive(Debug)]
pub(crate) struct Pin<'a> {
    place: &'a Place,
    /// The place is the thread's.
    not_send: PhantomData<*mut ()>,
}

impl Place {
    /// Pins the calling thread, whose place this must be. Wait-free: a load and a store of a line of its own.
    #[inline(always)]
    pub(crate) fn pin(&self) -> Pin<'_> {
        // ORDERING: Relaxed. Nobody else writes it.
        let word = self.word.load(Ordering::Relaxed);
        self.set(word + 1);
        // ORDERING: SeqCst, the light half; partner: the heavy half in `Places::pinned`.
        asymmetric::light();
        Pin {
            place: self,
            not_send: PhantomData,
        }
    }

    #[inline(always)]
    fn set(&self, word: u64) {
        // ORDERING: Release; partner: the Acquire loads in `Seen`. Who sees the word knows all that this thread did in the
        // pins before.
        self.word.store(word, Ordering::Release);
    }

    #[inline(always)]
    fn unpin(&self) {
        // ORDERING: Relaxed, as in `pin`.
        let word = self.word.load(Ordering::Relaxed);
        if word as u32 == 1 {
            self.set((word - 1).wrapping_add(PINS));
        } else {
            self.unpin_other(word);
        }
    }

    /// The end of a pin within a pin, or of the one for which the place was lent.
    #[cold]
    fn unpin_other(&self, word: u64) {
        if word & DEPTH > 1 {
            self.set(word - 1);
        } else {
            self.set((word & !(DEPTH | ONCE)).wrapping_add(PINS));
            self.give_back();
        }
    }

    /// Lets another thread have it. The calling thread, whose it was, must not be pinned.
    pub(crate) fn give_back(&self) {
        // ORDERING: Release; partner: the Acquire in `Places::take`. The next owner goes on with this one's word.
        self.taken.store(false, Ordering::Release);
    }

    /// Lets it be given back by itself at the end of the next pin.
    #[cfg_attr(
        any(refrain_loom, refrain_shuttle),
        allow(dead_code, reason = "the models' threads keep their places")
    )]
    pub(crate) fn for_once(&self) -> &Self {
        // ORDERING: Relaxed, as in `pin`.
        let word = self.word.load(Ordering::Relaxed);
        self.set(word | ONCE);
        self
    }
}

impl Drop for Pin<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.place.unpin();
    }
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Place> {
        // ORDERING: Acquire; partner: the Release half in `take`. Who sees a place sees what is behind it.
        let mut at = self.head.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: null, or a place of the list, which is not freed while the list is borrowed.
            let place = unsafe { at.as_ref() }?;
            at = place.next;
            Some(&**place)
        })
    }

    /// A place for the calling thread, until it gives it back. Lock-free; allocates if all are taken.
    pub(crate) fn take(&self) -> &Place {
        let free = self.iter().find(|place| {
            // ORDERING: Relaxed. The compare-and-swap decides; it is kept off the lines of threads that are at work.
            if place.taken.load(Ordering::Relaxed) {
                return false;
            }
            // ORDERING: Acquire; partner: the Release in `give_back`. Relaxed on failure: another place will do.
            place
                .taken
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        });
        free.unwrap_or_else(|| self.add())
    }

    fn add(&self) -> &Place {
        let mut place = Box::new(CachePadded::new(Place {
            word: AtomicU64::new(0),
            taken: AtomicBool::new(true),
            next: null_mut(),
        }));
        // ORDERING: Relaxed. The compare-and-swap below decides.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            place.next = head;
            let raw = Box::into_raw(place);
            // ORDERING: AcqRel; Release half, partner: the Acquire load in `iter`. Acquire half, partner: this operation by
            // another thread: the place that this one points to must be seen by who sees this one. The light half in `pin`
            // orders it as it does the pin itself: who does not see the place after the heavy half need not wait for it.
            match self
                .head
                .compare_exchange(head, raw, Ordering::AcqRel, Ordering::Relaxed)
            {
                // SAFETY: freed with the list only.
                Ok(_) => return unsafe { &*raw },
                Err(other) => {
                    head = other;
                    // SAFETY: made above, and nobody else has seen it.
                    place = unsafe { Box::from_raw(raw) };
                }
            }
        }
    }

    /// Who is pinned, after a heavy fence. `None` if there was no such fence to be had.
    fn pinned(&self) -> Option<Vec<Seen>> {
        // ORDERING: SeqCst, the heavy half; partner: the light half in `Place::pin`.
        if !asymmetric::heavy() {
            return None;
        }
        let seen = self.iter().map(Seen::new);
        Some(seen.filter(Seen::is_pinned).collect())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // ORDERING: Relaxed. Nobody else has the list any more.
        let mut at = self.head.load(Ordering::Relaxed);
        while !at.is_null() {
            // SAFETY: made by `add`, and freed once.
            let place = unsafe { Box::from_raw(at) };
            at = place.next;
        }
    }
}

/// A place, and what was seen there.
#[derive(Debug)]
struct Seen {
    place: NonNull<Place>,
    word: u64,
}

// SAFETY: of the place, only the word is looked at, which is atomic.
unsafe impl Send for Seen {}

impl Seen {
    fn new(place: &Place) -> Self {
        Self {
            place: NonNull::from(place),
            // ORDERING: Acquire; partner: the Release in `Place::set`. What was done in all pins that are over happens
            // before what this thread does next.
            word: place.word.load(Ordering::Acquire),
        }
    }

    fn is_pinned(&self) -> bool {
        self.word & DEPTH != 0
    }

    /// Whether the pin that was seen is over.
    ///
    /// # Safety
    ///
    /// The list must still be there.
    unsafe fn is_over(&self) -> bool {
        // SAFETY: passed on to the caller; a place lives as long as its list.
        let now = Self::new(unsafe { self.place.as_ref() });
        !now.is_pinned() || now.word / PINS != self.word / PINS
    }
}

/// Those who wait together for the same pins.
struct Party {
    readers: Vec<Seen>,
    jobs: Vec<Job>,
}

/// Jobs that wait for readers of one list of places.
#[derive(Default)]
pub(crate) struct Waiting {
    /// Nobody has looked yet who is pinned.
    fresh: Vec<Job>,
    parties: Vec<Party>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("fresh", &self.fresh.len())
            .field("parties", &self.parties.len())
            .finish()
    }
}

impl Waiting {
    pub(crate) fn add(&mut self, job: Job) {
        self.fresh.push(job);
    }

    /// Runs what need not wait any more. One heavy fence for all that was added since the last time; none if nothing was.
    ///
    /// # Safety
    ///
    /// It must always be the same list.
    pub(crate) unsafe fn advance(&mut self, places: &Places) {
        if !self.fresh.is_empty() {
            if let Some(readers) = places.pinned() {
                let jobs = std::mem::take(&mut self.fresh);
                self.parties.push(Party { readers, jobs });
            }
        }
        self.parties.retain_mut(|party| {
            // SAFETY: the list is borrowed, and is the one that they were seen in.
            party.readers.retain(|seen| !unsafe { seen.is_over() });
            let waits = !party.readers.is_empty();
            if !waits {
                party.jobs.drain(..).for_each(|job| job());
            }
            waits
        });
    }

    /// Runs all that is left. Nobody may be pinned any more.
    pub(crate) fn finish(&mut self) {
        let parties = std::mem::take(&mut self.parties);
        let late = parties.into_iter().flat_map(|party| party.jobs);
        std::mem::take(&mut self.fresh)
            .into_iter()
            .chain(late)
            .for_each(|job| job());
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle, refrain_modelled, miri))))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Shelf {
        places: Places,
        waiting: Waiting,
        done: Arc<AtomicUsize>,
    }

    impl Shelf {
        fn new() -> Option<Self> {
            if !asymmetric::prepare() {
                println!("NOT RUN: this system has no membarrier");
                return None;
            }
            Some(Self {
                places: Places::new(),
                waiting: Waiting::default(),
                done: Arc::default(),
            })
        }

        fn retire(&mut self) {
            let done = Arc::clone(&self.done);
            self.waiting.add(Box::new(move || {
                // ORDERING: Relaxed; one thread.
                done.fetch_add(1, Ordering::Relaxed);
            }));
        }

        fn advance(&mut self) -> usize {
            // SAFETY: there is only this list.
            unsafe { self.waiting.advance(&self.places) };
            // ORDERING: Relaxed; one thread.
            self.done.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_job_waits_for_the_pins_that_were_there() {
        let Some(mut shelf) = Shelf::new() else {
            return;
        };
        // SAFETY: the list outlives the borrow: it is not moved, and dropped after it.
        let (a, b) = unsafe {
            let places: *const Places = &raw const shelf.places;
            ((*places).take(), (*places).take())
        };
        shelf.retire();
        assert_eq!(shelf.advance(), 1, "nobody was pinned");
        let (outer, inner) = (a.pin(), a.pin());
        shelf.retire();
        assert_eq!(shelf.advance(), 1);
        drop(inner);
        assert_eq!(shelf.advance(), 1, "the outer pin is still there");
        let later = b.pin();
        assert_eq!(shelf.advance(), 1);
        drop(outer);
        let again = a.pin();
        assert_eq!(shelf.advance(), 2, "these pins came later");
        shelf.retire();
        assert_eq!(shelf.advance(), 2);
        drop((again, later));
        assert_eq!(shelf.advance(), 3);
        let last = a.pin();
        shelf.retire();
        shelf.advance();
        shelf.retire();
        drop(last);
        shelf.waiting.finish();
        assert_eq!(shelf.advance(), 5);
    }

    #[test]
    fn the_count_of_pins_wraps() {
        let places = Places::new();
        let place = places.take();
        // ORDERING: Relaxed; one thread.
        place.word.store(PINS.wrapping_neg(), Ordering::Relaxed);
        let outer = place.pin();
        let seen = Seen::new(place);
        drop(place.pin());
        // SAFETY: the list is still there.
        let is_over = || unsafe { seen.is_over() };
        assert!(seen.is_pinned() && !is_over());
        drop(outer);
        assert!(is_over());
        assert_eq!(Seen::new(place).word, 0);
        let once = place.for_once();
        // ORDERING: Relaxed; one thread.
        once.word.fetch_add(PINS.wrapping_neg(), Ordering::Relaxed);
        drop(once.pin());
        assert_eq!(Seen::new(place).word, 0);
    }

    #[test]
    fn places_are_given_out_again() {
        let places = Places::new();
        let (a, b) = (places.take(), places.take());
        assert!(!std::ptr::eq(a, b));
        drop(a.pin());
        a.give_back();
        assert!(std::ptr::eq(places.take(), a));
        assert_eq!(places.iter().count(), 2);
        b.give_back();
        let once = places.take().for_once();
        assert!(std::ptr::eq(once, b));
        let (outer, inner) = (once.pin(), once.pin());
        drop(inner);
        assert!(!std::ptr::eq(places.take(), b), "it is still pinned");
        drop(outer);
        assert!(std::ptr::eq(places.take(), b), "it was for once");
        assert!(!Seen::new(b).is_pinned());
    }
}
