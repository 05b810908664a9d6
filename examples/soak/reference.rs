//! What the cache is checked against: a word for each session of a round, and what is over for certain.
//!
//! Every check compares with what was known *before* the look-up began, so that no interleaving makes it wrong: a session
//! that somebody was told to have ended, or that was missed once, must not be found by any look-up that begins later.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

use refrain::{Maintenance, RemovalCause, Session, SessionCache, SessionId, Time};

use crate::books::Callbacks;
use crate::faults::Faults;
use crate::payload::{Kind, Label};
use crate::told::Told;

/// Contexts that sessions live in.
pub(crate) const CONTEXTS: usize = 4;

/// The most sessions that a round can have; it ends early when they are used up.
pub(crate) const SERIALS: u32 = 1 << 23;

/// A session's word: the number of its cause and one, as its callback told; zero before that.
pub(crate) const CAUSE: u16 = 0xf;
/// Its add said that it is in the cache.
pub(crate) const CACHED: u16 = 1 << 4;
/// Its add said that it is not.
pub(crate) const REFUSED: u16 = 1 << 5;
/// Somebody was told to have taken it.
pub(crate) const TAKEN: u16 = 1 << 6;
/// Somebody was told to have removed it.
pub(crate) const REMOVED: u16 = 1 << 7;
/// It was in the cache once, and was looked for in vain.
pub(crate) const MISSED: u16 = 1 << 8;
/// It is a TLS 1.2 client's, and may be replaced by the next without a callback.
pub(crate) const CLIENT: u16 = 1 << 9;

/// What must never be found again.
const OVER: u16 = CAUSE | REFUSED | TAKEN | REMOVED | MISSED;

/// What all threads of the run share, besides the cache.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) seed: u64,
    pub(crate) faults: Faults,
    pub(crate) callbacks: Callbacks,
    pub(crate) told: Told,
    /// The round is over, or out of sessions.
    pub(crate) over: AtomicBool,
    round: AtomicU32,
    next: AtomicU32,
    words: Box<[AtomicU16]>,
    /// For each client, the lowest serial that may still be found under its id.
    floors: Box<[AtomicU32]>,
    /// Invalidations of each context, counted before and after.
    begun: [AtomicU32; CONTEXTS],
    ended: [AtomicU32; CONTEXTS],
    /// The latest moment that the cache is known to know of.
    known: AtomicU64,
    /// The latest moment as of which sessions were flushed.
    flushed: AtomicU64,
    /// A clock that is not the cache's: that of another cache, which holds nothing.
    clock: SessionCache,
}

/// A look-up that is about to begin: what it must not find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    pub(crate) context: usize,
    /// A ticket's word, or zero.
    word: u16,
    /// A client's floor, or zero.
    floor: u32,
    ended: u32,
    known: u64,
}

impl Reference {
    pub(crate) fn new(seed: u64, clients: usize) -> Result<Self, refrain::Error> {
        let clock = SessionCache::builder()
            .capacity(1)
            .maintenance(Maintenance::Manual)
            .build()?;
        Ok(Self {
            seed,
            faults: Faults::default(),
            callbacks: Callbacks::default(),
            told: Told::default(),
            over: AtomicBool::new(false),
            round: AtomicU32::new(0),
            next: AtomicU32::new(0),
            words: (0..SERIALS).map(|_| AtomicU16::new(0)).collect(),
            floors: (0..clients).map(|_| AtomicU32::new(0)).collect(),
            begun: Default::default(),
            ended: Default::default(),
            known: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            clock,
        })
    }

    /// Forgets the round before. Nothing else may be going on.
    pub(crate) fn begin_round(&self) {
        for word in &self.words[..self.built() as usize] {
            word.store(0, Ordering::Relaxed);
        }
        for floor in &self.floors {
            floor.store(0, Ordering::Relaxed);
        }
        self.next.store(0, Ordering::Relaxed);
        self.round.fetch_add(1, Ordering::Relaxed);
        self.over.store(false, Ordering::Relaxed);
    }

    pub(crate) fn clients(&self) -> u64 {
        self.floors.len() as u64
    }

    pub(crate) fn round(&self) -> u32 {
        self.round.load(Ordering::Relaxed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    pub(crate) fn id(&self, kind: Kind, number: u64) -> SessionId {
        kind.id(self.seed, number)
    }

    /// The number of a ticket of this round.
    pub(crate) fn ticket(&self, serial: u32) -> u64 {
        u64::from(self.round()) << 32 | u64::from(serial)
    }

    /// A number for a new session; `None` when the round has no more.
    pub(crate) fn next_serial(&self, kind: Kind) -> Option<u32> {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        if serial >= SERIALS {
            self.next.store(SERIALS, Ordering::Relaxed);
            self.over.store(true, Ordering::Relaxed);
            return None;
        }
        if kind == Kind::Client {
            self.mark(serial, CLIENT);
        }
        Some(serial)
    }

    /// Sessions built in this round.
    pub(crate) fn built(&self) -> u32 {
        self.next.load(Ordering::Relaxed).min(SERIALS)
    }

    /// Sets bits of a session's word; returns the word before.
    pub(crate) fn mark(&self, serial: u32, bits: u16) -> u16 {
        self.words[serial as usize].fetch_or(bits, Ordering::AcqRel)
    }

    pub(crate) fn word(&self, serial: u32) -> u16 {
        self.words[serial as usize].load(Ordering::Acquire)
    }

    /// Whether nothing is known against a session's being in the cache.
    pub(crate) fn may_live(&self, serial: u32) -> bool {
        self.word(serial) & OVER == 0
    }

    /// Invalidations of a context that have begun. Read it behind the generation that it is to describe.
    pub(crate) fn epoch(&self, context: usize) -> u32 {
        self.begun[context].load(Ordering::Acquire)
    }

    /// Runs an invalidation of a context. One at a time.
    pub(crate) fn invalidating(&self, context: usize, invalidate: impl FnOnce()) {
        self.begun[context].fetch_add(1, Ordering::AcqRel);
        invalidate();
        self.ended[context].fetch_add(1, Ordering::AcqRel);
    }

    /// Brings the cache's time up to date, and remembers it.
    pub(crate) fn tell_time(&self, cache: &SessionCache) -> Time {
        let now = cache.now();
        self.known.fetch_max(now.as_millis(), Ordering::AcqRel);
        now
    }

    /// Notes that sessions are about to be flushed as of a moment.
    pub(crate) fn flushing(&self, time: Time) {
        self.flushed.fetch_max(time.as_millis(), Ordering::AcqRel);
    }

    /// A look-up of this session is about to begin.
    pub(crate) fn seek(&self, kind: Kind, number: u64, context: usize) -> Sought {
        let (mut word, mut floor) = (0, 0);
        match kind {
            Kind::Ticket => word = self.word(number as u32),
            Kind::Client => floor = self.floors[number as usize].load(Ordering::Acquire),
            Kind::External | Kind::Stranger => {}
        }
        Sought {
            kind,
            number,
            context,
            word,
            floor,
            ended: self.ended[context].load(Ordering::Acquire),
            known: self.known.load(Ordering::Acquire),
        }
    }

    /// The look-up has found this session.
    pub(crate) fn found(&self, sought: &Sought, session: &Session) -> Option<Label> {
        let label = self.read(session)?;
        let wrong = |kind| self.faults.note(kind, || format!("{label:?}, {sought:?}"));
        if (label.kind, label.number) != (sought.kind, sought.number)
            || label.context != sought.context
        {
            wrong("another session was found than was looked for");
            return None;
        }
        if label.epoch < sought.ended {
            wrong("a session was found after its context was invalidated");
        }
        if label.kind == Kind::External {
            return Some(label);
        }
        if session.deadline().as_millis() <= sought.known {
            wrong("a session was found after its deadline, by the cache's own clock");
        }
        // An add's time may be a millisecond behind.
        if session.deadline().as_millis() + 1 < label.born.saturating_add(label.life) {
            wrong("a session's deadline is earlier than its timeout");
        }
        if sought.word & TAKEN != 0 {
            wrong("a session was found after it had been taken");
        } else if sought.word & CAUSE != 0 {
            wrong("a session was found after its remove callback");
        } else if sought.word & OVER != 0 || label.serial < sought.floor {
            wrong("a session was found after it was gone");
        }
        Some(label)
    }

    /// The look-up has found nothing.
    pub(crate) fn missed(&self, sought: &Sought) {
        if sought.word & CACHED != 0 {
            self.mark(sought.number as u32, MISSED);
        }
    }

    /// Reads what a session says of itself, and whether it is whole and of this round.
    pub(crate) fn read(&self, session: &Session) -> Option<Label> {
        let label = Label::read(session.payload());
        let whole =
            label.is_some_and(|label| self.id(label.kind, label.number) == session.session_id());
        if !whole {
            let length = session.payload().len();
            self.faults
                .note("a session's bytes are not what was stored", || {
                    format!("{length} bytes, {label:?}")
                });
            return None;
        }
        if label.is_some_and(|label| label.round != self.round()) {
            self.faults
                .note("a session of an earlier round turned up", || {
                    format!("{label:?}")
                });
            return None;
        }
        label
    }

    /// Somebody was told to have taken this session.
    pub(crate) fn took(&self, label: &Label) {
        self.told.taken.add(1);
        if self.mark(label.serial, TAKEN) & TAKEN != 0 {
            self.faults
                .note("a session was taken twice", || format!("{label:?}"));
        }
        self.is_over_for(label);
    }

    /// Somebody was told to have removed this session.
    pub(crate) fn removed(&self, label: &Label) {
        self.told.removed.add(1);
        self.mark_removed(label.serial);
        self.is_over_for(label);
    }

    /// Somebody was told to have removed the ticket of this id.
    pub(crate) fn removed_id(&self, sought: &Sought) {
        self.told.removed.add(1);
        self.mark_removed(sought.number as u32);
        if sought.word & OVER != 0 {
            self.faults
                .note("a session was removed after it was gone", || {
                    format!("{sought:?}")
                });
        }
    }

    fn mark_removed(&self, serial: u32) {
        if self.mark(serial, REMOVED) & REMOVED != 0 {
            self.faults.note("a session was removed twice", || {
                format!("number {serial} of the round")
            });
        }
    }

    /// A client's session is in the cache, so none from before it is.
    pub(crate) fn stored(&self, label: &Label) {
        if label.kind == Kind::Client {
            self.floors[label.number as usize].fetch_max(label.serial, Ordering::AcqRel);
        }
    }

    fn is_over_for(&self, label: &Label) {
        if label.kind == Kind::Client {
            self.floors[label.number as usize].fetch_max(label.serial + 1, Ordering::AcqRel);
        }
    }

    /// The remove callback was called.
    pub(crate) fn reported(&self, session: &Session, cause: RemovalCause) -> Option<Label> {
        self.callbacks.count(cause);
        let label = self.read(session)?;
        let wrong = |kind| {
            self.faults
                .note(kind, || format!("{cause}, {label:?}, {session:?}"));
        };
        if session.is_resumable() {
            wrong("a session was still resumable in its remove callback");
        }
        let due = self
            .now()
            .as_millis()
            .max(self.flushed.load(Ordering::Acquire));
        if cause == RemovalCause::Expired && session.deadline().as_millis() > due {
            wrong("a session expired before its deadline");
        }
        if label.kind == Kind::External {
            // Never in the cache: a connection that broke has used it up.
            return Some(label);
        }
        let place = RemovalCause::ALL.iter().position(|known| *known == cause);
        let number = place.map_or(CAUSE, |place| place as u16 + 1);
        if self.mark(label.serial, number) & CAUSE != 0 {
            wrong("a session was reported twice");
        }
        self.is_over_for(&label);
        Some(label)
    }
}
