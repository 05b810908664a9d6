//! The worker's beginning and end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use refrain::{ContextId, Maintenance, RemovalCause, SessionCache};

use crate::common::{id, millis, watchdog};
use crate::node::{Node, best_effort, options};
use crate::store::{Fault, Shop};

fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.trim() == "refrain-store")
        .count()
}

#[test]
fn the_end_of_a_cache_writes_what_is_queued_and_removes_nothing() {
    let _dog = watchdog();
    for maintenance in [Maintenance::Threads, Maintenance::Manual] {
        let shop = Arc::new(Shop::default());
        let builder = SessionCache::builder().maintenance(maintenance);
        let a = Node::of(builder, &shop, options());
        for n in 0..500 {
            a.establish(n);
        }
        drop(a);
        assert_eq!(shop.len(), 500);
        let b = Node::new(&shop);
        assert!((0..500).all(|n| b.resume(n)));
    }
}

#[test]
fn what_was_used_up_before_the_end_is_removed_by_it() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let a = Node::with(&shop, best_effort());
    for n in 0..10 {
        a.establish(n);
    }
    a.settle();
    assert!((0..5).all(|n| a.resume_once(n)));
    drop(a);
    assert_eq!(shop.len(), 5);
}

#[test]
fn the_end_is_not_held_up_by_a_store_that_is_away() {
    let _dog = watchdog();
    for fault in [Fault::Down, Fault::Refuses, Fault::Silent] {
        let shop = Arc::new(Shop::default());
        let limits = options().drain(millis(100)).write_budget(millis(100));
        let a = Node::with(&shop, limits);
        for n in 0..100 {
            a.establish(n);
        }
        shop.set(fault);
        a.cache.clear();
        let start = Instant::now();
        drop(a);
        assert!(start.elapsed() < Duration::from_secs(5), "{fault:?}");
    }
}

/// One call that is under way may take its time; those behind it are not begun.
#[test]
fn the_end_is_not_held_up_by_many_calls_to_a_slow_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let limits = options().drain(millis(100)).write_budget(millis(100));
    let a = Node::with(&shop, limits);
    shop.set(Fault::Late(20));
    for n in 0..60_u8 {
        let context = a.cache.context(ContextId::new(&[n]).unwrap()).unwrap();
        a.cache.invalidate_context(&context).unwrap();
    }
    let start = Instant::now();
    drop(a);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn no_thread_is_left_and_the_store_is_let_go() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    for _ in 0..20 {
        let node = Node::new(&shop);
        assert!(workers() > 0);
        drop(node);
    }
    // Other tests have theirs; but nobody holds this store any more.
    assert_eq!(Arc::strong_count(&shop), 1);
}

#[test]
fn a_remove_callback_that_drops_the_last_handle_ends_everything() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let held = Arc::new(std::sync::Mutex::new(None::<SessionCache>));
    let (slot, calls) = (Arc::clone(&held), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let builder = SessionCache::builder().on_remove(move |_, cause| {
        counted.fetch_add(1, SeqCst);
        if cause == RemovalCause::Removed {
            drop(slot.lock().unwrap().take());
        }
    });
    let node = Node::of(builder, &shop, options());
    node.establish(1);
    node.establish(2);
    let (cache, context) = node.into_parts();
    assert!(cache.remove(&context, &id(1)));
    *held.lock().unwrap() = Some(cache);
    drop(context);
    let limit = Instant::now() + Duration::from_secs(20);
    while Arc::strong_count(&shop) > 1 {
        assert!(Instant::now() < limit, "something holds the store");
        std::thread::sleep(millis(1));
    }
    assert_eq!(calls.load(SeqCst), 2);
    assert_eq!(shop.len(), 1);
}

#[test]
fn without_a_shared_tier_there_is_nothing_to_wait_for() {
    let cache = SessionCache::builder().build().unwrap();
    assert!(cache.external_stats().is_none());
    assert!(cache.settle_external(Duration::ZERO));
}
