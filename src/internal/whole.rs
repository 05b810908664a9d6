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
use crate::sync::atomic::{AtomicU64, Ordering};

use super::{Log, Setup, Told, id, live_sessions};

/// What outlives a cache: its events and its counters.
#[derive(Debug)]
pub struct Whole {
    pub context: Context,
    pub clock: ManualClock,
    log: Arc<Log>,
    /// Counts the events. Who sees the cache's end sees by it what was done before the last of them: the threads' shares in
    /// an `Arc`, which is std's, tell the checkers nothing.
    told: Arc<AtomicU64>,
    stats: StatsHandle,
}

impl Whole {
    /// A small cache with threads of its own, and what outlives it. `f` is called in each of its remove callbacks, after
    /// the event has been noted; it may drop a handle of the cache.
    pub fn new(setup: Setup, f: impl Fn(&Session) + Send + Sync + 'static) -> (SessionCache, Self) {
        let clock = ManualClock::new();
        let log = Arc::new(Log::default());
        let told = Arc::new(AtomicU64::new(0));
        let (noted, counted) = (Arc::clone(&log), Arc::clone(&told));
        let on_remove: OnRemove = Arc::new(move |session, cause| {
            (&*noted).removed(session, cause);
            // ORDERING: Release; partner: the read-modify-write in `check_end`.
            counted.fetch_add(1, Ordering::Release);
            f(session);
        });
        let builder = SessionCache::builder().maintenance(Maintenance::Threads);
        builder.callbacks.remove.replace(Some(on_remove));
        let cache = SessionCache::start(builder, setup.plan(&clock)).unwrap();
        let whole = Self {
            context: cache.context(ContextId::new(b"c").unwrap()).unwrap(),
            clock,
            log,
            told,
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

    /// Makes the calling thread one of a cache's own, as those of another cache are.
    pub fn be_own_thread() {
        crate::sync::mark_own_thread();
    }

    /// What must hold when the cache has come to its end: everything has left and is balanced, every event was told, and
    /// no session is alive. Returns the events.
    pub fn check_end(&self) -> Vec<Told> {
        // ORDERING: AcqRel; partner: the Release behind each event. A read-modify-write, because it reads the last value.
        let told = self.told.fetch_add(0, Ordering::AcqRel);
        let stats = self.stats.snapshot();
        let events = self.events();
        assert_eq!(told, events.len() as u64);
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!((stats.entries, stats.bytes, stats.backlog_bytes), (0, 0, 0));
        assert_eq!(stats.callback_panics, 0, "a check in a callback failed");
        assert_eq!((stats.callbacks, stats.callbacks_due()), (told, told));
        assert_eq!(live_sessions(), 0, "sessions that were never freed");
        events
    }
}
