//! The processor's own counter, which tells for less than half the price whether it is worth asking the system for the time.
//!
//! It is a hint of one kind only: so little time has passed that nobody needs to know how much. A counter of which that can't be
//! said, because its pace changes or it stops while the processor rests, is not looked at, and the system is asked each time.

use crate::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Pulse {
    /// What the counter showed right before the system was last asked.
    asked: AtomicU64,
    /// So much further it shows in a fraction of a millisecond; nothing if it is not to be looked at.
    window: u64,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            asked: AtomicU64::new(0),
            window: counter::window(),
        }
    }

    /// What the counter shows; `None` if it is not to be looked at.
    #[inline]
    pub(super) fn read(&self) -> Option<u64> {
        (self.window > 0).then(counter::read)
    }

    /// Whether the system was asked less than a millisecond before the counter showed `at`. Who hears so sees what it said.
    ///
    /// A counter that has gone back, as another processor's may, or that of a machine that has slept, says no. Processors whose
    /// counters differ by more than that, which a system does not use as its own clock either, may take a time for recent that is
    /// older by the difference.
    #[inline]
    pub(super) fn is_recent(&self, at: u64) -> bool {
        // ORDERING: Acquire; partner: the Release in `note`.
        at.wrapping_sub(self.asked.load(Ordering::Acquire)) < self.window
    }

    /// Notes that the system has been asked since the counter showed `at`, and its answer passed on.
    pub(super) fn note(&self, at: u64) {
        // ORDERING: Release; partner: the Acquire in `is_recent`. Whose answer comes last is all the same: each is one for its
        // own moment.
        self.asked.store(at, Ordering::Release);
    }
}

#[cfg(all(
    target_arch = "x86_64",
    not(any(refrain_loom, refrain_shuttle, refrain_modelled, miri))
))]
mod counter {
    use std::arch::x86_64::{__cpuid, _rdtsc};

    /// A quarter of a millisecond at 1 GHz, a tenth at 2.6; less than one at any pace from 300 MHz on.
    const WINDOW: u64 = 1 << 18;

    /// The number of the leaf with the bit that says: the counter's pace is one and the same, whatever the processor does.
    const POWER: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;

    pub(super) fn window() -> u64 {
        // SAFETY: every processor of this architecture has the instruction, and the leaf that tells of the highest.
        #[allow(unused_unsafe, reason = "safe in newer versions of the compiler")]
        let power = unsafe {
            let highest = __cpuid(0x8000_0000).eax;
            if highest < POWER {
                return 0;
            }
            __cpuid(POWER).edx
        };
        if power & INVARIANT == 0 { 0 } else { WINDOW }
    }

    #[inline(always)]
    pub(super) fn read() -> u64 {
        // SAFETY: every processor of this architecture has the instruction. A system that forbids it to its programs has no clock
        // for them that does without.
        unsafe { _rdtsc() }
    }
}

#[cfg(all(
    target_arch = "aarch64",
    not(any(refrain_loom, refrain_shuttle, refrain_modelled, miri))
))]
mod counter {
    /// A quarter of a millisecond, by the pace that the counter says it has.
    pub(super) fn window() -> u64 {
        let frequency: u64;
        // SAFETY: reads a register. Systems let their programs read it, and the counter: their own clock does without a call.
        unsafe {
            std::arch::asm!("mrs {}, cntfrq_el0", out(reg) frequency,
                options(nomem, nostack, preserves_flags));
        }
        (frequency & 0xffff_ffff) / 4000
    }

    #[inline(always)]
    pub(super) fn read() -> u64 {
        let counter: u64;
        // SAFETY: as above. It counts at one pace, also while the processor rests.
        unsafe {
            std::arch::asm!("mrs {}, cntvct_el0", out(reg) counter,
                options(nomem, nostack, preserves_flags));
        }
        counter
    }
}

#[cfg(not(all(
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(refrain_loom, refrain_shuttle, refrain_modelled, miri))
)))]
mod counter {
    pub(super) fn window() -> u64 {
        0
    }

    pub(super) fn read() -> u64 {
        0
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    fn pulse(window: u64) -> Pulse {
        Pulse {
            asked: AtomicU64::new(0),
            window,
        }
    }

    #[test]
    fn only_within_its_window_it_is_recent() {
        let pulse = pulse(10);
        for asked in [0, 5, 1000, u64::MAX - 3] {
            pulse.note(asked);
            assert!(pulse.is_recent(asked) && pulse.is_recent(asked.wrapping_add(9)));
            assert!(!pulse.is_recent(asked.wrapping_add(10)));
            assert!(!pulse.is_recent(asked.wrapping_sub(1)));
        }
    }

    #[test]
    fn without_a_window_nothing_is_read() {
        let pulse = pulse(0);
        assert_eq!(pulse.read(), None);
        assert!(!pulse.is_recent(0));
    }

    /// Whatever the machine's counter is like: where it is looked at, its window is over within a millisecond.
    #[test]
    fn a_millisecond_is_longer_than_the_window() {
        let pulse = Pulse::new();
        let Some(at) = pulse.read() else {
            assert_eq!(pulse.window, 0);
            return;
        };
        pulse.note(at);
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(pulse.read().is_some_and(|later| !pulse.is_recent(later)));
    }
}
