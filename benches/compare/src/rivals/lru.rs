//! What people write by hand: sixteen LRUs, each behind a mutex.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use lru::LruCache;

use crate::cache::{Cache, Hashing, Id, Need, Payload, Setup};

const SHARDS: usize = 16;

type Shard = LruCache<Id, Payload, Hashing>;

pub(crate) struct Sixteen {
    shards: Vec<CachePadded<Mutex<Shard>>>,
    hashing: Hashing,
}

impl Sixteen {
    #[inline]
    fn shard(&self, id: &Id) -> MutexGuard<'_, Shard> {
        // The high bits; with the same hasher, the tables inside use the others.
        let n = self.hashing.hash_one(id) >> 60;
        lock(&self.shards[n as usize])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn share(capacity: usize) -> NonZeroUsize {
    NonZeroUsize::new(capacity / SHARDS).unwrap_or(NonZeroUsize::MIN)
}

impl Cache for Sixteen {
    const NAME: &'static str = "16-mutexed-lru";
    const LACKS: &'static [(Need, &'static str)] = &[(Need::Listen, "no callbacks")];
    const CLEARS: bool = true;
    const SHRINKS: bool = true;

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        let shards = (0..SHARDS)
            .map(|_| {
                let shard = LruCache::with_hasher(share(setup.capacity), Hashing::new());
                CachePadded::new(Mutex::new(shard))
            })
            .collect();
        Self {
            shards,
            hashing: Hashing::new(),
        }
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.shard(key).get(key).map(|payload| payload[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.shard(key).get(key).cloned()?;
        Some(payload[0])
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        let payload = self.shard(key).pop(key)?;
        Some(payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        let payload = Payload::from(payload);
        // What it pushes out is freed after the lock is released.
        let out = self.shard(&id).push(id, payload);
        drop(out);
        true
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.shards.iter().map(|shard| lock(shard).len()).sum())
    }

    fn clear(&self, (): &mut ()) {
        self.shards.iter().for_each(|shard| lock(shard).clear());
    }

    fn shrink(&self, capacity: usize) {
        for shard in &self.shards {
            lock(shard).resize(share(capacity));
        }
    }
}
