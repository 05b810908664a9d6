//! The shared tier: what handshakes ask of the store and what they leave to the worker.
//!
//! Everything that can go wrong here is a miss: the handshake is a full one, no later than the read budget.

mod calls;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::clock::Time;
use crate::context::{Context, Generation};
use crate::error::Error;
use crate::id::{ContextId, SessionId};
use crate::session::Session;
use crate::sync::atomic::AtomicBool;
use crate::sync::{Home, Mutex, SharedCell, lock, thread};

use super::breaker::Breaker;
use super::epochs::Epochs;
use super::figures::{ExternalStats, Figures};
use super::flights::{Answer, Flights};
use super::keys::Keys;
use super::name::{Class, Name, Wall};
use super::options::{ExternalOptions, SingleUse};
use super::query::{Pending, Prize, Query};
use super::queue::{Cancelled, Queue};
use super::{ExternalStore, record};

pub(super) use calls::chance;

/// How long a session that was fetched ahead is kept for its handshake, and how many are.
const WARM: Duration = Duration::from_secs(10);
const MOST_WARM: usize = 4096;

/// A session that was fetched ahead.
struct Aside {
    until: Instant,
    prize: Prize,
    /// What it was fetched under: used under anything else, it would outlive an invalidation.
    generation: Generation,
    changes: u64,
}

pub(crate) struct Tier {
    pub(super) store: Arc<dyn ExternalStore>,
    pub(super) options: ExternalOptions,
    keys: SharedCell<Keys>,
    pub(super) epochs: Epochs,
    pub(super) queue: Queue<Pending>,
    flights: Flights<Session>,
    /// What was fetched ahead.
    warm: Mutex<HashMap<Name, Aside>>,
    pub(super) breaker: Mutex<Breaker>,
    pub(super) figures: Figures,
    /// What the store said when it failed last.
    pub(super) last_failure: Mutex<Option<String>>,
    /// A handshake has found no connection: the worker shall see about it.
    pub(super) worried: AtomicBool,
    /// When the worker has to be done, once it has been told to end.
    pub(super) end: OnceLock<Instant>,
    home: Home,
}

impl Tier {
    pub(crate) fn new(
        store: Arc<dyn ExternalStore>,
        mut options: ExternalOptions,
    ) -> Result<Self, Error> {
        options.check()?;
        let keys = options.keys.take();
        Ok(Self {
            store,
            keys: SharedCell::new(keys.map(Arc::new)),
            epochs: Epochs::default(),
            queue: Queue::new(options.queue_entries, options.queue_bytes),
            options,
            flights: Flights::new(),
            warm: Mutex::new(HashMap::new()),
            breaker: Mutex::new(Breaker::new(Instant::now())),
            figures: Figures::default(),
            last_failure: Mutex::new(None),
            worried: AtomicBool::new(false),
            end: OnceLock::new(),
            home: Home::here(),
        })
    }

    /// Begins a read. `None` in a forked child.
    pub(crate) fn query<'a>(&self, context: &'a Context, id: &SessionId) -> Option<Query<'a>> {
        self.is_here().then(|| Query {
            context,
            id: *id,
            generation: context.generation(),
            began: Instant::now(),
            changes: self.epochs.changes(context.id()),
        })
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.options.single_use == SingleUse::Strict
    }

    pub(crate) fn reads_per_handshake(&self) -> u32 {
        self.options.reads
    }

    pub(crate) fn replace_keys(&self, keys: Keys) {
        self.keys.swap(Some(Arc::new(keys)));
    }

    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load()
    }

    /// A forked child has neither the worker nor a right to the parent's connections: for it the store is away.
    fn is_here(&self) -> bool {
        self.home.is_here()
    }

    /// Has the worker learn a context's count of invalidations before the first handshake needs it.
    pub(crate) fn introduce(&self, context: &ContextId) {
        if self.is_here() && self.epochs.of(context) == Err(true) {
            self.queue.wake();
        }
    }

    /// Finds a session and leaves it at the store. Concurrent look-ups of one id share one read.
    pub(crate) fn get(
        &self,
        query: &Query<'_>,
        class: Class,
        now: Time,
        tag: &dyn Fn(&ContextId) -> Option<u64>,
    ) -> Option<Session> {
        let deadline = query.began + self.options.read_budget;
        let read = || {
            let opened = self.fetch(query, class, deadline, |key| self.store.get(key, deadline))?;
            self.build(query, now, &Prize::Opened(opened), tag)
        };
        match self.flights.share(query.name(), deadline, read) {
            Answer::Own(session) => session,
            Answer::Shared(session) => {
                self.figures.shared.add(1);
                session
            }
        }
    }

    /// Gets hold of a session for good: of all callers at all servers, one does.
    pub(crate) fn take(&self, query: &Query<'_>, class: Class) -> Option<Prize> {
        let name = query.name();
        if class == Class::Taken {
            let warm = lock(&self.warm).remove(&name);
            if let Some(aside) = warm.filter(|aside| query.began < aside.until) {
                self.figures.prefetched.add(1);
                let same = aside.generation == query.generation && aside.changes == query.changes;
                let prize = Some(aside.prize).filter(|_| same && self.admits(query));
                return prize.filter(|prize| self.is_good(query, prize));
            }
        }
        let deadline = query.began + self.options.read_budget;
        match self.queue.cancel(&name, class, deadline) {
            Cancelled::Unsent(pending) => {
                self.figures.unsent.add(1);
                return Some(Prize::Own(pending)).filter(|prize| self.is_good(query, prize));
            }
            Cancelled::InFlight => {
                self.figures.timeouts.add(1);
                return None;
            }
            Cancelled::Absent => {}
        }
        self.fetch(query, class, deadline, |key| self.store.take(key, deadline))
            .map(Prize::Opened)
    }

    /// Takes a session from the store before its handshake, and keeps it for that. True if it is kept.
    pub(crate) fn warm(&self, query: &Query<'_>) -> bool {
        let full = lock(&self.warm).len() >= MOST_WARM;
        let Some(prize) = (!full).then(|| self.take(query, Class::Taken)).flatten() else {
            return false;
        };
        let aside = Aside {
            until: Instant::now() + WARM,
            prize,
            generation: query.generation,
            changes: query.changes,
        };
        lock(&self.warm).insert(query.name(), aside);
        // Behind the insertion: a removal that did not find it here is seen here.
        let admitted = self.admits(query);
        if !admitted {
            lock(&self.warm).remove(&query.name());
        }
        admitted
    }

    /// Whether a session of this name was fetched ahead and is there.
    pub(crate) fn is_aside(&self, context: &ContextId, id: &SessionId) -> bool {
        let name = Name {
            context: *context,
            id: *id,
        };
        lock(&self.warm).contains_key(&name)
    }

    /// Lets go of what was fetched ahead in vain.
    pub(super) fn cool(&self, now: Instant) {
        lock(&self.warm).retain(|_, aside| now < aside.until);
    }

    /// Whether what was read in answer to a query may still be used: it was not removed or invalidated meanwhile.
    pub(crate) fn admits(&self, query: &Query<'_>) -> bool {
        let admitted = self
            .queue
            .admits(&query.name(), query.began, Instant::now())
            && self.epochs.changes(query.context.id()) == query.changes
            && query.context.generation() == query.generation;
        if !admitted {
            self.figures.refused_stale.add(1);
        }
        admitted
    }

    /// Whether what was at hand without the store is of this generation and lives.
    fn is_good(&self, query: &Query<'_>, prize: &Prize) -> bool {
        let now = self.options.now();
        let (lives, current) = match prize {
            Prize::Opened(opened) => {
                let lives = now < opened.expires.min(opened.not_after);
                (lives, self.is_host_current(opened))
            }
            Prize::Own(pending) => {
                // SAFETY: the handle is a reference.
                let number = unsafe { pending.session.raw().context() };
                let lives = now < pending.expires.min(pending.not_after);
                (lives, number == query.generation.number())
            }
        };
        lives && current
    }

    /// A session of what was found, with the time that it has left, as a new one of this process. `tag` tells a host's.
    pub(crate) fn build(
        &self,
        query: &Query<'_>,
        now: Time,
        prize: &Prize,
        tag: &dyn Fn(&ContextId) -> Option<u64>,
    ) -> Option<Session> {
        let (expires, not_after, tag, name) = match prize {
            Prize::Opened(o) => {
                let tag = match &o.host {
                    // Behind the tag: it is that of a generation to which the session belongs.
                    Some((host, _)) => Some(tag(host)?).filter(|_| self.is_host_current(o))?,
                    None => o.tag,
                };
                (o.expires, o.not_after, tag, o.server_name())
            }
            Prize::Own(p) => {
                let name = p.session.server_name().unwrap_or_default();
                (p.expires, p.not_after, p.session.tag(), name)
            }
        };
        let wall = self.options.now();
        let mut builder = Session::builder(query.context, query.id)
            .generation(query.generation)
            .timeout(record::left(expires, wall))
            .tag(tag);
        if not_after != Wall::MAX {
            builder = builder.not_after(now + record::left(not_after, wall));
        }
        builder.server_name(name).build(prize.payload()).ok()
    }

    /// Queues a session to be stored. Its deadline is the one that it has, or would have, in the first tier.
    pub(crate) fn put(
        &self,
        context: &ContextId,
        class: Class,
        session: Session,
        host: Option<&ContextId>,
        (deadline, now): (Time, Time),
    ) -> bool {
        if !self.is_here() {
            return false;
        }
        self.introduce(context);
        let created = self.options.now();
        let by_wall = |time: Time| match time {
            Time::MAX => Wall::MAX,
            time => created.saturating_add(time.saturating_since(now).as_millis() as u64),
        };
        let name = Name {
            context: *context,
            id: session.session_id(),
        };
        let bytes = session.memory();
        let pending = Pending {
            created,
            expires: by_wall(deadline),
            not_after: by_wall(session.not_after()),
            host: host.copied(),
            session,
        };
        self.queue.put(name, class, pending, bytes)
    }

    /// Queues a removal. From here on, no read that is under way brings the session back. To be called before it is removed
    /// from the first tier, and after, for what has been queued meanwhile. False if it found the queue full.
    pub(crate) fn remove(&self, context: &ContextId, id: &SessionId) -> bool {
        if !self.is_here() {
            return true;
        }
        let name = Name {
            context: *context,
            id: *id,
        };
        let queued = self.queue.remove(name, Instant::now());
        // Behind the tombstone: what is set aside after this is seen by who sets it aside.
        lock(&self.warm).remove(&name);
        queued
    }

    /// Queues the invalidation of a context, or of everything, around that of the first tier. From its beginning on, nothing
    /// is read that was stored before; at its end, nothing waits to be stored any more that `first` has ended.
    pub(crate) fn invalidate<R>(
        &self,
        context: Option<&ContextId>,
        first: impl FnOnce() -> R,
    ) -> R {
        if !self.is_here() {
            return first();
        }
        self.epochs.begin_invalidation(context);
        let ended = first();
        let of = |name: &Name| context.is_none_or(|context| name.context == *context);
        lock(&self.warm).retain(|name, _| !of(name));
        self.queue.forget(of);
        self.epochs.end_invalidation(context);
        self.queue.wake();
        ended
    }

    /// Waits until everything is written and counted that was queued, and all counts are known. False if that is not so in time.
    pub(crate) fn settle(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !self.is_here() || !self.queue.drained(left) {
                return false;
            }
            if self.epochs.is_settled() {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the worker, once it has written what it can in its time.
    pub(crate) fn stop(&self) {
        self.end.get_or_init(|| Instant::now() + self.options.drain);
        self.queue.stop();
    }

    pub(crate) fn count_claim(&self) {
        self.figures.claimed.add(1);
    }

    pub(crate) fn last_failure(&self) -> Option<String> {
        self.is_here().then(|| lock(&self.last_failure).clone())?
    }

    pub(crate) fn stats(&self) -> ExternalStats {
        if !self.is_here() {
            return self.figures.snapshot();
        }
        let tally = self.queue.tally();
        let breaker = lock(&self.breaker);
        let (openings, closings) = breaker.transitions();
        ExternalStats {
            queue_depth: tally.depth,
            queue_bytes: tally.bytes,
            queue_dropped: tally.dropped,
            writes_lost: tally.lost,
            removals_dropped: tally.removals_dropped,
            breaker: breaker.state(),
            breaker_openings: openings,
            breaker_closings: closings,
            ..self.figures.snapshot()
        }
    }
}

/// A store and its options, until the cache is built.
pub(crate) struct External {
    pub(crate) store: Arc<dyn ExternalStore>,
    pub(crate) options: ExternalOptions,
}

impl fmt::Debug for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tier")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
