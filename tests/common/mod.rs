//! What the integration tests share: numbered sessions, a log of removals, a rig with a clock that the test moves, and
//! a watchdog.

#![allow(dead_code, reason = "no test crate uses all of it")]

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use refrain::{
    Added, Builder, Context, ContextId, Maintenance, ManualClock, RemovalCause, Session,
    SessionCache, SessionId, Stats,
};

/// The id of number `n`: 32 bytes, so that any two numbers have different ids.
pub(crate) fn id(n: u64) -> SessionId {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    SessionId::new(&bytes).unwrap()
}

/// The number that a session's id was made of.
pub(crate) fn number(session: &Session) -> u64 {
    u64::from_le_bytes(session.id()[..8].try_into().unwrap())
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A session with the id of `n` and a few bytes.
pub(crate) fn session(context: &Context, n: u64) -> Session {
    Session::new(context, id(n), &n.to_be_bytes()).unwrap()
}

/// A session with the id of `n` and so many bytes.
pub(crate) fn sized(context: &Context, n: u64, len: usize) -> Session {
    Session::new(context, id(n), &vec![n as u8; len]).unwrap()
}

/// A session with the id of `n` and a timeout of its own.
pub(crate) fn lasting(context: &Context, n: u64, timeout: Duration) -> Session {
    Session::builder(context, id(n))
        .timeout(timeout)
        .build(&n.to_be_bytes())
        .unwrap()
}

pub(crate) fn context(cache: &SessionCache, name: &str) -> Context {
    cache.context(ContextId::derive(name, &[])).unwrap()
}

/// What the remove callback heard: numbers and causes, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<(u64, RemovalCause)>>>);

impl Log {
    pub(crate) fn listener(&self) -> impl Fn(&Session, RemovalCause) + Send + Sync + 'static {
        let log = Arc::clone(&self.0);
        move |session, cause| log.lock().unwrap().push((number(session), cause))
    }

    /// As `listener`, but notes tags instead of numbers.
    pub(crate) fn tag_listener(&self) -> impl Fn(&Session, RemovalCause) + Send + Sync + 'static {
        let log = Arc::clone(&self.0);
        move |session, cause| log.lock().unwrap().push((session.tag(), cause))
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<(u64, RemovalCause)> {
        self.0.lock().unwrap().clone()
    }

    /// What came since the last call.
    pub(crate) fn drain(&self) -> Vec<(u64, RemovalCause)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    /// As `drain`, in the order of the numbers.
    pub(crate) fn drain_sorted(&self) -> Vec<(u64, RemovalCause)> {
        let mut events = self.drain();
        events.sort_by_key(|(n, cause)| (*n, *cause as u8));
        events
    }
}

/// A cache that does nothing by itself, with a clock that stands still, a context and a log.
pub(crate) struct Rig {
    pub(crate) cache: SessionCache,
    pub(crate) context: Context,
    pub(crate) clock: ManualClock,
    pub(crate) log: Log,
}

impl Rig {
    /// A rig of this capacity, in one shard, so that order is exact.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::with(SessionCache::builder().capacity(capacity).shards(1))
    }

    pub(crate) fn with(builder: Builder) -> Self {
        let clock = ManualClock::new();
        let log = Log::default();
        let cache = builder
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .on_remove(log.listener())
            .build()
            .unwrap();
        let context = context(&cache, "rig");
        Self {
            cache,
            context,
            clock,
            log,
        }
    }

    pub(crate) fn add(&self, n: u64) -> Added {
        self.cache.add(session(&self.context, n))
    }

    pub(crate) fn add_for(&self, n: u64, timeout: Duration) -> Added {
        self.cache.add(lasting(&self.context, n, timeout))
    }

    pub(crate) fn has(&self, n: u64) -> bool {
        self.cache.contains(&self.context, &id(n))
    }

    pub(crate) fn get(&self, n: u64) -> Option<Session> {
        self.cache.get(&self.context, &id(n))
    }

    pub(crate) fn take(&self, n: u64) -> Option<Session> {
        self.cache.take(&self.context, &id(n))
    }

    pub(crate) fn remove(&self, n: u64) -> bool {
        self.cache.remove(&self.context, &id(n))
    }

    /// Moves the clock, and lets the cache see it without any maintenance.
    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.cache.now();
    }

    /// What has left since the last call.
    pub(crate) fn gone(&self) -> Vec<(u64, RemovalCause)> {
        self.cache.settle();
        self.log.drain()
    }
}

/// Asserts that every session is accounted for and every callback that is due was called. The cache has settled, and a
/// remove callback was set all the time.
#[track_caller]
pub(crate) fn assert_settled(stats: &Stats) {
    assert!(stats.is_balanced(), "not balanced: {stats:#?}");
    assert_eq!(stats.callbacks, stats.callbacks_due(), "{stats:#?}");
    assert_eq!(stats.backlog_bytes, 0, "{stats:#?}");
}

/// Aborts the process if it is not dropped within a minute: a hang must fail a test, not stop the run.
pub(crate) struct Watchdog(#[allow(unused, reason = "its drop is the signal")] Sender<()>);

pub(crate) fn watchdog() -> Watchdog {
    watchdog_for(secs(60))
}

pub(crate) fn watchdog_for(limit: Duration) -> Watchdog {
    let (alive, watch) = channel::<()>();
    let name = std::thread::current().name().map(str::to_owned);
    std::thread::spawn(move || {
        if watch.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the test {name:?} hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// A small generator of numbers that look random (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}
