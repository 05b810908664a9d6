//! One map behind one mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::map::{Map, NO_CACHE};
use crate::cache::{Hashing, Id, Need, Payload, Setup};

type Table = HashMap<Id, Payload, Hashing>;

pub(crate) struct Mutexed(Mutex<Table>);

impl Mutexed {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map for Mutexed {
    const NAME: &'static str = "mutexed-map";
    const LACKS: &'static [(Need, &'static str)] = NO_CACHE;

    fn build(setup: &Setup) -> Self {
        let table = Table::with_capacity_and_hasher(setup.capacity, Hashing::new());
        Self(Mutex::new(table))
    }

    #[inline]
    fn first(&self, key: &Id) -> Option<u8> {
        self.lock().get(key).map(|payload| payload[0])
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.lock().get(key).cloned()
    }

    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        self.lock().remove(key)
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        self.lock().insert(id, payload);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn clear(&self) {
        self.lock().clear();
    }
}
