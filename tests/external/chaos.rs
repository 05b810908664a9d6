//! Several servers, many handshakes, and a store that keeps failing in all its ways: nothing is used twice, and nothing that
//! was removed comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use refrain::Time;
use refrain::store::BreakerState;

use crate::common::{Random, id, watchdog};
use crate::node::{Node, SOON, options};
use crate::store::{Fault, Shop};

const FAULTS: [Fault; 9] = [
    Fault::Down,
    Fault::Busy,
    Fault::Silent,
    Fault::Late(1),
    Fault::Refuses,
    Fault::Full,
    Fault::Garbage,
    Fault::Panics,
    Fault::Deaf,
];

/// What became of one session.
#[derive(Default)]
struct Fate {
    /// It is established: what removes it before that, removes nothing.
    born: AtomicBool,
    used: AtomicU32,
    /// All servers have removed it.
    removed: AtomicBool,
}

#[test]
fn nothing_is_used_twice_and_nothing_removed_comes_back() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let nodes = [(); 3].map(|()| {
        let limits = options()
            .write_budget(Duration::from_millis(5))
            .queue_entries(200);
        Node::with(&shop, limits)
    });
    let fates: Vec<Fate> = (0..200_000).map(|_| Fate::default()).collect();
    let born = AtomicU64::new(0);
    let end = Instant::now() + Duration::from_secs(4);
    std::thread::scope(|scope| {
        let (nodes, fates, born, shop) = (&nodes, &fates, &born, &shop);
        for seed in 1..=3 {
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while Instant::now() < end {
                    let node = &nodes[random.below(3) as usize];
                    let last = born.load(SeqCst);
                    // Mostly one of the latest.
                    let n = last.saturating_sub(random.below(50));
                    let fate = &fates[n as usize];
                    match random.below(8) {
                        0..3 if (last as usize) < fates.len() - 10 => {
                            let n = born.fetch_add(1, SeqCst) + 1;
                            node.establish(n);
                            fates[n as usize].born.store(true, SeqCst);
                        }
                        3 if fate.born.load(SeqCst) => {
                            nodes.iter().for_each(|node| {
                                node.cache.remove(&node.context, &id(n));
                            });
                            fate.removed.store(true, SeqCst);
                        }
                        4 => drop(node.cache.flush(Time::MAX)),
                        _ => {
                            let removed = fate.removed.load(SeqCst);
                            if node.resume_once(n) {
                                assert_eq!(fate.used.fetch_add(1, SeqCst), 0, "{n} twice");
                                assert!(!removed, "{n} was removed before");
                            }
                        }
                    }
                }
            });
        }
        scope.spawn(move || {
            let mut random = Random::new(77);
            while Instant::now() < end {
                shop.set(FAULTS[random.below(9) as usize]);
                std::thread::sleep(Duration::from_millis(random.below(30)));
                shop.set(Fault::None);
                std::thread::sleep(Duration::from_millis(random.below(200)));
            }
        });
    });
    shop.set(Fault::None);
    for node in &nodes {
        node.until(|stats| stats.breaker == BreakerState::Closed);
        assert!(node.cache.settle_external(SOON));
    }
    let used = fates.iter().filter(|f| f.used.load(SeqCst) > 0).count();
    assert!(used > 100, "{used}");
    // What was not removed for want of room was counted.
    let lost: u64 = nodes.iter().map(|n| n.stats().removals_dropped).sum();
    let mut revived = 0;
    for (n, fate) in fates
        .iter()
        .enumerate()
        .take(born.load(SeqCst) as usize + 1)
    {
        let over = fate.removed.load(SeqCst) || fate.used.load(SeqCst) > 0;
        if over && nodes.iter().any(|node| node.resume_once(n as u64)) {
            assert!(fate.used.load(SeqCst) == 0, "{n} was used before");
            revived += 1;
        }
    }
    assert!(
        revived <= lost,
        "{revived} came back, {lost} were not removed"
    );
}
