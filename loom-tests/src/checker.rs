//! The two checkers behind one face.

/// What decides how far a model can be explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) threads: usize,
    /// Whether there are so many steps that one preemption less has to do.
    pub(crate) long: bool,
}

impl Size {
    pub(crate) fn two() -> Self {
        Self {
            threads: 2,
            long: false,
        }
    }

    /// Whether the depth-first search has a chance. It is not fair, so it must not be given threads that wait.
    #[cfg(refrain_shuttle)]
    fn is_searched(self) -> bool {
        self.threads == 2 && !self.long
    }
}

#[cfg(refrain_loom)]
mod imp {
    use super::Size;

    pub use loom::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use loom::thread::spawn;
    pub use loom::thread::yield_now;

    /// How the executions of a model came about, for the report.
    pub(crate) fn effort(size: Size) -> String {
        format!("loom, {} preemptions", bound(size))
    }

    fn bound(size: Size) -> usize {
        let bound = super::number("LOOM_MAX_PREEMPTIONS", 3);
        bound.saturating_sub(usize::from(size.long)).max(1)
    }

    pub(crate) fn explore(size: Size, body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(bound(size));
        builder.max_branches = 20_000;
        // Either of these would end the search early and call that a pass.
        builder.max_duration = None;
        builder.max_permutations = None;
        builder.check(body);
    }
}

#[cfg(refrain_shuttle)]
mod imp {
    pub use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use shuttle::thread::spawn;
    pub use shuttle::thread::yield_now;

    use std::sync::Arc;

    use super::Size;

    use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
    use shuttle::{Config, FailurePersistence, Runner};

    fn iterations() -> usize {
        super::number("REFRAIN_SHUTTLE_ITERATIONS", 20_000)
    }

    /// How the executions of a model came about, for the report.
    pub(crate) fn effort(size: Size) -> String {
        let dfs = if size.is_searched() {
            ", depth first"
        } else {
            ""
        };
        format!("shuttle, random, PCT 3{dfs}")
    }

    pub(crate) fn explore(size: Size, body: impl Fn() + Send + Sync + 'static) {
        let body = Arc::new(body);
        // Split over the orders of roles, of which there are as many as threads.
        let each = iterations().div_ceil(size.threads);
        run(RandomScheduler::new(each), &body);
        run(PctScheduler::new(3, each), &body);
        if size.is_searched() {
            run(DfsScheduler::new(Some(each), false), &body);
        }
    }

    fn run(scheduler: impl Scheduler + 'static, body: &Arc<impl Fn() + Send + Sync + 'static>) {
        let mut config = Config::new();
        config.failure_persistence = FailurePersistence::Print;
        let body = Arc::clone(body);
        Runner::new(scheduler, config).run(move || body());
    }
}

pub(crate) use imp::{effort, explore, spawn};

/// A step of the calling thread that no other depends on.
///
/// What a thread does before its first step counts for loom as done by who spawned it, and so as known to everybody: it
/// would not miss the ordering that makes a session known which is built there.
pub(crate) fn step() {
    imp::AtomicBool::new(false).load(imp::Ordering::Relaxed);
}

/// The checker's own primitives, for models of something smaller than the engine, and to force an interleaving.
pub mod sync {
    pub use super::imp::{AtomicBool, Ordering, yield_now};

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
