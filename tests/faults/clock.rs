//! Clocks that do what clocks do: drift, jump, oscillate, tremble, stop, go back, and come to their end.
//!
//! Beside the cache runs a reference: for each session its deadline, and the latest time that the cache can have read. After
//! every step of the clock and a run of maintenance, the cache holds what the reference holds: what is past its tick is
//! gone and was told of, what is not past its deadline is there, and what was missed once is never found again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use refrain::{CacheMode, Maintenance, ManualClock, RemovalCause, SessionCache, Time};

use crate::common::{
    Random, Rig, assert_settled, context, id, lasting, millis, secs, watchdog, watchdog_for,
};

/// The last moment that a cache's time comes to.
const LAST: u64 = Time::MAX.as_millis() - 1;

/// How a clock moves: what it shows after `step` steps, if it began at `start`. A step is about `pace` milliseconds.
type Shape = fn(start: u64, step: u64, pace: u64, random: &mut Random) -> u64;

const SHAPES: [(&str, Shape); 10] = [
    ("keeps time", |start, step, pace, _| start + step * pace),
    ("is slow by a third", |start, step, pace, _| {
        start + step * pace * 2 / 3
    }),
    ("stands still", |start, _, _, _| start),
    (
        "stands still and goes on by turns",
        |start, step, pace, _| start + step / 16 * 16 * pace,
    ),
    ("trembles", |start, step, pace, random| {
        (start + step * pace + random.below(8 * pace)).saturating_sub(4 * pace)
    }),
    ("oscillates", |start, step, pace, _| {
        let phase = step % 32;
        start + step * pace / 4 + if phase < 16 { phase } else { 32 - phase } * pace
    }),
    ("runs backwards", |start, step, pace, _| {
        start.saturating_sub(step * pace)
    }),
    (
        "jumps an hour ahead and back again",
        |start, step, pace, _| start + step * pace + if step % 20 > 10 { 3_600_000 } else { 0 },
    ),
    (
        "jumps beyond the wheel, to the end of time, and to its beginning",
        |start, step, pace, _| match step {
            0..20 => start + step * pace,
            20..40 => start + (1 << 18) * pace + step * pace,
            40..50 => u64::MAX,
            50..60 => 0,
            _ => LAST - 60 + step,
        },
    ),
    ("is anything at any time", |_, _, _, random| {
        match random.below(4) {
            0 => random.below(1 << 20),
            1 => random.below(1 << 40),
            _ => random.below(1 << 32),
        }
    }),
];

/// Where clocks begin: at nothing, at the wraps of 31, 32 and 40 bits of milliseconds, and where the seconds of 2038 and
/// 2106 would be milliseconds, which is beyond what is kept.
const STARTS: [u64; 7] = [
    0,
    (1 << 31) - 5000,
    (1 << 32) - 5000,
    LAST - 5000,
    LAST,
    (1 << 31) * 1000 - 5000,
    (1 << 32) * 1000 - 5000,
];

/// What must be in the cache.
struct Reference {
    tick: u64,
    /// The latest time that the cache has read.
    seen: u64,
    deadlines: BTreeMap<u64, u64>,
    timeouts: BTreeMap<u64, u64>,
    missed: BTreeSet<u64>,
}

impl Reference {
    fn read(&mut self, clock: &ManualClock) {
        self.seen = self.seen.max(clock.now().as_millis().min(LAST));
    }

    fn is_expired(&self, n: u64) -> bool {
        self.deadlines[&n] <= self.seen
    }

    fn after(&self, timeout: u64) -> u64 {
        self.seen.saturating_add(timeout).min(LAST + 1)
    }

    fn added(&mut self, n: u64, timeout: u64) {
        self.deadlines.insert(n, self.after(timeout));
        self.timeouts.insert(n, timeout);
    }

    /// A look-up that gives the session its timeout again.
    fn touched(&mut self, n: u64) {
        let later = self.after(self.timeouts[&n]).max(self.deadlines[&n]);
        self.deadlines.insert(n, later);
    }
}

struct Simulation {
    rig: Rig,
    reference: Reference,
    random: Random,
    next: u64,
    touches: bool,
}

impl Simulation {
    fn new(tick: u64, touches: bool, start: u64, seed: u64) -> Self {
        let mode = if touches {
            CacheMode::SERVER | CacheMode::UPDATE_TIME
        } else {
            CacheMode::SERVER
        };
        let builder = SessionCache::builder().capacity(400).shards(2);
        let rig = Rig::with(builder.tick(millis(tick)).mode(mode));
        rig.clock.set(Time::from_millis(start));
        let seen = rig.cache.now().as_millis();
        Self {
            rig,
            reference: Reference {
                tick,
                seen,
                deadlines: BTreeMap::new(),
                timeouts: BTreeMap::new(),
                missed: BTreeSet::new(),
            },
            random: Random::new(seed),
            next: 0,
            touches,
        }
    }

    fn add_some(&mut self) {
        for _ in 0..4 {
            let tick = self.reference.tick;
            let timeout = match self.random.below(6) {
                0 => 1,
                1 => tick * self.random.below(70) + self.random.below(3),
                2 => tick * 64 + self.random.below(tick),
                3 => tick * self.random.below(5000),
                4 => tick * 64 * 64 * (1 + self.random.below(100)),
                _ => 1 << self.random.below(42),
            };
            if timeout == 0 || self.rig.cache.len() == 400 {
                continue;
            }
            self.next += 1;
            self.reference.read(&self.rig.clock);
            let session = lasting(&self.rig.context, self.next, millis(timeout));
            assert!(self.rig.cache.add(session.clone()).is_cached());
            self.reference.added(self.next, timeout);
            let deadline = self.reference.deadlines[&self.next];
            assert_eq!(session.deadline().as_millis(), deadline);
        }
    }

    /// Looks every session up, by the time that the cache has.
    fn look(&mut self) {
        for n in 1..=self.next {
            let found = self.rig.has(n);
            let expected =
                self.reference.deadlines.contains_key(&n) && !self.reference.is_expired(n);
            let seen = self.reference.seen;
            assert_eq!(found, expected, "session {n} at {seen}");
            assert!(!found || !self.reference.missed.contains(&n), "{n} is back");
            if !found {
                self.reference.missed.insert(n);
            } else if self.touches && n % 3 == self.random.below(3) {
                assert!(self.rig.get(n).is_some());
                self.reference.touched(n);
            }
        }
    }

    fn maintain(&mut self) {
        self.reference.read(&self.rig.clock);
        while self.rig.cache.run_maintenance().more {}
        let Reference { seen, tick, .. } = self.reference;
        for (n, cause) in self.rig.gone() {
            assert_eq!(cause, RemovalCause::Expired);
            let deadline = self.reference.deadlines.remove(&n).expect("told once");
            assert!(deadline <= seen, "{n} told at {seen}, due at {deadline}");
        }
        let overdue = |deadline: &&u64| **deadline <= seen / tick * tick;
        let late = self.reference.deadlines.values().filter(overdue).count();
        assert_eq!(
            late, 0,
            "due in an earlier tick than {seen}'s, and still there"
        );
        assert_eq!(self.rig.cache.len(), self.reference.deadlines.len());
    }
}

#[test]
fn of_every_shape_agree_with_a_reference() {
    let _watchdog = watchdog_for(secs(300));
    for (kind, (name, shape)) in SHAPES.into_iter().enumerate() {
        for (at, start) in STARTS.into_iter().enumerate() {
            for tick in [1_u64, 10, 1000, 3_600_000] {
                for pace in [tick.div_ceil(3), 37 * tick] {
                    let seed = (kind * 1000 + at * 100) as u64 + tick + pace;
                    println!("a clock that {name} from {start}, tick {tick}, pace {pace}");
                    let mut run = Simulation::new(tick, seed % 2 == 0, start, seed);
                    for step in 0..70 {
                        let shown = shape(start, step, pace, &mut run.random);
                        run.rig.clock.set(Time::from_millis(shown));
                        // Until it is read, time stands still for look-ups.
                        run.look();
                        run.add_some();
                        run.maintain();
                        run.look();
                    }
                    assert_settled(&run.rig.cache.stats());
                }
            }
        }
    }
}

#[test]
fn at_its_end_keeps_what_never_expires_and_nothing_else() {
    let rig = Rig::new(100);
    for (n, timeout) in [(1, secs(1)), (2, millis(LAST)), (3, millis(LAST + 1))] {
        assert!(rig.add_for(n, timeout).is_cached());
    }
    rig.clock.set(Time::from_millis(LAST - 1));
    assert_eq!(rig.gone(), [(1, RemovalCause::Expired)]);
    rig.clock.set(Time::MAX);
    rig.cache.now();
    assert!(!rig.has(2) && rig.has(3));
    rig.cache.settle();
    // Time stands for good. What is added now is never over, but for what is over at once.
    assert!(rig.add_for(4, millis(1)).is_cached());
    assert!(!rig.add_for(5, Duration::ZERO).is_cached());
    rig.clock.set(Time::ZERO);
    rig.cache.settle();
    assert!(rig.has(4));
    assert_eq!(rig.cache.now().as_millis(), LAST);
    rig.cache.flush(Time::MAX);
    assert!(rig.cache.len() == 2 && rig.has(3) && rig.has(4));
}

/// A clock that everybody moves anywhere, with the maintainer at work: no session is missed before the cache's time has
/// come to its deadline, none comes back, and the cache's time never runs back.
#[test]
fn moved_by_all_threads_at_once() {
    let _watchdog = watchdog();
    let clock = ManualClock::new();
    let cache = SessionCache::builder()
        .capacity(5000)
        .tick(millis(1))
        .clock(clock.clone())
        .maintenance(Maintenance::Threads)
        .on_remove(|_, _| ())
        .build()
        .unwrap();
    let context = context(&cache, "x");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(1);
            while !stop.load(Ordering::Relaxed) {
                let now = clock.now().as_millis();
                let there = match random.below(10) {
                    0 => now + random.below(10_000),
                    1..4 => now.saturating_sub(random.below(1000)),
                    _ => now + random.below(20),
                };
                clock.set(Time::from_millis(there));
                std::thread::yield_now();
            }
        });
        let workers: Vec<_> = (0..4)
            .map(|thread| {
                let (cache, context) = (&cache, &context);
                scope.spawn(move || {
                    let mut random = Random::new(thread + 10);
                    let mut last = cache.now();
                    for round in 0..2000 {
                        let n = thread * 1_000_000 + round;
                        let session = lasting(context, n, millis(1 + random.below(500)));
                        assert!(cache.add(session.clone()).is_cached());
                        let deadline = session.deadline();
                        assert!(deadline > last);
                        let mut missed = false;
                        for _ in 0..20 {
                            let found = cache.contains(context, &id(n));
                            assert!(!(found && missed), "came back");
                            missed = !found;
                            let now = cache.now();
                            assert!(now >= last, "{now:?} after {last:?}");
                            last = now;
                            assert!(found || now >= deadline, "{now:?}, due at {deadline:?}");
                        }
                        cache.remove_exact(&session);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a worker's check failed");
    });
    cache.settle();
    assert!(cache.is_empty());
    assert_settled(&cache.stats());
}
