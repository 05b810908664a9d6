//! The queue by itself: numbers are put, and nobody writes them.

use super::*;
use crate::id::{ContextId, SessionId};
use crate::store::tombs::{CLEARED, MOST};

const ONE: Class = Class::Looked;

fn name(n: u8) -> Name {
    Name {
        context: ContextId::new(&[1]).unwrap(),
        id: SessionId::new(&[n]).unwrap(),
    }
}

fn queue() -> Queue<u32> {
    Queue::new(4, 1000)
}

fn put(queue: &Queue<u32>, n: u8, what: u32) -> bool {
    queue.put(name(n), ONE, what, 10)
}

/// What would be written, in order: a put as its number, a removal as zero.
fn written(batch: &[Op<u32>]) -> Vec<(u8, u32)> {
    let step = |op: &Op<u32>| match op.step {
        Step::Put(_, what) => what,
        _ => 0,
    };
    batch
        .iter()
        .map(|op| (op.name.id.as_bytes()[0], step(op)))
        .collect()
}

fn cancel(queue: &Queue<u32>, n: u8) -> Cancelled<u32> {
    queue.cancel(&name(n), ONE, Instant::now())
}

#[test]
fn what_is_queued_comes_out_in_order_and_in_batches() {
    let queue = queue();
    assert!((1..=3).all(|n| put(&queue, n, u32::from(n) * 7)));
    let batch = queue.next(2, 1000);
    assert_eq!(written(&batch), [(1, 7), (2, 14)]);
    assert_eq!(queue.tally().depth, 3);
    queue.finish(batch, true, Instant::now());
    // By bytes, but always one.
    assert!(put(&queue, 4, 28));
    let batch = queue.next(9, 5);
    assert_eq!(written(&batch), [(3, 21)]);
    queue.finish(batch, true, Instant::now());
    let batch = queue.next(9, 1000);
    assert_eq!(written(&batch), [(4, 28)]);
    queue.finish(batch, true, Instant::now());
    assert_eq!(queue.tally(), Tally::default());
    assert!(queue.drained(Duration::ZERO));
}

#[test]
fn a_removal_takes_the_place_of_the_put_before_it_and_a_put_follows_the_removal() {
    let queue = queue();
    put(&queue, 1, 7);
    put(&queue, 2, 14);
    assert!(queue.remove(name(1), Instant::now()));
    assert!(queue.remove(name(1), Instant::now()));
    let batch = queue.next(9, 1000);
    assert_eq!(written(&batch), [(1, 0), (2, 14)]);
    // While it is in flight, a put of the same name waits behind.
    put(&queue, 1, 21);
    queue.finish(batch, false, Instant::now());
    assert_eq!(queue.tally().lost, 1);
    // The removal that failed is written again, before that put; the put that failed is not.
    let batch = queue.next(9, 1000);
    assert_eq!(written(&batch), [(1, 0), (1, 21)]);
}

#[test]
fn a_put_in_the_place_of_a_waiting_one_is_the_last_word() {
    let queue = queue();
    put(&queue, 1, 7);
    put(&queue, 2, 14);
    put(&queue, 1, 21);
    assert_eq!(written(&queue.next(9, 1000)), [(1, 21), (2, 14)]);
}

#[test]
fn a_full_queue_drops_the_newest_put_and_still_takes_removals() {
    let queue = queue();
    assert!((1..=4).all(|n| put(&queue, n, 1)));
    assert!(!put(&queue, 5, 1));
    assert!(put(&queue, 4, 2), "it takes no more room");
    assert_eq!(queue.tally().dropped, 1);
    assert!((5..=8).all(|n| queue.remove(name(n), Instant::now())));
    assert!(!queue.remove(name(9), Instant::now()));
    assert!(queue.remove(name(1), Instant::now()), "it takes a put's");
    let tally = queue.tally();
    assert_eq!((tally.depth, tally.removals_dropped), (8, 1));
    // By bytes.
    let queue = Queue::new(100, 25);
    assert!(put(&queue, 1, 1) && put(&queue, 2, 1) && !put(&queue, 3, 1));
    assert_eq!(queue.tally().bytes, 20);
    queue.remove(name(1), Instant::now());
    assert!(put(&queue, 3, 1));
}

#[test]
fn a_put_is_taken_back_once_and_only_before_it_is_sent() {
    let queue = queue();
    put(&queue, 1, 7);
    let other = queue.cancel(&name(1), Class::Taken, Instant::now());
    assert_eq!(other, Cancelled::Absent);
    assert_eq!(cancel(&queue, 1), Cancelled::Unsent(7));
    assert_eq!(cancel(&queue, 1), Cancelled::Absent);
    assert_eq!(queue.tally(), Tally::default());
    assert!(queue.next(9, 1000).is_empty());
    put(&queue, 1, 8);
    let batch = queue.next(9, 1000);
    assert_eq!(cancel(&queue, 1), Cancelled::InFlight);
    queue.finish(batch, true, Instant::now());
    assert_eq!(cancel(&queue, 1), Cancelled::Absent);
    queue.remove(name(1), Instant::now());
    assert_eq!(cancel(&queue, 1), Cancelled::Absent);
}

#[test]
fn what_was_taken_back_leaves_no_room_behind() {
    let queue = Queue::new(1000, 1_000_000);
    put(&queue, 1, 7);
    queue.remove(name(2), Instant::now());
    for n in 0..10_000_u32 {
        let id = 10 + (n % 200) as u8;
        assert!(put(&queue, id, n));
        assert_eq!(cancel(&queue, id), Cancelled::Unsent(n));
        assert!(lock(&queue.state).ops.len() <= 2 + 2 * FEW);
    }
    put(&queue, 3, 8);
    // A name's place is found after all that.
    queue.remove(name(1), Instant::now());
    assert_eq!(written(&queue.next(9, 1000)), [(1, 0), (2, 0), (3, 8)]);
}

#[test]
fn who_waits_for_the_end_hears_of_it_when_there_was_nothing_to_write() {
    let queue = queue();
    put(&queue, 1, 7);
    cancel(&queue, 1);
    let long = Duration::from_secs(30);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| queue.drained(long));
        std::thread::sleep(Duration::from_millis(20));
        assert!(queue.next(9, 1000).is_empty());
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn what_is_forgotten_is_not_written_and_removals_are_not_forgotten() {
    let queue = queue();
    assert!((1..=3).all(|n| put(&queue, n, 7)));
    queue.remove(name(4), Instant::now());
    queue.forget(|name| name.id.as_bytes() != [2]);
    assert_eq!(written(&queue.next(9, 1000)), [(2, 7), (4, 0)]);
    assert_eq!(queue.tally().depth, 2);
}

#[test]
fn who_takes_back_what_is_being_sent_waits_for_it() {
    let queue = queue();
    put(&queue, 1, 7);
    let batch = queue.next(9, 1000);
    let later = Instant::now() + Duration::from_secs(30);
    std::thread::scope(|scope| {
        let taker = scope.spawn(|| queue.cancel(&name(1), ONE, later));
        std::thread::sleep(Duration::from_millis(20));
        queue.finish(batch, true, Instant::now());
        assert_eq!(taker.join().unwrap(), Cancelled::Absent);
    });
}

#[test]
fn what_was_removed_is_not_let_in_until_the_removal_is_long_written() {
    let queue = queue();
    let start = Instant::now();
    let after = |share: u32| start + TOMBSTONE * share / 10;
    assert!(queue.admits(&name(1), start, after(9)));
    assert!(!queue.admits(&name(1), start, after(10)), "a read too long");
    queue.remove(name(1), start);
    assert!(
        !queue.admits(&name(1), after(1000), after(1001)),
        "it waits"
    );
    let batch = queue.next(9, 1000);
    assert!(
        !queue.admits(&name(1), after(1000), after(1001)),
        "in flight"
    );
    queue.finish(batch, true, after(1002));
    assert!(!queue.admits(&name(1), after(1003), after(1004)));
    assert!(!queue.admits(&name(1), after(1005), after(1011)));
    assert!(queue.admits(&name(1), after(1005), after(1012)));
    assert!(queue.admits(&name(2), after(1003), after(1004)));
}

#[test]
fn tombstones_go_when_their_time_is_over() {
    let queue = queue();
    let start = Instant::now();
    for n in 0..100 {
        queue.remove(name(1), start + TOMBSTONE * n / 10);
        queue.remove(name(2), start + TOMBSTONE * n / 10);
    }
    let state = lock(&queue.state);
    let (names, burials) = state.tombs.len();
    assert_eq!(names, 2);
    assert!(burials <= 22, "{burials}");
}

#[test]
fn the_worker_waits_for_news_and_hears_of_the_end() {
    let queue = queue();
    let long = Duration::from_secs(30);
    assert!(queue.wait(Duration::ZERO, true));
    queue.wake();
    assert!(queue.wait(long, true));
    put(&queue, 1, 7);
    assert!(queue.wait(long, true));
    assert!(queue.wait(Duration::from_millis(1), false));
    assert!(!queue.drained(Duration::from_millis(1)));
    queue.stop();
    assert!(!queue.wait(long, true));
    assert!(!put(&queue, 2, 7));
}

#[test]
fn the_removal_of_a_put_without_an_answer_is_sent_again() {
    let queue = queue();
    let begin = Instant::now();
    let next = |now| {
        queue.repeat(now);
        let batch = queue.next(9, 1000);
        let what = written(&batch);
        queue.finish(batch, true, now);
        what
    };
    assert!(put(&queue, 1, 7) && put(&queue, 2, 14));
    let batch = queue.next(9, 1000);
    queue.finish(batch, false, begin);
    assert!(queue.remove(name(1), begin) && queue.remove(name(3), begin));
    assert_eq!(next(begin), [(1, 0), (3, 0)]);
    // The worker wakes up for it by itself.
    let waited = Instant::now();
    assert!(queue.wait(Duration::from_secs(30), true));
    assert!(waited.elapsed() < Duration::from_secs(20));
    assert_eq!(next(begin), []);
    assert_eq!(next(begin + Duration::from_secs(1)), [(1, 0)]);
    assert_eq!(next(begin + Duration::from_secs(2)), []);
    // A removal that waits already is enough.
    assert!(queue.remove(name(1), begin + Duration::from_secs(3)));
    assert_eq!(next(begin + Duration::from_secs(3)), [(1, 0)]);
    // Another session of that name is the last word.
    assert!(put(&queue, 1, 21));
    assert_eq!(next(begin + Duration::from_secs(50)), [(1, 21)]);
    assert_eq!(next(begin + Duration::from_secs(70)), []);
}

#[test]
fn tombstones_are_bounded_and_beyond_the_bound_nothing_is_let_in() {
    let queue = queue();
    let start = Instant::now();
    let many = |n: u32| Name {
        context: ContextId::new(&[1]).unwrap(),
        id: SessionId::new(&n.to_be_bytes()).unwrap(),
    };
    let admits = |n: u8, at: Instant| queue.admits(&name(n), at, at);
    for n in 0..MOST as u32 {
        queue.remove(many(n), start);
    }
    assert!(admits(1, start));
    let late = start + TOMBSTONE / 2;
    queue.remove(name(1), late);
    assert_eq!(lock(&queue.state).tombs.len().1, MOST);
    let before = late + TOMBSTONE - Duration::from_millis(1);
    assert!(!admits(1, before) && !admits(2, before));
    // All of them are over, but they are not cleared away all at once.
    let after = late + TOMBSTONE;
    assert!(admits(1, after) && admits(2, after));
    queue.remove(name(2), after);
    assert!(!admits(2, after) && admits(1, after));
    assert_eq!(lock(&queue.state).tombs.len().1, MOST - CLEARED + 1);
    for n in 0..MOST as u32 {
        queue.remove(many(n), after + TOMBSTONE * (n + 1));
    }
    let (names, burials) = lock(&queue.state).tombs.len();
    assert!(names <= 2 && burials <= 2, "{names} and {burials}");
}
