//! mini-moka: moka's smaller sister, over dashmap.

use mini_moka::sync::{Cache as MiniMokaCache, ConcurrentCacheExt};

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup, TIMEOUT};

pub(crate) struct MiniMoka(MiniMokaCache<Id, Payload, Hashing>);

impl Cache for MiniMoka {
    const NAME: &'static str = "mini-moka";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Lend, "hands out clones"),
        (Need::Take, "a removal returns nothing"),
        (Need::Listen, "no callbacks"),
    ];
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(
            MiniMokaCache::builder()
                .max_capacity(setup.capacity as u64)
                .initial_capacity(setup.capacity)
                .time_to_live(TIMEOUT)
                .build_with_hasher(Hashing::new()),
        )
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
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.0.insert(id, payload.into());
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.0.entry_count() as usize)
    }

    fn settle(&self) {
        loop {
            let before = self.0.entry_count();
            self.0.sync();
            if self.0.entry_count() == before {
                return;
            }
        }
    }

    fn clear(&self, (): &mut ()) {
        self.0.invalidate_all();
        self.settle();
    }
}
