//! A fence of two unequal halves: nothing at all for who passes often, a system call for who passes seldom.
//!
//! [`light`] and [`heavy`] together are what two sequentially consistent fences are: of a store before the one and a
//! store before the other, at least one is seen by the load behind the other's. The kernel does the light side's half:
//! `membarrier` interrupts every running thread of the process for a full barrier, and one that does not run has had its
//! barrier when it was switched away from. (P1202 proposes the pair for C++, by these names.)

use super::atomic::Ordering;
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
use super::atomic::compiler_fence as half;
/// The models know no `membarrier`, and get on both sides what it stands for.
#[cfg(any(refrain_loom, refrain_shuttle))]
use super::atomic::fence as half;

/// The cheap half: only the compiler is held back.
#[inline(always)]
pub(crate) fn light() {
    // ORDERING: SeqCst; partner: `heavy` in another thread.
    half(Ordering::SeqCst);
}

#[cfg(any(refrain_loom, refrain_shuttle))]
mod imp {
    pub(crate) fn heavy() -> bool {
        // ORDERING: SeqCst; partner: `light` in another thread.
        super::half(super::Ordering::SeqCst);
        true
    }
}

#[cfg(all(
    target_os = "linux",
    not(any(refrain_loom, refrain_shuttle, refrain_modelled, miri))
))]
mod imp {
    // The kernel's numbers, from its membarrier.h.
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: the call takes two numbers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Whether [`heavy`] works here. To be asked once in each process, before anybody relies on [`light`].
    ///
    /// Not on processors where two threads may see the stores of two others in different orders, or where an acquiring load
    /// may come before an earlier releasing read-modify-write: there, a fence in each pin is what makes operations on
    /// different ids have one order.
    pub(crate) fn prepare() -> bool {
        cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
            && membarrier(REGISTER_PRIVATE_EXPEDITED)
            && membarrier(PRIVATE_EXPEDITED)
    }

    /// The expensive half: microseconds. False if the kernel refuses, as it may when a filter of system calls was put up
    /// since [`prepare`]: then nothing is ordered.
    #[cold]
    pub(crate) fn heavy() -> bool {
        // ORDERING: SeqCst; partner: `light` in every other thread. A process that was never asked to prepare, as a
        // forked one may be, is prepared now: what counts is that the barrier is carried out after this.
        membarrier(PRIVATE_EXPEDITED) || prepare()
    }
}

/// There is no such fence here.
#[cfg(all(
    not(any(refrain_loom, refrain_shuttle)),
    any(not(target_os = "linux"), refrain_modelled, miri)
))]
mod imp {
    pub(crate) fn prepare() -> bool {
        false
    }

    pub(crate) fn heavy() -> bool {
        false
    }
}

pub(crate) use imp::heavy;
#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
pub(crate) use imp::prepare;

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle, refrain_modelled))))]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// Waits for another thread that is about to come, or has to get the processor first.
    fn wait_while(condition: impl Fn() -> bool) {
        for turn in 0_u32.. {
            if !condition() {
                break;
            }
            if turn % 64 == 63 {
                std::thread::yield_now();
            }
        }
    }

    /// Two threads store, and then load what the other stores: never do both miss it.
    #[test]
    fn of_two_stores_one_is_seen() {
        const ROUNDS: u32 = if cfg!(debug_assertions) {
            5_000
        } else {
            50_000
        };
        if !prepare() {
            println!("NOT RUN: this system has no membarrier");
            return;
        }
        let (ours, theirs) = (AtomicU32::new(0), AtomicU32::new(0));
        let (begun, ended) = (AtomicU32::new(0), AtomicU32::new(0));
        let seen = AtomicU32::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    // ORDERING: Acquire and Release of `begun` and `ended`, partners of each other's in the other thread:
                    // rounds don't overlap. All else is Relaxed: what orders the two stores is what is tested.
                    wait_while(|| begun.load(Ordering::Acquire) < round);
                    theirs.store(round, Ordering::Relaxed);
                    light();
                    seen.store(ours.load(Ordering::Relaxed), Ordering::Relaxed);
                    ended.store(round, Ordering::Release);
                }
            });
            for round in 1..=ROUNDS {
                // ORDERING: as in the other thread.
                begun.store(round, Ordering::Release);
                ours.store(round, Ordering::Relaxed);
                assert!(heavy());
                let saw = theirs.load(Ordering::Relaxed);
                wait_while(|| ended.load(Ordering::Acquire) < round);
                let seen = seen.load(Ordering::Relaxed);
                assert!(saw == round || seen == round, "missed in round {round}");
            }
        });
    }
}
