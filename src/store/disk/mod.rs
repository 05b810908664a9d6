//! A file as the second tier: sessions survive a restart.

mod file;
mod journal;
mod pending;
mod table;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redb::{Database, Durability, ReadableDatabase, WriteTransaction};

pub use file::{DiskError, Opened};
use file::{mark_closed, open};
use pending::Pending;
use table::{COUNTERS, Change, MARK, apply, end, increment, insert, now, purge, remove};

use crate::store::{ExternalStore, Key, StoreError, Write};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Home, Mutex, SharedCell, lock};

/// The worker writes the database through at the first write, probe or question for a counter after this long.
const THROUGH: Duration = Duration::from_secs(1);

/// Records in a file on this machine, which survive a restart of the process. Off unless it is asked for.
///
/// RFC 5246 warns of session ids on storage that others can read. The records arrive sealed; the file is made readable by
/// its owner only. A `redb` database; needs Rust 1.90.
///
/// # What survives
///
/// * **An orderly end** (the store is dropped): everything.
/// * **The process dies**: what was taken, removed, claimed or replaced stays so, because each such step is written to a
///   journal beside the file, `FILE.taken`, before it counts. Counters keep their values. Records that were put since the
///   database was last written through are lost: that is done a second after the time before, when the worker next writes or
///   asks for a counter, which it also does when there is nothing to write.
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
/// A handshake's call reads the file, or what the system has of it in memory. A take or a claim adds a line to the journal,
/// and waits for other takes and claims while they do so, and for the end of the worker's transaction in memory; never for
/// the disk to be written, which the worker does once a second. The operations of the file itself can't be interrupted: a
/// deadline is looked at before them.
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
    pending: Mutex<Pending>,
    /// When the database was last written through. Whoever holds it is the only writer.
    turn: Mutex<Option<Instant>>,
    /// Somebody has given the turn back.
    free: Condvar,
    /// The file has failed; the next probe is to open it anew.
    failed: AtomicBool,
    opened: Mutex<Opened>,
    /// A forked child has the file open, too, and must leave it alone.
    home: Home,
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
            pending: Mutex::new(Pending::new(journal)),
            turn: Mutex::new(Some(Instant::now())),
            free: Condvar::new(),
            failed: AtomicBool::new(false),
            opened: Mutex::new(opened.clone()),
            home: Home::here(),
        };
        Ok((disk, opened))
    }

    /// What was found when the file was last opened: by [`open`](Self::open), or by a probe after it had failed.
    pub fn opened(&self) -> Opened {
        lock(&self.opened).clone()
    }

    /// Does it with the database, before the deadline. Whatever goes wrong inside is an error.
    fn with<T>(
        &self,
        deadline: Instant,
        act: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.at_home()?;
        if Instant::now() >= deadline {
            return Err(StoreError::TimedOut);
        }
        let database = self
            .database
            .load()
            .ok_or_else(|| StoreError::Unavailable("the file is not open".to_owned()))?;
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

    /// One transaction of the worker's, which also does what handshakes have done. `act` does the rest, and names the keys
    /// whose records it has made undone, and those that it has written. With `through` it is on the disk at the end.
    fn transact<'a, T>(
        &self,
        deadline: Instant,
        through: bool,
        act: impl FnOnce(&WriteTransaction, &mut Touched<'a>) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.at_home()?;
        let mut last = self.wait(deadline)?;
        let done = self.with(deadline, |database| {
            let before = lock(&self.pending).all();
            let mut write = database.begin_write()?;
            for (key, change) in &before {
                apply(&write, key, *change)?;
            }
            let mut touched = Touched::default();
            let done = act(&write, &mut touched)?;
            purge(&write)?;
            write.set_durability(Durability::None)?;
            {
                // Whoever takes a record takes it before all of this, or after it.
                let mut pending = lock(&self.pending);
                pending.promise(&touched.gone)?;
                write.commit()?;
                pending.settle(&before, touched.written.iter().copied());
            }
            if through || last.elapsed() >= THROUGH {
                database.begin_write()?.commit()?;
                lock(&self.pending).written_through()?;
                last = Instant::now();
            }
            Ok(done)
        });
        *lock(&self.turn) = Some(last);
        self.free.notify_one();
        done
    }

    /// Waits for the turn to write, until the deadline.
    fn wait(&self, deadline: Instant) -> Result<Instant, StoreError> {
        let mut turn = lock(&self.turn);
        loop {
            if let Some(last) = turn.take() {
                return Ok(last);
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

    fn at_home(&self) -> Result<(), StoreError> {
        if self.home.is_here() {
            return Ok(());
        }
        let why = "the file is the parent process's";
        Err(StoreError::Unavailable(why.to_owned()))
    }

    fn fail(&self) {
        // ORDERING: Relaxed. A hint to the next probe.
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Opens the file anew, if it has failed.
    fn recover(&self, deadline: Instant) -> Result<(), StoreError> {
        self.at_home()?;
        // ORDERING: Relaxed, as in `fail`.
        if !self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let last = self.wait(deadline)?;
        // From here on handshakes find nothing. The last of them to let go of the old database closes it, and frees the
        // file; if that is not us, the next probe tries again.
        drop(self.database.swap(None));
        let mut pending = lock(&self.pending);
        let done = match open(&self.path) {
            Ok((database, journal, opened)) => {
                // What was pending stood in the journal, and has been done with it, or the store is empty.
                *pending = Pending::new(journal);
                *lock(&self.opened) = opened;
                self.database.swap(Some(Arc::new(database)));
                // ORDERING: Relaxed, as in `fail`.
                self.failed.store(false, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        };
        drop(pending);
        *lock(&self.turn) = Some(last);
        self.free.notify_one();
        done
    }
}

/// What a transaction has done, beside what handshakes had done before.
#[derive(Default)]
struct Touched<'a> {
    gone: Vec<&'a [u8]>,
    written: Vec<&'a [u8]>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // ORDERING: Relaxed, as in `fail`.
        let failed = self.failed.load(Ordering::Relaxed);
        let Some(database) = self.database.swap(None) else {
            return;
        };
        if !self.home.is_here() {
            // To close it is to write to it.
            std::mem::forget(database);
            return;
        }
        if failed {
            return;
        }
        // If this fails, it is found at the next start.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let write = database.begin_write()?;
            for (key, change) in lock(&self.pending).all() {
                apply(&write, &key, change)?;
            }
            mark_closed(&write)?;
            write.commit()?;
            Ok::<_, redb::Error>(())
        }));
    }
}

/// The record, as far as handshakes and the database have it.
fn find(
    change: Option<Change>,
    database: &Database,
    key: &[u8],
) -> Result<Option<Vec<u8>>, redb::Error> {
    match change {
        Some(Change::Gone) => Ok(None),
        Some(Change::Claimed(end)) => Ok((end > now()).then(|| MARK.to_vec())),
        None => table::get(database, key),
    }
}

impl ExternalStore for Disk {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.as_bytes();
        self.with(deadline, |database| {
            let change = lock(&self.pending).of(key);
            find(change, database, key)
        })
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.as_bytes();
        self.with(deadline, |database| {
            let mut pending = lock(&self.pending);
            let record = find(pending.of(key), database, key)?;
            if record.is_some() {
                pending.note(key, Change::Gone)?;
            }
            Ok(record)
        })
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        let key = key.as_bytes();
        self.with(deadline, |database| {
            let mut pending = lock(&self.pending);
            let free = find(pending.of(key), database, key)?.is_none();
            if free {
                pending.note(key, Change::Claimed(end(ttl)))?;
            }
            Ok(free)
        })
    }

    /// One transaction: all of the batch, or nothing.
    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        self.transact(deadline, false, |write, touched| {
            for step in batch {
                let (key, undone) = match *step {
                    Write::Put { key, record, ttl } => {
                        let key = key.as_bytes();
                        (key, insert(write, key, record, end(ttl))?)
                    }
                    Write::Remove { key } => {
                        let key = key.as_bytes();
                        (key, remove(write, key)?)
                    }
                };
                touched.written.push(key);
                if undone {
                    touched.gone.push(key);
                }
            }
            Ok(())
        })
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.at_home()?;
        // The worker asks from time to time, even when there is nothing to write: then what was written last gets through.
        if !lock(&self.pending).is_settled() {
            self.transact(deadline, false, |_, _| Ok(()))?;
        }
        self.with(deadline, |database| {
            let counters = database.begin_read()?.open_table(COUNTERS)?;
            let value = counters.get(key.as_bytes())?;
            Ok(value.map_or(0, |value| value.value()))
        })
    }

    /// On the disk before it returns.
    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        self.transact(deadline, true, |write, _| increment(write, key.as_bytes()))
    }

    /// Opens the file anew if it has failed, and writes what waits to be written.
    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        self.recover(deadline)?;
        self.transact(deadline, false, |_, _| Ok(()))
    }
}
