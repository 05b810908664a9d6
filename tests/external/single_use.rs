//! Single use across servers: strictly one winner, and what is looser where it may be.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use refrain::Time;

use crate::common::{id, watchdog};
use crate::node::{Node, best_effort, payload};
use crate::store::{Fault, Shop};

#[test]
fn of_two_servers_that_take_one_session_exactly_one_wins() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    let (mut at_a, mut at_b) = (0, 0);
    for n in 0..300 {
        assert!(a.establish(n));
        if n % 3 > 0 {
            a.settle();
        }
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| a.resume_once(n));
            let other = scope.spawn(|| b.resume_once(n));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert!(!(one && other), "{n} was used twice");
        at_a += u32::from(one);
        at_b += u32::from(other);
        // Nobody after them.
        assert!(!a.resume_once(n) && !b.resume_once(n));
    }
    assert!(at_a > 0 && at_a + at_b > 200, "{at_a} and {at_b}");
    a.settle();
    assert_eq!(shop.len(), 0);
}

#[test]
fn a_session_here_is_used_only_if_the_store_hands_it_out() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::new(&shop);
    assert!(node.establish(1) && node.establish(2));
    node.settle();
    assert!(node.has(1) && node.has(2));
    shop.forget_everything();
    // Somebody else has used it, or the store has lost it: nobody knows.
    assert!(!node.resume_once(1));
    assert!(!node.has(1));
    shop.set(Fault::Down);
    assert!(!node.resume_once(2));
}

#[test]
fn a_session_that_was_not_sent_yet_needs_no_store() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let node = Node::new(&shop);
    let held = shop.hold_writes();
    node.establish(1);
    // The worker is busy with the first; the next ones wait.
    held.wait();
    for n in 2..10 {
        node.establish(n);
    }
    let takes = shop.takes.load(SeqCst);
    assert!((2..10).all(|n| node.resume_once(n)));
    assert_eq!(shop.takes.load(SeqCst), takes);
    assert_eq!(node.stats().unsent, 8);
    // What is being sent is waited for, as long as a read may take.
    assert!(!node.resume_once(1));
    drop(held);
    node.settle();
    assert!((2..10).all(|n| !node.resume_once(n)));
    assert_eq!(shop.log().len(), 1, "only the first was ever written");
}

#[test]
fn a_look_alone_burns_nothing() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    a.establish(1);
    a.settle();
    for node in [&a, &b] {
        // Somebody who has seen the id, and does not know the secret.
        let mut thief = node.cache.accept(&node.context);
        assert!(thief.resume_once(id(1)).is_some());
        drop(thief);
    }
    assert!(b.resume_once(1));
    assert!(!a.resume_once(1));
}

#[test]
fn best_effort_uses_what_is_here_and_tells_the_store_afterwards() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let a = Node::with(&shop, best_effort());
    let b = Node::with(&shop, best_effort());
    a.establish(1);
    a.settle();
    let reads = shop.reads();
    assert!(a.resume_once(1));
    assert_eq!(shop.reads(), reads);
    a.cache.settle();
    a.settle();
    assert_eq!(shop.len(), 0);
    assert!(!b.resume_once(1));
    // What is not here is taken at the store, once.
    a.establish(2);
    a.settle();
    a.cache.flush(Time::MAX);
    assert!(b.resume_once(2));
    assert!(!a.resume_once(2));
    // With the store away, what is here is used all the same.
    a.establish(3);
    shop.set(Fault::Down);
    assert!(a.resume_once(3));
}

#[test]
fn what_the_application_takes_is_gone_from_the_store_too() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    for n in 1..=2 {
        a.establish(n);
    }
    a.settle();
    let taken = a.cache.take(&a.context, &id(1)).unwrap();
    assert_eq!(taken.payload(), payload(1));
    let held = a.cache.get(&a.context, &id(2)).unwrap();
    assert!(a.cache.take_exact(&held));
    assert!(!a.resume(1) && !a.resume(2));
    a.settle();
    assert_eq!(shop.len(), 0);
    assert!(!b.resume(1) && !b.resume(2));
}

#[test]
fn an_answer_that_was_lost_uses_nothing_twice() {
    let _dog = watchdog();
    let shop = Arc::new(Shop::default());
    let (a, b) = (Node::new(&shop), Node::new(&shop));
    // The put is done, and the server does not hear of it.
    shop.set(Fault::Deaf);
    a.establish(1);
    a.until(|stats| stats.writes_lost == 1);
    shop.set(Fault::None);
    assert!(b.resume_once(1));
    a.settle();
    // It is not written a second time.
    assert_eq!(shop.len(), 0);
    assert!(!a.resume_once(1) && !b.resume_once(1));
}
