//! mini-moka: moka's smaller sister, over dashmap.

use mini_moka::sync::{Cache as MiniMokaCache, ConcurrentCacheExt};

use super::map::Map;
use crate::cache::{Hashing, Id, Need, Payload, Setup, TIMEOUT};

pub(crate) struct MiniMoka(MiniMokaCache<Id, Payload, Hashing>);

impl Map for MiniMoka {
    const NAME: &'static str = "mini-moka";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Lend, "hands out clones"),
        (Need::Take, "a removal returns nothing"),
        (Need::Listen, "no callbacks"),
    ];
    const LENDS: bool = false;

    fn build(setup: &Setup) -> Self {
        Self(
            MiniMokaCache::builder()
                .max_capacity(setup.capacity as u64)
                .initial_capacity(setup.capacity)
                .time_to_live(TIMEOUT)
                .build_with_hasher(Hashing::new()),
        )
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.get(key)
    }

    #[inline]
    fn insert(&self, id: Id, payload: Payload) {
        self.0.insert(id, payload);
    }

    fn len(&self) -> usize {
        self.0.entry_count() as usize
    }

    fn clear(&self) {
        self.0.invalidate_all();
    }

    fn tidy(&self) {
        self.0.sync();
    }
}
