//! What happened to one id: each thread's operations, and the remove callbacks that were heard of its sessions.

use refrain::RemovalCause;

/// The number of a session. Each object has its own, so that an answer says which one it was.
pub(crate) type Serial = u32;

/// An operation, and what it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// `add` put the session in, instead of another one or of none; its deadline.
    Added {
        session: Serial,
        replaced: bool,
        deadline: u64,
    },
    /// `add` answered `AlreadyPresent`.
    Present(Serial),
    /// `add` answered `Removed`.
    Over(Serial),
    /// `add` answered `Raced`.
    Raced(Serial),
    /// `add` answered `Full`.
    Full(Serial),
    /// `add` answered `Expired`: the session had a timeout of zero.
    Unfit(Serial),
    /// `with`, `get`.
    Found(Option<Serial>),
    Taken(Option<Serial>),
    /// By id, so that only the callback tells which session it was.
    Removed(bool),
    TakenExact(Serial, bool),
    RemovedExact(Serial, bool),
    /// Nothing is there, not even what has expired. Seen at the end, when everything has settled.
    Empty,
    /// The remove callback heard of the session. Of a session that was taken or removed, it is the other half of that; of
    /// one that expired or was evicted, it is the departure itself, which nobody else is told of.
    Gone(Serial, RemovalCause),
}

impl Op {
    /// The session that was given to `add`.
    pub(crate) fn adds(self) -> Option<Serial> {
        match self {
            Self::Added { session, .. }
            | Self::Present(session)
            | Self::Over(session)
            | Self::Raced(session)
            | Self::Full(session)
            | Self::Unfit(session) => Some(session),
            _ => None,
        }
    }

    /// What it came to, in a word or two.
    pub(crate) fn outcome(self) -> &'static str {
        let either = |yes: bool, then, otherwise| if yes { then } else { otherwise };
        match self {
            Self::Added { replaced, .. } => either(replaced, "replaced", "inserted"),
            Self::Present(_) => "already present",
            Self::Over(_) => "added too late",
            Self::Raced(_) => "raced",
            Self::Full(_) => "full",
            Self::Unfit(_) => "no timeout",
            Self::Found(found) => either(found.is_some(), "found", "not found"),
            Self::Taken(taken) => either(taken.is_some(), "took", "nothing to take"),
            Self::Removed(yes) => either(yes, "removes", "nothing to remove"),
            Self::TakenExact(_, yes) => either(yes, "took by handle", "not by handle"),
            Self::RemovedExact(_, yes) => either(yes, "removes by handle", "not by handle"),
            Self::Empty => "empty",
            Self::Gone(_, cause) => cause.as_str(),
        }
    }
}

/// An operation and its interval, twice: by a counter that all threads advance, and by the cache's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    /// No two are equal. Of a callback: zero, because the departure that it tells of may have been at any time before.
    pub(crate) begin: u64,
    /// Of a callback: its call, by which time the session must have left.
    pub(crate) end: u64,
    /// The clock before it; it has compared deadlines with no earlier time,
    pub(crate) since: u64,
    /// and with no later one.
    pub(crate) until: u64,
    pub(crate) op: Op,
}

impl Event {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.begin < other.end && other.begin < self.end
    }
}

/// All that happened to one id, which nobody had used before.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Each thread's operations, one after the other.
    pub(crate) lanes: Vec<Vec<Event>>,
    /// In any order: they belong to no thread's sequence.
    pub(crate) callbacks: Vec<Event>,
}

impl History {
    pub(crate) fn operations(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum::<usize>() + self.callbacks.len()
    }

    /// How many of the threads' operations had another one beside them, at least for a moment.
    pub(crate) fn overlaps(&self) -> usize {
        let mut events: Vec<(usize, Event)> = Vec::new();
        for (lane, of_lane) in self.lanes.iter().enumerate() {
            events.extend(of_lane.iter().map(|event| (lane, *event)));
        }
        events.sort_by_key(|(_, event)| event.begin);
        let mut met = vec![false; events.len()];
        // The last event so far of each lane: only that one can still be under way.
        let mut last: Vec<Option<usize>> = vec![None; self.lanes.len()];
        for (i, (lane, event)) in events.iter().enumerate() {
            for &other in last.iter().flatten() {
                if events[other].0 != *lane && events[other].1.overlaps(event) {
                    met[i] = true;
                    met[other] = true;
                }
            }
            last[*lane] = Some(i);
        }
        met.iter().filter(|met| **met).count()
    }
}

/// An add that was told that others were in its way, while there were none. The adds of all ids count: they share slots.
pub(crate) fn lonely_race(histories: &[History]) -> Option<Event> {
    let mut adds: Vec<(usize, Event)> = Vec::new();
    for history in histories {
        for (lane, events) in history.lanes.iter().enumerate() {
            let of_lane = events.iter().filter(|event| event.op.adds().is_some());
            adds.extend(of_lane.map(|event| (lane, *event)));
        }
    }
    adds.sort_by_key(|(_, event)| event.begin);
    let has_rival = |i: usize| {
        let (lane, event) = adds[i];
        let meets = |(other, add): &&(usize, Event)| *other != lane && add.overlaps(&event);
        // One that began before may be any number of places in front; one that began later stands close behind.
        let later = adds[i..]
            .iter()
            .take_while(|(_, add)| add.begin < event.end);
        later.chain(&adds[..i]).any(|add| meets(&add))
    };
    let raced = |i: &usize| matches!(adds[*i].1.op, Op::Raced(_));
    let mut lonely = (0..adds.len()).filter(raced).filter(|i| !has_rival(*i));
    lonely.next().map(|i| adds[i].1)
}
