//! What callers were told that they had done: the cache's own counters must tell the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// Removals by whom they were told to, over the whole run.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) taken: Count,
    pub(crate) removed: Count,
    /// Connections that ended badly, each of which may have removed a session without saying so.
    pub(crate) broken: Count,
    pub(crate) flushed: Count,
    pub(crate) retained: Count,
    pub(crate) cleared: Count,
    /// Adds that did not keep the session, as the adder was told.
    pub(crate) refused: Count,
}

/// A number that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
