//! Histories of one id, recorded from real threads, must be explainable by a cell that holds at most one session:
//! there is an order of the operations, true to real time, in which each answer is the right one.
//!
//! The checker is the classic search (Wing and Gong) with a memory of what it has tried, and is tested on bad histories.

#![allow(missing_docs)]

mod common;

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use common::{Random, context, id, watchdog};
use refrain::{Added, Context, NotCached, Session, SessionCache};

/// What a thread did to the id, and what it was told. Sessions are known by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// True if it replaced a live one.
    Added(u32, bool),
    /// The add lost against another that was under way: it did nothing.
    Raced,
    Found(Option<u32>),
    Taken(Option<u32>),
    /// By id.
    Removed(bool),
    /// By object: true for the one that ended it.
    Ended(u32, bool),
}

/// An operation with the ticks of a shared counter around it.
#[derive(Clone, Copy, Debug)]
struct Event {
    begin: u64,
    end: u64,
    op: Op,
}

/// What the cell holds after the operation, if the answer is right for what it held before.
fn step(cell: Option<u32>, op: Op) -> Option<Option<u32>> {
    match op {
        Op::Added(n, replaced) => (replaced == cell.is_some()).then_some(Some(n)),
        Op::Raced => Some(cell),
        Op::Found(found) => (found == cell).then_some(cell),
        Op::Taken(taken) => (taken == cell).then_some(None),
        Op::Removed(removed) => (removed == cell.is_some()).then_some(None),
        Op::Ended(n, true) => (cell == Some(n)).then_some(None),
        Op::Ended(n, false) => (cell != Some(n)).then_some(cell),
    }
}

/// Whether some order explains the history, which begins with an empty cell. At most 128 operations.
fn is_linearizable(history: &[Event]) -> bool {
    assert!(history.len() <= 128);
    let all = u128::MAX >> (128 - history.len().max(1)) as u32;
    let mut tried = HashSet::new();
    let mut open = vec![(0u128, None)];
    while let Some((done, cell)) = open.pop() {
        if done == all || history.is_empty() {
            return true;
        }
        let left = || (0..history.len()).filter(|i| done >> i & 1 == 0);
        // Only what began before everything else that is left had ended may come next.
        let first_end = left().map(|i| history[i].end).min().unwrap();
        for i in left().filter(|i| history[*i].begin <= first_end) {
            if let Some(next) = step(cell, history[i].op) {
                let state = (done | 1 << i, next);
                if tried.insert(state) {
                    open.push(state);
                }
            }
        }
    }
    false
}

#[test]
fn the_checker_knows_good_histories_from_bad_ones() {
    use Op::{Added, Ended, Found, Raced, Removed, Taken};
    let history = |events: &[(u64, u64, Op)]| -> Vec<Event> {
        let event = |&(begin, end, op)| Event { begin, end, op };
        events.iter().map(event).collect()
    };
    let good: [&[(u64, u64, Op)]; 6] = [
        &[],
        &[
            (0, 1, Added(1, false)),
            (2, 3, Found(Some(1))),
            (4, 5, Taken(Some(1))),
            (6, 7, Found(None)),
        ],
        // A lookup that overlaps the add may come before or after it.
        &[(0, 3, Added(1, false)), (1, 2, Found(None))],
        &[(0, 3, Added(1, false)), (1, 2, Found(Some(1)))],
        // Of two takes that overlap, one wins; which, is free.
        &[
            (0, 1, Added(1, false)),
            (2, 5, Taken(None)),
            (3, 4, Taken(Some(1))),
        ],
        &[
            (0, 1, Added(1, false)),
            (2, 9, Added(2, true)),
            (3, 8, Raced),
            (4, 5, Found(Some(2))),
            (10, 11, Ended(1, false)),
            (12, 13, Removed(true)),
        ],
    ];
    for events in good {
        assert!(is_linearizable(&history(events)), "{events:?}");
    }
    let bad: [&[(u64, u64, Op)]; 9] = [
        // Found before it was added; not found after it was; found after it was taken.
        &[(0, 1, Found(Some(1))), (2, 3, Added(1, false))],
        &[(0, 1, Added(1, false)), (2, 3, Found(None))],
        &[
            (0, 1, Added(1, false)),
            (2, 3, Taken(Some(1))),
            (4, 5, Found(Some(1))),
        ],
        // Two winners.
        &[
            (0, 1, Added(1, false)),
            (2, 5, Taken(Some(1))),
            (3, 4, Taken(Some(1))),
        ],
        &[
            (0, 1, Added(1, false)),
            (2, 5, Taken(Some(1))),
            (3, 4, Ended(1, true)),
        ],
        // The old one after the new one; old and new in turns.
        &[
            (0, 1, Added(1, false)),
            (2, 3, Added(2, true)),
            (4, 5, Found(Some(1))),
        ],
        &[
            (0, 1, Added(1, false)),
            (2, 9, Added(2, true)),
            (3, 4, Found(Some(2))),
            (5, 6, Found(Some(1))),
        ],
        // Replaced what was not there; removed nothing that was there.
        &[(0, 1, Added(1, true))],
        &[
            (0, 1, Added(1, false)),
            (2, 3, Removed(false)),
            (4, 5, Taken(Some(1))),
        ],
    ];
    for events in bad {
        assert!(!is_linearizable(&history(events)), "{events:?}");
    }
}

const THREADS: usize = 3;
const OPS: usize = 8;

/// One round: every thread does a few operations on the same fresh id.
fn record(
    cache: &SessionCache,
    context: &Context,
    n: u64,
    ticks: &AtomicU64,
    start: impl FnOnce(),
    thread: usize,
    random: &mut Random,
) -> Vec<Event> {
    let sessions: Vec<_> = (0..OPS)
        .map(|i| {
            let serial = (thread * OPS + i) as u64;
            Session::builder(context, id(n))
                .tag(serial)
                .build(b"")
                .unwrap()
        })
        .collect();
    let mut events = Vec::with_capacity(OPS);
    let mut last = None;
    let tag = |session: &Session| session.tag() as u32;
    start();
    for session in sessions {
        let begin = ticks.fetch_add(1, Ordering::SeqCst);
        let op = match random.below(8) {
            0..3 => {
                let number = tag(&session);
                last = Some(session.clone());
                match cache.add(session) {
                    Added::Inserted => Op::Added(number, false),
                    Added::Replaced => Op::Added(number, true),
                    Added::NotCached(NotCached::Raced) => Op::Raced,
                    other => panic!("{other:?} in a roomy cache"),
                }
            }
            3 => Op::Found(cache.with(context, &id(n), tag)),
            4 => Op::Found(cache.get(context, &id(n)).as_ref().map(tag)),
            5 => Op::Taken(cache.take(context, &id(n)).as_ref().map(tag)),
            6 => Op::Removed(cache.remove(context, &id(n))),
            _ => match &last {
                Some(session) => Op::Ended(tag(session), cache.take_exact(session)),
                None => Op::Found(cache.get(context, &id(n)).as_ref().map(tag)),
            },
        };
        let end = ticks.fetch_add(1, Ordering::SeqCst);
        events.push(Event { begin, end, op });
    }
    events
}

/// Lets all threads go at the same moment, as a barrier that wakes sleepers one by one does not.
#[derive(Default)]
struct Start(AtomicUsize);

impl Start {
    fn wait(&self, round: usize) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.load(Ordering::SeqCst) < (round + 1) * THREADS {
            spins += 1;
            if spins % 1000 == 0 {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

/// Rounds on a few ids, so that slots are used again and again; each round leaves its id empty.
fn record_rounds(cache: &SessionCache, context: &Context, rounds: usize) -> Vec<Vec<Event>> {
    let (ticks, start, barrier) = (AtomicU64::new(0), Start::default(), Barrier::new(THREADS));
    let seed = cache.stats().inserted;
    let work = |thread: usize| -> Vec<Vec<Event>> {
        let mut random = Random::new(seed + thread as u64 + 1);
        let mut one = |round: usize| {
            let (n, go) = (round as u64 % 8, || start.wait(round));
            let events = record(cache, context, n, &ticks, go, thread, &mut random);
            if barrier.wait().is_leader() {
                cache.clear();
            }
            barrier.wait();
            events
        };
        (0..rounds).map(&mut one).collect()
    };
    let threads: Vec<_> = std::thread::scope(|scope| {
        let work = &work;
        let spawn = |thread| scope.spawn(move || work(thread));
        let threads: Vec<_> = (0..THREADS).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let history = |round: usize| threads.iter().flat_map(|t| t[round].clone()).collect();
    (0..rounds).map(history).collect()
}

#[test]
fn every_history_of_an_id_can_be_explained() {
    let _watchdog = watchdog();
    let cache = SessionCache::builder()
        .capacity(100)
        .shards(1)
        .on_remove(|_, _| {})
        .build()
        .unwrap();
    let context = context(&cache, "x");
    // Operations that never met have shown nothing: as long as it takes.
    let mut overlaps = 0;
    while overlaps < 15_000 {
        for history in record_rounds(&cache, &context, 1000) {
            let meets = |a: &&Event| (history.iter()).any(|b| b.begin < a.begin && a.begin < b.end);
            overlaps += history.iter().filter(meets).count();
            assert!(is_linearizable(&history), "{history:#?}");
        }
    }
    cache.settle();
    common::assert_settled(&cache.stats());
}
