//! A single Redis: passwords, users, sockets, and what it refuses.

use std::fs;
use std::time::Duration;

use refrain::store::{Redis, StoreError, Write};

use crate::contract::contract;
use crate::servers::{Kind, fails_in_time, get, key, later, millis, put, redis, refused, wait};

/// What the documentation of the store says that its user needs.
pub(crate) const ALLOWED: &str =
    "~refrain:* resetchannels -@all +get +set +getdel +del +incr +ping +select";

#[test]
fn keeps_the_contract() {
    let Some(server) = redis("") else { return };
    contract(&*Kind::Redis.connected(server.port, 4), millis(200));
}

#[test]
fn keeps_the_contract_over_a_socket() {
    let Some(server) = redis("unixsocket redis.sock") else {
        return;
    };
    let path = server.path().join("redis.sock");
    let url = format!("redis+unix://{}", path.display());
    let store = Redis::at(&url).unwrap().build().unwrap();
    wait("the socket", || store_probe(&store));
    contract(&store, millis(200));
}

fn store_probe(store: &Redis) -> bool {
    use refrain::store::ExternalStore;
    store.probe(later()).is_ok()
}

#[test]
fn keeps_the_contract_as_the_user_of_the_documentation() {
    use refrain::store::ExternalStore;
    let lines = format!("user default off\nuser me on >se/cret {ALLOWED}");
    let Some(server) = redis(&lines) else { return };
    let url = format!("redis://me:se%2Fcret@127.0.0.1:{}/3", server.port);
    let store = Redis::at(&url).unwrap().build().unwrap();
    store.probe(later()).unwrap();
    contract(&store, millis(200));
    // The prefix is what it may touch, and nothing else.
    let store = Redis::at(&url).unwrap().prefix("other:").build().unwrap();
    store.probe(later()).unwrap();
    let error = store.get(&key(1), later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}

#[test]
fn prefixes_and_databases_keep_apart() {
    let Some(server) = redis("") else { return };
    let url = format!("redis://127.0.0.1:{}", server.port);
    let at = |prefix: &str, database| {
        use refrain::store::ExternalStore;
        let store = Redis::at(&url).unwrap().prefix(prefix).database(database);
        let store = store.build().unwrap();
        store.probe(later()).unwrap();
        store
    };
    put(&at("a:", 0), &key(1), b"a0");
    put(&at("b:", 0), &key(1), b"b0");
    put(&at("a:", 1), &key(1), b"a1");
    assert_eq!(get(&at("a:", 0), &key(1)).unwrap(), b"a0");
    assert_eq!(get(&at("b:", 0), &key(1)).unwrap(), b"b0");
    assert_eq!(get(&at("a:", 1), &key(1)).unwrap(), b"a1");
    assert_eq!(get(&at("b:", 1), &key(1)), None);
}

#[test]
fn a_wrong_password_is_refused() {
    use refrain::store::ExternalStore;
    let Some(server) = redis("requirepass right") else {
        return;
    };
    for login in ["", ":wrong@", "nobody:right@"] {
        let url = format!("redis://{login}127.0.0.1:{}", server.port);
        let store = Redis::at(&url).unwrap().build().unwrap();
        let error = fails_in_time(refused, |deadline| store.probe(deadline));
        let text = format!("{error} {error:?} {store:?}");
        assert!(!text.contains("wrong@"), "{text}");
        let remove = Write::Remove { key: &key(1) };
        fails_in_time(refused, |deadline| store.write(&[remove], deadline));
    }
    let url = format!("redis://:right@127.0.0.1:{}", server.port);
    let store = Redis::at(&url).unwrap().build().unwrap();
    store.probe(later()).unwrap();
    assert_eq!(get(&store, &key(1)), None);
}

#[test]
fn a_full_server_refuses_and_goes_on() {
    let Some(server) = redis("maxmemory 8mb\nmaxmemory-policy noeviction") else {
        return;
    };
    let store = Kind::Redis.connected(server.port, 2);
    let large = vec![7; 100_000];
    let ttl = Duration::from_secs(60);
    let mut refused = None;
    for number in 0..200 {
        let key = key(number);
        let put = Write::Put {
            key: &key,
            record: &large,
            ttl,
        };
        if let Err(error) = store.write(&[put], later()) {
            refused = Some((number, error));
            break;
        }
    }
    let (number, error) = refused.unwrap();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(number > 0);
    // What was there is still there, on the same connections; and once there is room, there is room.
    assert_eq!(get(&*store, &key(0)).unwrap(), large);
    server.cli(&["flushall"]);
    wait("room", || {
        let put = Write::Put {
            key: &key(1),
            record: &large,
            ttl,
        };
        store.write(&[put], later()).is_ok()
    });
    assert_eq!(get(&*store, &key(1)).unwrap(), large);
}

#[test]
fn a_read_only_server_refuses() {
    let Some(server) = redis("") else { return };
    let store = Kind::Redis.connected(server.port, 2);
    put(&*store, &key(1), b"there");
    // As after a fail-over of which this client has not heard.
    server.cli(&["replicaof", "127.0.0.1", "1"]);
    let error = store.take(&key(1), later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let remove = Write::Remove { key: &key(1) };
    let error = store.write(&[remove], later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}

#[test]
fn another_type_under_a_key_is_no_record() {
    let Some(server) = redis("") else { return };
    let store = Kind::Redis.connected(server.port, 2);
    let name = refrain::store::Key::new(b"list").unwrap();
    server.cli(&["lpush", "refrain:list", "x"]);
    let error = store.get(&name, later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    server.cli(&["set", "refrain:list", "no number"]);
    let error = store.counter(&name, later()).unwrap_err();
    assert!(matches!(error, StoreError::Protocol(_)), "{error:?}");
    let error = store.increment(&name, later()).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    store.probe(later()).unwrap();
    assert_eq!(fs::read_dir(server.path()).unwrap().count(), 2, "a dump?");
}
