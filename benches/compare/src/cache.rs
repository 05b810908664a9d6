//! What a rival has to be able to do, and what it may say that it can't.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use refrain::{ManualClock, SessionId};

/// A session id: 32 random bytes, as TLS libraries make them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) [u8; 32]);

impl Hash for Id {
    /// All the bytes and nothing else: the least that a map with ids for keys can hash.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// What maps keep, and what an owner of a session has: a counted reference, and no copy of the bytes.
pub(crate) type Payload = Arc<[u8]>;

/// The hasher of everything that lets one choose it: the one that Refrain has.
pub(crate) type Hashing = ahash::RandomState;

/// How long sessions live, where a rival lets them expire. No measurement lasts so long.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(7200);

/// An id in the form in which a rival looks it up, so that nobody pays for a conversion in the loop.
pub(crate) trait Key: Copy + Send + Sync + 'static {
    fn of(id: Id) -> Self;
    /// The ids of a course in this form.
    fn pick(course: &Course) -> &[Self];
}

impl Key for Id {
    fn of(id: Id) -> Self {
        id
    }

    fn pick(course: &Course) -> &[Self] {
        &course.ids
    }
}

impl Key for SessionId {
    #[inline]
    fn of(id: Id) -> Self {
        Self::from(id.0)
    }

    fn pick(course: &Course) -> &[Self] {
        &course.sessions
    }
}

/// Ids in the order in which they are looked up, one after the other in memory. A power of two of them.
#[derive(Debug)]
pub(crate) struct Course {
    ids: Vec<Id>,
    sessions: Vec<SessionId>,
}

impl Course {
    pub(crate) fn new(ids: Vec<Id>) -> Arc<Self> {
        assert!(ids.len().is_power_of_two());
        let sessions = ids.iter().copied().map(SessionId::of).collect();
        Arc::new(Self { ids, sessions })
    }
}

/// What a cache is built for.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// How many sessions it holds, where it can be told.
    pub(crate) capacity: usize,
    /// The bytes of each session.
    pub(crate) payload: usize,
    /// How many threads will use it.
    pub(crate) threads: usize,
    /// Whether somebody listens to removals, where that can be, and how long that listener sleeps each time.
    pub(crate) listener: Option<Duration>,
    /// The clock, where it can be the caller's.
    pub(crate) clock: Option<ManualClock>,
}

impl Setup {
    pub(crate) fn new(capacity: usize, payload: usize, threads: usize) -> Self {
        Self {
            capacity,
            payload,
            threads,
            listener: None,
            clock: None,
        }
    }
}

/// Whether a listener that is to sleep does. Not while a cache is filled or dropped.
static SLEEPY: AtomicBool = AtomicBool::new(false);

/// What the listener does: it counts, and sleeps if it is told to.
pub(crate) fn hear(nap: Duration) {
    static HEARD: AtomicU64 = AtomicU64::new(0);
    HEARD.fetch_add(1, Ordering::Relaxed);
    if !nap.is_zero() && SLEEPY.load(Ordering::Relaxed) {
        thread::sleep(nap);
    }
}

/// Lets listeners sleep, or not any more.
pub(crate) fn let_sleep(sleepy: bool) {
    SLEEPY.store(sleepy, Ordering::Relaxed);
}

/// What not everybody can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To show a session without giving it away: get0.
    Lend,
    /// To give a session that lives on without the cache: get1.
    Own,
    /// To give a session to one of several who want it, and never again.
    Take,
    /// To stay within its capacity by itself.
    Evict,
    /// To be used by several threads.
    Share,
    /// To call somebody back when a session leaves.
    Listen,
}

/// A cache, or what somebody would use for one.
///
/// `Some` of a look-up is the first byte of the session, so that it is really read. A method for a need that is among
/// what it lacks is never called.
pub(crate) trait Cache: Send + Sync + Sized + 'static {
    const NAME: &'static str;
    /// What it can't do, and why.
    const LACKS: &'static [(Need, &'static str)];
    /// Whether look-ups don't show the session, only that it is there.
    const BLIND: bool = false;
    /// Whether it holds one session less than its capacity.
    const ONE_LESS: bool = false;
    /// Whether `clear` removes everything.
    const CLEARS: bool = false;
    /// Whether `shrink` cuts its capacity.
    const SHRINKS: bool = false;
    /// Whether its clock can be the caller's.
    const CLOCKED: bool = false;

    type Key: Key;
    /// What each thread has of its own.
    type Local: Send;

    fn build(setup: &Setup) -> Self;
    fn local(&self) -> Self::Local;

    fn lend(&self, _local: &mut Self::Local, _key: &Self::Key) -> Option<u8> {
        unreachable!("{} does not lend", Self::NAME)
    }

    fn own(&self, _local: &mut Self::Local, _key: &Self::Key) -> Option<u8> {
        unreachable!("{} gives nothing to own", Self::NAME)
    }

    fn take(&self, _local: &mut Self::Local, _key: &Self::Key) -> Option<u8> {
        unreachable!("{} has no take", Self::NAME)
    }

    /// Makes a session of these bytes and puts it in. Whether it was accepted, where that is told.
    fn add(&self, local: &mut Self::Local, id: Id, payload: &[u8]) -> bool;

    /// How many sessions there are, exactly so after `settle`. `None` if it doesn't tell.
    fn len(&self, local: &Self::Local) -> Option<usize>;

    /// Finishes what operations have left behind, and would otherwise be done while another rival has its turn.
    fn settle(&self) {}

    fn clear(&self, _local: &mut Self::Local) {
        unreachable!("{} can't be cleared", Self::NAME)
    }

    fn shrink(&self, _capacity: usize) {
        unreachable!("{} keeps its capacity", Self::NAME)
    }

    /// How many have expired.
    fn expired(&self) -> u64 {
        unreachable!("{} has no clock that can be set", Self::NAME)
    }

    /// What a handshake that resumes does: it owns the session, where that can be.
    #[inline]
    fn find(&self, local: &mut Self::Local, key: &Self::Key) -> Option<u8> {
        self.own(local, key)
    }

    /// The cheapest way to see whether a session is there.
    #[inline]
    fn see(&self, local: &mut Self::Local, key: &Self::Key) -> Option<u8> {
        self.lend(local, key)
    }
}

/// Why it can't, if it can't.
pub(crate) fn lacks<C: Cache>(need: Need) -> Option<&'static str> {
    C::LACKS
        .iter()
        .find(|(lacking, _)| *lacking == need)
        .map(|(_, why)| *why)
}
