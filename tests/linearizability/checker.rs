//! Whether some order of the operations of one id, true to real time, explains all that they were answered.
//!
//! The search is Wing and Gong's with Lowe's memory of what has been tried. What has been done is a *frontier*: how far
//! each thread has come. What stands there is a *cell*: at most one session. Everything else about a session follows from
//! the two, so a frontier and a cell are all that has to be remembered: a session that has been added and is not in
//! the cell has left it, and if the history has a callback for it then that was how.
//!
//! Operations that leave the cell as it is are taken as soon as their answer is right: nothing can be gained by waiting.
//! The search only branches over those that change it.
//!
//! The rules, of which `step` has one each:
//!
//! * A session is added at most once. An add says `Inserted` where the cell is empty, else `Replaced`, whether or not what
//!   it replaces has expired; what is replaced has no callback.
//! * A session that has expired by the operation's time is not found, not taken, not removed by its id; nor is it gone, so
//!   long as no callback has told of it. Removed by its handle it can be.
//! * What leaves has exactly one callback, with the cause that fits the operation that ended it; without such an
//!   operation, only expiry (not before the deadline) and eviction are causes. None is called before the session has left.
//! * `remove_exact` of a session that has not been added yet ends it. An add that was under way may still put it in, for a
//!   moment in which nobody finds it, so that only what it replaces is seen to go.

use std::collections::{HashMap, HashSet};

use refrain::RemovalCause;

use crate::history::{Event, History, Op, Serial};

/// The bits of a frontier that one lane has.
const LANE_BITS: usize = 16;

/// The most lanes.
const LANES: usize = 128 / LANE_BITS;

/// How far each lane has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Frontier(u128);

impl Frontier {
    fn of(self, lane: usize) -> usize {
        (self.0 >> (lane * LANE_BITS)) as usize & ((1 << LANE_BITS) - 1)
    }

    fn beyond(self, lane: usize) -> Self {
        Self(self.0 + (1 << (lane * LANE_BITS)))
    }

    fn has_passed(self, place: Option<Place>) -> bool {
        place.is_some_and(|(lane, at)| at < self.of(lane))
    }
}

/// An operation's lane and its number there.
type Place = (usize, usize);

/// What the history says about one session.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// The add that put it in.
    added: Option<Place>,
    /// The add that ended it, because it could not put it in.
    refused: Option<Place>,
    /// The removal by its handle.
    removed: Option<Place>,
    deadline: u64,
    gone: Option<Gone>,
}

/// What a callback has told: the cause, and a time that is no earlier than the one by which the session expired.
#[derive(Clone, Copy, Debug)]
struct Gone {
    cause: RemovalCause,
    until: u64,
}

/// A point of the search.
#[derive(Clone, Copy)]
struct Node {
    done: Frontier,
    cell: Option<Serial>,
    /// So many callbacks, in the order of their ends, tell of sessions that have left.
    heard: usize,
}

/// Why a history can't be explained: how far the search came at best, and what was next there.
#[derive(Debug)]
#[allow(dead_code, reason = "for the reader of a failure")]
pub(crate) struct Stuck {
    pub(crate) explained: usize,
    pub(crate) of: usize,
    pub(crate) cell: Option<Serial>,
    pub(crate) next: Vec<Event>,
    pub(crate) why: &'static str,
}

/// Finds an order, or tells where there is none. Returns how many states it looked at.
pub(crate) fn explain(history: &History) -> Result<usize, Stuck> {
    Search::new(history)?.run()
}

struct Search<'a> {
    lanes: &'a [Vec<Event>],
    /// In the order of their ends.
    callbacks: Vec<Event>,
    fates: HashMap<Serial, Fate>,
    /// Answers of `AlreadyPresent` that another add of the session, under way at the same time, is reason enough for.
    excused: HashSet<Place>,
}

impl<'a> Search<'a> {
    /// Reads what the history says about each session. Says no at once where a thing is told twice.
    fn new(history: &'a History) -> Result<Self, Stuck> {
        assert!(history.lanes.len() <= LANES, "too many threads");
        let mut search = Self {
            lanes: &history.lanes,
            callbacks: history.callbacks.clone(),
            fates: HashMap::new(),
            excused: HashSet::new(),
        };
        search.callbacks.sort_by_key(|event| event.end);
        let hopeless = |event: Event, why| Stuck {
            explained: 0,
            of: history.operations(),
            cell: None,
            next: vec![event],
            why,
        };
        for (lane, events) in history.lanes.iter().enumerate() {
            assert!(events.len() < 1 << LANE_BITS, "too many operations");
            for (at, &event) in events.iter().enumerate() {
                if !search.note((lane, at), event.op) {
                    return Err(hopeless(event, "the second time for one session"));
                }
            }
        }
        for &event in &history.callbacks {
            let Op::Gone(session, cause) = event.op else {
                panic!("{event:?} among the callbacks");
            };
            let until = event.until;
            let fate = search.fates.entry(session).or_default();
            if fate.gone.replace(Gone { cause, until }).is_some() {
                return Err(hopeless(event, "the second callback of one session"));
            }
        }
        search.excuse();
        Ok(search)
    }

    /// Notes what an operation means for a session's life. False if that has happened to it already.
    fn note(&mut self, place: Place, op: Op) -> bool {
        let (session, what): (_, fn(&mut Fate) -> &mut Option<Place>) = match op {
            Op::Added { session, .. } => (session, |fate| &mut fate.added),
            Op::Raced(session) | Op::Full(session) => (session, |fate| &mut fate.refused),
            Op::RemovedExact(session, true) => (session, |fate| &mut fate.removed),
            _ => return true,
        };
        let fate = self.fates.entry(session).or_default();
        if let Op::Added { deadline, .. } = op {
            fate.deadline = deadline;
        }
        what(fate).replace(place).is_none()
    }

    /// Finds the answers of `AlreadyPresent` for which another add of the session is reason enough.
    fn excuse(&mut self) {
        let mut adds: HashMap<Serial, Vec<(Place, Event)>> = HashMap::new();
        for (lane, events) in self.lanes.iter().enumerate() {
            for (at, &event) in events.iter().enumerate() {
                if let Some(session) = event.op.adds() {
                    adds.entry(session).or_default().push(((lane, at), event));
                }
            }
        }
        for adds in adds.values() {
            let meets = |event: Event| {
                adds.iter()
                    .any(|(_, add)| add.begin != event.begin && add.overlaps(&event))
            };
            let present = adds
                .iter()
                .filter(|(_, add)| matches!(add.op, Op::Present(_)));
            let excused = present.filter(|(_, event)| meets(*event));
            self.excused.extend(excused.map(|(place, _)| *place));
        }
    }

    fn fate(&self, session: Serial) -> Fate {
        self.fates.get(&session).copied().unwrap_or_default()
    }

    /// Whether a session's life is over: it left, or never got in.
    fn is_over(&self, session: Serial, at: Node) -> bool {
        let fate = self.fate(session);
        let left = at.done.has_passed(fate.added) && at.cell != Some(session);
        left || at.done.has_passed(fate.removed) || at.done.has_passed(fate.refused)
    }

    /// Whether the session of this callback has left.
    fn has_left(&self, callback: Event, at: Node) -> bool {
        let Op::Gone(session, _) = callback.op else {
            return false;
        };
        let fate = self.fate(session);
        at.done.has_passed(fate.removed)
            || at.done.has_passed(fate.added) && at.cell != Some(session)
    }

    /// What the cell holds after an operation, if its answer is right for what it held before.
    fn step(&self, place: Place, at: Node) -> Option<Option<Serial>> {
        let event = self.lanes[place.0][place.1];
        let cell = at.cell;
        let found = cell.map(|session| (session, self.fate(session)));
        // Whether the operation may have found it expired, or not.
        let may_miss = found.is_none_or(|(_, fate)| fate.deadline <= event.until);
        let may_hit = found.is_some_and(|(_, fate)| event.since < fate.deadline);
        let is_heard = |cause| {
            let gone = found.and_then(|(_, fate)| fate.gone);
            gone.is_some_and(|gone| gone.cause == cause)
        };
        let (right, next) = match event.op {
            Op::Added {
                session, replaced, ..
            } => {
                let fate = self.fate(session);
                let silent = found.is_none_or(|(_, old)| old.gone.is_none());
                let over = at.done.has_passed(fate.removed);
                let right = replaced == cell.is_some()
                    && silent
                    && !at.done.has_passed(fate.refused)
                    && cell != Some(session);
                (right, (!over).then_some(session))
            }
            Op::Present(session) => (cell == Some(session) || self.excused.contains(&place), cell),
            Op::Over(session) => (self.is_over(session, at), cell),
            Op::Raced(session) | Op::Full(session) => {
                let in_it = at.done.has_passed(self.fate(session).added);
                (!in_it && !self.is_over(session, at), cell)
            }
            Op::Unfit(session) => (cell != Some(session), cell),
            Op::Found(None) => (may_miss, cell),
            Op::Found(session) => (cell == session && may_hit, cell),
            Op::Taken(None) | Op::Removed(false) => (may_miss, cell),
            Op::Taken(session) => {
                let right = cell == session && may_hit && is_heard(RemovalCause::Taken);
                (right, None)
            }
            Op::Removed(true) => (may_hit && is_heard(RemovalCause::Removed), None),
            Op::TakenExact(session, false) => (cell != Some(session) || may_miss, cell),
            Op::TakenExact(session, true) => {
                let right = cell == Some(session) && may_hit && is_heard(RemovalCause::Taken);
                (right, None)
            }
            Op::RemovedExact(session, false) => (self.is_over(session, at), cell),
            Op::RemovedExact(session, true) => {
                let gone = self.fate(session).gone;
                let right = !self.is_over(session, at)
                    && gone.is_some_and(|gone| gone.cause == RemovalCause::Removed);
                (right, cell.filter(|there| *there != session))
            }
            Op::Empty => (cell.is_none(), cell),
            Op::Gone(..) => panic!("{event:?} among a thread's operations"),
        };
        right.then_some(next)
    }

    /// Whether what stands there may leave by itself, as its callback says that it did.
    fn may_leave(&self, at: Node) -> bool {
        let Some(fate) = at.cell.map(|session| self.fate(session)) else {
            return false;
        };
        fate.gone.is_some_and(|gone| match gone.cause {
            RemovalCause::Expired => fate.deadline <= gone.until,
            RemovalCause::Evicted => true,
            _ => false,
        })
    }

    /// The next operation of each lane.
    fn next(&self, done: Frontier) -> impl Iterator<Item = (Place, &Event)> {
        self.lanes
            .iter()
            .enumerate()
            .filter_map(move |(lane, events)| {
                let at = done.of(lane);
                Some(((lane, at), events.get(at)?))
            })
    }

    /// The end that is the first of all that is left: what begins later can't come next.
    fn horizon(&self, at: &mut Node) -> u64 {
        while let Some(&callback) = self.callbacks.get(at.heard) {
            if !self.has_left(callback, *at) {
                break;
            }
            at.heard += 1;
        }
        let callback = self.callbacks.get(at.heard);
        let ends = self.next(at.done).map(|(_, event)| event.end);
        let ends = ends.chain(callback.map(|event| event.end));
        ends.min().unwrap_or(u64::MAX)
    }

    fn run(&self) -> Result<usize, Stuck> {
        let mut tried: HashSet<(Frontier, Option<Serial>)> = HashSet::new();
        let mut open = vec![Node {
            done: Frontier(0),
            cell: None,
            heard: 0,
        }];
        let mut best = (0, open[0]);
        while let Some(mut at) = open.pop() {
            let horizon = self.advance(&mut at);
            if !tried.insert((at.done, at.cell)) {
                continue;
            }
            let explained = at.heard + self.progress(at.done);
            if explained > best.0 || best.0 == 0 {
                best = (explained, at);
            }
            if explained == self.total() {
                return Ok(tried.len());
            }
            if self.may_leave(at) {
                open.push(Node { cell: None, ..at });
            }
            let mut changes: Vec<(u64, Node)> = Vec::new();
            for (place, event) in self.next(at.done).filter(|(_, e)| e.begin <= horizon) {
                if let Some(cell) = self.step(place, at) {
                    let done = at.done.beyond(place.0);
                    changes.push((event.end, Node { done, cell, ..at }));
                }
            }
            // What ends first is tried first.
            changes.sort_by_key(|(end, _)| std::cmp::Reverse(*end));
            open.extend(changes.into_iter().map(|(_, node)| node));
        }
        Err(self.stuck(best.1, best.0))
    }

    /// Takes every operation that may come next and leaves the cell as it is. Returns the horizon after that.
    fn advance(&self, at: &mut Node) -> u64 {
        loop {
            let horizon = self.horizon(at);
            let idle = |(place, event): &(Place, &Event)| {
                let step = || self.step(*place, *at);
                event.begin <= horizon && is_idle(event.op) && step() == Some(at.cell)
            };
            let Some((place, _)) = self.next(at.done).find(idle) else {
                return horizon;
            };
            at.done = at.done.beyond(place.0);
        }
    }

    fn total(&self) -> usize {
        self.callbacks.len() + self.lanes.iter().map(Vec::len).sum::<usize>()
    }

    fn progress(&self, done: Frontier) -> usize {
        (0..self.lanes.len()).map(|lane| done.of(lane)).sum()
    }

    fn stuck(&self, mut at: Node, explained: usize) -> Stuck {
        let horizon = self.horizon(&mut at);
        let mut next: Vec<Event> = self.next(at.done).map(|(_, event)| *event).collect();
        next.extend(self.callbacks.get(at.heard));
        if let Some(session) = at.cell {
            let of_cell = |e: &&Event| matches!(e.op, Op::Gone(s, _) if s == session);
            next.extend(self.callbacks.iter().find(of_cell));
        }
        next.retain(|event| event.begin <= horizon);
        Stuck {
            explained,
            of: self.total(),
            cell: at.cell,
            next,
            why: "no order of what may come next is right",
        }
    }
}

/// Whether an operation changes nothing for others: not the cell, and not whether a session can still be added.
fn is_idle(op: Op) -> bool {
    !matches!(op, Op::Added { .. } | Op::RemovedExact(_, true))
}
