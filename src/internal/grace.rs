//! The reclamation by itself.

use crate::reclaim::{Domain, Guard};
use crate::sync::Alive;

/// The reclamation domain by itself.
#[derive(Debug)]
pub struct Grace(Domain);

/// A pin of [`Grace`].
#[derive(Debug)]
pub struct Pin<'a>(#[allow(dead_code, reason = "dropped, never read")] Guard<'a>);

impl Default for Grace {
    fn default() -> Self {
        Self::new()
    }
}

impl Grace {
    pub fn new() -> Self {
        Self(Domain::new())
    }

    pub fn pin(&self) -> Pin<'_> {
        Pin(self.0.pin())
    }

    pub fn defer(&self, f: impl FnOnce() + Send + 'static) {
        self.0.defer(f);
    }
}

/// Memory that counts as one of [`live_sessions`] until its end. A read after the end fails; under loom, so does one
/// that is not ordered before the end.
#[derive(Debug)]
pub struct Memory(Alive);

// SAFETY: under loom the cell checks every access; under shuttle one OS thread runs all threads of a model.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    pub fn new() -> Self {
        Self(Alive::new())
    }

    pub fn read(&self) {
        self.0.check();
    }

    pub fn end(&self) {
        self.0.end();
    }
}
