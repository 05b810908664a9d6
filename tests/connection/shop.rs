//! A cache with an external store's callbacks, each of whose calls is on record.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use refrain::{CacheMode, Connection, RemovalCause, Session, SessionCache, SessionId};

use super::common::{Rig, id, number, session};

/// A session that an external store hands out, made for the look-up.
pub(crate) type Supply = Arc<dyn Fn(&refrain::Lookup<'_>) -> Option<Session> + Send + Sync>;

/// What the callbacks have seen.
#[derive(Default)]
struct Record {
    new: Vec<u64>,
    /// The ids asked for, and whether for single use.
    asked: Vec<(SessionId, bool)>,
    supplies: HashMap<SessionId, Supply>,
}

/// A rig whose callbacks keep a record.
pub(crate) struct Shop {
    pub(crate) rig: Rig,
    record: Arc<Mutex<Record>>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(CacheMode::SERVER)
    }

    pub(crate) fn with(mode: CacheMode) -> Self {
        let record = Arc::<Mutex<Record>>::default();
        let (new, get) = (Arc::clone(&record), Arc::clone(&record));
        let builder = SessionCache::builder()
            .mode(mode)
            .on_new(move |session| {
                new.lock().unwrap().new.push(number(session));
                true
            })
            .on_get(move |lookup| {
                let mut record = get.lock().unwrap();
                record.asked.push((*lookup.id, lookup.single_use));
                let supply = record.supplies.get(lookup.id).cloned();
                drop(record);
                supply?(lookup)
            });
        Self {
            rig: Rig::with(builder),
            record,
        }
    }

    pub(crate) fn cache(&self) -> &SessionCache {
        &self.rig.cache
    }

    /// A server's connection.
    pub(crate) fn accept(&self) -> Connection {
        self.rig.cache.accept(&self.rig.context)
    }

    /// A client's connection.
    pub(crate) fn connect(&self) -> Connection {
        self.rig.cache.connect(&self.rig.context)
    }

    /// Puts the session of number `n` into the cache.
    pub(crate) fn stock(&self, n: u64) {
        assert!(self.rig.add(n).is_cached());
    }

    /// Lets the external store have the session of number `n`.
    pub(crate) fn supply(&self, n: u64) {
        self.supply_by(n, move |lookup| Some(session(lookup.context, n)));
    }

    /// Lets the external store answer so when it is asked for number `n`.
    pub(crate) fn supply_by(
        &self,
        n: u64,
        supply: impl Fn(&refrain::Lookup<'_>) -> Option<Session> + Send + Sync + 'static,
    ) {
        let supplies = &mut self.record.lock().unwrap().supplies;
        supplies.insert(id(n), Arc::new(supply));
    }

    /// The sessions that the new callback was told of since the last call.
    pub(crate) fn told(&self) -> Vec<u64> {
        std::mem::take(&mut self.record.lock().unwrap().new)
    }

    /// What the get callback was asked for since the last call.
    pub(crate) fn asked(&self) -> Vec<(SessionId, bool)> {
        std::mem::take(&mut self.record.lock().unwrap().asked)
    }

    /// What the remove callback heard since the last call.
    pub(crate) fn gone(&self) -> Vec<(u64, RemovalCause)> {
        self.rig.gone()
    }

    pub(crate) fn has(&self, n: u64) -> bool {
        self.rig.has(n)
    }
}

/// The bytes of id number `n`, as the network brings them.
pub(crate) fn key(n: u64) -> [u8; 32] {
    id(n).as_bytes().try_into().unwrap()
}

/// Establishes the session of number `n`, as a full handshake or a ticket does.
pub(crate) fn establish(connection: &mut Connection, n: u64) -> bool {
    let session = connection.session_builder(id(n)).build(&n.to_be_bytes());
    connection.establish(session.unwrap())
}
