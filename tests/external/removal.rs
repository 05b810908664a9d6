//! What is removed stays removed, whatever was under way.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use refrain::{Session, SessionCache, Time};

use crate::common::{id, watchdog};
use crate::node::{Node, SOON, best_effort, options};
use crate::store::{Fault, Shop};

#[test]
fn a_removal_is_never_overtaken_by_the_put_before_it() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    for n in 0..500 {
        a.establish(n);
        if n % 7 == 0 {
            std::thread::sleep(Duration::from_micros(300));
        }
        a.cache.remove(&a.context, &id(n));
    }
    a.settle();
    assert_eq!(shop.len(), 0);
    // For each name the last word is a removal.
    let log = shop.log();
    for (at, (key, put)) in log.iter().enumerate() {
        let removed = |(other, put): &(_, bool)| other == key && !put;
        assert!(!put || log[at..].iter().any(removed));
    }
    assert!((0..500).all(|n| !b.resume(n)));
}

#[test]
fn every_way_of_removal_reaches_the_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    for n in 1..=5 {
        a.establish(n);
    }
    a.settle();
    assert_eq!(shop.len(), 5);
    assert!(a.cache.remove(&a.context, &id(1)));
    let held = a.cache.get(&a.context, &id(2)).unwrap();
    assert!(a.cache.remove_exact(&held));
    assert_eq!(
        a.cache.retain(|session| session.id() != id(3).as_bytes()),
        1
    );
    // A fatal alert.
    let mut connection = a.cache.accept(&a.context);
    assert!(connection.resume(id(4)).is_some());
    connection.fail();
    a.settle();
    assert_eq!(shop.len(), 1);
    assert!(!b.resume(1) && !b.resume(2) && !b.resume(3) && !b.resume(4));
    assert!(b.resume(5));
    // What is only at the store can be removed from here, too.
    a.cache.flush(Time::MAX);
    assert!(!a.cache.remove(&a.context, &id(5)));
    a.settle();
    assert_eq!(shop.len(), 0);
}

#[test]
fn a_session_that_was_evicted_is_removed_from_the_store_with_its_connection() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::of(SessionCache::builder().capacity(1), &shop, options());
    node.establish(1);
    node.settle();
    let mut connection = node.cache.accept(&node.context);
    assert!(connection.resume(id(1)).is_some());
    node.establish(2);
    assert!(!node.has(1));
    // Another connection has got it back meanwhile.
    assert!(node.resume(1) && node.has(1));
    connection.fail();
    assert!(!node.has(1));
    node.settle();
    assert_eq!(shop.len(), 1);
    assert!(!node.resume(1));
}

#[test]
fn a_removal_while_the_store_is_read_is_not_undone_by_what_was_read() {
    let _dog = watchdog();
    for options in [options, best_effort] {
        let shop = Arc::new(Shop::default());
        let (a, b) = (Node::new(&shop), Node::with(&shop, options()));
        a.establish(1);
        a.settle();
        let found = b.resume_during(1, || {
            b.cache.remove(&b.context, &id(1));
        });
        assert!(!found && !b.has(1));
        assert!(b.stats().refused_stale + b.stats().timeouts > 0);
        b.settle();
        assert_eq!(shop.len(), 0);
        assert!(!b.resume(1) && !a.resume_once(1));
    }
}

#[test]
fn what_was_removed_while_the_store_is_away_stays_removed_when_it_is_back() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    shop.set(Fault::Full);
    assert!(a.cache.remove(&a.context, &id(1)));
    // Reads are answered, the removal is not done, and yet nothing comes back.
    for _ in 0..20 {
        assert!(!a.resume(1) && !a.has(1));
        std::thread::sleep(Duration::from_millis(50));
    }
    shop.set(Fault::None);
    a.settle();
    assert_eq!(shop.len(), 0);
    assert!(!b.resume(1));
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_it() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::with(&shop, options().queue_entries(8).batch(1));
    let held = shop.hold_writes();
    for n in 0..100 {
        assert!(node.establish(n), "the first tier has it");
    }
    let stats = node.stats();
    assert!(stats.queue_dropped >= 91, "{stats:#?}");
    assert!(stats.queue_depth <= 9);
    assert!((0..100).all(|n| node.resume(n)));
    drop(held);
    node.settle();
    let stats = node.stats();
    assert_eq!(stats.written + stats.queue_dropped, 100);
    assert_eq!(shop.len() as u64, stats.written);
    // By bytes.
    let node = Node::with(&shop, options().queue_bytes(1));
    node.establish(1000);
    assert_eq!(node.stats().queue_dropped, 1);
}

#[test]
fn a_sweep_that_is_too_much_for_the_queue_takes_the_whole_context_from_the_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (
        Node::with(&shop, options().queue_entries(8)),
        Node::new(&shop),
    );
    for n in 0..100 {
        a.establish(n);
        a.settle();
    }
    let held = shop.hold_writes();
    assert_eq!(a.cache.retain(|_| false), 100);
    drop(held);
    a.settle();
    assert!(a.stats().removals_dropped > 0 && a.stats().invalidated > 0);
    b.until(|stats| stats.invalidations_heard > 0);
    assert!((0..100).all(|n| !b.resume(n) && !a.resume(n)));
}

#[test]
fn a_session_that_is_removed_before_it_is_queued_is_not_stored() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::new(&shop);
    // The new callback stands between the first tier and the queue.
    let (weak, context) = (Arc::new(OnceLock::new()), node.context.clone());
    let cache = Arc::clone(&weak);
    node.cache
        .set_on_new(Some(Arc::new(move |session: &Session| {
            let cache: &SessionCache = cache.get().unwrap();
            cache.remove(&context, &session.session_id())
        })));
    weak.set(node.cache.clone()).unwrap();
    node.establish(1);
    node.settle();
    assert_eq!(shop.len(), 0);
    // Or the cache would own itself.
    node.cache.set_on_new(None);
}

#[test]
fn a_session_that_is_removed_while_it_is_queued_is_not_left_at_the_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    const MANY: u64 = 3000;
    // None leaves in another way.
    let large = SessionCache::builder().capacity(2 * MANY as usize);
    let node = Node::of(large, &shop, options());
    std::thread::scope(|scope| {
        scope.spawn(|| (0..MANY).for_each(|n| assert!(node.establish(n), "{n}")));
        scope.spawn(|| {
            for n in 0..MANY {
                let limit = Instant::now() + SOON;
                while !node.cache.remove(&node.context, &id(n)) {
                    assert!(Instant::now() < limit, "{n}: {:#?}", node.cache.stats());
                    std::thread::yield_now();
                }
            }
        });
    });
    node.settle();
    assert_eq!(shop.len(), 0);
}
