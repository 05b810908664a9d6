//! The two checkers behind one face.

/// What decides how far a model can be explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// The threads that race, and so the roles of the main one.
    pub(crate) threads: usize,
    /// By how many preemptions it has to do with less.
    #[cfg_attr(refrain_shuttle, allow(dead_code, reason = "only loom bounds them"))]
    pub(crate) less: usize,
    /// Whether the depth-first search has a chance. It is not fair, so it must not be given threads that wait.
    #[cfg_attr(refrain_loom, allow(dead_code, reason = "loom has no such search"))]
    pub(crate) searched: bool,
}

/// How an exploration came about, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effort {
    /// Executions of the depth-first search, and whether these were all that there are.
    #[cfg_attr(refrain_loom, allow(dead_code, reason = "loom has no such search"))]
    pub(crate) depth_first: Option<(usize, bool)>,
}

#[cfg(refrain_loom)]
mod imp {
    use super::{Effort, Size};

    pub use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::thread::spawn;
    pub use loom::thread::yield_now;

    /// What the report says of how the executions came about.
    pub(crate) fn tell(size: Size, _: &[Effort]) -> String {
        format!("loom, {} preemptions", bound(size))
    }

    fn bound(size: Size) -> usize {
        let bound = super::number("LOOM_MAX_PREEMPTIONS", 3);
        bound.saturating_sub(size.less).max(1)
    }

    pub(crate) fn explore(size: Size, body: impl Fn() + Send + Sync + 'static) -> Effort {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(bound(size));
        builder.max_branches = 20_000;
        // Either of these would end the search early and call that a pass.
        builder.max_duration = None;
        builder.max_permutations = None;
        // And this would begin it where another one was left.
        builder.checkpoint_file = None;
        builder.check(body);
        Effort::default()
    }
}

#[cfg(refrain_shuttle)]
mod imp {
    pub use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use shuttle::thread::spawn;
    pub use shuttle::thread::yield_now;

    use std::sync::Arc;

    use super::{Effort, Size};

    use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, FailurePersistence, Runner};

    fn iterations() -> usize {
        super::number("REFRAIN_SHUTTLE_ITERATIONS", 20_000)
    }

    /// What the report says of how the executions came about.
    pub(crate) fn tell(_: Size, efforts: &[Effort]) -> String {
        let searches: Option<Vec<_>> = efforts.iter().map(|effort| effort.depth_first).collect();
        let Some(searches) = searches else {
            return "shuttle, random, PCT 3".to_owned();
        };
        let executions: usize = searches.iter().map(|(executions, _)| executions).sum();
        let all = searches.iter().all(|(_, all)| *all);
        let which = if all { "all" } else { "first" };
        format!("shuttle, random, PCT 3, depth first, {which} {executions}")
    }

    pub(crate) fn explore(size: Size, body: impl Fn() + Send + Sync + 'static) -> Effort {
        let body = Arc::new(body);
        // Split over the orders of roles, of which there are as many as threads.
        let each = iterations().div_ceil(size.threads);
        run(RandomScheduler::new(each), &body);
        run(PctScheduler::new(3, each), &body);
        let search = || run(DfsScheduler::new(Some(each), false), &body);
        Effort {
            // One that ends at the bound may have ended there anyway; then it is taken for cut short.
            depth_first: size
                .searched
                .then(search)
                .map(|executions| (executions, executions < each)),
        }
    }

    /// Returns how many executions there were.
    fn run(
        scheduler: impl Scheduler + 'static,
        body: &Arc<impl Fn() + Send + Sync + 'static>,
    ) -> usize {
        let mut config = Config::new();
        config.failure_persistence = FailurePersistence::Print;
        let body = Arc::clone(body);
        Runner::new(scheduler, config).run(move || body())
    }
}

pub(crate) use imp::{explore, spawn, tell};

/// A step of the calling thread that no other depends on.
///
/// What a thread does before its first step counts for loom as done by who spawned it, and so as known to everybody: it
/// would not miss the ordering that makes a session known which is built there.
pub(crate) fn step() {
    imp::AtomicBool::new(false).load(imp::Ordering::Relaxed);
}

/// The checker's own primitives, for models of something smaller than the engine, and to force an interleaving.
pub mod sync {
    use std::sync::Arc;

    pub use super::imp::{AtomicBool, Ordering, yield_now};

    /// Says that it is gone. A cache whose callback has it is then gone as well, with its threads' last looks at it.
    #[derive(Debug)]
    pub struct Gone(Arc<AtomicBool>);

    impl Gone {
        /// Sets this flag when it is dropped.
        pub fn new(flag: &Arc<AtomicBool>) -> Self {
            Self(Arc::clone(flag))
        }
    }

    impl Drop for Gone {
        fn drop(&mut self) {
            // ORDERING: Release; partner: the Acquire in `learn_of`.
            self.0.store(true, Ordering::Release);
        }
    }

    /// Waits until a flag is set, and then knows what who set it knew.
    pub fn learn_of(flag: &AtomicBool) {
        // ORDERING: Acquire; partner: a Release store to the flag.
        while !flag.load(Ordering::Acquire) {
            yield_now();
        }
    }

    /// Waits until a flag is set, without learning anything from who sets it.
    pub fn wait_for(flag: &AtomicBool) {
        // ORDERING: Relaxed, so that the flag orders nothing.
        while !flag.load(Ordering::Relaxed) {
            yield_now();
        }
    }
}

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {value}")),
        Err(_) => default,
    }
}
