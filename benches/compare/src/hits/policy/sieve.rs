//! SIEVE: a hand goes from the oldest to the newest and evicts the first that was not asked for since it last passed.
//! Survivors stay where they are.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Sieve {
    capacity: usize,
    /// By the number of the add: the order, and who was asked for.
    order: BTreeMap<u64, (u64, bool)>,
    places: HashMap<u64, u64>,
    adds: u64,
    /// Everything below was passed in this round.
    hand: u64,
}

impl Sieve {
    fn evict(&mut self) {
        loop {
            let Some((&place, &(id, visited))) = self.order.range(self.hand..).next() else {
                if self.order.is_empty() {
                    return;
                }
                self.hand = 0;
                continue;
            };
            self.hand = place + 1;
            if !visited {
                self.order.remove(&place);
                self.places.remove(&id);
                return;
            }
            self.order.insert(place, (id, false));
        }
    }
}

impl Policy for Sieve {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: BTreeMap::new(),
            places: HashMap::new(),
            adds: 0,
            hand: 0,
        }
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        let Some(place) = self.places.get(&id) else {
            return false;
        };
        self.order.insert(*place, (id, true));
        true
    }

    fn add(&mut self, entry: Entry) {
        while self.places.len() >= self.capacity {
            self.evict();
        }
        self.order.insert(self.adds, (entry.id, false));
        self.places.insert(entry.id, self.adds);
        self.adds += 1;
    }

    fn remove(&mut self, id: u64) -> bool {
        match self.places.remove(&id) {
            Some(place) => self.order.remove(&place).is_some(),
            None => false,
        }
    }

    fn len(&self) -> usize {
        self.places.len()
    }
}
