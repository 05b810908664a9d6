//! Whatever the store does, a handshake is a full one at the worst, and no later than its budget.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use refrain::store::{BreakerState, ExternalOptions, ExternalStats};

use crate::common::{millis, watchdog};
use crate::node::{Node, keys, options};
use crate::store::{Fault, Shop};

/// The counter that tells of a fault.
type Count = fn(&ExternalStats) -> u64;

/// Two servers, and some sessions of the first at the store.
fn pair() -> (Arc<Shop>, Node, Node) {
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    for n in 0..10 {
        a.establish(n);
    }
    a.settle();
    (shop, a, b)
}

#[test]
fn every_fault_is_a_miss_that_is_counted_and_is_over_when_the_fault_is() {
    let _dog = watchdog();
    let cases: [(Fault, Count); 8] = [
        (Fault::Down, |stats| stats.unavailable),
        (Fault::Silent, |stats| stats.timeouts),
        (Fault::Late(3), |stats| stats.timeouts),
        (Fault::Refuses, |stats| stats.store_refused),
        (Fault::Nonsense, |stats| stats.store_garbled),
        (Fault::Panics, |stats| stats.store_panics),
        (Fault::Garbage, |stats| {
            stats.refused_forged + stats.refused_foreign
        }),
        (Fault::Swapped, |stats| stats.refused_forged),
    ];
    for (fault, counted) in cases {
        let (shop, a, b) = pair();
        let before = counted(&b.stats());
        shop.set(fault);
        assert!(!b.resume(1), "{fault:?}");
        assert!(!b.resume_once(2), "{fault:?}");
        assert!(counted(&b.stats()) >= before + 2, "{fault:?}");
        // What is in the first tier is not concerned.
        assert!(a.resume(1), "{fault:?}");
        assert!(b.establish(100) && b.resume(100), "{fault:?}");
        shop.set(Fault::None);
        b.until(|stats| stats.breaker == BreakerState::Closed);
        assert!(b.resume(1), "{fault:?}");
    }
}

#[test]
fn a_store_that_is_down_at_the_start_costs_the_resumptions_across_servers_only() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    shop.set(Fault::Down);
    let node = Node::new(&shop);
    assert!(node.establish(1) && node.resume(1));
    assert!(!node.resume(2));
    // It was never sent, so nobody else can have it.
    assert!(node.resume_once(1));
    node.until(|stats| stats.breaker != BreakerState::Closed);
    // It comes up.
    shop.set(Fault::None);
    node.until(|_| node.is_ready());
    node.establish(3);
    node.settle();
    assert!(Node::new(&shop).resume(3));
}

#[test]
fn a_store_that_dies_and_comes_back_empty_is_found_again() {
    let _dog = watchdog();
    let (shop, a, b) = pair();
    assert!(b.resume(1));
    shop.set(Fault::Down);
    shop.forget_everything();
    for n in 0..100 {
        assert!(!b.resume(1000 + n));
        a.establish(2000 + n);
    }
    // What was here before is here still.
    assert!(a.resume(1) && b.resume(1));
    shop.set(Fault::None);
    b.until(|stats| stats.breaker == BreakerState::Closed);
    a.until(|stats| stats.breaker == BreakerState::Closed);
    a.establish(3000);
    a.settle();
    assert!(b.resume(3000));
    assert_eq!(b.stats().invalidations_heard, 0);
}

#[test]
fn no_handshake_waits_longer_than_its_budget() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::with(&shop, ExternalOptions::new(keys()));
    shop.set(Fault::Silent);
    let mut fastest = Duration::MAX;
    let mut slowest = Duration::ZERO;
    for n in 0..4 {
        let start = Instant::now();
        assert!(!node.resume(n));
        fastest = fastest.min(start.elapsed());
        slowest = slowest.max(start.elapsed());
    }
    assert!(fastest >= millis(3), "{fastest:?}");
    // A busy machine may stop a thread for longer than any budget, but not each time.
    assert!(fastest < millis(20), "{fastest:?} to {slowest:?}");
}

#[test]
fn the_breaker_opens_keeps_handshakes_away_and_closes_by_the_workers_probe() {
    let _dog = watchdog();
    let (shop, _a, b) = pair();
    let refresh = ExternalOptions::new(keys()).epoch_refresh(Duration::from_secs(3600));
    let c = Node::with(&shop, refresh.read_budget(millis(20)));
    shop.set(Fault::Refuses);
    for n in 0..4 {
        assert!(!c.resume(n));
        assert_eq!(c.stats().breaker, BreakerState::Closed);
    }
    assert!(!c.resume(4));
    assert_eq!(c.stats().breaker, BreakerState::Open);
    assert_eq!(c.stats().breaker_openings, 1);
    drop(b);
    // From here on no handshake asks.
    let (reads, denied) = (shop.reads(), c.stats().denied_breaker);
    for n in 0..50 {
        assert!(!c.resume(n) && !c.resume_once(n));
    }
    assert_eq!(shop.reads(), reads);
    assert_eq!(c.stats().denied_breaker, denied + 100);
    shop.set(Fault::None);
    let probes = shop.probes.load(SeqCst);
    c.until(|stats| stats.breaker == BreakerState::Closed);
    assert!(shop.probes.load(SeqCst) > probes);
    assert!(!shop.probe_elsewhere.load(SeqCst), "only the worker probes");
    assert_eq!(c.stats().breaker_closings, 1);
    assert!(c.resume(1));
}

#[test]
fn a_store_that_is_full_still_answers() {
    let _dog = watchdog();
    let (shop, a, b) = pair();
    shop.set(Fault::Full);
    a.establish(100);
    a.until(|stats| stats.writes_lost == 1);
    assert!(a.resume(100) && b.resume(1) && !b.resume(100));
    assert!(a.stats().store_refused > 0 && a.stats().batches_failed > 0);
    shop.set(Fault::None);
    a.establish(101);
    a.settle();
    assert!(b.resume(101));
}

#[test]
fn a_pool_without_a_free_connection_is_no_failure_of_the_store() {
    let _dog = watchdog();
    let (shop, _a, _b) = pair();
    let lazy = options().epoch_refresh(Duration::from_secs(3600));
    let c = Node::with(&shop, lazy);
    // For handshakes only: by the time that the worker looks, there is one again.
    shop.set(Fault::Busy);
    for n in 0..100 {
        assert!(!c.resume(n));
    }
    assert!(c.stats().unavailable >= 100);
    assert_eq!(c.stats().breaker, BreakerState::Closed);
    shop.set(Fault::None);
    assert!(c.resume(1));
}
