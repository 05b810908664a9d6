//! The run on loopback: the server, the fleet, and the verdict.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::args::{Options, TlsChoice};
use crate::checker::{Checker, Findings};
use crate::client::Fleet;
use crate::flood::{self, Flood, Flushed, Stage};
use crate::library::Library;
use crate::output::Failure;
use crate::pki::Pki;
use crate::progress::Progress;
use crate::restart::{self, Restart};
use crate::server::{Served, Server};
use crate::stack::Stack;
use crate::store::{self, Closing};
use crate::tally::Tally;

/// With fewer connections than this, no client can be expected to come back.
const ENOUGH_CONNECTIONS: u64 = 8;

/// Everything that a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) options: Options,
    /// The clients there really were.
    pub(crate) clients: usize,
    pub(crate) elapsed: Duration,
    pub(crate) tally: Tally,
    pub(crate) findings: Findings,
    /// What the server's TLS library counted.
    pub(crate) library: Library,
    /// The cache's books; the TLS library's own cache keeps none.
    pub(crate) closing: Option<Closing>,
    /// The flush, if there was one.
    pub(crate) flushed: Option<Flushed>,
    /// The restart, if the sessions are in a file.
    pub(crate) restart: Option<Restart>,
    /// What broke, a line each. Empty if all is well.
    pub(crate) faults: Vec<String>,
}

impl Outcome {
    /// Sessions that were lost because the file that they were to be had from was late: a few, on a busy machine.
    pub(crate) fn excused(&self) -> u64 {
        let late = self.closing.as_ref().map_or(0, |closing| closing.late);
        self.findings.lost.min(late).min(self.offered_live() / 100)
    }

    /// Live sessions that were offered: those that resumed, and those that should have.
    pub(crate) fn offered_live(&self) -> u64 {
        self.tally.resumed_live + self.findings.lost
    }
}

/// The versions that a choice stands for, with their names.
pub(crate) fn versions(
    choice: TlsChoice,
) -> Vec<(&'static str, &'static SupportedProtocolVersion)> {
    match choice {
        TlsChoice::Tls12 => vec![("TLS 1.2", &TLS12)],
        TlsChoice::Tls13 => vec![("TLS 1.3", &TLS13)],
        TlsChoice::Both => vec![("TLS 1.2", &TLS12), ("TLS 1.3", &TLS13)],
    }
}

/// Runs the load and checks everything.
pub(crate) fn run(options: Options) -> Result<Outcome, Failure> {
    let checker = Arc::new(Checker::new(options.timeout, options.tick()));
    let reported = Arc::clone(&checker);
    let cache = store::open(&options, move |session, cause| {
        match flood::is_of_it(session.id()) {
            // Nobody stored it but the flood, and nobody comes back with it.
            true => reported.callbacks.count(cause),
            false => reported.reported(session.id(), cause),
        }
    })?;
    #[cfg(feature = "metrics")]
    let page = crate::page::Page::start(&options, cache.as_ref())?;

    let pki = Pki::generate()?;
    let clients = versions(options.tls)
        .into_iter()
        .map(|(name, version)| Ok((name, pki.client(version)?)))
        .collect::<Result<_, rustls::Error>>()?;
    let stack = Stack::open(&options, &pki, cache.as_ref(), Some(&checker))?;
    let served = Arc::new(Served::default());
    let stage = Arc::new(Stage::default());
    let (counts, half) = (Arc::clone(&served), options.connections / 2);
    let flood = Flood::begin(&options, cache.as_ref(), &stack, &stage, move || {
        let done = [&counts.full, &counts.resumed].map(|count| count.load(Ordering::Relaxed));
        done.into_iter().sum::<u64>() >= half
    })?;
    let loopback = [(Ipv4Addr::LOCALHOST, 0).into()];
    let server = Server::start(&loopback, options.threads, stack, Arc::clone(&served))?;
    let fleet = Fleet {
        server: server.address(),
        connections: options.connections,
        threads: options.threads,
        clients: options.clients,
        versions: clients,
        checker: Arc::clone(&checker),
        replays: options.replays,
        stage,
    };

    let watched = cache.clone();
    let progress = Progress::start(options.connections, served, move || {
        watched.as_ref().map(|cache| cache.len() as u64)
    });
    let began = Instant::now();
    let tally = fleet.run();
    let elapsed = began.elapsed();
    let flushed = flood.map(Flood::end).transpose()?;
    progress.stop();
    #[cfg(feature = "metrics")]
    if let Some(page) = page {
        page.stop();
    }
    // With the server goes the last user of the cache but for the handle here.
    let library = server.stop();

    let closing = cache.map(|cache| store::close(cache, &checker.callbacks));
    let balance = closing.as_ref().map(|closing| &closing.after_drop.balance);
    let stats = closing.as_ref().map(|closing| &closing.stats);
    let brought = stats.map_or(0, |stats| stats.external_hits);
    let findings = checker.findings(balance, brought);
    let restart = match options.disk {
        Some(_) => Some(restart::run(&options, &pki)?),
        None => None,
    };
    let mut outcome = Outcome {
        clients: fleet.clients(),
        options,
        elapsed,
        tally,
        findings,
        library,
        closing,
        flushed,
        restart,
        faults: Vec::new(),
    };
    outcome.faults = faults(&outcome);
    Ok(outcome)
}

/// What broke, in words.
fn faults(outcome: &Outcome) -> Vec<String> {
    let Outcome {
        options,
        tally,
        findings,
        ..
    } = outcome;
    let mut faults = Vec::new();
    if tally.errors > 0 {
        let first = tally.first_error.as_deref().unwrap_or("unknown");
        faults.push(format!(
            "{} connections failed, the first with: {first}",
            tally.errors
        ));
    }
    faults.extend(outcome.library.faults.iter().cloned());
    if let Some(flushed) = &outcome.flushed {
        let removed = flushed.removed.unwrap_or(flushed.sessions as u64);
        if removed != flushed.sessions as u64 {
            faults.push(format!(
                "the flush removed {removed} sessions instead of {}",
                flushed.sessions
            ));
        }
    }
    faults.extend(outcome.restart.iter().flat_map(Restart::faults));
    // Only Refrain keeps books, and only Refrain is held to these checks.
    let Some(closing) = &outcome.closing else {
        return faults;
    };
    if findings.lost > outcome.excused() {
        let offered = outcome.offered_live();
        let first = findings.first_lost.as_deref().unwrap_or("unknown");
        faults.push(format!(
            "{} of {offered} live sessions that were offered did not resume (the first: {first})",
            findings.lost,
        ));
    }
    if findings.reused_twice > 0 {
        let count = findings.reused_twice;
        faults.push(format!(
            "single-use sessions resumed {count} times after their first use"
        ));
    }
    if options.connections >= ENOUGH_CONNECTIONS {
        if options.replays && options.tls != TlsChoice::Tls12 && tally.replays_offered == 0 {
            faults
                .push("no TLS 1.3 session was ever offered, so none could be replayed".to_owned());
        }
        let all_lived = options.timeout > 2 * outcome.elapsed && closing.stats.evicted == 0;
        if all_lived && outcome.offered_live() == 0 {
            faults
                .push("no live session was ever offered, so resumption was not tested".to_owned());
        }
    }
    faults.extend(closing.before_drop.faults.iter().cloned());
    faults.extend(closing.after_drop.faults.iter().cloned());
    faults.extend(findings.faults.iter().cloned());
    faults
}
