//! What handshakes have taken and claimed, and the worker has not yet done in the database.
//!
//! A handshake must not wait for a transaction, which may be writing to the disk. So it notes here what it does, and in the
//! journal, and the next transaction does it.

use std::collections::HashMap;
use std::io;

use crate::store::disk::journal::{Journal, enter};
use crate::store::disk::table::Change;

pub(super) struct Pending {
    changes: HashMap<Vec<u8>, Change>,
    journal: Journal,
    /// Transactions were made in memory since the database was last written through.
    behind: bool,
}

impl Pending {
    pub(super) fn new(journal: Journal) -> Self {
        Self {
            changes: HashMap::new(),
            journal,
            behind: false,
        }
    }

    /// What has become of the key since the last transaction.
    pub(super) fn of(&self, key: &[u8]) -> Option<Change> {
        self.changes.get(key).copied()
    }

    /// Whether all that was done is on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_empty() && !self.behind
    }

    /// Notes a change. Once this returns, it outlives the process.
    pub(super) fn note(&mut self, key: &[u8], change: Change) -> io::Result<()> {
        let mut entry = Vec::new();
        enter(key, change, &mut entry);
        self.journal.append(&entry)?;
        self.changes.insert(key.to_vec(), change);
        Ok(())
    }

    /// Notes what a transaction is about to make undone, so that it outlives the process, too.
    pub(super) fn promise(&mut self, gone: &[&[u8]]) -> io::Result<()> {
        let mut entries = Vec::new();
        for key in gone {
            enter(key, Change::Gone, &mut entries);
        }
        self.journal.append(&entries)
    }

    /// All changes so far, for a transaction to do.
    pub(super) fn all(&self) -> Vec<(Vec<u8>, Change)> {
        self.changes
            .iter()
            .map(|(key, change)| (key.clone(), *change))
            .collect()
    }

    /// A transaction has done these, and written those keys anew.
    pub(super) fn settle<'a>(
        &mut self,
        done: &[(Vec<u8>, Change)],
        written: impl Iterator<Item = &'a [u8]>,
    ) {
        self.behind = true;
        for (key, change) in done {
            // Unless more has become of it since.
            if self.changes.get(key) == Some(change) {
                self.changes.remove(key);
            }
        }
        // What was taken before is not what has been written now.
        for key in written {
            self.changes.remove(key);
        }
    }

    /// The database has been written through: only what is still pending needs the journal.
    pub(super) fn written_through(&mut self) -> io::Result<()> {
        let mut entries = Vec::new();
        for (key, change) in &self.changes {
            enter(key, *change, &mut entries);
        }
        self.behind = false;
        self.journal.replace(&entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_a_transaction_began_stays() {
        let mut pending = Pending::new(Journal::none());
        pending.note(b"taken", Change::Gone).unwrap();
        pending.note(b"then claimed", Change::Gone).unwrap();
        pending.note(b"claimed", Change::Claimed(1)).unwrap();
        pending.note(b"then written", Change::Gone).unwrap();
        let before = pending.all();
        assert_eq!(before.len(), 4);
        pending.note(b"then claimed", Change::Claimed(2)).unwrap();
        pending.note(b"claimed", Change::Claimed(3)).unwrap();
        pending.note(b"later", Change::Gone).unwrap();
        pending.note(b"then written", Change::Claimed(4)).unwrap();
        pending.settle(&before, [&b"then written"[..]].into_iter());
        assert_eq!(pending.of(b"taken"), None);
        assert_eq!(pending.of(b"then claimed"), Some(Change::Claimed(2)));
        assert_eq!(pending.of(b"claimed"), Some(Change::Claimed(3)));
        assert_eq!(pending.of(b"later"), Some(Change::Gone));
        assert_eq!(pending.of(b"then written"), None);
    }

    #[test]
    fn only_what_is_on_the_disk_is_settled() {
        let mut pending = Pending::new(Journal::none());
        assert!(pending.is_settled());
        pending.note(b"taken", Change::Gone).unwrap();
        assert!(!pending.is_settled());
        pending.settle(&pending.all(), [].into_iter());
        assert!(!pending.is_settled());
        pending.written_through().unwrap();
        assert!(pending.is_settled());
    }
}
