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

pub(crate) const LEVELS: usize = if MODEL { 2 } else { 3 };

/// Ticks that one position of a level spans.
const fn span(level: usize) -> u64 {
    RING.pow(level as u32)
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
        let level = (0..LEVELS - 1)
            .find(|&level| due - cursor < span(level + 1))
            .unwrap_or(LEVELS - 1);
        let position = due / span(level);
        // A position that spans the cursor's own tick has come up already; what it holds belongs to a finer level.
        if position * span(level) <= cursor {
            return (0, cursor + 1, cursor + 1);
        }
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
    use super::*;
    use crate::engine::bitmap;
    use proptest::prelude::*;

    /// A wheel over one session a bucket, with the looking that the engine does.
    struct Rig {
        wheel: Wheel,
        progress: Progress,
        deadlines: Vec<Option<u64>>,
        fired: Vec<(usize, u64)>,
    }

    impl Rig {
        fn new(buckets: usize) -> Self {
            Self {
                wheel: Wheel::new(buckets, 1000, Time::ZERO).unwrap(),
                progress: Progress::default(),
                deadlines: vec![None; buckets],
                fired: Vec::new(),
            }
        }

        fn add(&mut self, bucket: usize, deadline: u64) {
            self.deadlines[bucket] = Some(deadline);
            self.wheel.schedule(bucket, Time::from_millis(deadline));
        }

        fn look(&mut self, bucket: usize, now: u64) {
            match self.deadlines[bucket] {
                Some(deadline) if now >= deadline => {
                    self.deadlines[bucket] = None;
                    self.fired.push((bucket, deadline));
                }
                Some(deadline) => self.wheel.schedule(bucket, Time::from_millis(deadline)),
                None => {}
            }
        }

        fn run(&mut self, now: u64) {
            loop {
                let turn = self.wheel.step(
                    &mut self.progress,
                    Time::from_millis(now),
                    self.deadlines.len(),
                );
                match turn {
                    Turn::Done => break,
                    Turn::Bucket(bucket) => self.look(bucket, now),
                    Turn::Word(word, bits) => {
                        for bucket in bitmap::buckets(word, bits) {
                            self.look(bucket, now);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn deadlines_at_every_edge_fire_within_their_tick() {
        let edges = [
            1,
            999,
            1000,
            1001,
            63_000,
            64_000,
            65_000,
            127_999,
            128_000,
            4_095_000,
            4_096_000,
            4_097_000,
            262_143_000,
            262_144_000,
            300_000_000,
            900_000_000,
        ];
        for start in [0, 1, 63, 64, 65, 4095, 4096, 4097] {
            let mut rig = Rig::new(edges.len());
            rig.run(start * 1000);
            for (bucket, edge) in edges.iter().enumerate() {
                rig.add(bucket, start * 1000 + edge);
            }
            let due = |edge: u64| (start * 1000 + edge).div_ceil(1000) * 1000;
            let mut ticks: Vec<_> = edges.iter().map(|&edge| due(edge)).collect();
            ticks.dedup();
            for tick in ticks {
                // Step there in pieces small enough to turn rather than to look at everything.
                // ORDERING: Relaxed; one thread.
                let mut now = rig.wheel.cursor.load(Ordering::Relaxed) * 1000;
                while now + 3_000_000 < tick {
                    now += 3_000_000;
                    rig.run(now);
                }
                rig.run(tick - 1000);
                let fired =
                    |rig: &Rig, edge: u64| rig.fired.iter().any(|f| f.1 == start * 1000 + edge);
                for &edge in edges.iter().filter(|&&edge| due(edge) == tick) {
                    assert!(!fired(&rig, edge), "{edge} from {start} fired early");
                }
                rig.run(tick);
                for &edge in edges.iter().filter(|&&edge| due(edge) == tick) {
                    assert!(fired(&rig, edge), "{edge} from {start} fired late");
                }
            }
        }
    }

    #[test]
    fn a_jump_over_everything_looks_at_everything() {
        let mut rig = Rig::new(200);
        for bucket in 0..200 {
            rig.add(bucket, 1000 * (bucket as u64 + 1) * 1000);
        }
        rig.run(100_000_000);
        assert_eq!(rig.fired.len(), 100);
        rig.run(201_000_000);
        assert_eq!(rig.fired.len(), 200);
    }

    proptest! {
        #[test]
        fn the_wheel_is_an_ordered_map_of_deadlines(
            steps in prop::collection::vec((0usize..100, 1u64..10_000_000, 0u64..6_000_000), 1..60)
        ) {
            let mut rig = Rig::new(100);
            let mut now = 0;
            for (bucket, after, step) in steps {
                rig.add(bucket, now + after);
                now += step;
                rig.run(now);
                let tick = now / 1000 * 1000;
                prop_assert!(rig.deadlines.iter().flatten().all(|&d| d > tick), "late at {now}");
            }
        }
    }
}
