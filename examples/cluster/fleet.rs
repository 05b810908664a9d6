//! The clients. They go in step: all connect as newcomers, then all come back to the other node, then all there again.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::ClientConfig;

use crate::hello;
use crate::net::Bounded;
use crate::phase::{Kind, Offers, Phase, Weather};
use crate::pki::newcomer;
use crate::race::{self, Plan};
use crate::server::Served;
use crate::visit::{Visit, Visited};

/// A thread gives up after so many failed visits.
const MOST_ERRORS: u64 = 20;
/// One of so many single-use sessions that go across is offered to both nodes at once, and as many are after their use.
const RACE_EVERY: usize = 8;

/// What all clients do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// They have forgotten everything.
    New,
    /// To the other node.
    Across,
    /// To the same.
    Again,
}

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::New, Self::Across, Self::Again];
}

/// One client, of one version of TLS.
struct Client {
    number: usize,
    config: Arc<ClientConfig>,
    /// The node where it was last.
    home: usize,
}

/// All clients.
pub(crate) struct Fleet {
    nodes: [SocketAddr; 2],
    threads: usize,
    clients: Vec<Client>,
    /// How often each single-use session was accepted that was ever offered, by its id.
    uses: Mutex<HashMap<Vec<u8>, u64>>,
    /// Their handshakes, for the display.
    pub(crate) seen: Arc<Served>,
}

impl Fleet {
    /// So many clients, which take turns with the configurations.
    pub(crate) fn new(
        nodes: [SocketAddr; 2],
        threads: usize,
        clients: usize,
        configs: &[ClientConfig; 2],
    ) -> Self {
        let client = |number| Client {
            number,
            config: newcomer(&configs[number % 2]),
            home: number / 2 % 2,
        };
        Self {
            nodes,
            threads,
            clients: (0..clients).map(client).collect(),
            uses: Mutex::default(),
            seen: Arc::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Single-use sessions by the number of their uses: none, one, more.
    pub(crate) fn uses(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.values()
            .for_each(|&count| counts[count.min(2) as usize] += 1);
        counts
    }

    /// All clients make this step.
    pub(crate) fn step(&mut self, step: Step, cycle: usize, weather: Weather) -> Phase {
        let mut clients = std::mem::take(&mut self.clients);
        let share = clients.len().div_ceil(self.threads);
        let this = &*self;
        let sum = thread::scope(|scope| {
            let workers: Vec<_> = clients
                .chunks_mut(share)
                .map(|mine| scope.spawn(move || this.work(mine, step, cycle, weather)))
                .collect();
            let mut sum = Phase::new("", weather);
            for worker in workers {
                match worker.join() {
                    Ok(seen) => sum.add(seen),
                    Err(_) => sum.failed("a client thread panicked".to_owned()),
                }
            }
            sum
        });
        self.clients = clients;
        sum
    }

    fn work(&self, clients: &mut [Client], step: Step, cycle: usize, weather: Weather) -> Phase {
        let mut seen = Phase::new("", weather);
        for client in clients {
            if let Err(error) = self.visit(client, step, cycle, &mut seen) {
                seen.failed(format!("client {}, {step:?}: {error}", client.number));
                if seen.errors >= MOST_ERRORS {
                    break;
                }
            }
        }
        seen
    }

    fn visit(
        &self,
        client: &mut Client,
        step: Step,
        cycle: usize,
        seen: &mut Phase,
    ) -> io::Result<()> {
        match step {
            Step::New => client.config = newcomer(&client.config),
            Step::Across => client.home = 1 - client.home,
            Step::Again => {}
        }
        let home = self.nodes[client.home];
        let mut visit = Visit::begin(&client.config)?;
        let offer = hello::offered_session(&visit.first_flight).filter(|_| step != Step::New);
        let single_use = offer.as_ref().is_some_and(|offer| offer.single_use);
        let plan = match (client.number / 2 + cycle) % RACE_EVERY {
            _ if step != Step::Across || !single_use => None,
            0 => Some(Plan::Together),
            4 => Some(Plan::After),
            _ => None,
        };
        let (visited, replayed) = match plan {
            None => (visit.finish(&mut Bounded::connect(home)?)?, 0),
            Some(plan) => race::around(plan, self.nodes, home, &mut visit)?,
        };
        let Visited { resumed, latency } = visited;
        let count = if resumed {
            &self.seen.resumed
        } else {
            &self.seen.full
        };
        count.fetch_add(1, Ordering::Relaxed);

        let kind = match step {
            _ if !resumed => Kind::Full,
            Step::Across => Kind::Across,
            _ if single_use => Kind::Claimed,
            _ => Kind::FirstTier,
        };
        // Beside two others at once, it is not the handshake alone that is measured.
        if plan != Some(Plan::Together) {
            seen.handshake(kind, latency);
        }
        let Some(offer) = offer else {
            return match step {
                Step::New => Ok(()),
                _ => Err(io::Error::other("the client has got no session")),
            };
        };
        let uses = u64::from(resumed) + replayed;
        if single_use {
            let mut all = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
            *all.entry(offer.id).or_default() += uses;
        }
        let offers: &mut Offers = match step {
            _ if plan == Some(Plan::Together) => &mut seen.raced,
            Step::Across => &mut seen.across,
            _ if single_use => &mut seen.claimed,
            _ => &mut seen.again,
        };
        offers.offered += 1;
        offers.resumed += u64::from(uses > 0);
        Ok(())
    }
}
