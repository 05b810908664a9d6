//! A cluster of three nodes: keys live where they live, slots move, a node dies.

use std::time::Duration;

use refrain::store::{ExternalStore, Key, Redis, StoreError, Write};

use crate::contract::contract;
use crate::race::race;
use crate::redis::ALLOWED;
use crate::servers::{
    Server, fails_in_time, get, key, later, millis, put, redis, refused, unavailable, wait,
};

fn lines() -> String {
    format!(
        "cluster-enabled yes\ncluster-node-timeout 1500\ncluster-require-full-coverage no\n\
         user me on >secret {ALLOWED} +cluster|slots +asking"
    )
}

pub(crate) fn cluster() -> Option<Vec<Server>> {
    let nodes: Vec<Server> = (0..3)
        .map(|_| redis(&lines()))
        .collect::<Option<Vec<_>>>()?;
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.push("--cluster-yes");
    let said = nodes[0].cli(&create);
    assert!(said.contains("All 16384 slots covered"), "{said}");
    wait("the cluster", || {
        nodes.iter().all(|node| {
            let info = node.cli(&["cluster", "info"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    });
    Some(nodes)
}

pub(crate) fn store(nodes: &[&Server]) -> Redis {
    let urls: Vec<String> = nodes
        .iter()
        .map(|node| format!("redis://me:secret@127.0.0.1:{}", node.port))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    Redis::cluster(&urls).unwrap().build().unwrap()
}

/// The slot of a short key, as the cluster has it.
fn slot(node: &Server, name: &str) -> u16 {
    let slot = node.cli(&["cluster", "keyslot", &format!("refrain:{name}")]);
    slot.parse().unwrap()
}

fn id(node: &Server) -> String {
    node.cli(&["cluster", "myid"])
}

/// Which of them has the key's slot: the one that does not send elsewhere.
fn home(nodes: &[Server], name: &str) -> usize {
    let get = |node: &Server| node.cli(&["get", &format!("refrain:{name}")]);
    nodes
        .iter()
        .position(|node| !get(node).starts_with("MOVED"))
        .unwrap()
}

#[test]
fn keeps_the_contract() {
    let Some(nodes) = cluster() else { return };
    // One seed is enough.
    let store = store(&[&nodes[2]]);
    store.probe(later()).unwrap();
    contract(&store, millis(200));
    let other = self::store(&[&nodes[0], &nodes[1]]);
    other.probe(later()).unwrap();
    race(&[&store, &other]);
    // All three have been at it.
    for node in &nodes {
        let stats = node.cli(&["info", "commandstats"]);
        assert!(stats.contains("cmdstat_getdel"), "{stats}");
    }
}

#[test]
fn slots_move() {
    let Some(nodes) = cluster() else { return };
    let store = store(&[&nodes[0]]);
    store.probe(later()).unwrap();
    let (there, absent) = ("{tag}there", "{tag}absent");
    let (one, other) = (
        Key::new(there.as_bytes()).unwrap(),
        Key::new(absent.as_bytes()).unwrap(),
    );
    put(&store, &one, b"one");
    let from = home(&nodes, there);
    let to = (from + 1) % 3;
    let slot = slot(&nodes[0], there).to_string();
    let set = |node: &Server, arguments: &[&str]| {
        let said = node.cli(&[&["cluster", "setslot", &slot], arguments].concat());
        assert_eq!(said, "OK");
    };
    set(&nodes[to], &["importing", &id(&nodes[from])]);
    set(&nodes[from], &["migrating", &id(&nodes[to])]);
    // What is still there is found there. For what is not, the other node is asked, by reads and by writes.
    assert_eq!(get(&store, &one).unwrap(), b"one");
    assert_eq!(get(&store, &other), None);
    let ttl = Duration::from_secs(60);
    let batch = [
        Write::Put {
            key: &other,
            record: b"first",
            ttl,
        },
        Write::Put {
            key: &other,
            record: b"other",
            ttl,
        },
        Write::Remove { key: &one },
        Write::Put {
            key: &one,
            record: b"moved",
            ttl,
        },
    ];
    store.write(&batch, later()).unwrap();
    assert_eq!(get(&store, &other).unwrap(), b"other");
    assert_eq!(get(&store, &one).unwrap(), b"moved");
    // And then it has moved for good, to where nobody has looked yet.
    let port = nodes[to].port.to_string();
    for name in [there, absent] {
        let name = format!("refrain:{name}");
        nodes[from].cli(&["migrate", "127.0.0.1", &port, &name, "0", "5000"]);
    }
    for node in [&nodes[to], &nodes[from], &nodes[3 - from - to]] {
        set(node, &["node", &id(&nodes[to])]);
    }
    assert_eq!(home(&nodes, there), to);
    // A handshake follows at once.
    assert_eq!(get(&store, &one).unwrap(), b"moved");
    assert_eq!(store.take(&other, later()).unwrap().unwrap(), b"other");
    // Writes that arrive at the wrong node go on to the right one.
    let unaware = self::store(&[&nodes[0]]);
    unaware.probe(later()).unwrap();
    set(&nodes[from], &["node", &id(&nodes[to])]);
    put(&unaware, &one, b"again");
    assert_eq!(store.take(&one, later()).unwrap().unwrap(), b"again");
}

#[test]
fn a_node_dies() {
    let Some(mut nodes) = cluster() else { return };
    let store = store(&[&nodes[0], &nodes[1], &nodes[2]]);
    store.probe(later()).unwrap();
    let name = |number: u32| format!("key{number}");
    let key_of = |number: u32| Key::new(name(number).as_bytes()).unwrap();
    for number in 0..30 {
        put(&store, &key_of(number), &number.to_be_bytes());
    }
    let homes: Vec<usize> = (0..30).map(|number| home(&nodes, &name(number))).collect();
    let dead = homes[0];
    nodes[dead].kill();
    // The others' keys are served as before; the dead one's are missing, in time. Before and after the cluster knows.
    for known in [false, true] {
        if known {
            let alive = (dead + 1) % 3;
            wait("the cluster to know", || {
                let info = nodes[alive].cli(&["cluster", "nodes"]);
                info.lines()
                    .any(|line| line.contains("fail ") || line.contains("fail,"))
            });
            // Most of the slots are there.
            store.probe(later()).unwrap();
        }
        for number in 0..30 {
            if homes[number as usize] == dead {
                fails_in_time(unavailable, |deadline| store.get(&key_of(number), deadline));
            } else {
                let record = get(&store, &key_of(number));
                assert_eq!(record.unwrap(), number.to_be_bytes());
            }
        }
        // A batch goes where it can, and counts as failed.
        let keys: Vec<Key> = (0..30).map(key_of).collect();
        let record = [u8::from(known)];
        let batch: Vec<Write<'_>> = keys
            .iter()
            .map(|key| Write::Put {
                key,
                record: &record,
                ttl: Duration::from_secs(60),
            })
            .collect();
        let error = store.write(&batch, later()).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        for number in 0..30 {
            if homes[number as usize] != dead {
                assert_eq!(get(&store, &key_of(number)).unwrap(), record);
                put(&store, &key_of(number), &number.to_be_bytes());
            }
        }
    }
    nodes[dead].start();
    wait("the node to be back", || {
        store.probe(later()).is_ok() && store.get(&key_of(0), later()).is_ok()
    });
    assert_eq!(get(&store, &key_of(0)), None);
    put(&store, &key_of(0), b"back");
    assert_eq!(get(&store, &key_of(0)).unwrap(), b"back");
}

/// A node's replica takes over from it, and is found.
#[test]
fn a_replica_takes_over() {
    let Some(mut nodes) = cluster() else { return };
    let Some(replica) = redis(&lines()) else {
        return;
    };
    let address = |node: &Server| format!("127.0.0.1:{}", node.port);
    let master = id(&nodes[0]);
    let (new, known) = (address(&replica), address(&nodes[0]));
    let add = ["--cluster", "add-node", &new, &known];
    let said = nodes[0].cli(
        &[
            &add[..],
            &["--cluster-slave", "--cluster-master-id", &master],
        ]
        .concat(),
    );
    assert!(said.contains("New node added correctly"), "{said}");
    let store = store(&[&nodes[0], &nodes[1]]);
    store.probe(later()).unwrap();
    let name = (0..).map(|number| format!("key{number}"));
    let name = name
        .into_iter()
        .find(|name| home(&nodes, name) == 0)
        .unwrap();
    let one = Key::new(name.as_bytes()).unwrap();
    put(&store, &one, b"one");
    wait("the replica to have it", || {
        replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
            && replica.cli(&["dbsize"]) == nodes[0].cli(&["dbsize"])
    });
    nodes[0].kill();
    fails_in_time(unavailable, |deadline| store.get(&one, deadline));
    wait("the fail-over", || {
        let soon = std::time::Instant::now() + millis(500);
        store.probe(soon).is_ok() && store.get(&one, soon).is_ok()
    });
    assert_eq!(store.take(&one, later()).unwrap().unwrap(), b"one");
    put(&store, &one, b"two");
    assert_eq!(get(&store, &one).unwrap(), b"two");
    assert!(replica.cli(&["role"]).starts_with("master"));
}

#[test]
fn down_at_the_start() {
    let Some(nodes) = cluster() else { return };
    let store = store(&[&nodes[0]]);
    drop(nodes);
    fails_in_time(unavailable, |deadline| store.get(&key(1), deadline));
    fails_in_time(unavailable, |deadline| store.probe(deadline));
}

/// A server that is no cluster is told by what it answers.
#[test]
fn no_cluster() {
    let Some(server) = redis("user me on >secret +@all ~*") else {
        return;
    };
    let store = store(&[&server]);
    fails_in_time(refused, |deadline| store.probe(deadline));
}
