//! quick_cache: sharded, locked, CLOCK-like eviction, no expiry.

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as Quick, DefaultLifecycle};

use super::map::Map;
use crate::cache::{Hashing, Id, Need, Payload, Setup};

pub(crate) struct QuickCache(Quick<Id, Payload, UnitWeighter, Hashing>);

impl Map for QuickCache {
    const NAME: &'static str = "quick_cache";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Lend, "hands out clones"),
        (
            Need::Listen,
            "no callback when a session expires: nothing does",
        ),
    ];
    const LENDS: bool = false;
    const SHRINKS: bool = true;

    fn build(setup: &Setup) -> Self {
        Self(Quick::with(
            setup.capacity,
            setup.capacity as u64,
            UnitWeighter,
            Hashing::new(),
            DefaultLifecycle::default(),
        ))
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.get(key)
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

    fn shrink(&self, capacity: usize) {
        self.0.set_capacity(capacity as u64);
    }
}
