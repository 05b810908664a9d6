//! Many threads over several clients want the same record, or the same mark: one of them gets it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use refrain::store::{Disk, ExternalStore, Key, StoreError, Write};
use tempfile::TempDir;

use crate::servers::{Kind, key, later};

const ROUNDS: u32 = 2000;
const TTL: Duration = Duration::from_secs(300);

/// Each client has two threads, which all go through the same keys in step.
pub(crate) fn race(clients: &[&dyn ExternalStore]) {
    let keys: Vec<Key> = (10_000..10_000 + ROUNDS).map(key).collect();
    let marks: Vec<Key> = (20_000..20_000 + ROUNDS).map(key).collect();
    let puts: Vec<Write<'_>> = keys
        .iter()
        .map(|key| Write::Put {
            key,
            record: key.as_bytes(),
            ttl: TTL,
        })
        .collect();
    clients[0].write(&puts, later()).unwrap();
    let taken: Vec<AtomicU32> = keys.iter().map(|_| AtomicU32::new(0)).collect();
    let claimed: Vec<AtomicU32> = keys.iter().map(|_| AtomicU32::new(0)).collect();
    let together = Barrier::new(clients.len() * 2);
    std::thread::scope(|scope| {
        for client in clients.iter().chain(clients) {
            scope.spawn(|| {
                for round in 0..keys.len() {
                    together.wait();
                    if let Some(record) = client.take(&keys[round], later()).unwrap() {
                        assert_eq!(record, keys[round].as_bytes());
                        taken[round].fetch_add(1, Ordering::Relaxed);
                    }
                    if client.claim(&marks[round], TTL, later()).unwrap() {
                        claimed[round].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for round in 0..keys.len() {
        assert_eq!(taken[round].load(Ordering::Relaxed), 1, "taken: {round}");
        assert_eq!(
            claimed[round].load(Ordering::Relaxed),
            1,
            "claimed: {round}"
        );
    }
}

/// While some take, the same names get new records again and again: each record is handed out once at the most.
pub(crate) fn race_with_writes(clients: &[&dyn ExternalStore]) {
    let keys: Vec<Key> = (30_000..30_008).map(key).collect();
    let over = AtomicBool::new(false);
    let count = AtomicU32::new(0);
    let taken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| {
                let mut mine = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    for key in &keys {
                        match client.take(key, later()) {
                            Ok(Some(record)) => {
                                mine.push(record);
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            // A connection may be lost on a busy machine; what it was to bring is nobody's.
                            Ok(None) | Err(StoreError::Unavailable(_) | StoreError::TimedOut) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                taken.lock().unwrap().append(&mut mine);
            });
        }
        let deadline = later();
        for version in 0..u32::MAX {
            if count.load(Ordering::Relaxed) > 1000 || Instant::now() > deadline {
                break;
            }
            let version = version.to_be_bytes();
            let key = &keys[version[3] as usize % keys.len()];
            let put = Write::Put {
                key,
                record: &version,
                ttl: TTL,
            };
            clients[0].write(&[put], later()).unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let mut taken = taken.into_inner().unwrap();
    taken.sort();
    assert!(taken.len() > 1000, "only {} were taken", taken.len());
    for pair in taken.windows(2) {
        assert_ne!(pair[0], pair[1], "handed out twice");
    }
}

#[test]
fn of_all_takers_at_a_server_one_wins() {
    for kind in Kind::ALL {
        let Some(server) = kind.server() else {
            continue;
        };
        let clients: Vec<_> = (0..3).map(|_| kind.connected(server.port, 2)).collect();
        let clients: Vec<_> = clients.iter().map(|client| &**client).collect();
        race(&clients);
        race_with_writes(&clients);
    }
}

#[test]
fn of_all_takers_at_a_file_one_wins() {
    let directory = TempDir::new().unwrap();
    let (disk, _) = Disk::open(directory.path().join("sessions")).unwrap();
    race(&[&disk, &disk, &disk]);
    race_with_writes(&[&disk, &disk, &disk]);
}
