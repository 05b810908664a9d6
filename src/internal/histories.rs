//! What the histories need besides: the time that an operation has seen, and a remove callback of their own.

use crate::clock::Time;
use crate::engine::departures::Sink;
use crate::removal::RemovalCause;
use crate::session::Session;

use super::{Log, Rig};

/// A model's own callback, and the log.
struct Listener<'a, F>(F, &'a Log);

impl<F: Fn(&Session, RemovalCause)> Sink for Listener<'_, F> {
    fn is_listening(&self) -> bool {
        true
    }

    fn removed(&self, session: &Session, cause: RemovalCause) {
        (self.0)(session, cause);
        (&self.1).removed(session, cause);
    }
}

impl Rig {
    /// The engine's coarse time.
    pub fn coarse(&self) -> Time {
        self.engine.clock.now()
    }

    /// As [`see_out`](Self::see_out), with a remove callback.
    pub fn see_out_to(&self, hear: impl Fn(&Session, RemovalCause)) {
        let sink = Listener(hear, &self.log);
        self.engine.collect_all(&self.departures, &sink);
        self.departures.deliver(&sink);
        self.reclaim();
    }
}
