//! A master, its replica, and three sentinels: the master dies, and the replica takes over.

use std::time::Duration;

use refrain::store::{ExternalStore, Redis, StoreError, Write};

use crate::contract::contract;
use crate::race::race;
use crate::redis::ALLOWED;
use crate::servers::{
    Server, fails_in_time, free_port, get, key, later, millis, put, redis, sentinel, unavailable,
    wait,
};

pub(crate) struct Set {
    pub(crate) master: Server,
    replica: Server,
    sentinels: Vec<Server>,
}

pub(crate) fn set() -> Option<Set> {
    let login = format!("requirepass boss\nmasterauth boss\nuser me on >secret {ALLOWED} +role");
    let master = redis(&login)?;
    let port = master.port;
    let replica = redis(&format!("{login}\nreplicaof 127.0.0.1 {port}"))?;
    let watch = format!(
        "sentinel monitor sessions 127.0.0.1 {port} 2\n\
         sentinel auth-pass sessions boss\n\
         sentinel down-after-milliseconds sessions 1000\n\
         sentinel failover-timeout sessions 3000"
    );
    let sentinels: Vec<Server> = (0..3)
        .map(|_| sentinel(&watch))
        .collect::<Option<Vec<_>>>()?;
    let set = Set {
        master,
        replica,
        sentinels,
    };
    wait("the sentinels to know one another and the replica", || {
        set.sentinels.iter().all(|sentinel| {
            let replicas = sentinel.cli(&["sentinel", "replicas", "sessions"]);
            let quorum = sentinel.cli(&["sentinel", "ckquorum", "sessions"]);
            replicas.contains(&format!("{}", set.replica.port))
                && replicas.contains("ok")
                && quorum.starts_with("OK 3")
        })
    });
    Some(set)
}

impl Set {
    pub(crate) fn store(&self) -> Redis {
        let urls: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("redis://127.0.0.1:{}", sentinel.port))
            .collect();
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        let store = Redis::sentinel(&urls, "sessions").unwrap();
        store.user("me").password("secret").build().unwrap()
    }
}

#[test]
fn the_replica_takes_over() {
    let Some(mut set) = set() else { return };
    let store = set.store();
    store.probe(later()).unwrap();
    contract(&store, millis(200));
    let other = set.store();
    other.probe(later()).unwrap();
    race(&[&store, &other]);

    put(&store, &key(1), b"before");
    let replica = format!("{}", set.replica.port);
    wait("the replica to have it", || {
        set.replica.cli(&["-a", "boss", "dbsize"]) == set.master.cli(&["-a", "boss", "dbsize"])
    });
    set.master.kill();
    fails_in_time(unavailable, |deadline| store.get(&key(1), deadline));
    fails_in_time(unavailable, |deadline| store.probe(deadline));
    wait("the fail-over", || {
        store.probe(std::time::Instant::now() + millis(500)).is_ok()
    });
    let now = set.sentinels[0].cli(&["sentinel", "get-master-addr-by-name", "sessions"]);
    assert!(now.contains(&replica), "{now}");
    assert_eq!(get(&store, &key(1)).unwrap(), b"before");
    assert_eq!(store.take(&key(1), later()).unwrap().unwrap(), b"before");
    // The other client finds out by its writes alone.
    let remove = Write::Remove { key: &key(2) };
    wait("a write", || {
        other
            .write(&[remove], std::time::Instant::now() + millis(500))
            .is_ok()
    });
    // The old master comes back as a replica, and with it nothing that was taken.
    set.master.start();
    wait("the old master to be a replica", || {
        set.master.cli(&["-a", "boss", "role"]).starts_with("slave")
    });
    put(&store, &key(3), b"after");
    assert_eq!(get(&store, &key(1)), None);
    assert_eq!(get(&other, &key(3)).unwrap(), b"after");

    // Without the first sentinel, and then without any, what is connected goes on.
    set.sentinels.remove(0);
    let late = set.store();
    late.probe(later()).unwrap();
    assert_eq!(get(&late, &key(3)).unwrap(), b"after");
    set.sentinels.clear();
    late.probe(std::time::Instant::now() + Duration::from_secs(2))
        .unwrap();
    assert_eq!(get(&late, &key(3)).unwrap(), b"after");
}

#[test]
fn sentinels_that_know_no_such_master() {
    let Some(watch) = sentinel("") else { return };
    let url = format!("redis://127.0.0.1:{}", watch.port);
    let store = Redis::sentinel(&[&url], "sessions").unwrap();
    let store = store.build().unwrap();
    let error = fails_in_time(unavailable, |deadline| store.probe(deadline));
    assert!(error.to_string().contains("sessions"), "{error}");
    // Nobody at all.
    let url = format!("redis://127.0.0.1:{}", free_port());
    let store = Redis::sentinel(&[&url], "sessions").unwrap();
    let store = store.build().unwrap();
    fails_in_time(unavailable, |deadline| store.probe(deadline));
}

/// A sentinel that still names the old master leads nowhere: a server that is no master is not used.
#[test]
fn a_replica_is_not_taken_for_a_master() {
    let Some(master) = redis("") else { return };
    let Some(replica) = redis(&format!("replicaof 127.0.0.1 {}", master.port)) else {
        return;
    };
    let port = replica.port;
    let lines = format!("sentinel monitor sessions 127.0.0.1 {port} 1");
    let Some(watch) = sentinel(&lines) else {
        return;
    };
    let url = format!("redis://127.0.0.1:{}", watch.port);
    let store = Redis::sentinel(&[&url], "sessions").unwrap();
    let store = store.build().unwrap();
    let named = watch.cli(&["sentinel", "get-master-addr-by-name", "sessions"]);
    let done = store.probe(later());
    // Sentinel may find out by itself and name the master.
    if named.contains(&port.to_string()) {
        match done {
            Err(StoreError::Unavailable(why)) => assert!(why.contains("master"), "{why}"),
            done => {
                let named = watch.cli(&["sentinel", "get-master-addr-by-name", "sessions"]);
                assert!(!named.contains(&port.to_string()), "{done:?}");
            }
        }
    }
}
