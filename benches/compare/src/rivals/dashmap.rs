//! dashmap: hash tables behind reader-writer locks, four for each core.

use dashmap::DashMap;

use super::map::{Map, NO_CACHE};
use crate::cache::{Hashing, Id, Need, Payload, Setup};

pub(crate) struct Dashmap(DashMap<Id, Payload, Hashing>);

impl Map for Dashmap {
    const NAME: &'static str = "dashmap";
    const LACKS: &'static [(Need, &'static str)] = NO_CACHE;

    fn build(setup: &Setup) -> Self {
        Self(DashMap::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    #[inline]
    fn first(&self, key: &Id) -> Option<u8> {
        self.0.get(key).map(|payload| payload[0])
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.get(key).map(|payload| payload.clone())
    }

    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        self.0.remove(key).map(|(_, payload)| payload)
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        self.0.insert(id, payload);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn clear(&self) {
        self.0.clear();
    }
}
