//! The counters, published to the recorder of the crate metrics.

use metrics::{counter, gauge};

use crate::cache::SessionCache;

macro_rules! counters {
    ($prefix:literal, $stats:expr, $($name:ident),+ $(,)?) => {
        $(counter!(concat!($prefix, stringify!($name), "_total")).absolute($stats.$name);)+
    };
}

macro_rules! gauges {
    ($prefix:literal, $stats:expr, $($name:ident),+ $(,)?) => {
        $(gauge!(concat!($prefix, stringify!($name))).set($stats.$name as f64);)+
    };
}

impl SessionCache {
    /// Publishes every counter to the recorder of the crate metrics that is installed: `refrain_entries` and its like as
    /// gauges, `refrain_hits_total` and its like as counters, and those of a shared tier as `refrain_external_..`. Call it
    /// as often as they are read. One cache of a process only: the names carry no label.
    ///
    /// Costs what [`stats`](Self::stats) does, and the recorder. Handshakes do nothing for it.
    pub fn publish_metrics(&self) {
        let stats = self.stats();
        gauges!("refrain_", stats, entries, bytes, backlog_bytes);
        counters!(
            "refrain_",
            stats,
            inserted,
            replaced,
            taken,
            removed,
            invalidated,
            cleared,
            retained,
            refused,
            dropped,
            expired,
            evicted,
            never_added,
            hits,
            misses,
            timeouts,
            external_hits,
            external_denied,
            wrong_name,
            forged,
            accepts,
            accepts_good,
            accepts_again,
            connects,
            connects_good,
            connects_again,
            not_cached,
            not_cached_backlog,
            not_cached_raced,
            callbacks,
            callback_panics,
        );
        #[cfg(feature = "external")]
        self.publish_external();
    }

    #[cfg(feature = "external")]
    fn publish_external(&self) {
        use crate::store::BreakerState;

        let Some(stats) = self.external_stats() else {
            return;
        };
        gauges!("refrain_external_", stats, queue_depth, queue_bytes);
        for state in [
            BreakerState::Closed,
            BreakerState::Open,
            BreakerState::HalfOpen,
        ] {
            let value = if stats.breaker == state { 1.0 } else { 0.0 };
            gauge!("refrain_external_breaker", "state" => state.as_str()).set(value);
        }
        for (name, value) in stats.counted() {
            counter!(format!("refrain_external_{name}_total")).absolute(value);
        }
        counters!(
            "refrain_external_",
            stats,
            queue_dropped,
            writes_lost,
            removals_dropped,
            breaker_openings,
            breaker_closings,
        );
    }
}
