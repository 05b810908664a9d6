//! What must not come back after a crash: the keys that were taken, removed, replaced or claimed since the database was
//! last written through.
//!
//! An entry is one byte for its kind, one for the key's length, the key, and for a claim its end. Entries are appended by
//! one write each time, before what they tell of is done. The system keeps them when the process dies; nothing is synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::store::disk::table::Change;

const GONE: u8 = 1;
const CLAIMED: u8 = 2;

pub(super) struct Journal {
    /// None for a database in memory, which needs no journal.
    file: Option<(File, PathBuf)>,
    len: u64,
}

impl Journal {
    /// The journal beside a database, and what stands in it.
    pub(super) fn open(database: &Path) -> io::Result<(Self, Vec<u8>)> {
        let path = beside(database, "taken");
        let mut file = private(&path)?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        let len = found.len() as u64;
        let file = Some((file, path));
        Ok((Self { file, len }, found))
    }

    pub(super) fn none() -> Self {
        Self { file: None, len: 0 }
    }

    pub(super) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if let Some((file, _)) = &mut self.file {
            file.seek(SeekFrom::Start(self.len))?;
            // What a failed write leaves is overwritten by the next one, or is a torn end.
            file.write_all(entries)?;
            self.len += entries.len() as u64;
        }
        Ok(())
    }

    /// Forgets all entries but these: the others are in the database, which has been written through. At any moment there
    /// is the old journal or the new one.
    pub(super) fn replace(&mut self, entries: &[u8]) -> io::Result<()> {
        let Some((file, path)) = &mut self.file else {
            return Ok(());
        };
        if entries.is_empty() {
            file.set_len(0)?;
        } else {
            let next = beside(path, "new");
            let mut other = fresh(&next)?;
            other.write_all(entries)?;
            fs::rename(&next, path)?;
            *file = other;
        }
        self.len = entries.len() as u64;
        Ok(())
    }
}

/// Writes an entry.
pub(super) fn enter(key: &[u8], change: Change, into: &mut Vec<u8>) {
    let kind = match change {
        Change::Gone => GONE,
        Change::Claimed(_) => CLAIMED,
    };
    into.extend_from_slice(&[kind, key.len() as u8]);
    into.extend_from_slice(key);
    if let Change::Claimed(end) = change {
        into.extend_from_slice(&end.to_be_bytes());
    }
}

/// The entries, up to where they are torn.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8], Change)> {
    std::iter::from_fn(move || {
        let (&[kind, len], rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(len))?;
        let (change, rest) = match kind {
            GONE => (Change::Gone, rest),
            CLAIMED => {
                let (end, rest) = rest.split_first_chunk()?;
                (Change::Claimed(u64::from_be_bytes(*end)), rest)
            }
            _ => return None,
        };
        bytes = rest;
        Some((key, change))
    })
}

/// A file beside another one.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

/// Opens or makes a file that nobody else may read. One that others could read is closed to them; what is no file is left as
/// it is.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let file = for_us().create(true).truncate(false).open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let found = file.metadata()?;
        if found.is_file() && found.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(file)
}

/// Makes a file that nobody else may read, in the place of one that was left behind. What a link there points to is not
/// touched.
fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for_us().create_new(true).open(path)
}

fn for_us() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: [(&[u8], Change); 3] = [
        (b"one", Change::Gone),
        (&[7; 128], Change::Claimed(u64::MAX - 3)),
        (b"three", Change::Gone),
    ];

    fn written() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, change) in WRITTEN {
            enter(key, change, &mut bytes);
        }
        bytes
    }

    #[test]
    fn a_torn_end_loses_only_the_last_entry() {
        let bytes = written();
        assert_eq!(entries(&bytes).collect::<Vec<_>>(), WRITTEN);
        for torn in 1..=b"three".len() + 1 {
            let whole = &bytes[..bytes.len() - torn];
            assert_eq!(entries(whole).collect::<Vec<_>>(), WRITTEN[..2]);
        }
        assert_eq!(entries(b"garbage").count(), 0);
    }

    #[test]
    fn what_is_kept_is_what_is_found() {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("sessions");
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert!(found.is_empty());
        let bytes = written();
        journal.append(b"forgotten").unwrap();
        journal.replace(&bytes[..5]).unwrap();
        journal.append(&bytes[5..]).unwrap();
        drop(journal);
        let (mut journal, found) = Journal::open(&path).unwrap();
        assert_eq!(found, bytes);
        journal.append(b"x").unwrap();
        journal.replace(b"").unwrap();
        journal.append(&bytes).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, bytes);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it_whatever_was_there_before() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("sessions");
        let journal = beside(&path, "taken");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(&journal, b"").unwrap();
        fs::set_permissions(&journal, fs::Permissions::from_mode(0o644)).unwrap();
        let (mut opened, _) = Journal::open(&path).unwrap();
        assert_eq!(mode(&journal), 0o600);
        // Somebody has laid a link, and later a file that all can read, where the next journal is written.
        let (next, other) = (beside(&journal, "new"), directory.path().join("other"));
        fs::write(&other, b"another's").unwrap();
        symlink(&other, &next).unwrap();
        opened.replace(&written()).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"another's");
        fs::write(&next, b"left behind").unwrap();
        fs::set_permissions(&next, fs::Permissions::from_mode(0o644)).unwrap();
        opened.replace(&written()).unwrap();
        assert_eq!(mode(&journal), 0o600);
        assert_eq!(Journal::open(&path).unwrap().1, written());
    }
}
