//! The age ring of a shard: first in, first out, with a second chance, and no queue.
//!
//! Adds are numbered; so and so many of them make a *generation*, and a ring of 64 bitmaps remembers which buckets got
//! a session in which generation. To evict is to take a bit of the oldest generation and to look at that bucket: a
//! session that old leaves, unless a lookup has found it since, in which case it is born again into the newest one.
//! With at most 16 generations to a full shard, the order is exact up to 16 sessions in it and true to six to twelve percent
//! of them beyond, at 24 bytes a bucket, births included. Full is a shard at the largest capacity that the index is built for: at a lower
//! one the order is coarser in proportion. The ring goes round in four to eight times as many adds as
//! fill a shard: where most sessions leave because they are used up, those that are left grow so old. What grows older
//! still is found wherever a bit leads to its bucket, so that the order becomes approximate, and nothing worse.
//!
//! A session that leaves otherwise leaves its bit behind, which costs one look at a bucket when it comes up. After a long
//! time without eviction, nearly all bits may be such; an eviction that has met too many of them in a row takes the
//! oldest session of the bucket that a *hand* points to, and each eviction clears away some more.

use crate::engine::bitmap::{Bitmaps, RING};
use crate::engine::bucket::SLOTS;
use crate::error::Error;
use crate::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use crate::sync::{fence_after_rmw, prefetch_to_write};
use crate::zeroed::{Array, Zeroed};

/// Generations in which a shard's share of the largest capacity fills up, at most; half as many at least, as they are of a power of
/// two of adds.
const GENERATIONS: usize = 16;

/// Of each slot of a bucket, the lower half of the generation in which its session came, or got its last second chance. A
/// hint: what stands in the slot may be another one by now.
///
/// Beside the buckets and not in the sessions, whose lines are all over the memory: of a bucket's sessions, only the one that
/// is old enough is looked at.
#[repr(C, align(16))]
#[derive(Debug)]
pub(crate) struct Births([AtomicU16; SLOTS]);

impl Births {
    /// The birth of a slot's session, for [`years`].
    #[inline(always)]
    pub(crate) fn of(&self, slot: usize) -> u16 {
        // ORDERING: Relaxed. A hint. Who has loaded the slot sees what was stored before the session was published.
        self.0[slot].load(Ordering::Relaxed)
    }
}

// SAFETY: an atomic integer has the layout of the integer.
unsafe impl Zeroed for Births {
    fn zero() -> Self {
        Self(std::array::from_fn(|_| AtomicU16::new(0)))
    }
}

#[derive(Debug)]
pub(crate) struct Age {
    ring: Bitmaps,
    births: Array<Births>,
    /// The oldest generation that may still have bits.
    tail: AtomicU64,
    /// An add's number shifted right by this is its generation.
    shift: u32,
    /// The next bucket of the hand, which goes round the buckets where bits lead nowhere.
    hand: AtomicU64,
}

impl Age {
    pub(crate) fn new(buckets: usize, share: usize) -> Result<Self, Error> {
        Ok(Self {
            ring: Bitmaps::new(buckets)?,
            births: Array::new(buckets)?,
            tail: AtomicU64::new(0),
            shift: share.div_ceil(GENERATIONS).next_power_of_two().ilog2(),
            hand: AtomicU64::new(0),
        })
    }

    /// The next bucket of `buckets` in the hand's round.
    pub(crate) fn hand(&self, buckets: usize) -> usize {
        // ORDERING: Relaxed. Any bucket will do; different ones for different threads do better.
        (self.hand.fetch_add(1, Ordering::Relaxed) % buckets as u64) as usize
    }

    /// The generation of the add with this number.
    pub(crate) fn generation(&self, add: u64) -> u64 {
        add >> self.shift
    }

    /// The births of a bucket's sessions.
    #[inline]
    pub(crate) fn births(&self, bucket: usize) -> &Births {
        &self.births[bucket]
    }

    /// Asks for a bucket's births from the memory, in order to write: else the locked instruction after the writing waits for them.
    #[inline]
    pub(crate) fn expect(&self, bucket: usize) {
        prefetch_to_write(&self.births[bucket]);
    }

    /// Sets the birth of what stands in a slot, or is about to.
    #[inline]
    pub(crate) fn born(&self, bucket: usize, slot: usize, generation: u64) {
        // ORDERING: Relaxed, as in `Births::of`.
        self.births[bucket].0[slot].store(generation as u16, Ordering::Relaxed);
    }

    /// Remembers that a session of this generation stands in the bucket. The caller has published it and made a SeqCst
    /// fence since.
    ///
    /// An add that was slow may come when its generation has been searched already; it is then noted in the oldest one
    /// that has not.
    pub(crate) fn note(&self, bucket: usize, generation: u64) {
        let mut at = generation;
        loop {
            self.ring.mark(at, bucket);
            // ORDERING: SeqCst, behind the mark's read-modify-write (a bit that was set before is its setter's matter);
            // partner: the fence in `oldest`. Either this load sees the tail moved on, or that search sees the bit.
            fence_after_rmw();
            // ORDERING: Relaxed; ordered by the fence.
            let tail = self.tail.load(Ordering::Relaxed);
            if tail <= at {
                return;
            }
            at = tail;
        }
    }

    /// Takes a bucket out of the oldest generation that has one, after so many adds, and tells the generation. The caller
    /// makes a SeqCst fence before it looks at the bucket, and puts the bucket back by [`note`](Self::note) if sessions of
    /// that age stay in it.
    #[inline]
    pub(crate) fn oldest(&self, adds: u64) -> Option<(usize, u64)> {
        let newest = self.generation(adds);
        loop {
            // ORDERING: Relaxed. A tail that is behind only makes this search longer.
            let tail = self.tail.load(Ordering::Relaxed);
            let from = tail.max((newest + 1).saturating_sub(RING));
            if let Some(bucket) = self.ring.pop(from, adds) {
                return Some((bucket, from));
            }
            if from >= newest {
                return None;
            }
            // ORDERING: AcqRel on success, for the fence behind it; Relaxed else.
            let moved =
                self.tail
                    .compare_exchange(tail, from + 1, Ordering::AcqRel, Ordering::Relaxed);
            // ORDERING: SeqCst; partner: the fence in `note`. Who marked the position that has just been left behind, and
            // did not see it left, is seen here.
            fence_after_rmw();
            if moved.is_ok() {
                if let Some(bucket) = self.ring.pop(from, adds) {
                    return Some((bucket, from));
                }
            }
        }
    }
}

/// Births after the generation that they are compared with are thought possible up to so many generations.
pub(crate) const SLACK: u16 = 1024;

/// By how many generations a birth is older than this one, which is among the ring's newest; less than nothing if it is newer.
///
/// Births have 16 bits, so this goes round a circle. What has grown older than a thousand times round the ring is taken for young
/// until the ring has gone round some 17 times more, and for old again then.
#[inline]
pub(crate) fn years(birth: u16, generation: u64) -> i32 {
    let past = (generation as u16).wrapping_add(SLACK).wrapping_sub(birth);
    i32::from(past) - i32::from(SLACK)
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn small_shards_have_a_generation_for_each_add() {
        let age = Age::new(3, 16).unwrap();
        for add in 0..5 {
            assert_eq!(age.generation(add), add);
            age.note(add as usize % 3, add);
        }
        for (i, bucket) in [0, 1, 2, 0, 1].into_iter().enumerate() {
            assert_eq!(age.oldest(4), Some((bucket, i as u64)));
        }
        assert_eq!(age.oldest(4), None);
    }

    #[test]
    fn large_shards_have_up_to_16_generations() {
        let age = Age::new(3, 1000).unwrap();
        // The power of two above a 16th of them.
        assert_eq!(age.generation(63), 0);
        assert_eq!(age.generation(64), 1);
        assert_eq!(age.generation(1000), 15);
        // And half as many, right behind a power of two.
        let age = Age::new(3, 1025).unwrap();
        assert_eq!(age.generation(127), 0);
        assert_eq!(age.generation(1025), 8);
    }

    #[test]
    fn the_newest_is_not_taken_for_one_a_round_older() {
        for newest in [0, 1, 63, 64, 200] {
            let age = Age::new(1, 1).unwrap();
            age.note(0, newest);
            assert_eq!(age.oldest(newest), Some((0, newest)));
            assert_eq!(age.oldest(newest), None);
        }
    }

    #[test]
    fn the_hand_goes_round() {
        let age = Age::new(3, 1).unwrap();
        let round: Vec<_> = (0..7).map(|_| age.hand(3)).collect();
        assert_eq!(round, [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn what_the_tail_has_left_behind_comes_round_again() {
        let age = Age::new(1, 1).unwrap();
        age.note(0, 0);
        // Generation 0 shares its position with 64, 128 and 192.
        let (bucket, generation) = age.oldest(200).unwrap();
        assert_eq!((bucket, generation % RING), (0, 0));
        assert!(years(0, 200) >= (200 - generation) as i32);
    }

    #[test]
    fn a_late_note_is_not_left_behind() {
        let age = Age::new(1, 1).unwrap();
        assert_eq!(age.oldest(9), None);
        age.note(0, 3);
        assert_eq!(age.oldest(9), Some((0, 9)));
    }

    #[test]
    fn births_compare_round_the_circle() {
        assert_eq!((years(u16::MAX, 1 << 16), years(1, (1 << 16) - 1)), (1, -2));
        let years = [0, 64511, 64512].map(|later| years(7, 7 + later));
        assert_eq!(years, [0, 64511, -1024]);
    }
}
