//! The store, with every call counted.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, Key, StoreError, Write};

thread_local! {
    /// The reads that this thread has made.
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// The reads that the calling thread has made so far. Handshakes read on their own threads.
pub(crate) fn reads_of_this_thread() -> u64 {
    READS.get()
}

/// A store, and how often it was called.
pub(crate) struct Watched<S> {
    store: S,
    /// Calls by handshakes.
    pub(crate) reads: AtomicU64,
    /// Sessions written, and removals.
    pub(crate) writes: AtomicU64,
    /// The batches that they came in.
    pub(crate) batches: AtomicU64,
}

impl<S> Watched<S> {
    pub(crate) fn new(store: S) -> Self {
        Self {
            store,
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    fn read(&self) -> &S {
        READS.set(READS.get() + 1);
        self.reads.fetch_add(1, Ordering::Relaxed);
        &self.store
    }
}

impl<S: ExternalStore> ExternalStore for Watched<S> {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        self.read().get(key, deadline)
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        self.read().take(key, deadline)
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        self.read().claim(key, ttl, deadline)
    }

    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        self.writes.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.store.write(batch, deadline)
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.store.counter(key, deadline)
    }

    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.store.increment(key, deadline)
    }

    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        self.store.probe(deadline)
    }
}
