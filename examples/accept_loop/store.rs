//! The session store behind the server: Refrain, or what rustls has for comparison.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use refrain::adapter::rustls::Sessions;
use refrain::{ContextId, RemovalCause, Session, SessionCache, Stats};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, StoresServerSessions};

use crate::Failure;
use crate::args::{CacheKind, Options};
use crate::books::{Books, Callbacks};

/// A store, and the cache inside it if it is ours.
pub(crate) struct Store {
    pub(crate) sessions: Arc<dyn StoresServerSessions>,
    pub(crate) cache: Option<SessionCache>,
}

impl Store {
    /// Opens the store that the options ask for. Only Refrain will call `on_remove`.
    pub(crate) fn open(
        options: &Options,
        on_remove: impl Fn(&Session, RemovalCause) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        match options.cache {
            CacheKind::Refrain => {
                let cache = SessionCache::builder()
                    .capacity(options.capacity)
                    .timeout(options.timeout)
                    .tick(options.tick())
                    .on_remove(on_remove)
                    .build()
                    .map_err(|error| Failure::usage(error.to_string()))?;
                let sessions = Sessions::new(&cache, ContextId::derive("accept_loop", &[]))
                    .map_err(|error| Failure::broken(error.to_string()))?;
                Ok(Self {
                    sessions,
                    cache: Some(cache),
                })
            }
            CacheKind::Rustls => {
                let sessions = ServerSessionMemoryCache::new(options.capacity);
                Ok(Self {
                    sessions,
                    cache: None,
                })
            }
            CacheKind::None => Ok(Self {
                sessions: Arc::new(NoServerSessionStorage {}),
                cache: None,
            }),
        }
    }
}

/// The books of a cache that served, closed twice.
#[derive(Debug)]
pub(crate) struct Closing {
    /// The cache's statistics before it was dropped.
    pub(crate) stats: Stats,
    pub(crate) before_drop: Books,
    pub(crate) after_drop: Books,
}

/// Drains the cache's delivery and closes the books, then drops the cache and closes them again.
///
/// `cache` must be the last handle: nobody else may still hold the store.
pub(crate) fn close(cache: SessionCache, callbacks: &Callbacks) -> Closing {
    let (stats, before_drop) = settle(&cache, callbacks);
    let handle = cache.stats_handle();
    drop(cache);
    let mut after_drop = Books::close("after the drop", &handle.snapshot(), callbacks);
    let live = after_drop.balance.live;
    if live != 0 {
        after_drop
            .faults
            .push(format!("after the drop: {live} sessions are still live"));
    }
    Closing {
        stats,
        before_drop,
        after_drop,
    }
}

/// Drains the delivery and closes the books.
///
/// The wheel goes on while it looks, and may expire a session between the draining and the reading. So books that do not
/// add up are given a few more chances; what is really wrong stays wrong.
pub(crate) fn settle(cache: &SessionCache, callbacks: &Callbacks) -> (Stats, Books) {
    for _ in 0..100 {
        cache.settle();
        let stats = cache.stats();
        let books = Books::close("before the drop", &stats, callbacks);
        if books.faults.is_empty() {
            return (stats, books);
        }
        thread::sleep(Duration::from_millis(20));
    }
    cache.settle();
    let stats = cache.stats();
    let books = Books::close("before the drop", &stats, callbacks);
    (stats, books)
}
