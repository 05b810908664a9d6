//! S3-FIFO: a small queue of a tenth, through which newcomers go; who was asked for twice goes on to the main queue, the
//! others are only remembered, and go there at once if they come again. The main queue reinserts up to three times.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Entry, Policy};

const MOST: u8 = 3;

#[derive(Clone, Copy, Debug)]
struct Held {
    asked: u8,
    in_main: bool,
}

#[derive(Debug)]
pub(in super::super) struct S3Fifo {
    capacity: usize,
    held: HashMap<u64, Held>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    /// Sessions in the small queue, without those that were removed.
    in_small: usize,
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
}

impl S3Fifo {
    fn small_share(&self) -> usize {
        (self.capacity / 10).max(1)
    }

    fn evict(&mut self) {
        let in_main = self.held.len() - self.in_small;
        if self.in_small >= self.small_share() || in_main == 0 {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(id) = self.small.pop_front() {
            let Some(held) = self.held.get_mut(&id).filter(|held| !held.in_main) else {
                continue;
            };
            self.in_small -= 1;
            if held.asked > 1 {
                *held = Held {
                    asked: 0,
                    in_main: true,
                };
                self.main.push_back(id);
                continue;
            }
            self.held.remove(&id);
            self.remember(id);
            return;
        }
        self.evict_main();
    }

    fn evict_main(&mut self) {
        while let Some(id) = self.main.pop_front() {
            match self.held.get_mut(&id) {
                Some(held) if held.asked > 0 => {
                    held.asked -= 1;
                    self.main.push_back(id);
                }
                Some(_) => {
                    self.held.remove(&id);
                    return;
                }
                None => {}
            }
        }
    }

    fn remember(&mut self, id: u64) {
        self.ghosts.insert(id);
        self.ghost_order.push_back(id);
        if self.ghost_order.len() > self.capacity
            && let Some(oldest) = self.ghost_order.pop_front()
        {
            self.ghosts.remove(&oldest);
        }
    }
}

impl Policy for S3Fifo {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            held: HashMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            in_small: 0,
            ghosts: HashSet::new(),
            ghost_order: VecDeque::new(),
        }
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        match self.held.get_mut(&id) {
            Some(held) => {
                held.asked = (held.asked + 1).min(MOST);
                true
            }
            None => false,
        }
    }

    fn add(&mut self, entry: Entry) {
        while self.held.len() >= self.capacity {
            self.evict();
        }
        let in_main = self.ghosts.remove(&entry.id);
        let held = Held { asked: 0, in_main };
        self.held.insert(entry.id, held);
        if in_main {
            self.main.push_back(entry.id);
        } else {
            self.small.push_back(entry.id);
            self.in_small += 1;
        }
    }

    fn remove(&mut self, id: u64) -> bool {
        match self.held.remove(&id) {
            Some(held) => {
                self.in_small -= usize::from(!held.in_main);
                true
            }
            None => false,
        }
    }

    fn len(&self) -> usize {
        self.held.len()
    }
}
