//! What the clients measured and counted.

use std::time::Duration;

use crate::latencies::Latencies;
use crate::replay::Plan;

/// The sum over some visits: each client thread has one, and the run adds them up.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) full: Latencies,
    pub(crate) resumed: Latencies,
    /// Those of both that a flush met.
    pub(crate) flushed: Latencies,
    /// Handshakes resumed from a session that was live when it was offered.
    pub(crate) resumed_live: u64,
    pub(crate) replays_offered: u64,
    pub(crate) replays_accepted: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// TLS 1.3 sessions offered.
    single_use_offers: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            full: Latencies::new(),
            resumed: Latencies::new(),
            flushed: Latencies::new(),
            resumed_live: 0,
            replays_offered: 0,
            replays_accepted: 0,
            errors: 0,
            first_error: None,
            single_use_offers: 0,
        }
    }
}

impl Tally {
    /// Records a handshake that came to its end, and whether there was a flush meanwhile.
    pub(crate) fn handshake(&mut self, resumed: bool, flushed: bool, latency: Duration) {
        if flushed {
            self.flushed.record(latency);
        }
        if resumed {
            self.resumed.record(latency);
        } else {
            self.full.record(latency);
        }
    }

    /// Records a visit that went wrong.
    pub(crate) fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    /// Counts a TLS 1.3 offer and says whether and how it is to be replayed.
    pub(crate) fn next_plan(&mut self) -> Option<Plan> {
        let plan = Plan::for_offer(self.single_use_offers);
        self.single_use_offers += 1;
        plan
    }

    /// Adds another thread's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.full.add(&other.full);
        self.resumed.add(&other.resumed);
        self.flushed.add(&other.flushed);
        self.resumed_live += other.resumed_live;
        self.replays_offered += other.replays_offered;
        self.replays_accepted += other.replays_accepted;
        self.errors += other.errors;
        self.single_use_offers += other.single_use_offers;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }
}
