//! Belady's: who will be asked for last goes first, the newcomer included. It knows the future; nobody can do better.

use std::collections::{BTreeSet, HashMap};

use super::super::traffic::NEVER;
use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Belady {
    capacity: usize,
    /// By when they will be asked for.
    order: BTreeSet<(u32, u64)>,
    known: HashMap<u64, Entry>,
}

/// When it will be found, if it is still there.
fn wanted(entry: &Entry) -> u32 {
    if entry.next > entry.deadline {
        NEVER
    } else {
        entry.next
    }
}

impl Policy for Belady {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: BTreeSet::new(),
            known: HashMap::new(),
        }
    }

    fn touch(&mut self, id: u64, next: u32) -> bool {
        let Some(entry) = self.known.get_mut(&id) else {
            return false;
        };
        self.order.remove(&(wanted(entry), id));
        entry.next = next;
        self.order.insert((wanted(entry), id));
        true
    }

    fn add(&mut self, entry: Entry) {
        self.order.insert((wanted(&entry), entry.id));
        self.known.insert(entry.id, entry);
        if self.known.len() > self.capacity
            && let Some((_, id)) = self.order.pop_last()
        {
            self.known.remove(&id);
        }
    }

    fn remove(&mut self, id: u64) -> bool {
        match self.known.remove(&id) {
            Some(entry) => self.order.remove(&(wanted(&entry), id)),
            None => false,
        }
    }

    fn len(&self) -> usize {
        self.known.len()
    }
}
