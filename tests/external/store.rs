//! A store in this process that keeps the contract of `ExternalStore`, with switches for breaking it.
//!
//! It is no stand-in for any server: what is tested with it is what the tier makes of a store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use refrain::store::{ExternalStore, Key, StoreError, Write};

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// There is no connection.
    Down,
    /// Nothing answers, and the caller's deadline passes.
    Silent,
    /// The answer comes so many milliseconds late, past the deadline.
    Late(u64),
    /// Every call is refused, as with a wrong password.
    Refuses,
    /// Reads are answered, writes are refused: out of memory.
    Full,
    /// Any record is answered by these bytes.
    Garbage,
    /// Any look-up is answered by the record of another id.
    Swapped,
    /// What answers is no store.
    Nonsense,
    /// The store's code panics.
    Panics,
    /// No connection is free for reads; the worker has one.
    Busy,
    /// Writes are done, and their answer is lost.
    Deaf,
}

#[derive(Default)]
struct Shelves {
    records: HashMap<Key, (Vec<u8>, Instant)>,
    counters: HashMap<Key, u64>,
    /// The steps of all batches, in order: true for a put.
    log: Vec<(Key, bool)>,
    fault: Fault,
    /// Reads stop here until it is opened.
    gate_closed: bool,
    /// How many reads are waiting there.
    at_gate: usize,
    /// So do writes.
    writes_held: bool,
    /// Whether one is.
    writing: bool,
    longest_ttl: Duration,
}

/// Writes are held up.
pub(crate) struct Held<'a>(&'a Shop);

impl Held<'_> {
    /// Waits until a write is held up.
    pub(crate) fn wait(&self) {
        let mut shelves = self.0.lock();
        while !shelves.writing {
            shelves = self.0.news.wait(shelves).unwrap();
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().writes_held = false;
        self.0.news.notify_all();
    }
}

#[derive(Default)]
pub(crate) struct Shop {
    shelves: Mutex<Shelves>,
    news: Condvar,
    pub(crate) gets: AtomicU64,
    pub(crate) takes: AtomicU64,
    pub(crate) probes: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) read_on_worker: AtomicBool,
    pub(crate) probe_elsewhere: AtomicBool,
}

impl Shop {
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap()
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.lock().fault = fault;
        self.news.notify_all();
    }

    /// Whether it keeps its contract at the moment.
    pub(crate) fn is_well(&self) -> bool {
        let shelves = self.lock();
        shelves.fault == Fault::None && !shelves.gate_closed
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().records.len()
    }

    pub(crate) fn reads(&self) -> u64 {
        self.gets.load(SeqCst) + self.takes.load(SeqCst)
    }

    pub(crate) fn records(&self) -> Vec<Vec<u8>> {
        self.lock()
            .records
            .values()
            .map(|(r, _)| r.clone())
            .collect()
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        self.lock().records.keys().copied().collect()
    }

    pub(crate) fn longest_ttl(&self) -> Duration {
        self.lock().longest_ttl
    }

    pub(crate) fn log(&self) -> Vec<(Key, bool)> {
        self.lock().log.clone()
    }

    /// Loses everything, as a server that keeps nothing on disk and is started again.
    pub(crate) fn forget_everything(&self) {
        let mut shelves = self.lock();
        shelves.records.clear();
        shelves.counters.clear();
    }

    /// Changes every record.
    pub(crate) fn tamper(&self, change: impl Fn(&mut Vec<u8>)) {
        self.lock()
            .records
            .values_mut()
            .for_each(|(r, _)| change(r));
    }

    pub(crate) fn counters(&self) -> Vec<u64> {
        self.lock().counters.values().copied().collect()
    }

    pub(crate) fn close_gate(&self) {
        self.lock().gate_closed = true;
    }

    pub(crate) fn open_gate(&self) {
        self.lock().gate_closed = false;
        self.news.notify_all();
    }

    /// Waits until so many reads are inside, with their answers, and not out yet.
    pub(crate) fn wait_at_gate(&self, reads: usize) {
        let mut shelves = self.lock();
        while shelves.at_gate < reads {
            shelves = self.news.wait(shelves).unwrap();
        }
    }

    /// Lets no write end until the guard is dropped.
    pub(crate) fn hold_writes(&self) -> Held<'_> {
        self.lock().writes_held = true;
        Held(self)
    }

    /// What every call begins with.
    fn enter(&self, deadline: Instant) -> Result<MutexGuard<'_, Shelves>, StoreError> {
        let shelves = self.lock();
        let fault = shelves.fault;
        match fault {
            Fault::Down => Err(StoreError::Unavailable("it is down".to_owned())),
            Fault::Refuses => Err(StoreError::Refused("WRONGPASS".to_owned())),
            Fault::Nonsense => Err(StoreError::Protocol("HTTP/1.1".to_owned())),
            Fault::Silent | Fault::Late(_) => {
                drop(shelves);
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                let Fault::Late(late) = fault else {
                    return Err(StoreError::TimedOut);
                };
                std::thread::sleep(Duration::from_millis(late));
                Ok(self.lock())
            }
            Fault::Panics => {
                drop(shelves);
                std::panic::resume_unwind(Box::new("the store's"))
            }
            _ => Ok(shelves),
        }
    }

    fn read(
        &self,
        key: &Key,
        deadline: Instant,
        take: bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        if std::thread::current().name() == Some("refrain-store") {
            self.read_on_worker.store(true, SeqCst);
        }
        let mut shelves = self.enter(deadline)?;
        let fault = shelves.fault;
        if fault == Fault::Busy {
            return Err(StoreError::Unavailable("none is free".to_owned()));
        }
        let now = Instant::now();
        let found = match (fault, take) {
            (Fault::Swapped, _) => {
                let other = shelves.records.iter().find(|(k, _)| *k != key);
                other.map(|(_, record)| record.clone())
            }
            (_, true) => shelves.records.remove(key),
            (_, false) => shelves.records.get(key).cloned(),
        };
        let mut answer = found
            .filter(|(_, until)| now < *until)
            .map(|(record, _)| record);
        if fault == Fault::Garbage {
            answer = Some(vec![1; 256]);
        }
        shelves.at_gate += 1;
        self.news.notify_all();
        while shelves.gate_closed {
            shelves = self.news.wait(shelves).unwrap();
        }
        shelves.at_gate -= 1;
        Ok(answer)
    }
}

impl ExternalStore for Shop {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        self.gets.fetch_add(1, SeqCst);
        self.read(key, deadline, false)
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        self.takes.fetch_add(1, SeqCst);
        self.read(key, deadline, true)
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        let mut shelves = self.enter(deadline)?;
        let until = Instant::now() + ttl;
        let before = shelves.records.insert(*key, (Vec::new(), until));
        Ok(before.is_none())
    }

    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        let mut shelves = self.enter(deadline)?;
        shelves.writing = true;
        self.news.notify_all();
        while shelves.writes_held {
            shelves = self.news.wait(shelves).unwrap();
        }
        shelves.writing = false;
        if shelves.fault == Fault::Full {
            return Err(StoreError::Refused("OOM".to_owned()));
        }
        self.batches.fetch_add(1, SeqCst);
        for step in batch {
            match *step {
                Write::Put { key, record, ttl } => {
                    assert!(!ttl.is_zero());
                    shelves.longest_ttl = shelves.longest_ttl.max(ttl);
                    let until = Instant::now() + ttl;
                    shelves.records.insert(*key, (record.to_vec(), until));
                    shelves.log.push((*key, true));
                }
                Write::Remove { key } => {
                    shelves.records.remove(key);
                    shelves.log.push((*key, false));
                }
                _ => unreachable!("there are two kinds"),
            }
        }
        if shelves.fault == Fault::Deaf {
            return Err(StoreError::TimedOut);
        }
        Ok(())
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        Ok(self
            .enter(deadline)?
            .counters
            .get(key)
            .copied()
            .unwrap_or(0))
    }

    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        let mut shelves = self.enter(deadline)?;
        let counter = shelves.counters.entry(*key).or_default();
        *counter += 1;
        Ok(*counter)
    }

    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        self.probes.fetch_add(1, SeqCst);
        if std::thread::current().name() != Some("refrain-store") {
            self.probe_elsewhere.store(true, SeqCst);
        }
        self.enter(deadline).map(drop)
    }
}
