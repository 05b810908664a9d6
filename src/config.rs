//! What a cache can be told when it is built.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::{MAX_BYTES, MAX_ENTRIES, Permit, UNIT};
use crate::cache::SessionCache;
use crate::callbacks::{Callbacks, Lookup};
use crate::clock::{ManualClock, Source};
use crate::engine::header::MAX_PAYLOAD;
use crate::engine::{Keyed, MAX_SHARDS, Plan};
use crate::error::Error;
use crate::removal::RemovalCause;
use crate::session::Session;
use crate::sync::Counter;

/// The capacity of a cache that is not told another: OpenSSL's.
pub const DEFAULT_CAPACITY: usize = 20 * 1024;

/// The timeout of a cache that is not told another: what OpenSSL's code uses, two hours.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(7200);

/// The byte budget allows this much for each entry of the capacity, unless it is given.
const DEFAULT_BYTES_PER_ENTRY: usize = 4096;
const _: () = assert!(MAX_ENTRIES * DEFAULT_BYTES_PER_ENTRY <= MAX_BYTES);

const DEFAULT_MAX_SESSION: usize = 64 * 1024;
const DEFAULT_MAX_CONTEXTS: usize = 256;
const MAX_CONTEXTS: usize = 1 << 16;
const MIN_TICK: Duration = Duration::from_millis(1);
const MAX_TICK: Duration = Duration::from_secs(3600);
/// A backlog smaller than this would make adds fail for a single slow reader.
const MIN_BACKLOG: usize = 1 << 20;

/// Numbers the caches of this process, so that a session knows the one it was built for.
static NEXT_CACHE: Counter = Counter::new(1);

/// Who does what is nobody's handshake: expiry, callbacks, wiping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// Two threads of the cache's own: one maintains, one calls the remove callback.
    #[default]
    Threads,
    /// Nobody, until the owner calls [`SessionCache::run_maintenance`]. Remove callbacks then run in that call. Between
    /// calls, memory of removed sessions grows to its bound, and adds answer
    /// [`NotCached::Backlog`](crate::NotCached::Backlog) from there; lookups see time move only when something is added
    /// or maintained.
    Manual,
}

/// What handshakes may do with a cache: OpenSSL's session cache mode, as a set of flags.
///
/// The mode binds those who act for a handshake: the adapters. Direct calls of [`SessionCache::add`] and its siblings
/// work in every mode, as `SSL_CTX_add_session` does, but for [`UPDATE_TIME`](Self::UPDATE_TIME) and
/// [`NO_AUTO_CLEAR`](Self::NO_AUTO_CLEAR), which change what the cache itself does.
///
/// # Examples
///
/// ```
/// use refrain::CacheMode;
///
/// let mode = CacheMode::SERVER | CacheMode::NO_AUTO_CLEAR;
/// assert!(mode.contains(CacheMode::SERVER));
/// assert_eq!(CacheMode::default(), CacheMode::SERVER);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheMode(u32);

impl CacheMode {
    /// Handshakes neither store nor find sessions.
    #[doc(alias = "SSL_SESS_CACHE_OFF")]
    pub const OFF: Self = Self(0);
    /// Client handshakes store sessions.
    #[doc(alias = "SSL_SESS_CACHE_CLIENT")]
    pub const CLIENT: Self = Self(0x1);
    /// Server handshakes store and find sessions: the default.
    #[doc(alias = "SSL_SESS_CACHE_SERVER")]
    pub const SERVER: Self = Self(0x2);
    /// Both kinds do.
    #[doc(alias = "SSL_SESS_CACHE_BOTH")]
    pub const BOTH: Self = Self(0x3);
    /// Nothing expires by itself; the owner calls [`SessionCache::flush`]. Expired sessions are still never found, and
    /// still the first to go when room is needed.
    #[doc(alias = "SSL_SESS_CACHE_NO_AUTO_CLEAR")]
    pub const NO_AUTO_CLEAR: Self = Self(0x80);
    /// Server handshakes look for sessions only by the get callback.
    #[doc(alias = "SSL_SESS_CACHE_NO_INTERNAL_LOOKUP")]
    pub const NO_INTERNAL_LOOKUP: Self = Self(0x100);
    /// Handshakes only tell the new callback of sessions.
    #[doc(alias = "SSL_SESS_CACHE_NO_INTERNAL_STORE")]
    pub const NO_INTERNAL_STORE: Self = Self(0x200);
    /// Neither.
    #[doc(alias = "SSL_SESS_CACHE_NO_INTERNAL")]
    pub const NO_INTERNAL: Self = Self(0x300);
    /// A lookup that finds a session gives it its timeout again, up to its authentication deadline. Such a lookup
    /// writes the session's header.
    #[doc(alias = "SSL_SESS_CACHE_UPDATE_TIME")]
    pub const UPDATE_TIME: Self = Self(0x400);

    /// Whether all flags of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags as OpenSSL numbers them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The flags of OpenSSL's number; unknown ones are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x783)
    }
}

impl Default for CacheMode {
    fn default() -> Self {
        Self::SERVER
    }
}

impl std::ops::BitOr for CacheMode {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Debug for CacheMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (Self::CLIENT, "CLIENT"),
            (Self::SERVER, "SERVER"),
            (Self::NO_AUTO_CLEAR, "NO_AUTO_CLEAR"),
            (Self::NO_INTERNAL_LOOKUP, "NO_INTERNAL_LOOKUP"),
            (Self::NO_INTERNAL_STORE, "NO_INTERNAL_STORE"),
            (Self::UPDATE_TIME, "UPDATE_TIME"),
        ];
        let set: Vec<_> = names
            .iter()
            .filter(|(flag, _)| self.contains(*flag))
            .map(|(_, name)| *name)
            .collect();
        f.write_str(if set.is_empty() { "OFF" } else { "" })?;
        f.write_str(&set.join(" | "))
    }
}

/// Builds a [`SessionCache`]. Made by [`SessionCache::builder`].
///
/// # Examples
///
/// ```
/// use refrain::SessionCache;
/// use std::time::Duration;
///
/// let cache = SessionCache::builder()
///     .capacity(100_000)
///     .byte_budget(64 << 20)
///     .timeout(Duration::from_secs(3600))
///     .on_remove(|session, cause| println!("{} bytes left: {}", session.payload().len(), cause.as_str()))
///     .build()?;
/// assert_eq!(cache.capacity(), 100_000);
/// # Ok::<(), refrain::Error>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct Builder {
    capacity: usize,
    max_capacity: Option<usize>,
    byte_budget: Option<usize>,
    max_session_bytes: usize,
    backlog: Option<usize>,
    pub(crate) timeout: Duration,
    pub(crate) mode: CacheMode,
    shards: Option<usize>,
    pub(crate) tick: Duration,
    max_contexts: usize,
    source: Source,
    pub(crate) maintenance: Maintenance,
    pub(crate) callbacks: Callbacks,
    #[cfg(feature = "external")]
    pub(crate) external: Option<crate::store::tier::External>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            max_capacity: None,
            byte_budget: None,
            max_session_bytes: DEFAULT_MAX_SESSION,
            backlog: None,
            timeout: DEFAULT_TIMEOUT,
            mode: CacheMode::default(),
            shards: None,
            tick: Duration::from_secs(1),
            max_contexts: DEFAULT_MAX_CONTEXTS,
            source: Source::System,
            maintenance: Maintenance::default(),
            callbacks: Callbacks::new(),
            #[cfg(feature = "external")]
            external: None,
        }
    }

    /// How many sessions it holds: exactly as many, and never more. Zero means as many as
    /// [`max_capacity`](Self::max_capacity), which must then be given. Default: [`DEFAULT_CAPACITY`].
    #[doc(alias = "SSL_CTX_sess_set_cache_size")]
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// The largest capacity that can be set later. The index is built for it, about 25 bytes an entry, of which the
    /// 17 of the table are touched as it fills. Default: the capacity. Up to 2^28 - 1. The larger it is beside the capacity,
    /// the coarser is the order of eviction: see [design](crate::manual::design).
    pub fn max_capacity(mut self, entries: usize) -> Self {
        self.max_capacity = Some(entries);
        self
    }

    /// How many bytes of memory the sessions in it may take, each rounded up to 64 with its header. Default: 4 KiB for
    /// each entry of the maximum capacity.
    pub fn byte_budget(mut self, bytes: usize) -> Self {
        self.byte_budget = Some(bytes);
        self
    }

    /// The largest session that it keeps, in bytes of memory. Default: 64 KiB.
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.max_session_bytes = bytes;
        self
    }

    /// How many bytes of sessions that have left may wait for callbacks and for readers, beyond what the byte budget
    /// leaves free. At the bound adds answer [`NotCached::Backlog`](crate::NotCached::Backlog). Default: a quarter of
    /// the byte budget. At least 1 MiB.
    ///
    /// The caches of one process share their grace periods: a slow closure in one's `with` fills the backlog of all.
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.backlog = Some(bytes);
        self
    }

    /// How long a session lives unless it says otherwise. Zero means expired at once, so that nothing is kept. Default:
    /// [`DEFAULT_TIMEOUT`].
    #[doc(alias = "SSL_CTX_set_timeout")]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What handshakes may do. Default: [`CacheMode::SERVER`].
    #[doc(alias = "SSL_CTX_set_session_cache_mode")]
    pub fn mode(mut self, mode: CacheMode) -> Self {
        self.mode = mode;
        self
    }

    /// The number of shards, rounded up to a power of two, at most 1024. Default: four for each core, but none with
    /// less than 1024 entries.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards);
        self
    }

    /// The timer wheel's tick: how late an expired session's callback may be, besides the maintainer's sleep of a
    /// quarter of it (a quarter of a second at most). Lookups don't depend on it. Each tick costs the maintainer one locked
    /// instruction for about 250 entries of the maximum capacity, so a short tick and a huge index don't go together.
    /// Default: one second; 1 ms to 1 h.
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// How many contexts can be in use at once. Default: 256; at most 65536.
    pub fn max_contexts(mut self, contexts: usize) -> Self {
        self.max_contexts = contexts;
        self
    }

    /// A clock that the caller moves, instead of the system's.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.source = Source::Manual(clock);
        self
    }

    /// Who maintains. Default: [`Maintenance::Threads`].
    pub fn maintenance(mut self, maintenance: Maintenance) -> Self {
        self.maintenance = maintenance;
        self
    }

    /// Called when a handshake has stored a session; false removes it again. See [`SessionCache::set_on_new`].
    #[doc(alias = "SSL_CTX_sess_set_new_cb")]
    pub fn on_new(self, f: impl Fn(&Session) -> bool + Send + Sync + 'static) -> Self {
        self.callbacks.new.swap(Some(Arc::new(Arc::new(f))));
        self
    }

    /// Called when a handshake looks for a session that is not in the cache. See [`SessionCache::set_on_get`].
    #[doc(alias = "SSL_CTX_sess_set_get_cb")]
    pub fn on_get(
        self,
        f: impl Fn(&Lookup<'_>) -> Option<Session> + Send + Sync + 'static,
    ) -> Self {
        self.callbacks.get.swap(Some(Arc::new(Arc::new(f))));
        self
    }

    /// Called once for each session that has left. See [`SessionCache::set_on_remove`].
    #[doc(alias = "SSL_CTX_sess_set_remove_cb")]
    pub fn on_remove(self, f: impl Fn(&Session, RemovalCause) + Send + Sync + 'static) -> Self {
        self.callbacks.remove.swap(Some(Arc::new(Arc::new(f))));
        self
    }

    /// A second tier behind the cache: a store that other servers share, or that outlives this one.
    ///
    /// What server handshakes establish is written to it, by a thread of the cache's own, whoever else
    /// [maintains](Self::maintenance); what they do not find in the cache they look for there, within the read budget; what is
    /// used up, removed or invalidated here is so there. See the chapter [external](crate::manual::external).
    #[cfg(feature = "external")]
    pub fn external(
        mut self,
        store: impl crate::store::ExternalStore,
        options: crate::store::ExternalOptions,
    ) -> Self {
        self.external = Some(crate::store::tier::External {
            store: Arc::new(store),
            options,
        });
        self
    }

    /// Builds the cache, and starts its threads.
    ///
    /// # Errors
    ///
    /// The variant of [`Error`] for what is out of range (with a shared tier, `Error::External`), [`Error::OutOfMemory`] if there is no memory for the index, and
    /// [`Error::Thread`] if a thread can't be started.
    pub fn build(self) -> Result<SessionCache, Error> {
        let plan = self.plan()?;
        SessionCache::start(self, plan)
    }

    fn plan(&self) -> Result<Plan, Error> {
        let max_capacity = self.max_capacity.unwrap_or(self.capacity);
        if max_capacity == 0 || max_capacity > MAX_ENTRIES {
            return Err(Error::Capacity {
                asked: max_capacity,
                max: MAX_ENTRIES,
            });
        }
        if self.capacity > max_capacity {
            return Err(Error::Capacity {
                asked: self.capacity,
                max: max_capacity,
            });
        }
        let capacity = if self.capacity == 0 {
            max_capacity
        } else {
            self.capacity
        };
        let bytes = self
            .byte_budget
            .unwrap_or(max_capacity * DEFAULT_BYTES_PER_ENTRY);
        let limit = Permit::new(capacity as u64, byte_units(bytes)?);
        let shards = self.shards.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            default_shards(max_capacity, cores)
        });
        if shards == 0 || shards > MAX_SHARDS {
            return Err(Error::Shards {
                asked: shards,
                max: MAX_SHARDS,
            });
        }
        if !(MIN_TICK..=MAX_TICK).contains(&self.tick) {
            return Err(Error::Tick {
                asked: self.tick,
                min: MIN_TICK,
                max: MAX_TICK,
            });
        }
        if self.max_contexts == 0 || self.max_contexts > MAX_CONTEXTS {
            return Err(Error::ContextLimit {
                asked: self.max_contexts,
                max: MAX_CONTEXTS,
            });
        }
        let backlog = self.backlog.unwrap_or(bytes / 4).max(MIN_BACKLOG);
        Ok(Plan {
            cache: NEXT_CACHE.add(1) as u32,
            shards: shards.next_power_of_two(),
            max_capacity,
            limit,
            backlog: (backlog.min(MAX_BYTES) / UNIT) as u64,
            max_session: self.max_session_bytes.min(MAX_PAYLOAD),
            tick: self.tick.as_millis() as u64,
            max_contexts: self.max_contexts,
            source: self.source.clone(),
            hasher: Keyed::random(),
            buckets: None,
        })
    }
}

/// A byte budget in units, checked.
pub(crate) fn byte_units(bytes: usize) -> Result<u64, Error> {
    if !(UNIT..=MAX_BYTES).contains(&bytes) {
        return Err(Error::ByteBudget {
            asked: bytes,
            min: UNIT,
            max: MAX_BYTES,
        });
    }
    Ok((bytes / UNIT) as u64)
}

fn default_shards(max_capacity: usize, cores: usize) -> usize {
    (4 * cores)
        .next_power_of_two()
        .min(1 << (max_capacity / 1024).max(1).ilog2())
        .min(MAX_SHARDS)
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests;
