//! papaya: a lock-free map, pinned for each operation.

use papaya::HashMap;

use super::map::{Map, NO_CACHE};
use crate::cache::{Hashing, Id, Need, Payload, Setup};

pub(crate) struct Papaya(HashMap<Id, Payload, Hashing>);

impl Map for Papaya {
    const NAME: &'static str = "papaya";
    const LACKS: &'static [(Need, &'static str)] = NO_CACHE;

    fn build(setup: &Setup) -> Self {
        Self(HashMap::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    #[inline]
    fn first(&self, key: &Id) -> Option<u8> {
        self.0.pin().get(key).map(|payload| payload[0])
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.pin().get(key).cloned()
    }

    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        self.0.pin().remove(key).cloned()
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        self.0.pin().insert(id, payload);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn clear(&self) {
        self.0.pin().clear();
    }
}
