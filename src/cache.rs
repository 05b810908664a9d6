//! The door: what a server does with its session cache.

#[cfg(feature = "external")]
pub(crate) mod external;
pub(crate) mod handshake;
mod life;
mod settings;

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::clock::Time;
use crate::config::{Builder, CacheMode};
use crate::context::Context;
use crate::engine::Added;
use crate::engine::word::State;
use crate::error::Error;
use crate::id::{ContextId, SessionId};
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::stats::{Event, Stats, StatsHandle};
use crate::sync::atomic::Ordering;

use life::{Core, Owner};

/// A TLS session cache for many threads. Clones are handles to the same cache.
///
/// | operation | progress | cache lines | locked instructions |
/// |---|---|---|---|
/// | [`with`](Self::with) | wait-free | reads one bucket (1.03 on average) and the header; writes one counter of the thread's own | none; one the first time a session is found |
/// | a miss | wait-free | reads one bucket, writes one counter of the thread's own | none |
/// | [`get`](Self::get) | wait-free | as `with`, and writes the header | the count; dropping the handle is another |
/// | [`add`](Self::add) | lock-free | writes header, bucket, budget, the shard's counters, a word each of wheel and age ring | 5 to 8 |
/// | [`take`](Self::take) | lock-free | writes header, bucket, budget, the shard's counters and removed stack | 7 |
///
/// The counters of the first 256 threads that look anything up are each thread's own; further threads share one line, by
/// one more locked instruction. Besides, every operation reads lines that are seldom written: the context's number, the coarse clock, the mode. The
/// pin is two stores to a line of the thread's own, and no locked instruction; a thread's first operation takes a place for
/// it, which is lock-free, looks at the other threads' places, and may allocate. (Without `membarrier`, which only Linux has,
/// on x86-64 and aarch64, the pin is crossbeam-epoch's: one locked instruction more for each operation, on the thread's own line, and every 128th of a thread's pins looks at the other threads' lines and helps to clear away what
/// maintenance has left, which allocates in one of a thousand pins at the most.) Else none of these operations allocates,
/// frees a session that was in the cache (the [`Session`] itself is one block of memory, as a rule that of one that is gone), waits for another thread, or runs user
/// code but the closure given to `with`; `add` alone asks the system for the time, a thousand times a second at the most where the processor has a counter of its own. When the cache is full, `add` also ends its victim, and
/// helps with what has expired.
///
/// *What is linearizable*, for each id: `add`, `with`, `get`, `contains`, `take`, `take_exact`, `remove`, `remove_exact`, and
/// every other way out, of which the remove callback tells after the fact. *What is not*: `len`, `stats`, and sweeps over all
/// sessions ([`flush`](Self::flush), [`retain`](Self::retain), [`clear`](Self::clear)), which see each session at some moment
/// during the call. The chapter [consistency](crate::manual::consistency) has it exactly.
///
/// # The end
///
/// Dropping the last handle removes every session ([`RemovalCause::Dropped`]), calls the remove callback for each, and
/// joins the cache's threads; when it happens in a remove callback, the listener thread does all that once the callback
/// has returned. Handles of sessions stay valid after that.
///
/// # Forks
///
/// The child of a fork has a copy of every cache and none of its threads. Look-ups, `add`, `take` and `remove` go on
/// there. From the fork on the copy is maintained as with [`Maintenance::Manual`](crate::Maintenance::Manual), by
/// [`run_maintenance`](Self::run_maintenance), which calls the remove callbacks too; where nobody does it, adds answer
/// [`NotCached::Backlog`](crate::NotCached::Backlog) at the bound. The end of a copy calls no callbacks: the sessions are
/// the parent's. Single use is a promise within one process: what was in the cache at the fork can be taken once in each.
/// A cache that the child builds has its threads and works as any other. More is in the chapter
/// [operations](crate::manual::operations).
///
/// # Examples
///
/// ```
/// use refrain::{ContextId, Session, SessionCache, SessionId};
///
/// let cache = SessionCache::builder().capacity(10_000).build()?;
/// let context = cache.context(ContextId::derive("shop", &[("cert", b"fingerprint")]))?;
///
/// // A full handshake ends: store what the TLS stack wants back.
/// let id = SessionId::new(&[7; 32])?;
/// assert!(cache.add(Session::new(&context, id, b"state")?).is_cached());
///
/// // The client returns.
/// let len = cache.with(&context, &id, |session| session.payload().len());
/// assert_eq!(len, Some(5));
///
/// // Single use: of any number of callers, one gets it.
/// assert!(cache.take(&context, &id).is_some());
/// assert!(cache.take(&context, &id).is_none());
/// # Ok::<(), refrain::Error>(())
/// ```
#[doc(alias = "SSL_CTX_free")]
#[derive(Clone)]
pub struct SessionCache {
    core: Arc<Core>,
    /// Its drop is the cache's end: the core itself is shared with the threads.
    _owner: Arc<Owner>,
}

impl SessionCache {
    /// Builds a cache; every setting has a default.
    #[doc(alias = "SSL_CTX_new")]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The handle for a context id, which lookups are made with. Keep it; this call takes a lock.
    ///
    /// # Errors
    ///
    /// [`Error::TooManyContexts`] if as many contexts as [`Builder::max_contexts`] allows are in use, and
    /// [`Error::ContextNumbersExhausted`] after four billion contexts and invalidations in one process;
    /// [`Error::Forked`] in the child of a fork that happened while another thread was in this call or in
    /// [`invalidate_context`](Self::invalidate_context).
    #[doc(alias = "SSL_CTX_set_session_id_context")]
    #[doc(alias = "SSL_set_session_id_context")]
    pub fn context(&self, id: ContextId) -> Result<Context, Error> {
        let context = self.core.engine.context(id)?;
        #[cfg(feature = "external")]
        if let Some(tier) = self.tier() {
            tier.introduce(context.id());
        }
        Ok(context)
    }

    /// Adds a session. Its deadline is its timeout from now, or its authentication deadline if that is earlier.
    ///
    /// The cache keeps the handle; clone it before to keep one as well. Of sessions with the same id, the one added last
    /// is found; the one before it is replaced without a callback. A full cache evicts: what is expired, then what
    /// belongs to an invalidated context, then the oldest that was not looked up since it was added or last spared.
    /// The newcomer is never its own victim, and the number of sessions never exceeds the capacity; after a capacity
    /// was lowered, it only falls until it fits. The callbacks for new sessions are not called: they belong to handshakes.
    ///
    /// Lock-free. Brings the cache's clock up to date, to within a millisecond.
    #[doc(alias = "SSL_CTX_add_session")]
    #[doc(alias = "SSL_add_session")]
    pub fn add(&self, session: Session) -> Added {
        let now = self.core.engine.clock.recent();
        self.core.engine.add(session, self.core.timeout(), now)
    }

    /// Lends the live session of an id to a closure: get0.
    ///
    /// Wait-free, once the thread has its place; lock-free where there is no `membarrier`. While the closure runs, nothing that leaves any
    /// cache of this process is freed: a slow one costs memory, up to the [backlog](Builder::backlog), and never anybody's progress. It may use the
    /// cache. To keep the session, clone it.
    #[inline]
    #[doc(alias = "SSL_get0_session")]
    pub fn with<R>(
        &self,
        context: &Context,
        id: &SessionId,
        f: impl FnOnce(&Session) -> R,
    ) -> Option<R> {
        self.core.engine.with(id, context.number(), |raw, _| {
            // SAFETY: the session is alive under the pin, and this handle is not dropped.
            let session = ManuallyDrop::new(unsafe { Session::from_raw(raw) });
            self.core.update_time(&session);
            f(&session)
        })
    }

    /// The live session of an id, with a reference of its own: get1.
    ///
    /// Wait-free; one locked instruction more than [`with`](Self::with).
    #[inline]
    #[doc(alias = "SSL_get1_session")]
    pub fn get(&self, context: &Context, id: &SessionId) -> Option<Session> {
        self.find(context, id, |_| true)
    }

    /// As [`get`](Self::get), if it is wanted.
    #[inline]
    fn find(
        &self,
        context: &Context,
        id: &SessionId,
        want: impl FnOnce(&Session) -> bool,
    ) -> Option<Session> {
        // SAFETY: `get` shows only what is in a slot, under its pin; the handle borrows that, and is not dropped.
        let want = |raw| want(&ManuallyDrop::new(unsafe { Session::from_raw(raw) }));
        let raw = self.core.engine.get(id, context.number(), want)?;
        // SAFETY: the reference that `get` took.
        let session = unsafe { Session::from_raw(raw) };
        self.core.update_time(&session);
        Some(session)
    }

    /// Removes the live session of an id and returns it: of any number of callers, exactly one gets it.
    ///
    /// This is what makes a session single-use in one process: TLS 1.3 tickets, 0-RTT. Of a shared tier's servers each has its
    /// own winner: there, [`Connection::claim`](crate::Connection::claim) and the adapters ask the store. Lock-free: it starts
    /// over only when the session was replaced meanwhile. The remove callback hears [`RemovalCause::Taken`].
    pub fn take(&self, context: &Context, id: &SessionId) -> Option<Session> {
        let session = self.end(context, id, RemovalCause::Taken, |_| true)?;
        #[cfg(feature = "external")]
        if self.is_strict() {
            self.used_up(context.id(), &session);
        }
        Some(session)
    }

    /// Ends the live session of an id, if it is wanted.
    fn end(
        &self,
        context: &Context,
        id: &SessionId,
        cause: RemovalCause,
        want: impl Fn(&Session) -> bool,
    ) -> Option<Session> {
        let engine = &self.core.engine;
        let now = engine.clock.now();
        // SAFETY: `take` shows only what is in a slot, under its pin; the handle borrows that, and is not dropped.
        let want = |raw| want(&ManuallyDrop::new(unsafe { Session::from_raw(raw) }));
        let raw = engine.take(id, context.number(), now, cause, want)?;
        // SAFETY: the reference that `take` took.
        Some(unsafe { Session::from_raw(raw) })
    }

    /// Takes this very session: true for exactly one caller, and only while it is in the cache, has not expired, and its
    /// context was not invalidated.
    ///
    /// For stacks that first look ([`get`](Self::get)), then verify that the client knows the session's secret, then
    /// use it up, so that an id alone can't burn another client's session. Lock-free.
    pub fn take_exact(&self, session: &Session) -> bool {
        let engine = &self.core.engine;
        let taken = engine.take_exact(session.raw(), engine.clock.now());
        #[cfg(feature = "external")]
        if taken && self.is_strict() {
            self.used_up_exact(session);
        }
        taken
    }

    /// Removes the live session of an id. True for exactly one caller. Lock-free.
    pub fn remove(&self, context: &Context, id: &SessionId) -> bool {
        let remove = || {
            let ended = self.end(context, id, RemovalCause::Removed, |_| true);
            ended.is_some()
        };
        #[cfg(feature = "external")]
        let removed = self.removing(context.id(), id, remove);
        #[cfg(not(feature = "external"))]
        let removed = remove();
        removed
    }

    /// Removes this very session, expired or not; one that was never added can't be added any more. True for exactly
    /// one caller, and the remove callback hears of it once. Lock-free.
    ///
    /// False once it has left, or another of its id can be found in its place; for a session of another cache; and for one that
    /// was never added while the backlog is full, which is then left as it is.
    #[doc(alias = "SSL_CTX_remove_session")]
    #[doc(alias = "SSL_remove_session")]
    pub fn remove_exact(&self, session: &Session) -> bool {
        let engine = &self.core.engine;
        let end = || engine.end_exact(session.raw(), RemovalCause::Removed, |_| true);
        #[cfg(feature = "external")]
        let removed = self.removing_exact(session, end);
        #[cfg(not(feature = "external"))]
        let removed = end();
        removed
    }

    /// Whether there is a live session of this id. Counts as a lookup.
    #[doc(alias = "SSL_has_matching_session_id")]
    pub fn contains(&self, context: &Context, id: &SessionId) -> bool {
        let found = self.core.engine.with(id, context.number(), |_, _| ());
        found.is_some()
    }

    /// Removes every session that is expired at `now`, which may lie in the future; returns how many. The remove
    /// callback hears [`RemovalCause::Expired`] for each, from the listener.
    ///
    /// Looks at every session, on the calling thread; holds nobody up.
    #[doc(alias = "SSL_CTX_flush_sessions")]
    #[doc(alias = "SSL_CTX_flush_sessions_ex")]
    pub fn flush(&self, now: Time) -> usize {
        self.core.engine.clock.refresh();
        // What never expires is not expired at the end of time either.
        let now = now.min(Time::from_millis(Time::MAX.as_millis() - 1));
        self.core
            .sweep(RemovalCause::Expired, |state| state.is_expired(now))
    }

    /// Makes every session of a context unfindable, at once and for good, in constant time. They are removed by
    /// maintenance ([`RemovalCause::Invalidated`]), before anything else is evicted.
    ///
    /// The context itself lives on: what is stored under it from now on is found. A session built before, of a
    /// handshake that began before, is refused ([`NotCached::Stale`](crate::NotCached::Stale)).
    ///
    /// # Errors
    ///
    /// [`Error::ForeignContext`] for a context of another cache; [`Error::ContextNumbersExhausted`] and [`Error::Forked`]
    /// as for [`context`](Self::context).
    pub fn invalidate_context(&self, context: &Context) -> Result<(), Error> {
        let invalidate = || self.core.engine.invalidate(context);
        #[cfg(feature = "external")]
        self.invalidating(context.id(), invalidate)?;
        #[cfg(not(feature = "external"))]
        invalidate()?;
        self.core.engine.wake_maintainer();
        Ok(())
    }

    /// Removes every session for which `keep` says no ([`RemovalCause::Retained`]); returns how many. `keep` runs on the
    /// calling thread, holding nothing, and may use the cache.
    pub fn retain(&self, mut keep: impl FnMut(&Session) -> bool) -> usize {
        let mut removed = 0;
        self.core.engine.for_each(|session| {
            if session.is_resumable() && !keep(&session) {
                let cause = RemovalCause::Retained;
                let end = || self.core.engine.end_exact(session.raw(), cause, |_| true);
                #[cfg(feature = "external")]
                let ended = self.retiring(&session, end);
                #[cfg(not(feature = "external"))]
                let ended = end();
                removed += usize::from(ended);
            }
        });
        self.core.engine.wake_maintainer();
        removed
    }

    /// Removes every session ([`RemovalCause::Cleared`]); returns how many. One that is added meanwhile may stay. With a
    /// shared tier everything in it is invalidated, too, for all servers.
    pub fn clear(&self) -> usize {
        let sweep = || self.core.sweep(RemovalCause::Cleared, |_| true);
        #[cfg(feature = "external")]
        let swept = self.sweeping_all(sweep);
        #[cfg(not(feature = "external"))]
        let swept = sweep();
        swept
    }

    /// How many sessions it holds, expired ones that have not been collected included; adds under way may count.
    #[doc(alias = "SSL_CTX_sess_number")]
    pub fn len(&self) -> usize {
        self.core.engine.entries() as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A snapshot of the counters.
    pub fn stats(&self) -> Stats {
        self.core.engine.cells.sum()
    }

    /// A handle to the counters that outlives the cache.
    pub fn stats_handle(&self) -> StatsHandle {
        StatsHandle(Arc::clone(&self.core.engine.cells))
    }

    /// Whether both are handles to one cache.
    #[cfg(feature = "openssl")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    pub(crate) fn count(&self, event: Event) {
        self.core.engine.cells.count(event);
    }

    #[cfg(feature = "openssl")]
    pub(crate) fn count_forged(&self) {
        self.core.engine.cells.forged.add(1);
    }

    /// Counts an id that is none, as OpenSSL would: not what is empty, and only where there is a look-up.
    pub(crate) fn count_unlike(&self, id: &[u8]) {
        let mode = self.mode();
        let looks =
            mode.contains(CacheMode::SERVER) && !mode.contains(CacheMode::NO_INTERNAL_LOOKUP);
        if looks && !id.is_empty() {
            self.count(Event::Miss);
        }
    }

    pub(crate) fn count_wrong_name(&self) {
        self.core.engine.cells.wrong_name.add(1);
    }

    /// Reads the clock: the time that [`flush`](Self::flush) and deadlines are measured in. Brings the cache's own time
    /// up to date.
    pub fn now(&self) -> Time {
        self.core.engine.clock.refresh()
    }
}

impl Core {
    /// The timeout of sessions without one of their own, in milliseconds.
    fn timeout(&self) -> u64 {
        // ORDERING: Relaxed. A number on its own.
        self.timeout.load(Ordering::Relaxed)
    }

    #[inline]
    fn mode(&self) -> CacheMode {
        // ORDERING: Relaxed. A number on its own.
        CacheMode::from_bits(self.mode.load(Ordering::Relaxed))
    }

    /// Gives a session its timeout again, under `UPDATE_TIME`.
    #[inline]
    fn update_time(&self, session: &Session) {
        if self.mode().contains(CacheMode::UPDATE_TIME) {
            self.touch(session);
        }
    }

    /// Writes only if that gains a clock's step.
    fn touch(&self, session: &Session) {
        let now = self.engine.clock.now();
        // SAFETY: the handle is a reference.
        let deadline = unsafe { session.raw().extras() }.deadline(now, self.timeout());
        if deadline > session.deadline() {
            // SAFETY: the caller has a handle or a pin.
            let header = unsafe { session.raw().header() };
            header.state.postpone(deadline, now);
        }
    }

    fn sweep(&self, cause: RemovalCause, when: impl Fn(State) -> bool) -> usize {
        let ended = self.engine.sweep(cause, when);
        self.engine.wake_maintainer();
        ended
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}
