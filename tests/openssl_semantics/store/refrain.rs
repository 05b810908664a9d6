//! Refrain, with a clock that stands still and no threads of its own: what is under way happens in `settle`.

use std::sync::Arc;
use std::time::Duration;

use refrain::{
    Added, CacheMode, Context, ContextId, Maintenance, ManualClock, Session, SessionCache,
    SessionId, Time,
};

use super::{Store, Subject};
use crate::books::Books;
use crate::log::{Hook, Log, What};
use crate::watch::witness;

/// How many sessions a store of size 0 has room for.
pub(crate) const MOST: usize = 64;

pub(crate) struct Refrain {
    cache: SessionCache,
    context: Context,
    clock: ManualClock,
    log: Arc<Log>,
}

/// Refrain's books, in OpenSSL's words.
pub(crate) fn counters(cache: &SessionCache) -> Books {
    cache.stats().openssl().into()
}

/// Sets the two callbacks that tell of sessions.
pub(crate) fn listen(cache: &SessionCache, log: &Arc<Log>) {
    let heard = Arc::clone(log);
    cache.set_on_new(Some(Arc::new(move |session| {
        heard.note(What::New, session.id());
        heard.store(session.id(), session.payload());
        witness(session);
        !heard.refuses()
    })));
    let heard = Arc::clone(log);
    cache.set_on_remove(Some(Arc::new(move |session, _| {
        heard.note(What::Remove, session.id());
    })));
}

/// Sets the callback that supplies a session: what the log names, from the bytes that the new callback saw.
pub(crate) fn supply(cache: &SessionCache, log: &Arc<Log>) {
    let heard = Arc::clone(log);
    cache.set_on_get(Some(Arc::new(move |lookup| {
        heard.note(What::Get, lookup.id.as_bytes());
        let bytes = heard.stored(heard.supply()?.id())?;
        Session::new(lookup.context, *lookup.id, &bytes).ok()
    })));
}

/// Whether an add put something in: what `SSL_CTX_add_session` returns 1 for.
pub(crate) fn is_new(added: Added) -> bool {
    matches!(added, Added::Inserted | Added::Replaced)
}

/// The ids in a cache. Counts no look-ups.
pub(crate) fn ids(cache: &SessionCache) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    cache.retain(|session| {
        ids.push(session.id().to_vec());
        true
    });
    ids
}

impl Refrain {
    pub(crate) fn cache(&self) -> &SessionCache {
        &self.cache
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    pub(crate) fn id(id: u8) -> SessionId {
        SessionId::from([id; 32])
    }
}

impl Store for Refrain {
    const SUBJECT: Subject = Subject::Refrain;
    type Session = Session;
    /// A reference of its own: the last one, once the session is otherwise free.
    type Watch = Session;

    fn new(size: usize) -> Self {
        let log = Arc::new(Log::default());
        let clock = ManualClock::new();
        let cache = SessionCache::builder()
            .capacity(size)
            .max_capacity(if size == 0 { MOST } else { size })
            .shards(1)
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap();
        listen(&cache, &log);
        let context = cache.context(ContextId::derive("semantics", &[])).unwrap();
        Self {
            cache,
            context,
            clock,
            log,
        }
    }

    fn log(&self) -> &Log {
        &self.log
    }

    fn books(&self) -> Books {
        self.cache.settle();
        self.log.books() + counters(&self.cache)
    }

    fn session(&self, id: u8, until: u64) -> Session {
        let now = self.cache.now().saturating_since(Time::ZERO);
        Session::builder(&self.context, Self::id(id))
            .timeout(Duration::from_secs(until).saturating_sub(now))
            .build(b"payload")
            .unwrap()
    }

    fn aged(&self, id: u8, _: u64, timeout: u64) -> Session {
        Session::builder(&self.context, Self::id(id))
            .timeout(Duration::from_secs(timeout))
            .build(b"payload")
            .unwrap()
    }

    fn again(&self, session: &Session, until: u64) -> Session {
        self.session(session.id()[0], until)
    }

    fn watch(&self, session: &Session) -> Session {
        session.clone()
    }

    fn is_freed(&self, watch: &Session) -> bool {
        self.cache.settle();
        watch.references() == 1
    }

    fn is_resumable(&self, session: &Session) -> bool {
        session.is_resumable()
    }

    fn add(&self, session: &Session) -> bool {
        is_new(self.cache.add(session.clone()))
    }

    fn remove(&self, session: &Session) -> bool {
        self.cache.remove_exact(session)
    }

    fn flush(&self, at: u64) {
        self.cache.flush(Time::ZERO + Duration::from_secs(at));
    }

    fn flush_all(&self) {
        self.cache.clear();
    }

    fn reentry(&self) -> Hook {
        let cache = self.cache.clone();
        Arc::new(move || {
            cache.flush(Time::ZERO);
        })
    }

    fn has(&self, id: u8) -> bool {
        ids(&self.cache).contains(&vec![id; 32])
    }

    fn set_size(&self, size: usize) -> usize {
        self.cache.set_capacity(size).unwrap()
    }

    fn size(&self) -> usize {
        self.cache.capacity()
    }

    fn set_mode(&self, mode: u32) -> u32 {
        self.cache.set_mode(CacheMode::from_bits(mode)).bits()
    }

    fn mode(&self) -> u32 {
        self.cache.mode().bits()
    }

    fn set_timeout(&self, seconds: u64) -> u64 {
        self.cache
            .set_timeout(Duration::from_secs(seconds))
            .as_secs()
    }

    fn timeout(&self) -> u64 {
        self.cache.timeout().as_secs()
    }
}
