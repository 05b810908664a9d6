//! One thread's part in a workload, against one rival: what it remembers from slice to slice, and the loops.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::{Cache, Id, Key, Need, Setup, lacks};
use crate::random::Random;
use crate::workload::{Access, Action};
use crate::zipf::{EXPONENT, Zipf};

/// How often a loop looks whether its time is over.
const STRIDE: u64 = 64;
/// How many clients are chosen beforehand, again and again the same.
const RANKS: usize = 1 << 16;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// In the workload's unit.
    pub(crate) operations: u64,
    pub(crate) lookups: u64,
    pub(crate) hits: u64,
    pub(crate) adds: u64,
    /// Adds that were accepted.
    pub(crate) kept: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.lookups += other.lookups;
        self.hits += other.hits;
        self.adds += other.adds;
        self.kept += other.kept;
    }
}

/// What a thread adds and asks for again.
struct Memory<K> {
    /// Sessions that it may ask for.
    known: Vec<K>,
    /// The one that the next add replaces.
    next: usize,
    /// Everything that is in a map which doesn't evict: the thread removes its oldest itself. Else empty.
    all: Vec<K>,
    oldest: usize,
    /// Who comes back, in this order.
    ranks: Vec<u32>,
}

/// The thread's part.
pub(crate) struct Hand<C: Cache> {
    pub(crate) local: C::Local,
    random: Random,
    payload: Arc<[u8]>,
    memory: Memory<C::Key>,
    /// Where it is in the course, or among the ranks.
    place: usize,
}

impl<C: Cache> Hand<C> {
    /// A part that only looks up. `place` is where it starts.
    pub(crate) fn looking(cache: &C, place: usize) -> Self {
        Self {
            local: cache.local(),
            random: Random::new(0, 0),
            payload: Arc::from([]),
            memory: Memory {
                known: Vec::new(),
                next: 0,
                all: Vec::new(),
                oldest: 0,
                ranks: Vec::new(),
            },
            place,
        }
    }

    /// A part that adds. It fills its share of the cache.
    pub(crate) fn changing(
        cache: &C,
        setup: &Setup,
        action: Action,
        seed: u64,
        thread: usize,
    ) -> Self {
        let share = setup.capacity / setup.threads;
        let mut random = Random::new(seed, thread as u64 + 1);
        // So few that hardly any of them has been evicted when it is asked for.
        let (known, ranks) = match action {
            Action::Tickets => (share / 8, Vec::new()),
            Action::Returns => {
                let clients = 2 * share;
                let ranks = Zipf::new(clients, EXPONENT).ranks(&mut random, RANKS);
                (clients, ranks)
            }
            _ => (share * 3 / 4, Vec::new()),
        };
        let evicts = lacks::<C>(Need::Evict).is_none();
        let mut hand = Self {
            local: cache.local(),
            payload: vec![0x5a; setup.payload].into(),
            memory: Memory {
                known: (0..known).map(|_| C::Key::of(random.id())).collect(),
                next: 0,
                all: match evicts {
                    true => Vec::new(),
                    false => (0..share).map(|_| C::Key::of(random.id())).collect(),
                },
                oldest: 0,
                ranks,
            },
            random,
            place: 0,
        };
        // Nobody is known yet who could return; all others start at capacity.
        for n in 0..share {
            let (key, _) = hand.add(cache);
            if action != Action::Returns && share - n <= known {
                hand.memory.remember(key);
            }
        }
        hand
    }

    /// Adds a new session.
    #[inline]
    fn add(&mut self, cache: &C) -> (C::Key, bool) {
        let id: Id = self.random.id();
        let key = C::Key::of(id);
        let kept = cache.add(&mut self.local, id, &self.payload);
        if let Some(oldest) = self.memory.push_out(key) {
            black_box(cache.take(&mut self.local, &oldest));
        }
        (key, kept)
    }

    /// Looks up along a course until it is told to stop.
    pub(crate) fn look(
        &mut self,
        cache: &C,
        course: &[C::Key],
        access: Access,
        stop: &AtomicBool,
    ) -> Tally {
        let mask = course.len() - 1;
        let (local, place, mut hits) = (&mut self.local, &mut self.place, 0);
        macro_rules! go {
            ($how:ident) => {
                until(stop, || {
                    let key = &course[*place & mask];
                    *place += 1;
                    hits += u64::from(black_box(cache.$how(local, key)).is_some());
                })
            };
        }
        let lookups = match access {
            Access::Lend => go!(lend),
            Access::Own => go!(own),
            Access::See => go!(see),
        };
        Tally {
            operations: lookups,
            lookups,
            hits,
            ..Tally::default()
        }
    }

    /// Does what changes the cache until it is told to stop.
    pub(crate) fn change(&mut self, cache: &C, action: Action, stop: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        tally.operations = match action {
            Action::Mix(adds) => until(stop, || self.mix(cache, adds, &mut tally)),
            Action::Tickets => until(stop, || self.tickets(cache, &mut tally)),
            Action::Returns => until(stop, || self.returns(cache, &mut tally)),
            Action::Look(..) => 0,
        };
        tally
    }

    #[inline]
    fn mix(&mut self, cache: &C, adds: u32, tally: &mut Tally) {
        if (self.random.below(100) as u32) < adds {
            let (key, kept) = self.add(cache);
            self.memory.remember(key);
            tally.adds += 1;
            tally.kept += u64::from(kept);
        } else {
            let n = self.random.below(self.memory.known.len());
            let found = cache.find(&mut self.local, &self.memory.known[n]);
            tally.lookups += 1;
            tally.hits += u64::from(black_box(found).is_some());
        }
    }

    #[inline]
    fn tickets(&mut self, cache: &C, tally: &mut Tally) {
        let n = self.random.below(self.memory.known.len());
        let taken = cache.take(&mut self.local, &self.memory.known[n]);
        let (used, first) = self.add(cache);
        self.memory.known[n] = used;
        let (_, second) = self.add(cache);
        tally.lookups += 1;
        tally.hits += u64::from(black_box(taken).is_some());
        tally.adds += 2;
        tally.kept += u64::from(first) + u64::from(second);
    }

    #[inline]
    fn returns(&mut self, cache: &C, tally: &mut Tally) {
        let client = self.memory.ranks[self.place % RANKS] as usize;
        self.place += 1;
        tally.lookups += 1;
        if black_box(cache.find(&mut self.local, &self.memory.known[client])).is_some() {
            tally.hits += 1;
        } else {
            let (key, kept) = self.add(cache);
            self.memory.known[client] = key;
            tally.adds += 1;
            tally.kept += u64::from(kept);
        }
    }
}

impl<K: Copy> Memory<K> {
    /// Will ask for this one, instead of the oldest known.
    #[inline]
    fn remember(&mut self, key: K) {
        self.known[self.next] = key;
        self.next = if self.next + 1 == self.known.len() {
            0
        } else {
            self.next + 1
        };
    }

    /// The one that has to leave a map for this one.
    #[inline]
    fn push_out(&mut self, key: K) -> Option<K> {
        if self.all.is_empty() {
            return None;
        }
        let oldest = std::mem::replace(&mut self.all[self.oldest], key);
        self.oldest = if self.oldest + 1 == self.all.len() {
            0
        } else {
            self.oldest + 1
        };
        Some(oldest)
    }
}

/// Does it until it is told to stop; returns how often.
#[inline(always)]
fn until(stop: &AtomicBool, mut one: impl FnMut()) -> u64 {
    let mut times = 0;
    loop {
        for _ in 0..STRIDE {
            one();
        }
        times += STRIDE;
        if stop.load(Ordering::Relaxed) {
            return times;
        }
    }
}
