//! A cache's beginning, its two threads, and its end.
//!
//! The maintainer runs no user code, so the listener can't hold it up; the listener runs nothing else. Neither ever
//! waits for itself, or for another cache's: when a remove callback drops the last handle of a cache, that cache's listener
//! sees everything out by itself.

use std::sync::Arc;
use std::time::Duration;

use crate::blocks;
use crate::callbacks::{Callbacks, RemoveSink};
use crate::config::{Builder, CacheMode, Maintenance};
use crate::engine::departures::Departures;
use crate::engine::maintain::Maintained;
use crate::engine::{Engine, Plan};
use crate::error::Error;
use crate::removal::RemovalCause;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Home, Mutex, is_own_thread, lock, mark_own_thread};

use super::SessionCache;

/// The maintainer's longest sleep, and so the bound on how stale the coarse clock of an idle cache is.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Its shortest, while something waits for readers or callbacks.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// Times that `settle` looks whether something has left meanwhile.
const ROUNDS: usize = 8;

/// What handles and threads share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) engine: Engine,
    pub(super) departures: Departures,
    pub(super) callbacks: Callbacks,
    /// In milliseconds.
    pub(super) timeout: AtomicU64,
    pub(super) mode: AtomicU32,
    pub(super) max_capacity: usize,
    pub(super) maintenance: Maintenance,
    sleep: Duration,
    stop: AtomicBool,
    /// The last handle was dropped on a thread of a cache's own: the listener sees everything out.
    orphaned: AtomicBool,
    threads: Mutex<Threads>,
    /// Where the threads are.
    home: Home,
    #[cfg(feature = "external")]
    pub(super) tier: Option<Arc<crate::store::tier::Tier>>,
}

#[derive(Debug, Default)]
struct Threads {
    maintainer: Option<JoinHandle<()>>,
    listener: Option<JoinHandle<()>>,
    /// The shared tier's.
    #[cfg(feature = "external")]
    worker: Option<JoinHandle<()>>,
}

/// The handles' common possession: dropped with the last of them.
#[derive(Debug)]
pub(super) struct Owner(Arc<Core>);

impl SessionCache {
    pub(crate) fn start(
        #[cfg_attr(not(feature = "external"), allow(unused_mut))] mut builder: Builder,
        plan: Plan,
    ) -> Result<Self, Error> {
        let core = Arc::new(Core {
            #[cfg(feature = "external")]
            tier: super::external::tier_of(&mut builder)?,
            max_capacity: plan.max_capacity,
            engine: Engine::new(plan)?,
            departures: Departures::new(),
            callbacks: builder.callbacks,
            timeout: AtomicU64::new(super::settings::millis(builder.timeout)),
            mode: AtomicU32::new(builder.mode.bits()),
            maintenance: builder.maintenance,
            sleep: (builder.tick / 4).clamp(SHORTEST_SLEEP, LONGEST_SLEEP),
            stop: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            threads: Mutex::new(Threads::default()),
            home: Home::here(),
        });
        // From here on, an error drops the owner, which stops what has been started.
        let owner = Owner(Arc::clone(&core));
        if builder.maintenance == Maintenance::Threads {
            let mut threads = lock(&core.threads);
            threads.maintainer = Some(spawn("refrain-maint", &core, Core::maintain_forever)?);
            threads.listener = Some(spawn("refrain-listen", &core, Core::listen_forever)?);
        }
        // Whoever maintains: what talks to a network is nobody else's work.
        #[cfg(feature = "external")]
        if let Some(tier) = &core.tier {
            let tier = Arc::clone(tier);
            let work = move |core: &Core| tier.work(core);
            lock(&core.threads).worker = Some(spawn("refrain-store", &core, work)?);
        }
        Ok(Self {
            core,
            _owner: Arc::new(owner),
        })
    }

    /// Does what the maintainer does, once and on the calling thread; with [`Maintenance::Manual`], also calls the remove
    /// callbacks that are due. Returns what it did, and whether there is more to do at once.
    ///
    /// Who maintains by hand calls it about every quarter of a tick: each call brings the clock up to date. A call from
    /// inside a remove callback calls no further callbacks. In the child of a fork, what the child inherited is maintained by
    /// hand, whatever it was built with.
    pub fn run_maintenance(&self) -> Maintained {
        let inherited = self.core.is_inherited();
        if inherited {
            self.core.departures.adopt();
        }
        let mut done = self.core.maintain();
        if inherited || self.core.maintenance == Maintenance::Manual {
            done.delivered = self.core.departures.deliver(&self.core.sink());
            done.reclaimed += self.core.engine.reclaim(&self.core.departures);
        }
        done
    }

    /// Does the maintenance that is due, and waits until everything that has left by now was seen out: its callback has
    /// returned, and its memory is wiped unless a handle is left. For tests and for an orderly end.
    ///
    /// Blocks as long as a callback does, or a closure in [`with`](Self::with) of any cache; returns at once inside a remove
    /// callback of this cache, and must not be called inside `with`. In the child of a fork it does what is due for what the
    /// child inherited, and waits for nobody.
    pub fn settle(&self) {
        let departures = &self.core.departures;
        if departures.is_delivering_here() {
            return;
        }
        if self.core.is_inherited() {
            self.settle_inherited();
            return;
        }
        let mut seen = None;
        for _ in 0..ROUNDS {
            while self.run_maintenance().more {}
            let news = departures.next_number();
            if seen == Some(news) {
                return;
            }
            while !departures.is_gone_before(news) {
                thread::sleep(SHORTEST_SLEEP);
                self.run_maintenance();
            }
            // The maintainer may have been at work at the same time: what it ended is seen out as well, unless others go
            // on and on.
            seen = Some(news);
        }
    }

    /// In a forked child there may be nobody who ends what would be waited for. One run collects what has left, and if no
    /// reader is inside, the next one lets it go.
    fn settle_inherited(&self) {
        for _ in 0..3 {
            loop {
                let done = self.run_maintenance();
                if !done.more || done.expired + done.swept == 0 {
                    break;
                }
            }
        }
    }
}

impl Core {
    #[cfg(not(feature = "external"))]
    pub(super) fn sink(&self) -> RemoveSink<'_> {
        self.callback()
    }

    #[cfg(feature = "external")]
    pub(super) fn sink(&self) -> super::external::Listeners<'_> {
        super::external::Listeners {
            callback: self.callback(),
            core: self,
        }
    }

    fn callback(&self) -> RemoveSink<'_> {
        RemoveSink {
            callbacks: &self.callbacks,
            cells: &self.engine.cells,
        }
    }

    /// Whether this is a forked child's copy, without the threads.
    fn is_inherited(&self) -> bool {
        !self.home.is_here()
    }

    fn maintain(&self) -> Maintained {
        let expire = !self.mode().contains(CacheMode::NO_AUTO_CLEAR);
        self.engine.maintain(&self.departures, &self.sink(), expire)
    }

    fn is_stopped(&self) -> bool {
        // ORDERING: Acquire; partner: the Release store in `Owner::drop`.
        self.stop.load(Ordering::Acquire)
    }

    fn maintain_forever(&self) {
        self.engine.set_maintainer(thread::current());
        let mut sleep = self.sleep;
        let mut was_idle = true;
        while !self.is_stopped() {
            let done = self.maintain();
            if done.more {
                thread::yield_now();
                continue;
            }
            // What waits for a reader or a callback is looked at soon, and then less and less often.
            let idle = self.departures.is_idle();
            sleep = if idle {
                self.sleep
            } else if was_idle || done.reclaimed > 0 {
                SHORTEST_SLEEP
            } else {
                (sleep * 2).clamp(SHORTEST_SLEEP, self.sleep)
            };
            was_idle = idle;
            thread::park_timeout(sleep);
        }
    }

    fn listen_forever(&self) {
        while !self.is_stopped() {
            self.departures.wait(|| self.is_stopped());
            self.departures.deliver(&self.sink());
            // Else it comes by itself soon enough: each of its rounds costs all threads a fence.
            if self.engine.is_crowded() {
                self.engine.wake_maintainer();
            }
        }
        // ORDERING: Acquire; partner: the Release store in `Owner::drop`. It comes before the store to `stop` there.
        if self.orphaned.load(Ordering::Acquire) {
            self.finish();
        }
    }

    /// Removes and sees out everything. The caller is the last user, but for the maintainer, which it waits for.
    fn finish(&self) {
        let maintainer = lock(&self.threads).maintainer.take();
        if let Some(maintainer) = maintainer {
            let _ = maintainer.join();
        }
        self.engine.sweep(RemovalCause::Dropped, |_| true);
        self.engine.see_off(&self.departures, &self.sink());
        debug_assert!(self.engine.is_pristine(), "everything was swept");
        #[cfg(feature = "external")]
        self.finish_worker();
        blocks::relinquish();
    }

    /// Ends the shared tier's worker behind everybody who has work for it. It may take its time to write, within the bound;
    /// it never waits for itself.
    #[cfg(feature = "external")]
    fn finish_worker(&self) {
        let worker = lock(&self.threads).worker.take();
        if let Some(tier) = &self.tier {
            tier.stop();
        }
        if let Some(worker) = worker.filter(|w| w.thread().id() != std::thread::current().id()) {
            let _ = worker.join();
        }
    }

    /// The end of a forked child's copy: nobody is waited for, and nobody told, because the parent's sessions live on.
    fn abandon(&self) {
        self.engine.sweep(RemovalCause::Dropped, |_| true);
        self.engine.abandon(&self.departures);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let core = &self.0;
        if core.is_inherited() {
            core.abandon();
            return;
        }
        // A cache's own thread waits for no other: two callbacks could each drop the other's cache.
        let orphaned = is_own_thread() && core.maintenance == Maintenance::Threads;
        let listener = lock(&core.threads).listener.take();
        // ORDERING: Release, both; partners: the Acquire loads by the threads.
        core.orphaned.store(orphaned, Ordering::Release);
        core.stop.store(true, Ordering::Release);
        core.departures.wake_listener();
        core.engine.wake_maintainer();
        if orphaned {
            // The listener ends by itself, and everything with it.
            return;
        }
        if let Some(listener) = listener {
            let _ = listener.join();
        }
        core.finish();
    }
}

fn spawn(
    name: &str,
    core: &Arc<Core>,
    run: impl FnOnce(&Core) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let core = Arc::clone(core);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            mark_own_thread();
            run(&core);
        })
        .map_err(|error| Error::Thread { kind: error.kind() })
}
