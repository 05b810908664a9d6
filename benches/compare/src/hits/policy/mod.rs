//! Policies of eviction, as their papers have them, on sessions that have only a number.

mod belady;
mod clock;
mod expiry;
mod fifo;
mod lru;
mod s3fifo;
mod sieve;
mod unlimited;

pub(super) use self::belady::Belady;
pub(super) use self::clock::Clock;
pub(super) use self::expiry::SoonestToExpire;
pub(super) use self::fifo::Fifo;
pub(super) use self::lru::Lru;
pub(super) use self::s3fifo::S3Fifo;
pub(super) use self::sieve::Sieve;
pub(super) use self::unlimited::Unlimited;

/// What is known of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// When it expires.
    pub(super) deadline: u32,
    /// When it will be asked for, which only Belady may look at.
    pub(super) next: u32,
}

/// One policy, with sessions in it. What has expired is removed from all of them at once, to everybody's advantage.
pub(super) trait Policy {
    fn new(capacity: usize) -> Self;
    /// A look-up. `next` is when it will be asked for again.
    fn touch(&mut self, id: u64, next: u32) -> bool;
    /// A new session, for which another may have to leave.
    fn add(&mut self, entry: Entry);
    /// Taken, or expired.
    fn remove(&mut self, id: u64) -> bool;
    fn len(&self) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn entry(id: u64) -> Entry {
        Entry {
            id,
            deadline: 1000 + id as u32,
            next: 0,
        }
    }

    /// Fills one, touches some, adds one more than fits, and says who is left.
    fn left<P: Policy>(capacity: usize, touched: &[u64], added: u64) -> Vec<u64> {
        let mut policy = P::new(capacity);
        (0..capacity as u64).for_each(|id| policy.add(entry(id)));
        for id in touched {
            assert!(policy.touch(*id, 0));
        }
        (0..added).for_each(|n| policy.add(entry(capacity as u64 + n)));
        assert_eq!(policy.len(), capacity);
        (0..capacity as u64 + added)
            .filter(|id| policy.remove(*id))
            .collect()
    }

    #[test]
    fn each_evicts_whom_its_paper_says() {
        assert_eq!(left::<Fifo>(4, &[0], 1), [1, 2, 3, 4]);
        assert_eq!(left::<SoonestToExpire>(4, &[0], 1), [1, 2, 3, 4]);
        assert_eq!(left::<Lru>(4, &[0, 1], 1), [0, 1, 3, 4]);
        assert_eq!(left::<Clock>(4, &[0], 1), [0, 2, 3, 4]);
        // Survivors of CLOCK begin anew: 0 comes up again behind 2.
        assert_eq!(left::<Clock>(4, &[0, 2], 3), [2, 4, 5, 6]);
        // SIEVE's hand has passed 0 and goes on to the newer ones; 0 stays until it comes round.
        assert_eq!(left::<Sieve>(4, &[0], 2), [0, 3, 4, 5]);
        assert_eq!(left::<Sieve>(3, &[0], 3), [0, 4, 5]);
        assert_eq!(left::<Clock>(3, &[0], 3), [3, 4, 5]);
        // Ten in the small queue of twenty: unseen ones leave it before the main queue's.
        let left = left::<S3Fifo>(20, &[0, 0], 10);
        assert!(left.contains(&0) && !left.contains(&1), "{left:?}");
    }

    #[test]
    fn belady_evicts_whom_nobody_wants_and_refuses_such() {
        let mut belady = Belady::new(2);
        let entry = |id, next| Entry {
            id,
            deadline: 100,
            next,
        };
        belady.add(entry(1, 10));
        belady.add(entry(2, 20));
        belady.add(entry(3, 15));
        assert!(!belady.touch(2, 0) && belady.touch(3, 50));
        // 3 is now wanted at 50; what comes later than that is not taken in.
        belady.add(entry(4, 60));
        assert!(!belady.touch(4, 0));
        belady.add(entry(5, 40));
        assert!(belady.touch(5, 40) && !belady.touch(3, 0) && belady.touch(1, 10));
        // Past its deadline, nobody can want it.
        belady.add(entry(6, 200));
        assert!(!belady.touch(6, 0));
    }

    /// Whatever is done to it, it holds no more than it may, and what it holds is found.
    fn is_sound<P: Policy>() {
        const CAPACITY: usize = 50;
        let mut policy = P::new(CAPACITY);
        let mut random = Random::new(1, 0);
        let mut removed = std::collections::HashSet::new();
        for id in 0..20_000_u64 {
            policy.add(entry(id));
            assert!(policy.len() <= CAPACITY);
            for _ in 0..3 {
                let id = id.saturating_sub(random.below(80) as u64);
                match random.below(4) {
                    0 => {
                        if policy.remove(id) {
                            assert!(removed.insert(id), "{id} was removed twice");
                        }
                    }
                    _ => {
                        let found = policy.touch(id, 0);
                        assert!(!(found && removed.contains(&id)), "{id} came back");
                    }
                }
            }
        }
        let left = (0..20_000).filter(|id| policy.remove(*id)).count();
        assert!(
            policy.len() == 0 && (10..=CAPACITY).contains(&left),
            "{left}"
        );
    }

    #[test]
    fn all_are_sound() {
        is_sound::<Fifo>();
        is_sound::<Lru>();
        is_sound::<Clock>();
        is_sound::<Sieve>();
        is_sound::<S3Fifo>();
        is_sound::<SoonestToExpire>();
        is_sound::<Belady>();
    }
}
