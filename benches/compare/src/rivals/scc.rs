//! scc's two maps: `HashMap`, with locks in its buckets, and `HashIndex`, whose readers take none.

use super::map::{self, NO_CACHE};
use crate::cache::{Hashing, Id, Need, Payload, Setup};

pub(crate) struct Map(scc::HashMap<Id, Payload, Hashing>);

impl map::Map for Map {
    const NAME: &'static str = "scc-map";
    const LACKS: &'static [(Need, &'static str)] = NO_CACHE;

    fn build(setup: &Setup) -> Self {
        Self(scc::HashMap::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    #[inline]
    fn first(&self, key: &Id) -> Option<u8> {
        self.0.read_sync(key, |_, payload| payload[0])
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.read_sync(key, |_, payload| payload.clone())
    }

    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        self.0.remove_sync(key).map(|(_, payload)| payload)
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        self.0.upsert_sync(id, payload);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn clear(&self) {
        self.0.clear_sync();
    }
}

pub(crate) struct Index(scc::HashIndex<Id, Payload, Hashing>);

impl map::Map for Index {
    const NAME: &'static str = "scc-index";
    const LACKS: &'static [(Need, &'static str)] = NO_CACHE;

    fn build(setup: &Setup) -> Self {
        Self(scc::HashIndex::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    #[inline]
    fn first(&self, key: &Id) -> Option<u8> {
        self.0.peek_with(key, |_, payload| payload[0])
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.peek_with(key, |_, payload| payload.clone())
    }

    /// A look and a removal, of which one caller's succeeds.
    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        let payload = self.get(key)?;
        self.0.remove_sync(key).then_some(payload)
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        let mut new = (id, payload);
        // Ids are new, but for once in the check before everything.
        while let Err(back) = self.0.insert_sync(new.0, new.1) {
            self.0.remove_sync(&back.0);
            new = back;
        }
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn clear(&self) {
        self.0.clear_sync();
    }
}
