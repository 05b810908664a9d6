//! Histories from real threads: what is done to a cache, noted with the ticks of a counter and the times of a clock.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use refrain::{Added, Context, Maintenance, ManualClock, NotCached, Session, SessionCache, Stats};

use crate::common::{self, Random, id, millis, number, secs};
use crate::history::{Event, History, Op, Serial};

/// Threads of a history, and operations of each.
pub(crate) const THREADS: usize = 4;
pub(crate) const OPS: usize = 5000;

/// Handles that threads share.
const SHELF: usize = 8;

/// What a history is about.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) ids: u64,
    pub(crate) capacity: usize,
    /// Each id is added by one thread only.
    pub(crate) one_adder: bool,
    /// The clock is moved, and sessions live for a few milliseconds of it.
    pub(crate) expiry: bool,
    pub(crate) maintenance: Maintenance,
}

/// A moment as everybody sees it.
#[derive(Default)]
struct Moments {
    ticks: AtomicU64,
    /// The cache's clock shows at least this,
    reached: AtomicU64,
    /// and at most this.
    begun: AtomicU64,
}

impl Moments {
    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes what an operation does and answers.
    fn around(&self, f: impl FnOnce() -> Op) -> Event {
        let begin = self.tick();
        let since = self.reached.load(Ordering::SeqCst);
        let op = f();
        let until = self.begun.load(Ordering::SeqCst);
        let end = self.tick();
        Event {
            begin,
            end,
            since,
            until,
            op,
        }
    }
}

/// A cache to be watched, and what the remove callback has heard.
struct Stage {
    scenario: Scenario,
    cache: SessionCache,
    context: Context,
    clock: ManualClock,
    moments: Arc<Moments>,
    heard: Arc<Mutex<Vec<(u64, Event)>>>,
    /// Held by who moves the clock and maintains.
    keeper: Mutex<()>,
    /// Handles for everybody, of sessions that may just be on their way in.
    shelf: [Mutex<Option<Session>>; SHELF],
}

fn serial(session: &Session) -> Serial {
    session.tag() as Serial
}

impl Stage {
    fn new(scenario: Scenario) -> Self {
        let (clock, moments) = (ManualClock::new(), Arc::<Moments>::default());
        let heard = Arc::<Mutex<Vec<(u64, Event)>>>::default();
        let (log, watch) = (Arc::clone(&heard), Arc::clone(&moments));
        let cache = SessionCache::builder()
            .capacity(scenario.capacity)
            .shards(1)
            .clock(clock.clone())
            .tick(millis(10))
            .backlog(64 << 20)
            .maintenance(scenario.maintenance)
            .on_remove(move |session, cause| {
                let end = watch.tick();
                let event = Event {
                    begin: 0,
                    end,
                    since: 0,
                    until: watch.begun.load(Ordering::SeqCst),
                    op: Op::Gone(serial(session), cause),
                };
                log.lock().unwrap().push((number(session), event));
            })
            .build()
            .unwrap();
        Self {
            scenario,
            context: common::context(&cache, "histories"),
            cache,
            clock,
            moments,
            heard,
            keeper: Mutex::new(()),
            shelf: Default::default(),
        }
    }

    fn advance(&self, by: Duration) {
        let time = self.clock.now() + by;
        self.moments.begun.store(time.as_millis(), Ordering::SeqCst);
        self.clock.set(time);
        assert_eq!(self.cache.now(), time);
        self.moments
            .reached
            .store(time.as_millis(), Ordering::SeqCst);
    }

    /// Moves the clock on and maintains, unless another thread does.
    fn keep(&self) {
        let Ok(_keeper) = self.keeper.try_lock() else {
            return;
        };
        if self.scenario.expiry {
            self.advance(millis(1));
        }
        if self.scenario.maintenance == Maintenance::Manual {
            self.cache.run_maintenance();
        }
    }

    /// Keeps for as long as others work, at every so many ticks.
    fn keep_on(&self, stop: &AtomicBool) {
        let mut next = 0;
        while !stop.load(Ordering::SeqCst) {
            let now = self.moments.ticks.load(Ordering::SeqCst);
            if now < next {
                std::thread::yield_now();
                continue;
            }
            self.keep();
            next = now + 50;
        }
    }
}

/// One thread's part.
struct Worker<'a> {
    stage: &'a Stage,
    number: usize,
    random: Random,
    next: Serial,
    lanes: Vec<Vec<Event>>,
}

impl<'a> Worker<'a> {
    fn new(stage: &'a Stage, number: usize, seed: u64) -> Self {
        Self {
            stage,
            number,
            random: Random::new(seed + number as u64),
            next: (number * OPS) as Serial,
            lanes: vec![Vec::with_capacity(OPS); stage.scenario.ids as usize],
        }
    }

    fn session(&mut self, n: u64) -> Session {
        self.next += 1;
        let timeout = match self.random.below(32) {
            _ if !self.stage.scenario.expiry => secs(3600),
            0 => millis(0),
            _ => millis(1 + self.random.below(4)),
        };
        Session::builder(&self.stage.context, id(n))
            .tag(u64::from(self.next))
            .timeout(timeout)
            .build(b"")
            .unwrap()
    }

    fn add(&self, session: Session) -> Event {
        let (number, kept) = (serial(&session), session.clone());
        let added = |replaced| Op::Added {
            session: number,
            replaced,
            deadline: kept.deadline().as_millis(),
        };
        let timeout = session.timeout().expect("all have one").as_millis() as u64;
        let Stage { moments, cache, .. } = self.stage;
        let event = moments.around(|| match cache.add(session) {
            Added::Inserted => added(false),
            Added::Replaced => added(true),
            Added::AlreadyPresent => Op::Present(number),
            Added::Removed => Op::Over(number),
            Added::NotCached(NotCached::Raced) => Op::Raced(number),
            Added::NotCached(NotCached::Full) => Op::Full(number),
            Added::NotCached(NotCached::Expired) if timeout == 0 => Op::Unfit(number),
            other => panic!("{other:?}"),
        });
        if let Op::Added { deadline, .. } = event.op {
            let right = event.since + timeout..=event.until + timeout;
            assert!(right.contains(&deadline), "{event:?} for {timeout} ms");
        }
        event
    }

    /// A place on the shelf.
    fn shelf(&mut self) -> MutexGuard<'a, Option<Session>> {
        let place = self.random.below(SHELF as u64) as usize;
        self.stage.shelf[place].lock().unwrap()
    }

    fn step(&mut self) {
        let Stage {
            scenario,
            cache,
            context,
            moments,
            ..
        } = self.stage;
        let n = self.random.below(scenario.ids);
        let kind = self.random.below(16);
        // There may be no processor left for a thread that does nothing else.
        if self.random.below(32) == 0 {
            self.stage.keep();
        }
        // Some operations are about a handle; if there is none, they do without.
        let held = (kind >= 12).then(|| self.shelf().clone()).flatten();
        let (n, event) = match (kind, held) {
            (0..5, _) => {
                let owned = self.number as u64 % scenario.ids;
                let n = if scenario.one_adder { owned } else { n };
                let session = self.session(n);
                *self.shelf() = Some(session.clone());
                (n, self.add(session))
            }
            (12, Some(session)) => (number(&session), {
                let taken = || Op::TakenExact(serial(&session), cache.take_exact(&session));
                moments.around(taken)
            }),
            (13, Some(session)) => (number(&session), {
                let removed = || Op::RemovedExact(serial(&session), cache.remove_exact(&session));
                moments.around(removed)
            }),
            (14, Some(session)) => (number(&session), self.add(session)),
            (5..7, _) => (n, {
                let found = || Op::Found(cache.with(context, &id(n), serial));
                moments.around(found)
            }),
            (7..9, _) => (n, {
                let taken = || Op::Taken(cache.take(context, &id(n)).as_ref().map(serial));
                moments.around(taken)
            }),
            (9, _) => (
                n,
                moments.around(|| Op::Removed(cache.remove(context, &id(n)))),
            ),
            _ => (n, {
                let found = || Op::Found(cache.get(context, &id(n)).as_ref().map(serial));
                moments.around(found)
            }),
        };
        self.lanes[n as usize].push(event);
    }
}

/// Lets all threads go at the same moment, as a barrier that wakes sleepers one by one does not.
fn start_together(here: &AtomicUsize) {
    here.fetch_add(1, Ordering::SeqCst);
    let mut spins = 0;
    while here.load(Ordering::SeqCst) < THREADS {
        spins += 1;
        if spins % 1000 == 0 {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
    }
}

/// Records one history of each id, and the cache's own books. At their end everything has settled: what has left was told.
pub(crate) fn record(scenario: Scenario, seed: u64) -> (Vec<History>, Stats) {
    let stage = Stage::new(scenario);
    let (here, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |number| {
        let mut worker = Worker::new(&stage, number, seed);
        start_together(&here);
        (0..OPS).for_each(|_| worker.step());
        worker.lanes
    };
    let of_threads: Vec<Vec<Vec<Event>>> = std::thread::scope(|scope| {
        let (work, stop, stage) = (&work, &stop, &stage);
        let keeper = scope.spawn(move || stage.keep_on(stop));
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || work(n))).collect();
        let lanes = threads.into_iter().map(|t| t.join().unwrap()).collect();
        stop.store(true, Ordering::SeqCst);
        keeper.join().unwrap();
        lanes
    });
    let mut histories = vec![History::default(); scenario.ids as usize];
    for lanes in of_threads {
        for (history, lane) in histories.iter_mut().zip(lanes) {
            history.lanes.push(lane);
        }
    }
    if scenario.expiry {
        stage.advance(secs(3600));
    }
    stage.cache.settle();
    for (n, history) in (0..).zip(&mut histories) {
        let last = || match stage.cache.get(&stage.context, &id(n)) {
            None if stage.cache.is_empty() => Op::Empty,
            found => Op::Found(found.as_ref().map(serial)),
        };
        history.lanes.push(vec![stage.moments.around(last)]);
    }
    assert!(!scenario.expiry || stage.cache.is_empty());
    for (n, event) in stage.heard.lock().unwrap().drain(..) {
        histories[n as usize].callbacks.push(event);
    }
    (histories, stage.cache.stats())
}
