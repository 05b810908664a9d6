//! The budget: how many entries and how much memory the slots may hold, in one word.
//!
//! A slot that is not empty holds a *permit* for one entry and for its session's memory. A permit is taken before a
//! slot is claimed, passes to the slot with the claim, and goes back to whoever empties the slot, who releases it or,
//! to put another session there, keeps it. Taking never goes over the limit that it has read, so what is in slots never exceeds
//! it, whatever the interleaving. An add that overlaps the lowering of the limit may be counted for a moment before it is
//! turned away.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::fence_after_rmw;

/// Memory is taken, and accounted for, in units of one cache line.
pub(crate) const UNIT: usize = 64;

const UNIT_BITS: u32 = 36;
const UNITS: u64 = (1 << UNIT_BITS) - 1;

/// The most entries a cache can have: 28 bits.
pub(crate) const MAX_ENTRIES: usize = (1 << (64 - UNIT_BITS)) - 1;
/// The most bytes a cache can have: 4 TiB.
pub(crate) const MAX_BYTES: usize = UNITS as usize * UNIT;

/// A number of entries (28 bits) and of memory units (36 bits).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Permit(u64);

impl Permit {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn new(entries: u64, units: u64) -> Self {
        debug_assert!(entries <= MAX_ENTRIES as u64 && units <= UNITS);
        Self(entries << UNIT_BITS | units)
    }

    pub(crate) fn entries(self) -> u64 {
        self.0 >> UNIT_BITS
    }

    pub(crate) fn units(self) -> u64 {
        self.0 & UNITS
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        debug_assert!(self.units() + other.units() <= UNITS);
        Self(self.0 + other.0)
    }

    /// What is left of it without `other`, each number at least zero.
    pub(crate) fn without(self, other: Self) -> Self {
        Self::new(
            self.entries().saturating_sub(other.entries()),
            self.units().saturating_sub(other.units()),
        )
    }

    /// Whether it is at least `need`, in both numbers.
    pub(crate) fn covers(self, need: Self) -> bool {
        need.fits(self)
    }

    fn fits(self, limit: Self) -> bool {
        self.entries() <= limit.entries() && self.units() <= limit.units()
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries, {} units", self.entries(), self.units())
    }
}

#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: Permit) -> Self {
        Self {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit.0),
        }
    }

    /// What is in use: in slots, or in the hands of adds.
    pub(crate) fn used(&self) -> Permit {
        // ORDERING: Relaxed. A number on its own.
        Permit(self.used.load(Ordering::Relaxed))
    }

    pub(crate) fn limit(&self) -> Permit {
        // ORDERING: Relaxed, as in `used`.
        Permit(self.limit.load(Ordering::Relaxed))
    }

    /// Changes the limit; what is in use stays. Returns the limit before.
    pub(crate) fn set_limit(&self, change: impl Fn(Permit) -> Permit) -> Permit {
        let set = |limit| Some(change(Permit(limit)).0);
        // ORDERING: Relaxed, both; the fence behind it orders what matters.
        let (Ok(old) | Err(old)) =
            self.limit
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, set);
        // ORDERING: SeqCst; partner: the fence in `take`. An add that takes a permit after this call has returned sees the
        // new limit.
        fence_after_rmw();
        Permit(old)
    }

    /// Whether there is room for so much, as far as is known.
    pub(crate) fn has_room(&self, permit: Permit) -> bool {
        let (used, limit) = (self.used(), self.limit());
        used.entries() + permit.entries() <= limit.entries()
            && used.units() + permit.units() <= limit.units()
    }

    /// Whether more is in use than the limit allows, because it was lowered.
    pub(crate) fn is_over(&self) -> bool {
        !self.used().fits(self.limit())
    }

    /// Takes `permit` if it fits. Lock-free; one read-modify-write.
    #[must_use]
    pub(crate) fn take(&self, permit: Permit) -> bool {
        if permit == Permit::NONE {
            return true;
        }
        let limit = self.limit();
        let mut used = self.used();
        loop {
            // Fields can't run into each other: both stay at or under a limit that fits them.
            if used.entries() + permit.entries() > limit.entries()
                || used.units() + permit.units() > limit.units()
            {
                return false;
            }
            // ORDERING: Relaxed, both. Only the sum matters; the slots order everything else.
            match self.used.compare_exchange_weak(
                used.0,
                used.0 + permit.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(seen) => used = Permit(seen),
            }
        }
        // ORDERING: SeqCst, behind the read-modify-write that took; partner: the fence in `set_limit`. The limit may have
        // been lowered between the look at it and the taking.
        fence_after_rmw();
        if self.limit() != limit && self.is_over() {
            self.release(permit);
            return false;
        }
        true
    }

    pub(crate) fn release(&self, permit: Permit) {
        if permit != Permit::NONE {
            // ORDERING: Relaxed, as in `take`. Who gives a permit back had it, so no field goes below zero.
            let old = Permit(self.used.fetch_sub(permit.0, Ordering::Relaxed));
            debug_assert!(permit.fits(old), "released {permit:?} of {old:?}");
        }
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold() {
        let budget = Budget::new(Permit::new(2, 10));
        assert!(budget.take(Permit::new(1, 4)));
        assert!(!budget.take(Permit::new(1, 7)));
        assert!(budget.take(Permit::new(1, 6)));
        assert!(!budget.take(Permit::new(1, 0)));
        assert!(!budget.take(Permit::new(0, 1)));
        budget.release(Permit::new(1, 4));
        assert_eq!(budget.used(), Permit::new(1, 6));
    }

    #[test]
    fn a_lowered_limit_refuses_until_enough_was_released() {
        let budget = Budget::new(Permit::new(4, 40));
        for _ in 0..4 {
            assert!(budget.take(Permit::new(1, 10)));
        }
        assert_eq!(
            budget.set_limit(|l| Permit::new(2, l.units())),
            Permit::new(4, 40)
        );
        assert!(budget.is_over());
        budget.release(Permit::new(2, 20));
        assert!(!budget.is_over());
        assert!(!budget.take(Permit::new(1, 1)));
        budget.release(Permit::new(1, 10));
        assert!(budget.take(Permit::new(1, 1)));
    }

    #[test]
    fn permits_are_pairs_of_numbers() {
        let (a, b) = (Permit::new(5, 70), Permit::new(2, 90));
        assert_eq!((a.entries(), a.units()), (5, 70));
        assert_eq!(a.and(b), Permit::new(7, 160));
        assert_eq!(a.without(b), Permit::new(3, 0));
        assert_eq!(b.without(a), Permit::new(0, 20));
        assert!(a.covers(a) && a.covers(Permit::NONE) && a.covers(Permit::new(5, 69)));
        assert!(!a.covers(b) && !b.covers(a));
        assert_eq!(format!("{a:?}"), "5 entries, 70 units");
    }

    #[test]
    fn the_largest_numbers() {
        assert_eq!(MAX_ENTRIES, 0xfff_ffff);
        assert_eq!(MAX_BYTES, (4 << 40) - UNIT);
        let all = Permit::new(MAX_ENTRIES as u64, UNITS);
        assert_eq!((all.entries(), all.units()), (MAX_ENTRIES as u64, UNITS));
        assert_eq!(all.units() * UNIT as u64, MAX_BYTES as u64);
    }

    #[test]
    fn the_largest_permits_do_not_overflow() {
        let all = Permit::new(MAX_ENTRIES as u64, UNITS);
        let budget = Budget::new(all);
        assert!(budget.take(all));
        assert!(!budget.take(Permit::new(1, 0)));
        assert!(!budget.take(Permit::new(0, 1)));
        budget.release(all);
        assert_eq!(budget.used(), Permit::NONE);
    }
}
