//! No eviction at all: what could be reached, and how many sessions that takes.

use std::collections::HashSet;

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Unlimited(HashSet<u64>);

impl Policy for Unlimited {
    fn new(_: usize) -> Self {
        Self(HashSet::new())
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        self.0.contains(&id)
    }

    fn add(&mut self, entry: Entry) {
        self.0.insert(entry.id);
    }

    fn remove(&mut self, id: u64) -> bool {
        self.0.remove(&id)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
