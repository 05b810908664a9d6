//! Ranks by Zipf's law: the one of rank k is wanted in proportion to 1 / (k + 1) to the power of the exponent.

use crate::random::Random;

/// The exponent of every workload here, as in YCSB.
pub(crate) const EXPONENT: f64 = 0.99;

/// The sums of the shares up to each rank. Exact, and as large as the population.
#[derive(Debug)]
pub(crate) struct Zipf(Vec<f64>);

impl Zipf {
    /// Over the ranks 0 to `population` - 1.
    pub(crate) fn new(population: usize, exponent: f64) -> Self {
        assert!(population > 0, "nobody to choose from");
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=population)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut sums {
            *share /= sum;
        }
        Self(sums)
    }

    /// A rank.
    pub(crate) fn rank(&self, random: &mut Random) -> usize {
        let point = random.unit();
        self.0
            .partition_point(|sum| *sum <= point)
            .min(self.0.len() - 1)
    }

    /// Many ranks.
    pub(crate) fn ranks(&self, random: &mut Random, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.rank(random) as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_in_the_law_s_proportions() {
        const POPULATION: usize = 1000;
        const DRAWS: usize = 1_000_000;
        let zipf = Zipf::new(POPULATION, EXPONENT);
        let mut random = Random::new(1, 0);
        let mut seen = [0_usize; POPULATION];
        for rank in zipf.ranks(&mut random, DRAWS) {
            seen[rank as usize] += 1;
        }
        let total: f64 = (1..=POPULATION).map(|k| (k as f64).powf(-EXPONENT)).sum();
        for rank in [0, 1, 9, 99, 999] {
            let expected = ((rank + 1) as f64).powf(-EXPONENT) / total * DRAWS as f64;
            let found = seen[rank] as f64;
            // Five standard deviations.
            assert!(
                (found - expected).abs() < 5.0 * expected.sqrt(),
                "rank {rank}: {found} of {expected}"
            );
        }
    }

    #[test]
    fn an_exponent_of_zero_is_uniform_and_one_rank_is_always_it() {
        let zipf = Zipf::new(4, 0.0);
        let mut random = Random::new(2, 0);
        let mut seen = [0_u32; 4];
        for rank in zipf.ranks(&mut random, 40_000) {
            seen[rank as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        assert_eq!(Zipf::new(1, EXPONENT).rank(&mut random), 0);
    }
}
