//! From slices to figures: medians, spreads, ratios.

/// What several measurements of one thing say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    /// The tenth percentile.
    pub(crate) low: f64,
    /// The ninetieth.
    pub(crate) high: f64,
}

impl Summary {
    /// Of at least one.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&sorted, 0.5)?,
            low: quantile(&sorted, 0.1)?,
            high: quantile(&sorted, 0.9)?,
        })
    }
}

/// The value that this part of them does not exceed, between the two nearest if need be.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = part * last as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    Some(below + (above - below) * place.fract())
}

/// How many times one is the other: the median over the rounds in which both had a slice, so that what befell the machine
/// in a round befell both. Of values that come in the order of rounds.
pub(crate) fn ratio(one: &[f64], other: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = one
        .iter()
        .zip(other)
        .filter(|(_, other)| **other > 0.0)
        .map(|(one, other)| one / other)
        .collect();
    Summary::of(&ratios).map(|summary| summary.median)
}

/// A number with three significant digits, as far as that makes sense.
pub(crate) fn digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.0995 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        let summary = Summary::of(&[30.0, 10.0, 20.0]).unwrap();
        assert_eq!(summary.median, 20.0);
        assert!((summary.low - 12.0).abs() < 1e-9 && (summary.high - 28.0).abs() < 1e-9);
        assert_eq!(Summary::of(&[4.0, 2.0]).unwrap().median, 3.0);
        assert_eq!(Summary::of(&[5.0]).unwrap().high, 5.0);
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_ratio_compares_round_by_round() {
        // In the second round the machine was slow for both.
        assert_eq!(ratio(&[20.0, 2.0, 20.0], &[10.0, 1.0, 10.0]), Some(2.0));
        assert_eq!(ratio(&[1.0, 3.0, 4.0], &[2.0, 2.0, 2.0]), Some(1.5));
        assert_eq!(ratio(&[1.0], &[]), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn digits_are_few() {
        assert_eq!(digits(123.456), "123");
        assert_eq!(digits(12.345), "12.3");
        assert_eq!(digits(1.234), "1.23");
        assert_eq!(digits(0.01234), "0.0123");
    }
}
