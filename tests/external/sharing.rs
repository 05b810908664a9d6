//! What one server establishes, another resumes.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use refrain::{CacheMode, Maintenance, SessionCache, Time};

use crate::common::{id, secs, watchdog};
use crate::node::{Node, SOON, best_effort, loose, options, payload};
use crate::store::Shop;

#[test]
fn a_session_resumes_at_another_server_and_is_kept_there() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    assert!(a.establish(1));
    a.settle();
    assert_eq!(shop.len(), 1);
    let before = shop.reads();
    assert!(b.resume(1));
    assert_eq!(shop.reads(), before + 1);
    // From here on it is in the first tier.
    assert!(b.resume(1) && b.resume(1));
    assert_eq!(shop.reads(), before + 1);
    assert_eq!(b.stats().hits, 1);
    assert!(!shop.read_on_worker.load(SeqCst));
}

#[test]
fn a_hit_in_the_first_tier_leaves_the_store_alone() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    for options in [options(), best_effort()] {
        let node = Node::with(&shop, options);
        node.establish(1);
        let before = shop.reads();
        assert!((0..100).all(|_| node.resume(1)));
        assert_eq!(shop.reads(), before);
    }
}

#[test]
fn everything_that_a_session_carries_comes_along() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    let ends = a.cache.now() + secs(500);
    let mut first = a.cache.accept(&a.context);
    first.set_server_name(Some("a.example"));
    first.set_not_after(ends);
    let builder = first.session_builder(id(1)).tag(77).timeout(secs(900));
    let session = builder.build(&payload(1)).unwrap();
    assert!(first.establish(session));
    first.close();
    a.settle();
    // The store keeps it as long as its authentication lasts, which is less than its timeout.
    assert!(shop.longest_ttl() <= secs(500) && shop.longest_ttl() > secs(490));

    let mut other = b.cache.accept(&b.context);
    other.set_server_name(Some("b.example"));
    assert!(other.resume(id(1)).is_none(), "it is bound to a name");
    let mut second = b.cache.accept(&b.context);
    second.set_server_name(Some("a.example"));
    let found = second.resume(id(1)).unwrap();
    assert_eq!(found.payload(), payload(1));
    assert_eq!((found.tag(), found.server_name()), (77, Some("a.example")));
    let left = found.not_after().saturating_since(b.cache.now());
    assert!(left <= secs(500) && left > secs(490), "{left:?}");
    assert!(found.deadline() <= found.not_after());
    second.close();
}

#[test]
fn what_never_expires_and_has_no_name_comes_along_too() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish_as(1, |builder| builder.timeout(Duration::MAX));
    a.settle();
    assert_eq!(shop.longest_ttl(), secs(7 * 24 * 3600));
    assert!(b.resume(1));
    let found = b.cache.get(&b.context, &id(1)).unwrap();
    assert_eq!(
        (found.deadline(), found.not_after()),
        (Time::MAX, Time::MAX)
    );
}

#[test]
fn another_context_does_not_find_it() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let a = Node::new(&shop);
    let mut b = Node::new(&shop);
    a.establish(1);
    a.settle();
    let other = refrain::ContextId::derive("another", &[]);
    b.context = b.cache.context(other).unwrap();
    b.until(|_| b.is_ready());
    let misses = b.stats().misses;
    assert!(!b.resume(1));
    assert_eq!(b.stats().misses, misses + 1);
}

#[test]
fn concurrent_misses_of_one_id_share_a_read() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    let gets = shop.gets.load(SeqCst);
    // As long as nobody is late: the gate is open again well within the read budget, or the answer is none for all.
    for round in 0..50 {
        b.cache.flush(Time::MAX);
        let (gets, shared) = (shop.gets.load(SeqCst), b.stats().shared);
        shop.close_gate();
        let all = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| b.resume(1)));
            shop.wait_at_gate(1);
            std::thread::sleep(Duration::from_millis(5));
            shop.open_gate();
            threads.map(|thread| thread.join().unwrap())
        });
        let together = b.stats().shared == shared + 3 && shop.gets.load(SeqCst) == gets + 1;
        if together && all == [true; 4] {
            return;
        }
        assert!(round < 49, "in fifty rounds no four came together");
    }
    assert!(shop.gets.load(SeqCst) > gets);
}

#[test]
fn a_handshake_makes_no_more_reads_than_it_may() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    for (options, most) in [(options(), 2), (options().reads_per_handshake(1), 1)] {
        let node = Node::with(&shop, options);
        let before = (shop.reads(), node.cache.stats().external_denied);
        let mut connection = node.cache.accept(&node.context);
        for n in 0..1000 {
            assert!(connection.resume(id(n)).is_none());
        }
        assert_eq!(shop.reads(), before.0 + most);
        let denied = node.cache.stats().external_denied - before.1;
        assert_eq!(denied, 1000 - most);
    }
}

#[test]
fn an_evicted_or_expired_session_stays_at_the_store_for_its_time() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::of(
        SessionCache::builder().capacity(2).shards(1),
        &shop,
        options(),
    );
    for n in 0..50 {
        node.establish(n);
    }
    node.cache.settle();
    node.settle();
    assert_eq!(shop.len(), 50);
    assert!(node.cache.stats().evicted >= 48);
    assert!((0..50).all(|n| node.resume(n)));
    node.cache.flush(Time::MAX);
    assert!(node.cache.is_empty());
    node.cache.settle();
    node.settle();
    assert_eq!(shop.len(), 50);
    assert!(node.resume(7));
}

#[test]
fn a_session_whose_time_is_over_is_not_found_at_the_store_either() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish_as(1, |builder| builder.timeout(Duration::from_millis(300)));
    a.settle();
    let in_time = b.resume(1);
    std::thread::sleep(Duration::from_millis(400));
    assert!(!b.resume(1));
    // A machine that stood still for a while proves nothing.
    assert!(in_time || b.stats().hits == 0);
}

#[test]
fn the_users_callbacks_go_on_working_beside_it() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let a = Node::new(&shop);
    let b = Node::of(
        SessionCache::builder()
            .on_new(|session| session.payload() != payload(2))
            .on_get(|lookup| {
                let mine = lookup.id == &id(3);
                mine.then(|| {
                    refrain::Session::new(lookup.context, *lookup.id, &payload(3)).unwrap()
                })
            }),
        &shop,
        options(),
    );
    // Refused: kept nowhere.
    assert!(b.establish(1) && !b.establish(2));
    b.settle();
    assert_eq!(shop.len(), 1);
    assert!(a.resume(1) && !a.resume(2));
    // What the store does not have, the callback may.
    assert!(b.resume(3));
}

#[test]
fn the_modes_are_heeded() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let b = Node::new(&shop);
    let outside = SessionCache::builder().mode(CacheMode::SERVER | CacheMode::NO_INTERNAL);
    let a = Node::of(outside, &shop, options());
    assert!(a.establish(1), "the store has it");
    a.settle();
    assert!(!a.has(1));
    assert!(a.resume(1) && !a.has(1) && b.resume(1));
    // Nothing is stored of a client's, or added by the application itself.
    let both = SessionCache::builder().mode(CacheMode::BOTH);
    let c = Node::of(both, &shop, options());
    let mut client = c.cache.connect(&c.context);
    assert!(client.establish(loose(&c, 2)));
    client.close();
    assert!(c.cache.add(loose(&c, 3)).is_cached());
    c.settle();
    assert_eq!(shop.len(), 1);
    c.cache.set_mode(CacheMode::OFF);
    assert!(!c.establish(4) && !c.resume(1));
}

#[test]
fn a_cache_that_is_maintained_by_hand_has_its_worker_all_the_same() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let manual = || SessionCache::builder().maintenance(Maintenance::Manual);
    let a = Node::of(manual(), &shop, options());
    let b = Node::of(manual(), &shop, best_effort());
    a.establish(1);
    a.settle();
    assert!(b.resume(1));
    // What is used up without asking is told to the store by who maintains.
    assert!(b.resume_once(1));
    b.cache.run_maintenance();
    b.settle();
    assert_eq!(shop.len(), 0);
    let worker = |cache: &SessionCache| cache.settle_external(SOON);
    assert!(worker(&a.cache) && worker(&b.cache));
}
