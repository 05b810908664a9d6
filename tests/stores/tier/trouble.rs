//! The store fails in every way while clients come and go: no handshake fails, none waits longer than it may, and when the
//! store is back, so is resumption.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, Redis};

use crate::cluster::{self, cluster};
use crate::proxy::{Mode, Proxy};
use crate::sentinel::set;
use crate::servers::{Kind, Server, millis, redis, wait};
use crate::tier::node::{BUDGET, Node, Pki, Shaken, VERSIONS, connect, options};

/// The clocks that tell how long a thread has waited are as coarse as the scheduler's.
const SLACK: Duration = millis(10);
/// One of so many handshakes may be held up by something else: a process that is stopped, a page that is read.
const ONE_IN: usize = 100;

/// What became of the handshakes while clients came and went.
#[derive(Default)]
struct Traffic {
    over: AtomicBool,
    handshakes: AtomicU32,
    resumed: AtomicU32,
}

impl Traffic {
    /// Waits until there were so many more.
    fn more(&self, handshakes: u32) {
        let target = self.handshakes.load(Ordering::Relaxed) + handshakes;
        wait("handshakes", || {
            self.handshakes.load(Ordering::Relaxed) >= target
        });
    }

    /// Clients of both versions, which change the server each time. Returns how long each handshake was held up.
    fn visit(&self, pki: &Pki, nodes: &[Node; 2], first: usize) -> Vec<Duration> {
        let clients = VERSIONS.map(|version| pki.client(version));
        let mut all = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let visit = all.len() + first;
            let Shaken { resumed, held_up } = connect(&clients[visit / 2 % 2], &nodes[visit % 2]);
            all.push(held_up);
            self.handshakes.fetch_add(1, Ordering::Relaxed);
            self.resumed
                .fetch_add(u32::from(resumed), Ordering::Relaxed);
            std::thread::sleep(millis(1));
        }
        all
    }
}

/// Ends the traffic, even if the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients come while the store fails and recovers.
fn through(pki: &Pki, nodes: &[Node; 2], during: impl FnOnce(&Traffic)) {
    let traffic = Traffic::default();
    let mut all: Vec<Duration> = std::thread::scope(|scope| {
        let visitors = [0, 1].map(|first| {
            let traffic = &traffic;
            scope.spawn(move || traffic.visit(pki, nodes, first))
        });
        let ends = Ends(&traffic.over);
        during(&traffic);
        drop(ends);
        visitors.map(|visitor| visitor.join().unwrap()).concat()
    });
    all.sort();
    // A handshake of theirs reads once: TLS 1.2 one id, TLS 1.3 one ticket.
    let limit = BUDGET + SLACK;
    let late = all.iter().filter(|held_up| **held_up > limit).count();
    println!(
        "{} handshakes, {} resumed, half were held up for {:?} at most, 99 of 100 for {:?}, all for {:?}",
        all.len(),
        traffic.resumed.load(Ordering::Relaxed),
        all[all.len() / 2],
        all[all.len() * 99 / 100],
        all[all.len() - 1],
    );
    assert!(
        late <= all.len() / ONE_IN,
        "{late} of {}: {all:?}",
        all.len()
    );
}

/// Whether new clients of both versions are resumed at the server that has not seen them.
fn resumes(pki: &Pki, nodes: &[Node; 2]) -> bool {
    VERSIONS.into_iter().all(|version| {
        let client = pki.client(version);
        connect(&client, &nodes[0]);
        nodes
            .iter()
            .all(|node| node.cache.settle_external(millis(500)))
            && connect(&client, &nodes[1]).resumed
    })
}

/// All is well, then `break_it`, and after some handshakes `mend`: then all is well again.
fn trouble(nodes: &[Node; 2], pki: &Pki, break_it: impl FnOnce(), mend: impl FnOnce()) {
    wait("resumption", || resumes(pki, nodes));
    through(pki, nodes, |traffic| {
        traffic.more(40);
        let failures = || nodes.iter().map(Node::failures).sum::<u64>();
        let before = failures();
        break_it();
        traffic.more(200);
        // Long enough that the store is tried again, and fails again.
        std::thread::sleep(millis(700));
        assert!(failures() > before + 5, "nothing has failed");
        mend();
        wait("resumption", || resumes(pki, nodes));
        traffic.more(40);
    });
}

fn nodes(pki: &Pki, kind: Kind, port: u16) -> [Node; 2] {
    [(); 2].map(|()| Node::new(pki, kind.store(port, 4).into(), options()))
}

/// Each kind of server, with what is to be done to it.
fn each(act: impl Fn(Kind, Server)) {
    for kind in Kind::ALL {
        if let Some(server) = kind.server() {
            act(kind, server);
        }
    }
}

#[test]
fn the_store_is_down_at_the_start() {
    each(|kind, mut server| {
        let pki = Pki::new();
        server.kill();
        let nodes = nodes(&pki, kind, server.port);
        through(&pki, &nodes, |traffic| {
            traffic.more(200);
            server.start();
            wait("resumption", || resumes(&pki, &nodes));
            traffic.more(40);
        });
    });
}

#[test]
fn the_store_is_killed_and_started_again() {
    each(|kind, server| {
        let pki = Pki::new();
        let nodes = nodes(&pki, kind, server.port);
        let server = std::sync::Mutex::new(server);
        let kill = || server.lock().unwrap().kill();
        trouble(&nodes, &pki, kill, || server.lock().unwrap().start());
    });
}

#[test]
fn the_store_answers_late_or_not_at_all_or_garbage() {
    each(|kind, server| {
        let pki = Pki::new();
        let proxy = Proxy::to(server.port);
        let nodes = nodes(&pki, kind, proxy.port);
        for mode in [
            Mode::Late(60),
            // In time for some, and too late for others.
            Mode::Late(19),
            Mode::Lost,
            Mode::Trickle,
            Mode::Cut,
            Mode::Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            Mode::Garbage(b"$5\r\nhello\r\n"),
            Mode::Twice,
            Mode::Before,
        ] {
            println!("{kind:?}, {mode:?}");
            trouble(&nodes, &pki, || proxy.set(mode), || proxy.set(Mode::Pass));
        }
    });
}

#[test]
fn the_store_refuses_the_password() {
    let Some(server) = redis("requirepass right") else {
        return;
    };
    let pki = Pki::new();
    let url = format!("redis://:right@127.0.0.1:{}", server.port);
    let store =
        || -> Arc<dyn ExternalStore> { Arc::new(Redis::at(&url).unwrap().build().unwrap()) };
    let nodes = [(); 2].map(|()| Node::new(&pki, store(), options()));
    // Those that are connected are cut off, and can't come back until it is the right one again.
    let change = |from: &str, to: &str| {
        let set = server.cli(&["-a", from, "config", "set", "requirepass", to]);
        assert_eq!(set, "OK");
        server.cli(&["-a", to, "client", "kill", "type", "normal"]);
    };
    trouble(
        &nodes,
        &pki,
        || change("right", "wrong"),
        || change("wrong", "right"),
    );
    let said: Vec<_> = nodes
        .iter()
        .filter_map(|node| node.cache.external_failure())
        .collect();
    assert!(said.iter().all(|said| !said.contains("right")), "{said:?}");
}

#[test]
fn the_store_is_out_of_memory() {
    let Some(server) = redis("maxmemory-policy noeviction") else {
        return;
    };
    let pki = Pki::new();
    let nodes = nodes(&pki, Kind::Redis, server.port);
    let limit = |bytes: &str| {
        let set = server.cli(&["config", "set", "maxmemory", bytes]);
        assert_eq!(set, "OK");
    };
    trouble(&nodes, &pki, || limit("1"), || limit("0"));
    let refused: u64 = nodes.iter().map(|node| node.stats().store_refused).sum();
    assert!(refused > 0);
}

/// A part of a cluster is away, without a replica: what it has, its counters among it, is missed.
#[test]
fn a_part_of_the_cluster_is_away() {
    let Some(mut parts) = cluster() else { return };
    let pki = Pki::new();
    for dead in 0..parts.len() {
        let store = || -> Arc<dyn ExternalStore> {
            Arc::new(cluster::store(&[&parts[0], &parts[1], &parts[2]]))
        };
        let nodes = [(); 2].map(|()| Node::new(&pki, store(), options()));
        wait("resumption", || resumes(&pki, &nodes));
        through(&pki, &nodes, |traffic| {
            traffic.more(40);
            parts[dead].kill();
            std::thread::sleep(millis(2000));
            let counts = || {
                let count = |counter: &AtomicU32| counter.load(Ordering::Relaxed);
                (count(&traffic.handshakes), count(&traffic.resumed))
            };
            let before = counts();
            std::thread::sleep(millis(5000));
            let after = counts();
            let (all, resumed) = (after.0 - before.0, after.1 - before.1);
            println!("without part {dead}: {resumed} of {all} resumed");
            // The others go on. Half of the handshakes are of TLS 1.2, and of those of 1.3 some need the part that is away.
            assert!(resumed > all / 10, "{resumed} of {all}");
            parts[dead].start();
            wait("resumption", || resumes(&pki, &nodes));
            traffic.more(40);
        });
    }
}

/// The master ends for good, and the replica takes over.
#[test]
fn a_replica_is_promoted() {
    let Some(mut set) = set() else { return };
    let pki = Pki::new();
    let nodes = [(); 2].map(|()| Node::new(&pki, Arc::new(set.store()), options()));
    wait("resumption", || resumes(&pki, &nodes));
    through(&pki, &nodes, |traffic| {
        traffic.more(40);
        set.master.kill();
        let begin = Instant::now();
        traffic.more(200);
        wait("resumption", || resumes(&pki, &nodes));
        println!("resumed again after {:?}", begin.elapsed());
        traffic.more(40);
    });
}
