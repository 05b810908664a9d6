//! A rival that is ready to be measured, with the hands of all its threads; the loops inside know its type.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::{Cache, Course, Id, Key, Need, Setup, lacks};
use crate::hand::{Hand, Tally};
use crate::random::Random;
use crate::rivals::{Visitor, visit};
use crate::workload::{Action, Line};
use crate::zipf::{EXPONENT, Zipf};

/// A rival, whatever its type.
pub(crate) trait Contestant: Send + Sync {
    fn name(&self) -> &'static str;
    /// Why it can't take part, if it can't.
    fn lacks(&self, action: Action, threads: usize) -> Option<&'static str>;
    /// Whether the threads have to remove what is too much.
    fn is_helped(&self, action: Action) -> bool;
    /// Does its thread's part until it is told to stop.
    fn run(&self, thread: usize, action: Action, stop: &AtomicBool) -> Tally;
    fn settle(&self);
}

/// The sessions that are looked up, and in which order.
pub(crate) struct Courses {
    pub(crate) ids: Vec<Id>,
    uniform: Arc<Course>,
    zipf: Arc<Course>,
    absent: Arc<Course>,
    hot: Arc<Course>,
}

/// A course is at least so long, and then as long as it takes to see (nearly) all ids.
const SHORTEST: usize = 1 << 16;
const HOT: usize = 64;

impl Courses {
    pub(crate) fn new(live: usize, seed: u64) -> Arc<Self> {
        let mut random = Random::new(seed, 0);
        let ids: Vec<Id> = (0..live).map(|_| random.id()).collect();
        let len = SHORTEST.max(live.next_power_of_two());
        let uniform = (0..len).map(|_| ids[random.below(live)]).collect();
        // Who is popular is not a matter of when it came.
        let mut ranked = ids.clone();
        random.shuffle(&mut ranked);
        let law = Zipf::new(live, EXPONENT);
        let zipf = (0..len).map(|_| ranked[law.rank(&mut random)]).collect();
        let absent = (0..len).map(|_| random.id()).collect();
        Arc::new(Self {
            uniform: Course::new(uniform),
            zipf: Course::new(zipf),
            absent: Course::new(absent),
            hot: Course::new(vec![ranked[0]; HOT]),
            ids,
        })
    }

    fn line(&self, line: Line) -> &Arc<Course> {
        match line {
            Line::Uniform => &self.uniform,
            Line::Zipf => &self.zipf,
            Line::Absent => &self.absent,
            Line::Hot => &self.hot,
        }
    }
}

struct Contest<C: Cache> {
    cache: C,
    hands: Vec<Mutex<Hand<C>>>,
    courses: Option<Arc<Courses>>,
}

impl<C: Cache> Contestant for Contest<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn lacks(&self, action: Action, threads: usize) -> Option<&'static str> {
        reason::<C>(action).or_else(|| {
            (threads > self.hands.len()).then_some("takes too much memory on so many threads")
        })
    }

    fn is_helped(&self, action: Action) -> bool {
        action.writes() && lacks::<C>(Need::Evict).is_some()
    }

    fn run(&self, thread: usize, action: Action, stop: &AtomicBool) -> Tally {
        let mut hand = self.hands[thread]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match (action, &self.courses) {
            (Action::Look(line, access), Some(courses)) => {
                let course = C::Key::pick(courses.line(line));
                hand.look(&self.cache, course, access, stop)
            }
            _ => hand.change(&self.cache, action, stop),
        }
    }

    fn settle(&self) {
        self.cache.settle();
    }
}

/// Why a rival can't take part in this, if it can't.
fn reason<C: Cache>(action: Action) -> Option<&'static str> {
    if let Some(why) = action.need().and_then(lacks::<C>) {
        return Some(why);
    }
    // Who doesn't evict needs somebody who removes.
    if action.writes() && lacks::<C>(Need::Evict).is_some() {
        return lacks::<C>(Need::Take);
    }
    None
}

/// A rival with sessions to look up.
pub(crate) fn looking(
    name: &str,
    courses: &Arc<Courses>,
    payload: usize,
    threads: usize,
    memory: usize,
) -> Result<Arc<dyn Contestant>, String> {
    let mut builder = Looking {
        courses,
        payload,
        threads,
        memory,
        built: None,
    };
    visit(name, &mut builder);
    builder
        .built
        .unwrap_or_else(|| Err(format!("no rival {name}")))
}

struct Looking<'a> {
    courses: &'a Arc<Courses>,
    payload: usize,
    threads: usize,
    /// What a rival with sessions for each thread may take.
    memory: usize,
    built: Option<Result<Arc<dyn Contestant>, String>>,
}

impl Visitor for Looking<'_> {
    fn visit<C: Cache>(&mut self) {
        let live = self.courses.ids.len();
        // With room, so that nothing is evicted where capacity is shared out among shards.
        let mut setup = Setup::new(live * 5 / 4, self.payload, self.threads);
        let shares = lacks::<C>(Need::Share).is_none();
        let hands = if shares {
            self.threads
        } else {
            let each = live * footprint(self.payload);
            self.threads.min((self.memory / each).max(1))
        };
        if !shares {
            setup.capacity *= self.threads;
        }
        let cache = C::build(&setup);
        let payload = vec![0x5a; self.payload];
        // Threads start at different places of the course.
        let mut hands: Vec<_> = (0..hands)
            .map(|n| Hand::looking(&cache, n * 7919))
            .collect();
        let full = if shares { 1 } else { hands.len() };
        for hand in &mut hands[..full] {
            for id in &self.courses.ids {
                cache.add(&mut hand.local, *id, &payload);
            }
        }
        cache.settle();
        let found = |hand: &mut Hand<C>| {
            let there = |id: &&Id| cache.see(&mut hand.local, &C::Key::of(**id)).is_some();
            self.courses.ids.iter().filter(there).count()
        };
        let wrong = hands.iter_mut().map(found).find(|found| *found != live);
        self.built = Some(match wrong {
            Some(found) => Err(format!("{}: finds {found} of {live} sessions", C::NAME)),
            None => Ok(Arc::new(Contest {
                cache,
                hands: hands.into_iter().map(Mutex::new).collect(),
                courses: Some(Arc::clone(self.courses)),
            })),
        });
    }
}

/// About what a session takes, with what is around it, wherever it is: for planning only.
pub(crate) fn footprint(payload: usize) -> usize {
    payload + 512
}

/// A rival at its capacity, to which something is going to be done.
pub(crate) fn changing(
    name: &str,
    action: Action,
    setup: Setup,
    seed: u64,
) -> Result<Arc<dyn Contestant>, &'static str> {
    let mut builder = Changing {
        action,
        setup,
        seed,
        built: Err("no rival of this name"),
    };
    visit(name, &mut builder);
    builder.built
}

struct Changing {
    action: Action,
    setup: Setup,
    seed: u64,
    built: Result<Arc<dyn Contestant>, &'static str>,
}

impl Visitor for Changing {
    fn visit<C: Cache>(&mut self) {
        if let Some(why) = reason::<C>(self.action) {
            self.built = Err(why);
            return;
        }
        let cache = C::build(&self.setup);
        let hands = (0..self.setup.threads)
            .map(|thread| {
                let hand = Hand::changing(&cache, &self.setup, self.action, self.seed, thread);
                Mutex::new(hand)
            })
            .collect();
        cache.settle();
        self.built = Ok(Arc::new(Contest {
            cache,
            hands,
            courses: None,
        }));
    }
}
