//! How the store is called: within a time, with whatever may go wrong counted.

use std::time::Instant;

use crate::callbacks::without_panic;
use crate::id::ContextId;
use crate::store::name::{Class, Epoch};
use crate::store::query::Query;
use crate::store::record::{self, Opened, Refused};
use crate::store::{Key, StoreError};
use crate::sync::atomic::Ordering;
use crate::sync::lock;

use super::Tier;

impl Tier {
    /// Reads a record and opens it; whatever is wrong with it is counted.
    pub(super) fn fetch(
        &self,
        query: &Query<'_>,
        class: Class,
        deadline: Instant,
        read: impl FnOnce(&Key) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Option<Opened> {
        let name = query.name();
        let figures = &self.figures;
        // What is being removed is not asked for.
        if !self.admits(query) {
            return None;
        }
        let epoch = self.epoch(&name.context)?;
        if !lock(&self.breaker).is_closed() {
            figures.denied_breaker.add(1);
            return None;
        }
        let keys = self.keys()?;
        let key = keys.name(&name, class, epoch);
        let record = self.call(false, deadline, || read(&key))?;
        let Some(record) = record else {
            figures.misses.add(1);
            return None;
        };
        let wall = self.options.now();
        let opened = match record::open(&keys, &name, class, epoch, wall, &record) {
            Ok(opened) => opened,
            Err(refused) => {
                match refused {
                    Refused::Foreign => &figures.refused_foreign,
                    Refused::Forged => &figures.refused_forged,
                    Refused::Expired => &figures.refused_expired,
                    Refused::Future => &figures.refused_future,
                }
                .add(1);
                return None;
            }
        };
        if !self.is_host_current(&opened) || !self.admits(query) {
            return None;
        }
        figures.hits.add(1);
        Some(opened)
    }

    /// Whether a record's host was not invalidated since.
    pub(super) fn is_host_current(&self, opened: &Opened) -> bool {
        let Some((host, then)) = opened.host else {
            return true;
        };
        let current = self.epoch(&host).is_some_and(|epoch| epoch.own == then);
        if !current {
            self.figures.refused_stale.add(1);
        }
        current
    }

    fn epoch(&self, context: &ContextId) -> Option<Epoch> {
        match self.epochs.of(context) {
            Ok(epoch) => Some(epoch),
            Err(news) => {
                self.figures.denied_epoch.add(1);
                if news {
                    self.queue.wake();
                }
                None
            }
        }
    }

    /// Calls the store, and counts how that went. An answer after the deadline is none, to a handshake.
    pub(in crate::store) fn call<T>(
        &self,
        by_worker: bool,
        deadline: Instant,
        f: impl FnOnce() -> Result<T, StoreError>,
    ) -> Option<T> {
        let answer = without_panic(f);
        let now = Instant::now();
        let failure = match answer {
            Some(Ok(_)) if !by_worker && now > deadline => Some(StoreError::TimedOut),
            Some(Ok(answer)) => {
                self.note(true, now);
                return Some(answer);
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        let figures = &self.figures;
        match &failure {
            Some(StoreError::TimedOut) => &figures.timeouts,
            Some(StoreError::Unavailable(_)) => &figures.unavailable,
            Some(StoreError::Refused(_)) => &figures.store_refused,
            Some(StoreError::Protocol(_)) => &figures.store_garbled,
            None => &figures.store_panics,
        }
        .add(1);
        let nobody_free = matches!(failure, Some(StoreError::Unavailable(_)) if !by_worker);
        let text = match failure {
            Some(error) => error.to_string(),
            None => "the store's code panicked".to_owned(),
        };
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "refrain", error = text, by_worker, "a call of the shared store failed");
        *lock(&self.last_failure) = Some(text);
        if !nobody_free {
            self.note(false, now);
            return None;
        }
        // No connection was free, which is no fault of the store's; or there is none, which the worker will find.
        // ORDERING: Relaxed. The queue's lock carries the news.
        if !self.worried.swap(true, Ordering::Relaxed) {
            self.queue.wake();
        }
        None
    }

    fn note(&self, well: bool, now: Instant) {
        let mut breaker = lock(&self.breaker);
        let before = breaker.is_closed();
        // What goes well leaves nothing to chance.
        breaker.note(well, now, if well { 0 } else { chance() });
        let opened = before && !breaker.is_closed();
        #[cfg(feature = "tracing")]
        let pause = breaker.probe_in(now);
        drop(breaker);
        #[cfg(feature = "tracing")]
        if opened {
            let error = lock(&self.last_failure).clone();
            tracing::warn!(target: "refrain", error, ?pause, "the shared store fails: it is left alone");
        }
        // The worker sleeps until there is something to do, and from here on there is: a probe, in a while.
        if opened {
            self.queue.wake();
        }
    }
}

/// A number by chance, for the breaker's jitter.
pub(in crate::store) fn chance() -> u64 {
    getrandom::u64().unwrap_or(u64::MAX / 2)
}
