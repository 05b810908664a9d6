//! One rival in one scenario: threads that time their operations one by one, and one that does nothing in their place.
//!
//! They work in short bursts with pauses, so that the machine has time for what else goes on, and so that a thread which
//! is late was hardly ever made so by its own appetite. The control does the same with an empty operation: whatever it
//! saw, the others saw from the machine and not from the cache.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use refrain::{ManualClock, Time};

use super::latencies::Latencies;
use super::scenario::{CUT, NAP, Scenario};
use crate::cache::{Cache, Id, Key, Need, Setup, TIMEOUT, lacks, let_sleep};
use crate::random::Random;
use crate::stop;

const BURST: Duration = Duration::from_micros(200);
const PAUSE: Duration = Duration::from_micros(800);
/// Not recorded, before anything happens.
const LEAD: Duration = Duration::from_millis(200);
/// Sessions that are asked for, over and over.
const ASKED: usize = 20_000;
/// What a thread adds to a map stays there until so many others came.
const OWN: usize = 10_000;
/// For what is added while sessions expire.
const ROOM: usize = 500_000;
/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trial {
    pub(crate) lookups: Latencies,
    pub(crate) adds: Latencies,
    pub(crate) control: Latencies,
    /// How long it took until what happened was over, as far as the rival does it at once.
    pub(crate) event: Option<Duration>,
    pub(crate) found: u64,
    pub(crate) refused: u64,
}

impl Trial {
    fn merge(&mut self, other: &Self) {
        self.lookups.add(&other.lookups);
        self.adds.add(&other.adds);
        self.control.add(&other.control);
        self.found += other.found;
        self.refused += other.refused;
    }
}

/// What is asked of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) sessions: usize,
    pub(crate) payload: usize,
    /// How long it is recorded after what happened.
    pub(crate) time: Duration,
    pub(crate) seed: u64,
}

/// What the threads listen to.
#[derive(Debug, Default)]
struct Signals {
    record: AtomicBool,
    end: AtomicBool,
}

/// Builds, fills, disturbs.
pub(crate) fn run<C: Cache>(plan: Plan) -> Result<Trial, String> {
    let clock = ManualClock::new();
    // What is to expire must not be evicted before.
    let room = match plan.scenario {
        Scenario::Expiry => 2 * plan.sessions + ROOM,
        _ => plan.sessions,
    };
    let mut setup = Setup::new(room, plan.payload, 2);
    match plan.scenario {
        Scenario::Expiry => setup.clock = Some(clock.clone()),
        Scenario::Listener => setup.listener = Some(NAP),
        _ => setup.listener = Some(Duration::ZERO),
    }
    let cache = C::build(&setup);
    let asked = fill(&cache, plan, &clock);
    let signals = Signals::default();
    let mut trial = Trial::default();
    thread::scope(|scope| {
        let (cache, signals, asked) = (&cache, &signals, &asked[..]);
        let start = |stream: u64, adds: [bool; 2]| {
            let spawned = move || Worker::new(cache, asked, plan, stream).work(adds, signals);
            scope.spawn(spawned)
        };
        let workers = match plan.scenario {
            Scenario::Churn => [start(1, [false, true]), start(2, [true, false])],
            _ => [start(1, [false, false]), start(2, [true, true])],
        };
        let control = scope.spawn(|| idle(signals));
        thread::sleep(LEAD);
        let_sleep(true);
        signals.record.store(true, Ordering::Relaxed);
        let event = disturb(cache, plan, &clock);
        if !stop::is_asked() {
            thread::sleep(plan.time);
        }
        signals.end.store(true, Ordering::Relaxed);
        let_sleep(false);
        for worker in workers {
            let one = worker.join().map_err(|_| "a thread panicked".to_owned())?;
            trial.merge(&one);
        }
        let idle = control
            .join()
            .map_err(|_| "the control panicked".to_owned())?;
        trial.merge(&idle);
        trial.event = event?;
        Ok(trial)
    })
}

/// Fills the cache, and returns the sessions that will be asked for.
fn fill<C: Cache>(cache: &C, plan: Plan, clock: &ManualClock) -> Vec<C::Key> {
    let mut random = Random::new(plan.seed, 0);
    let mut local = cache.local();
    let payload = vec![0x5a; plan.payload];
    let mut asked = Vec::new();
    let mut add = |asked: Option<&mut Vec<C::Key>>| {
        let id = random.id();
        cache.add(&mut local, id, &payload);
        if let Some(asked) = asked {
            asked.push(C::Key::of(id));
        }
    };
    let (others, stay) = match plan.scenario {
        Scenario::Expiry => (plan.sessions, ASKED),
        _ => (
            plan.sessions.saturating_sub(ASKED),
            ASKED.min(plan.sessions),
        ),
    };
    for _ in 0..others {
        add(None);
    }
    // They are younger than what expires.
    clock.set(Time::ZERO + TIMEOUT / 2);
    for _ in 0..stay {
        add(Some(&mut asked));
    }
    cache.settle();
    asked
}

/// What happens; how long it took.
fn disturb<C: Cache>(
    cache: &C,
    plan: Plan,
    clock: &ManualClock,
) -> Result<Option<Duration>, String> {
    let begin = Instant::now();
    match plan.scenario {
        Scenario::Quiet | Scenario::Listener | Scenario::Churn => return Ok(None),
        Scenario::Expiry => {
            // Counted from the moment when they were expired: from here on, none is found.
            clock.set(Time::ZERO + TIMEOUT + Duration::from_secs(10));
            while cache.expired() < plan.sessions as u64 {
                if begin.elapsed() > PATIENCE {
                    return Err("they do not expire".to_owned());
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        Scenario::Flush => {
            cache.clear(&mut cache.local());
        }
        Scenario::Cut => {
            cache.shrink(CUT);
        }
    }
    Ok(Some(begin.elapsed()))
}

/// A thread that looks up, or adds, or both.
struct Worker<'a, C: Cache> {
    cache: &'a C,
    local: C::Local,
    asked: &'a [C::Key],
    random: Random,
    payload: Vec<u8>,
    /// What it has added to a map, and has to remove itself.
    own: Vec<C::Key>,
    next: usize,
    helps: bool,
    trial: Trial,
}

impl<'a, C: Cache> Worker<'a, C> {
    fn new(cache: &'a C, asked: &'a [C::Key], plan: Plan, stream: u64) -> Self {
        Self {
            cache,
            local: cache.local(),
            asked,
            random: Random::new(plan.seed, stream),
            payload: vec![0x5a; plan.payload],
            own: Vec::new(),
            next: 0,
            helps: lacks::<C>(Need::Evict).is_some(),
            trial: Trial::default(),
        }
    }

    /// Adds or looks up, by turns as it is told.
    fn work(mut self, adds: [bool; 2], signals: &Signals) -> Trial {
        bursts(signals, |turn| {
            if adds[turn % 2] {
                self.add(&signals.record)
            } else {
                self.look(&signals.record)
            }
        });
        self.trial
    }

    fn look(&mut self, record: &AtomicBool) -> Instant {
        let n = self.random.below(self.asked.len());
        let key = &self.asked[n];
        let begin = Instant::now();
        let found = black_box(self.cache.see(&mut self.local, key)).is_some();
        let end = Instant::now();
        // Asked afterwards: the one that waits for what happens may have begun before it.
        if record.load(Ordering::Relaxed) {
            self.trial.lookups.record(end - begin);
            self.trial.found += u64::from(found);
        }
        end
    }

    fn add(&mut self, record: &AtomicBool) -> Instant {
        let id: Id = self.random.id();
        let key = C::Key::of(id);
        let begin = Instant::now();
        let kept = self.cache.add(&mut self.local, id, &self.payload);
        if self.helps {
            self.push_out(key);
        }
        let end = Instant::now();
        if record.load(Ordering::Relaxed) {
            self.trial.adds.record(end - begin);
            self.trial.refused += u64::from(!kept);
        }
        end
    }

    fn push_out(&mut self, key: C::Key) {
        if self.own.len() < OWN {
            self.own.push(key);
            return;
        }
        let oldest = std::mem::replace(&mut self.own[self.next], key);
        self.next = (self.next + 1) % OWN;
        black_box(self.cache.take(&mut self.local, &oldest));
    }
}

/// The control: the same bursts of nothing. It counts from one end to the next, so that nothing escapes it.
fn idle(signals: &Signals) -> Trial {
    let mut trial = Trial::default();
    let mut before = None;
    bursts(signals, |turn| {
        let end = Instant::now();
        match before.replace((turn, end)) {
            Some((last, begin)) if last + 1 == turn && signals.record.load(Ordering::Relaxed) => {
                trial.control.record(end - begin);
            }
            _ => {}
        }
        end
    });
    trial
}

/// Does it in bursts until the end. It is told its turn, of which one is left out between bursts, and returns the time.
fn bursts(signals: &Signals, mut one: impl FnMut(usize) -> Instant) {
    let mut turn = 0;
    while !signals.end.load(Ordering::Relaxed) {
        let until = Instant::now() + BURST;
        loop {
            turn += 1;
            if one(turn) >= until {
                break;
            }
        }
        turn += 1;
        thread::sleep(PAUSE);
    }
}
