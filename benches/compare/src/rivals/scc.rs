//! scc's two maps: `HashMap`, with locks in its buckets, and `HashIndex`, whose readers take none.

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

const LACKS: &[(Need, &str)] = &[
    (Need::Evict, "a map: no eviction, no expiry"),
    (Need::Listen, "a map: no callbacks"),
];

pub(crate) struct Map(scc::HashMap<Id, Payload, Hashing>);

impl Cache for Map {
    const NAME: &'static str = "scc-map";
    const LACKS: &'static [(Need, &'static str)] = LACKS;
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(scc::HashMap::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.0.read_sync(key, |_, payload| payload[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.0.read_sync(key, |_, payload| payload.clone())?;
        Some(payload[0])
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let (_, payload) = self.0.remove_sync(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.0.upsert_sync(id, payload.into());
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.0.len())
    }

    fn clear(&self, (): &mut ()) {
        self.0.clear_sync();
    }
}

pub(crate) struct Index(scc::HashIndex<Id, Payload, Hashing>);

impl Cache for Index {
    const NAME: &'static str = "scc-index";
    const LACKS: &'static [(Need, &'static str)] = LACKS;
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(scc::HashIndex::with_capacity_and_hasher(
            setup.capacity,
            Hashing::new(),
        ))
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.0.peek_with(key, |_, payload| payload[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.0.peek_with(key, |_, payload| payload.clone())?;
        Some(payload[0])
    }

    /// A look and a removal, of which one caller's succeeds.
    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.0.peek_with(key, |_, payload| payload.clone())?;
        self.0.remove_sync(key).then_some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        // Ids are new, but for once in the check before everything.
        if let Err((id, payload)) = self.0.insert_sync(id, payload.into()) {
            self.0.remove_sync(&id);
            return self.0.insert_sync(id, payload).is_ok();
        }
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.0.len())
    }

    fn clear(&self, (): &mut ()) {
        self.0.clear_sync();
    }
}
