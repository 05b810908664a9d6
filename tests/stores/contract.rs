//! What every store does, whichever it is.

use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, Key, MAX_KEY, StoreError, Write};

use crate::servers::{get, key, later, millis, put, wait};

const MINUTE: Duration = Duration::from_secs(60);

/// The whole contract of one caller. `shortest` is the shortest time that the store can keep a record.
pub(crate) fn contract(store: &dyn ExternalStore, shortest: Duration) {
    records(store);
    keys(store);
    sizes(store);
    batches(store);
    claims_and_counters(store);
    times(store, shortest);
    deadlines(store);
    store.probe(later()).unwrap();
}

fn records(store: &dyn ExternalStore) {
    let (one, other) = (key(1), key(2));
    assert_eq!(get(store, &one), None);
    assert_eq!(store.take(&one, later()).unwrap(), None);
    put(store, &one, b"first");
    assert_eq!(get(store, &one).unwrap(), b"first");
    assert_eq!(get(store, &one).unwrap(), b"first");
    assert_eq!(get(store, &other), None);
    put(store, &one, b"second");
    put(store, &other, b"another");
    assert_eq!(store.take(&one, later()).unwrap().unwrap(), b"second");
    assert_eq!(store.take(&one, later()).unwrap(), None);
    assert_eq!(get(store, &one), None);
    assert_eq!(get(store, &other).unwrap(), b"another");
    remove(store, &other);
    assert_eq!(get(store, &other), None);
    // It is no fault to remove what is not there.
    remove(store, &other);
    put(store, &one, b"third");
    assert_eq!(store.take(&one, later()).unwrap().unwrap(), b"third");
}

fn keys(store: &dyn ExternalStore) {
    // All bytes, in keys of all kinds of lengths: ends of lines, spaces, zeros, braces.
    let all: Vec<u8> = (0..=255).collect();
    let mut names: Vec<Key> = all.iter().map(|&byte| Key::new(&[byte]).unwrap()).collect();
    names.push(Key::new(&all[..MAX_KEY]).unwrap());
    names.push(Key::new(&all[128..]).unwrap());
    names.push(Key::new(b"{a}b").unwrap());
    names.push(Key::new(b"{}a\r\nb c").unwrap());
    names.push(Key::new(&[0; MAX_KEY]).unwrap());
    names.push(Key::new(&[0; MAX_KEY - 1]).unwrap());
    let records: Vec<Vec<u8>> = (0..names.len() as u32)
        .map(|number| number.to_be_bytes().to_vec())
        .collect();
    let ttl = MINUTE;
    let puts: Vec<Write<'_>> = names
        .iter()
        .zip(&records)
        .map(|(key, record)| Write::Put { key, record, ttl })
        .collect();
    store.write(&puts, later()).unwrap();
    for (key, record) in names.iter().zip(&records) {
        assert_eq!(get(store, key).as_ref(), Some(record));
    }
    for (key, record) in names.iter().zip(&records) {
        assert_eq!(store.take(key, later()).unwrap().as_ref(), Some(record));
    }
}

fn sizes(store: &dyn ExternalStore) {
    let all: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for size in [0, 1, 2, 63, 4094, 4095, 4096, 4097, 65_535, 300_000] {
        put(store, &key(3), &all[..size]);
        assert_eq!(get(store, &key(3)).unwrap(), &all[..size], "{size}");
        let taken = store.take(&key(3), later()).unwrap();
        assert_eq!(taken.unwrap(), &all[..size], "{size}");
    }
    // What would end an answer if it were not counted.
    put(store, &key(3), b"\r\n$3\r\nEN\r\n");
    assert_eq!(get(store, &key(3)).unwrap(), b"\r\n$3\r\nEN\r\n");
    remove(store, &key(3));
}

fn batches(store: &dyn ExternalStore) {
    let (one, other, ttl) = (key(4), key(5), MINUTE);
    let one_is = |record| Write::Put {
        key: &one,
        record,
        ttl,
    };
    let other_is = |record| Write::Put {
        key: &other,
        record,
        ttl,
    };
    let batch = [
        one_is(b"a"),
        other_is(b"b"),
        Write::Remove { key: &one },
        one_is(b"c"),
        one_is(b"d"),
        Write::Remove { key: &other },
    ];
    store.write(&batch, later()).unwrap();
    assert_eq!(get(store, &one).unwrap(), b"d");
    assert_eq!(get(store, &other), None);
    store.write(&[], later()).unwrap();

    let keys: Vec<Key> = (1000..4000).map(key).collect();
    let puts: Vec<Write<'_>> = keys
        .iter()
        .map(|key| Write::Put {
            key,
            record: key.as_bytes(),
            ttl,
        })
        .collect();
    store.write(&puts, later()).unwrap();
    for key in keys.iter().step_by(101) {
        assert_eq!(get(store, key).unwrap(), key.as_bytes());
    }
    let removes: Vec<Write<'_>> = keys.iter().map(|key| Write::Remove { key }).collect();
    store.write(&removes, later()).unwrap();
    for key in keys.iter().step_by(101) {
        assert_eq!(get(store, key), None);
    }
}

fn claims_and_counters(store: &dyn ExternalStore) {
    assert!(store.claim(&key(6), MINUTE, later()).unwrap());
    assert!(!store.claim(&key(6), MINUTE, later()).unwrap());
    assert!(store.claim(&key(7), MINUTE, later()).unwrap());

    let (one, other) = (key(8), key(9));
    assert_eq!(store.counter(&one, later()).unwrap(), 0);
    for value in 1..=11 {
        assert_eq!(store.increment(&one, later()).unwrap(), value);
        assert_eq!(store.counter(&one, later()).unwrap(), value);
    }
    assert_eq!(store.counter(&other, later()).unwrap(), 0);
    assert_eq!(store.increment(&other, later()).unwrap(), 1);
}

fn times(store: &dyn ExternalStore, shortest: Duration) {
    let (brief, long, mark) = (key(10), key(11), key(12));
    let ttl = shortest;
    let begin = Instant::now();
    let batch = [
        Write::Put {
            key: &brief,
            record: b"brief",
            ttl,
        },
        Write::Put {
            key: &long,
            record: b"long",
            ttl: Duration::MAX,
        },
    ];
    store.write(&batch, later()).unwrap();
    assert!(store.claim(&mark, ttl, later()).unwrap());
    let there = get(store, &brief);
    if begin.elapsed() < ttl {
        assert_eq!(there.unwrap(), b"brief");
    }
    let claimed = store.claim(&mark, ttl, later()).unwrap();
    if begin.elapsed() < ttl {
        assert!(!claimed);
    }
    wait("a record's end", || get(store, &brief).is_none());
    assert!(begin.elapsed() >= ttl, "gone after {:?}", begin.elapsed());
    assert_eq!(store.take(&brief, later()).unwrap(), None);
    wait("a mark's end", || store.claim(&mark, ttl, later()).unwrap());
    assert_eq!(get(store, &long).unwrap(), b"long");
    // A put begins the time anew.
    store.write(&batch, later()).unwrap();
    put(store, &brief, b"longer");
    std::thread::sleep(ttl + millis(100));
    assert_eq!(get(store, &brief).unwrap(), b"longer");
}

/// Once its deadline has passed, no call does anything, and each says so.
fn deadlines(store: &dyn ExternalStore) {
    let one = key(13);
    put(store, &one, b"there");
    let past = Instant::now() - millis(1);
    let put = Write::Put {
        key: &one,
        record: b"changed",
        ttl: MINUTE,
    };
    let errors = [
        store.get(&one, past).map(drop),
        store.take(&one, past).map(drop),
        store.claim(&key(14), MINUTE, past).map(drop),
        store.write(&[put, Write::Remove { key: &one }], past),
        store.counter(&one, past).map(drop),
        store.increment(&key(14), past).map(drop),
        store.probe(past),
    ];
    for error in errors {
        assert!(matches!(error, Err(StoreError::TimedOut)), "{error:?}");
    }
    store.probe(later()).unwrap();
    assert_eq!(get(store, &one).unwrap(), b"there");
    assert!(store.claim(&key(14), MINUTE, later()).unwrap());
}

fn remove(store: &dyn ExternalStore, key: &Key) {
    store.write(&[Write::Remove { key }], later()).unwrap();
}
