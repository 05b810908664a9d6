//! The fleet: clients of one TLS version each that visit the server, remember their session and come back with it.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use rustls::ClientConfig;

use crate::checker::Checker;
use crate::flood::Stage;
use crate::hello::{self, Offer};
use crate::pki::newcomer;
use crate::replay::{self, Replayed};
use crate::tally::Tally;
use crate::visit::{Visit, Visited};

/// Every so many visits a client has forgotten everything and begins anew, so that full handshakes are measured too.
const FORGETS_EVERY: u64 = 5;
/// A thread gives up after so many failed visits: there is no point in waiting for thousands of timeouts.
const MOST_ERRORS: u64 = 20;

/// What all clients have in common.
pub(crate) struct Fleet {
    pub(crate) server: SocketAddr,
    pub(crate) connections: u64,
    pub(crate) threads: usize,
    pub(crate) clients: usize,
    /// One configuration per version, with its name; the clients take turns with them.
    pub(crate) versions: Vec<(&'static str, ClientConfig)>,
    pub(crate) checker: Arc<Checker>,
    /// Whether TLS 1.3 hellos are recorded and sent again.
    pub(crate) replays: bool,
    /// How far the flush is.
    pub(crate) stage: Arc<Stage>,
}

/// One client.
struct Client {
    version: &'static str,
    config: Arc<ClientConfig>,
    /// Counts its visits from a start of its own, so that the clients don't all forget at the same time.
    visits: u64,
}

impl Fleet {
    /// How many clients there really are: enough for every version, and not so many that they hardly come back.
    pub(crate) fn clients(&self) -> usize {
        let with_four_visits = usize::try_from(self.connections / 4).unwrap_or(usize::MAX);
        self.clients.min(with_four_visits).max(self.versions.len())
    }

    /// Makes all connections and returns what was measured.
    pub(crate) fn run(&self) -> Tally {
        let clients = self.clients();
        let threads = self.threads.min(clients);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|number| {
                    let mine = share(clients as u64, threads, number);
                    let visits = share(self.connections, threads, number);
                    scope.spawn(move || self.work(mine, visits.end - visits.start))
                })
                .collect();
            let mut sum = Tally::default();
            for worker in workers {
                match worker.join() {
                    Ok(tally) => sum.add(&tally),
                    Err(_) => sum.failed("a client thread panicked".to_owned()),
                }
            }
            sum
        })
    }

    /// One thread: its clients visit in turn.
    fn work(&self, clients: Range<u64>, visits: u64) -> Tally {
        let mut clients: Vec<_> = clients.map(|number| self.client(number)).collect();
        let mut tally = Tally::default();
        for visit in 0..visits {
            let place = (visit % clients.len() as u64) as usize;
            let client = &mut clients[place];
            if client.visits % FORGETS_EVERY == 0 {
                client.config = newcomer(&client.config);
            }
            client.visits += 1;
            if let Err(error) = self.visit(client, &mut tally) {
                tally.failed(format!("{}: {error}", client.version));
                if tally.errors >= MOST_ERRORS {
                    break;
                }
            }
        }
        tally
    }

    fn client(&self, number: u64) -> Client {
        let versions = self.versions.len() as u64;
        let (version, config) = &self.versions[(number % versions) as usize];
        // The first visit is a newcomer's anyway. The next such comes after one to five visits.
        let visits = 1 + number / versions % FORGETS_EVERY;
        Client {
            version,
            config: newcomer(config),
            visits,
        }
    }

    /// One visit: says hello, maybe with a session, finishes the handshake and reads the page.
    fn visit(&self, client: &Client, tally: &mut Tally) -> io::Result<()> {
        let mut visit = Visit::begin(&client.config)?;
        let first_flight = visit.first_flight.clone();
        let offer = hello::offered_session(&first_flight);
        let live = offer
            .as_ref()
            .is_some_and(|offer| self.checker.is_live(&offer.id));
        let single_use = offer.as_ref().is_some_and(|offer| offer.single_use);
        let plan = (single_use && self.replays)
            .then(|| tally.next_plan())
            .flatten();
        let Replayed {
            original,
            offered,
            accepted,
        } = replay::around(plan, self.server, &first_flight, |mut connection| {
            let stage = self.stage.now();
            let visited = visit.finish(&mut connection)?;
            Ok::<_, io::Error>((visited, self.stage.saw_flush(stage)))
        })?;
        tally.replays_offered += offered;
        tally.replays_accepted += accepted;
        let (Visited { resumed, latency }, flushed) = original?;
        tally.handshake(resumed, flushed, latency);
        if let Some(offer) = offer {
            self.judge(&offer, client.version, live, resumed, accepted, tally);
        }
        Ok(())
    }

    /// Compares what became of an offer with what the checker knew before.
    fn judge(
        &self,
        offer: &Offer,
        version: &'static str,
        live: bool,
        resumed: bool,
        replays_accepted: u64,
        tally: &mut Tally,
    ) {
        if offer.single_use {
            for _ in 0..replays_accepted + u64::from(resumed) {
                self.checker.accepted(&offer.id);
            }
        }
        if live && resumed {
            tally.resumed_live += 1;
        } else if live && replays_accepted == 0 {
            // Otherwise a replay was first, and the session was no longer live when this offer's turn came.
            self.checker.not_resumed(&offer.id, version);
        }
    }
}

/// The `number`-th of `parts` nearly equal parts of `0..whole`.
fn share(whole: u64, parts: usize, number: usize) -> Range<u64> {
    let bound = |number: usize| (u128::from(whole) * number as u128 / parts as u128) as u64;
    bound(number)..bound(number + 1)
}
