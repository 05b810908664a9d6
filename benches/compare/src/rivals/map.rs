//! What keeps payloads by id, and so is nearly a cache: what all of these do alike is written here, once.

use crate::cache::{Cache, Id, Need, Payload, Setup};

/// A map, or a cache that is used like one.
pub(crate) trait Map: Send + Sync + Sized + 'static {
    /// As [`Cache::NAME`].
    const NAME: &'static str;
    /// As [`Cache::LACKS`].
    const LACKS: &'static [(Need, &'static str)];
    /// Whether it shows a payload without cloning it.
    const LENDS: bool = true;
    /// As [`Cache::SHRINKS`].
    const SHRINKS: bool = false;

    fn build(setup: &Setup) -> Self;

    /// The first byte of the payload, which is not cloned.
    fn first(&self, _key: &Id) -> Option<u8> {
        unreachable!("{} does not lend", Self::NAME)
    }

    fn get(&self, key: &Id) -> Option<Payload>;

    fn remove(&self, _key: &Id) -> Option<Payload> {
        unreachable!("{} has no take", Self::NAME)
    }

    fn insert(&self, id: Id, payload: Payload);
    fn len(&self) -> usize;
    /// With what is left to finish.
    fn clear(&self);

    /// Does what it has put off, or a part of it.
    fn tidy(&self) {}

    fn shrink(&self, _capacity: usize) {
        unreachable!("{} keeps its capacity", Self::NAME)
    }
}

/// What maps lack that are no more than that.
pub(super) const NO_CACHE: &[(Need, &str)] = &[
    (Need::Evict, "a map: no eviction, no expiry"),
    (Need::Listen, "a map: no callbacks"),
];

impl<M: Map> Cache for M {
    const NAME: &'static str = <M as Map>::NAME;
    const LACKS: &'static [(Need, &'static str)] = <M as Map>::LACKS;
    const CLEARS: bool = true;
    const SHRINKS: bool = <M as Map>::SHRINKS;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        <M as Map>::build(setup)
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.first(key)
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.get(key)?;
        Some(payload[0])
    }

    #[inline]
    fn see(&self, (): &mut (), key: &Id) -> Option<u8> {
        match M::LENDS {
            true => self.lend(&mut (), key),
            false => self.own(&mut (), key),
        }
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.remove(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.insert(id, payload.into());
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(Map::len(self))
    }

    /// Some work in batches, so that one call may leave some.
    fn settle(&self) {
        loop {
            let before = Map::len(self);
            self.tidy();
            if Map::len(self) == before {
                return;
            }
        }
    }

    fn clear(&self, (): &mut ()) {
        Map::clear(self);
        self.settle();
    }

    fn shrink(&self, capacity: usize) {
        Map::shrink(self, capacity);
    }
}
