//! The shared tier: ClientHellos as they come from the network, and records as they come from a store.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use refrain::store::{
    ExternalOptions, ExternalStore, Key, Keys, MAX_READ_BUDGET, StoreError, Write, resumption_ids,
};
use refrain::{Context, ContextId, SessionCache};

/// What is found in any bytes is in them; what an honest client offers is found.
pub(crate) fn hello(data: &[u8]) {
    let found = resumption_ids(data);
    assert!(found.len() <= 4);
    if data.len() < 5 + 4 + 34 {
        assert!(found.is_empty());
    }
    // Bytes that end too early are no case.
    let _ = honest(&mut Unstructured::new(data));
}

fn honest(u: &mut Unstructured<'_>) -> Result<()> {
    let session = u.bytes(u.len().min(40))?.to_vec();
    let session = &session[..session.len().min(32)];
    let mut identities = Vec::new();
    for _ in 0..u.int_in_range(0..=6)? {
        let len = u.int_in_range(1..=60)?;
        identities.push(u.bytes(len)?.to_vec());
    }
    let size = u.int_in_range(1..=200)?;
    crate::trace(&(&session, &identities, size));

    let vector = |len: usize, bytes: &[u8]| {
        let length = bytes.len().to_be_bytes();
        [&length[8 - len..], bytes].concat()
    };
    let mut body = [&[3; 34][..], &vector(1, session), &[0, 2, 0x13, 1, 1, 0]].concat();
    let list: Vec<u8> = identities
        .iter()
        .flat_map(|id| [vector(2, id), vec![7; 4]].concat())
        .collect();
    if !identities.is_empty() {
        let extension = [vector(2, &list), vector(2, &[9; 33])].concat();
        body.extend(vector(2, &[&[0, 41][..], &vector(2, &extension)].concat()));
    }
    let message = [&[1][..], &vector(3, &body)].concat();
    let hello: Vec<u8> = message
        .chunks(size)
        .flat_map(|part| [&[22, 3, 1][..], &vector(2, part)].concat())
        .collect();

    let offered: Vec<(&[u8], bool)> = if identities.is_empty() {
        Vec::from([(session, false)])
    } else {
        identities.iter().map(|id| (&id[..], true)).collect()
    };
    let expected = offered
        .into_iter()
        .filter(|(id, _)| (1..=32).contains(&id.len()));
    let found = resumption_ids(&hello);
    let found = found
        .iter()
        .map(|offered| (offered.id.as_bytes(), offered.single_use));
    assert!(found.eq(expected.take(4)));
    Ok(())
}

/// A store that answers whatever it is asked by these bytes.
#[derive(Default)]
struct Oracle(Mutex<Vec<u8>>);

impl ExternalStore for Oracle {
    fn get(&self, _: &Key, _: Instant) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        Ok(Some(self.0.lock().expect("nobody panicked").clone()))
    }

    fn take(&self, key: &Key, until: Instant) -> std::result::Result<Option<Vec<u8>>, StoreError> {
        self.get(key, until)
    }

    fn claim(&self, _: &Key, _: Duration, _: Instant) -> std::result::Result<bool, StoreError> {
        Ok(true)
    }

    fn write(&self, _: &[Write<'_>], _: Instant) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    fn counter(&self, _: &Key, _: Instant) -> std::result::Result<u64, StoreError> {
        Ok(0)
    }

    fn increment(&self, _: &Key, _: Instant) -> std::result::Result<u64, StoreError> {
        Ok(1)
    }

    fn probe(&self, _: Instant) -> std::result::Result<(), StoreError> {
        Ok(())
    }
}

type Server = (Arc<Oracle>, SessionCache, Context);

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let oracle = Arc::new(Oracle::default());
    let key = |n: u8| std::array::from_fn(|i| (i as u8 ^ n).wrapping_mul(37).wrapping_add(n));
    let keys = Keys::new(&key(1), &key(2)).expect("good keys");
    let options = ExternalOptions::new(keys).read_budget(MAX_READ_BUDGET);
    let builder = SessionCache::builder().external(Arc::clone(&oracle), options);
    let cache = builder.build().expect("a cache");
    let context = cache
        .context(ContextId::derive("fuzz", &[]))
        .expect("a context");
    assert!(cache.settle_external(Duration::from_secs(10)));
    (oracle, cache, context)
});

/// Nothing that a store makes up resumes.
pub(crate) fn record(data: &[u8]) {
    let (oracle, cache, context) = &*SERVER;
    let mut record = data.to_vec();
    // Often of this form.
    if let Some(first) = record.first_mut().filter(|first| **first < 200) {
        *first = 1;
    }
    oracle
        .0
        .lock()
        .expect("nobody panicked")
        .clone_from(&record);
    let mut connection = cache.accept(context);
    assert!(connection.resume([7; 32]).is_none());
    assert!(connection.resume_once([8; 32]).is_none());
}
