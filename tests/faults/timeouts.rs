//! Timeouts at every edge of the wheel, for ticks from the shortest to the longest: a session is told of in the first run of
//! maintenance in or after the tick at which its deadline has passed, and not a millisecond before its deadline.
//!
//! What look-ups see around a deadline, and timeouts up to the longest, are in `tests/expiry.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use refrain::{Added, NotCached, RemovalCause, SessionCache, Time};

use crate::common::{Rig, assert_settled, lasting, millis, secs, watchdog_for};

/// Ticks after which the wheel looks at every bucket instead of turning.
const JUMP: u64 = 4096;

/// Timeouts in milliseconds, on and around each edge that the wheel has.
fn edges(tick: u64) -> Vec<u64> {
    let spans = [
        0, 1, 2, 63, 64, 65, 128, 4032, 4095, 4096, 4097, 8192, 258_048, 262_144, 300_000,
    ];
    let mut edges: Vec<u64> = spans
        .iter()
        .flat_map(|span| {
            [
                (span * tick).saturating_sub(1),
                span * tick,
                span * tick + 1,
            ]
        })
        .chain([1, 2, tick / 2, tick - 1])
        .filter(|&edge| edge > 0)
        .collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

struct Run {
    rig: Rig,
    tick: u64,
    /// Deadlines by session.
    due: BTreeMap<u64, u64>,
}

impl Run {
    fn now(&self) -> u64 {
        self.rig.clock.now().as_millis()
    }

    /// Moves the clock there and maintains; what is told of must be due, and everything that was due in an earlier tick
    /// must have been told of.
    fn go(&mut self, now: u64) {
        self.rig.clock.set(Time::from_millis(now));
        while self.rig.cache.run_maintenance().more {}
        for (n, cause) in self.rig.log.drain() {
            let deadline = self.due.remove(&n).expect("told once");
            assert_eq!(cause, RemovalCause::Expired);
            assert!(deadline <= now, "told at {now}, due at {deadline}");
        }
        let tick = now / self.tick * self.tick;
        let late = self.due.values().find(|&&deadline| deadline <= tick);
        assert_eq!(late, None, "not told at {now}");
        assert_eq!(self.rig.cache.len(), self.due.len());
    }
}

#[test]
fn at_every_edge_of_the_wheel() {
    let _watchdog = watchdog_for(secs(300));
    for tick in [1, 2, 7, 1000, 3_600_000] {
        for start in [0, 1, tick - 1, 63 * tick, 64 * tick + 1, 4096 * tick - 1] {
            // By turning the wheel all the way, and by jumps.
            for stride in [JUMP * tick, u64::MAX] {
                let builder = SessionCache::builder().capacity(1000).shards(1);
                let rig = Rig::with(builder.tick(millis(tick)));
                rig.clock.set(Time::from_millis(start));
                rig.cache.settle();
                let mut run = Run {
                    rig,
                    tick,
                    due: BTreeMap::new(),
                };
                for (n, edge) in (0..).zip(edges(tick)) {
                    let session = lasting(&run.rig.context, n, millis(edge));
                    assert_eq!(run.rig.cache.add(session.clone()), Added::Inserted);
                    assert_eq!(session.deadline().as_millis(), start + edge);
                    run.due.insert(n, start + edge);
                }
                let mut moments: Vec<u64> = run
                    .due
                    .values()
                    .flat_map(|&due| [due - 1, due, due.next_multiple_of(tick)])
                    .collect();
                moments.sort_unstable();
                for moment in moments {
                    while moment - run.now() > stride {
                        run.go(run.now() + stride);
                    }
                    run.go(moment);
                }
                assert!(run.due.is_empty());
                run.rig.cache.settle();
                assert_settled(&run.rig.cache.stats());
            }
        }
    }
}

#[test]
fn of_nothing_and_of_next_to_nothing() {
    for tick in [1, 1000] {
        let rig = Rig::with(SessionCache::builder().tick(millis(tick)));
        for (n, timeout) in [(1, Duration::ZERO), (2, Duration::from_nanos(1))] {
            let added = rig.add_for(n, timeout);
            let expected = if n == 1 {
                Added::NotCached(NotCached::Expired)
            } else {
                Added::Inserted
            };
            assert_eq!(added, expected);
        }
        // As the cache's own, too; and the longest is never.
        rig.cache.set_timeout(Duration::ZERO);
        assert_eq!(rig.add(3), Added::NotCached(NotCached::Expired));
        rig.cache.set_timeout(Duration::MAX);
        assert_eq!(rig.add(4), Added::Inserted);
        assert_eq!(rig.get(4).unwrap().deadline(), Time::MAX);
        rig.advance(millis(1));
        assert!(!rig.has(2) && rig.has(4));
        assert_eq!(rig.cache.stats().not_cached, 2);
        rig.clock.set(Time::MAX);
        rig.cache.settle();
        assert_eq!((rig.cache.len(), rig.has(4)), (1, true));
    }
}
