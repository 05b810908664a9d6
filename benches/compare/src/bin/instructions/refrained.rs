//! Refrain's operations. What leaves is freed by maintenance, which is an operation of its own here.
//!
//! The subject `refrain-external` is the same with a shared tier behind each cache, whose store is away: what is found in the
//! first tier must cost no more for it.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use refrain::store::{
    ExternalOptions, ExternalStore, Key as StoreKey, Keys, SingleUse, StoreError, Write,
};
use refrain::{
    CacheMode, Context, ContextId, Maintenance, ManualClock, Session, SessionCache, SessionId,
};

use crate::cache::Key;
use crate::random::Random;
use crate::{BATCH, LIVE, PAYLOAD, counted};

pub(crate) const SUBJECTS: [&str; 2] = ["refrain", "refrain-external"];

/// Whether there is a shared tier. A process counts for one subject.
static SHARED: OnceLock<bool> = OnceLock::new();

const TIMEOUT: Duration = Duration::from_secs(7200);

/// Runs so many batches, and returns how many operations were counted.
type Run = fn(batches: usize) -> usize;

/// By name. Where a name ends in `-new`, the session is built inside the count, as rivals do it.
pub(crate) const OPERATIONS: [(&str, Run); 21] = [
    ("nothing", nothing),
    ("with", with),
    ("get", get),
    ("miss", miss),
    ("touch", touch),
    ("new", new),
    ("add", |batches| add(batches, false)),
    ("add-new", |batches| add(batches, true)),
    ("add-full", |batches| add_full(batches, false)),
    ("add-full-new", |batches| add_full(batches, true)),
    ("replace", |batches| replace(batches, false)),
    ("replace-new", |batches| replace(batches, true)),
    ("take", take),
    ("take-exact", take_exact),
    ("remove", remove),
    ("resume", resume),
    ("claim", claim),
    ("maintain", maintain),
    ("expire", expire),
    ("flush", flush),
    ("stats", stats),
];

/// How many operations were counted; none if there is no such thing.
pub(crate) fn run(subject: &str, operation: &str, batches: usize) -> Option<usize> {
    let place = SUBJECTS.iter().position(|name| *name == subject)?;
    let (_, run) = OPERATIONS.iter().find(|(name, _)| *name == operation)?;
    SHARED.get_or_init(|| place == 1);
    Some(run(batches))
}

/// A store that is away.
struct Away;

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("away".to_owned()))
}

impl ExternalStore for Away {
    fn get(&self, _: &StoreKey, _: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        away()
    }

    fn take(&self, _: &StoreKey, _: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        away()
    }

    fn claim(&self, _: &StoreKey, _: Duration, _: Instant) -> Result<bool, StoreError> {
        away()
    }

    fn write(&self, _: &[Write<'_>], _: Instant) -> Result<(), StoreError> {
        away()
    }

    fn counter(&self, _: &StoreKey, _: Instant) -> Result<u64, StoreError> {
        away()
    }

    fn increment(&self, _: &StoreKey, _: Instant) -> Result<u64, StoreError> {
        away()
    }

    fn probe(&self, _: Instant) -> Result<(), StoreError> {
        away()
    }
}

/// Best effort: strict single use asks the store for each session, and costs what that costs.
fn options() -> ExternalOptions {
    let key = |n: u8| std::array::from_fn(|at| (at as u8 ^ n).wrapping_mul(37).wrapping_add(n));
    ExternalOptions::new(Keys::new(&key(1), &key(2)).expect("keys as if drawn"))
        .single_use(SingleUse::BestEffortWithoutEarlyData)
}

/// A cache with sessions in it.
struct Filled {
    cache: SessionCache,
    context: Context,
    clock: ManualClock,
    random: Random,
    /// What was added, the oldest first.
    ids: Vec<SessionId>,
}

impl Filled {
    /// With room for so many, and [`LIVE`] of them there and looked up.
    fn new(capacity: usize) -> Self {
        let mut filled = Self::empty(capacity, CacheMode::default());
        filled.fill(LIVE);
        filled.warm();
        filled
    }

    fn empty(capacity: usize, mode: CacheMode) -> Self {
        let clock = ManualClock::new();
        let mut builder = SessionCache::builder();
        if SHARED.get() == Some(&true) {
            builder = builder.external(Away, options());
        }
        let cache = builder
            .capacity(capacity)
            .byte_budget(capacity * 4096)
            // Whatever the machine has cores.
            .shards(4)
            .timeout(TIMEOUT)
            .mode(mode)
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .expect("the setup is sound");
        let context = cache
            .context(ContextId::derive("instructions", &[]))
            .expect("the first context");
        Self {
            cache,
            context,
            clock,
            random: Random::new(1, 0),
            ids: Vec::new(),
        }
    }

    fn session(&self, id: SessionId) -> Session {
        Session::new(&self.context, id, &PAYLOAD).expect("it is small")
    }

    fn id(&mut self) -> SessionId {
        SessionId::of(self.random.id())
    }

    /// Adds so many, at a rate of 20 in a millisecond.
    fn fill(&mut self, sessions: usize) {
        for n in 0..sessions {
            if n % 20 == 0 {
                self.clock.advance(Duration::from_millis(1));
            }
            let id = self.id();
            assert!(self.cache.add(self.session(id)).is_cached());
            self.ids.push(id);
        }
        self.cache.settle();
    }

    /// Looks each up, as the first time is another matter.
    fn warm(&self) {
        let found = |id: &&SessionId| self.cache.contains(&self.context, id);
        assert_eq!(self.ids.iter().filter(found).count(), self.ids.len());
    }

    /// The ids of a batch of those that are there.
    fn batch(&self, number: usize) -> &[SessionId] {
        let begin = number * BATCH % LIVE;
        &self.ids[begin..begin + BATCH]
    }

    /// Puts others in the place of the oldest batch, which is gone.
    fn refill(&mut self) {
        self.ids.drain(..BATCH);
        self.cache.settle();
        self.fill(BATCH);
        self.warm();
    }
}

/// What the loop takes that all the others are in.
fn nothing(batches: usize) -> usize {
    let it = Filled::new(2 * LIVE);
    for number in 0..batches {
        let ids = it.batch(number);
        counted(BATCH, |n| {
            black_box(&ids[n]);
        });
    }
    batches * BATCH
}

fn with(batches: usize) -> usize {
    look(&Filled::new(2 * LIVE), batches, |_| {})
}

/// A look-up that postpones the session's deadline, under `UPDATE_TIME`.
fn touch(batches: usize) -> usize {
    let mut it = Filled::empty(2 * LIVE, CacheMode::default() | CacheMode::UPDATE_TIME);
    it.fill(LIVE);
    it.warm();
    look(&it, batches, |it| {
        it.clock.advance(Duration::from_secs(1));
        it.cache.now();
    })
}

fn look(it: &Filled, batches: usize, before: impl Fn(&Filled)) -> usize {
    for number in 0..batches {
        before(it);
        let ids = it.batch(number);
        let mut found = 0;
        counted(BATCH, |n| {
            let first = it.cache.with(&it.context, &ids[n], |s| s.payload()[0]);
            found += usize::from(black_box(first).is_some());
        });
        assert_eq!(found, BATCH);
    }
    batches * BATCH
}

/// A handle, and its end.
fn get(batches: usize) -> usize {
    let it = Filled::new(2 * LIVE);
    for number in 0..batches {
        let ids = it.batch(number);
        let mut found = 0;
        counted(BATCH, |n| {
            let session = it.cache.get(&it.context, &ids[n]);
            let first = session.map(|session| session.payload()[0]);
            found += usize::from(black_box(first).is_some());
        });
        assert_eq!(found, BATCH);
    }
    batches * BATCH
}

fn miss(batches: usize) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let ids: Vec<_> = (0..BATCH).map(|_| it.id()).collect();
        let mut found = 0;
        counted(BATCH, |n| {
            let first = it.cache.with(&it.context, &ids[n], |s| s.payload()[0]);
            found += usize::from(black_box(first).is_some());
        });
        assert_eq!(found, 0);
    }
    batches * BATCH
}

/// Building a session, without its end.
fn new(batches: usize) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let ids: Vec<_> = (0..BATCH).map(|_| it.id()).collect();
        let mut sessions = Vec::with_capacity(BATCH);
        counted(BATCH, |n| sessions.push(it.session(ids[n])));
    }
    batches * BATCH
}

/// Adds sessions of these ids; built inside the count or outside.
fn add_all(it: &Filled, ids: &[SessionId], inside: bool) {
    let mut kept = 0;
    if inside {
        counted(ids.len(), |n| {
            kept += usize::from(it.cache.add(it.session(ids[n])).is_cached());
        });
    } else {
        let sessions: Vec<_> = ids.iter().map(|id| it.session(*id)).collect();
        let mut sessions = sessions.into_iter();
        counted(ids.len(), |_| {
            if let Some(session) = sessions.next() {
                kept += usize::from(it.cache.add(session).is_cached());
            }
        });
    }
    assert_eq!(kept, ids.len());
    it.cache.settle();
}

/// Below capacity.
fn add(batches: usize, inside: bool) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let ids: Vec<_> = (0..BATCH).map(|_| it.id()).collect();
        it.clock.advance(Duration::from_millis(100));
        add_all(&it, &ids, inside);
        assert!(ids.iter().all(|id| it.cache.remove(&it.context, id)));
        it.cache.settle();
    }
    batches * BATCH
}

/// At capacity: each evicts one.
fn add_full(batches: usize, inside: bool) -> usize {
    // Nobody has come back, so nobody is spared.
    let mut it = Filled::empty(LIVE, CacheMode::default());
    it.fill(LIVE);
    let before = it.cache.stats().evicted;
    for _ in 0..batches {
        let ids: Vec<_> = (0..BATCH).map(|_| it.id()).collect();
        it.clock.advance(Duration::from_millis(100));
        add_all(&it, &ids, inside);
    }
    let evicted = it.cache.stats().evicted - before;
    assert_eq!(evicted as usize, batches * BATCH);
    batches * BATCH
}

/// Of an id that is there.
fn replace(batches: usize, inside: bool) -> usize {
    let it = Filled::new(2 * LIVE);
    for number in 0..batches {
        it.clock.advance(Duration::from_millis(100));
        add_all(&it, it.batch(number), inside);
    }
    assert_eq!(it.cache.stats().replaced as usize, batches * BATCH);
    batches * BATCH
}

/// With the handle's end, but without the session's.
fn take(batches: usize) -> usize {
    end(batches, |it, id| it.cache.take(&it.context, id).is_some())
}

fn remove(batches: usize) -> usize {
    end(batches, |it, id| it.cache.remove(&it.context, id))
}

/// A handshake's look-up of a session that works again and again, with the connection's beginning and end.
fn resume(batches: usize) -> usize {
    let it = Filled::new(2 * LIVE);
    for number in 0..batches {
        let ids = it.batch(number);
        let mut found = 0;
        counted(BATCH, |n| {
            let mut connection = it.cache.accept(&it.context);
            found += usize::from(connection.resume(ids[n]).is_some());
            connection.finish();
            connection.close();
        });
        assert_eq!(found, BATCH);
    }
    batches * BATCH
}

/// A handshake's look-up and take of a session that works once, likewise.
fn claim(batches: usize) -> usize {
    end(batches, |it, id| {
        let mut connection = it.cache.accept(&it.context);
        let won = connection.resume_once(*id).is_some() && connection.claim();
        connection.finish();
        connection.close();
        won
    })
}

fn end(batches: usize, one: impl Fn(&Filled, &SessionId) -> bool) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let ids = &it.ids[..BATCH];
        let mut ended = 0;
        counted(BATCH, |n| ended += usize::from(one(&it, &ids[n])));
        assert_eq!(ended, BATCH);
        it.refill();
    }
    batches * BATCH
}

/// Of a handle that was there before.
fn take_exact(batches: usize) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let ids = it.ids[..BATCH].iter();
        let handles: Vec<_> = ids.filter_map(|id| it.cache.get(&it.context, id)).collect();
        let mut ended = 0;
        counted(handles.len(), |n| {
            ended += usize::from(it.cache.take_exact(&handles[n]));
        });
        assert_eq!(ended, BATCH);
        drop(handles);
        it.refill();
    }
    batches * BATCH
}

/// What is left to do for each session that was taken: to the last byte.
fn maintain(batches: usize) -> usize {
    let mut it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        let taken = |id: &&SessionId| it.cache.take(&it.context, id).is_some();
        assert_eq!(it.ids[..BATCH].iter().filter(taken).count(), BATCH);
        counted(1, |_| it.cache.settle());
        it.refill();
    }
    batches * BATCH
}

/// Everything at once, over and done with: from the wheel to the last byte.
fn expire(batches: usize) -> usize {
    let mut it = Filled::empty(2 * LIVE, CacheMode::default());
    for _ in 0..batches {
        it.fill(LIVE);
        it.clock.advance(2 * TIMEOUT);
        counted(1, |_| it.cache.settle());
        assert!(it.cache.is_empty());
    }
    assert_eq!(it.cache.stats().expired as usize, batches * LIVE);
    batches * LIVE
}

/// Without the maintenance of what it ends.
fn flush(batches: usize) -> usize {
    let mut it = Filled::empty(2 * LIVE, CacheMode::default());
    for _ in 0..batches {
        it.fill(LIVE);
        let late = it.cache.now() + 2 * TIMEOUT;
        let mut flushed = 0;
        counted(1, |_| flushed = it.cache.flush(late));
        assert_eq!(flushed, LIVE);
        it.cache.settle();
    }
    batches * LIVE
}

fn stats(batches: usize) -> usize {
    let it = Filled::new(2 * LIVE);
    for _ in 0..batches {
        counted(BATCH, |_| {
            black_box(it.cache.stats());
        });
    }
    batches * BATCH
}
