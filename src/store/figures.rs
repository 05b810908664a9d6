//! What happened in the shared tier.

use crate::sync::Counter;

use super::breaker::BreakerState;

macro_rules! figures {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A snapshot of a shared tier's counters. Made by [`SessionCache::external_stats`](crate::SessionCache::external_stats).
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct ExternalStats {
            $($(#[doc = $doc])+ pub $name: u64,)+
            /// Writes that wait, or are under way.
            pub queue_depth: u64,
            /// What the sessions among them take, in bytes.
            pub queue_bytes: u64,
            /// Sessions that found the queue full, and are not at the store.
            pub queue_dropped: u64,
            /// Sessions whose writing failed: it is not tried again, because nobody knows what became of the first time.
            pub writes_lost: u64,
            /// Removals that found the queue full: what they were to remove may still be at the store, until it expires.
            pub removals_dropped: u64,
            /// What the breaker lets through.
            pub breaker: BreakerState,
            /// How often it has opened, not counting probes that failed.
            pub breaker_openings: u64,
            /// How often it has closed again.
            pub breaker_closings: u64,
        }

        #[cfg(feature = "metrics")]
        impl ExternalStats {
            /// The counters that the tier keeps by itself, and their names: none is forgotten where they are published.
            pub(crate) fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        /// The counters behind it.
        #[derive(Debug, Default)]
        pub(crate) struct Figures {
            $(pub(crate) $name: Counter,)+
        }

        impl Figures {
            pub(crate) fn snapshot(&self) -> ExternalStats {
                ExternalStats {
                    $($name: self.$name.value(),)+
                    ..ExternalStats::default()
                }
            }
        }
    };
}

figures! {
    /// Reads that brought a session.
    hits,
    /// Reads that found nothing.
    misses,
    /// Single-use sessions found before, in the first tier or by a look, that then could be had.
    claimed,
    /// Single-use sessions that were used before they were ever sent: nobody else can have them.
    unsent,
    /// Sessions that were fetched ahead, and then used.
    prefetched,
    /// Look-ups that waited for another's read of the same id.
    shared,
    /// Records of another form or another key.
    refused_foreign,
    /// Records that were changed or cut short, or belong to another id, context or epoch.
    refused_forged,
    /// Records whose time is over.
    refused_expired,
    /// Records from the future: made more than a minute from now by this server's clock.
    refused_future,
    /// Sessions that were removed or invalidated while they were read.
    refused_stale,
    /// Reads that were not made because the breaker is open.
    denied_breaker,
    /// Reads that were not made because the count of invalidations is not known at the moment.
    denied_epoch,
    /// Calls that did not end in time. A late answer is none.
    timeouts,
    /// Calls for which there was no connection.
    unavailable,
    /// Calls that the store refused.
    store_refused,
    /// Answers that made no sense.
    store_garbled,
    /// Calls of the store's code that panicked.
    store_panics,
    /// Sessions written.
    written,
    /// Removals written.
    removed,
    /// Batches that they were written in.
    batches,
    /// Batches that failed.
    batches_failed,
    /// Sessions that had expired or been invalidated before they were written, or could not be sealed.
    skipped,
    /// Invalidations that this server has made at the store.
    invalidated,
    /// Invalidations that it has heard of from the store.
    invalidations_heard,
}
