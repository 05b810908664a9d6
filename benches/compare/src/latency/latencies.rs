//! How long something took, from a nanosecond to a minute, to three digits.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The parts of all that are told, besides the longest.
pub(crate) const PARTS: [(&str, f64); 4] = [
    ("p50", 0.5),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// Many durations.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self(histogram.expect("the bounds are in order"))
    }
}

impl Latencies {
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds another thread's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The told parts and the longest, in nanoseconds.
    pub(crate) fn figures(&self) -> [u64; 5] {
        let part = |n: usize| self.0.value_at_quantile(PARTS[n].1);
        [part(0), part(1), part(2), part(3), self.0.max()]
    }
}

/// A duration for people, to three digits.
pub(crate) fn human(nanoseconds: u64) -> String {
    let digits = crate::figures::digits;
    match nanoseconds {
        n if n < 1_000 => format!("{n} ns"),
        n if n < 1_000_000 => format!("{} us", digits(n as f64 / 1e3)),
        n if n < 1_000_000_000 => format!("{} ms", digits(n as f64 / 1e6)),
        n => format!("{} s", digits(n as f64 / 1e9)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_quantiles_of_all_threads() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        for n in 1..=5_000 {
            one.record(Duration::from_nanos(n));
            other.record(Duration::from_nanos(n + 5_000));
        }
        other.record(Duration::from_secs(1));
        one.add(&other);
        assert_eq!(one.count(), 10_001);
        let [p50, p99, p999, p9999, max] = one.figures();
        let near = |found: u64, wanted: u64| found.abs_diff(wanted) <= wanted / 500 + 1;
        assert!(near(p50, 5_000) && near(p99, 9_900), "{p50} {p99}");
        assert!(near(p999, 9_990) && near(p9999, 10_000), "{p999} {p9999}");
        assert!(near(max, 1_000_000_000), "{max}");
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(human(38), "38 ns");
        assert_eq!(human(1_234), "1.23 us");
        assert_eq!(human(12_345_678), "12.3 ms");
        assert_eq!(human(2_500_000_000), "2.50 s");
    }
}
