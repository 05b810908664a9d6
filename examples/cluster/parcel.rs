//! Latencies on their way from one process to another, and those that are too long.

use std::time::Duration;

use crate::latencies::Latencies;

impl Latencies {
    /// So many of this latency.
    pub(crate) fn record_many(&mut self, latency: Duration, count: u64) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record_n(nanos, count);
    }

    /// All of them, each latency in nanoseconds with its count.
    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        self.0
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }

    /// How many exceed this.
    pub(crate) fn beyond(&self, bound: Duration) -> u64 {
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let pairs = self.pairs().into_iter();
        pairs
            .filter(|(nanos, _)| *nanos > bound)
            .map(|(_, count)| count)
            .sum()
    }
}
