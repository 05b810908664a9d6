//! A part of the run: what the clients saw and the nodes counted, and what is wrong with it.

use std::array;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::latencies::Latencies;
use crate::orders::State;
use crate::timed::{Lookups, no_lookups};

/// What the machine may add to a wait of the length of the budget before it counts as late.
pub(crate) const SLACK: Duration = Duration::from_millis(2);
/// One of so many may be late, or be lost because the store was: the machine is not all the example's.
const ALLOWED: u64 = 100;

/// How a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Full,
    /// TLS 1.2, at the same node again.
    FirstTier,
    /// TLS 1.3, at the same node again, which has the store hand the session out.
    Claimed,
    /// At the other node, which has it from the store.
    Across,
}

impl Kind {
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Full, "full"),
        (Self::FirstTier, "first tier"),
        (Self::Claimed, "claimed"),
        (Self::Across, "second tier"),
    ];
}

/// Live sessions that were offered, and those of them that resumed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) offered: u64,
    pub(crate) resumed: u64,
}

impl Offers {
    pub(crate) fn lost(self) -> u64 {
        self.offered - self.resumed
    }
}

/// What is to be expected of a part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// The store is there.
    Fair,
    /// It goes away.
    Foul,
}

/// What happened in a part of the run.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) weather: Weather,
    pub(crate) elapsed: Duration,
    /// Of handshakes, by kind, as the clients saw them.
    latencies: [Latencies; Kind::ALL.len()],
    pub(crate) across: Offers,
    /// At the same node again, TLS 1.2.
    pub(crate) again: Offers,
    /// At the same node again, TLS 1.3.
    pub(crate) claimed: Offers,
    /// Single-use sessions offered to both nodes at once, and those that one of three offers got.
    pub(crate) raced: Offers,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// What the nodes counted, both together.
    counts: BTreeMap<String, u64>,
    pub(crate) lookups: Lookups,
    /// What went wrong besides.
    pub(crate) faults: Vec<String>,
}

impl Phase {
    pub(crate) fn new(name: &'static str, weather: Weather) -> Self {
        Self {
            name,
            weather,
            elapsed: Duration::ZERO,
            latencies: array::from_fn(|_| Latencies::new()),
            across: Offers::default(),
            again: Offers::default(),
            claimed: Offers::default(),
            raced: Offers::default(),
            errors: 0,
            first_error: None,
            counts: BTreeMap::new(),
            lookups: no_lookups(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn latencies(&self, kind: Kind) -> &Latencies {
        &self.latencies[kind as usize]
    }

    pub(crate) fn handshake(&mut self, kind: Kind, latency: Duration) {
        self.latencies[kind as usize].record(latency);
    }

    pub(crate) fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// Adds what a thread of clients saw.
    pub(crate) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.add(theirs);
        }
        for (mine, theirs) in [
            (&mut self.across, other.across),
            (&mut self.again, other.again),
            (&mut self.claimed, other.claimed),
            (&mut self.raced, other.raced),
        ] {
            mine.offered += theirs.offered;
            mine.resumed += theirs.resumed;
        }
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }

    /// Adds what a node counted since `before`.
    pub(crate) fn hear(&mut self, now: &State, before: &BTreeMap<String, u64>) {
        for (name, count) in &now.counts {
            let old = before.get(name).copied().unwrap_or(0);
            *self.counts.entry(name.clone()).or_default() += count - old;
        }
        self.listen(now);
    }

    /// Adds the look-ups alone.
    pub(crate) fn listen(&mut self, now: &State) {
        for (mine, theirs) in self.lookups.iter_mut().zip(&now.lookups) {
            mine.add(theirs);
        }
    }

    /// What the nodes counted under this name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    /// All handshakes that the nodes began, those of recorded hellos included.
    pub(crate) fn handshakes(&self) -> u64 {
        ["full", "resumed", "unfinished"]
            .map(|name| self.count(name))
            .into_iter()
            .sum()
    }

    /// How often something was done for each handshake.
    pub(crate) fn per_handshake(&self, name: &str) -> f64 {
        self.count(name) as f64 / self.handshakes().max(1) as f64
    }

    /// Sessions that were lost because the store did not answer in time, as the contract says: some, on a busy machine.
    pub(crate) fn excused(&self) -> u64 {
        let causes = ["timeouts", "unavailable", "writes_lost"].map(|name| self.count(name));
        let offered = self.across.offered + self.claimed.offered + self.raced.offered;
        let lost = self.across.lost() + self.claimed.lost() + self.raced.lost();
        lost.min(causes.into_iter().sum()).min(offered / ALLOWED)
    }

    /// Look-ups that took longer than the budget allows.
    pub(crate) fn late(&self, budget: Duration) -> u64 {
        let late = |latencies: &Latencies| latencies.beyond(budget + SLACK);
        self.lookups.iter().map(late).sum()
    }

    /// What broke, in words.
    pub(crate) fn faults(&self, budget: Duration) -> Vec<String> {
        let mut faults = self.faults.clone();
        if self.errors > 0 {
            let first = self.first_error.as_deref().unwrap_or("unknown");
            faults.push(format!(
                "{} connections failed, the first with: {first}",
                self.errors
            ));
        }
        if self.again.lost() > 0 {
            let Offers { offered, .. } = self.again;
            let lost = self.again.lost();
            faults.push(format!(
                "{lost} of {offered} sessions did not resume where they were"
            ));
        }
        let lost = self.across.lost() + self.claimed.lost() + self.raced.lost();
        match self.weather {
            Weather::Fair if lost > self.excused() => faults.push(format!(
                "{lost} live sessions that were offered did not resume ({} across nodes, {} where they were, {} that \
                 both nodes were offered), and the store was late for {}",
                self.across.lost(),
                self.claimed.lost(),
                self.raced.lost(),
                self.excused(),
            )),
            Weather::Fair if self.across.offered == 0 || self.raced.offered == 0 => {
                faults.push("no session was offered, so nothing was tested".to_owned());
            }
            Weather::Foul if self.count("breaker_openings") == 0 => {
                faults.push("the store was gone, and no breaker opened".to_owned());
            }
            _ => {}
        }
        let all: u64 = self.lookups.iter().map(Latencies::count).sum();
        let late = self.late(budget);
        if late > all / ALLOWED {
            faults.push(format!(
                "{late} of {all} look-ups took longer than the budget of {budget:?}"
            ));
        }
        let name = self.name;
        faults
            .iter()
            .map(|fault| format!("{name}: {fault}"))
            .collect()
    }
}
