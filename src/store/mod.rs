//! The second tier: a store outside the process, shared by many servers or kept across a restart.
//!
//! The engine knows nothing of it. What stands here is what a store has to be able to do, and, with the feature `external`,
//! what the cache makes of one: see the chapter `manual::external`.

#[cfg(feature = "external")]
mod breaker;
#[cfg(feature = "external")]
mod doubts;
#[cfg(feature = "external")]
mod epochs;
#[cfg(feature = "external")]
mod figures;
#[cfg(feature = "external")]
mod flights;
#[cfg(feature = "external")]
mod hello;
#[cfg(feature = "external")]
mod keys;
#[cfg(feature = "external")]
mod name;
#[cfg(feature = "external")]
mod options;
#[cfg(feature = "external")]
pub(crate) mod query;
#[cfg(feature = "external")]
mod queue;
#[cfg(feature = "external")]
mod record;
#[cfg(feature = "external")]
pub(crate) mod tier;
#[cfg(feature = "external")]
mod tombs;
#[cfg(feature = "external")]
pub(crate) mod worker;

#[cfg(any(feature = "redis", feature = "memcached"))]
mod address;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "memcached")]
mod memcached;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod pool;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "memcached"))]
mod wire;

use std::fmt;
use std::time::{Duration, Instant};

#[cfg(any(feature = "redis", feature = "memcached"))]
pub use address::AddressError;
#[cfg(feature = "external")]
pub use breaker::BreakerState;
#[cfg(feature = "disk")]
pub use disk::{Disk, DiskError, Opened};
#[cfg(feature = "external")]
pub use figures::ExternalStats;
#[cfg(feature = "external")]
pub use hello::{Offered, resumption_ids};
#[cfg(feature = "external")]
pub use keys::Keys;
#[cfg(feature = "memcached")]
pub use memcached::{Memcached, MemcachedBuilder};
#[cfg(feature = "external")]
pub(crate) use name::Class;
#[cfg(feature = "external")]
pub use options::{ExternalOptions, MAX_READ_BUDGET, SingleUse};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder};

/// The longest [`Key`], in bytes: short enough for memcached once it is written in base64.
pub const MAX_KEY: usize = 128;

/// Under what a record stands in a store: opaque bytes, at most [`MAX_KEY`] of them.
///
/// It names a session without telling its id. A store that only takes text encodes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    bytes: [u8; MAX_KEY],
    len: u8,
}

impl Key {
    /// A key of these bytes; `None` unless there are 1 to [`MAX_KEY`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > MAX_KEY {
            return None;
        }
        let mut padded = [0; MAX_KEY];
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Self {
            bytes: padded,
            len: bytes.len() as u8,
        })
    }

    /// A key of a digest.
    #[cfg(feature = "external")]
    pub(crate) fn of(digest: [u8; 32]) -> Self {
        let mut bytes = [0; MAX_KEY];
        bytes[..32].copy_from_slice(&digest);
        Self { bytes, len: 32 }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.len)
    }
}

/// One step of a batch of writes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Write<'a> {
    /// Stores a record, in the place of one that may be there, for `ttl`.
    Put {
        /// Its name.
        key: &'a Key,
        /// Sealed bytes.
        record: &'a [u8],
        /// How long the store keeps it. Never zero.
        ttl: Duration,
    },
    /// Removes a record, if it is there.
    Remove {
        /// Its name.
        key: &'a Key,
    },
}

/// Why a store gave no answer. To a handshake they are all the same: a miss.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no connection, and none is to be had at once.
    Unavailable(String),
    /// The deadline passed. Whether the store did what it was asked to is unknown.
    TimedOut,
    /// The store answered, and refused: wrong password, out of memory, read-only.
    Refused(String),
    /// The store answered what it should never answer. The connection is given up.
    Protocol(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the store is not available: {why}"),
            Self::TimedOut => f.write_str("the store did not answer in time"),
            Self::Refused(why) => write!(f, "the store refused: {why}"),
            Self::Protocol(why) => write!(f, "the store's answer makes no sense: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a shared store can do. Every call ends by its deadline, with an answer or an error, and never panics.
///
/// Reads ([`get`](Self::get), [`take`](Self::take), [`claim`](Self::claim)) are called by handshakes, several at a time;
/// they must not wait for a connection: where none is free, they say [`StoreError::Unavailable`] at once. All the rest is
/// called by one worker thread, in order.
pub trait ExternalStore: Send + Sync + 'static {
    /// The record, left where it is.
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError>;

    /// The record, removed by the same step: of all callers on all machines, one gets it.
    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError>;

    /// Leaves a mark for `ttl`: true for the one caller that finds none.
    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError>;

    /// Writes a batch, in order, in as few round trips as the store allows.
    ///
    /// # Errors
    ///
    /// Where some of the batch may have been done and some not, the whole counts as failed, and may be written again.
    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError>;

    /// A counter's value; zero if it was never incremented. Counters are kept without end.
    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError>;

    /// Adds one to a counter and returns its new value.
    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError>;

    /// Asks for a sign of life, and connects again if need be. Called by the worker, while handshakes are kept away.
    fn probe(&self, deadline: Instant) -> Result<(), StoreError>;
}

/// What others keep a handle of, too.
impl<S: ExternalStore + ?Sized> ExternalStore for std::sync::Arc<S> {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).get(key, deadline)
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).take(key, deadline)
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        (**self).claim(key, ttl, deadline)
    }

    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        (**self).write(batch, deadline)
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        (**self).counter(key, deadline)
    }

    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        (**self).increment(key, deadline)
    }

    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        (**self).probe(deadline)
    }
}
