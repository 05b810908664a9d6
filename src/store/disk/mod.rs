//! A file as the second tier: sessions survive a restart.

mod file;
mod journal;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use redb::{Database, Durability, ReadableDatabase, ReadableTable};

use file::{COUNTERS, ENDS, RECORDS, insert, mark_closed, open, parts, remove};
pub use file::{DiskError, Opened};
use journal::{Entry, Journal};

use crate::store::{ExternalStore, Key, StoreError, Write};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, SharedCell, lock};

/// The worker writes the database through at the first write after this long.
const THROUGH: Duration = Duration::from_secs(1);
/// So long a journal is written through by whoever makes it longer, in bytes.
const LONGEST: u64 = 4 << 20;
/// How many expired records a write or a probe removes at the most.
const PURGED: usize = 256;

/// Records in a file on this machine, which survive a restart of the process. Off unless it is asked for.
///
/// RFC 5246 warns of session ids on storage that others can read. The records arrive sealed; the file is made readable by
/// its owner only. A `redb` database; needs Rust 1.90.
///
/// # What survives
///
/// * **An orderly end** (the store is dropped): everything.
/// * **The process dies**: what was taken, removed, claimed or replaced stays so, because each such step is written to a
///   journal beside the file, `FILE.taken`, before it is done. Counters keep their values. Records that were put since the
///   database was last written through, at most a second before the last write, are lost.
/// * **The machine stops** while the file is open: nothing. The store begins empty, since the end of the journal may be
///   missing. (The run of the machine is known on Linux; elsewhere the same holds when the process dies.)
///
/// So a single-use record is never handed out twice, whatever happens. To copy a file back from a backup would defeat that.
///
/// # A file that can't be used
///
/// A torn or foreign file is renamed to `FILE.bad`, in the place of an older one, and the store begins empty. One for which
/// there is no room any more is removed; where there is none for a new one either, the store is in memory. [`Opened`] tells.
/// If the file can't be written later on, writes are refused; the next probe opens it anew, by the same rules. A store that
/// was emptied has lost its counters with its records. Opening reads the whole file, to be sure of it.
///
/// # Progress
///
/// A look-up reads without waiting for a writer. A take or a claim of a record that is there waits for its turn among the
/// writers, until its deadline; a write-through takes as long as the disk takes, once a second. The operations of the file
/// itself can't be interrupted.
///
/// # Examples
///
/// ```
/// use refrain::store::{Disk, Opened};
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("sessions");
/// let (store, opened) = Disk::open(&path)?;
/// assert_eq!(opened, Opened::New);
/// drop(store);
/// let (_store, opened) = Disk::open(&path)?;
/// assert_eq!(opened, Opened::Kept { records: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Disk {
    path: PathBuf,
    database: SharedCell<Database>,
    /// Whoever holds it is the only writer.
    turn: Mutex<Option<Writer>>,
    /// Somebody has given the turn back.
    free: Condvar,
    /// The file has failed; the next probe is to open it anew.
    failed: AtomicBool,
    opened: Mutex<Opened>,
}

struct Writer {
    journal: Journal,
    through: Instant,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Opens a file, or makes one, and tells what was found.
    ///
    /// # Errors
    ///
    /// [`DiskError::InUse`] if the file is open already; [`DiskError::Io`] if the path can't be used. Never for what is in
    /// the file.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, Opened), DiskError> {
        let path = path.as_ref().to_owned();
        let (database, journal, opened) = open(&path)?;
        let disk = Self {
            path,
            database: SharedCell::new(Some(Arc::new(database))),
            turn: Mutex::new(Some(Writer::new(journal))),
            free: Condvar::new(),
            failed: AtomicBool::new(false),
            opened: Mutex::new(opened.clone()),
        };
        Ok((disk, opened))
    }

    /// What was found when the file was last opened: by [`open`](Self::open), or by a probe after it had failed.
    pub fn opened(&self) -> Opened {
        lock(&self.opened).clone()
    }

    /// Does it with the database, before the deadline. Whatever goes wrong inside is an error.
    fn reading<T>(
        &self,
        deadline: Instant,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if Instant::now() >= deadline {
            return Err(StoreError::TimedOut);
        }
        let database = self.database.load().ok_or_else(closed)?;
        match catch_unwind(AssertUnwindSafe(|| act(&database))) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => {
                self.fail();
                Err(StoreError::Refused(error.to_string()))
            }
            Err(_) => {
                self.fail();
                Err(StoreError::Protocol("the database panicked".to_owned()))
            }
        }
    }

    /// The same, as the only writer.
    fn writing<T>(
        &self,
        deadline: Instant,
        act: impl FnOnce(&Database, &mut Writer) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut writer = self.wait(deadline)?;
        let done = self.reading(deadline, |database| act(database, &mut writer));
        *lock(&self.turn) = Some(writer);
        self.free.notify_one();
        done
    }

    /// Waits for the turn, until the deadline.
    fn wait(&self, deadline: Instant) -> Result<Writer, StoreError> {
        let mut turn = lock(&self.turn);
        loop {
            if let Some(writer) = turn.take() {
                return Ok(writer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreError::TimedOut);
            }
            turn = match self.free.wait_timeout(turn, left) {
                Ok((turn, _)) => turn,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn fail(&self) {
        // ORDERING: Relaxed. A hint to the next probe.
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Opens the file anew.
    fn reopen(&self, deadline: Instant) -> Result<(), StoreError> {
        let old = self.wait(deadline)?;
        let reopened = self.swap();
        let done = match reopened {
            Ok(writer) => {
                *lock(&self.turn) = Some(writer);
                Ok(())
            }
            Err(error) => {
                *lock(&self.turn) = Some(old);
                Err(StoreError::Unavailable(error.to_string()))
            }
        };
        self.free.notify_one();
        done
    }

    fn swap(&self) -> Result<Writer, DiskError> {
        // The last reader to let go of the old database closes it, and frees the file: if that is not us, the next probe
        // tries again.
        drop(self.database.swap(None));
        let (database, journal, opened) = open(&self.path)?;
        *lock(&self.opened) = opened;
        self.database.swap(Some(Arc::new(database)));
        // ORDERING: Relaxed, as in `fail`.
        self.failed.store(false, Ordering::Relaxed);
        Ok(Writer::new(journal))
    }
}

impl Writer {
    fn new(journal: Journal) -> Self {
        Self {
            journal,
            through: Instant::now(),
        }
    }

    /// Commits. What must not be undone is in the journal first, unless the commit is written through.
    fn commit(
        &mut self,
        mut write: redb::WriteTransaction,
        entries: &[u8],
        through: bool,
    ) -> Result<(), redb::Error> {
        let through = through || self.journal.len() + entries.len() as u64 > LONGEST;
        if through {
            write.commit()?;
            self.journal.clear()?;
            self.through = Instant::now();
        } else {
            write.set_durability(Durability::None)?;
            self.journal.append(entries)?;
            write.commit()?;
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // ORDERING: Relaxed, as in `fail`.
        let failed = self.failed.load(Ordering::Relaxed);
        if let (Some(database), false) = (self.database.swap(None), failed) {
            // If that fails, it is found at the next start.
            let _ = catch_unwind(AssertUnwindSafe(|| mark_closed(&database)));
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the file is not open".to_owned())
}

/// Milliseconds since 1970: the file is read by another process, to which no other clock means anything.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

fn end(ttl: Duration) -> u64 {
    now().saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
}

fn get(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let value = records.get(key)?;
    Ok(value.and_then(|value| match parts(value.value()) {
        Some((end, record)) if end > now() => Some(record.to_vec()),
        _ => None,
    }))
}

/// Removes a few of the records that have expired.
fn purge(write: &redb::WriteTransaction) -> Result<usize, redb::Error> {
    let old: Vec<(u64, Vec<u8>)> = {
        let ends = write.open_table(ENDS)?;
        let expired = ends.range(..(now(), &[][..]))?;
        expired
            .take(PURGED)
            .map(|entry| entry.map(|(end, _)| owned(end.value())))
            .collect::<Result<_, _>>()?
    };
    let mut records = write.open_table(RECORDS)?;
    let mut ends = write.open_table(ENDS)?;
    for (end, key) in &old {
        records.remove(&key[..])?;
        ends.remove((*end, &key[..]))?;
    }
    Ok(old.len())
}

fn owned((end, key): (u64, &[u8])) -> (u64, Vec<u8>) {
    (end, key.to_vec())
}

impl ExternalStore for Disk {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading(deadline, |database| get(database, key.as_bytes()))
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        // A miss needs no turn.
        if self.get(key, deadline)?.is_none() {
            return Ok(None);
        }
        self.writing(deadline, |database, writer| {
            let write = database.begin_write()?;
            let Some((end, record)) = remove(&write, key.as_bytes())? else {
                return Ok(None);
            };
            let mut entry = Vec::new();
            Entry::Gone(key.as_bytes()).write(&mut entry);
            writer.commit(write, &entry, false)?;
            Ok((end > now()).then_some(record))
        })
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        if self.get(key, deadline)?.is_some() {
            return Ok(false);
        }
        self.writing(deadline, |database, writer| {
            let write = database.begin_write()?;
            // Another may have come first.
            if let Some((end, _)) = remove(&write, key.as_bytes())? {
                if end > now() {
                    return Ok(false);
                }
            }
            let end = end(ttl);
            insert(&write, key.as_bytes(), b"1", end)?;
            let mut entry = Vec::new();
            Entry::Claimed(key.as_bytes(), end).write(&mut entry);
            writer.commit(write, &entry, false)?;
            Ok(true)
        })
    }

    /// One transaction: all of the batch, or nothing.
    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        self.writing(deadline, |database, writer| {
            let write = database.begin_write()?;
            let mut entries = Vec::new();
            for step in batch {
                let (key, gone) = match *step {
                    Write::Put { key, record, ttl } => {
                        let key = key.as_bytes();
                        (key, insert(&write, key, record, end(ttl))?)
                    }
                    Write::Remove { key } => {
                        let key = key.as_bytes();
                        (key, remove(&write, key)?.is_some())
                    }
                };
                if gone {
                    Entry::Gone(key).write(&mut entries);
                }
            }
            purge(&write)?;
            let through = writer.through.elapsed() >= THROUGH;
            writer.commit(write, &entries, through)
        })
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.reading(deadline, |database| {
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            let value = counters.get(key.as_bytes())?;
            Ok(value.map_or(0, |value| value.value()))
        })
    }

    /// Written through before it returns.
    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.writing(deadline, |database, writer| {
            let write = database.begin_write()?;
            let value = {
                let mut counters = write.open_table(COUNTERS)?;
                let before = counters
                    .get(key.as_bytes())?
                    .map_or(0, |value| value.value());
                let value = before.saturating_add(1);
                counters.insert(key.as_bytes(), value)?;
                value
            };
            writer.commit(write, &[], true)?;
            Ok(value)
        })
    }

    /// Removes a few expired records, and writes through what waits for it.
    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        // ORDERING: Relaxed, as in `fail`.
        if self.failed.load(Ordering::Relaxed) {
            self.reopen(deadline)?;
        }
        self.writing(deadline, |database, writer| {
            let write = database.begin_write()?;
            purge(&write)?;
            let through = writer.through.elapsed() >= THROUGH;
            writer.commit(write, &[], through)
        })
    }
}
