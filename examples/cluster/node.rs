//! A node: the accept loop in a process of its own, which does what it is told by its standard input until that ends.

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use refrain::store::BreakerState;

use crate::orders::{Orders, State};
use crate::output::{Failure, say};
use crate::server::{Served, Server};
use crate::stack::{Stack, Watch};

/// How long a node waits for its queue to be written.
const SETTLE: Duration = Duration::from_secs(10);

/// Serves until the standard input ends. Says on the standard output where, and how it is at each line that it reads:
/// `settle` has it wait first.
pub(crate) fn serve() -> Result<(), Failure> {
    let mut lines = io::stdin().lock().lines();
    let orders = lines
        .next()
        .and_then(Result::ok)
        .and_then(|line| Orders::parse(&line))
        .ok_or_else(|| Failure::usage("--node is for the example itself".to_owned()))?;
    let (stack, watch) = Stack::open(&orders)?;
    let served = Arc::new(Served::default());
    let loopback = [(Ipv4Addr::LOCALHOST, 0).into()];
    let server = Server::start(&loopback, orders.threads, stack, Arc::clone(&served))?;
    say(&format!("{}\n", server.address()))?;
    for line in lines.map_while(Result::ok) {
        let waits = line == "settle";
        say(&state(&watch, &served, waits).line())?;
    }
    server.stop();
    Ok(())
}

fn state(watch: &Watch, served: &Served, waits: bool) -> State {
    let written = watch
        .cache
        .settle_external(if waits { SETTLE } else { Duration::ZERO });
    let stats = watch.cache.external_stats().unwrap_or_default();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = [
        ("full", count(&served.full)),
        ("resumed", count(&served.resumed)),
        ("unfinished", count(&served.unfinished)),
        ("reads", count(&watch.store.reads)),
        ("writes", count(&watch.store.writes)),
        ("batches", count(&watch.store.batches)),
        ("timeouts", stats.timeouts),
        ("unavailable", stats.unavailable),
        ("denied_breaker", stats.denied_breaker),
        ("denied_epoch", stats.denied_epoch),
        ("unsent", stats.unsent),
        ("queue_dropped", stats.queue_dropped),
        ("writes_lost", stats.writes_lost),
        ("breaker_openings", stats.breaker_openings),
        ("breaker_closings", stats.breaker_closings),
    ];
    State {
        settled: written && stats.breaker == BreakerState::Closed,
        counts: BTreeMap::from(counts.map(|(name, count)| (name.to_owned(), count))),
        lookups: watch.timed.hand_over(),
    }
}
