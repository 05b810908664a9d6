//! The run: Redis, two nodes, the clients, and the verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use crate::args::Options;
use crate::fleet::{Fleet, Step};
use crate::material::Material;
use crate::orders::Orders;
use crate::output::{Failure, note};
use crate::peer::Peer;
use crate::phase::{Phase, Weather};
use crate::pki::Pki;
use crate::progress::Progress;
use crate::redis_server::RedisServer;

/// The exit code where there is no Redis.
pub(crate) const NO_REDIS: u8 = 3;
/// How long it may take until both nodes use a store again that has come back. Their breakers wait for half a minute at most.
const RETURN: Duration = Duration::from_secs(60);

/// How long the store is away at the least, so that breakers try it meanwhile.
const AWAY: Duration = Duration::from_secs(3);

/// Everything that a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) options: Options,
    pub(crate) redis: String,
    pub(crate) clients: usize,
    pub(crate) phases: Vec<Phase>,
    /// Single-use sessions by the number of their uses: none, one, more.
    pub(crate) uses: [u64; 3],
    /// How long after its return the store was used again.
    pub(crate) returned: Option<Duration>,
    /// What broke, a line each.
    pub(crate) faults: Vec<String>,
}

/// The nodes, and what they had counted before the part of the run that is under way.
struct Nodes {
    peers: [Peer; 2],
    before: [BTreeMap<String, u64>; 2],
}

/// Runs the load and checks everything.
pub(crate) fn run(options: Options) -> Result<Outcome, Failure> {
    let mut redis = match &options.redis {
        Some(_) => None,
        None => Some(start_redis()?),
    };
    let url = match (&redis, &options.redis) {
        (Some(server), _) => server.url(),
        (None, given) => given.clone().unwrap_or_default(),
    };
    let pki = Pki::generate()?;
    let orders = Orders {
        redis: url.clone(),
        keys: Material::draw()?,
        certificate: pki.leaf.to_vec(),
        key: pki.leaf_key.secret_pkcs8_der().to_vec(),
        threads: options.threads,
        budget: options.budget,
    };
    let mut nodes = Nodes::start(&orders)?;
    let configs = [pki.client(&TLS12)?, pki.client(&TLS13)?];

    let parts: &[_] = match options.kill_store {
        true => &[
            ("before", Weather::Fair),
            ("away", Weather::Foul),
            ("after", Weather::Fair),
        ],
        false => &[("all", Weather::Fair)],
    };
    let share = options.connections / parts.len() as u64;
    let clients = options.clients.min(share as usize / Step::ALL.len());
    let cycles = share as usize / (Step::ALL.len() * clients);
    let mut fleet = Fleet::new(nodes.addresses(), options.threads, clients, &configs);
    let total = parts.len() * cycles * Step::ALL.len() * clients;
    let progress = Progress::start(total as u64, fleet.seen.clone(), || None);

    let (mut phases, mut returned) = (Vec::new(), None);
    for &(name, weather) in parts {
        if let (Some(server), "after") = (&mut redis, name) {
            returned = Some(bring_back(server, &mut nodes)?);
        }
        let mut phase = Phase::new(name, weather);
        let began = Instant::now();
        let killed = redis.as_mut().filter(|_| weather == Weather::Foul);
        nodes.play(&mut fleet, cycles, killed, &mut phase)?;
        phase.elapsed = began.elapsed();
        phases.push(phase);
    }
    progress.stop();
    let uses = fleet.uses();
    let mut faults: Vec<_> = phases
        .iter()
        .flat_map(|phase| phase.faults(options.budget))
        .collect();
    if uses[2] > 0 {
        faults.push(format!(
            "{} single-use sessions resumed more than once",
            uses[2]
        ));
    }
    Ok(Outcome {
        redis: place(&url),
        clients: fleet.len(),
        options,
        phases,
        uses,
        returned,
        faults,
    })
}

/// A URL without what may be a password.
fn place(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let rest = rest.split('?').next().unwrap_or_default();
    format!("{scheme}://{rest}")
}

/// A server of the example's own.
fn start_redis() -> Result<RedisServer, Failure> {
    let started = RedisServer::start();
    let started = started.map_err(|error| Failure::broken(format!("redis-server: {error}")))?;
    started.ok_or_else(|| Failure {
        what: "NOT RUN: redis-server is not installed, and there is no --redis URL".to_owned(),
        code: NO_REDIS,
    })
}

/// Starts the server again. Returns how long it then takes until both nodes use it.
fn bring_back(server: &mut RedisServer, nodes: &mut Nodes) -> Result<Duration, Failure> {
    note("the store is started again");
    let again = server.again();
    again.map_err(|error| Failure::broken(format!("redis-server: {error}")))?;
    let began = Instant::now();
    while !nodes.settle()? {
        if began.elapsed() > RETURN {
            let what = format!("after {RETURN:?} the store is still not used again");
            return Err(Failure::broken(what));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(began.elapsed())
}

impl Nodes {
    fn start(orders: &Orders) -> Result<Self, Failure> {
        let mut nodes = Self {
            peers: [Peer::start(orders)?, Peer::start(orders)?],
            before: [BTreeMap::new(), BTreeMap::new()],
        };
        match nodes.settle()? {
            true => Ok(nodes),
            false => Err(Failure::broken(
                "the nodes do not reach the store".to_owned(),
            )),
        }
    }

    fn addresses(&self) -> [std::net::SocketAddr; 2] {
        [self.peers[0].address, self.peers[1].address]
    }

    /// Waits until what they have to say is at the store. False if it is not. Their counts begin here.
    fn settle(&mut self) -> Result<bool, Failure> {
        let mut settled = true;
        for (peer, before) in self.peers.iter_mut().zip(&mut self.before) {
            let state = peer.state(true)?;
            settled &= state.settled;
            *before = state.counts;
        }
        Ok(settled)
    }

    /// A part of the run, in so many cycles. In the middle of the first visits to the other node, the store is killed.
    fn play(
        &mut self,
        fleet: &mut Fleet,
        cycles: usize,
        mut store: Option<&mut RedisServer>,
        phase: &mut Phase,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        for cycle in 0..cycles {
            if phase.weather == Weather::Foul {
                let due = AWAY * cycle as u32 / cycles as u32;
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            for step in Step::ALL {
                let victim = store.take_if(|_| step == Step::Across);
                let seen = match victim {
                    Some(store) => kill_amid(store, fleet, step, cycle, phase.weather),
                    None => fleet.step(step, cycle, phase.weather),
                };
                let broken = seen.errors > 0;
                phase.add(seen);
                for peer in &mut self.peers {
                    // Who comes back to another node does so when the session is at the store, as people do: writes wait
                    // for nobody.
                    let state = peer.state(phase.weather == Weather::Fair)?;
                    phase.listen(&state);
                    if phase.weather == Weather::Fair && !state.settled {
                        phase
                            .faults
                            .push("a node does not get its writes done".to_owned());
                    }
                }
                if broken {
                    break;
                }
            }
        }
        for (peer, before) in self.peers.iter_mut().zip(&mut self.before) {
            let state = peer.state(false)?;
            phase.hear(&state, before);
            *before = state.counts;
        }
        Ok(())
    }
}

/// One step, half-way through which the store is killed.
fn kill_amid(
    store: &mut RedisServer,
    fleet: &mut Fleet,
    step: Step,
    cycle: usize,
    weather: Weather,
) -> Phase {
    let seen = fleet.seen.clone();
    let done = move || seen.full.load(Ordering::Relaxed) + seen.resumed.load(Ordering::Relaxed);
    let half = done() + fleet.len() as u64 / 2;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while done() < half && !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_micros(200));
            }
            store.kill();
            note("the store is killed");
        });
        let seen = fleet.step(step, cycle, weather);
        over.store(true, Ordering::Relaxed);
        seen
    })
}
