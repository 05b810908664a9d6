//! Histories of operations that shuttle's randomness has drawn, under its schedules: an order explains each of them. The
//! checker is that of `tests/linearizability`, whose histories are those of real threads.
//!
//! Time is the order of the schedule. Under loom there is none: what a thread reads there may be older than what another
//! has done before it, if nothing tells it of that.
#![cfg(refrain_shuttle)]

#[allow(dead_code, reason = "what the other crate needs of it")]
#[path = "../../tests/linearizability/checker.rs"]
mod checker;
#[allow(dead_code, reason = "as above")]
#[path = "../../tests/linearizability/history.rs"]
mod history;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use checker::explain;
use history::{Event, History, Op, Serial, lonely_race};
use loom_tests::{Run, close, three};
use refrain::internal::{Rig, Setup};
use refrain::{Added, NotCached, RemovalCause, Session, Time};
use shuttle::rand::{Rng, thread_rng};

const THREADS: usize = 3;
const OPS: usize = 4;

/// What the histories of a model are about.
#[derive(Clone, Copy)]
struct Scenario {
    capacity: u64,
    /// Ids, from zero on, which collide in everything.
    ids: u8,
    /// Only the first thread adds.
    one_adder: bool,
    /// Sessions live for a tick of the clock, or two, and threads move it.
    expiry: bool,
}

/// The engine, and what has been noted of it. Kept by std's primitives, which shuttle does not see: they never wait, as no
/// lock is held at a step that shuttle knows.
struct Stage {
    scenario: Scenario,
    rig: Arc<Rig>,
    ticks: AtomicU64,
    heard: Mutex<Vec<(u8, Event)>>,
    /// Handles of sessions that are just being added, or were.
    shelf: Mutex<Vec<Session>>,
}

fn serial(session: &Session) -> Serial {
    session.payload()[0].into()
}

impl Stage {
    fn new(scenario: Scenario) -> Arc<Self> {
        let rig = Rig::new(Setup {
            capacity: scenario.capacity,
            buckets: 3,
            ..Setup::default()
        });
        Arc::new(Self {
            scenario,
            rig,
            ticks: AtomicU64::new(1),
            heard: Mutex::default(),
            shelf: Mutex::default(),
        })
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::Relaxed)
    }

    fn time(&self) -> u64 {
        self.rig.coarse().as_millis()
    }

    fn around(&self, f: impl FnOnce() -> Op) -> Event {
        let (since, begin) = (self.time(), self.tick());
        let op = f();
        let (end, until) = (self.tick(), self.time());
        Event {
            begin,
            end,
            since,
            until,
            op,
        }
    }

    fn add(&self, session: Session, timeout: Duration) -> Op {
        let (number, kept) = (serial(&session), session.clone());
        let added = |replaced| Op::Added {
            session: number,
            replaced,
            deadline: kept.deadline().as_millis(),
        };
        match self.rig.add_for(session, timeout) {
            Added::Inserted => added(false),
            Added::Replaced => added(true),
            Added::AlreadyPresent => Op::Present(number),
            Added::Removed => Op::Over(number),
            Added::NotCached(NotCached::Raced) => Op::Raced(number),
            // There are few slots for that many claims at once.
            Added::NotCached(NotCached::Full | NotCached::Crowded) => Op::Full(number),
            other => panic!("{other:?}"),
        }
    }

    /// Moves the clock, expires what is due, calls callbacks.
    fn keep(&self) {
        if self.scenario.expiry {
            let second = self.rig.clock.now().as_millis() / 1000;
            self.rig.clock.set(Time::from_millis(1000 * (second + 1)));
            self.rig.expire();
        }
        self.see_out();
    }

    fn see_out(&self) {
        self.rig.see_out_to(|session, cause| {
            let end = self.tick();
            let event = Event {
                begin: 0,
                end,
                since: 0,
                until: self.time(),
                op: Op::Gone(serial(session), cause),
            };
            self.heard.lock().unwrap().push((session.id()[0], event));
        });
    }

    /// One thread's operations, with their ids.
    fn play(&self, thread: usize) -> Vec<(u8, Event)> {
        let mut dice = thread_rng();
        let mut events = Vec::new();
        for i in 0..OPS {
            let (rig, n) = (&self.rig, dice.gen_range(0..self.scenario.ids));
            let mut note = |n, f: &dyn Fn() -> Op| events.push((n, self.around(f)));
            let kind = dice.gen_range(0..16);
            if kind >= 14 {
                self.keep();
                continue;
            }
            if kind < 5 && (thread == 0 || !self.scenario.one_adder) {
                let session = rig.session(n, (thread * OPS + i) as u8);
                let kept = session.clone();
                self.shelf.lock().unwrap().push(kept);
                let timeout = Duration::from_secs(dice.gen_range(1..3));
                let event = self.around(|| self.add(session, timeout));
                events.push((n, event));
                continue;
            }
            match kind {
                0..7 => note(n, &|| Op::Found(rig.with(n).map(Serial::from))),
                7..9 => note(n, &|| Op::Taken(rig.take(n).as_ref().map(serial))),
                9 => note(n, &|| Op::Removed(rig.remove(n))),
                10 => note(n, &|| Op::Found(rig.get(n).as_ref().map(serial))),
                _ => {
                    // Nobody else gets this handle as long as it is used here.
                    let held = self.shelf.lock().unwrap().pop();
                    let Some(session) = held else { continue };
                    let (of, n) = (serial(&session), session.id()[0]);
                    let hour = Duration::from_secs(3600);
                    match kind {
                        11 => note(n, &|| Op::TakenExact(of, rig.take_exact(&session))),
                        12 => note(n, &|| Op::RemovedExact(of, rig.remove_exact(&session))),
                        _ => note(n, &|| self.add(session.clone(), hour)),
                    }
                    self.shelf.lock().unwrap().insert(0, session);
                }
            }
        }
        events
    }

    /// What is left, when everything has settled.
    fn last(&self, n: u8) -> Event {
        self.around(|| match self.rig.get(n) {
            None if self.rig.entries() == 0 => Op::Empty,
            found => Op::Found(found.as_ref().map(serial)),
        })
    }
}

/// Sums over all histories of a model.
#[derive(Default)]
struct Sums {
    histories: AtomicU64,
    operations: AtomicU64,
    overlaps: AtomicU64,
}

impl Sums {
    const fn new() -> Self {
        Self {
            histories: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            overlaps: AtomicU64::new(0),
        }
    }

    fn add(&self, histories: &[History]) {
        for history in histories {
            let add = |to: &AtomicU64, n| to.fetch_add(n as u64, Ordering::Relaxed);
            add(&self.operations, history.operations());
            add(&self.overlaps, history.overlaps());
        }
        self.histories.fetch_add(1, Ordering::Relaxed);
    }

    fn print(&self, name: &str) {
        let get = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (histories, operations) = (get(&self.histories), get(&self.operations));
        let overlaps = get(&self.overlaps);
        println!(
            "{name}: every one of {histories} histories explained: {operations} operations, {overlaps} overlaps"
        );
        assert!(overlaps * 5 > operations, "operations did not meet");
    }
}

/// The outcomes of every model, and more.
macro_rules! outcomes {
    ($($more:literal),*) => {
        &[
            "inserted",
            "replaced",
            "already present",
            "added too late",
            "found",
            "not found",
            "took",
            "nothing to take",
            "removes",
            "took by handle",
            "removes by handle",
            "not by handle",
            "taken",
            "removed",
            "nothing to remove",
            "empty",
            $($more,)*
        ]
    };
}

fn check(run: &Run, sums: &Sums, scenario: Scenario) {
    let stage = Stage::new(scenario);
    let (a, b, c) = run.race3(&stage, |s| s.play(0), |s| s.play(1), |s| s.play(2));
    if scenario.expiry {
        stage.rig.clock.set(Time::from_millis(1 << 30));
        stage.rig.expire();
    }
    stage.see_out();
    let mut histories = vec![History::default(); scenario.ids.into()];
    for (n, history) in (0..).zip(&mut histories) {
        history.lanes = vec![Vec::new(); THREADS + 1];
        history.lanes[THREADS].push(stage.last(n));
    }
    for (lane, events) in [a, b, c].into_iter().enumerate() {
        for (n, event) in events {
            histories[usize::from(n)].lanes[lane].push(event);
        }
    }
    let stage = Arc::into_inner(stage).expect("all threads have ended");
    for (n, event) in stage.heard.into_inner().unwrap() {
        histories[usize::from(n)].callbacks.push(event);
    }
    for history in &histories {
        if let Err(stuck) = explain(history) {
            panic!("{stuck:#?}\n{history:#?}");
        }
        for event in history.lanes.iter().flatten().chain(&history.callbacks) {
            run.reached(event.op.outcome());
        }
        let gone = |cause| {
            let told = |event: &Event| matches!(event.op, Op::Gone(_, c) if c == cause);
            history.callbacks.iter().any(told)
        };
        let full = scenario.capacity < scenario.ids.into();
        assert!(full || !gone(RemovalCause::Evicted));
        assert!(scenario.expiry || !gone(RemovalCause::Expired));
    }
    let lonely = lonely_race(&histories);
    assert!(lonely.is_none(), "{lonely:?}\n{histories:#?}");
    sums.add(&histories);
    drop(stage.shelf);
    close(stage.rig);
}

/// Room for all, one thread that adds, the others look, take and remove.
///
/// Threads: three with four operations each. Protects: the whole of `Engine`'s lookup and leave.
#[test]
fn histories_of_one_adder() {
    static SUMS: Sums = Sums::new();
    three("histories_of_one_adder", outcomes!["raced?"], |run| {
        let scenario = Scenario {
            capacity: 8,
            ids: 2,
            one_adder: true,
            expiry: false,
        };
        check(run, &SUMS, scenario);
    });
    SUMS.print("histories_of_one_adder");
}

/// All threads add the same id.
///
/// Threads: three with four operations each. Protects: `Engine::add` against itself and everything else.
#[test]
fn histories_of_replacement() {
    static SUMS: Sums = Sums::new();
    three("histories_of_replacement", outcomes!["raced"], |run| {
        let scenario = Scenario {
            capacity: 8,
            ids: 1,
            one_adder: false,
            expiry: false,
        };
        check(run, &SUMS, scenario);
    });
    SUMS.print("histories_of_replacement");
}

/// Sessions live for a second or two, and threads move the clock, turn the wheel and call callbacks.
///
/// Threads: three with four operations each. Protects: the wheel, and the deadlines in every operation.
#[test]
fn histories_of_expiry() {
    static SUMS: Sums = Sums::new();
    three(
        "histories_of_expiry",
        outcomes!["expired", "raced?", "no timeout?"],
        |run| {
            let scenario = Scenario {
                capacity: 8,
                ids: 2,
                one_adder: false,
                expiry: true,
            };
            check(run, &SUMS, scenario);
        },
    );
    SUMS.print("histories_of_expiry");
}

/// Two ids and room for one session.
///
/// Threads: three with four operations each. Protects: eviction against everything else.
#[test]
fn histories_of_eviction() {
    static SUMS: Sums = Sums::new();
    three(
        "histories_of_eviction",
        outcomes!["evicted", "raced?", "full?"],
        |run| {
            let scenario = Scenario {
                capacity: 1,
                ids: 2,
                one_adder: false,
                expiry: false,
            };
            check(run, &SUMS, scenario);
        },
    );
    SUMS.print("histories_of_eviction");
}
