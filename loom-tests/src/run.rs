//! How a model is run: role by role, counting what it reaches.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Instant;

use refrain::RemovalCause;
use refrain::internal::{Rig, forget_live_sessions, live_sessions, pins_order_more};

use crate::checker::{self, Size};

/// Outcomes and how often each was reached. Kept by std's primitives, which the checkers do not see.
#[derive(Debug, Default)]
struct Tally {
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    executions: AtomicU64,
}

/// One execution of a model.
#[derive(Debug)]
pub struct Run {
    /// Which of the racing threads is the main one.
    main: usize,
    name: &'static str,
    outcomes: &'static [&'static str],
    tally: Arc<Tally>,
}

impl Run {
    /// Notes that this execution reached an outcome, which must be one of the model's.
    pub fn reached(&self, outcome: &'static str) {
        let named = self.outcomes.iter().any(|named| plain(named) == outcome);
        assert!(named, "{}: {outcome:?} is none of its outcomes", self.name);
        let mut outcomes = self.tally.outcomes.lock().unwrap();
        *outcomes.entry(outcome).or_insert(0) += 1;
    }

    /// Lets two threads loose on `stage`, one of them the main thread, and returns what they return.
    pub fn race<T, A, B>(
        &self,
        stage: &Arc<T>,
        a: impl FnOnce(&T) -> A + Send + 'static,
        b: impl FnOnce(&T) -> B + Send + 'static,
    ) -> (A, B)
    where
        T: Send + Sync + 'static,
        A: Send + 'static,
        B: Send + 'static,
    {
        let (mut a, mut b) = (Role::new(stage, a), Role::new(stage, b));
        match self.main {
            0 => {
                b.start();
                (a.play(), b.result())
            }
            _ => {
                a.start();
                let b = b.play();
                (a.result(), b)
            }
        }
    }

    /// Lets three threads loose on `stage`, one of them the main thread, and returns what they return.
    pub fn race3<T, A, B, C>(
        &self,
        stage: &Arc<T>,
        a: impl FnOnce(&T) -> A + Send + 'static,
        b: impl FnOnce(&T) -> B + Send + 'static,
        c: impl FnOnce(&T) -> C + Send + 'static,
    ) -> (A, B, C)
    where
        T: Send + Sync + 'static,
        A: Send + 'static,
        B: Send + 'static,
        C: Send + 'static,
    {
        let (mut a, mut b, mut c) = (
            Role::new(stage, a),
            Role::new(stage, b),
            Role::new(stage, c),
        );
        match self.main {
            0 => {
                b.start();
                c.start();
                (a.play(), b.result(), c.result())
            }
            1 => {
                a.start();
                c.start();
                let b = b.play();
                (a.result(), b, c.result())
            }
            _ => {
                a.start();
                b.start();
                let c = c.play();
                (a.result(), b.result(), c)
            }
        }
    }
}

/// What one thread of a race does, and the thread once it has started.
struct Role<R> {
    script: Option<Box<dyn FnOnce() -> R + Send>>,
    thread: Option<Box<dyn FnOnce() -> R>>,
}

impl<R: Send + 'static> Role<R> {
    fn new<T: Send + Sync + 'static>(
        stage: &Arc<T>,
        script: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Self {
        let stage = Arc::clone(stage);
        Self {
            script: Some(Box::new(move || {
                checker::step();
                script(&stage)
            })),
            thread: None,
        }
    }

    fn start(&mut self) {
        let thread = checker::spawn(self.script.take().expect("a role is played once"));
        self.thread = Some(Box::new(move || thread.join().expect("a thread panicked")));
    }

    fn play(mut self) -> R {
        self.script.take().expect("a role is played once")()
    }

    fn result(self) -> R {
        self.thread.expect("the thread was started")()
    }
}

/// An outcome without its question mark.
fn plain(outcome: &'static str) -> &'static str {
    outcome.strip_suffix('?').unwrap_or(outcome)
}

/// Runs a model of two threads, once with each of them as the main one.
///
/// All `outcomes` have to be reached, but for those with a question mark behind them: these can be reached, and are seldom,
/// or under one of the checkers only.
pub fn two(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 2,
        less: 0,
        searched: true,
    };
    model(name, size, outcomes, body);
}

/// The same for a model whose threads take many steps or wait for each other: with one preemption less.
pub fn two_long(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 2,
        less: 1,
        searched: false,
    };
    model(name, size, outcomes, body);
}

/// The same for two threads that race with a cache's own: with two preemptions less.
pub fn two_and_a_cache(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 2,
        less: 2,
        searched: false,
    };
    model(name, size, outcomes, body);
}

/// The same where these have much to do: with a single one.
pub fn two_and_a_cache_long(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 2,
        less: usize::MAX,
        searched: false,
    };
    model(name, size, outcomes, body);
}

/// Runs a model whose threads are those of two caches, besides the main one: with a single preemption.
pub fn two_caches(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 1,
        less: usize::MAX,
        searched: false,
    };
    model(name, size, outcomes, body);
}

/// Runs a model of three threads, once with each of them as the main one.
pub fn three(name: &'static str, outcomes: &'static [&'static str], body: fn(&Run)) {
    let size = Size {
        threads: 3,
        less: 1,
        searched: false,
    };
    model(name, size, outcomes, body);
}

std::thread_local! {
    /// The model that runs on this thread, the main role, and its executions so far.
    static CURRENT: Cell<(&'static str, usize, u64)> = const { Cell::new(("", 0, 0)) };
}

/// A failing model tells how far it came. A hook, because a panic while another unwinds ends the process.
fn tell_of_failures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let (name, main, executions) = CURRENT.get();
            if executions != 0 {
                CURRENT.set(("", 0, 0));
                eprintln!("{name}: FAILED in execution {executions}, thread {main} as main");
            }
            usual(info);
        }));
    });
}

fn model(name: &'static str, size: Size, outcomes: &'static [&'static str], body: fn(&Run)) {
    tell_of_failures();
    // Of three threads, loom would have to go through ten times as many executions otherwise.
    pins_order_more(size.threads > 2);
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    let mut executions = 0;
    let mut efforts = Vec::new();
    for main in 0..size.threads {
        let shared = Arc::clone(&tally);
        efforts.push(checker::explore(size, move || {
            let n = shared.executions.fetch_add(1, Ordering::Relaxed) + 1;
            CURRENT.set((name, main, n));
            forget_live_sessions();
            body(&Run {
                main,
                name,
                outcomes,
                tally: Arc::clone(&shared),
            });
        }));
        let sum = tally.executions.load(Ordering::Relaxed);
        assert!(sum > executions, "{name}: no execution at all");
        executions = sum;
    }
    CURRENT.set(("", 0, 0));
    let reached = tally.outcomes.lock().unwrap();
    let list = reached
        .iter()
        .map(|(outcome, count)| format!("{outcome} {count}"))
        .collect::<Vec<_>>()
        .join(", ");
    println!(
        "{name}: {executions} executions ({}, {:.2} s); reached: {list}",
        checker::tell(size, &efforts),
        began.elapsed().as_secs_f64(),
    );
    let missed: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.ends_with('?') && !reached.contains_key(*outcome))
        .collect();
    assert!(missed.is_empty(), "{name} never reached: {missed:?}");
}

/// Ends an execution whose handles are all dropped: whatever is left in the cache goes, the books balance, every
/// session has been freed, once. Returns the events: first id byte, first payload byte, cause.
pub fn close(rig: Arc<Rig>) -> Vec<(u8, u8, RemovalCause)> {
    let events = rig.finish();
    assert_eq!(live_sessions(), 0, "sessions that were never freed");
    events
}
