//! The timer wheel of a shard: three rings of bitmaps, each turning 64 times slower than the one before.
//!
//! With the default tick of one second they reach 64 seconds, 68 minutes and three days; what lies beyond is put at
//! the end and armed again when it comes up. The wheel holds no sessions and no pointers, only "look at this bucket
//! then". When a position comes up, whoever drains it looks at the buckets' sessions: what is due leaves, what is later
//! is marked in a finer ring. So a callback is exact to a tick, a deadline may be moved later by just storing it, and
//! memory is fixed: 24 bytes a bucket, about six a session.

use crate::clock::Time;
use crate::engine::bitmap::{Bitmaps, RING};
use crate::error::Error;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{MODEL, fence_after_rmw};

#[cfg(all(any(test, refrain_internal), not(any(refrain_loom, refrain_shuttle))))]
pub mod model;

pub(crate) const LEVELS: usize = if MODEL { 2 } else { 3 };
const LAST: usize = LEVELS - 1;

/// A ring's positions are a power of two, of which this is the logarithm.
const BITS: u32 = RING.trailing_zeros();

/// Ticks that one position of a level spans.
const fn span(level: usize) -> u64 {
    1 << (BITS * level as u32)
}

/// Ticks that the whole wheel spans.
const REACH: u64 = span(LEVELS) - span(LEVELS - 1);

/// After a jump of more ticks than this a look at every bucket is cheaper than turning the wheel.
const JUMP: u64 = RING * RING;

#[derive(Debug)]
pub(crate) struct Wheel {
    levels: Box<[Bitmaps]>,
    /// The last tick whose draining has begun.
    cursor: AtomicU64,
    /// In milliseconds.
    tick: u64,
}

/// How far one shard's wheel has been turned. There is one, and who turns the wheel has it locked.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The next word to drain in the tick at the cursor, counted over all levels that come up in it; `None` when that
    /// tick is done.
    word: Option<usize>,
    /// Buckets of a drained word that have not been looked at yet.
    pub(crate) rest: Option<(usize, u64)>,
    /// The next bucket of a full look after a jump.
    sweep: Option<usize>,
    /// The next bucket of the slow look that never ends.
    pub(crate) patrol: usize,
    /// The next bucket of the search for dead generations, and the invalidation that it answers.
    pub(crate) stale: Option<(usize, u64)>,
    /// The last invalidation that was answered.
    pub(crate) answered: u64,
}

/// What to look at next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// These buckets: a word's number and its bits. They may be none.
    Word(usize, u64),
    /// One bucket of a full look.
    Bucket(usize),
    /// The wheel is up to date.
    Done,
}

impl Wheel {
    pub(crate) fn new(buckets: usize, tick: u64, now: Time) -> Result<Self, Error> {
        let levels: Result<Vec<_>, _> = (0..LEVELS).map(|_| Bitmaps::new(buckets)).collect();
        Ok(Self {
            levels: levels?.into_boxed_slice(),
            cursor: AtomicU64::new(now.as_millis() / tick),
            tick,
        })
    }

    /// The first tick at which a deadline has passed.
    fn due(&self, deadline: Time) -> u64 {
        deadline.as_millis().div_ceil(self.tick)
    }

    /// Level, position and the tick at which that position comes up.
    fn place(due: u64, cursor: u64) -> (usize, u64, u64) {
        let due = due.clamp(cursor + 1, cursor + REACH);
        let level = ((due - cursor).ilog2() / BITS) as usize;
        let level = level.min(LAST);
        // What lies a level's span ahead has a position that has not come up yet.
        let position = due / span(level);
        (level, position, position * span(level))
    }

    /// Arranges that the bucket is looked at when `deadline` has passed. Wait-free in practice: it repeats only if the
    /// wheel was turned past the position meanwhile.
    ///
    /// The caller has published the session and made a SeqCst fence since.
    pub(crate) fn schedule(&self, bucket: usize, deadline: Time) {
        if deadline == Time::MAX {
            return;
        }
        let due = self.due(deadline);
        // ORDERING: Relaxed; an old cursor is found out below.
        let mut cursor = self.cursor.load(Ordering::Relaxed);
        loop {
            let (level, position, comes_up) = Self::place(due, cursor);
            self.levels[level].mark(position, bucket);
            // ORDERING: Relaxed. If the mark came after the drain of its position, then `mark` acquired from the drain,
            // and this load sees the cursor that was moved before it.
            let after = self.cursor.load(Ordering::Relaxed);
            if after < comes_up {
                return;
            }
            cursor = after;
        }
    }

    /// Turns the wheel towards `now`, by one word or bucket at most. The caller has `progress` locked.
    pub(crate) fn step(&self, progress: &mut Progress, now: Time, buckets: usize) -> Turn {
        let target = now.as_millis() / self.tick;
        // ORDERING: Relaxed; only the holder of the lock writes it.
        let cursor = self.cursor.load(Ordering::Relaxed);
        if let Some((word, bits)) = progress.rest.take() {
            return Turn::Word(word, bits);
        }
        if let Some(bucket) = progress.sweep {
            progress.sweep = (bucket + 1 < buckets).then_some(bucket + 1);
            return Turn::Bucket(bucket);
        }
        let Some(index) = progress.word else {
            if cursor >= target {
                return Turn::Done;
            }
            if target - cursor > JUMP {
                self.move_cursor(target);
                progress.sweep = Some(0);
            } else {
                self.move_cursor(cursor + 1);
                progress.word = Some(0);
            }
            return Turn::Word(0, 0);
        };
        // Coarse levels first, so that what they hold for this very tick is found due by the look itself.
        let mut coming_up = (0..LEVELS).rev().filter(|&level| cursor % span(level) == 0);
        let per_level = self.levels[0].words();
        let Some(level) = coming_up.nth(index / per_level) else {
            progress.word = None;
            return Turn::Word(0, 0);
        };
        progress.word = Some(index + 1);
        let word = index % per_level;
        let bits = self.levels[level].drain(cursor / span(level), word);
        // ORDERING: SeqCst, behind the drain's read-modify-write; partner: the fence between publishing a session and
        // `schedule`. Either the publisher sees its bit gone, or the look that follows sees the session.
        fence_after_rmw();
        Turn::Word(word, bits)
    }

    fn move_cursor(&self, tick: u64) {
        // ORDERING: AcqRel, a read-modify-write for the fence behind it; partner: `mark` and the load behind it in
        // `schedule`. What is marked behind the drains that follow is marked by somebody who then sees this tick.
        self.cursor.swap(tick, Ordering::AcqRel);
        fence_after_rmw();
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::model::{Op, Trial};
    use super::{Progress, Turn, Wheel};
    use crate::clock::Time;
    use proptest::prelude::*;

    #[test]
    fn deadlines_at_every_edge_fire_within_their_tick() {
        let near = [
            1, 999, 1000, 1001, 63_000, 64_000, 65_000, 127_999, 128_000, 4_095_000, 4_096_000,
            4_097_000,
        ];
        // Around the farthest position, around the wheel's span, and beyond two of its rounds.
        let far = [
            258_048_000,
            258_049_000,
            262_143_000,
            262_144_000,
            530_000_000,
        ];
        for start in [0, 1, 63, 64, 65, 4095, 4096, 4097] {
            let edges = match start {
                65 => [&near[..], &far].concat(),
                _ => near.to_vec(),
            };
            let mut trial = Trial::new(edges.len(), 1000, start * 1000);
            for (bucket, &edge) in edges.iter().enumerate() {
                trial.apply(Op::Add(bucket, edge));
            }
            for (bucket, &edge) in edges.iter().enumerate() {
                let deadline = start * 1000 + edge;
                let tick = deadline.div_ceil(1000) * 1000;
                // Just short of it, in pieces that the wheel turns through; and then into its tick.
                if let Some(short) = (deadline - 1).checked_sub(trial.now()) {
                    trial.apply(Op::Pass(3_000_000, (short / 3_000_000) as usize));
                    trial.apply(Op::Pass(short % 3_000_000, 1));
                    assert!(
                        !trial.expired.iter().any(|gone| gone.0 == bucket),
                        "{edge} from {start} fired early"
                    );
                    trial.apply(Op::Pass(tick - trial.now(), 1));
                }
                assert!(
                    trial.expired.contains(&(bucket, deadline, tick)),
                    "{edge} from {start} fired late"
                );
            }
        }
    }

    #[test]
    fn what_is_overdue_comes_with_the_next_tick() {
        for (now, deadline) in [(5000, 5000), (5000, 1), (5500, 5000), (300_000_000, 5)] {
            let wheel = Wheel::new(2, 1000, Time::from_millis(now)).unwrap();
            wheel.schedule(1, Time::from_millis(deadline));
            let mut progress = Progress::default();
            let soon = Time::from_millis(now + 1000);
            let mut found = false;
            loop {
                match wheel.step(&mut progress, soon, 2) {
                    Turn::Word(word, bits) => found |= (word, bits) == (0, 0b10),
                    Turn::Bucket(_) => {}
                    Turn::Done => break,
                }
            }
            assert!(found, "{deadline} at {now}");
        }
    }

    #[test]
    fn a_jump_over_everything_looks_at_everything() {
        let mut trial = Trial::new(200, 1000, 0);
        for bucket in 0..200 {
            trial.apply(Op::Add(bucket, 1_000_000 * (bucket as u64 + 1)));
        }
        trial.apply(Op::Pass(100_000_000, 1));
        assert_eq!(trial.expired.len(), 100);
        trial.apply(Op::Pass(101_000_000, 1));
        assert_eq!(trial.expired.len(), 200);
    }

    #[test]
    fn only_a_longer_jump_than_4096_ticks_looks_at_everything() {
        for ticks in [4095, 4096, 4097] {
            let mut trial = Trial::new(2, 1000, 0);
            trial.apply(Op::Add(1, 5000));
            trial.apply(Op::Wait(ticks * 1000));
            trial.apply(Op::Turn(1));
            assert_eq!(trial.sweeps(), ticks > 4096, "{ticks}");
            trial.apply(Op::Turn(usize::MAX));
            assert_eq!(trial.expired.len(), 1);
        }
    }

    #[test]
    fn a_turn_that_stops_goes_on_where_it_stopped() {
        for budget in [2, 3, 50] {
            let mut trial = Trial::new(130, 1000, 0);
            for bucket in 0..130 {
                trial.apply(Op::Add(bucket, 70_000));
            }
            trial.apply(Op::Wait(70_000));
            for _ in 0..1000 {
                trial.apply(Op::Turn(budget));
            }
            let expired = trial.expired.iter().map(|gone| gone.0);
            assert!(expired.eq(0..130), "{budget} at a time");
        }
    }

    /// Milliseconds, of a tick of 1000: around the edges of the rings, or any.
    fn time() -> impl Strategy<Value = u64> {
        let edges = [0, 64, 128, 4032, 4096, 8192, 258_048, 262_144];
        let edge = (prop::sample::select(edges.to_vec()), 0u64..20_000)
            .prop_map(|(tick, off)| (tick * 1000 + off).saturating_sub(10_000));
        prop_oneof![edge, 0u64..6_000_000, 0u64..600_000_000]
    }

    fn ops(buckets: usize) -> impl Strategy<Value = Vec<Op>> {
        // Some come together, and are due together.
        let crowd = (0..buckets, 2usize..12, time()).prop_map(move |(first, many, life)| {
            (first..buckets.min(first + many))
                .map(|bucket| Op::Add(bucket, life))
                .collect()
        });
        let alone = op(buckets).prop_map(|op| vec![op]);
        prop::collection::vec(prop_oneof![9 => alone, 1 => crowd], 1..40)
            .prop_map(|ops| ops.concat())
    }

    fn op(buckets: usize) -> impl Strategy<Value = Op> {
        let bucket = || 0..buckets;
        let budget = || prop_oneof![Just(usize::MAX), 0usize..12, 0usize..200];
        prop_oneof![
            5 => (bucket(), time()).prop_map(|(bucket, life)| Op::Add(bucket, life)),
            1 => bucket().prop_map(|bucket| Op::Add(bucket, u64::MAX)),
            1 => (bucket(), time()).prop_map(|(bucket, life)| Op::Postpone(bucket, life)),
            1 => bucket().prop_map(Op::Leave),
            2 => time().prop_map(Op::Wait),
            3 => budget().prop_map(Op::Turn),
            1 => (budget(), time()).prop_map(|(budget, ago)| Op::TurnLate(budget, ago)),
            3 => (0u64..70_000, 0usize..10).prop_map(|(time, times)| Op::Pass(time, times)),
            1 => (4_090_000u64..=4_100_000, 0usize..3).prop_map(|(time, times)| Op::Pass(time, times)),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_is_an_ordered_set_of_deadlines(
            start in time(),
            (buckets, ops) in prop::sample::select(vec![1, 64, 65, 130])
                .prop_flat_map(|n| (Just(n), ops(n))),
        ) {
            let mut trial = Trial::new(buckets, 1000, start);
            for op in ops {
                trial.apply(op);
            }
        }
    }
}
