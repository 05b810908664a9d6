//! What must not come back after a crash: the keys that were taken, removed, replaced or claimed since the database was
//! last written through.
//!
//! An entry is one byte for its kind, one for the key's length, the key, and for a claim its end. Entries are appended by
//! one write each time, before what they tell of is done. The system keeps them when the process dies; nothing is synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const GONE: u8 = 1;
const CLAIMED: u8 = 2;

pub(super) struct Journal {
    file: Option<File>,
    len: u64,
}

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// The record is not there any more, or is another one.
    Gone(&'a [u8]),
    /// The mark is there until then.
    Claimed(&'a [u8], u64),
}

impl Journal {
    /// The journal beside a database, and what stands in it.
    pub(super) fn open(database: &Path) -> io::Result<(Self, Vec<u8>)> {
        let mut file = private(&beside(database, "taken"))?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        let len = found.len() as u64;
        let file = Some(file);
        Ok((Self { file, len }, found))
    }

    /// For a database in memory, which needs none.
    pub(super) fn none() -> Self {
        Self { file: None, len: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn append(&mut self, entries: &[u8]) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(self.len))?;
            // What a failed write leaves is overwritten by the next one, or is a torn end.
            file.write_all(entries)?;
            self.len += entries.len() as u64;
        }
        Ok(())
    }

    /// Forgets all entries: the database has been written through.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.set_len(0)?;
        }
        self.len = 0;
        Ok(())
    }
}

impl Entry<'_> {
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        match *self {
            Self::Gone(key) => {
                into.extend_from_slice(&[GONE, key.len() as u8]);
                into.extend_from_slice(key);
            }
            Self::Claimed(key, end) => {
                into.extend_from_slice(&[CLAIMED, key.len() as u8]);
                into.extend_from_slice(key);
                into.extend_from_slice(&end.to_be_bytes());
            }
        }
    }
}

/// The entries, up to where they are torn.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, len], rest) = bytes.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(len))?;
        let (entry, rest) = match kind {
            GONE => (Entry::Gone(key), rest),
            CLAIMED => {
                let (end, rest) = rest.split_first_chunk()?;
                (Entry::Claimed(key, u64::from_be_bytes(*end)), rest)
            }
            _ => return None,
        };
        bytes = rest;
        Some(entry)
    })
}

/// A file beside the database.
pub(super) fn beside(database: &Path, what: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    name.into()
}

/// Opens or makes a file that nobody else may read.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_end_loses_only_the_last_entry() {
        let written = [
            Entry::Gone(b"one"),
            Entry::Claimed(&[7; 128], u64::MAX - 3),
            Entry::Gone(b"three"),
        ];
        let mut bytes = Vec::new();
        for entry in &written {
            entry.write(&mut bytes);
        }
        assert_eq!(entries(&bytes).collect::<Vec<_>>(), written);
        for torn in 1..=b"three".len() + 1 {
            let whole = &bytes[..bytes.len() - torn];
            assert_eq!(entries(whole).collect::<Vec<_>>(), written[..2]);
        }
        assert_eq!(entries(b"garbage").count(), 0);
    }
}
