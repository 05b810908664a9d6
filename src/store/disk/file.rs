//! The database's file: how it is opened, what is in it, and what becomes of one that can't be used.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTableMetadata, StorageError,
    TableDefinition, WriteTransaction,
};

use crate::store::disk::journal::{Journal, beside, entries, private};
use crate::store::disk::table::{COUNTERS, ENDS, RECORDS, apply};

/// Of whom the file is: the format, and who has it open.
const STATE: TableDefinition<'_, &str, &str> = TableDefinition::new("refrain");

const FORMAT: &str = "1";
/// How much of the file is held in memory, in bytes.
const CACHED: usize = 64 << 20;

/// What was found when a [`Disk`](crate::store::Disk) was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// There was no file.
    New,
    /// The file had been closed in order. So many records are in it, some of them perhaps expired.
    Kept {
        /// How many.
        records: u64,
    },
    /// The process that had the file open ended without closing it. What was taken or removed is gone; some of what was put
    /// last is missing.
    Recovered {
        /// How many records there are.
        records: u64,
    },
    /// The file could not be used. The store is empty.
    Emptied {
        /// Why.
        why: String,
        /// Where the file is now, unless it was a sound one and has been removed.
        aside: Option<PathBuf>,
    },
    /// There is no room for a file. The store is in memory, empty, and nothing will survive.
    InMemory {
        /// Why.
        why: String,
    },
}

/// Why there is no store.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiskError {
    /// Another process, or another store of this one, has the file open.
    InUse,
    /// The path leads nowhere, or may not be read and written.
    Io(io::Error),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("the file is in use by another store"),
            Self::Io(error) => write!(f, "the file can't be used: {error}"),
        }
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse => None,
            Self::Io(error) => Some(error),
        }
    }
}

/// Why a file was not opened.
enum Failed {
    Error(DiskError),
    /// No room.
    Full(String),
    /// It is not one of ours, or damaged.
    Bad(String),
    /// It is sound, and must not be believed.
    Stale(String),
}

/// Opens the file, whatever is in it.
pub(super) fn open(path: &Path) -> Result<(Database, Journal, Opened), DiskError> {
    let failed = match attempt(path) {
        Ok(opened) => return Ok(opened),
        Err(failed) => failed,
    };
    let (why, aside) = match failed {
        Failed::Error(error) => return Err(error),
        // What is in a file that can't be written must not come back when it can: what is removed meanwhile is not in it.
        Failed::Full(why) | Failed::Stale(why) => (why, None),
        Failed::Bad(why) => (why, Some(beside(path, "bad"))),
    };
    match &aside {
        Some(aside) => fs::rename(path, aside),
        None => fs::remove_file(path),
    }
    .map_err(DiskError::Io)?;
    match fs::remove_file(beside(path, "taken")) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(DiskError::Io(error)),
        _ => {}
    }
    match attempt(path) {
        Ok((database, journal, _)) => Ok((database, journal, Opened::Emptied { why, aside })),
        Err(Failed::Error(error)) => Err(error),
        Err(Failed::Full(why)) => {
            fs::remove_file(path).map_err(DiskError::Io)?;
            in_memory(why)
        }
        Err(Failed::Bad(why) | Failed::Stale(why)) => Err(DiskError::Io(io::Error::other(why))),
    }
}

fn in_memory(why: String) -> Result<(Database, Journal, Opened), DiskError> {
    let database = Builder::new()
        .set_cache_size(CACHED)
        .create_with_backend(InMemoryBackend::new())
        .map_err(|error| DiskError::Io(io::Error::other(error.to_string())))?;
    create_tables(&database).map_err(|error| DiskError::Io(io::Error::other(error.to_string())))?;
    Ok((database, Journal::none(), Opened::InMemory { why }))
}

fn attempt(path: &Path) -> Result<(Database, Journal, Opened), Failed> {
    let io = |error| Failed::Error(DiskError::Io(error));
    let new = private(path).and_then(|file| file.metadata()).map_err(io)?;
    if !new.is_file() {
        return Err(io(ErrorKind::InvalidInput.into()));
    }
    let new = new.len() == 0;
    // redb promises an error for a damaged file, having looked at all of it. A panic must not stop a server either.
    let database = catch_unwind(|| {
        Builder::new()
            .set_cache_size(CACHED)
            .set_check_integrity_on_open(true)
            .create(path)
    })
    .map_err(|_| Failed::Bad("the database panicked".to_owned()))?
    .map_err(opening)?;
    let (mut journal, found) = Journal::open(path).map_err(io)?;
    let opened = catch_unwind(AssertUnwindSafe(|| {
        enter(&database, &mut journal, &found, new)
    }))
    .map_err(|_| Failed::Bad("the database panicked".to_owned()))??;
    Ok((database, journal, opened))
}

fn opening(error: DatabaseError) -> Failed {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Failed::Error(DiskError::InUse)
        }
        DatabaseError::Storage(error) => storage(error),
        error => Failed::Bad(error.to_string()),
    }
}

fn storage(error: StorageError) -> Failed {
    match error {
        StorageError::Io(error) => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Failed::Full(error.to_string())
            }
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Failed::Bad(error.to_string()),
            _ => Failed::Error(DiskError::Io(error)),
        },
        error => Failed::Bad(error.to_string()),
    }
}

/// Any of redb's errors, once the file is open.
fn inside(error: impl Into<redb::Error>) -> Failed {
    match error.into() {
        redb::Error::Io(error) => storage(StorageError::Io(error)),
        error => Failed::Bad(error.to_string()),
    }
}

/// Looks at whose file it is and how it was left, and writes down that it is open.
fn enter(
    database: &Database,
    journal: &mut Journal,
    found: &[u8],
    new: bool,
) -> Result<Opened, Failed> {
    if new {
        create_tables(database).map_err(inside)?;
        journal
            .replace(b"")
            .map_err(|error| inside(StorageError::Io(error)))?;
        return Ok(Opened::New);
    }
    let left = {
        let read = database.begin_read().map_err(inside)?;
        let state = read.open_table(STATE).map_err(inside)?;
        let get = |name| {
            let value = state.get(name).map_err(inside)?;
            Ok::<_, Failed>(value.map(|value| value.value().to_owned()))
        };
        if get("format")?.as_deref() != Some(FORMAT) {
            return Err(Failed::Bad("of another format".to_owned()));
        }
        get("open")?
    };
    // Closed in order, it names nobody.
    let left = left.filter(|boot| !boot.is_empty());
    let write = database.begin_write().map_err(inside)?;
    if let Some(boot) = &left {
        if boot_id().as_deref() != Some(boot) {
            let why =
                "the machine stopped while the file was open: what had been taken is not known";
            return Err(Failed::Stale(why.to_owned()));
        }
        for (key, change) in entries(found) {
            apply(&write, key, change).map_err(inside)?;
        }
    }
    let records = {
        mark_open(&write).map_err(inside)?;
        write.open_table(COUNTERS).map_err(inside)?;
        write.open_table(ENDS).map_err(inside)?;
        let records = write.open_table(RECORDS).map_err(inside)?;
        records.len().map_err(inside)?
    };
    write.commit().map_err(inside)?;
    journal
        .replace(b"")
        .map_err(|error| inside(StorageError::Io(error)))?;
    Ok(match left {
        Some(_) => Opened::Recovered { records },
        None => Opened::Kept { records },
    })
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(RECORDS)?;
    write.open_table(ENDS)?;
    write.open_table(COUNTERS)?;
    mark_open(&write)?;
    write.commit()?;
    Ok(())
}

fn mark_open(write: &WriteTransaction) -> Result<(), redb::Error> {
    let mut state = write.open_table(STATE)?;
    state.insert("format", FORMAT)?;
    // Without a name for this run of the machine, an orderly end is the only one to be believed.
    state.insert("open", boot_id().as_deref().unwrap_or("?"))?;
    Ok(())
}

/// Writes down that the file is closed in order.
pub(super) fn mark_closed(write: &WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(STATE)?.insert("open", "")?;
    Ok(())
}

/// What names this run of the machine, if the system tells.
fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}
