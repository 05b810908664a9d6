//! The sessions of a node, with every look-up timed.

use std::array;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use refrain::adapter::rustls::Sessions;
use rustls::server::StoresServerSessions;

use crate::latencies::Latencies;
use crate::watched::reads_of_this_thread;

/// What a look-up came to: found without the store, found with it, not found.
pub(crate) const OUTCOMES: [&str; 3] = ["first tier", "store", "not found"];

/// The latencies of look-ups, by outcome.
pub(crate) type Lookups = [Latencies; OUTCOMES.len()];

/// No look-ups yet.
pub(crate) fn no_lookups() -> Lookups {
    array::from_fn(|_| Latencies::new())
}

/// The storage that rustls asks, and how long it has waited.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) sessions: Arc<Sessions>,
    lookups: Mutex<Lookups>,
}

impl Timed {
    pub(crate) fn new(sessions: Arc<Sessions>) -> Self {
        Self {
            sessions,
            lookups: Mutex::new(no_lookups()),
        }
    }

    fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latencies since they were asked for last.
    pub(crate) fn hand_over(&self) -> Lookups {
        std::mem::replace(&mut self.lookups(), no_lookups())
    }

    fn time(&self, look: impl FnOnce() -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let (began, reads) = (Instant::now(), reads_of_this_thread());
        let found = look();
        let took = began.elapsed();
        let outcome = match found {
            None => 2,
            Some(_) => usize::from(reads_of_this_thread() > reads),
        };
        self.lookups()[outcome].record(took);
        found
    }
}

impl StoresServerSessions for Timed {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(id, value)
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.time(|| self.sessions.get(id))
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.time(|| self.sessions.take(id))
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}
