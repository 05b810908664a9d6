//! Small numbers for threads, so that each can count on a line of its own, and keep blocks that are its own.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many threads get a number of their own from [`thread_number`].
pub(crate) const THREAD_NUMBERS: usize = 256;

/// A small number that no other living thread has; `None` for the threads beyond [`THREAD_NUMBERS`]. Numbers of
/// threads that ended are given out again.
#[inline]
pub(crate) fn thread_number() -> Option<usize> {
    let number = NUMBER.get();
    if number < THREAD_NUMBERS {
        Some(number)
    } else if number == UNASSIGNED {
        assign_thread_number()
    } else {
        None
    }
}

const UNASSIGNED: usize = usize::MAX;

std::thread_local! {
    /// Without a destructor, so that reading it is one instruction.
    static NUMBER: std::cell::Cell<usize> = const { std::cell::Cell::new(UNASSIGNED) };
    static LEASE: std::cell::RefCell<Option<Lease>> = const { std::cell::RefCell::new(None) };
}

/// A bit for each number that is taken. No mutex: a forked child could find it locked for ever.
struct Numbers([AtomicU64; THREAD_NUMBERS / 64]);

static NUMBERS: Numbers = Numbers::new();

impl Numbers {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; THREAD_NUMBERS / 64])
    }

    /// Takes the lowest free number.
    fn take(&self) -> Option<usize> {
        let lowest = |seen: u64| (seen != u64::MAX).then(|| seen | (seen + 1));
        for (index, word) in self.0.iter().enumerate() {
            // ORDERING: Acquire on success; partner: the Release in `give`. The thread that had the number before has done
            // its last counting with it, and left its blocks. Relaxed else: the compare-and-swap decides.
            if let Ok(seen) = word.fetch_update(Ordering::Acquire, Ordering::Relaxed, lowest) {
                return Some(index * 64 + seen.trailing_ones() as usize);
            }
        }
        None
    }

    /// Takes this number, if it is free.
    #[cfg(not(any(refrain_loom, refrain_shuttle)))]
    fn take_one(&self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        let word = &self.0[number / 64];
        // ORDERING: Relaxed. A look, so that a number in use is not written to.
        let is_free = word.load(Ordering::Relaxed) & bit == 0;
        // ORDERING: Acquire; partner: the Release in `give`, as in `take`.
        is_free && word.fetch_or(bit, Ordering::Acquire) & bit == 0
    }

    fn give(&self, number: usize) {
        let bit = 1 << (number % 64);
        // ORDERING: Release; partner: the Acquire in `take`.
        self.0[number / 64].fetch_and(!bit, Ordering::Release);
    }
}

/// Calls `f` with each number that no living thread has, and that none gets meanwhile.
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
pub(crate) fn for_each_free_number(mut f: impl FnMut(usize)) {
    for number in (0..THREAD_NUMBERS).filter(|&number| NUMBERS.take_one(number)) {
        f(number);
        NUMBERS.give(number);
    }
}

struct Lease(usize);

impl Drop for Lease {
    fn drop(&mut self) {
        // From here on, the thread counts as one beyond the limit.
        NUMBER.set(THREAD_NUMBERS);
        NUMBERS.give(self.0);
    }
}

#[cold]
fn assign_thread_number() -> Option<usize> {
    let Some(number) = NUMBERS.take() else {
        NUMBER.set(THREAD_NUMBERS);
        return None;
    };
    // A thread whose thread-locals are already being destroyed drops the lease, and so the number, at once.
    let lease = Lease(number);
    let kept = LEASE.try_with(|cell| cell.replace(Some(lease))).is_ok();
    NUMBER.set(if kept { number } else { THREAD_NUMBERS });
    kept.then_some(number)
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_out_once_and_again_when_they_are_free() {
        let numbers = Numbers::new();
        for expected in 0..THREAD_NUMBERS {
            assert_eq!(numbers.take(), Some(expected));
        }
        assert_eq!(numbers.take(), None);
        for free in [63, 255, 64] {
            numbers.give(free);
        }
        assert_eq!(
            [(); 4].map(|()| numbers.take()),
            [Some(63), Some(64), Some(255), None]
        );
        numbers.give(200);
        assert!(numbers.take_one(200) && !numbers.take_one(200));
    }
}
