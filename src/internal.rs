//! The engine, shown to the models. Exists only under `refrain_loom` and `refrain_shuttle`.

#![allow(missing_docs, reason = "not a public interface")]

mod chains;
mod grace;
mod histories;
mod whole;

pub use chains::{Chain, OneShelf};
#[cfg(crossbeam_loom)]
pub use grace::Crossbeam;
pub use grace::{
    Asymmetric, Epochs, Local, Memory, Modelled, Pin, Placed, Reader, pins_order_more,
};
pub use whole::Whole;

use std::sync::Arc;
use std::time::Duration;

use crate::budget::{Permit, UNIT};
use crate::callbacks::{Callbacks, OnNew, OnRemove, RemoveSink};
use crate::clock::{ManualClock, Source, Time};
use crate::context::Context;
use crate::engine::departures::{Departures, Sink};
use crate::engine::maintain::Maintained;
use crate::engine::{Added, Engine, Keyed, Plan};
use crate::error::Error;
use crate::id::{ContextId, SessionId};
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::stats::Stats;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Sessions born and not ended in this execution.
pub fn live_sessions() -> i64 {
    crate::sync::live_sessions()
}

/// Forgets those of an execution that was broken off.
pub fn forget_live_sessions() {
    crate::sync::forget_live_sessions();
}

/// How a model's engine is built.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Entries.
    pub capacity: u64,
    /// Memory units, of 64 bytes.
    pub units: u64,
    /// Memory units that may wait to be seen out.
    pub backlog: u64,
    /// Buckets of two slots each; made odd. One bucket has no path beyond it; three have paths of two.
    pub buckets: usize,
    /// The hash of an id: see `engine::table::Path`. All zero makes ids collide in everything.
    pub hash: fn(&SessionId) -> u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            capacity: 2,
            units: 1 << 20,
            backlog: 1 << 20,
            buckets: 1,
            hash: |_| 0,
        }
    }
}

impl Setup {
    /// A cache whose maintainer is woken by each removal that finds nothing waiting.
    pub fn woken() -> Self {
        Self {
            backlog: 1,
            ..Self::default()
        }
    }

    fn plan(self, clock: &ManualClock) -> Plan {
        Plan {
            cache: 1,
            shards: 1,
            max_capacity: self.capacity as usize,
            limit: Permit::new(self.capacity, self.units),
            backlog: self.backlog,
            max_session: 1 << 20,
            tick: 1000,
            max_contexts: 2,
            source: Source::Manual(clock.clone()),
            hasher: Keyed::Fixed(self.hash),
            buckets: Some(self.buckets),
        }
    }
}

/// What is noted of an event: first id byte, first payload byte, cause.
pub type Told = (u8, u8, RemovalCause);

/// What the remove callback heard.
#[derive(Debug, Default)]
pub struct Log {
    /// Kept by std's mutex, which the checkers don't see.
    events: std::sync::Mutex<Vec<Told>>,
    /// Callbacks that have begun and that have ended. The checkers' own, so that they see that callbacks depend on each
    /// other.
    steps: AtomicU64,
    /// Whether nobody listened at some moment, so that events may be missing.
    deaf: std::sync::Mutex<bool>,
}

impl Log {
    pub fn events(&self) -> Vec<Told> {
        self.events.lock().unwrap().clone()
    }
}

impl Sink for &Log {
    fn is_listening(&self) -> bool {
        true
    }

    fn removed(&self, session: &Session, cause: RemovalCause) {
        // ORDERING: Relaxed; the number is the whole message.
        let begun = self.steps.fetch_add(1, Ordering::Relaxed);
        let entry = (session.id()[0], session.payload()[0], cause);
        self.events.lock().unwrap().push(entry);
        // ORDERING: Relaxed, as above.
        let ended = self.steps.fetch_add(1, Ordering::Relaxed);
        assert_eq!(ended, begun + 1, "two callbacks at a time");
    }
}

/// The remove callback, and the log.
struct Callback<'a>(RemoveSink<'a>, &'a Log);

impl Sink for Callback<'_> {
    fn is_listening(&self) -> bool {
        let listening = self.0.is_listening();
        if !listening {
            *self.1.deaf.lock().unwrap() = true;
        }
        listening
    }

    fn removed(&self, session: &Session, cause: RemovalCause) {
        self.0.removed(session, cause);
        (&self.1).removed(session, cause);
    }
}

/// One engine, its departures and the log of its remove callback.
#[derive(Debug)]
pub struct Rig {
    engine: Engine,
    departures: Departures,
    pub context: Context,
    pub clock: ManualClock,
    pub log: Log,
    callbacks: Callbacks,
    /// Who heard what: a callback's mark, and the first id byte.
    heard: Heard,
}

/// Kept by std's mutex, which the checkers don't see.
type Heard = Arc<std::sync::Mutex<Vec<(u8, u8)>>>;

/// An id of one byte.
pub fn id(n: u8) -> SessionId {
    SessionId::new(&[n]).unwrap()
}

impl Rig {
    pub fn new(setup: Setup) -> Arc<Self> {
        let clock = ManualClock::new();
        let engine = Engine::new(setup.plan(&clock)).unwrap();
        let context = engine.context(ContextId::new(b"c").unwrap()).unwrap();
        Arc::new(Self {
            engine,
            departures: Departures::new(),
            context,
            clock,
            log: Log::default(),
            callbacks: Callbacks::new(),
            heard: Heard::default(),
        })
    }

    /// Replaces the remove callback by one that leaves `mark`.
    pub fn set_on_remove(&self, mark: u8) {
        let heard = Arc::clone(&self.heard);
        let f: OnRemove =
            Arc::new(move |session, _| heard.lock().unwrap().push((mark, session.id()[0])));
        self.callbacks.remove.replace(Some(f));
    }

    /// Takes the remove callback away.
    pub fn clear_on_remove(&self) {
        self.callbacks.remove.replace(None);
    }

    /// Replaces the new callback by one that leaves `mark`.
    pub fn set_on_new(&self, mark: u8) {
        let heard = Arc::clone(&self.heard);
        let f: OnNew = Arc::new(move |session| {
            heard.lock().unwrap().push((mark, session.id()[0]));
            true
        });
        self.callbacks.new.replace(Some(f));
    }

    /// Tells the new callback of a session.
    pub fn ask_new(&self, session: &Session) -> Option<bool> {
        self.callbacks.ask_new(session, &self.engine.cells)
    }

    /// As [`see_out`](Self::see_out), with the remove callback.
    pub fn see_out_to_callback(&self) {
        let sink = Callback(
            RemoveSink {
                callbacks: &self.callbacks,
                cells: &self.engine.cells,
            },
            &self.log,
        );
        self.engine.collect_all(&self.departures, &sink);
        self.departures.deliver(&sink);
        self.reclaim();
    }

    /// What the callbacks have heard, in order.
    pub fn heard(&self) -> Vec<(u8, u8)> {
        self.heard.lock().unwrap().clone()
    }

    /// A session of one id byte and one payload byte, two units large; never added.
    pub fn session(&self, n: u8, payload: u8) -> Session {
        Session::new(&self.context, id(n), &[payload]).unwrap()
    }

    /// The same for a context that [`intern`](Self::intern) gave.
    pub fn session_of(&self, context: &Context, n: u8, payload: u8) -> Session {
        Session::new(context, id(n), &[payload]).unwrap()
    }

    /// Another context; there is room for one besides the rig's own.
    pub fn intern(&self, n: u8) -> Result<Context, Error> {
        self.engine.context(ContextId::new(&[n]).unwrap())
    }

    /// The same with a payload of `len` bytes.
    pub fn sized_session(&self, n: u8, payload: u8, len: usize) -> Session {
        Session::new(&self.context, id(n), &vec![payload; len]).unwrap()
    }

    /// Adds, with a deadline an hour from now.
    pub fn add(&self, session: Session) -> Added {
        self.add_for(session, Duration::from_secs(3600))
    }

    pub fn add_for(&self, session: Session, timeout: Duration) -> Added {
        let now = self.engine.clock.refresh();
        let millis = (Time::ZERO + timeout).as_millis();
        self.engine.add(session, millis, now)
    }

    /// Adds by the engine's coarse time as it is, which may lag behind the clock.
    pub fn add_at(&self, session: Session, timeout: Duration) -> Added {
        let now = self.engine.clock.now();
        let millis = (Time::ZERO + timeout).as_millis();
        self.engine.add(session, millis, now)
    }

    /// Brings the engine's time up to the clock's.
    pub fn refresh(&self) -> Time {
        self.engine.clock.refresh()
    }

    /// The engine's coarse time, as lookups see it.
    pub fn now(&self) -> Time {
        self.engine.clock.now()
    }

    /// Borrows: the payload byte.
    pub fn with(&self, n: u8) -> Option<u8> {
        self.with_in(&self.context, n)
    }

    /// The same in a context that [`intern`](Self::intern) gave.
    pub fn with_in(&self, context: &Context, n: u8) -> Option<u8> {
        self.engine.with(&id(n), context.number(), |raw, _| {
            // SAFETY: alive under the pin; the handle is not dropped.
            let session = std::mem::ManuallyDrop::new(unsafe { Session::from_raw(raw) });
            session.payload()[0]
        })
    }

    pub fn get(&self, n: u8) -> Option<Session> {
        let raw = self.engine.get(&id(n), self.context.number(), |_| true)?;
        // SAFETY: the reference that `get` took.
        Some(unsafe { Session::from_raw(raw) })
    }

    fn end(&self, n: u8, cause: RemovalCause) -> Option<Session> {
        let now = self.engine.clock.now();
        let raw = self
            .engine
            .take(&id(n), self.context.number(), now, cause, |_| true)?;
        // SAFETY: the reference that `take` took.
        Some(unsafe { Session::from_raw(raw) })
    }

    pub fn take(&self, n: u8) -> Option<Session> {
        self.end(n, RemovalCause::Taken)
    }

    pub fn remove(&self, n: u8) -> bool {
        self.end(n, RemovalCause::Removed).is_some()
    }

    pub fn remove_exact(&self, session: &Session) -> bool {
        self.engine
            .end_exact(session.raw(), RemovalCause::Removed, |_| true)
    }

    pub fn take_exact(&self, session: &Session) -> bool {
        self.engine
            .take_exact(session.raw(), self.engine.clock.now())
    }

    /// Moves a live session's deadline, as `UPDATE_TIME` does.
    pub fn touch(&self, session: &Session, deadline: Time) -> bool {
        let now = self.engine.clock.now();
        // SAFETY: the handle is a reference.
        unsafe { session.raw().header() }
            .state
            .postpone(deadline, now)
    }

    /// Removes what is expired at `at`, as a manual flush does.
    pub fn flush(&self, at: Time) -> usize {
        self.engine
            .sweep(RemovalCause::Expired, |s| s.is_expired(at))
    }

    /// Looks at all sessions, under one pin for each bucket, and calls `f` after each look.
    pub fn look(&self, f: impl Fn()) {
        self.engine.sweep(RemovalCause::Cleared, |_| {
            f();
            false
        });
    }

    /// Turns the wheel up to the clock's time.
    pub fn expire(&self) -> usize {
        self.engine.turn_wheels(self.engine.clock.refresh())
    }

    pub fn invalidate(&self) {
        self.engine.invalidate(&self.context).unwrap();
    }

    /// Removes the sessions of dead generations.
    pub fn sweep_stale(&self) -> usize {
        self.engine.sweep_all_stale()
    }

    pub fn set_capacity(&self, entries: u64) {
        self.engine
            .set_limit(|limit| Permit::new(entries, limit.units()));
    }

    pub fn set_bytes(&self, bytes: usize) {
        self.engine
            .set_limit(|limit| Permit::new(limit.entries(), (bytes / UNIT) as u64));
    }

    /// One run of the maintainer: expires, sweeps, trims, collects, reclaims.
    pub fn maintain(&self) -> Maintained {
        self.engine.maintain(&self.departures, &&self.log, true)
    }

    /// Takes what has left off the removed stack, and starts its grace period.
    pub fn collect(&self) {
        self.engine.collect_all(&self.departures, &&self.log);
    }

    /// Calls the callbacks that are due.
    pub fn deliver(&self) -> usize {
        self.departures.deliver(&&self.log)
    }

    /// Drops what nobody can be looking at any more and whose callbacks have returned.
    pub fn reclaim(&self) -> usize {
        self.engine.reclaim(&self.departures)
    }

    /// All three.
    pub fn see_out(&self) {
        self.collect();
        self.deliver();
        self.reclaim();
    }

    pub fn entries(&self) -> u64 {
        self.engine.entries()
    }

    /// Memory of what is in slots or on its way into one.
    pub fn bytes(&self) -> usize {
        self.engine.cells.budget.used().units() as usize * UNIT
    }

    pub fn stats(&self) -> Stats {
        self.engine.cells.sum()
    }

    /// Ends the model: removes and sees out everything, checks the balance and that the index is empty. The caller has
    /// the last handle; sessions whose handles it still has stay alive.
    pub fn finish(self: Arc<Self>) -> Vec<Told> {
        let this = Arc::into_inner(self).expect("all threads have ended");
        let stats = this.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        this.engine.sweep(RemovalCause::Dropped, |_| true);
        this.engine.see_off(&this.departures, &&this.log);
        assert!(this.engine.is_pristine(), "slots and counts are zero");
        let stats = this.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!((stats.entries, stats.bytes, stats.backlog_bytes), (0, 0, 0));
        let events = this.log.events();
        let told = events.len() as u64;
        let deaf = *this.log.deaf.lock().unwrap();
        assert!(
            told == stats.callbacks_due() || deaf && told < stats.callbacks_due(),
            "{stats:?} {events:?}"
        );
        events
    }
}
