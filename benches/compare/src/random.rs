//! Pseudo-random numbers and ids, the same in every run of a seed.

use crate::cache::Id;

/// SplitMix64: small, quick, and even enough for ids and choices.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of one stream of a seed. Streams of one seed have nothing in common.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed);
        let base = mixed.next();
        mixed.0 = base ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(mixed.next())
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    #[inline]
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A number from 0 to 1, without the 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An id that nobody has had.
    #[inline]
    pub(crate) fn id(&mut self) -> Id {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes());
        }
        Id(bytes)
    }

    /// Brings them into an order of chance.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_all_streams_differ_and_repeat_with_the_seed() {
        let ids = |seed| -> Vec<[u8; 32]> {
            (0..8)
                .flat_map(|stream| {
                    let mut random = Random::new(seed, stream);
                    (0..1000).map(move |_| random.id().0)
                })
                .collect()
        };
        assert_eq!(ids(1), ids(1));
        let all: HashSet<_> = ids(1).into_iter().chain(ids(2)).collect();
        assert_eq!(all.len(), 16_000);
    }

    #[test]
    fn choices_are_even_and_in_bounds() {
        let mut random = Random::new(3, 0);
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            seen[random.below(10)] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..1000).collect();
        Random::new(4, 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
