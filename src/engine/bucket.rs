//! One cache line of the index: seven tagged pointers and eight overflow counts.
//!
//! ```text
//!  63           48 47                              6 5    2    1      0
//! +---------------+---------------------------------+------+------+-----------+
//! | fingerprint   | address of the session's header | 0    | away | tentative |   x 7
//! +---------------+---------------------------------+------+------+-----------+
//! | overflow 0 .. 7                                                           |
//! +---------------------------------------------------------------------------+
//! ```
//!
//! A *tentative* pointer is a claim: lookups, takers and evictors pass it by. Who stands *away* stands further along its path
//! than in the first bucket; of all others is known, without their hash, which counts they have raised: none. An *overflow count* says how many
//! sessions of its group (three bits of the hash) passed this bucket because it was full and stand further along their
//! path; a search may stop where the count is zero. The counts are incremented before a slot is claimed and decremented
//! after one is emptied, so that they are never too low for a session that can be found. They take the place of
//! tombstones: an emptied slot is free at once.

use std::ptr::null_mut;

use crate::engine::header::{Header, Raw};
use crate::sync::MODEL;
use crate::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use crate::zeroed::Zeroed;

/// Slots in a bucket. The models need few to see every case.
pub(crate) const SLOTS: usize = if MODEL { 2 } else { 7 };

/// Overflow counts in a bucket.
pub(crate) const GROUPS: usize = if MODEL { 2 } else { 8 };

/// Bits of an address that a slot has room for.
pub(crate) const ADDRESS_BITS: u32 = 48;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("refrain keeps fingerprints in the upper 16 bits of 64-bit pointers");

const TENTATIVE: usize = 1;
const AWAY: usize = 2;
const ADDRESS: usize = (1 << ADDRESS_BITS) - 64;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(*mut Header);

impl Word {
    pub(crate) const EMPTY: Self = Self(null_mut());

    /// A session for all to see, in a slot at home or away.
    pub(crate) fn published(raw: Raw, fingerprint: u16, is_away: bool) -> Self {
        let away = if is_away { AWAY } else { 0 };
        let fingerprint = usize::from(fingerprint) << ADDRESS_BITS;
        Self(raw.as_ptr().map_addr(|a| a | fingerprint | away))
    }

    /// The same as a claim on a slot, which no lookup sees.
    pub(crate) fn tentative(self) -> Self {
        Self(self.0.map_addr(|a| a | TENTATIVE))
    }

    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    pub(crate) fn is_tentative(self) -> bool {
        self.0.addr() & TENTATIVE != 0
    }

    /// Whether it stands behind the first bucket of its path.
    #[inline(always)]
    pub(crate) fn is_away(self) -> bool {
        self.0.addr() & AWAY != 0
    }

    /// Whether it points to a session and is published.
    #[inline(always)]
    pub(crate) fn is_published(self) -> bool {
        !self.is_empty() && !self.is_tentative()
    }

    #[inline(always)]
    pub(crate) fn fingerprint(self) -> u16 {
        (self.0.addr() >> ADDRESS_BITS) as u16
    }

    /// The session; `None` for an empty slot.
    #[inline(always)]
    pub(crate) fn raw(self) -> Option<Raw> {
        Raw::from_ptr(self.0.map_addr(|a| a & ADDRESS))
    }
}

/// Some slots of a bucket, four bits for each, of which the highest tells. From the lowest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slots(u32);

impl Slots {
    /// Whether it is this one and no other.
    #[inline(always)]
    pub(crate) fn is_only(self, slot: usize) -> bool {
        self.0 == 8 << (4 * slot)
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize / 4;
        self.0 &= self.0 - 1;
        // SAFETY: no bits but those of slots are ever set.
        unsafe { std::hint::assert_unchecked(slot < SLOTS) };
        Some(slot)
    }
}

/// Seven slots and their overflow counts, one line.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Bucket {
    slots: [AtomicPtr<Header>; SLOTS],
    overflow: [AtomicU8; GROUPS],
}

#[cfg(not(any(refrain_loom, refrain_shuttle)))]
const _: () = assert!(size_of::<Bucket>() == 64);

// SAFETY: an empty slot is a null pointer, an empty count is zero, and both are all of a bucket.
unsafe impl Zeroed for Bucket {
    fn zero() -> Self {
        Self {
            slots: std::array::from_fn(|_| AtomicPtr::new(null_mut())),
            overflow: std::array::from_fn(|_| AtomicU8::new(0)),
        }
    }
}

impl Bucket {
    #[inline(always)]
    pub(crate) fn load(&self, slot: usize) -> Word {
        // ORDERING: Acquire; partner: the AcqRel compare-and-swap below that published or claimed. Who sees the
        // pointer sees the whole session.
        Word(self.slots[slot].load(Ordering::Acquire))
    }

    /// The published session that has this fingerprint and is the one that is asked for: its slot, its word, itself.
    ///
    /// All slots are compared before one is looked at, without a branch: where in its bucket a session stands is chance,
    /// and would be mispredicted at every other lookup. What counts is the second load of the slot. If something else
    /// stands there by then, the first one has left, and there was a moment without it; another session of its id can only
    /// have come after that, into whichever slot.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        fingerprint: u16,
        is: impl Fn(Raw) -> bool,
    ) -> Option<(usize, Word, Raw)> {
        for slot in self.alike(fingerprint) {
            let word = self.load(slot);
            if word.is_tentative() {
                continue;
            }
            if let Some(raw) = word.raw().filter(|&raw| is(raw)) {
                return Some((slot, word, raw));
            }
        }
        None
    }

    /// The slots with this fingerprint: perhaps empty, perhaps only claimed, perhaps something else by now.
    #[inline(always)]
    pub(crate) fn alike(&self, fingerprint: u16) -> Slots {
        Slots(self.compare(fingerprint))
    }

    /// The lowest empty slot.
    #[inline]
    pub(crate) fn vacancy(&self) -> Option<usize> {
        (0..SLOTS).find(|&slot| self.load(slot).is_empty())
    }

    /// The highest of the [`Slots`]' four bits, for each slot with this fingerprint.
    #[cfg(not(all(target_arch = "x86_64", not(any(refrain_loom, refrain_shuttle, miri)))))]
    fn compare(&self, fingerprint: u16) -> u32 {
        (0..SLOTS).fold(0, |alike, slot| {
            let bit = u32::from(self.load(slot).fingerprint() == fingerprint);
            alike | bit << (4 * slot + 3)
        })
    }

    /// The highest of the [`Slots`]' four bits, for each slot with this fingerprint: compared two at a time.
    ///
    /// It is to seven Acquire loads what the portable one is, in a third of the instructions. A processor loads to acquire
    /// without being told to. Whether it loads sixteen bytes at once or not, what is compared of a slot are two bytes at its
    /// end, and these stay as they are while a session stands there and while another of its id takes its place: torn or not,
    /// they are seen alike.
    #[cfg(all(target_arch = "x86_64", not(any(refrain_loom, refrain_shuttle, miri))))]
    #[inline(always)]
    fn compare(&self, fingerprint: u16) -> u32 {
        use std::arch::x86_64::_mm_set1_epi16;
        /// The highest of four bits for each slot, and none for the overflow counts.
        const EACH: u32 = 0x0888_8888;
        let (low, high): (u32, u32);
        // ORDERING: Acquire, which is every load's of this processor; partner: as in `load`. Nothing that the compiler sees moves
        // over it.
        // SAFETY: reads this bucket, which is a line and aligned to one. Nothing is written, and what others write are atomics
        // of eight bytes each, of which this loads every one. (A vector load in Rust would be a data race: only here does it
        // mean what the processor makes of it.)
        unsafe {
            std::arch::asm!(
                "movdqa {a}, {pattern}",
                "pcmpeqw {a}, [{slots}]",
                "movdqa {b}, {pattern}",
                "pcmpeqw {b}, [{slots} + 16]",
                "packsswb {a}, {b}",
                "movdqa {b}, {pattern}",
                "pcmpeqw {b}, [{slots} + 32]",
                "pcmpeqw {pattern}, [{slots} + 48]",
                "packsswb {b}, {pattern}",
                "pmovmskb {low:e}, {a}",
                "pmovmskb {high:e}, {b}",
                slots = in(reg) self,
                pattern = inout(xmm_reg) _mm_set1_epi16(fingerprint as i16) => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                low = out(reg) low,
                high = out(reg) high,
                options(nostack, preserves_flags),
            );
        }
        (low | high << 16) & EACH
    }

    /// Replaces `old` by `new`, if it is still there.
    #[inline]
    pub(crate) fn replace(&self, slot: usize, old: Word, new: Word) -> bool {
        // ORDERING: AcqRel; Release half, partner: `load`, as above, and the removed stack: what was done with the
        // session before it was unlinked is seen by who frees it. Acquire half, partner: the same operation by the
        // thread that put `old` there, whose session this thread now unlinks. On failure nothing is used: Relaxed.
        self.slots[slot]
            .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Whether a search for a session of this group must go on to the next bucket.
    #[inline(always)]
    pub(crate) fn overflows(&self, group: u8) -> bool {
        // ORDERING: Relaxed. The slots of this bucket were loaded before, with Acquire, so this load can't come earlier
        // than theirs. The increment for a session that can be found is sequenced before the Release that published
        // it; a count read too low can therefore only hide a session whose add is still going on, and one read too
        // high costs a line.
        self.overflow[usize::from(group) % GROUPS].load(Ordering::Relaxed) != 0
    }

    /// Counts one more session of this group that stands further on; refuses at 255.
    pub(crate) fn raise(&self, group: u8) -> bool {
        let count = &self.overflow[usize::from(group) % GROUPS];
        // ORDERING: Relaxed. The claim that follows is a Release and makes it visible to all who can see the session.
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1))
            .is_ok()
    }

    /// Takes one such session back.
    pub(crate) fn lower(&self, group: u8) {
        // ORDERING: Relaxed. Whoever sees it before the slot is seen empty misses a session that is already dead.
        let old = self.overflow[usize::from(group) % GROUPS].fetch_sub(1, Ordering::Relaxed);
        debug_assert!(old != 0, "an overflow count is lowered once per raise");
    }

    /// The overflow counts, for checks of the whole table.
    pub(crate) fn overflow_counts(&self) -> [u8; GROUPS] {
        // ORDERING: Relaxed. Only meaningful when nothing else runs.
        std::array::from_fn(|group| self.overflow[group].load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;
    use crate::engine::header::Parts;
    use crate::id::SessionId;

    #[test]
    fn words_keep_their_parts_apart() {
        let parts = Parts {
            id: &SessionId::new(&[1]).unwrap(),
            context: 1,
            owner: 0,
            extras: None,
            name: b"",
            payload: b"",
        };
        let raw = Raw::new(&parts).unwrap();
        for fingerprint in [0, 1, 0x8000, u16::MAX] {
            for is_away in [false, true] {
                let published = Word::published(raw, fingerprint, is_away);
                let tentative = published.tentative();
                assert!(tentative.is_tentative() && !tentative.is_published());
                assert!(published.is_published() && !published.is_tentative());
                for word in [tentative, published] {
                    assert_eq!(word.raw(), Some(raw));
                    assert_eq!(word.fingerprint(), fingerprint);
                    assert_eq!(word.is_away(), is_away);
                    assert!(!word.is_empty());
                }
            }
        }
        assert!(Word::EMPTY.is_empty() && !Word::EMPTY.is_published());
        assert_eq!(Word::EMPTY.raw(), None);
        // SAFETY: the one reference, made above.
        unsafe { raw.release() };
    }

    #[test]
    fn slots_are_compared_by_their_fingerprints() {
        let bucket = Bucket::zero();
        let words = [0, 1, 0x8000, 0xffff, 1, 0x7fff, 1];
        for (slot, &word) in words.iter().enumerate() {
            // Nobody follows these.
            let address = std::ptr::without_provenance_mut(word << ADDRESS_BITS | 0x1_0001_0040);
            assert!(bucket.replace(slot, Word::EMPTY, Word(address)));
        }
        for count in [0, 1, 4, 7] {
            assert!(bucket.raise(count));
        }
        for fingerprint in [0, 1, 2, 0x0100, 0x7fff, 0x8000, 0x8001, 0xffff] {
            let expected = (0..SLOTS).filter(|&slot| words[slot] == usize::from(fingerprint));
            let slots = bucket.alike(fingerprint);
            assert!(slots.eq(expected.clone()), "{fingerprint:#x}");
            for slot in 0..SLOTS {
                let only = expected.clone().eq([slot]);
                assert_eq!(slots.is_only(slot), only, "{fingerprint:#x} in {slot}");
            }
        }
    }

    #[test]
    fn overflow_counts_refuse_to_wrap() {
        let bucket = Bucket::zero();
        for _ in 0..255 {
            assert!(bucket.raise(3));
        }
        assert!(!bucket.raise(3) && bucket.overflows(3) && !bucket.overflows(4));
        for _ in 0..255 {
            bucket.lower(3);
        }
        assert!(!bucket.overflows(3));
    }
}
