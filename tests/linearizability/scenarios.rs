//! Histories of real threads, and what must have happened in them for the verdict to mean something.

use std::collections::BTreeMap;
use std::time::Instant;

use refrain::{Maintenance, RemovalCause};

use crate::checker::explain;
use crate::common::{self, secs};
use crate::history::{History, lonely_race};
use crate::record::{OPS, Scenario, THREADS, record};

/// Every how many-th operation must have had another beside it, at least.
const OVERLAP: usize = 500;

#[derive(Default)]
struct Tally {
    histories: u64,
    operations: usize,
    overlaps: usize,
    states: usize,
    outcomes: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn check(&mut self, histories: &[History]) {
        self.histories += 1;
        assert!(
            lonely_race(histories).is_none(),
            "{:?}",
            lonely_race(histories)
        );
        for history in histories {
            match explain(history) {
                Ok(states) => self.states += states,
                Err(stuck) => panic!("history {}: {stuck:#?}", self.histories),
            }
            self.operations += history.operations();
            self.overlaps += history.overlaps();
            for event in history.lanes.iter().flatten().chain(&history.callbacks) {
                *self.outcomes.entry(event.op.outcome()).or_default() += 1;
            }
        }
    }
}

/// Records and checks as many histories as are asked for, in which operations have met.
fn check(scenario: Scenario, must: &[&str]) {
    let rounds: u64 = match std::env::var("REFRAIN_HISTORIES") {
        Ok(number) => number.parse().expect("REFRAIN_HISTORIES is a number"),
        Err(_) => 8,
    };
    let _watchdog = common::watchdog_for(secs(60 + 10 * rounds));
    let begin = Instant::now();
    let mut tally = Tally::default();
    // Threads that came one after the other have shown nothing: as long as it takes.
    while tally.histories < rounds || tally.overlaps * OVERLAP < tally.operations {
        let (histories, stats) = record(scenario, 100 * tally.histories + 1);
        tally.check(&histories);
        common::assert_settled(&stats);
    }
    println!(
        "{}: {} histories of {THREADS} x {OPS} operations on {} ids, {} operations with callbacks, {} overlaps, {} states, {:.1} s: {:?}",
        scenario.name,
        tally.histories,
        scenario.ids,
        tally.operations,
        tally.overlaps,
        tally.states,
        begin.elapsed().as_secs_f64(),
        tally.outcomes,
    );
    for outcome in must {
        assert!(tally.outcomes.contains_key(outcome), "never {outcome}");
    }
    // What the scenario can't lead to.
    let cannot = |cause: RemovalCause, may: bool| {
        let cause = cause.as_str();
        assert!(may || !tally.outcomes.contains_key(cause), "{cause}");
    };
    cannot(
        RemovalCause::Evicted,
        scenario.capacity < scenario.ids as usize,
    );
    cannot(RemovalCause::Expired, scenario.expiry);
    assert!(scenario.capacity < scenario.ids as usize || !tally.outcomes.contains_key("full"));
}

/// In every scenario.
const USUAL: [&str; 12] = [
    "inserted",
    "replaced",
    "already present",
    "added too late",
    "found",
    "not found",
    "took",
    "removes",
    "took by handle",
    "removes by handle",
    "taken",
    "removed",
];

/// Room for all, and one thread that adds an id: nothing but its owner replaces a session.
#[test]
fn one_adder_of_each_id() {
    let scenario = Scenario {
        name: "one adder",
        ids: 4,
        capacity: 100,
        one_adder: true,
        expiry: false,
        maintenance: Maintenance::Threads,
    };
    check(scenario, &USUAL);
}

/// All threads add the same id, so that adds replace, race and meet everything else.
#[test]
fn many_adders_of_an_id() {
    for ids in [1, 2] {
        let scenario = Scenario {
            name: "many adders",
            ids,
            capacity: 100,
            one_adder: false,
            expiry: false,
            maintenance: Maintenance::Threads,
        };
        check(scenario, &USUAL);
    }
}

/// Sessions live for a few milliseconds of a clock that another thread moves while it maintains.
#[test]
fn sessions_that_expire() {
    for maintenance in [Maintenance::Manual, Maintenance::Threads] {
        let scenario = Scenario {
            name: "expiry",
            ids: 8,
            capacity: 100,
            one_adder: false,
            expiry: true,
            maintenance,
        };
        check(
            scenario,
            &[&USUAL[..], &["expired", "no timeout", "empty"]].concat(),
        );
    }
}

/// More ids than there is room for: a session may make room at any time, if its callback says so.
#[test]
fn sessions_that_are_evicted() {
    let scenario = Scenario {
        name: "eviction",
        ids: 4,
        capacity: 2,
        one_adder: false,
        expiry: false,
        maintenance: Maintenance::Manual,
    };
    check(scenario, &[&USUAL[..], &["evicted"]].concat());
    let scenario = Scenario {
        name: "eviction and expiry",
        expiry: true,
        ..scenario
    };
    check(scenario, &[&USUAL[..], &["evicted", "expired"]].concat());
}
