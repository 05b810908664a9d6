//! What a shared tier can be told when it is set up.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

use super::keys::Keys;
use super::name::Wall;

/// No read by a handshake takes longer, whatever it is told.
pub const MAX_READ_BUDGET: Duration = Duration::from_millis(20);

/// How single use is kept across servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SingleUse {
    /// A session is used where the shared store hands it out, and nowhere else, even if it is in this process as well: of all
    /// servers one gets it. Costs a read per resumption. Where the store is away, the handshake is a full one.
    #[default]
    Strict,
    /// A session that is in this process is used without asking; the store hears of it afterwards. So it may be used twice,
    /// here and at another server, whichever comes first. Only for servers that accept no early data (0-RTT), because that
    /// could then be replayed; and only if all that share the store are content with it.
    BestEffortWithoutEarlyData,
}

/// The settings of a shared tier; every one but the keys has a default.
///
/// # Examples
///
/// ```
/// use refrain::store::{ExternalOptions, Keys, SingleUse};
/// use std::time::Duration;
///
/// # fn options(naming: [u8; 32], current: [u8; 32]) -> Result<(), refrain::Error> {
/// let options = ExternalOptions::new(Keys::new(&naming, &current)?)
///     .read_budget(Duration::from_millis(5))
///     .single_use(SingleUse::Strict);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ExternalOptions {
    /// Until the tier takes them.
    pub(crate) keys: Option<Keys>,
    pub(crate) read_budget: Duration,
    pub(crate) reads: u32,
    pub(crate) write_budget: Duration,
    pub(crate) queue_entries: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) batch: usize,
    pub(crate) single_use: SingleUse,
    pub(crate) refresh: Duration,
    pub(crate) drain: Duration,
    pub(crate) wall: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

impl ExternalOptions {
    /// The defaults, with these keys, which all servers on one store share.
    pub fn new(keys: Keys) -> Self {
        Self {
            keys: Some(keys),
            read_budget: Duration::from_millis(3),
            reads: 2,
            write_budget: Duration::from_millis(500),
            queue_entries: 16 * 1024,
            queue_bytes: 16 << 20,
            batch: 128,
            single_use: SingleUse::default(),
            refresh: Duration::from_secs(1),
            drain: Duration::from_secs(1),
            wall: Arc::new(SystemTime::now),
        }
    }

    /// How long a handshake waits for the store, for each read. Default: 3 ms; at most [`MAX_READ_BUDGET`].
    pub fn read_budget(mut self, budget: Duration) -> Self {
        self.read_budget = budget;
        self
    }

    /// How many look-ups of one handshake may reach the store, where the TLS stack shows which handshake asks. To
    /// [claim](crate::Connection::claim) what was found is one more: by then the client has proved that it knows the secret.
    /// Default: 2.
    pub fn reads_per_handshake(mut self, reads: u32) -> Self {
        self.reads = reads;
        self
    }

    /// How long the worker waits for the store, for each batch and each count. Default: 500 ms.
    pub fn write_budget(mut self, budget: Duration) -> Self {
        self.write_budget = budget;
        self
    }

    /// How many sessions may wait to be written, and how many removals. Default: 16384.
    pub fn queue_entries(mut self, entries: usize) -> Self {
        self.queue_entries = entries;
        self
    }

    /// How many bytes the sessions that wait may take. What the queue needs for each besides, some 320 bytes, is bounded by
    /// their number. Default: 16 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes;
        self
    }

    /// How many writes go to the store at once. Default: 128.
    pub fn batch(mut self, writes: usize) -> Self {
        self.batch = writes;
        self
    }

    /// How single use is kept. Default: [`SingleUse::Strict`].
    pub fn single_use(mut self, single_use: SingleUse) -> Self {
        self.single_use = single_use;
        self
    }

    /// How often the worker asks for other servers' invalidations, and so how late they may be heard of. Default: one
    /// second.
    pub fn epoch_refresh(mut self, period: Duration) -> Self {
        self.refresh = period;
        self
    }

    /// How long the end of the cache may wait for what is queued to be written. Default: one second.
    pub fn drain(mut self, limit: Duration) -> Self {
        self.drain = limit;
        self
    }

    /// Another wall clock than the system's, for tests and simulations. Records carry its time, because the machines'
    /// monotonic clocks differ.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall = Arc::new(clock);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let millis = Duration::from_millis(1);
        let wrong = |what| Err(Error::External { what });
        if self.read_budget.is_zero() || self.read_budget > MAX_READ_BUDGET {
            return wrong("the read budget may be up to 20 ms, and not zero");
        }
        if self.write_budget < millis || self.refresh < millis {
            return wrong("the write budget and the refresh period are at least 1 ms");
        }
        if self.queue_entries == 0 || self.queue_bytes == 0 || self.batch == 0 {
            return wrong("the queue and the batch have room for one at least");
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> Wall {
        let since = (self.wall)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(Wall::MAX)
    }
}

impl fmt::Debug for ExternalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalOptions")
            .field("keys", &self.keys)
            .field("read_budget", &self.read_budget)
            .field("single_use", &self.single_use)
            .finish_non_exhaustive()
    }
}
