//! The least recently used goes first.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{Entry, Policy};

#[derive(Debug)]
pub(in super::super) struct Lru(LruCache<u64, ()>);

impl Policy for Lru {
    fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self(LruCache::new(capacity))
    }

    fn touch(&mut self, id: u64, _: u32) -> bool {
        self.0.get(&id).is_some()
    }

    fn add(&mut self, entry: Entry) {
        self.0.put(entry.id, ());
    }

    fn remove(&mut self, id: u64) -> bool {
        self.0.pop(&id).is_some()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
