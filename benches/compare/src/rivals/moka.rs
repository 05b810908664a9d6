//! moka: W-TinyLFU, expiry and a listener, all of it done by whoever uses it.

use moka::sync::Cache as MokaCache;

use super::map::Map;
use crate::cache::{Hashing, Id, Need, Payload, Setup, TIMEOUT, hear};

pub(crate) struct Moka(MokaCache<Id, Payload, Hashing>);

impl Map for Moka {
    const NAME: &'static str = "moka";
    const LACKS: &'static [(Need, &'static str)] = &[(Need::Lend, "hands out clones")];
    const LENDS: bool = false;

    fn build(setup: &Setup) -> Self {
        let mut builder = MokaCache::builder()
            .max_capacity(setup.capacity as u64)
            .initial_capacity(setup.capacity)
            .time_to_live(TIMEOUT);
        if let Some(nap) = setup.listener {
            builder = builder.eviction_listener(move |_, _, _| hear(nap));
        }
        Self(builder.build_with_hasher(Hashing::new()))
    }

    #[inline]
    fn get(&self, key: &Id) -> Option<Payload> {
        self.0.get(key)
    }

    #[inline]
    fn remove(&self, key: &Id) -> Option<Payload> {
        self.0.remove(key)
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

    /// What it has queued.
    fn tidy(&self) {
        self.0.run_pending_tasks();
    }
}
