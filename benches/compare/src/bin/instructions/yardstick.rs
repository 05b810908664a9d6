//! The same of rivals, through the adapters that they are measured with. They build their sessions themselves, inside the
//! count, and free what they drop there, or later.

use std::hint::black_box;

use crate::cache::{Cache, Id, Key, Need, Setup, lacks};
use crate::random::Random;
use crate::rivals::{Visitor, visit};
use crate::{BATCH, LIVE, PAYLOAD, counted};

pub(crate) const SUBJECTS: [&str; 4] = ["private-map", "papaya", "quick_cache", "dashmap"];

/// In this order, each with what it needs.
const OPERATIONS: [(&str, Option<Need>); 7] = [
    ("with", Some(Need::Lend)),
    ("get", Some(Need::Own)),
    ("miss", None),
    ("add-new", None),
    ("add-full-new", None),
    ("replace-new", None),
    ("take", Some(Need::Take)),
];

/// What this one can do. One that does not evict is helped: the oldest is removed after each add.
pub(crate) fn operations(subject: &str) -> Vec<&'static str> {
    let mut able = Able(Vec::new());
    visit(subject, &mut able);
    able.0
}

struct Able(Vec<&'static str>);

impl Visitor for Able {
    fn visit<C: Cache>(&mut self) {
        let able = |(_, need): &&(&str, Option<Need>)| need.and_then(lacks::<C>).is_none();
        self.0 = OPERATIONS
            .iter()
            .filter(able)
            .map(|(name, _)| *name)
            .collect();
    }
}

/// How many operations were counted; none if there is no such thing.
pub(crate) fn run(subject: &str, operation: &str, batches: usize) -> Option<usize> {
    if !SUBJECTS.contains(&subject) || !operations(subject).contains(&operation) {
        return None;
    }
    let mut counting = Counting { operation, batches };
    visit(subject, &mut counting).then_some(batches * BATCH)
}

struct Counting<'a> {
    operation: &'a str,
    batches: usize,
}

impl Visitor for Counting<'_> {
    fn visit<C: Cache>(&mut self) {
        let full = self.operation == "add-full-new";
        let mut it = Filled::<C>::new(if full { LIVE } else { 2 * LIVE });
        for number in 0..self.batches {
            it.batch(self.operation, number);
        }
    }
}

/// A rival with sessions in it.
struct Filled<C: Cache> {
    cache: C,
    local: C::Local,
    random: Random,
    /// The oldest first.
    ids: Vec<Id>,
}

impl<C: Cache> Filled<C> {
    fn new(capacity: usize) -> Self {
        let cache = C::build(&Setup::new(capacity, PAYLOAD.len(), 1));
        let mut filled = Self {
            local: cache.local(),
            cache,
            random: Random::new(1, 0),
            ids: Vec::new(),
        };
        filled.fill(LIVE);
        filled
    }

    fn fill(&mut self, sessions: usize) {
        for _ in 0..sessions {
            let id = self.random.id();
            assert!(self.cache.add(&mut self.local, id, &PAYLOAD));
            self.ids.push(id);
        }
        self.cache.settle();
    }

    fn batch(&mut self, operation: &str, number: usize) {
        let begin = number * BATCH % LIVE;
        let there: Vec<Id> = self.ids[begin..begin + BATCH].to_vec();
        match operation {
            "with" => self.look(&there, C::lend, BATCH),
            "get" => self.look(&there, C::own, BATCH),
            "miss" => {
                let absent: Vec<Id> = (0..BATCH).map(|_| self.random.id()).collect();
                self.look(&absent, C::see, 0);
            }
            "take" => {
                let oldest: Vec<Id> = self.ids.drain(..BATCH).collect();
                self.look(&oldest, C::take, BATCH);
                self.fill(BATCH);
            }
            "replace-new" => self.add(&there, &[]),
            "add-new" => {
                let new: Vec<Id> = (0..BATCH).map(|_| self.random.id()).collect();
                self.add(&new, &[]);
                for id in &new {
                    black_box(self.cache.take(&mut self.local, &C::Key::of(*id)));
                }
            }
            _ => {
                let new: Vec<Id> = (0..BATCH).map(|_| self.random.id()).collect();
                let mut oldest: Vec<Id> = self.ids.drain(..BATCH).collect();
                self.ids.extend(&new);
                if lacks::<C>(Need::Evict).is_none() {
                    oldest.clear();
                }
                self.add(&new, &oldest);
            }
        }
        self.cache.settle();
    }

    fn look(
        &mut self,
        ids: &[Id],
        how: impl Fn(&C, &mut C::Local, &C::Key) -> Option<u8>,
        there: usize,
    ) {
        let keys: Vec<C::Key> = ids.iter().map(|id| C::Key::of(*id)).collect();
        let (cache, local, mut found) = (&self.cache, &mut self.local, 0);
        counted(BATCH, |n| {
            found += usize::from(black_box(how(cache, local, &keys[n])).is_some())
        });
        assert_eq!(found, there);
    }

    /// Adds these, and removes those, if any, one after each.
    fn add(&mut self, new: &[Id], old: &[Id]) {
        let old: Vec<C::Key> = old.iter().map(|id| C::Key::of(*id)).collect();
        let (cache, local, mut kept) = (&self.cache, &mut self.local, 0);
        counted(BATCH, |n| {
            kept += usize::from(cache.add(local, new[n], &PAYLOAD));
            if let Some(oldest) = old.get(n) {
                black_box(cache.take(local, oldest));
            }
        });
        assert_eq!(kept, BATCH);
    }
}
