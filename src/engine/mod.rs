//! The machine: shards, and what is done to sessions in them.
//!
//! `lookup` is here; `add` puts sessions in, `leave` takes them out, `evict` makes room, `maintain` is everything that
//! is nobody's handshake. The chapters [design](crate::manual::design) and [orderings](crate::manual::orderings) tell
//! the whole story.

mod add;
mod age;
mod bitmap;
pub(crate) mod bucket;
pub(crate) mod departures;
mod evict;
pub(crate) mod header;
mod leave;
pub(crate) mod maintain;
mod muster;
mod removed;
mod table;
pub(crate) mod wheel;
pub(crate) mod word;

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};

use crate::budget::Permit;
use crate::clock::{Clock, Source};
use crate::context::{Context, Contexts};
use crate::error::Error;
use crate::id::{ContextId, SessionId};
use crate::reclaim::{Domain, Guard};
use crate::stats::{Cells, Event, ShardCells};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::thread::Thread;
use crate::sync::{CachePadded, Home, Mutex};

use age::Age;
use header::Raw;
use removed::Removed;
use table::{Path, Table};
use wheel::{Progress, Wheel};
use word::State;

pub use add::{Added, NotCached};

/// The most shards: as many as the hash has bits set aside for.
pub(crate) const MAX_SHARDS: usize = 1 << table::SHARD_BITS;

/// Slots for each entry of capacity, times 100: tables are built for a load of 0.57, which makes 16 bytes of table a session.
const SLOTS_PER_100: usize = 175;

/// Memory units that may well be on their way out, before anybody is woken: a megabyte. What goes round in the second-level
/// cache is wiped, and filled again, in a third of the time.
const IN_FLIGHT: u64 = 1 << 14;

/// Units on one shard's stack that are worth a wake-up by themselves, however many shards there are.
const WORTH: u64 = 512;

/// What an engine is built from. All of it has been checked by the builder.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The cache's number, which its sessions carry.
    pub(crate) cache: u32,
    pub(crate) shards: usize,
    /// The largest capacity that can ever be set: the index is built for it.
    pub(crate) max_capacity: usize,
    pub(crate) limit: Permit,
    /// Memory units that may wait for callbacks and readers, beyond what the byte budget leaves.
    pub(crate) backlog: u64,
    pub(crate) max_session: usize,
    /// The wheel's tick in milliseconds.
    pub(crate) tick: u64,
    pub(crate) max_contexts: usize,
    pub(crate) source: Source,
    pub(crate) hasher: Keyed,
    /// Buckets in a shard, where the models want few; else what the capacity needs.
    pub(crate) buckets: Option<usize>,
}

/// The keyed hash of a context's number and an id.
pub(crate) enum Keyed {
    Random(ahash::RandomState, Spread),
    /// For models and tests that need ids to collide.
    #[cfg(any(refrain_loom, refrain_shuttle))]
    Fixed(fn(&SessionId) -> u64),
}

/// A secret odd number. What ids have in common, counters perhaps, differs from one context to the next by its multiples: no
/// two contexts' ids meet but by chance.
pub(crate) struct Spread(u64);

impl Keyed {
    pub(crate) fn random() -> Self {
        let state = ahash::RandomState::new();
        let spread = Spread(state.hash_one(0u64) | 1);
        Self::Random(state, spread)
    }
}

impl std::fmt::Debug for Keyed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyed")
    }
}

impl Keyed {
    #[inline]
    fn hash(&self, id: &SessionId, context: u32) -> u64 {
        match self {
            Self::Random(state, spread) => {
                let mut hasher = state.build_hasher();
                // As integers: bytes would have their number, always the same, hashed as well.
                let [low, high] = id.halves();
                // The scope as a part of them, behind a multiplication that takes no time beside the first half's.
                let scope = header::scope(id, context).wrapping_mul(spread.0);
                hasher.write_u128(low);
                hasher.write_u128(high ^ u128::from(scope) << 64);
                hasher.finish()
            }
            #[cfg(any(refrain_loom, refrain_shuttle))]
            Self::Fixed(f) => f(id),
        }
    }
}

/// One shard: everything that an id's hash leads to.
#[derive(Debug)]
struct Shard {
    /// Its place among the shards.
    number: usize,
    table: Table,
    wheel: Wheel,
    age: Age,
    removed: CachePadded<Removed>,
    /// Its part of the engine's.
    cells: Arc<CachePadded<ShardCells>>,
    /// Held by who turns the wheel or sweeps; never while user code runs, never waited for by an add.
    progress: Mutex<Progress>,
}

#[derive(Debug)]
pub(crate) struct Engine {
    shards: Box<[Shard]>,
    /// Half the hash shifted right by this is the shard; all of it is shifted away for a single shard.
    shift: u32,
    hasher: Keyed,
    domain: Domain,
    pub(crate) clock: Clock,
    pub(crate) contexts: Contexts,
    pub(crate) cells: Arc<Cells>,
    /// How often a generation of a context has died: the sweep for it is due where the shard's count is lower.
    invalidations: AtomicU64,
    /// The end of the tick, in milliseconds, up to which every wheel has been turned, and the invalidations that every shard has been swept for.
    caught_up: AtomicU64,
    swept: AtomicU64,
    /// The wheels' tick in milliseconds.
    tick: u64,
    cache: u32,
    backlog: u64,
    /// Much may be waiting, so adds count it. Set by who makes it more, long before the bound; cleared by an add that finds
    /// little.
    crowded: AtomicBool,
    /// Units on a shard's removed stack at which the maintainer is woken.
    wake_at: u64,
    /// The maintainer's thread, if there is one.
    maintainer: OnceLock<Thread>,
    max_session: usize,
    /// Of the shards' mutexes.
    home: Home,
}

impl Engine {
    pub(crate) fn new(plan: Plan) -> Result<Self, Error> {
        let clock = Clock::new(plan.source);
        let now = clock.now();
        let share = plan.max_capacity.div_ceil(plan.shards);
        let buckets = plan
            .buckets
            .unwrap_or_else(|| buckets_for(share, plan.max_capacity));
        let cells = Cells::new(plan.shards, plan.limit);
        let shard = |(number, cells): (usize, &Arc<_>)| {
            let table = Table::new(buckets)?;
            Ok(Shard {
                number,
                wheel: Wheel::new(table.len(), plan.tick, now)?,
                age: Age::new(table.len(), share)?,
                table,
                removed: CachePadded::new(Removed::new()),
                cells: Arc::clone(cells),
                progress: Mutex::new(Progress::default()),
            })
        };
        let shards: Result<Box<[Shard]>, Error> =
            cells.shards.iter().enumerate().map(shard).collect();
        Ok(Self {
            shards: shards?,
            shift: 63 - plan.shards.trailing_zeros(),
            hasher: plan.hasher,
            domain: Domain::new(),
            clock,
            contexts: Contexts::new(plan.cache, plan.max_contexts),
            cells,
            invalidations: AtomicU64::new(0),
            caught_up: AtomicU64::new(maintain::next_tick(now, plan.tick)),
            swept: AtomicU64::new(0),
            tick: plan.tick,
            cache: plan.cache,
            backlog: plan.backlog,
            crowded: AtomicBool::new(false),
            wake_at: wake_at(plan.backlog, plan.shards as u64),
            maintainer: OnceLock::new(),
            max_session: plan.max_session,
            home: Home::here(),
        })
    }

    /// Which shard an id belongs to, and its path there.
    #[inline(always)]
    fn route(&self, id: &SessionId, context: u32) -> (&Shard, Path) {
        let hash = self.hasher.hash(id, context);
        let number = (hash >> 1 >> self.shift) as usize;
        debug_assert!(number < self.shards.len());
        // SAFETY: the shift leaves as many bits of 64 as it takes to number the shards, which are a power of two.
        let shard = unsafe { self.shards.get_unchecked(number) };
        (shard, shard.table.path(hash))
    }

    /// Calls `f` with the live session of an id, under a pin.
    ///
    /// Wait-free, but for the thread's first pin. A warm hit reads three lines (interned context, bucket, header) and writes none that
    /// is shared; the first hit after an add or a second chance sets the visited bit.
    #[inline]
    pub(crate) fn with<R>(
        &self,
        id: &SessionId,
        context: u32,
        f: impl FnOnce(Raw, State) -> R,
    ) -> Option<R> {
        self.with_if(id, context, |_| true, f)
    }

    /// As [`with`](Self::with), but what `want` refuses is a miss. It is called under the pin.
    #[inline]
    fn with_if<R>(
        &self,
        id: &SessionId,
        context: u32,
        want: impl FnOnce(Raw) -> bool,
        f: impl FnOnce(Raw, State) -> R,
    ) -> Option<R> {
        let (Shard { table, .. }, path) = self.route(id, context);
        let home = table.home(&path);
        let guard = self.domain.pin();
        let found = table.seek(home, &guard, &path, id, context);
        let (raw, state) = self.judge(&guard, found)?;
        if !want(raw) {
            self.cells.count(Event::Miss);
            return None;
        }
        // SAFETY: found in a slot under the guard, which lives until `f` has returned.
        unsafe { raw.header() }.state.visit(state);
        self.cells.count(Event::Hit);
        Some(f(raw, state))
    }

    /// Whether what was found in a slot is a hit; counts what is not.
    #[inline(always)]
    fn judge(&self, _guard: &Guard<'_>, found: Option<Raw>) -> Option<(Raw, State)> {
        let mut missed = Event::Miss;
        if let Some(raw) = found {
            // SAFETY: found in a slot under the guard.
            let state = unsafe { raw.header() }.state.load();
            if state.stands() {
                if !state.is_expired(self.clock.now()) {
                    // LINEARIZATION: of a hit, the load of the slot: the session was published and not yet ended then, or
                    // it was replaced since, and this lookup came before that.
                    return Some((raw, state));
                }
                missed = Event::Timeout;
            }
            // LINEARIZATION: of a miss here, the end of the session's life, or the load of the slot if that was later:
            // another session of this id could only have come after it, and into this very slot.
        }
        self.cells.count(missed);
        None
    }

    /// Takes a reference to the live session of an id, if it is wanted. One locked instruction more than
    /// [`with`](Self::with).
    #[inline]
    pub(crate) fn get(
        &self,
        id: &SessionId,
        context: u32,
        want: impl FnOnce(Raw) -> bool,
    ) -> Option<Raw> {
        self.with_if(id, context, want, |raw, _| {
            // SAFETY: found in a slot under the guard, so the cache's reference can't end before this returns.
            unsafe { raw.try_retain() }.then_some(raw)
        })
        .flatten()
    }

    /// Finds or makes a context. If another had to be given up for it, that one's sessions are swept.
    pub(crate) fn context(&self, id: ContextId) -> Result<Context, Error> {
        let (context, gave_up) = self.contexts.intern(id)?;
        if gave_up {
            self.note_invalidation();
            self.wake_maintainer();
        }
        Ok(context)
    }

    /// Swaps in a fresh generation of a context and lets its sessions be swept.
    pub(crate) fn invalidate(&self, context: &Context) -> Result<(), Error> {
        self.contexts.renew(context)?;
        self.note_invalidation();
        Ok(())
    }

    /// As [`invalidate`](Self::invalidate), of one context or of all, as other servers want it.
    #[cfg(feature = "external")]
    pub(crate) fn invalidate_heard(&self, id: Option<&ContextId>) -> Result<(), Error> {
        let renewed = self.contexts.renew_by_id(id);
        self.note_invalidation();
        renewed
    }

    fn note_invalidation(&self) {
        // ORDERING: Release; partner: the Acquire load in `sweep_stale`. Who answers this invalidation sees the context
        // without its old number.
        self.invalidations.fetch_add(1, Ordering::Release);
    }

    /// Names the thread that is to be woken when much has left at once.
    pub(crate) fn set_maintainer(&self, thread: Thread) {
        let _ = self.maintainer.set(thread);
    }

    /// Wakes the maintainer. Never blocks; a system call only if it sleeps.
    pub(crate) fn wake_maintainer(&self) {
        if let Some(thread) = self.maintainer.get() {
            thread.unpark();
        }
    }

    /// How many entries are in slots or on their way into one.
    pub(crate) fn entries(&self) -> u64 {
        self.cells.budget.used().entries()
    }
}

/// Units on a shard's removed stack at which the maintainer is woken.
fn wake_at(backlog: u64, shards: u64) -> u64 {
    let share = |units: u64| units / (2 * shards);
    share(backlog).min(share(IN_FLIGHT).max(WORTH)).max(1)
}

/// Buckets for a shard's share of the capacity: at the load that is aimed at, and with room for a shard that gets more
/// than its share, which counts for small shares only. No more than would hold the whole capacity twice.
fn buckets_for(share: usize, capacity: usize) -> usize {
    let spread = share + 8 * share.isqrt() + 8;
    let slots = (share * SLOTS_PER_100 / 100).max(spread).min(2 * capacity);
    slots.div_ceil(bucket::SLOTS).max(3)
}
