//! The breaker: keeps handshakes away from a store that fails, until the worker has found it well again.
//!
//! A pure state machine. Time and chance are arguments.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const CONSECUTIVE: u32 = 5;
/// The span in which the rate of failures is looked at, and its parts.
const SPAN: Duration = Duration::from_secs(1);
const PARTS: usize = 10;
/// Calls within the span below which a rate says nothing.
const ENOUGH: u32 = 20;
/// How long it stays open at first, and at most.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Everything.
    #[default]
    Closed,
    /// Nothing: every read is a miss, at once.
    Open,
    /// The worker's probe, which is under way.
    HalfOpen,
}

impl BreakerState {
    /// The state in one lower-case word, as metrics want it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Calls and failures of one part of the span.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Which part it is, counted from the breaker's beginning.
    number: u128,
    calls: u32,
    failures: u32,
}

/// Opens on failures in a row or on their rate; stays open for a while that doubles; closes when a probe succeeds.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: BreakerState,
    began: Instant,
    in_a_row: u32,
    parts: [Part; PARTS],
    /// How long it stays open the next time, before jitter.
    pause: Duration,
    /// When the next probe is due.
    until: Instant,
    openings: u64,
    closings: u64,
}

impl Breaker {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: BreakerState::Closed,
            began: now,
            in_a_row: 0,
            parts: [Part::default(); PARTS],
            pause: SHORTEST,
            until: now,
            openings: 0,
            closings: 0,
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.state
    }

    /// How often it has opened, failed probes not counted, and how often closed again.
    pub(crate) fn transitions(&self) -> (u64, u64) {
        (self.openings, self.closings)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == BreakerState::Closed
    }

    /// How long the next probe is off; `None` while it is closed.
    pub(crate) fn probe_in(&self, now: Instant) -> Option<Duration> {
        (!self.is_closed()).then(|| self.until.saturating_duration_since(now))
    }

    /// The worker is about to probe, if it is time.
    pub(crate) fn begin_probe(&mut self, now: Instant) -> bool {
        let due = self.state == BreakerState::Open && now >= self.until;
        if due {
            self.state = BreakerState::HalfOpen;
        }
        due
    }

    /// The probe has ended.
    pub(crate) fn end_probe(&mut self, well: bool, now: Instant, random: u64) {
        if self.state != BreakerState::HalfOpen {
            return;
        }
        if well {
            self.state = BreakerState::Closed;
            self.closings += 1;
            self.in_a_row = 0;
            self.parts = [Part::default(); PARTS];
            self.pause = SHORTEST;
        } else {
            self.wait(now, random);
        }
    }

    /// A call has ended. What comes back late from before an opening changes nothing.
    pub(crate) fn note(&mut self, well: bool, now: Instant, random: u64) {
        if !self.is_closed() {
            return;
        }
        let number = self.number(now);
        let part = &mut self.parts[(number % PARTS as u128) as usize];
        if part.number != number {
            *part = Part {
                number,
                ..Part::default()
            };
        }
        part.calls += 1;
        if well {
            self.in_a_row = 0;
            return;
        }
        part.failures += 1;
        self.in_a_row += 1;
        if self.in_a_row >= CONSECUTIVE || self.is_rate_bad(number) {
            self.openings += 1;
            self.wait(now, random);
        }
    }

    fn number(&self, now: Instant) -> u128 {
        let part = SPAN.as_millis() / PARTS as u128;
        now.saturating_duration_since(self.began).as_millis() / part
    }

    fn is_rate_bad(&self, number: u128) -> bool {
        let recent = self
            .parts
            .iter()
            .filter(|part| part.number + PARTS as u128 > number);
        let (calls, failures) = recent.fold((0, 0), |(calls, failures), part| {
            (calls + part.calls, failures + part.failures)
        });
        calls >= ENOUGH && failures * 2 > calls
    }

    /// Opens for the pause, less up to a half of it by chance, so that many servers do not come back at once.
    fn wait(&mut self, now: Instant, random: u64) {
        self.state = BreakerState::Open;
        let half = self.pause / 2;
        let share = random as u32 as f64 / f64::from(u32::MAX);
        self.until = now + half + half.mul_f64(share);
        self.pause = (self.pause * 2).min(LONGEST);
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    const FULL: u64 = u32::MAX as u64;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_four_do_not() {
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for round in 0..3 {
            for _ in 0..4 {
                breaker.note(false, start + ms(2000 * round), FULL);
                assert!(breaker.is_closed());
            }
            breaker.note(true, start + ms(2000 * round), FULL);
        }
        for n in 1..=5 {
            breaker.note(false, start + ms(9000), FULL);
            assert_eq!(breaker.is_closed(), n < 5);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.transitions(), (1, 0));
    }

    #[test]
    fn more_than_half_of_twenty_within_a_second_open_it() {
        // Every other call fails: half, which is not more than half.
        let start = Instant::now();
        let mut breaker = Breaker::new(start);
        for n in 0..100 {
            breaker.note(n % 2 == 0, start + ms(n), FULL);
        }
        assert!(breaker.is_closed());
        // Two of three: open with the twentieth call, not before.
        let two_of_three = |gap: u64| {
            let mut breaker = Breaker::new(start);
            let mut calls = 0;
            while breaker.is_closed() && calls < 100 {
                breaker.note(calls % 3 == 0, start + ms(calls * gap), FULL);
                calls += 1;
            }
            calls
        };
        assert_eq!(two_of_three(1), 20);
        // Never twenty within one second.
        assert_eq!(two_of_three(60), 100);
    }

    #[test]
    fn it_stays_open_longer_each_time_and_closes_by_a_probe_only() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        assert_eq!(breaker.probe_in(now), None);
        assert!(!breaker.begin_probe(now));
        for _ in 0..5 {
            breaker.note(false, now, FULL);
        }
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(
                breaker.probe_in(now).unwrap().as_millis().div_ceil(10) * 10,
                seconds * 1000
            );
            now += breaker.probe_in(now).unwrap();
            assert!(!breaker.begin_probe(now - ms(1)));
            breaker.note(true, now, FULL);
            assert_eq!(breaker.state(), BreakerState::Open);
            assert!(breaker.begin_probe(now));
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
            // One probe at a time, and no handshake.
            assert!(!breaker.begin_probe(now) && !breaker.is_closed());
            breaker.end_probe(false, now, FULL);
        }
        now += LONGEST;
        assert!(breaker.begin_probe(now));
        breaker.end_probe(true, now, FULL);
        assert!(breaker.is_closed());
        assert_eq!(breaker.transitions(), (1, 1));
        // Forgiven and forgotten: it takes five again, and a second.
        for n in 1..=5 {
            breaker.note(false, now, FULL);
            assert_eq!(breaker.is_closed(), n < 5);
        }
        assert!(breaker.probe_in(now).unwrap() <= SHORTEST);
    }

    #[test]
    fn chance_shortens_the_pause_by_up_to_a_half() {
        let now = Instant::now();
        for (random, expected) in [(0, 500), (FULL, 1000), (FULL / 2, 750)] {
            let mut breaker = Breaker::new(now);
            for _ in 0..5 {
                breaker.note(false, now, random);
            }
            let pause = breaker.probe_in(now).unwrap();
            assert!(pause.abs_diff(ms(expected)) < ms(2), "{pause:?}");
        }
    }
}
