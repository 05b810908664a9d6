//! What can be changed, and read back, while handshakes run.

use std::time::Duration;

use crate::budget::{Permit, UNIT};
use crate::callbacks::{OnGet, OnNew, OnRemove};
use crate::clock::Time;
use crate::config::{CacheMode, byte_units};
use crate::error::Error;
use crate::sync::atomic::Ordering;

use super::SessionCache;

/// A duration in whole milliseconds, rounded up, saturated to what deadlines can hold.
pub(super) fn millis(duration: Duration) -> u64 {
    (Time::ZERO + duration).as_millis()
}

impl SessionCache {
    /// The most sessions it holds.
    #[doc(alias = "SSL_CTX_sess_get_cache_size")]
    pub fn capacity(&self) -> usize {
        self.core.engine.cells.budget.limit().entries() as usize
    }

    /// Changes the capacity; zero means as far as the maximum. Returns the one before.
    ///
    /// When it is lowered below the number of sessions, that number only falls from here on: maintenance evicts what is
    /// too much, and no add that begins after this call gets in above the new limit.
    ///
    /// # Errors
    ///
    /// [`Error::Capacity`] beyond [`Builder::max_capacity`](crate::Builder::max_capacity).
    #[doc(alias = "SSL_CTX_sess_set_cache_size")]
    pub fn set_capacity(&self, entries: usize) -> Result<usize, Error> {
        let max = self.core.max_capacity;
        if entries > max {
            return Err(Error::Capacity {
                asked: entries,
                max,
            });
        }
        let entries = if entries == 0 { max } else { entries } as u64;
        let old = self
            .core
            .engine
            .set_limit(|limit| Permit::new(entries, limit.units()));
        self.core.engine.wake_maintainer();
        Ok(old.entries() as usize)
    }

    /// The bytes that sessions may take, rounded down to cache lines.
    pub fn byte_budget(&self) -> usize {
        self.core.engine.cells.budget.limit().units() as usize * UNIT
    }

    /// Changes the byte budget, as [`set_capacity`](Self::set_capacity) changes the capacity. Returns the one before.
    ///
    /// # Errors
    ///
    /// [`Error::ByteBudget`] below one cache line and above 4 TiB.
    pub fn set_byte_budget(&self, bytes: usize) -> Result<usize, Error> {
        let units = byte_units(bytes)?;
        let old = self
            .core
            .engine
            .set_limit(|limit| Permit::new(limit.entries(), units));
        self.core.engine.wake_maintainer();
        Ok(old.units() as usize * UNIT)
    }

    /// How long sessions without a timeout of their own live.
    #[doc(alias = "SSL_CTX_get_timeout")]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.core.timeout())
    }

    /// Changes it, for sessions added from now on. Zero means expired at once; what is too long for the clock means
    /// never. Returns the one before.
    #[doc(alias = "SSL_CTX_set_timeout")]
    pub fn set_timeout(&self, timeout: Duration) -> Duration {
        // ORDERING: Relaxed. A number on its own.
        let old = self.core.timeout.swap(millis(timeout), Ordering::Relaxed);
        Duration::from_millis(old)
    }

    /// What handshakes may do.
    #[doc(alias = "SSL_CTX_get_session_cache_mode")]
    pub fn mode(&self) -> CacheMode {
        self.core.mode()
    }

    /// Changes it, for what begins from now on. Sessions stay. Returns the one before.
    #[doc(alias = "SSL_CTX_set_session_cache_mode")]
    pub fn set_mode(&self, mode: CacheMode) -> CacheMode {
        // ORDERING: Relaxed. A number on its own.
        let old = self.core.mode.swap(mode.bits(), Ordering::Relaxed);
        CacheMode::from_bits(old)
    }

    /// Replaces the new callback; returns the one before, which may still be running.
    ///
    /// It is called on the handshake's thread when a handshake has stored a session, with nothing held; it may use the
    /// cache. If it answers false, the session is removed again ([`RemovalCause::Refused`](crate::RemovalCause)); in the
    /// mode `NO_INTERNAL_STORE` there is nothing to remove, and nothing happens. A panic is contained and counted, and the
    /// session stays.
    #[doc(alias = "SSL_CTX_sess_set_new_cb")]
    pub fn set_on_new(&self, callback: Option<OnNew>) -> Option<OnNew> {
        self.core.callbacks.new.replace(callback)
    }

    /// The new callback.
    #[doc(alias = "SSL_CTX_sess_get_new_cb")]
    pub fn on_new(&self) -> Option<OnNew> {
        self.core.callbacks.new.load().map(|f| OnNew::clone(&f))
    }

    /// Replaces the get callback; returns the one before, which may still be running.
    ///
    /// It is called on the handshake's thread when a handshake looks for a session that is not in the cache, with
    /// nothing held. What it returns must have the id and context that were asked for and not be expired, else it is a
    /// miss; it is then put into the cache, unless the mode forbids it or it is for single use. It gets the timeout that it
    /// was built with, or the cache's: let it be what the session has left. Several servers on one store: see
    /// [security](crate::manual::security).
    #[doc(alias = "SSL_CTX_sess_set_get_cb")]
    pub fn set_on_get(&self, callback: Option<OnGet>) -> Option<OnGet> {
        self.core.callbacks.get.replace(callback)
    }

    /// The get callback.
    #[doc(alias = "SSL_CTX_sess_get_get_cb")]
    pub fn on_get(&self) -> Option<OnGet> {
        self.core.callbacks.get.load().map(|f| OnGet::clone(&f))
    }

    /// Replaces the remove callback; returns the one before, which may still be running. No event is lost: each goes to
    /// the one or to the other, or to nobody while there is none.
    ///
    /// It is called once for each session that has left, with the cause, unless the session was replaced by another of
    /// its id. It runs on the listener thread (or in [`run_maintenance`](Self::run_maintenance)), one call at a time,
    /// with nothing held: it may block, panic, use the cache, or drop the last handle of it. The sessions of one shard
    /// arrive in the order in which they left, but for those that left at the same moment; a lookup that starts after the call
    /// can't find the session.
    ///
    /// A callback that owns a handle of its own cache keeps that cache alive for good: give it a weak reference to
    /// something that owns the handle.
    #[doc(alias = "SSL_CTX_sess_set_remove_cb")]
    pub fn set_on_remove(&self, callback: Option<OnRemove>) -> Option<OnRemove> {
        self.core.callbacks.remove.replace(callback)
    }

    /// The remove callback.
    #[doc(alias = "SSL_CTX_sess_get_remove_cb")]
    pub fn on_remove(&self) -> Option<OnRemove> {
        self.core
            .callbacks
            .remove
            .load()
            .map(|f| OnRemove::clone(&f))
    }
}
