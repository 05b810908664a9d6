//! Histories written by hand: good ones, and bad ones of each kind that a cache could produce.

use refrain::RemovalCause::{self, Cleared, Evicted, Expired, Removed, Taken};

use crate::checker::explain;
use crate::history::{Event, History, Op, lonely_race};

/// An operation from one tick to another, by a clock that stands at zero.
fn op(begin: u64, end: u64, op: Op) -> Event {
    op_at(begin, end, (0, 0), op)
}

/// An operation between two times of the clock.
fn op_at(begin: u64, end: u64, (since, until): (u64, u64), op: Op) -> Event {
    Event {
        begin,
        end,
        since,
        until,
        op,
    }
}

/// A session that never expires is put in, instead of no other.
fn add(session: u32) -> Op {
    add_until(session, u64::MAX)
}

fn add_until(session: u32, deadline: u64) -> Op {
    Op::Added {
        session,
        replaced: false,
        deadline,
    }
}

/// The same, instead of another one.
fn replace(session: u32) -> Op {
    Op::Added {
        session,
        replaced: true,
        deadline: u64::MAX,
    }
}

/// A callback that was called at this tick.
fn gone(end: u64, session: u32, cause: RemovalCause) -> Event {
    gone_at(end, 0, session, cause)
}

/// A callback that was called at this tick, and at this time of the clock.
fn gone_at(end: u64, until: u64, session: u32, cause: RemovalCause) -> Event {
    op_at(0, end, (0, until), Op::Gone(session, cause))
}

/// What is not a callback gets a lane each time it overlaps.
fn history(events: &[Event]) -> History {
    let mut history = History::default();
    for event in events {
        if matches!(event.op, Op::Gone(..)) {
            history.callbacks.push(*event);
            continue;
        }
        let lanes = &mut history.lanes;
        let is_free =
            |lane: &&mut Vec<Event>| lane.last().is_none_or(|last| last.end < event.begin);
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(*event),
            None => lanes.push(vec![*event]),
        }
    }
    history
}

#[track_caller]
fn good(events: &[Event]) {
    let verdict = explain(&history(events));
    assert!(verdict.is_ok(), "{verdict:#?}\n{events:#?}");
}

#[track_caller]
fn bad(events: &[Event]) {
    assert!(explain(&history(events)).is_err(), "{events:#?}");
}

const S1: Option<u32> = Some(1);

#[test]
fn one_after_the_other() {
    good(&[]);
    good(&[
        op(1, 2, add(1)),
        op(3, 4, Op::Found(S1)),
        op(5, 6, Op::Taken(S1)),
        gone(7, 1, Taken),
        op(8, 9, Op::Found(None)),
    ]);
    // Found before it was added; not found after that; found after it was taken.
    bad(&[op(1, 2, Op::Found(S1)), op(3, 4, add(1))]);
    bad(&[op(1, 2, add(1)), op(3, 4, Op::Found(None))]);
    let taken = [op(1, 2, add(1)), op(3, 4, Op::Taken(S1)), gone(5, 1, Taken)];
    good(&taken);
    bad(&[&taken[..], &[op(6, 7, Op::Found(S1))]].concat());
    // Removed nothing that was there; took another one than was there; a session that nobody added.
    bad(&[op(1, 2, add(1)), op(3, 4, Op::Removed(false))]);
    bad(&[
        op(1, 2, add(1)),
        op(3, 4, Op::Taken(Some(2))),
        gone(5, 1, Taken),
    ]);
    bad(&[op(1, 2, Op::Found(Some(7)))]);
    // Something is left at the end that should have gone.
    good(&[&taken[..], &[op(6, 7, Op::Empty)]].concat());
    bad(&[op(1, 2, add(1)), op(3, 4, Op::Empty)]);
}

#[test]
fn what_overlaps_may_come_in_any_order() {
    good(&[op(1, 4, add(1)), op(2, 3, Op::Found(None))]);
    good(&[op(1, 4, add(1)), op(2, 3, Op::Found(S1))]);
    // But in one order: seen, and then not seen any more.
    bad(&[
        op(1, 8, add(1)),
        op(2, 3, Op::Found(S1)),
        op(4, 5, Op::Found(None)),
    ]);
    // Of two takes, one wins; which, is free.
    let takes = |first, second| {
        vec![
            op(1, 2, add(1)),
            op(3, 6, Op::Taken(first)),
            op(4, 5, Op::Taken(second)),
            gone(7, 1, Taken),
        ]
    };
    good(&takes(S1, None));
    good(&takes(None, S1));
    bad(&takes(S1, S1));
    bad(&takes(None, None));
    // Two winners by two ways.
    for (second, cause) in [
        (Op::TakenExact(1, true), Taken),
        (Op::RemovedExact(1, true), Removed),
        (Op::Removed(true), Removed),
    ] {
        for cause in [cause, Taken] {
            bad(&[
                op(1, 2, add(1)),
                op(3, 6, Op::Taken(S1)),
                op(4, 5, second),
                gone(7, 1, cause),
            ]);
        }
    }
}

#[test]
fn a_replaced_session_is_replaced_for_all() {
    let replaced = [op(1, 2, add(1)), op(3, 10, replace(2))];
    let and = |more: &[Event]| [&replaced[..], more].concat();
    good(&and(&[
        op(4, 5, Op::Found(S1)),
        op(6, 7, Op::Found(Some(2))),
    ]));
    // New, then old; neither; the old one after all that.
    bad(&and(&[
        op(4, 5, Op::Found(Some(2))),
        op(6, 7, Op::Found(S1)),
    ]));
    bad(&and(&[op(4, 5, Op::Found(None))]));
    bad(&and(&[op(11, 12, Op::Found(S1))]));
    // It is told to nobody, whatever the cause.
    for cause in [Taken, Removed, Expired, Evicted] {
        bad(&and(&[gone_at(11, u64::MAX, 1, cause)]));
    }
    // Replaced what was not there; inserted where something was.
    bad(&[op(1, 2, replace(1))]);
    bad(&[op(1, 2, add(1)), op(3, 4, add(2))]);
    // By its handle, it can be taken only before the newcomer was seen.
    let taken_instead = |begin, end| {
        vec![
            op(1, 2, add(1)),
            op(3, 10, add(2)),
            op(begin, end, Op::TakenExact(1, true)),
            op(5, 6, Op::Found(Some(2))),
            gone(11, 1, Taken),
        ]
    };
    good(&taken_instead(4, 7));
    bad(&taken_instead(7, 8));
}

#[test]
fn every_departure_is_told_once() {
    for (end, cause) in [
        (Op::Taken(S1), Taken),
        (Op::TakenExact(1, true), Taken),
        (Op::Removed(true), Removed),
        (Op::RemovedExact(1, true), Removed),
    ] {
        let ended = [op(1, 2, add(1)), op(3, 4, end)];
        let with = |callbacks: &[Event]| [&ended[..], callbacks].concat();
        good(&with(&[gone(5, 1, cause)]));
        // Lost; twice; of the wrong cause; of two causes.
        bad(&with(&[]));
        bad(&with(&[gone(5, 1, cause), gone(6, 1, cause)]));
        for wrong in [Taken, Removed, Expired, Evicted, Cleared] {
            if wrong != cause {
                bad(&with(&[gone_at(5, u64::MAX, 1, wrong)]));
                bad(&with(&[gone(5, 1, cause), gone_at(6, u64::MAX, 1, wrong)]));
            }
        }
    }
    // Told of another session than was taken.
    for taken in [Op::Taken(Some(2)), Op::TakenExact(2, true)] {
        bad(&[op(1, 2, add(1)), op(3, 4, taken), gone(5, 1, Taken)]);
    }
    // Of a session that is still there; of one that was never added.
    bad(&[op(1, 2, add(1)), gone(3, 1, Taken)]);
    bad(&[
        op(1, 2, add(1)),
        gone(3, 1, Evicted),
        op(4, 5, Op::Found(S1)),
    ]);
    bad(&[gone(1, 1, Evicted)]);
    bad(&[gone(1, 1, Removed)]);
}

#[test]
fn no_departure_is_told_before_it_happens() {
    // Before the session was added, before its add began, before its take began; while it is being taken.
    bad(&[gone(1, 1, Evicted), op(2, 3, add(1))]);
    good(&[op(1, 4, add(1)), gone(2, 1, Evicted)]);
    let taken = |told| {
        vec![
            op(1, 2, add(1)),
            op(5, 8, Op::Taken(S1)),
            gone(told, 1, Taken),
        ]
    };
    bad(&taken(4));
    good(&taken(6));
    good(&taken(9));
    // Once it is told, nobody finds the session any more.
    bad(&[
        op(1, 2, add(1)),
        op(3, 10, Op::Taken(S1)),
        gone(4, 1, Taken),
        op(5, 6, Op::Found(S1)),
    ]);
    bad(&[
        op(1, 2, add(1)),
        gone(3, 1, Evicted),
        op(4, 5, Op::Taken(S1)),
    ]);
}

#[test]
fn nothing_leaves_in_silence() {
    let add = op(1, 2, add(1));
    bad(&[add, op(3, 4, Op::Found(None))]);
    good(&[add, op(3, 4, Op::Found(None)), gone(5, 1, Evicted)]);
    bad(&[add, op(3, 4, Op::Empty)]);
    good(&[add, op(3, 4, Op::Empty), gone(5, 1, Evicted)]);
    // Only what the cache does by itself.
    for cause in [Taken, Removed, Expired, Cleared] {
        bad(&[add, op(3, 4, Op::Found(None)), gone_at(5, 1000, 1, cause)]);
    }
}

#[test]
fn expiry_is_at_the_deadline() {
    let add = op(1, 2, add_until(1, 10));
    let find = |since, until, found| op_at(3, 4, (since, until), Op::Found(found));
    let end = [gone_at(9, 10, 1, Expired)];
    let and = |op| [&[add, op], &end[..]].concat();
    good(&and(find(9, 9, S1)));
    good(&and(find(9, 12, S1)));
    bad(&and(find(10, 10, S1)));
    bad(&and(find(10, 12, S1)));
    good(&and(find(10, 10, None)));
    good(&and(find(9, 12, None)));
    // It need not have left for that, and it has not.
    good(&[add, find(10, 10, None)]);
    bad(&[add, find(10, 10, None), op(5, 6, Op::Empty)]);
    // Expired before its deadline.
    bad(&[add, gone_at(5, 9, 1, Expired)]);
    good(&[add, gone_at(5, 10, 1, Expired)]);
    // By its id it can't be taken then, nor removed; by its handle it can be removed.
    let at = |op| op_at(3, 4, (10, 10), op);
    for (op, cause) in [
        (Op::Taken(S1), Taken),
        (Op::TakenExact(1, true), Taken),
        (Op::Removed(true), Removed),
    ] {
        bad(&[add, at(op), gone_at(5, 10, 1, cause)]);
    }
    good(&[add, at(Op::RemovedExact(1, true)), gone(5, 1, Removed)]);
    good(&[
        add,
        at(Op::TakenExact(1, false)),
        gone_at(5, 10, 1, Expired),
    ]);
    bad(&[
        add,
        at(Op::RemovedExact(1, false)),
        gone_at(5, 10, 1, Expired),
        op(6, 7, Op::Found(None)),
        op_at(8, 9, (0, 9), Op::Found(S1)),
    ]);
    // What takes its place replaces it, expired or not.
    good(&[add, at(replace(2))]);
    bad(&[add, at(self::add(2))]);
    good(&[add, at(self::add(2)), gone_at(5, 10, 1, Expired)]);
    bad(&[add, at(replace(2)), gone_at(5, 10, 1, Expired)]);
    // Of no timeout at all: it changes nothing.
    good(&[op(1, 2, Op::Unfit(1)), op(3, 4, Op::Found(None))]);
    bad(&[op(1, 2, Op::Unfit(1)), op(3, 4, Op::Found(S1))]);
}

#[test]
fn a_session_has_one_life() {
    let first = op(1, 2, add(1));
    good(&[first, op(3, 4, Op::Present(1))]);
    bad(&[first, op(3, 4, Op::Over(1))]);
    bad(&[first, op(3, 4, Op::Raced(1))]);
    bad(&[first, op(3, 4, replace(1))]);
    let taken = [first, op(3, 4, Op::Taken(S1)), gone(5, 1, Taken)];
    let and = |op| [&taken[..], &[op]].concat();
    good(&and(op(6, 7, Op::Over(1))));
    bad(&and(op(6, 7, Op::Present(1))));
    bad(&and(op(6, 7, add(1))));
    bad(&and(op(6, 7, Op::RemovedExact(1, true))));
    good(&and(op(6, 7, Op::RemovedExact(1, false))));
    good(&and(op(6, 7, Op::TakenExact(1, false))));
    // Replaced is over too.
    good(&[first, op(3, 4, replace(2)), op(5, 6, Op::Over(1))]);
    bad(&[first, op(3, 4, replace(2)), op(5, 6, Op::Present(1))]);
    // Present while another add of it has only begun; which need not get in.
    good(&[
        op(1, 6, add(1)),
        op(2, 3, Op::Present(1)),
        op(4, 5, Op::Found(None)),
    ]);
    good(&[op(1, 6, Op::Raced(1)), op(2, 3, Op::Present(1))]);
    bad(&[op(1, 2, Op::Raced(1)), op(3, 4, Op::Present(1))]);
    // Who lost a race has lost it for good.
    good(&[op(1, 2, Op::Raced(1)), op(3, 4, Op::Over(1))]);
    bad(&[op(1, 2, Op::Raced(1)), op(3, 4, add(1))]);
    bad(&[op(1, 2, Op::Full(1)), op(3, 4, Op::Found(S1))]);
}

#[test]
fn removed_before_it_was_added() {
    let removed = [op(1, 2, Op::RemovedExact(1, true)), gone(3, 1, Removed)];
    let and = |ops: &[Event]| [&removed[..], ops].concat();
    good(&and(&[op(4, 5, Op::Over(1)), op(6, 7, Op::Found(None))]));
    bad(&removed[..1]);
    bad(&and(&[op(4, 5, Op::Present(1))]));
    bad(&and(&[op(4, 5, Op::Raced(1))]));
    // An add that was under way puts it in unseen.
    good(&and(&[op(4, 5, add(1)), op(6, 7, Op::Found(None))]));
    bad(&and(&[op(4, 5, add(1)), op(6, 7, Op::Found(S1))]));
    bad(&and(&[
        op(4, 5, add(1)),
        op(6, 7, Op::RemovedExact(1, true)),
    ]));
    let onto = [
        op(1, 2, add(2)),
        op(3, 12, replace(1)),
        op(4, 5, Op::RemovedExact(1, true)),
        op(6, 7, Op::Found(Some(2))),
        op(8, 9, Op::Found(None)),
        gone(13, 1, Removed),
    ];
    good(&onto);
    bad(&[&onto[..], &[gone(14, 2, Evicted)]].concat());
}

#[test]
fn a_race_takes_two() {
    let ids = |raced: (u64, u64), other: (u64, u64)| {
        let raced = history(&[op(raced.0, raced.1, Op::Raced(1))]);
        // By another thread, of another id.
        let lanes = vec![Vec::new(), vec![op(other.0, other.1, add(2))]];
        let callbacks = Vec::new();
        [raced, History { lanes, callbacks }]
    };
    assert!(lonely_race(&ids((1, 4), (2, 3))).is_none());
    assert!(lonely_race(&ids((2, 3), (1, 4))).is_none());
    assert!(lonely_race(&ids((1, 2), (3, 4))).is_some());
    assert!(lonely_race(&ids((3, 4), (1, 2))).is_some());
}

#[test]
fn overlaps_are_counted() {
    let found = Op::Found(None);
    assert_eq!(history(&[op(1, 2, found), op(3, 4, found)]).overlaps(), 0);
    assert_eq!(history(&[op(1, 3, found), op(2, 4, found)]).overlaps(), 2);
    let long = [
        op(1, 9, found),
        op(2, 3, found),
        op(4, 5, found),
        op(10, 11, found),
    ];
    assert_eq!(history(&long).overlaps(), 3);
}
