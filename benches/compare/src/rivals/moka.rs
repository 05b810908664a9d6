//! moka: W-TinyLFU, expiry and a listener, all of it done by whoever uses it.

use moka::sync::Cache as MokaCache;

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup, TIMEOUT, hear};

pub(crate) struct Moka(MokaCache<Id, Payload, Hashing>);

impl Cache for Moka {
    const NAME: &'static str = "moka";
    const LACKS: &'static [(Need, &'static str)] = &[(Need::Lend, "hands out clones")];
    const CLEARS: bool = true;

    type Key = Id;
    type Local = ();

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
        let payload = self.0.remove(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.0.insert(id, payload.into());
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.0.entry_count() as usize)
    }

    /// What it has queued. It works in batches, so that one call may leave some.
    fn settle(&self) {
        loop {
            let before = self.0.entry_count();
            self.0.run_pending_tasks();
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
