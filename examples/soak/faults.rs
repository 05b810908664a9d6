//! What is off: each kind by its name, how often it was seen, and the first time in words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Everything that was found to be off.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    kinds: Mutex<BTreeMap<&'static str, (u64, String)>>,
    count: AtomicU64,
}

impl Faults {
    /// Notes one. `first` tells more of the first of its kind.
    pub(crate) fn note(&self, kind: &'static str, first: impl FnOnce() -> String) {
        self.add(kind, 1, first);
    }

    /// Notes several at once, or none.
    pub(crate) fn add(&self, kind: &'static str, count: u64, first: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        self.count.fetch_add(count, Ordering::Relaxed);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry(kind).or_insert_with(|| (0, first())).0 += count;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// A line for each kind.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds
            .iter()
            .map(|(kind, (count, first))| format!("{kind} ({count} times; the first: {first})"))
            .collect()
    }
}
