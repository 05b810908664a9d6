//! One map behind one mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

type Map = HashMap<Id, Payload, Hashing>;

pub(crate) struct Mutexed(Mutex<Map>);

impl Mutexed {
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache for Mutexed {
    const NAME: &'static str = "mutexed-map";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Evict, "a map: no eviction, no expiry"),
        (Need::Listen, "a map: no callbacks"),
    ];
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        let map = Map::with_capacity_and_hasher(setup.capacity, Hashing::new());
        Self(Mutex::new(map))
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.lock().get(key).map(|payload| payload[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.lock().get(key).cloned()?;
        Some(payload[0])
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.lock().remove(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        let payload = Payload::from(payload);
        self.lock().insert(id, payload);
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.lock().len())
    }

    fn clear(&self, (): &mut ()) {
        self.lock().clear();
    }
}
