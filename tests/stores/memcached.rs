//! A single memcached: sockets, and what it refuses.

use std::time::Duration;

use refrain::store::{ExternalStore, Memcached, StoreError, Write};

use crate::contract::contract;
use crate::servers::{Kind, get, key, later, memcached, put, wait};

const TTL: Duration = Duration::from_secs(60);

#[test]
fn keeps_the_contract() {
    let Some(server) = memcached(&[]) else { return };
    contract(
        &*Kind::Memcached.connected(server.port, 4),
        Duration::from_secs(1),
    );
}

#[test]
fn prefixes_keep_apart() {
    let Some(server) = memcached(&[]) else { return };
    let at = |prefix: &str| {
        let store = Memcached::at(&format!("127.0.0.1:{}", server.port)).unwrap();
        let store = store.prefix(prefix).build().unwrap();
        store.probe(later()).unwrap();
        store
    };
    put(&at("a:"), &key(1), b"a");
    put(&at("b:"), &key(1), b"b");
    assert_eq!(get(&at("a:"), &key(1)).unwrap(), b"a");
    assert_eq!(get(&at("b:"), &key(1)).unwrap(), b"b");
}

#[test]
fn what_is_too_large_is_refused_and_the_rest_is_stored() {
    let Some(server) = memcached(&[]) else { return };
    let store = Kind::Memcached.connected(server.port, 2);
    let large = vec![7; 2 << 20];
    let (one, two, three) = (key(1), key(2), key(3));
    let put = |key, record| Write::Put {
        key,
        record,
        ttl: TTL,
    };
    let batch = [put(&one, b"1"), put(&two, &large), put(&three, b"3")];
    let error = store.write(&batch, later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert_eq!(get(&*store, &one).unwrap(), b"1");
    assert_eq!(get(&*store, &two), None);
    assert_eq!(get(&*store, &three).unwrap(), b"3");
    // Last in the batch, it is not taken for an answer to the next one.
    let error = store.write(&[put(&two, &large)], later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert_eq!(store.increment(&key(4), later()).unwrap(), 1);
}

#[test]
fn a_full_server_refuses_and_goes_on() {
    let Some(server) = memcached(&["-m", "8", "-M"]) else {
        return;
    };
    let store = Kind::Memcached.connected(server.port, 2);
    let large = vec![7; 400_000];
    let mut refused = None;
    for number in 0..200 {
        let key = key(number);
        let put = Write::Put {
            key: &key,
            record: &large,
            ttl: TTL,
        };
        if let Err(error) = store.write(&[put], later()) {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.unwrap();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(number > 0);
    assert_eq!(get(&*store, &key(0)).unwrap(), large);
    let remove = Write::Remove { key: &key(0) };
    store.write(&[remove], later()).unwrap();
    put(&*store, &key(500), b"small");
    assert_eq!(get(&*store, &key(500)).unwrap(), b"small");
}

#[test]
fn a_counter_that_is_no_number_is_refused() {
    let Some(server) = memcached(&[]) else { return };
    let store = Kind::Memcached.connected(server.port, 2);
    put(&*store, &key(1), b"no number");
    let error = store.counter(&key(1), later()).unwrap_err();
    assert!(matches!(error, StoreError::Protocol(_)), "{error:?}");
    assert!(store.increment(&key(1), later()).is_err());
    store.probe(later()).unwrap();
    assert_eq!(get(&*store, &key(1)).unwrap(), b"no number");
}

#[test]
fn keeps_the_contract_over_a_socket() {
    // With -s it listens on no port. So it is another process of the same directory that does.
    let Some(server) = memcached(&[]) else { return };
    let path = server.path().join("memcached.sock");
    let mut other = std::process::Command::new("memcached")
        .args(["-u", "root", "-s"])
        .arg(&path)
        .spawn()
        .map(Killed)
        .unwrap();
    let store = Memcached::at(&format!("unix:{}", path.display())).unwrap();
    let store = store.build().unwrap();
    wait("the socket", || store.probe(later()).is_ok());
    contract(&store, Duration::from_secs(1));
    assert!(other.0.try_wait().unwrap().is_none());
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
