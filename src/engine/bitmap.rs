//! A ring of bitmaps over a shard's buckets: what the timer wheel and the age ring are made of.
//!
//! A bit says "look at this bucket when this ring position comes up". To set it is one load, and one read-modify-write
//! if it was not set; there is nothing to allocate, to cancel or to compact, and a bit that has outlived its session
//! costs one look at a bucket.

use crate::error::Error;
use crate::sync::MODEL;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::zeroed::{Array, Zeroed};

/// Positions of a ring. The models need few.
pub(crate) const RING: u64 = if MODEL { 2 } else { 64 };

/// Buckets that one word speaks for.
pub(crate) const WORD: usize = 64;

// SAFETY: an atomic integer has the layout of the integer.
unsafe impl Zeroed for AtomicU64 {
    fn zero() -> Self {
        Self::new(0)
    }
}

#[derive(Debug)]
pub(crate) struct Bitmaps {
    words: Array<AtomicU64>,
    per_position: usize,
}

impl Bitmaps {
    pub(crate) fn new(buckets: usize) -> Result<Self, Error> {
        let per_position = buckets.div_ceil(WORD);
        Ok(Self {
            words: Array::new(per_position * RING as usize)?,
            per_position,
        })
    }

    /// Words at each position.
    pub(crate) fn words(&self) -> usize {
        self.per_position
    }

    fn word(&self, position: u64, word: usize) -> &AtomicU64 {
        &self.words[(position % RING) as usize * self.per_position + word]
    }

    /// Sets a bucket's bit. Wait-free.
    ///
    /// The caller has published something in the bucket and made a SeqCst fence since.
    #[inline]
    pub(crate) fn mark(&self, position: u64, bucket: usize) {
        let word = self.word(position, bucket / WORD);
        let bit = 1 << (bucket % WORD);
        // ORDERING: Acquire; partner: the AcqRel operations in `drain` and `pop`. Found set, the bit is either still
        // to be drained, and then the drainer's fence and the caller's order its look at the bucket behind the
        // caller's publication; or it was set again behind a drain, which this load then makes visible together with
        // the drainer's cursor.
        if word.load(Ordering::Acquire) & bit == 0 {
            // ORDERING: AcqRel; partners: as above. The Release half carries the publication to who drains this bit.
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// Takes all bits of one word. The caller makes a SeqCst fence before it looks at the buckets.
    pub(crate) fn drain(&self, position: u64, word: usize) -> u64 {
        // ORDERING: AcqRel; partner: `mark`. Always a read-modify-write, also where nothing is set: it either takes a bit
        // or comes before it, and then the marker acquires from here and sees the cursor that was moved before. A plain
        // load of zero could miss a bit whose marker has not seen the cursor either.
        self.word(position, word).swap(0, Ordering::AcqRel)
    }

    /// Takes one bit of a position; returns its bucket. Where the search begins depends on `turn`: if bits are left over,
    /// they must not always be those of the same buckets.
    pub(crate) fn pop(&self, position: u64, turn: u64) -> Option<usize> {
        let (mut next, turn) = self.start(turn);
        for _ in 0..self.per_position {
            let index = next;
            next = if index + 1 < self.per_position {
                index + 1
            } else {
                0
            };
            let word = self.word(position, index);
            // ORDERING: Relaxed; the read-modify-write below decides.
            let mut seen = word.load(Ordering::Relaxed);
            while seen != 0 {
                let n = (seen.rotate_right(turn).trailing_zeros() + turn) % u64::BITS;
                let bit = 1 << n;
                // ORDERING: AcqRel; partner: `mark`.
                let old = word.fetch_and(!bit, Ordering::AcqRel);
                if old & bit != 0 {
                    return Some(index * WORD + n as usize);
                }
                seen = old & !bit;
            }
        }
        None
    }

    /// The word and the bit of it with which `pop` begins.
    fn start(&self, turn: u64) -> (usize, u32) {
        if MODEL {
            return (0, 0);
        }
        let scattered = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let word = (((scattered >> 32) * self.per_position as u64) >> 32) as usize;
        (word, (scattered >> 16) as u32 % u64::BITS)
    }

    /// A word as it is, for the wheel's model.
    #[cfg(all(any(test, refrain_internal), not(any(refrain_loom, refrain_shuttle))))]
    pub(crate) fn peek(&self, position: u64, word: usize) -> u64 {
        // ORDERING: Relaxed; nothing is read behind it.
        self.word(position, word).load(Ordering::Relaxed)
    }
}

/// The buckets of a drained word.
pub(crate) fn buckets(word: usize, mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let bit = bits.trailing_zeros() as usize;
        bits &= bits - 1;
        Some(word * WORD + bit)
    })
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Mark(u64, usize),
        Drain(u64, usize),
        Pop(u64, u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        // Few positions, so that they meet; some of them a ring apart.
        let position = || prop::sample::select(vec![0, 1, 5, 63, 64, 69, 700]);
        prop_oneof![
            4 => (position(), 0usize..130).prop_map(|(at, bucket)| Op::Mark(at, bucket)),
            1 => (position(), 0usize..3).prop_map(|(at, word)| Op::Drain(at, word)),
            3 => (position(), any::<u64>()).prop_map(|(at, turn)| Op::Pop(at, turn)),
        ]
    }

    proptest! {
        #[test]
        fn a_ring_is_64_sets_of_buckets(ops in prop::collection::vec(op(), 1..100)) {
            let maps = Bitmaps::new(130).unwrap();
            let mut sets = vec![BTreeSet::new(); 64];
            prop_assert_eq!(maps.words(), 3);
            for op in ops {
                match op {
                    Op::Mark(at, bucket) => {
                        maps.mark(at, bucket);
                        sets[at as usize % 64].insert(bucket);
                    }
                    Op::Drain(at, word) => {
                        let drained = buckets(word, maps.drain(at, word)).collect();
                        let set = &mut sets[at as usize % 64];
                        let (mine, others) = set.iter().partition(|&&bucket| bucket / 64 == word);
                        prop_assert_eq!(BTreeSet::<usize>::from_iter::<Vec<_>>(drained), mine);
                        *set = others;
                    }
                    Op::Pop(at, turn) => {
                        let set = &mut sets[at as usize % 64];
                        match maps.pop(at, turn) {
                            Some(bucket) => prop_assert!(set.remove(&bucket)),
                            None => prop_assert!(set.is_empty()),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn marks_come_back_once_and_at_their_position() {
        let maps = Bitmaps::new(130).unwrap();
        for bucket in [0, 63, 64, 129] {
            maps.mark(5, bucket);
            maps.mark(5, bucket);
        }
        assert_eq!(maps.pop(6, 0), None);
        let popped = maps.pop(5 + RING, 7).unwrap();
        let drained: Vec<_> = (0..maps.words())
            .flat_map(|word| buckets(word, maps.drain(5, word)))
            .collect();
        let left: Vec<_> = [0, 63, 64, 129]
            .into_iter()
            .filter(|bucket| *bucket != popped)
            .collect();
        assert_eq!(drained, left);
        assert_eq!(maps.pop(5, 0), None);
    }

    #[test]
    fn no_bucket_is_always_the_last() {
        let maps = Bitmaps::new(200).unwrap();
        let mut first = std::collections::HashSet::new();
        for turn in 0..1000 {
            (0..200).for_each(|bucket| maps.mark(3, bucket));
            let popped: Vec<_> = std::iter::from_fn(|| maps.pop(3, turn)).collect();
            first.insert(popped[0]);
            let all: std::collections::HashSet<_> = popped.iter().collect();
            assert_eq!(
                (popped.len(), all.len()),
                (200, 200),
                "some were not popped"
            );
        }
        assert!(
            first.len() > 150,
            "only {} buckets ever came first",
            first.len()
        );
    }

    /// Whoever else is at it: each bit comes once, and who hears that there is none is right.
    #[test]
    fn two_that_pop_share_the_bits() {
        let maps = Bitmaps::new(640).unwrap();
        let begin = std::sync::Barrier::new(2);
        let rounds = if cfg!(miri) { 2 } else { 2000 };
        for turn in 0..rounds {
            (0..640).for_each(|bucket| maps.mark(3, bucket));
            let pop_all = || {
                begin.wait();
                // The same order for both, so that they meet.
                let popped: Vec<_> = std::iter::from_fn(|| maps.pop(3, turn)).collect();
                let left: u64 = (0..maps.words()).map(|word| maps.peek(3, word)).sum();
                assert_eq!(left, 0, "there were bits to pop");
                popped
            };
            let mut all = std::thread::scope(|scope| {
                let other = scope.spawn(pop_all);
                let mut all = pop_all();
                all.append(&mut other.join().unwrap());
                all
            });
            all.sort_unstable();
            assert!(all.into_iter().eq(0..640), "a bit came twice");
        }
    }
}
