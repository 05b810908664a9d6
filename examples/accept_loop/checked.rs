//! The checker between rustls and its session store.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rustls::server::StoresServerSessions;

use crate::checker::Checker;

/// The store under test, with the checker looking on.
pub(crate) struct Checked {
    pub(crate) store: Arc<dyn StoresServerSessions>,
    pub(crate) checker: Arc<Checker>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl StoresServerSessions for Checked {
    fn put(&self, id: Vec<u8>, value: Vec<u8>) -> bool {
        let began = Instant::now();
        let cached = self.store.put(id.clone(), value);
        self.checker.stored(&id, began, cached);
        cached
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.store.get(id)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let value = self.store.take(id);
        if value.is_some() {
            self.checker.taken(id);
        }
        value
    }

    fn can_cache(&self) -> bool {
        self.store.can_cache()
    }
}
