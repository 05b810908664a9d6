//! The removed stack of a shard: sessions that are neither live nor linked, on their way to the callback and out.
//!
//! Anybody pushes, one or several, by one compare-and-swap through the sessions' own links; the maintainer takes everything at once. As
//! nothing is popped singly and a session is pushed once in its life, there is no ABA.

use std::ptr::null_mut;

use crate::engine::header::{Header, Raw};
use crate::sync::atomic::{AtomicPtr, Ordering};

#[derive(Debug)]
pub(crate) struct Removed {
    head: AtomicPtr<Header>,
}

impl Removed {
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicPtr::new(null_mut()),
        }
    }

    /// Pushes sessions, with the cache's references to them. Lock-free.
    ///
    /// # Safety
    ///
    /// The caller owes the push of each (see [`word`](super::word)) and is pinned or holds a reference.
    pub(crate) unsafe fn push(&self, pile: &Pile) {
        // SAFETY: the caller keeps it alive until this returns.
        let bottom = unsafe { pile.bottom.header() };
        // ORDERING: Relaxed; the compare-and-swap decides.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // ORDERING: Relaxed; published by the compare-and-swap.
            bottom.next.store(head, Ordering::Relaxed);
            // ORDERING: Release; partner: the Acquire swap in `take`. The links, and all that was done to the sessions.
            match self.head.compare_exchange_weak(
                head,
                pile.top.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes everything; the references to the sessions go to the caller, who walks over them once.
    pub(crate) fn take(&self) -> Taken {
        // ORDERING: Relaxed; only a hint that there is nothing. What it misses is found the next time.
        if self.head.load(Ordering::Relaxed).is_null() {
            return Taken(null_mut());
        }
        // ORDERING: Acquire; partner: the Release in every `push` on the stack, which are one release sequence.
        Taken(self.head.swap(null_mut(), Ordering::Acquire))
    }
}

/// Sessions that one thread is about to push at once: each is linked to the one that left before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pile {
    top: Raw,
    bottom: Raw,
}

impl Pile {
    pub(crate) fn of(raw: Raw) -> Self {
        Self {
            top: raw,
            bottom: raw,
        }
    }

    /// Puts one more on top.
    ///
    /// # Safety
    ///
    /// As for [`Removed::push`].
    pub(crate) unsafe fn add(&mut self, raw: Raw) {
        // ORDERING: Relaxed; published when the pile is pushed.
        // SAFETY: the caller keeps it alive, and owes its push, so that nobody else uses the link.
        unsafe { raw.header() }
            .next
            .store(self.top.as_ptr(), Ordering::Relaxed);
        self.top = raw;
    }
}

/// What was on a stack, the last one first.
#[derive(Debug)]
pub(crate) struct Taken(*mut Header);

impl Iterator for Taken {
    type Item = Raw;

    #[inline]
    fn next(&mut self) -> Option<Raw> {
        let raw = Raw::from_ptr(self.0)?;
        // SAFETY: what was on the stack carries the cache's reference, which is the caller's now; it is passed on below.
        let header = unsafe { raw.header() };
        // ORDERING: Relaxed; acquired with the swap.
        self.0 = header.next.load(Ordering::Relaxed);
        Some(raw)
    }
}
