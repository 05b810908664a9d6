//! Interned contexts: a context's number is also its generation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::id::ContextId;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Counter, Home, MODEL, Mutex, fence_after_rmw};

/// The next context number of this process. Numbers are never used twice and never shared between caches, so a
/// session of another cache or of an invalidated generation can't be found by accident. Zero stands for no context.
static NEXT_NUMBER: Counter = Counter::new(1);

/// A cache's handle to one interned [`ContextId`]: what lookups are made with.
///
/// Cheap to clone. Get it once per server configuration and keep it: a context of which nobody holds a handle may be
/// given up, with its sessions, when a cache has run out of places for contexts.
#[derive(Clone)]
pub struct Context(Arc<Entry>);

struct Entry {
    id: ContextId,
    cache: u32,
    /// The number it began with: tells this entry from all others for good.
    first: u32,
    /// The current generation. Read by every lookup, written only when the context is invalidated.
    number: AtomicU32,
}

/// The generation of a context at one moment.
///
/// A TLS stack takes it when a handshake starts and builds the session with it (see
/// [`SessionBuilder::generation`](crate::SessionBuilder::generation)); then a session that was authenticated before
/// [`invalidate_context`](crate::SessionCache::invalidate_context) can't slip into the cache after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation {
    context: u32,
    number: u32,
}

impl Context {
    /// The id that was interned.
    pub fn id(&self) -> &ContextId {
        &self.0.id
    }

    /// The generation that is current now. Wait-free: one load.
    #[inline]
    pub fn generation(&self) -> Generation {
        Generation {
            context: self.0.first,
            number: self.number(),
        }
    }

    #[inline]
    pub(crate) fn number(&self) -> u32 {
        // ORDERING: Acquire; partner: the Release store in `Contexts::renew`. Who sees the new generation sees
        // everything that its invalidator did before.
        self.0.number.load(Ordering::Acquire)
    }

    /// The cache that it belongs to.
    #[inline]
    pub(crate) fn cache(&self) -> u32 {
        self.0.cache
    }
}

impl Generation {
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.number
    }

    /// Whether both are of one context.
    pub(crate) fn is_akin(self, other: Self) -> bool {
        self.context == other.context
    }
}

/// A moment in the process's count of generations: for stacks that see a connection begin before they know its context.
#[cfg(feature = "openssl")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Horizon(u64);

#[cfg(feature = "openssl")]
impl Horizon {
    pub(crate) fn now() -> Self {
        Self(NEXT_NUMBER.value())
    }

    /// From what [`value`](Self::value) gave.
    pub(crate) fn from_value(value: u64) -> Self {
        Self(value)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(feature = "openssl")]
impl Context {
    /// The generation that was current at that moment. If it is not any more, one that never will be: numbers only grow,
    /// so a current one beyond the horizon is younger.
    pub(crate) fn generation_at(&self, horizon: Horizon) -> Generation {
        let now = self.generation();
        if u64::from(now.number) < horizon.0 {
            now
        } else {
            Generation { number: 0, ..now }
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.0.id)
            .field("number", &self.number())
            .finish()
    }
}

/// The interned contexts of one cache.
pub(crate) struct Contexts {
    cache: u32,
    max: usize,
    interned: Mutex<HashMap<ContextId, Arc<Entry>>>,
    home: Home,
    /// The current numbers, each at the place that it is worth modulo the length; zero where there is none. At least four
    /// places for each context, and a number whose place is taken is passed over: so a look is one load.
    current: Box<[AtomicU32]>,
    /// Where a model's numbers come from.
    own_numbers: Counter,
}

impl Contexts {
    pub(crate) fn new(cache: u32, max: usize) -> Self {
        let places = (4 * max).next_power_of_two();
        Self {
            cache,
            max,
            interned: Mutex::new(HashMap::new()),
            home: Home::here(),
            current: (0..places).map(|_| AtomicU32::new(0)).collect(),
            own_numbers: Counter::new(1),
        }
    }

    fn next_number(&self) -> Result<u32, Error> {
        // The checkers want every execution to see the same numbers, whatever other tests do.
        let numbers = if MODEL {
            &self.own_numbers
        } else {
            &NEXT_NUMBER
        };
        // The count is 64 bits wide and so never comes round to small numbers again.
        u32::try_from(numbers.add(1)).map_err(|_| Error::ContextNumbersExhausted)
    }

    fn place(&self, number: u32) -> &AtomicU32 {
        &self.current[number as usize & (self.current.len() - 1)]
    }

    /// Finds or makes the context of `id`. The flag tells whether another context was given up for it, whose sessions
    /// must then be swept.
    pub(crate) fn intern(&self, id: ContextId) -> Result<(Context, bool), Error> {
        let mut interned = self.home.lock(&self.interned).ok_or(Error::Forked)?;
        if let Some(entry) = interned.get(&id) {
            return Ok((Context(Arc::clone(entry)), false));
        }
        let mut given_up = None;
        if interned.len() == self.max {
            // A handle can only be cloned from another one, and this lock is held: a count of one stays one.
            let idle = interned
                .values()
                .find(|entry| Arc::strong_count(entry) == 1)
                .ok_or(Error::TooManyContexts { max: self.max })?;
            given_up = Some(idle.id);
        }
        let number = self.introduce()?;
        if let Some(entry) = given_up.and_then(|id| interned.remove(&id)) {
            // ORDERING: Relaxed; only written under the lock.
            self.retire(entry.number.load(Ordering::Relaxed));
        }
        let entry = Arc::new(Entry {
            id,
            cache: self.cache,
            first: number,
            number: AtomicU32::new(number),
        });
        interned.insert(id, Arc::clone(&entry));
        Ok((Context(entry), given_up.is_some()))
    }

    /// Swaps in a fresh generation: from here on no lookup finds what was stored under the old one.
    pub(crate) fn renew(&self, context: &Context) -> Result<(), Error> {
        if context.cache() != self.cache {
            return Err(Error::ForeignContext);
        }
        let _interned = self.home.lock(&self.interned).ok_or(Error::Forked)?;
        self.renew_entry(&context.0)
    }

    /// The caller has the table locked.
    fn renew_entry(&self, entry: &Entry) -> Result<(), Error> {
        let number = self.introduce()?;
        // ORDERING: AcqRel; Release, partner: the Acquire load in `Context::number`.
        let old = entry.number.swap(number, Ordering::AcqRel);
        self.retire(old);
        Ok(())
    }

    /// Makes a fresh number current. The caller has the table locked.
    fn introduce(&self) -> Result<u32, Error> {
        loop {
            let number = self.next_number()?;
            let place = self.place(number);
            // ORDERING: Relaxed; only written under the lock.
            if place.load(Ordering::Relaxed) == 0 {
                // ORDERING: Release; partner: the Acquire load in `is_current`.
                place.store(number, Ordering::Release);
                return Ok(number);
            }
        }
    }

    /// Ends a number. The caller has the table locked, and sweeps afterwards.
    fn retire(&self, number: u32) {
        // ORDERING: AcqRel, a read-modify-write for the fence behind it; partner: the fence in `Add::look_back`, between
        // publishing a session and looking here. Either that add sees the number gone and removes its session again, or
        // the sweep that follows sees the session.
        self.place(number).swap(0, Ordering::AcqRel);
        fence_after_rmw();
    }

    /// The id whose current generation this is. Takes the lock, and looks at every context.
    #[cfg(feature = "external")]
    pub(crate) fn id_of(&self, number: u32) -> Option<ContextId> {
        if !self.is_current(number) {
            return None;
        }
        let interned = self.home.lock(&self.interned)?;
        // ORDERING: Relaxed; only written under the lock.
        let is_it = |entry: &&Arc<Entry>| entry.number.load(Ordering::Relaxed) == number;
        interned.values().find(is_it).map(|entry| entry.id)
    }

    /// The current generation of an id, if it is a context's. Takes the lock.
    #[cfg(feature = "external")]
    pub(crate) fn number_of(&self, id: &ContextId) -> Option<u32> {
        let interned = self.home.lock(&self.interned)?;
        // ORDERING: Relaxed; only written under the lock.
        interned
            .get(id)
            .map(|entry| entry.number.load(Ordering::Relaxed))
    }

    /// Swaps in a fresh generation of one context, or of all, without handles.
    #[cfg(feature = "external")]
    pub(crate) fn renew_by_id(&self, id: Option<&ContextId>) -> Result<(), Error> {
        let interned = self.home.lock(&self.interned).ok_or(Error::Forked)?;
        interned
            .values()
            .filter(|entry| id.is_none_or(|id| entry.id == *id))
            .try_for_each(|entry| self.renew_entry(entry))
    }

    /// Whether `number` is some context's current generation. Wait-free: one load.
    #[inline]
    pub(crate) fn is_current(&self, number: u32) -> bool {
        // Zero is nobody's number, and what an empty place holds.
        // ORDERING: Acquire; partner: the swap in `retire` and the store in `introduce`.
        number != 0 && self.place(number).load(Ordering::Acquire) == number
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    fn id(n: u8) -> ContextId {
        ContextId::new(&[n]).unwrap()
    }

    #[test]
    fn interning_is_idempotent_and_renewing_changes_the_number() {
        let contexts = Contexts::new(1, 2);
        let (a, _) = contexts.intern(id(1)).unwrap();
        let (again, _) = contexts.intern(id(1)).unwrap();
        let before = a.number();
        assert_eq!(before, again.number());
        assert!(contexts.is_current(before));
        contexts.renew(&a).unwrap();
        assert_ne!(before, a.number());
        assert_eq!(a.number(), again.number());
        assert!(!contexts.is_current(before));
        assert!(contexts.is_current(a.number()));
        assert!(!contexts.is_current(0));
    }

    #[test]
    fn the_table_is_bounded_and_gives_up_only_idle_contexts() {
        let contexts = Contexts::new(1, 2);
        let (a, _) = contexts.intern(id(1)).unwrap();
        let (b, _) = contexts.intern(id(2)).unwrap();
        assert_eq!(
            contexts.intern(id(3)).unwrap_err(),
            Error::TooManyContexts { max: 2 }
        );
        let old = b.number();
        drop(b);
        let (c, gave_up) = contexts.intern(id(3)).unwrap();
        assert!(gave_up);
        assert!(!contexts.is_current(old));
        assert!(contexts.is_current(a.number()) && contexts.is_current(c.number()));
    }

    #[test]
    fn numbers_that_share_a_place_are_passed_over() {
        let contexts = Contexts::new(1, 3);
        let handles: Vec<_> = (0..3).map(|n| contexts.intern(id(n)).unwrap().0).collect();
        for round in 0..200 {
            contexts.renew(&handles[round % 2]).unwrap();
            assert!(handles.iter().all(|c| contexts.is_current(c.number())));
            // ORDERING: Relaxed; one thread.
            let places = contexts
                .current
                .iter()
                .filter(|n| n.load(Ordering::Relaxed) != 0);
            assert_eq!(places.count(), 3);
        }
    }

    #[test]
    fn a_generation_is_of_one_context_and_one_time() {
        let contexts = Contexts::new(7, 2);
        let (a, _) = contexts.intern(id(1)).unwrap();
        let (b, _) = contexts.intern(id(2)).unwrap();
        assert_eq!((a.id(), a.cache()), (&id(1), 7));
        let before = a.generation();
        assert_eq!(before.number(), a.number());
        contexts.renew(&a).unwrap();
        let after = a.generation();
        assert_eq!(after.number(), a.number());
        assert_ne!(before, after);
        assert!(before.is_akin(after) && !before.is_akin(b.generation()));
    }

    #[cfg(feature = "openssl")]
    #[test]
    fn a_generation_of_a_moment_is_the_current_one_or_none() {
        let contexts = Contexts::new(1, 1);
        let before = Horizon::now();
        let (a, _) = contexts.intern(id(1)).unwrap();
        let after = Horizon::now();
        assert!(before.value() < after.value());
        assert_eq!(Horizon::from_value(after.value()), after);
        assert_eq!(a.generation_at(after), a.generation());
        // The number that comes next is not yet given out at that moment.
        let exactly = Horizon::from_value(a.number().into());
        for early in [before, exactly] {
            let never = a.generation_at(early);
            assert!(never.is_akin(a.generation()));
            assert!(!contexts.is_current(never.number()));
        }
        contexts.renew(&a).unwrap();
        assert!(!contexts.is_current(a.generation_at(after).number()));
    }

    #[test]
    fn debug_tells_what_is_no_secret() {
        let contexts = Contexts::new(1, 2);
        let (a, _) = contexts.intern(id(1)).unwrap();
        let expected = format!(
            "Context {{ id: ContextId(1 bytes), number: {} }}",
            a.number()
        );
        assert_eq!(format!("{a:?}"), expected);
        assert_eq!(format!("{contexts:?}"), "Contexts { max: 2, .. }");
    }

    #[test]
    fn a_foreign_context_is_refused() {
        let (foreign, _) = Contexts::new(1, 1).intern(id(1)).unwrap();
        assert_eq!(
            Contexts::new(2, 1).renew(&foreign),
            Err(Error::ForeignContext)
        );
    }
}
