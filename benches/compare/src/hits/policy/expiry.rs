//! OpenSSL's: the soonest to expire goes first, and of several the oldest.

use std::collections::{BTreeMap, HashMap};

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct SoonestToExpire {
    capacity: usize,
    order: BTreeMap<(u32, u64), u64>,
    places: HashMap<u64, (u32, u64)>,
    adds: u64,
}

impl Policy for SoonestToExpire {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: BTreeMap::new(),
            places: HashMap::new(),
            adds: 0,
        }
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        self.places.contains_key(&id)
    }

    fn add(&mut self, entry: Entry) {
        while self.places.len() >= self.capacity {
            let Some((_, id)) = self.order.pop_first() else {
                break;
            };
            self.places.remove(&id);
        }
        let place = (entry.deadline, self.adds);
        self.adds += 1;
        self.order.insert(place, entry.id);
        self.places.insert(entry.id, place);
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
