//! The state word: one session's life in 64 bits.
//!
//! ```text
//!  63                       24 23              8 7     4   3       2     1  0
//! +---------------------------+------------------+-------+-------+-------+------+
//! | deadline, ms (40)         | owner            | end   |visited| linked| life |
//! +---------------------------+------------------+-------+-------+-------+------+
//!
//!               begin                    end (one winner)
//!   NEW ------------------> LIVE+linked ------------------> DEAD+linked --unlink--> DEAD
//!    |                         |   |\                                                 ^
//!    |                         |   | `- supersede --> REPLACED                        |
//!    |                         |   `--- end_in_slot --------------------------------->|
//!    |                         `-- unlink --> LIVE (an add that lost its slot) -- abandon
//!    `--------------------------- end_unadded --------------------------------------->'
//! ```
//!
//! Every transition is one read-modify-write, so all of them lie in one order. `linked` says that a slot, or an add
//! that is about to fill one, owns the session. Whoever makes a session *neither live nor linked* owes its push on the
//! removed stack: [`Owed::Push`]. As life only moves forward and `linked` is set once and cleared once, exactly one
//! transition owes it. Who ends a session and knows its slot does both at once, empties the slot or finds that another has, and
//! pushes after that; who does not know it leaves the link to whoever empties the slot.
//!
//! While a session lives, the bits of its end are free. One of them says that it *has stood* in a slot: an add sets it before
//! it puts another session there. A live session that is in no slot is on its way in without it, and replaced with it.

use crate::clock::Time;
use crate::removal::{End, RemovalCause};
use crate::sync::atomic::{AtomicU64, Ordering};

const LIFE: u64 = 0b11;
/// The bit of the life that says: live, or replaced.
const STANDS: u64 = 0b01;
const LINKED: u64 = 1 << 2;
const VISITED: u64 = 1 << 3;
const END_SHIFT: u32 = 4;
/// Only of a live session; its end overwrites it.
const STOOD: u64 = 1 << END_SHIFT;
const OWNER_SHIFT: u32 = 8;
const DEADLINE_SHIFT: u32 = 24;
const _: () = assert!(DEADLINE_SHIFT + Time::BITS == 64);

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Built, not yet added to a cache.
    New,
    /// In a cache, or on its way into one.
    Live,
    /// Ended: a lookup that meets it has a miss.
    Dead,
    /// Another session took its slot. A lookup that had loaded the slot before has a hit.
    Replaced,
}

/// A state word's value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u64);

impl State {
    /// A new session's state; of its cache's number, the bits that the header has no other room for.
    pub(crate) fn new(owner: u16) -> Self {
        Self(u64::from(owner) << OWNER_SHIFT)
    }

    #[inline(always)]
    pub(crate) fn life(self) -> Life {
        match self.0 & LIFE {
            0 => Life::New,
            1 => Life::Live,
            2 => Life::Dead,
            _ => Life::Replaced,
        }
    }

    /// Whether a lookup that has just found it in its slot found a session: it is live, or was until another took the slot.
    #[inline(always)]
    pub(crate) fn stands(self) -> bool {
        self.0 & STANDS != 0
    }

    #[inline(always)]
    pub(crate) fn is_linked(self) -> bool {
        self.0 & LINKED != 0
    }

    #[inline(always)]
    pub(crate) fn is_visited(self) -> bool {
        self.0 & VISITED != 0
    }

    /// Whether a live session has stood in a slot that another was about to get.
    pub(crate) fn has_stood(self) -> bool {
        self.life() == Life::Live && self.0 & STOOD != 0
    }

    /// The lower bits of its cache's number.
    pub(crate) fn owner(self) -> u16 {
        (self.0 >> OWNER_SHIFT) as u16
    }

    #[inline(always)]
    pub(crate) fn deadline(self) -> Time {
        Time::from_millis(self.0 >> DEADLINE_SHIFT)
    }

    /// A session is expired from its deadline on, so a timeout of zero is expired at once.
    #[inline(always)]
    pub(crate) fn is_expired(self, now: Time) -> bool {
        now >= self.deadline()
    }

    /// How it ended. Only meaningful once it is dead or replaced.
    pub(crate) fn end(self) -> End {
        End::from_number(self.0 >> END_SHIFT & 0xf)
    }

    fn with_life(self, life: Life) -> Self {
        let bits = match life {
            Life::New => 0,
            Life::Live => 1,
            Life::Dead => 2,
            Life::Replaced => 3,
        };
        Self(self.0 & !LIFE | bits)
    }

    fn with_end(self, end: End) -> Self {
        let life = if end == End::Replaced {
            Life::Replaced
        } else {
            Life::Dead
        };
        Self(self.with_life(life).0 & !(0xf << END_SHIFT) | end.number() << END_SHIFT)
    }

    fn with_deadline(self, deadline: Time) -> Self {
        Self(self.0 & ((1 << DEADLINE_SHIFT) - 1) | deadline.as_millis() << DEADLINE_SHIFT)
    }

    fn linked(self, linked: bool) -> Self {
        Self(if linked {
            self.0 | LINKED
        } else {
            self.0 & !LINKED
        })
    }

    fn owes(self) -> Owed {
        if self.life() != Life::Live && !self.is_linked() {
            Owed::Push
        } else {
            Owed::Nothing
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.life())?;
        if self.is_linked() {
            f.write_str("+linked")?;
        }
        if self.is_visited() {
            f.write_str("+visited")?;
        }
        if matches!(self.life(), Life::Dead | Life::Replaced) {
            write!(f, " ({:?})", self.end())?;
        }
        write!(f, " until {:?}", self.deadline())
    }
}

/// What a transition leaves its caller to do.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// Nothing: the session is still live or linked.
    Nothing,
    /// Push the session on the removed stack.
    Push,
}

/// What became of an attempt to begin an add.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The caller now adds it; the session is live and linked.
    Begun,
    /// The same session was added before and lives.
    AlreadyPresent,
    /// The session's life is over.
    Ended,
}

/// A session's state, shared.
#[derive(Debug)]
pub(crate) struct AtomicState(AtomicU64);

impl AtomicState {
    pub(crate) fn new(state: State) -> Self {
        Self(AtomicU64::new(state.0))
    }

    #[inline(always)]
    pub(crate) fn load(&self) -> State {
        // ORDERING: Acquire; partner: the AcqRel transitions below. Who sees a session dead sees what its ender did
        // before. On x86 and for the lookup's purposes it costs nothing.
        State(self.0.load(Ordering::Acquire))
    }

    /// Repeats `step` until it refuses or its result is stored; returns the state before and after.
    #[inline]
    fn update(&self, step: impl Fn(State) -> Option<State>) -> Result<(State, State), State> {
        let mut old = self.load();
        loop {
            let new = step(old).ok_or(old)?;
            // ORDERING: AcqRel on success. Partners: the other transitions and `load`. The one that ends a life and
            // the one that unlinks may come from two threads, and whichever is later pushes the session: it must see
            // all that the other did. Acquire on failure, as in `load`.
            match self
                .0
                .compare_exchange_weak(old.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok((old, new)),
                Err(seen) => old = State(seen),
            }
        }
    }

    /// NEW > LIVE+linked, with the deadline: an add begins.
    #[inline(always)]
    pub(crate) fn begin(&self, deadline: Time) -> Begin {
        let begun = self.update(|s| {
            (s.life() == Life::New)
                .then(|| s.with_life(Life::Live).linked(true).with_deadline(deadline))
        });
        match begun {
            Ok(_) => Begin::Begun,
            Err(seen) if seen.life() == Life::Live => Begin::AlreadyPresent,
            Err(_) => Begin::Ended,
        }
    }

    /// LIVE > DEAD, if `when` agrees with the very state that is replaced: the one compare-and-swap by which a session
    /// leaves. The winner owns the event.
    #[inline]
    pub(crate) fn end(
        &self,
        cause: RemovalCause,
        when: impl Fn(State) -> bool,
    ) -> Result<Owed, State> {
        self.end_as(cause, when, |s| s)
    }

    /// As [`end`](Self::end), by who has seen the session in its slot: clears `linked` as well. The winner empties the slot,
    /// unless another has, and owes the push after that.
    #[inline]
    pub(crate) fn end_in_slot(
        &self,
        cause: RemovalCause,
        when: impl Fn(State) -> bool,
    ) -> Result<Owed, State> {
        self.end_as(cause, when, |s| s.linked(false))
    }

    #[inline(always)]
    fn end_as(
        &self,
        cause: RemovalCause,
        when: impl Fn(State) -> bool,
        link: impl Fn(State) -> State,
    ) -> Result<Owed, State> {
        let end = |s: State| link(s).with_end(End::Event(cause));
        self.update(|s| (s.life() == Life::Live && when(s)).then(|| end(s)))
            .map(|(_, new)| new.owes())
    }

    /// NEW > DEAD: ends a session that was never added. The winner owes the push.
    pub(crate) fn end_unadded(&self, cause: RemovalCause) -> bool {
        self.update(|s| (s.life() == Life::New).then(|| s.with_end(End::Event(cause))))
            .is_ok()
    }

    /// The caller has seen the session in a slot, and is about to put another one there. Writes only when that is news.
    pub(crate) fn note_stood(&self) {
        // What is not live needs no mark: its end tells.
        let _ = self
            .update(|s| (s.life() == Life::Live && !s.has_stood()).then_some(State(s.0 | STOOD)));
    }

    /// The caller has put another session into this one's slot: clears `linked`, and LIVE > REPLACED. Returns whether
    /// it was live until now, and what is owed: the push, unless who ended it has taken that over with the link.
    pub(crate) fn supersede(&self) -> (bool, Owed) {
        let step = |s: State| {
            let unlinked = s.linked(false);
            s.is_linked().then(|| {
                if s.life() == Life::Live {
                    unlinked.with_end(End::Replaced)
                } else {
                    unlinked
                }
            })
        };
        match self.update(step) {
            Ok((old, new)) => (old.life() == Life::Live, new.owes()),
            Err(_) => (false, Owed::Nothing),
        }
    }

    /// The caller has emptied the session's slot: clears `linked`. Nothing is owed if who ended it has taken the link over.
    pub(crate) fn unlink(&self) -> Owed {
        // ORDERING: AcqRel, as in `update`.
        let old = State(self.0.fetch_and(!LINKED, Ordering::AcqRel));
        if old.is_linked() {
            old.linked(false).owes()
        } else {
            Owed::Nothing
        }
    }

    /// An add gives up: LIVE > DEAD without an event, and `linked` is cleared if it is still the add's. Returns
    /// whether the add itself ended the session (else somebody removed it meanwhile), and what is owed.
    pub(crate) fn abandon(&self, linked_is_mine: bool) -> (bool, Owed) {
        let step = |s: State| {
            let s = if linked_is_mine { s.linked(false) } else { s };
            Some(if s.life() == Life::Live {
                s.with_end(End::Unpublished)
            } else {
                s
            })
        };
        match self.update(step) {
            Ok((old, new)) if old.life() == Life::Live => (true, new.owes()),
            // Somebody else ended it. If `linked` was not ours, whoever cleared it owes the push.
            Ok((_, new)) if linked_is_mine => (false, new.owes()),
            _ => (false, Owed::Nothing),
        }
    }

    /// Notes that a lookup found it. Writes only when that is news.
    #[inline(always)]
    pub(crate) fn visit(&self, seen: State) {
        if !seen.is_visited() {
            // ORDERING: Relaxed. A hint for eviction; as a read-modify-write it can't undo a transition, and it
            // continues the release sequence of the one before.
            self.0.fetch_or(VISITED, Ordering::Relaxed);
        }
    }

    /// Takes the second chance back: returns whether there was one.
    pub(crate) fn forgive(&self) -> bool {
        // ORDERING: Relaxed, as in `visit`.
        State(self.0.fetch_and(!VISITED, Ordering::Relaxed)).is_visited()
    }

    /// Moves the deadline of a live session that has not expired at `now` to a later one. Returns whether it did.
    pub(crate) fn postpone(&self, deadline: Time, now: Time) -> bool {
        self.update(|s| {
            let later = s.life() == Life::Live && !s.is_expired(now) && deadline > s.deadline();
            later.then(|| s.with_deadline(deadline))
        })
        .is_ok()
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
