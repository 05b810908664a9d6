//! Everything at once, by real threads, and then the books must balance.
//!
//! Seconds by default; longer by the environment variable `REFRAIN_STRESS_SECONDS`.

#![allow(missing_docs)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use common::{Random, assert_settled, context, id, millis, number, secs, watchdog_for};
use refrain::{Added, Context, Maintenance, OnRemove, RemovalCause, Session, SessionCache, Stats};

const THREADS: usize = 8;
/// More ids than fit, so that there are hits, misses, replacements and evictions.
const IDS: u64 = 3000;
const HIGH: usize = 1000;
/// More sessions than a second can make.
const PER_SECOND: usize = 4_000_000;

fn duration() -> Duration {
    let seconds = std::env::var("REFRAIN_STRESS_SECONDS").ok();
    secs(seconds.map_or(3, |s| s.parse().expect("a number of seconds")))
}

/// One bit for each session that was ever built, set by its removal.
struct Serials {
    next: AtomicUsize,
    reported: Vec<AtomicU8>,
    twice: AtomicUsize,
    torn: AtomicUsize,
    /// What the callers were told: the counters must tell the same.
    told: Told,
}

/// Removals that somebody was told to have made.
#[derive(Default)]
struct Told {
    taken: AtomicUsize,
    removed: AtomicUsize,
    retained: AtomicUsize,
    cleared: AtomicUsize,
}

fn count(counter: &AtomicUsize, made: usize) {
    counter.fetch_add(made, Ordering::Relaxed);
}

impl Serials {
    fn new(time: Duration) -> Self {
        let bits = PER_SECOND * (1 + time.as_secs() as usize);
        Self {
            next: AtomicUsize::new(0),
            reported: (0..bits / 8).map(|_| AtomicU8::new(0)).collect(),
            twice: AtomicUsize::new(0),
            torn: AtomicUsize::new(0),
            told: Told::default(),
        }
    }

    /// A session whose bytes tell its id and its serial number, all through.
    fn build(&self, context: &Context, n: u64, random: &mut Random) -> Session {
        let serial = self.next.fetch_add(1, Ordering::Relaxed);
        let word = n.rotate_left(32) ^ serial as u64;
        let payload = word.to_le_bytes().repeat(1 + random.below(40) as usize);
        let builder = Session::builder(context, id(n)).tag(serial as u64);
        match random.below(8) {
            // Gone within the run.
            0 => builder.timeout(millis(1 + random.below(200))),
            _ => builder,
        }
        .build(&payload)
        .unwrap()
    }

    /// Whether its bytes are whole and belong to its id.
    fn check(&self, session: &Session) {
        let word = number(session).rotate_left(32) ^ session.tag();
        let whole = !session.payload().is_empty()
            && session.payload().chunks(8).all(|c| c == word.to_le_bytes());
        if !whole {
            self.torn.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn report(&self, session: &Session) {
        self.check(session);
        let (at, bit) = (session.tag() as usize / 8, 1 << (session.tag() % 8));
        let before = self.reported[at].fetch_or(bit, Ordering::Relaxed);
        if before & bit != 0 {
            self.twice.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn reported(&self) -> u64 {
        let ones = |byte: &AtomicU8| u64::from(byte.load(Ordering::Relaxed).count_ones());
        self.reported.iter().map(ones).sum()
    }
}

type Home = OnceLock<(SessionCache, Context)>;

/// Listeners of four kinds; each reports first.
fn listener(serials: &Arc<Serials>, home: &Arc<Home>, kind: u64) -> OnRemove {
    let (serials, home) = (Arc::clone(serials), Arc::downgrade(home));
    Arc::new(move |gone: &Session, cause| {
        serials.report(gone);
        assert!(!gone.is_resumable());
        match kind % 4 {
            0 => {}
            1 if gone.tag() % 50 == 0 => std::panic::resume_unwind(Box::new("a listener's")),
            2 if gone.tag() % 200 == 0 => std::thread::sleep(millis(1)),
            3 if cause != RemovalCause::Dropped => {
                if let Some((cache, context)) = home.upgrade().as_ref().and_then(|h| h.get()) {
                    cache.contains(context, &gone.session_id());
                    let removed = cache.remove(context, &id(gone.tag() % IDS));
                    count(&serials.told.removed, usize::from(removed));
                }
            }
            _ => {}
        }
    })
}

struct Stress {
    cache: SessionCache,
    contexts: [Context; 2],
    serials: Arc<Serials>,
    home: Arc<Home>,
    stop: AtomicBool,
    done: [AtomicU64; THREADS],
}

impl Stress {
    fn new(maintenance: Maintenance, shards: usize, time: Duration) -> Self {
        let serials = Arc::new(Serials::new(time));
        let home = Arc::new(Home::new());
        let first = listener(&serials, &home, 0);
        let cache = SessionCache::builder()
            .capacity(HIGH)
            .shards(shards)
            .tick(millis(5))
            .timeout(secs(1))
            .maintenance(maintenance)
            .on_remove(move |session, cause| first(session, cause))
            .build()
            .unwrap();
        let contexts = [context(&cache, "one"), context(&cache, "two")];
        assert!(home.set((cache.clone(), contexts[0].clone())).is_ok());
        Self {
            cache,
            contexts,
            serials,
            home,
            stop: AtomicBool::new(false),
            done: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn work(&self, thread: usize) {
        let mut random = Random::new(thread as u64 + 1);
        let mut kept = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            self.step(&mut random, &mut kept);
            self.done[thread].fetch_add(1, Ordering::SeqCst);
        }
        // Handles that outlived their sessions still show their bytes.
        kept.iter().for_each(|session| self.serials.check(session));
    }

    fn step(&self, random: &mut Random, kept: &mut Vec<Session>) {
        let (cache, serials) = (&self.cache, &self.serials);
        let context = &self.contexts[random.below(2) as usize];
        let n = random.below(IDS);
        let told = &serials.told;
        let look = |session: &Session| {
            assert_eq!(number(session), n);
            serials.check(session);
        };
        match random.below(1000) {
            0..300 => {
                let session = serials.build(context, n, random);
                if kept.len() < 100 {
                    kept.push(session.clone());
                }
                let _ = cache.add(session);
            }
            300..500 => drop(cache.with(context, &id(n), look)),
            500..700 => drop(cache.get(context, &id(n)).inspect(look)),
            700..850 => {
                let taken = cache.take(context, &id(n)).inspect(look);
                count(&told.taken, usize::from(taken.is_some()));
            }
            850..920 => count(&told.removed, usize::from(cache.remove(context, &id(n)))),
            920..990 => {
                let at = random.below(kept.len().max(1) as u64) as usize;
                if let Some(session) = (at < kept.len()).then(|| kept.swap_remove(at)) {
                    match random.below(3) {
                        0 => drop(cache.add(session)),
                        1 => count(&told.taken, usize::from(cache.take_exact(&session))),
                        _ => count(&told.removed, usize::from(cache.remove_exact(&session))),
                    }
                }
            }
            990..993 => {
                // Removed before it is added, by one of two ways out.
                let session = serials.build(context, n, random);
                if cache.remove_exact(&session) {
                    count(&told.removed, 1);
                    assert_eq!(cache.add(session), Added::Removed);
                }
            }
            993 => {
                let retained = cache.retain(|session| session.tag() % 64 != n % 64);
                count(&told.retained, retained);
            }
            994 => drop(cache.flush(cache.now() + millis(random.below(100)))),
            995 if n % 8 == 0 => cache.invalidate_context(context).unwrap(),
            996 => {
                let next = listener(serials, &self.home, n);
                assert!(cache.set_on_remove(Some(next)).is_some());
            }
            997 => drop(cache.run_maintenance()),
            998 => {
                let stats = cache.stats();
                assert!(stats.entries <= HIGH as u64);
                let _ = format!("{cache:?} {stats:?}");
            }
            _ if n % 32 == 0 => count(&told.cleared, cache.clear()),
            _ => {}
        }
    }

    /// Changes the capacity, and looks whether it is kept.
    fn govern(&self) {
        let mut random = Random::new(99);
        while !self.stop.load(Ordering::Relaxed) {
            let capacity = [HIGH, 1, 50, 500, HIGH][random.below(5) as usize];
            self.cache.set_capacity(capacity).unwrap();
            // Each thread ends what it was at, so that nobody holds the old limit in hand.
            self.wait(2, &|| ());
            let running = || !self.stop.load(Ordering::Relaxed);
            while running() && self.cache.len() > capacity {
                self.cache.run_maintenance();
            }
            self.wait(100, &|| {
                let len = self.cache.len();
                assert!(!running() || len <= capacity, "{len} of {capacity}");
            });
        }
    }

    /// Until each thread has ended so many operations more, or all end.
    fn wait(&self, more: u64, meanwhile: &dyn Fn()) {
        let before = self.done.each_ref().map(|n| n.load(Ordering::SeqCst));
        let at_it = |(n, before): (&AtomicU64, &u64)| n.load(Ordering::SeqCst) < before + more;
        while !self.stop.load(Ordering::Relaxed) && self.done.iter().zip(&before).any(at_it) {
            meanwhile();
            std::thread::yield_now();
        }
    }

    fn run(self, time: Duration) -> Stats {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let this = &self;
                scope.spawn(move || this.work(thread));
            }
            scope.spawn(|| self.govern());
            while start.elapsed() < time {
                std::thread::sleep(millis(20));
            }
            self.stop.store(true, Ordering::Relaxed);
        });
        let Self {
            cache,
            serials,
            home,
            contexts,
            ..
        } = self;
        // Sessions still expire, also between the settling and the reading.
        let stats = loop {
            cache.settle();
            let stats = cache.stats();
            let quiet = stats.callbacks == stats.callbacks_due() && stats.backlog_bytes == 0;
            if quiet && stats.is_balanced() {
                break stats;
            }
        };
        assert_settled(&stats);
        let mut counted = 0;
        // From here on the number only falls, as sessions expire.
        let before = cache.len();
        cache.retain(|session| {
            serials.check(session);
            counted += 1;
            true
        });
        assert!(counted <= before && before <= cache.capacity());
        count(&serials.told.cleared, cache.clear());
        cache.settle();
        assert_eq!(cache.len(), 0);
        let stats = cache.stats();
        assert_settled(&stats);
        assert_eq!((stats.entries, stats.bytes), (0, 0));
        let told = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) as u64;
        assert_eq!(stats.taken, told(&serials.told.taken));
        assert_eq!(
            stats.removed + stats.never_added,
            told(&serials.told.removed)
        );
        assert_eq!(stats.retained, told(&serials.told.retained));
        assert_eq!(stats.cleared, told(&serials.told.cleared));
        assert_eq!(serials.twice.load(Ordering::Relaxed), 0, "reported twice");
        assert_eq!(serials.torn.load(Ordering::Relaxed), 0, "torn or foreign");
        assert_eq!(serials.reported(), stats.callbacks);
        // A last one, for the drop.
        let mut random = Random::new(0);
        let last = serials.build(&contexts[1], 1, &mut random);
        cache.set_capacity(HIGH).unwrap();
        assert_eq!(cache.add(last), Added::Inserted);
        let handle = cache.stats_handle();
        drop((cache, home));
        let stats = handle.snapshot();
        assert_settled(&stats);
        assert_eq!((stats.dropped, stats.entries), (1, 0));
        assert_eq!(serials.reported(), stats.callbacks);
        stats
    }
}

#[test]
fn everything_at_once_and_then_the_balance() {
    let time = duration();
    let _watchdog = watchdog_for(time + secs(60));
    let stats = Stress::new(Maintenance::Threads, 4, time).run(time * 2 / 3);
    println!("with threads: {stats:#?}");
    // A mix that never reaches something proves nothing about it.
    let reached = [
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("replaced", stats.replaced),
        ("taken", stats.taken),
        ("removed", stats.removed),
        ("expired", stats.expired),
        ("evicted", stats.evicted),
        ("invalidated", stats.invalidated),
        ("retained", stats.retained),
        ("cleared", stats.cleared),
        ("never added", stats.never_added),
        ("panics", stats.callback_panics),
    ];
    for (what, count) in reached {
        assert!(count > 0, "the mix has no {what}");
    }
    let stats = Stress::new(Maintenance::Manual, 1, time).run(time / 3);
    println!("by hand: {stats:#?}");
}
