//! CLOCK, or FIFO with reinsertion: the oldest goes first, unless it was asked for since it last came up.

use std::collections::{HashMap, VecDeque};

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Clock {
    capacity: usize,
    /// Whether it was asked for.
    visited: HashMap<u64, bool>,
    queue: VecDeque<u64>,
}

impl Policy for Clock {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            visited: HashMap::new(),
            queue: VecDeque::new(),
        }
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        match self.visited.get_mut(&id) {
            Some(visited) => {
                *visited = true;
                true
            }
            None => false,
        }
    }

    fn add(&mut self, entry: Entry) {
        while self.visited.len() >= self.capacity {
            let Some(oldest) = self.queue.pop_front() else {
                break;
            };
            match self.visited.get_mut(&oldest) {
                Some(visited) if *visited => {
                    *visited = false;
                    self.queue.push_back(oldest);
                }
                Some(_) => {
                    self.visited.remove(&oldest);
                }
                None => {}
            }
        }
        self.visited.insert(entry.id, false);
        self.queue.push_back(entry.id);
    }

    fn remove(&mut self, id: u64) -> bool {
        self.visited.remove(&id).is_some()
    }

    fn len(&self) -> usize {
        self.visited.len()
    }
}
