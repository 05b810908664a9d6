//! The cache behind the server, from its opening to its closing.

use std::thread;
use std::time::Duration;

use refrain::{ContextId, RemovalCause, Session, SessionCache, Stats};

use crate::args::{CacheKind, Options};
use crate::books::{Books, Callbacks};
use crate::output::Failure;

/// Opens the cache that the options ask for, if it is Refrain.
pub(crate) fn open(
    options: &Options,
    on_remove: impl Fn(&Session, RemovalCause) + Send + Sync + 'static,
) -> Result<Option<SessionCache>, Failure> {
    if options.cache != CacheKind::Refrain {
        return Ok(None);
    }
    let builder = SessionCache::builder()
        .capacity(options.room())
        .timeout(options.timeout)
        .tick(options.tick())
        .on_remove(on_remove);
    #[cfg(feature = "disk")]
    let builder = match &options.disk {
        Some(path) => crate::disk::behind(builder, path, options.keys.as_ref())?,
        None => builder,
    };
    builder
        .build()
        .map(Some)
        .map_err(|error| Failure::usage(error.to_string()))
}

/// The context of the server's sessions. It has one certificate and no other policy, so nothing goes into it.
pub(crate) fn context_id() -> ContextId {
    ContextId::derive("accept_loop", &[])
}

/// The books of a cache that served, closed twice.
#[derive(Debug)]
pub(crate) struct Closing {
    /// The cache's statistics before it was dropped.
    pub(crate) stats: Stats,
    pub(crate) before_drop: Books,
    pub(crate) after_drop: Books,
    /// As [`late`] says.
    pub(crate) late: u64,
}

/// Look-ups that a file behind the cache did not answer in time: each may have cost a session, as a full handshake tells.
pub(crate) fn late(cache: &SessionCache) -> u64 {
    #[cfg(feature = "disk")]
    return cache
        .external_stats()
        .map_or(0, |stats| stats.timeouts + stats.unavailable);
    #[cfg(not(feature = "disk"))]
    {
        // There is no file.
        let _ = cache;
        0
    }
}

/// Drains the cache's delivery and closes the books, then drops the cache and closes them again.
///
/// `cache` must be the last handle: nobody else may still hold the store.
pub(crate) fn close(cache: SessionCache, callbacks: &Callbacks) -> Closing {
    let (stats, before_drop) = settle(&cache, callbacks);
    let (handle, late) = (cache.stats_handle(), late(&cache));
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
        late,
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
