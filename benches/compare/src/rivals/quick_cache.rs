//! quick_cache: sharded, locked, CLOCK-like eviction, no expiry.

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as Quick, DefaultLifecycle};

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

pub(crate) struct QuickCache(Quick<Id, Payload, UnitWeighter, Hashing>);

impl Cache for QuickCache {
    const NAME: &'static str = "quick_cache";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Lend, "hands out clones"),
        (
            Need::Listen,
            "no callback when a session expires: nothing does",
        ),
    ];
    const CLEARS: bool = true;
    const SHRINKS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(Quick::with(
            setup.capacity,
            setup.capacity as u64,
            UnitWeighter,
            Hashing::new(),
            DefaultLifecycle::default(),
        ))
    }

    fn local(&self) {}

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.0.get(key)?;
        Some(payload[0])
    }

    #[inline]
    fn see(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.own(&mut (), key)
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let (_, payload) = self.0.remove(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.0.insert(id, payload.into());
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.0.len())
    }

    fn clear(&self, (): &mut ()) {
        self.0.clear();
    }

    fn shrink(&self, capacity: usize) {
        self.0.set_capacity(capacity as u64);
    }
}
