//! The storage that rustls is given, called with any keys and values, beside a map.

use std::collections::HashMap;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use refrain::adapter::rustls::Sessions;
use refrain::{ContextId, Maintenance, ManualClock, SessionCache};
use rustls::server::StoresServerSessions;

const MOST: usize = 200;
/// The largest session that the cache keeps, with its header of 64 bytes.
const LARGEST: usize = 512;

pub(crate) fn run(data: &[u8]) {
    // Bytes that end too early end the sequence.
    let _ = sequence(&mut Unstructured::new(data));
}

fn sequence(u: &mut Unstructured<'_>) -> Result<()> {
    let cache = SessionCache::builder()
        .capacity(4 * MOST)
        .max_session_bytes(LARGEST)
        .clock(ManualClock::new())
        .maintenance(Maintenance::Manual)
        .build()
        .expect("a small cache");
    let context = ContextId::derive("fuzz", &[]);
    let store: Arc<Sessions> = Sessions::new(&cache, context).expect("a context");
    let mut known = HashMap::<Vec<u8>, Vec<u8>>::new();
    for _ in 0..MOST {
        if u.is_empty() {
            break;
        }
        step(u, &store, &mut known)?;
        assert_eq!(cache.len(), known.len());
    }
    let stats = cache.stats();
    assert!(stats.is_balanced(), "{stats:#?}");
    assert_eq!(stats.callback_panics, 0);
    Ok(())
}

fn step(
    u: &mut Unstructured<'_>,
    store: &Sessions,
    known: &mut HashMap<Vec<u8>, Vec<u8>>,
) -> Result<()> {
    let call = u.int_in_range(0..=5)?;
    let key = key(u)?;
    let expected = known.get(&key).cloned();
    match call {
        0..=2 => {
            let value = value(u)?;
            crate::trace(&("put", &key, &value));
            let fits = (1..=32).contains(&key.len()) && rounded(64 + value.len()) <= LARGEST;
            assert_eq!(store.put(key.clone(), value.clone()), fits);
            if fits {
                known.insert(key, value);
            }
        }
        3 => {
            crate::trace(&("get", &key));
            assert_eq!(store.get(&key), expected);
        }
        _ => {
            crate::trace(&("take", &key));
            // The session of a TLS 1.2 client is not to be had by a TLS 1.3 client that has seen its id.
            let expected = expected.filter(|value| !starts_as_tls12(value));
            assert_eq!(store.take(&key), expected);
            if expected.is_some() {
                known.remove(&key);
            }
        }
    }
    Ok(())
}

/// Memory comes in lines of 64 bytes.
fn rounded(bytes: usize) -> usize {
    bytes.next_multiple_of(64)
}

/// Of any length, mostly such that it comes again.
fn key(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = *u.choose(&[32, 32, 32, 1, 0, 31, 33, 40])?;
    let mut key = vec![0; len];
    if let Some(first) = key.first_mut() {
        *first = u.int_in_range(0..=15)?;
    }
    if let Some(last) = key.last_mut() {
        *last |= u.int_in_range(0..=1)?;
    }
    Ok(key)
}

/// As rustls begins them, or any bytes.
fn value(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut value = match u.int_in_range(0..=3)? {
        0 => Vec::new(),
        1 => vec![0],
        2 => vec![1, u.int_in_range(0..=20)?],
        _ => u.bytes(u.len().min(2))?.to_vec(),
    };
    let name = u.int_in_range(0..=20)?;
    value.extend(u.bytes(u.len().min(name))?);
    if u.arbitrary()? {
        value.extend([3, *u.choose(&[3, 3, 4])?]);
    }
    value.resize(value.len() + u.int_in_range(0..=600)?, 7);
    Ok(value)
}

/// What rustls 0.23 encodes: whether there is a server name, its length and bytes, and the protocol version.
fn starts_as_tls12(value: &[u8]) -> bool {
    let mut bytes = value.iter().copied();
    match bytes.next() {
        Some(0) => {}
        Some(1) => {
            let Some(len) = bytes.next() else {
                return false;
            };
            for _ in 0..len {
                bytes.next();
            }
        }
        _ => return false,
    }
    bytes.next() == Some(3) && bytes.next() == Some(3)
}
