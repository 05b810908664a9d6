//! Refrain, as its documentation says to use it.

use refrain::{Context, ContextId, Session, SessionCache, SessionId};

use crate::cache::{Cache, Id, Need, Setup, TIMEOUT, hear};

#[derive(Debug)]
pub(crate) struct Refrain {
    pub(crate) cache: SessionCache,
    pub(crate) context: Context,
}

impl Cache for Refrain {
    const NAME: &'static str = "refrain";
    const LACKS: &'static [(Need, &'static str)] = &[];
    const CLEARS: bool = true;
    const SHRINKS: bool = true;
    const CLOCKED: bool = true;

    type Key = SessionId;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        // The budget in bytes is the default, unless that is too small for the payload.
        let bytes = (setup.payload + 256).max(4096) * setup.capacity;
        let mut builder = SessionCache::builder()
            .byte_budget(bytes)
            .capacity(setup.capacity)
            .timeout(TIMEOUT);
        if let Some(nap) = setup.listener {
            builder = builder.on_remove(move |_, _| hear(nap));
        }
        if let Some(clock) = &setup.clock {
            builder = builder.clock(clock.clone());
        }
        let cache = builder.build().expect("the setup is sound");
        let context = cache
            .context(ContextId::derive("compare", &[]))
            .expect("the first context");
        Self { cache, context }
    }

    fn local(&self) {}

    #[inline]
    fn lend(&self, (): &mut (), key: &SessionId) -> Option<u8> {
        self.cache
            .with(&self.context, key, |session| session.payload()[0])
    }

    #[inline]
    fn own(&self, (): &mut (), key: &SessionId) -> Option<u8> {
        let session = self.cache.get(&self.context, key)?;
        Some(session.payload()[0])
    }

    #[inline]
    fn take(&self, (): &mut (), key: &SessionId) -> Option<u8> {
        let session = self.cache.take(&self.context, key)?;
        Some(session.payload()[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        let session = Session::new(&self.context, id.0.into(), payload);
        session.is_ok_and(|session| self.cache.add(session).is_cached())
    }

    fn len(&self, (): &()) -> Option<usize> {
        Some(self.cache.len())
    }

    fn settle(&self) {
        self.cache.settle();
    }

    /// By `flush`, as of a time when all have expired.
    fn clear(&self, (): &mut ()) {
        self.cache.flush(self.cache.now() + 2 * TIMEOUT);
    }

    fn shrink(&self, capacity: usize) {
        let cut = self.cache.set_capacity(capacity);
        cut.expect("it is below the maximum");
    }

    fn expired(&self) -> u64 {
        self.cache.stats().expired
    }
}
