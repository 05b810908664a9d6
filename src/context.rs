//! Interned contexts: a context's number is also its generation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::id::ContextId;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Counter, Mutex, fence_after_rmw, lock};

/// The next context number of this process. Numbers are never used twice and never shared between caches, so a
/// session of another cache or of an invalidated generation can't be found by accident. Zero stands for no context.
static NEXT_NUMBER: Counter = Counter::new(1);

fn next_number() -> Result<u32, Error> {
    let number = NEXT_NUMBER.add(1);
    u32::try_from(number).map_err(|_| Error::ContextNumbersExhausted)
}

/// A cache's handle to one interned [`ContextId`]: what lookups are made with.
///
/// Cheap to clone. Get it once per server configuration and keep it: a context of which nobody holds a handle may be
/// given up, with its sessions, when a cache has run out of places for contexts.
#[derive(Clone)]
pub struct Context(Arc<Entry>);

struct Entry {
    id: ContextId,
    cache: u32,
    place: usize,
    /// The current generation. Read by every lookup, written only when the context is invalidated.
    number: AtomicU32,
}

/// The generation of a context at one moment.
///
/// A TLS stack takes it when a handshake starts and builds the session with it (see
/// [`SessionBuilder::generation`](crate::SessionBuilder::generation)); then a session that was authenticated before
/// [`invalidate_context`](crate::SessionCache::invalidate_context) can't slip into the cache after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation(u32);

impl Context {
    /// The id that was interned.
    pub fn id(&self) -> &ContextId {
        &self.0.id
    }

    /// The generation that is current now. Wait-free: one load.
    #[inline]
    pub fn generation(&self) -> Generation {
        Generation(self.number())
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
        self.0
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
    interned: Mutex<HashMap<ContextId, Arc<Entry>>>,
    /// The current number of each place, zero where it is free: what an add checks, without a lock.
    current: Box<[AtomicU32]>,
    /// How many places have ever been used: the rest need no look.
    used: AtomicU32,
}

impl Contexts {
    pub(crate) fn new(cache: u32, max: usize) -> Self {
        Self {
            cache,
            interned: Mutex::new(HashMap::new()),
            current: (0..max).map(|_| AtomicU32::new(0)).collect(),
            used: AtomicU32::new(0),
        }
    }

    /// Finds or makes the context of `id`. The flag tells whether another context was given up for it, whose sessions
    /// must then be swept.
    pub(crate) fn intern(&self, id: ContextId) -> Result<(Context, bool), Error> {
        let mut interned = lock(&self.interned);
        if let Some(entry) = interned.get(&id) {
            return Ok((Context(Arc::clone(entry)), false));
        }
        let (place, gave_up) = if interned.len() < self.current.len() {
            (interned.len(), false)
        } else {
            // A handle can only be cloned from another one, and this lock is held: a count of one stays one.
            let idle = interned
                .iter()
                .find(|(_, entry)| Arc::strong_count(entry) == 1)
                .map(|(id, entry)| (*id, entry.place))
                .ok_or(Error::TooManyContexts {
                    max: self.current.len(),
                })?;
            interned.remove(&idle.0);
            (idle.1, true)
        };
        let number = next_number()?;
        // ORDERING: Release, both; partner: the loads in `is_current`. `used` only grows, and only here.
        self.current[place].store(number, Ordering::Release);
        self.used.store(
            (interned.len() + 1).min(self.current.len()) as u32,
            Ordering::Release,
        );
        let entry = Arc::new(Entry {
            id,
            cache: self.cache,
            place,
            number: AtomicU32::new(number),
        });
        interned.insert(id, Arc::clone(&entry));
        Ok((Context(entry), gave_up))
    }

    /// Swaps in a fresh generation: from here on no lookup finds what was stored under the old one.
    pub(crate) fn renew(&self, context: &Context) -> Result<(), Error> {
        if context.cache() != self.cache {
            return Err(Error::ForeignContext);
        }
        let _interned = lock(&self.interned);
        let number = next_number()?;
        // ORDERING: Release; partner: the Acquire load in `Context::number`.
        context.0.number.store(number, Ordering::Release);
        // ORDERING: AcqRel, with the fence behind it; partner: the fence in `Engine::add` between publishing a session
        // and looking here. Either that add sees the new number and removes its session again, or the sweep that
        // follows this call sees the session.
        self.current[context.0.place].swap(number, Ordering::AcqRel);
        fence_after_rmw();
        Ok(())
    }

    /// Whether `number` is some context's current generation. Wait-free: one load per context in use.
    #[inline]
    pub(crate) fn is_current(&self, number: u32) -> bool {
        // ORDERING: Acquire, both; partner: the Release stores in `intern` and the swap in `renew`.
        let used = self.used.load(Ordering::Acquire) as usize;
        self.current[..used]
            .iter()
            .any(|current| current.load(Ordering::Acquire) == number)
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts")
            .field("max", &self.current.len())
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
    fn a_foreign_context_is_refused() {
        let (foreign, _) = Contexts::new(1, 1).intern(id(1)).unwrap();
        assert_eq!(
            Contexts::new(2, 1).renew(&foreign),
            Err(Error::ForeignContext)
        );
    }
}
