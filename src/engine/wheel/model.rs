//! The wheel beside what it stands for: a set of deadlines.
//!
//! A [`Trial`] makes every step on both and compares them after each [`Op`]. The unit tests drive it, and so does the fuzz
//! target.

#![allow(missing_docs, unreachable_pub, reason = "not a public interface")]

use std::collections::BTreeSet;

use super::{Progress, Turn, Wheel};
use crate::clock::Time;
use crate::sync::atomic::Ordering;

/// Positions of a ring. All numbers are spelt out here, as the wheel's documentation has them.
const RING: u64 = 64;
/// Ticks that one position of each ring spans.
const SPANS: [u64; 3] = [1, 64, 64 * 64];
/// The farthest position: what is due later is put there.
const REACH: u64 = 63 * 64 * 64;
/// After more ticks than this, every bucket is looked at.
const JUMP: u64 = 64 * 64;
/// As far as clocks run.
const LAST: u64 = Time::MAX.as_millis() - 1;

/// What may happen. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A session comes into this bucket, and lives so long.
    Add(usize, u64),
    /// The sessions of this bucket live so long from now, if that is longer. The wheel is not told.
    Postpone(usize, u64),
    /// The sessions of this bucket leave. The wheel is not told.
    Leave(usize),
    /// Time passes, and nobody turns the wheel.
    Wait(u64),
    /// The wheel is turned towards now, by so many words and buckets at most.
    Turn(usize),
    /// The same by somebody who has looked at the clock that long ago.
    TurnLate(usize, u64),
    /// Time passes, and the wheel is turned to its end; this so often.
    Pass(u64, usize),
}

/// A session: its bucket, its deadline, and the tick in which it has to be handed out.
type Session = (usize, u64, u64);

/// A ring's number, a position in it and a bucket.
type Mark = (usize, u64, usize);

/// A wheel, and what it ought to do.
#[derive(Debug)]
pub struct Trial {
    wheel: Wheel,
    progress: Progress,
    buckets: usize,
    tick: u64,
    now: u64,
    sessions: BTreeSet<Session>,
    /// What the rings have to hold.
    marks: BTreeSet<Mark>,
    /// The tick to which the wheel has been turned.
    cursor: u64,
    /// Whether that tick's positions are being handed out.
    draining: bool,
    /// The bucket that comes next, if all of them are being handed out.
    sweep: Option<usize>,
    /// Sessions that have expired: their buckets, deadlines, and the moments.
    pub expired: Vec<(usize, u64, u64)>,
}

impl Trial {
    pub fn new(buckets: usize, tick: u64, now: u64) -> Self {
        let now = now.min(LAST);
        let wheel = Wheel::new(buckets, tick, Time::from_millis(now));
        let trial = Self {
            wheel: wheel.expect("memory for a few words"),
            progress: Progress::default(),
            buckets,
            tick,
            now,
            sessions: BTreeSet::new(),
            marks: BTreeSet::new(),
            cursor: now / tick,
            draining: false,
            sweep: None,
            expired: Vec::new(),
        };
        trial.check();
        trial
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// Whether it is looking at every bucket.
    pub fn sweeps(&self) -> bool {
        self.sweep.is_some()
    }

    /// # Panics
    ///
    /// If the wheel does not do what it ought to.
    pub fn apply(&mut self, op: Op) {
        match op {
            Op::Add(bucket, life) => self.schedule(bucket, self.after(life)),
            Op::Postpone(bucket, life) => self.postpone(bucket, self.after(life)),
            Op::Leave(bucket) => self.sessions.retain(|session| session.0 != bucket),
            Op::Wait(time) => self.now = self.now.saturating_add(time).min(LAST),
            Op::Turn(budget) => self.turn(self.now, budget),
            Op::TurnLate(budget, time) => self.turn(self.now.saturating_sub(time), budget),
            Op::Pass(time, times) => {
                for _ in 0..times {
                    self.now = self.now.saturating_add(time).min(LAST);
                    self.turn(self.now, usize::MAX);
                }
            }
        }
        self.check();
    }

    fn after(&self, life: u64) -> u64 {
        self.now.saturating_add(life).min(Time::MAX.as_millis())
    }

    fn of(&self, bucket: usize) -> impl Iterator<Item = Session> + use<> {
        let sessions = self.sessions.range((bucket, 0, 0)..(bucket + 1, 0, 0));
        sessions.copied().collect::<Vec<_>>().into_iter()
    }

    /// The tick in which a session has to be handed out, if it is scheduled now.
    fn promise(&self, deadline: u64) -> u64 {
        if deadline == Time::MAX.as_millis() {
            return u64::MAX;
        }
        deadline.div_ceil(self.tick).max(self.cursor + 1)
    }

    fn schedule(&mut self, bucket: usize, deadline: u64) {
        let tick = self.promise(deadline);
        self.sessions.insert((bucket, deadline, tick));
        self.wheel.schedule(bucket, Time::from_millis(deadline));
        if tick != u64::MAX {
            let tick = tick.min(self.cursor + REACH);
            // The coarsest ring whose positions are not too long.
            let away = tick - self.cursor;
            let ring = SPANS.iter().rposition(|&span| span <= away);
            let ring = ring.expect("it is at least one tick away");
            self.marks.insert((ring, tick / SPANS[ring] % RING, bucket));
        }
    }

    fn postpone(&mut self, bucket: usize, deadline: u64) {
        for (_, old, tick) in self.of(bucket).filter(|session| session.1 < deadline) {
            self.sessions.remove(&(bucket, old, tick));
            let tick = tick.max(self.promise(deadline));
            self.sessions.insert((bucket, deadline, tick));
        }
    }

    /// What the engine does with a bucket that it is told to look at.
    fn look(&mut self, bucket: usize, now: u64) {
        for session in self.of(bucket) {
            self.sessions.remove(&session);
            if session.1 <= now {
                self.expired.push((bucket, session.1, now));
            } else {
                self.schedule(bucket, session.1);
            }
        }
    }

    fn turn(&mut self, now: u64, mut budget: usize) {
        let target = now / self.tick;
        // Every step is worth something.
        let ticks = target.saturating_sub(self.cursor).min(JUMP) as usize + 2;
        let mut steps = ticks * (3 * self.buckets.div_ceil(64) + 2) + self.buckets;
        while budget > 0 {
            budget -= 1;
            steps = steps.checked_sub(1).expect("the wheel comes to its end");
            let rest = self.progress.rest;
            let time = Time::from_millis(now);
            let turn = self.wheel.step(&mut self.progress, time, self.buckets);
            self.follow(target);
            match turn {
                Turn::Done => return self.assert_done(target),
                Turn::Bucket(bucket) => {
                    assert_eq!(Some(bucket), self.sweep, "a bucket out of turn");
                    self.sweep = Some(bucket + 1).filter(|&next| next < self.buckets);
                    budget = budget.saturating_sub(1);
                    self.look(bucket, now);
                }
                Turn::Word(word, mut bits) => {
                    match rest {
                        Some(rest) => assert_eq!(rest, (word, bits), "what was left"),
                        None => self.hand_out(word, bits),
                    }
                    while bits != 0 && budget > 0 {
                        let bit = bits.trailing_zeros() as usize;
                        bits &= !(1 << bit);
                        budget -= 1;
                        self.look(word * 64 + bit, now);
                    }
                    self.progress.rest = (bits != 0).then_some((word, bits));
                }
            }
        }
    }

    fn wheels_cursor(&self) -> u64 {
        // ORDERING: Relaxed; one thread.
        self.wheel.cursor.load(Ordering::Relaxed)
    }

    /// Follows the wheel into its next tick, if it has gone there.
    fn follow(&mut self, target: u64) {
        let cursor = self.wheels_cursor();
        if cursor == self.cursor {
            return;
        }
        self.assert_drained();
        let jumps = target > self.cursor + JUMP;
        let expected = if jumps { target } else { self.cursor + 1 };
        assert_eq!(cursor, expected, "the next tick");
        self.cursor = cursor;
        self.sweep = jumps.then_some(0);
        self.draining = !jumps;
    }

    /// The positions that come up in the cursor's tick, the coarsest first: each ring's number, and the position.
    fn positions(&self) -> impl Iterator<Item = (usize, u64)> + use<> {
        let cursor = self.cursor;
        let whole = move |&ring: &usize| cursor % SPANS[ring] == 0;
        let rings = (0..SPANS.len()).rev().filter(whole);
        rings.map(move |ring| (ring, cursor / SPANS[ring] % RING))
    }

    /// Takes the marks for which the wheel hands buckets out.
    fn hand_out(&mut self, word: usize, mut bits: u64) {
        while bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            bits &= !(1 << bit);
            let bucket = word * 64 + bit;
            let known = self.draining
                && self
                    .positions()
                    .any(|(ring, position)| self.marks.remove(&(ring, position, bucket)));
            assert!(known, "bucket {bucket} comes out of turn");
        }
    }

    /// All that came up in the cursor's tick was handed out.
    fn assert_drained(&self) {
        if self.draining {
            for (ring, at) in self.positions() {
                let mut left = self.marks.range((ring, at, 0)..(ring, at + 1, 0));
                assert_eq!(left.next(), None, "not handed out");
            }
        }
        assert_eq!((self.sweep, self.progress.rest), (None, None), "not yet");
    }

    fn assert_done(&mut self, target: u64) {
        assert!(self.cursor >= target, "not yet at {target}");
        self.assert_drained();
        self.draining = false;
        let late = self
            .sessions
            .iter()
            .find(|session| session.2 <= self.cursor);
        assert_eq!(late, None, "late");
    }

    /// The marks, with the tick in which each comes up next.
    fn coming_up(&self) -> impl Iterator<Item = (Mark, u64)> + '_ {
        self.marks.iter().map(|&mark| {
            let span = SPANS[mark.0];
            let at = self.cursor / span;
            let mut positions = (mark.1 + RING - at % RING) % RING;
            // The cursor's own position has been handed out, unless that goes on.
            if positions == 0 && !(self.draining && self.cursor % span == 0) {
                positions = RING;
            }
            (mark, (at + positions) * span)
        })
    }

    /// What holds at any time.
    fn check(&self) {
        assert_eq!(self.wheels_cursor(), self.cursor);
        let words = self.buckets.div_ceil(64);
        let mut bits = BTreeSet::new();
        for (ring, maps) in self.wheel.levels.iter().enumerate() {
            for (position, word) in (0..RING).flat_map(|p| (0..words).map(move |w| (p, w))) {
                let mut set = maps.peek(position, word);
                while set != 0 {
                    let bit = set.trailing_zeros() as usize;
                    set &= !(1 << bit);
                    bits.insert((ring, position, word * 64 + bit));
                }
            }
        }
        assert_eq!(bits, self.marks, "the rings");
        // Whoever has to be handed out will be.
        let mut next = vec![u64::MAX; self.buckets];
        for ((_, _, bucket), tick) in self.coming_up() {
            next[bucket] = next[bucket].min(tick);
        }
        for &(bucket, deadline, tick) in &self.sessions {
            let in_hand = self.sweep.is_some_and(|next| next <= bucket)
                || self.progress.rest.is_some_and(|(word, bits)| {
                    word == bucket / 64 && bits >> (bucket % 64) & 1 != 0
                });
            assert!(
                in_hand || next[bucket] <= tick,
                "bucket {bucket} is lost: {deadline} ms, in tick {tick}, but it comes up in {}",
                next[bucket]
            );
        }
    }
}
