//! Contexts, and everything, are invalidated by one count at the store.

use std::sync::Arc;
use std::time::Duration;

use refrain::ContextId;

use crate::common::watchdog;
use crate::node::{Node, options};
use crate::store::{Fault, Shop};

#[test]
fn a_context_is_invalidated_for_all_servers_by_one_increment() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    let mut other = Node::new(&shop);
    other.context = other
        .cache
        .context(ContextId::derive("other", &[]))
        .unwrap();
    other.until(|_| other.is_ready());
    for n in 0..10 {
        a.establish(n);
        other.establish(n);
    }
    a.settle();
    other.settle();
    assert!(b.resume(1) && b.has(1));
    let log = shop.log().len();
    a.cache.invalidate_context(&a.context).unwrap();
    // At once here; at others with their next look at the count.
    assert!((0..10).all(|n| !a.resume(n)));
    a.settle();
    b.until(|stats| stats.invalidations_heard == 1);
    assert!((0..10).all(|n| !b.resume(n)) && !b.has(1));
    assert_eq!(shop.counters(), [1]);
    assert_eq!(shop.log().len(), log, "no session was touched");
    // The context lives on, and so does the other.
    a.establish(1);
    a.settle();
    assert!(b.resume(1));
    assert!((0..10).all(|n| other.resume(n)));
}

#[test]
fn clearing_is_for_everything_and_everybody() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    assert!(b.resume(1));
    b.cache.clear();
    assert!(!b.resume(1));
    b.settle();
    a.until(|stats| stats.invalidations_heard == 1);
    assert!(!a.resume(1) && !a.has(1));
    b.establish(2);
    b.settle();
    assert!(a.resume(2));
}

#[test]
fn what_waits_to_be_written_when_its_context_is_invalidated_is_not() {
    let _dog = watchdog();
    for everything in [false, true] {
        let shop = Arc::new(Shop::default());
        let node = Node::new(&shop);
        let held = shop.hold_writes();
        for n in 0..10 {
            node.establish(n);
        }
        if everything {
            node.cache.clear();
        } else {
            node.cache.invalidate_context(&node.context).unwrap();
        }
        drop(held);
        node.settle();
        assert!((0..10).all(|n| !node.resume(n)));
        // What was being written stands under the old count.
        let other = Node::new(&shop);
        assert!((0..10).all(|n| !other.resume(n)));
    }
}

#[test]
fn an_invalidation_while_the_store_is_read_is_not_undone_by_what_was_read() {
    let _dog = watchdog();
    for everything in [false, true] {
        let shop = Arc::new(Shop::default());
        let (a, b) = (Node::new(&shop), Node::new(&shop));
        a.establish(1);
        a.settle();
        let found = b.resume_during(1, || {
            if everything {
                b.cache.clear();
            } else {
                b.cache.invalidate_context(&b.context).unwrap();
            }
        });
        assert!(!found && !b.has(1));
        b.settle();
        assert!(!b.resume(1));
    }
}

#[test]
fn an_invalidation_of_another_context_does_not_disturb_a_read() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    let other = b.cache.context(ContextId::derive("other", &[])).unwrap();
    b.settle();
    a.establish(1);
    a.settle();
    let found = b.resume_during(1, || {
        b.cache.invalidate_context(&other).unwrap();
    });
    assert!(found && b.has(1));
}

#[test]
fn an_invalidation_with_the_store_away_is_made_up_for() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    shop.set(Fault::Down);
    a.cache.invalidate_context(&a.context).unwrap();
    assert!(!a.resume(1));
    assert!(!a.cache.settle_external(Duration::from_millis(50)));
    shop.set(Fault::None);
    assert!(!a.resume(1), "it is not counted yet");
    a.settle();
    b.until(|stats| stats.invalidations_heard == 1);
    assert!(!a.resume(1) && !b.resume(1));
}

#[test]
fn a_store_that_has_forgotten_its_counts_is_reminded() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::with(&shop, options());
    for _ in 0..3 {
        node.cache.invalidate_context(&node.context).unwrap();
        node.settle();
    }
    assert_eq!(shop.counters(), [3]);
    shop.forget_everything();
    node.until(|_| shop.counters() == [3]);
    node.establish(1);
    node.settle();
    assert!(Node::new(&shop).resume(1));
}

#[test]
fn what_waits_to_be_written_when_others_invalidate_its_context_is_not_either() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    let held = shop.hold_writes();
    b.establish(1);
    held.wait();
    for n in 2..10 {
        b.establish(n);
    }
    // The count is another's work, and no write. By the time that this server writes on, a look at it is due.
    a.cache.invalidate_context(&a.context).unwrap();
    a.settle();
    std::thread::sleep(Duration::from_millis(40));
    drop(held);
    b.settle();
    b.until(|stats| stats.invalidations_heard == 1);
    assert!((1..10).all(|n| !a.resume(n) && !b.resume(n)));
    assert_eq!(b.stats().skipped, 8);
}
