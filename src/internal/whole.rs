//! A whole cache, with its threads.

use std::sync::Arc;

use crate::cache::SessionCache;
use crate::callbacks::OnRemove;
use crate::clock::ManualClock;
use crate::config::Maintenance;
use crate::context::Context;
use crate::engine::departures::Sink;
use crate::id::ContextId;
use crate::session::Session;
use crate::stats::StatsHandle;

use super::{Log, Setup, Told, id, live_sessions};

/// What outlives a cache: its events and its counters.
#[derive(Debug)]
pub struct Whole {
    pub context: Context,
    pub clock: ManualClock,
    log: Arc<Log>,
    stats: StatsHandle,
}

impl Whole {
    /// A small cache with threads of its own, and what outlives it. `f` is called in each of its remove callbacks, after
    /// the event has been noted; it may drop a handle of the cache.
    pub fn new(setup: Setup, f: impl Fn(&Session) + Send + Sync + 'static) -> (SessionCache, Self) {
        let clock = ManualClock::new();
        let log = Arc::new(Log::default());
        let noted = Arc::clone(&log);
        let on_remove: OnRemove = Arc::new(move |session, cause| {
            (&*noted).removed(session, cause);
            f(session);
        });
        let builder = SessionCache::builder().maintenance(Maintenance::Threads);
        builder.callbacks.remove.replace(Some(on_remove));
        let cache = SessionCache::start(builder, setup.plan(&clock)).unwrap();
        let whole = Self {
            context: cache.context(ContextId::new(b"c").unwrap()).unwrap(),
            clock,
            log,
            stats: cache.stats_handle(),
        };
        (cache, whole)
    }

    /// A session of one id byte and one payload byte; never added.
    pub fn session(&self, n: u8, payload: u8) -> Session {
        Session::new(&self.context, id(n), &[payload]).unwrap()
    }

    pub fn remove(&self, cache: &SessionCache, n: u8) -> bool {
        cache.remove(&self.context, &id(n))
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Told> {
        self.log.events()
    }

    /// Whether the calling thread is one of a cache's own.
    pub fn is_own_thread() -> bool {
        crate::sync::is_own_thread()
    }

    /// What must hold when the cache has come to its end: everything has left and is balanced, every event was told, and
    /// no session is alive. Returns the events.
    pub fn check_end(&self) -> Vec<Told> {
        let stats = self.stats.snapshot();
        let events = self.events();
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!((stats.entries, stats.bytes, stats.backlog_bytes), (0, 0, 0));
        assert_eq!(stats.callback_panics, 0, "a check in a callback failed");
        let told = events.len() as u64;
        assert_eq!((stats.callbacks, stats.callbacks_due()), (told, told));
        assert_eq!(live_sessions(), 0, "sessions that were never freed");
        events
    }
}
