//! A process that forks.

#![cfg(unix)]

use std::time::{Duration, Instant};

use refrain::store::{Disk, ExternalStore, Opened, Write};

use crate::servers::{Kind, get, key, later, millis, put, unavailable};

/// A forked child has its parent's connections and its file: it leaves them alone, and says so.
#[test]
fn a_forked_child_touches_nothing() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("sessions");
    let (disk, _) = Disk::open(&path).unwrap();
    put(&disk, &key(1), b"one");
    let mut servers = Vec::new();
    let mut stores: Vec<Box<dyn ExternalStore>> = vec![Box::new(disk)];
    for kind in Kind::ALL {
        if let Some(server) = kind.server() {
            stores.push(kind.connected(server.port, 2));
            put(&**stores.last().unwrap(), &key(1), b"one");
            servers.push(server);
        }
    }
    // SAFETY: the child calls the stores, which refuse before they take a lock, drops them, and ends by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let soon = Instant::now() + millis(1000);
        let refused = stores.iter().all(|store| {
            let errors = [
                store.get(&key(1), soon).map(drop),
                store.take(&key(1), soon).map(drop),
                store
                    .claim(&key(2), Duration::from_secs(60), soon)
                    .map(drop),
                store.write(&[Write::Remove { key: &key(1) }], soon),
                store.counter(&key(3), soon).map(drop),
                store.increment(&key(3), soon).map(drop),
                store.probe(soon),
            ];
            errors
                .iter()
                .all(|done| done.as_ref().is_err_and(unavailable))
        });
        drop(stores);
        // SAFETY: ends the child, without the destructors of what the parent owns.
        unsafe { libc::_exit(if refused { 0 } else { 1 }) };
    }
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the child is this process's, and the status is written to a place of its type.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child used what is not its own");
    for store in &stores {
        assert_eq!(get(&**store, &key(1)).unwrap(), b"one");
        put(&**store, &key(1), b"two");
        assert_eq!(store.take(&key(1), later()).unwrap().unwrap(), b"two");
        put(&**store, &key(1), b"three");
    }
    drop(stores);
    let (disk, opened) = Disk::open(&path).unwrap();
    assert_eq!(opened, Opened::Kept { records: 1 });
    assert_eq!(get(&disk, &key(1)).unwrap(), b"three");
}
