//! What happened, counted where no two threads fight over a line.

use std::sync::Arc;

use crate::budget::{Budget, Permit, UNIT};
use crate::removal::RemovalCause;
use crate::sync::{CachePadded, Counter, THREAD_NUMBERS, thread_number};

/// A snapshot of a cache's counters.
///
/// The numbers are exact once nothing is going on; while operations run, they may be a few operations apart from each
/// other. The balance `inserted = entries + taken + removed_total() + expired + evicted + replaced` then holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that are in the cache, expired ones that have not been collected yet included.
    #[doc(alias = "SSL_CTX_sess_number")]
    pub entries: u64,
    /// Memory of those sessions, in bytes: header, extras, server name and payload, in whole cache lines.
    pub bytes: u64,
    /// Sessions that were added, replacements included.
    pub inserted: u64,
    /// Sessions whose place was taken by another of the same id. No callback.
    pub replaced: u64,
    /// Sessions that `take` returned.
    pub taken: u64,
    /// Sessions removed by `remove` and `remove_exact` out of the cache.
    pub removed: u64,
    /// Sessions whose context was invalidated.
    pub invalidated: u64,
    /// Sessions removed by `clear`.
    pub cleared: u64,
    /// Sessions that `retain` did not want.
    pub retained: u64,
    /// Sessions that the new callback refused.
    pub refused: u64,
    /// Sessions that were in the cache when it was dropped.
    pub dropped: u64,
    /// Sessions whose deadline passed, by the wheel or by `flush`.
    pub expired: u64,
    /// Sessions that made room for others.
    #[doc(alias = "SSL_CTX_sess_cache_full")]
    pub evicted: u64,
    /// Sessions removed without ever having been added.
    pub never_added: u64,
    /// Lookups (`with`, `get`, `take`) that found a live session, and sessions of the get callback that were accepted.
    #[doc(alias = "SSL_CTX_sess_hits")]
    pub hits: u64,
    /// Lookups that found nothing in the cache, or nothing that the handshake could use, also when the get callback then helped out.
    #[doc(alias = "SSL_CTX_sess_misses")]
    pub misses: u64,
    /// Lookups that found a session past its deadline, and such sessions of the get callback.
    #[doc(alias = "SSL_CTX_sess_timeouts")]
    pub timeouts: u64,
    /// Sessions that the get callback or a shared tier supplied, before they were checked.
    #[doc(alias = "SSL_CTX_sess_cb_hits")]
    pub external_hits: u64,
    /// Calls of the get callback and reads of a shared tier that were not made, because a handshake (with rustls, a thread) had used up its look-ups.
    pub external_denied: u64,
    /// Sessions that a handshake found and did not resume, because they are bound to another server name: also misses.
    pub wrong_name: u64,
    /// Ids that a handshake offered and nobody looked up, because their tag is not this server's.
    pub forged: u64,
    /// Server handshakes begun, of [`Connection`](crate::Connection)s.
    #[doc(alias = "SSL_CTX_sess_accept")]
    pub accepts: u64,
    /// Of those, handshakes that were finished.
    #[doc(alias = "SSL_CTX_sess_accept_good")]
    pub accepts_good: u64,
    /// Further server handshakes on a connection.
    #[doc(alias = "SSL_CTX_sess_accept_renegotiate")]
    pub accepts_again: u64,
    /// Client handshakes begun.
    #[doc(alias = "SSL_CTX_sess_connect")]
    pub connects: u64,
    /// Of those, handshakes that were finished.
    #[doc(alias = "SSL_CTX_sess_connect_good")]
    pub connects_good: u64,
    /// Further client handshakes on a connection.
    #[doc(alias = "SSL_CTX_sess_connect_renegotiate")]
    pub connects_again: u64,
    /// Adds that did not keep the session, for any reason.
    pub not_cached: u64,
    /// Of those: because too much memory was still waiting for callbacks or readers.
    pub not_cached_backlog: u64,
    /// Of those: because another add of the same id was faster.
    pub not_cached_raced: u64,
    /// Calls of the remove callback, those that panicked included.
    pub callbacks: u64,
    /// Callbacks of any kind that panicked.
    pub callback_panics: u64,
    /// Memory of sessions that have left but are not wiped and freed yet, in bytes.
    pub backlog_bytes: u64,
}

impl Stats {
    /// All sessions that somebody had removed: removed, invalidated, cleared, retained away, refused and dropped.
    pub fn removed_total(&self) -> u64 {
        self.removed + self.invalidated + self.cleared + self.retained + self.refused + self.dropped
    }

    /// How many remove callbacks the counted removals call for, once all are delivered and if a callback was set.
    pub fn callbacks_due(&self) -> u64 {
        self.taken + self.removed_total() + self.expired + self.evicted + self.never_added
    }

    /// The twelve numbers that OpenSSL keeps, by its names and as it counts them.
    pub fn openssl(&self) -> SessCounters {
        SessCounters {
            number: self.entries,
            connect: self.connects,
            connect_good: self.connects_good,
            connect_renegotiate: self.connects_again,
            accept: self.accepts,
            accept_good: self.accepts_good,
            accept_renegotiate: self.accepts_again,
            hits: self.hits,
            cb_hits: self.external_hits,
            misses: self.misses,
            timeouts: self.timeouts,
            cache_full: self.evicted,
        }
    }

    /// Whether every session that came in is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.inserted
            == self.entries
                + self.taken
                + self.removed_total()
                + self.expired
                + self.evicted
                + self.replaced
    }
}

/// The counters of an `SSL_CTX`'s session cache, by OpenSSL's names: made by [`Stats::openssl`], and read from a real
/// `SSL_CTX` by the adapter for the crate openssl.
///
/// The number of hits, misses and timeouts includes direct lookups, which OpenSSL's interface does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is named by its OpenSSL function")]
pub struct SessCounters {
    #[doc(alias = "SSL_CTX_sess_number")]
    pub number: u64,
    #[doc(alias = "SSL_CTX_sess_connect")]
    pub connect: u64,
    #[doc(alias = "SSL_CTX_sess_connect_good")]
    pub connect_good: u64,
    #[doc(alias = "SSL_CTX_sess_connect_renegotiate")]
    pub connect_renegotiate: u64,
    #[doc(alias = "SSL_CTX_sess_accept")]
    pub accept: u64,
    #[doc(alias = "SSL_CTX_sess_accept_good")]
    pub accept_good: u64,
    #[doc(alias = "SSL_CTX_sess_accept_renegotiate")]
    pub accept_renegotiate: u64,
    #[doc(alias = "SSL_CTX_sess_hits")]
    pub hits: u64,
    #[doc(alias = "SSL_CTX_sess_cb_hits")]
    pub cb_hits: u64,
    #[doc(alias = "SSL_CTX_sess_misses")]
    pub misses: u64,
    #[doc(alias = "SSL_CTX_sess_timeouts")]
    pub timeouts: u64,
    #[doc(alias = "SSL_CTX_sess_cache_full")]
    pub cache_full: u64,
}

/// Counters of one shard: written by adds and removals only, each of which writes the shard's lines anyway.
///
/// In this order: what an add writes that evicts, and a take, is one line.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct ShardCells {
    /// Adds that made a session live; the number before is the add's place in the order of ages.
    pub(crate) begun: Counter,
    /// Memory units of all sessions that were pushed on the removed stack.
    pub(crate) pushed: Counter,
    /// Of those, units that the maintainer has taken off the stack.
    pub(crate) collected: Counter,
    ends: [Counter; RemovalCause::ALL.len()],
    /// Of the begun, adds that gave up before anybody could find the session.
    pub(crate) abandoned: Counter,
    pub(crate) replaced: Counter,
}

const _: () = assert!(
    std::mem::offset_of!(ShardCells, ends)
        + (RemovalCause::Evicted as usize + 1) * size_of::<Counter>()
        <= 64
);

impl ShardCells {
    /// Sessions that came and have not left, about.
    pub(crate) fn live(&self) -> u64 {
        let ended: u64 = self.ends.iter().map(Counter::value).sum();
        let left = ended + self.replaced.value() + self.abandoned.value();
        self.begun.value().saturating_sub(left)
    }

    pub(crate) fn end(&self, cause: RemovalCause, sessions: u64) {
        self.ends[cause as usize].add(sessions);
    }
}

/// What a thread counts on lines of its own, so that a lookup writes no line that another thread reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Hit,
    Miss,
    Timeout,
    Accept,
    AcceptGood,
    AcceptAgain,
    Connect,
    ConnectGood,
    ConnectAgain,
}

/// A counter for each [`Event`].
type Events = [Counter; Event::ConnectAgain as usize + 1];

/// All counters of one cache. Outlives the cache in a [`StatsHandle`].
#[derive(Debug)]
pub(crate) struct Cells {
    /// What the slots hold: counted by itself, so that the balance is a check and not a definition.
    pub(crate) budget: CachePadded<Budget>,
    pub(crate) shards: Box<[Arc<CachePadded<ShardCells>>]>,
    /// For each numbered thread, and one for all the others.
    events: Box<[CachePadded<Events>; THREAD_NUMBERS + 1]>,
    pub(crate) never_added: Counter,
    pub(crate) external_hits: Counter,
    pub(crate) external_denied: Counter,
    pub(crate) wrong_name: Counter,
    pub(crate) forged: Counter,
    pub(crate) not_cached: Counter,
    pub(crate) not_cached_backlog: Counter,
    pub(crate) not_cached_raced: Counter,
    pub(crate) callbacks: Counter,
    pub(crate) callback_panics: Counter,
    /// Memory units that the maintainer has taken off the stacks.
    pub(crate) collected: CachePadded<Counter>,
    /// Of those, units that it has let go.
    pub(crate) freed: Counter,
}

impl Cells {
    pub(crate) fn new(shards: usize, limit: Permit) -> Arc<Self> {
        Arc::new(Self {
            budget: CachePadded::new(Budget::new(limit)),
            shards: (0..shards).map(|_| Arc::default()).collect(),
            events: (0..=THREAD_NUMBERS)
                .map(|_| CachePadded::default())
                .collect::<Box<[_]>>()
                .try_into()
                .expect("as many as the type says"),
            never_added: Counter::default(),
            external_hits: Counter::default(),
            external_denied: Counter::default(),
            wrong_name: Counter::default(),
            forged: Counter::default(),
            not_cached: Counter::default(),
            not_cached_backlog: Counter::default(),
            not_cached_raced: Counter::default(),
            callbacks: Counter::default(),
            callback_panics: Counter::default(),
            collected: CachePadded::default(),
            freed: Counter::default(),
        })
    }

    /// Memory units that the maintainer has taken off the stacks and not freed yet.
    pub(crate) fn in_hand(&self) -> u64 {
        let freed = self.freed.value();
        self.collected.value().saturating_sub(freed)
    }

    /// Memory units that have left the slots and are not freed yet. Reads a line of each shard.
    pub(crate) fn backlog(&self) -> u64 {
        let freed = self.freed.value();
        self.pushed().saturating_sub(freed)
    }

    /// Counts an event: a load and a store on a line of the thread's own; beyond 256 threads, one locked instruction on
    /// a line that the surplus threads share.
    #[inline]
    pub(crate) fn count(&self, event: Event) {
        match thread_number() {
            Some(number) => self.events[number][event as usize].bump_owned(),
            None => {
                self.events[THREAD_NUMBERS][event as usize].add(1);
            }
        }
    }

    /// Memory units of all sessions that were ever pushed on a removed stack.
    pub(crate) fn pushed(&self) -> u64 {
        self.shards.iter().map(|cells| cells.pushed.value()).sum()
    }

    /// The sums.
    pub(crate) fn sum(&self) -> Stats {
        let over = |f: &dyn Fn(&ShardCells) -> u64| self.shards.iter().map(|cells| f(cells)).sum();
        let ended = |cause: RemovalCause| over(&|cells| cells.ends[cause as usize].value());
        let begun: u64 = over(&|cells| cells.begun.value());
        let events = |event: Event| -> u64 {
            self.events
                .iter()
                .map(|counters| counters[event as usize].value())
                .sum()
        };
        let used = self.budget.used();
        Stats {
            entries: used.entries(),
            bytes: used.units() * UNIT as u64,
            inserted: begun.saturating_sub(over(&|cells| cells.abandoned.value())),
            replaced: over(&|cells| cells.replaced.value()),
            taken: ended(RemovalCause::Taken),
            removed: ended(RemovalCause::Removed),
            invalidated: ended(RemovalCause::Invalidated),
            cleared: ended(RemovalCause::Cleared),
            retained: ended(RemovalCause::Retained),
            refused: ended(RemovalCause::Refused),
            dropped: ended(RemovalCause::Dropped),
            expired: ended(RemovalCause::Expired),
            evicted: ended(RemovalCause::Evicted),
            never_added: self.never_added.value(),
            hits: events(Event::Hit),
            misses: events(Event::Miss),
            timeouts: events(Event::Timeout),
            external_hits: self.external_hits.value(),
            external_denied: self.external_denied.value(),
            wrong_name: self.wrong_name.value(),
            forged: self.forged.value(),
            accepts: events(Event::Accept),
            accepts_good: events(Event::AcceptGood),
            accepts_again: events(Event::AcceptAgain),
            connects: events(Event::Connect),
            connects_good: events(Event::ConnectGood),
            connects_again: events(Event::ConnectAgain),
            not_cached: self.not_cached.value(),
            not_cached_backlog: self.not_cached_backlog.value(),
            not_cached_raced: self.not_cached_raced.value(),
            callbacks: self.callbacks.value(),
            callback_panics: self.callback_panics.value(),
            backlog_bytes: self.backlog() * UNIT as u64,
        }
    }
}

/// Reads a cache's counters, also after the cache is gone.
///
/// # Examples
///
/// ```
/// use refrain::SessionCache;
///
/// let cache = SessionCache::builder().build()?;
/// let handle = cache.stats_handle();
/// drop(cache);
/// assert_eq!(handle.snapshot().entries, 0);
/// # Ok::<(), refrain::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StatsHandle(pub(crate) Arc<Cells>);

impl StatsHandle {
    /// The counters now.
    pub fn snapshot(&self) -> Stats {
        self.0.sum()
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
