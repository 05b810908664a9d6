//! First in, first out.

use std::collections::{HashSet, VecDeque};

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Fifo {
    capacity: usize,
    known: HashSet<u64>,
    /// What was removed is still in here, and passed over.
    queue: VecDeque<u64>,
}

impl Policy for Fifo {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            known: HashSet::new(),
            queue: VecDeque::new(),
        }
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        self.known.contains(&id)
    }

    fn add(&mut self, entry: Entry) {
        while self.known.len() >= self.capacity {
            let Some(oldest) = self.queue.pop_front() else {
                break;
            };
            self.known.remove(&oldest);
        }
        self.known.insert(entry.id);
        self.queue.push_back(entry.id);
    }

    fn remove(&mut self, id: u64) -> bool {
        self.known.remove(&id)
    }

    fn len(&self) -> usize {
        self.known.len()
    }
}
