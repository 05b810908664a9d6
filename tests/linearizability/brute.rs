//! The checker against one that is too simple to be wrong: every order of a short history, each judged by a cell that is
//! told of one operation after the other. The two share nothing but the form of a history.

use std::collections::HashSet;

use refrain::RemovalCause::{self, Cleared, Evicted, Expired, Removed, Taken};

use crate::checker::explain;
use crate::common::Random;
use crate::history::{Event, History, Op, Serial};

/// One id, as it is after some operations.
#[derive(Clone, Default)]
struct Cell {
    here: Option<(Serial, u64)>,
    added: HashSet<Serial>,
    over: HashSet<Serial>,
    refused: HashSet<Serial>,
    /// Departures that are still to be told.
    owed: HashSet<(Serial, RemovalCause)>,
}

impl Cell {
    fn leave(&mut self, told: Option<RemovalCause>) {
        if let Some((session, _)) = self.here.take() {
            self.over.insert(session);
            self.owed.extend(told.map(|cause| (session, cause)));
        }
    }

    fn here(&self) -> Option<Serial> {
        self.here.map(|(session, _)| session)
    }

    /// Does an operation; false if its answer is wrong. `company` says whether the session was just being added by
    /// another thread as well.
    fn apply(&mut self, event: Event, company: bool) -> bool {
        let here = self.here();
        let maybe_live = self.here.filter(|(_, d)| event.since < *d).map(|(s, _)| s);
        let maybe_none = self.here.is_none_or(|(_, d)| d <= event.until);
        match event.op {
            Op::Added {
                session,
                replaced,
                deadline,
            } => {
                if replaced != here.is_some()
                    || self.refused.contains(&session)
                    || !self.added.insert(session)
                {
                    return false;
                }
                self.leave(None);
                if !self.over.contains(&session) {
                    self.here = Some((session, deadline));
                }
                true
            }
            Op::Present(session) => here == Some(session) || company,
            Op::Over(session) => self.over.contains(&session),
            Op::Raced(session) | Op::Full(session) => {
                let is_new = !self.added.contains(&session);
                is_new && self.refused.insert(session) && self.over.insert(session)
            }
            Op::Unfit(session) => here != Some(session),
            Op::Found(None) => maybe_none,
            Op::Found(session) => maybe_live == session,
            Op::Taken(None) | Op::Removed(false) => maybe_none,
            Op::Taken(session) => {
                self.leave(Some(Taken));
                maybe_live == session
            }
            Op::Removed(true) => {
                self.leave(Some(Removed));
                maybe_live.is_some()
            }
            Op::TakenExact(session, false) => here != Some(session) || maybe_none,
            Op::TakenExact(session, true) => {
                self.leave(Some(Taken));
                maybe_live == Some(session)
            }
            Op::RemovedExact(session, false) => self.over.contains(&session),
            Op::RemovedExact(session, true) if here == Some(session) => {
                self.leave(Some(Removed));
                true
            }
            Op::RemovedExact(session, true) => {
                self.owed.insert((session, Removed));
                self.over.insert(session)
            }
            Op::Empty => here.is_none(),
            Op::Gone(session, cause @ (Taken | Removed)) => self.owed.remove(&(session, cause)),
            Op::Gone(session, cause) => {
                let due = match cause {
                    Expired => self.here.is_some_and(|(_, d)| d <= event.until),
                    Evicted => true,
                    _ => false,
                };
                let right = here == Some(session) && due;
                self.leave(None);
                right
            }
        }
    }
}

/// Whether some permutation that is true to real time is right, and leaves nothing untold.
fn some_order_is_right(cell: &Cell, left: &[Event], all: &[Event]) -> bool {
    if left.is_empty() {
        return cell.owed.is_empty();
    }
    (0..left.len()).any(|i| {
        let event = left[i];
        if left.iter().any(|other| other.end < event.begin) {
            return false;
        }
        let is_company =
            |other: &&Event| other.begin != event.begin && other.op.adds() == event.op.adds();
        let company =
            event.op.adds().is_some() && all.iter().filter(is_company).any(|e| e.overlaps(&event));
        let mut next = cell.clone();
        let rest = [&left[..i], &left[i + 1..]].concat();
        next.apply(event, company) && some_order_is_right(&next, &rest, all)
    })
}

/// How many histories the two are asked about.
const HISTORIES: usize = 20_000;

/// Makes histories: first one that is right, as seen by a cell, then perhaps with something wrong in it.
struct Maker {
    random: Random,
    cell: Cell,
    next: Serial,
}

impl Maker {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.below(of.len() as u64) as usize]
    }

    /// An operation at this time of the clock with an answer that is right, or nearly.
    fn op(&mut self, time: u64) -> Op {
        let here = self.cell.here();
        let live = self.cell.here.filter(|(_, d)| time < *d).map(|(s, _)| s);
        let known = self.random.below(u64::from(self.next) + 1) as Serial;
        let is_over = self.cell.over.contains(&known);
        match self.random.below(16) {
            0..4 => {
                self.next += 1;
                Op::Added {
                    session: self.next,
                    replaced: here.is_some(),
                    deadline: self.pick(&[time + 1, time + 2, 100]),
                }
            }
            4..6 => Op::Found(live),
            6..8 => Op::Taken(live),
            8 => Op::Removed(live.is_some()),
            9 => Op::TakenExact(known, live == Some(known)),
            10 => Op::RemovedExact(known, !is_over),
            11 if here == Some(known) => Op::Present(known),
            11 => Op::Over(known),
            12 => {
                self.next += 1;
                let session = self.next;
                self.pick(&[Op::Raced(session), Op::Full(session), Op::Unfit(session)])
            }
            13 if here.is_none() => Op::Empty,
            _ => match self.cell.here {
                Some((session, deadline)) if deadline <= time => Op::Gone(session, Expired),
                Some((session, _)) => Op::Gone(session, Evicted),
                None => Op::Found(None),
            },
        }
    }

    /// Something that is different in a history, and most often wrong.
    fn spoil(&mut self, events: &mut Vec<Event>) {
        let i = self.random.below(events.len() as u64) as usize;
        let session = self.random.below(u64::from(self.next) + 1) as Serial;
        let cause = self.pick(&[Taken, Removed, Expired, Evicted, Cleared]);
        let event = &mut events[i];
        match &mut event.op {
            Op::Gone(_, told) if self.random.below(3) == 0 => *told = cause,
            Op::Gone(of, _) if self.random.below(3) == 0 => *of = session,
            Op::Gone(..) if self.random.below(2) == 0 => drop(events.swap_remove(i)),
            Op::Gone(..) => {
                let twin = Event {
                    end: event.end + 1,
                    ..*event
                };
                events.push(twin);
            }
            Op::Added { replaced, .. } if self.random.below(2) == 0 => *replaced ^= true,
            Op::Added { deadline, .. } => *deadline = self.random.below(4),
            Op::Found(found) | Op::Taken(found) => {
                *found = Some(session).filter(|_| found.is_none() || self.random.below(2) == 0);
            }
            Op::TakenExact(of, _) | Op::RemovedExact(of, _) if self.random.below(2) == 0 => {
                *of = session;
            }
            Op::Removed(yes) | Op::TakenExact(_, yes) | Op::RemovedExact(_, yes) => *yes ^= true,
            Op::Present(of) => event.op = Op::Over(*of),
            Op::Over(of) => event.op = Op::Present(*of),
            Op::Raced(of) | Op::Full(of) | Op::Unfit(of) => *of = session,
            Op::Empty => event.op = Op::Found(Some(session)),
        }
    }

    /// Operations at moments a hundred ticks apart, in two or three lanes, each stretched to both sides.
    fn history(&mut self) -> History {
        self.cell = Cell::default();
        self.next = 0;
        let stretch = self.pick(&[30, 150, 300]);
        let mut time = 0;
        let mut events = Vec::new();
        for moment in 1..=self.pick(&[3, 4, 5, 6]) {
            time += self.random.below(2);
            let op = self.op(time);
            let event = self.event(moment * 100, stretch, time, op);
            self.cell.apply(event, false);
            events.push(event);
            // What is owed is told soon, or even too early.
            for (session, cause) in std::mem::take(&mut self.cell.owed) {
                let told = self.event(moment * 100 + 80, stretch, time, Op::Gone(session, cause));
                events.push(told);
            }
        }
        if self.random.below(2) == 0 {
            self.spoil(&mut events);
        }
        self.in_lanes(events)
    }

    fn event(&mut self, moment: u64, stretch: u64, time: u64, op: Op) -> Event {
        Event {
            begin: 1000 + moment - self.random.below(stretch),
            end: 1000 + moment + self.random.below(stretch) + 1,
            since: time.saturating_sub(self.random.below(2)),
            until: time + self.random.below(2),
            op,
        }
    }

    /// Deals the events out; what would overlap in a lane ends earlier, or begins later. No two ticks stay equal.
    fn in_lanes(&mut self, events: Vec<Event>) -> History {
        let mut history = History {
            lanes: vec![Vec::new(); self.pick(&[2, 3])],
            callbacks: Vec::new(),
        };
        for (i, mut event) in (0..).zip(events) {
            event.begin = event.begin * 64 + 2 * i;
            event.end = event.end * 64 + 2 * i + 1;
            if matches!(event.op, Op::Gone(..)) {
                event.begin = 0;
                history.callbacks.push(event);
                continue;
            }
            let lane = self.random.below(history.lanes.len() as u64) as usize;
            if let Some(last) = history.lanes[lane].last_mut() {
                if last.end > event.begin && last.begin + 2 < event.begin {
                    last.end = event.begin - 1;
                }
                event.begin = event.begin.max(last.end + 1);
                event.end = event.end.max(event.begin + 1);
            }
            history.lanes[lane].push(event);
        }
        history
    }
}

#[test]
fn the_checker_agrees_with_a_search_of_all_orders() {
    let _watchdog = crate::common::watchdog();
    let mut maker = Maker {
        random: Random::new(7),
        cell: Cell::default(),
        next: 0,
    };
    let mut verdicts = [0; 2];
    // Of each verdict, the histories in which something overlaps.
    let mut mixed = [0; 2];
    for _ in 0..HISTORIES {
        let history = maker.history();
        let mut events = history.lanes.concat();
        events.extend(&history.callbacks);
        let expected = some_order_is_right(&Cell::default(), &events, &events);
        let verdict = explain(&history);
        assert_eq!(verdict.is_ok(), expected, "{verdict:#?}\n{history:#?}");
        verdicts[usize::from(expected)] += 1;
        mixed[usize::from(expected)] += usize::from(history.overlaps() > 0);
    }
    println!(
        "of {HISTORIES} histories {} can't be explained and {} can; {mixed:?} of them overlap",
        verdicts[0], verdicts[1]
    );
    assert!(
        verdicts.iter().chain(&mixed).all(|n| *n > HISTORIES / 10),
        "{verdicts:?} {mixed:?}"
    );
}
