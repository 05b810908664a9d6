//! A server's cache in front of a shop, and what a TLS stack would do with it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use refrain::store::{ExternalOptions, ExternalStats, Keys, SingleUse};
use refrain::{Builder, Context, ContextId, Session, SessionCache};

use crate::common::id;
use crate::store::Shop;

/// How long a test waits for what has to come.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn key(n: u8) -> [u8; 32] {
    std::array::from_fn(|i| (i as u8 ^ n).wrapping_mul(37).wrapping_add(n))
}

pub(crate) fn keys() -> Keys {
    Keys::new(&key(1), &key(2)).unwrap()
}

/// Options with the longest read budget: the machine that tests may be slow.
pub(crate) fn options() -> ExternalOptions {
    ExternalOptions::new(keys())
        .read_budget(Duration::from_millis(20))
        .epoch_refresh(Duration::from_millis(20))
}

pub(crate) fn best_effort() -> ExternalOptions {
    options().single_use(SingleUse::BestEffortWithoutEarlyData)
}

pub(crate) struct Node {
    pub(crate) cache: SessionCache,
    pub(crate) context: Context,
    shop: Arc<Shop>,
}

impl Node {
    pub(crate) fn new(shop: &Arc<Shop>) -> Self {
        Self::with(shop, options())
    }

    pub(crate) fn with(shop: &Arc<Shop>, options: ExternalOptions) -> Self {
        Self::of(SessionCache::builder().capacity(1000), shop, options)
    }

    pub(crate) fn of(builder: Builder, shop: &Arc<Shop>, options: ExternalOptions) -> Self {
        let cache = builder.external(Arc::clone(shop), options).build().unwrap();
        let context = cache.context(ContextId::derive("node", &[])).unwrap();
        let shop = Arc::clone(shop);
        let node = Self {
            cache,
            context,
            shop,
        };
        // Its worker learns the counts before anything is asked, unless the store is away.
        node.until(|stats| stats.unavailable > 0 || node.cache.settle_external(Duration::ZERO));
        node
    }

    /// The cache and the context alone.
    pub(crate) fn into_parts(self) -> (SessionCache, Context) {
        (self.cache, self.context)
    }

    /// Whether reads go to the store: the counts are known.
    pub(crate) fn is_ready(&self) -> bool {
        let before = self.stats();
        let _ = self.resume(u64::MAX);
        let after = self.stats();
        after.denied_epoch == before.denied_epoch
    }

    pub(crate) fn stats(&self) -> ExternalStats {
        self.cache.external_stats().unwrap()
    }

    /// Waits for something to become true of the counters.
    #[track_caller]
    pub(crate) fn until(&self, what: impl Fn(&ExternalStats) -> bool) {
        let limit = Instant::now() + SOON;
        while !what(&self.stats()) {
            assert!(Instant::now() < limit, "in vain: {:#?}", self.stats());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A full handshake ends.
    pub(crate) fn establish(&self, n: u64) -> bool {
        self.establish_as(n, |builder| builder)
    }

    pub(crate) fn establish_as(
        &self,
        n: u64,
        more: impl FnOnce(refrain::SessionBuilder<'_>) -> refrain::SessionBuilder<'_>,
    ) -> bool {
        let mut connection = self.cache.accept(&self.context);
        let builder = more(connection.session_builder(id(n)));
        let session = builder.build(&payload(n)).unwrap();
        let stored = connection.establish(session);
        connection.close();
        stored
    }

    /// Waits until the store has everything.
    #[track_caller]
    pub(crate) fn settle(&self) {
        assert!(self.cache.settle_external(SOON), "{:#?}", self.stats());
    }

    /// A client comes back with a session that it may use again.
    ///
    /// A machine that is busy may stop a thread for longer than any read may take: then the client comes once more.
    pub(crate) fn resume(&self, n: u64) -> bool {
        loop {
            let late = self.stats().timeouts;
            let resumed = self.try_resume(n);
            if resumed || self.stats().timeouts == late || !self.shop.is_well() {
                return resumed;
            }
        }
    }

    fn try_resume(&self, n: u64) -> bool {
        let mut connection = self.cache.accept(&self.context);
        let found = connection.resume(id(n)).map(|s| s.payload().to_vec());
        connection.finish();
        connection.close();
        found.is_some_and(|found| found == payload(n))
    }

    /// Resumes, and does something else while the store's answer is on its way.
    pub(crate) fn resume_during(&self, n: u64, f: impl FnOnce()) -> bool {
        self.shop.close_gate();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.resume(n));
            self.shop.wait_at_gate(1);
            f();
            self.shop.open_gate();
            reader.join().unwrap()
        })
    }

    /// A client comes back with a session that works once.
    pub(crate) fn resume_once(&self, n: u64) -> bool {
        let mut connection = self.cache.accept(&self.context);
        let found = connection.resume_once(id(n)).is_some() && connection.claim();
        connection.finish();
        connection.close();
        found
    }

    pub(crate) fn has(&self, n: u64) -> bool {
        self.cache.contains(&self.context, &id(n))
    }
}

/// What a session of this number holds.
pub(crate) fn payload(n: u64) -> Vec<u8> {
    format!("the secret of number {n}").into_bytes()
}

/// A wall clock that is off by so much.
pub(crate) fn off_by(
    options: ExternalOptions,
    forward: Duration,
    back: Duration,
) -> ExternalOptions {
    options.wall_clock(move || SystemTime::now() + forward - back)
}

/// A session that was not established by a handshake.
pub(crate) fn loose(node: &Node, n: u64) -> Session {
    Session::new(&node.context, id(n), &payload(n)).unwrap()
}
