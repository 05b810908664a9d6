//! dashmap: hash tables behind reader-writer locks, four for each core.

use dashmap::DashMap;

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

pub(crate) struct Dashmap(DashMap<Id, Payload, Hashing>);

impl Cache for Dashmap {
    const NAME: &'static str = "dashmap";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Evict, "a map: no eviction, no expiry"),
        (Need::Listen, "a map: no callbacks"),
    ];
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(DashMap::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.0.get(key).map(|payload| payload[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.0.get(key).map(|payload| payload.clone())?;
        Some(payload[0])
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
}
