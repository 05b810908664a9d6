//! A checker outside the cache: it keeps its own record of every session and decides what was live, what was used twice,
//! and what got lost.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::books::{Balance, Callbacks};
use refrain::RemovalCause;

/// Locks that the records are spread over, so that the checker is not what the run measures.
const SHARDS: usize = 64;

/// What the checker knows of all sessions.
pub(crate) struct Checker {
    shards: Vec<Mutex<HashMap<Box<[u8]>, Record>>>,
    hasher: RandomState,
    timeout: Duration,
    margin: Duration,
    /// Sessions that were live, offered and not resumed, until the last callbacks have spoken.
    suspects: Mutex<Vec<Suspect>>,
    /// Expirations reported well before the deadline.
    early: AtomicU64,
    pub(crate) callbacks: Callbacks,
}

/// What the checker knows of one session.
#[derive(Default)]
struct Record {
    /// When the server began to store it; none until then. A callback can be faster: the newcomer may be evicted before
    /// the server has said that it stored it.
    stored_at: Option<Instant>,
    /// Whether the store kept it.
    cached: bool,
    /// How often the server is known to have taken it.
    taken: u64,
    /// How often a client saw the server accept it as a TLS 1.3 pre-shared key.
    accepted: u64,
    /// The callbacks that named it.
    reports: u64,
    /// The cause that the last of them gave.
    cause: Option<RemovalCause>,
}

/// A session whose offer failed although it was live.
struct Suspect {
    id: Box<[u8]>,
    version: &'static str,
    age: Duration,
}

/// What the records say at the end.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Live sessions that were offered and did not resume.
    pub(crate) lost: u64,
    /// The first of them, in words.
    pub(crate) first_lost: Option<String>,
    /// Offers of sessions that were being evicted: excused.
    pub(crate) evicted_meanwhile: u64,
    /// Uses of single-use sessions beyond the first.
    pub(crate) reused_twice: u64,
    /// What else is wrong, in words.
    pub(crate) faults: Vec<String>,
}

impl Checker {
    /// A checker of a store whose sessions live for `timeout`.
    ///
    /// The cache may be late or early by a tick of its wheel and by what its clock lags, a quarter of a tick: that close
    /// to its deadline a session counts as neither live nor dead.
    pub(crate) fn new(timeout: Duration, tick: Duration) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            timeout,
            margin: tick + tick / 4,
            suspects: Mutex::default(),
            early: AtomicU64::new(0),
            callbacks: Callbacks::default(),
        }
    }

    fn shard(&self, id: &[u8]) -> MutexGuard<'_, HashMap<Box<[u8]>, Record>> {
        let place = self.hasher.hash_one(id) as usize % SHARDS;
        self.shards[place]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn with_record(&self, id: &[u8], change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.shard(id).get_mut(id) {
            change(record);
        }
    }

    /// The server began to store a session at `began`, and now knows whether the store keeps it. No client knows its id
    /// yet, or at least none has had its page.
    pub(crate) fn stored(&self, id: &[u8], began: Instant, cached: bool) {
        let mut shard = self.shard(id);
        let record = shard.entry(id.into()).or_default();
        if record.stored_at.is_some() {
            // Another session of the same id.
            *record = Record::default();
        }
        record.stored_at = Some(began);
        record.cached = cached;
    }

    /// The server took a session.
    #[allow(
        dead_code,
        reason = "with libssl, nobody sees the taking but the cache"
    )]
    pub(crate) fn taken(&self, id: &[u8]) {
        self.with_record(id, |record| record.taken += 1);
    }

    /// What `on_remove` calls.
    pub(crate) fn reported(&self, id: &[u8], cause: RemovalCause) {
        self.callbacks.count(cause);
        let mut shard = self.shard(id);
        let record = shard.entry(id.into()).or_default();
        record.reports += 1;
        record.cause = Some(cause);
        if cause == RemovalCause::Expired && self.is_far_from_deadline(record) {
            self.early.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client saw the server accept this single-use session.
    pub(crate) fn accepted(&self, id: &[u8]) {
        self.with_record(id, |record| record.accepted += 1);
    }

    /// Whether the session is live: stored, not reported, not taken, and not near its deadline.
    pub(crate) fn is_live(&self, id: &[u8]) -> bool {
        self.shard(id).get(id).is_some_and(|record| {
            record.taken == 0 && record.cause.is_none() && self.survives(record)
        })
    }

    /// Everything that makes a session live, except that nobody took it.
    fn survives(&self, record: &Record) -> bool {
        let gone = record
            .cause
            .is_some_and(|cause| cause != RemovalCause::Taken);
        record.cached && !gone && self.is_far_from_deadline(record)
    }

    /// Whether not even a clock that is off by the margin sees the session's deadline.
    fn is_far_from_deadline(&self, record: &Record) -> bool {
        record
            .stored_at
            .is_some_and(|stored_at| stored_at.elapsed() + self.margin < self.timeout)
    }

    /// A session that was live when it was offered did not resume, and no other offer of it did. If nothing has happened
    /// to it meanwhile either, it is suspected to be lost.
    pub(crate) fn not_resumed(&self, id: &[u8], version: &'static str) {
        let stored_at = self
            .shard(id)
            .get(id)
            .filter(|record| self.survives(record))
            .and_then(|record| record.stored_at);
        if let Some(stored_at) = stored_at {
            let age = stored_at.elapsed();
            let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
            suspects.push(Suspect {
                id: id.into(),
                version,
                age,
            });
        }
    }

    /// Goes through all records. For Refrain, `books` holds the balance after the cache was dropped, so every session
    /// must have been reported by now; for a store that reports nothing it is `None`. So many sessions came back from a file
    /// after they had left the cache, and may have left it once more.
    pub(crate) fn findings(&self, books: Option<&Balance>, brought: u64) -> Findings {
        let mut found = Findings::default();
        let evictions = books.map_or(0, |books| books.evicted);
        for suspect in &*self.suspects.lock().unwrap_or_else(PoisonError::into_inner) {
            let cause = self
                .shard(&suspect.id)
                .get(&suspect.id)
                .and_then(|record| record.cause);
            let evicted = cause == Some(RemovalCause::Evicted);
            if evicted && found.evicted_meanwhile < evictions {
                found.evicted_meanwhile += 1;
                continue;
            }
            found.lost += 1;
            found
                .first_lost
                .get_or_insert_with(|| suspect.describe(cause));
        }

        let (mut unreported, mut repeated, mut strangers) = (0, 0, 0);
        for shard in &self.shards {
            for record in shard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
            {
                found.reused_twice += record.taken.max(record.accepted).saturating_sub(1);
                unreported += u64::from(record.cached && record.reports == 0);
                repeated += record.reports.saturating_sub(1);
                strangers += u64::from(record.stored_at.is_none());
            }
        }
        if let Some(books) = books {
            let early = self.early.load(Ordering::Relaxed);
            // Replacing a session fires no callback.
            unreported = unreported.saturating_sub(books.replaced);
            repeated = repeated.saturating_sub(brought);
            found.faults = [
                (unreported, "sessions left without a callback"),
                (repeated, "callbacks came for sessions already reported"),
                (strangers, "callbacks came for sessions never stored"),
                (
                    early,
                    "sessions were reported expired well before their deadline",
                ),
            ]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        }
        found
    }
}

impl Suspect {
    fn describe(&self, cause: Option<RemovalCause>) -> String {
        let fate = cause.map_or("never reported", RemovalCause::as_str);
        format!("{}, {:.0?} old, {fate} later", self.version, self.age)
    }
}
