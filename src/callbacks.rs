//! The three callbacks, replaceable while handshakes run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::context::Context;
use crate::engine::departures::Sink;
use crate::id::SessionId;
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::stats::Cells;
use crate::sync::SharedCell;

/// Called when a handshake has stored a session.
pub type OnNew = Arc<dyn Fn(&Session) -> bool + Send + Sync>;
/// Called when a handshake looks for a session that is not in the cache.
pub type OnGet = Arc<dyn Fn(&Lookup<'_>) -> Option<Session> + Send + Sync>;
/// Called once for each session that has left.
pub type OnRemove = Arc<dyn Fn(&Session, RemovalCause) + Send + Sync>;

/// What a handshake looks for when it calls the get callback.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lookup<'a> {
    /// The context of the handshake. A session must be built for it to be accepted.
    pub context: &'a Context,
    /// The id that the client offered.
    pub id: &'a SessionId,
    /// The session will be used once: an external store has to hand it out once, by an atomic claim of its own. Only what
    /// was stored for single use, and under this server name, should be claimed: what can't be used is refused afterwards.
    pub single_use: bool,
    /// The server name of the handshake, if the TLS stack shows it.
    pub server_name: Option<&'a str>,
}

/// The cells that hold the callbacks.
///
/// Each holds an `Arc` of the callback's own `Arc`: what is swapped atomically is a thin pointer.
pub(crate) struct Callbacks {
    pub(crate) new: SharedCell<OnNew>,
    pub(crate) get: SharedCell<OnGet>,
    pub(crate) remove: SharedCell<OnRemove>,
}

impl Callbacks {
    pub(crate) fn new() -> Self {
        Self {
            new: SharedCell::new(None),
            get: SharedCell::new(None),
            remove: SharedCell::new(None),
        }
    }

    /// Asks the new callback; `None` if there is none, or it panicked.
    pub(crate) fn ask_new(&self, session: &Session, cells: &Cells) -> Option<bool> {
        let f = self.new.lend()?;
        contain(cells, move || f(session))
    }

    /// Asks the get callback.
    pub(crate) fn ask_get(&self, lookup: &Lookup<'_>, cells: &Cells) -> Option<Session> {
        let f = self.get.lend()?;
        contain(cells, move || f(lookup)).flatten()
    }
}

/// Calls user code; a panic ends there, counted. The closure owns the callback, so that its destructor, if this was the
/// last use of a callback that has been replaced, is contained too.
fn contain<R>(cells: &Cells, f: impl FnOnce() -> R) -> Option<R> {
    let result = without_panic(f);
    if result.is_none() {
        cells.callback_panics.add(1);
    }
    result
}

/// How often what is thrown when something thrown is dropped is dropped itself.
const THROWS: usize = 4;

/// Calls what may panic; a panic ends there.
pub(crate) fn without_panic<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f))
        .map_err(|mut payload| {
            // What was thrown may panic once more when it is dropped, and throw something that does so, too. Where there
            // is no end of it, the last one is left.
            for _ in 0..THROWS {
                match catch_unwind(AssertUnwindSafe(move || drop(payload))) {
                    Ok(()) => return,
                    Err(again) => payload = again,
                }
            }
            std::mem::forget(payload);
        })
        .ok()
}

/// The remove callback's side of the engine.
pub(crate) struct RemoveSink<'a> {
    pub(crate) callbacks: &'a Callbacks,
    pub(crate) cells: &'a Cells,
}

impl Sink for RemoveSink<'_> {
    fn is_listening(&self) -> bool {
        self.callbacks.remove.is_set()
    }

    fn removed(&self, session: &Session, cause: RemovalCause) {
        // Loaded for each event: one that replaces the callback has the next event already.
        if let Some(f) = self.callbacks.remove.lend() {
            // Counted by who delivers, and there is one at a time.
            self.cells.callbacks.bump_owned();
            contain(self.cells, move || f(session, cause));
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("new", &self.new.is_set())
            .field("get", &self.get.is_set())
            .field("remove", &self.remove.is_set())
            .finish()
    }
}
