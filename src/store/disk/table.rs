//! The tables of the database: records, the order in which they end, and counters.

use std::time::{Duration, SystemTime};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

/// A key's record, behind the moment of its end in milliseconds.
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// The keys by their ends.
pub(super) const ENDS: TableDefinition<'_, (u64, &[u8]), ()> = TableDefinition::new("ends");
pub(super) const COUNTERS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("counters");

/// How many expired records go with each write at the most.
const PURGED: usize = 256;

/// What a claim leaves.
pub(super) const MARK: &[u8] = b"1";

/// What a handshake has done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The record is not there any more.
    Gone,
    /// The mark is there until then.
    Claimed(u64),
}

/// Milliseconds since 1970: the file is read by another process, to which no other clock means anything.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

pub(super) fn end(ttl: Duration) -> u64 {
    now().saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// The record, unless it has expired.
pub(super) fn get(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    let value = records.get(key)?;
    Ok(value.and_then(|value| match parts(value.value()) {
        Some((end, record)) if end > now() => Some(record.to_vec()),
        _ => None,
    }))
}

/// A record's end and bytes, apart.
fn parts(value: &[u8]) -> Option<(u64, &[u8])> {
    let (end, record) = value.split_first_chunk()?;
    Some((u64::from_be_bytes(*end), record))
}

/// Removes a record. Returns whether it was there.
pub(super) fn remove(write: &WriteTransaction, key: &[u8]) -> Result<bool, redb::Error> {
    let end = {
        let mut records = write.open_table(RECORDS)?;
        let value = records.remove(key)?;
        let Some(value) = value else {
            return Ok(false);
        };
        parts(value.value()).map(|(end, _)| end)
    };
    if let Some(end) = end {
        write.open_table(ENDS)?.remove((end, key))?;
    }
    Ok(true)
}

/// Stores a record. Returns whether it took another's place.
pub(super) fn insert(
    write: &WriteTransaction,
    key: &[u8],
    record: &[u8],
    end: u64,
) -> Result<bool, redb::Error> {
    let replaced = remove(write, key)?;
    let value = [&end.to_be_bytes(), record].concat();
    write.open_table(RECORDS)?.insert(key, &value[..])?;
    write.open_table(ENDS)?.insert((end, key), ())?;
    Ok(replaced)
}

/// Does what a handshake has done.
pub(super) fn apply(
    write: &WriteTransaction,
    key: &[u8],
    change: Change,
) -> Result<(), redb::Error> {
    match change {
        Change::Gone => remove(write, key)?,
        Change::Claimed(end) => insert(write, key, MARK, end)?,
    };
    Ok(())
}

/// Adds one to a counter, and returns its new value.
pub(super) fn increment(write: &WriteTransaction, key: &[u8]) -> Result<u64, redb::Error> {
    let mut counters = write.open_table(COUNTERS)?;
    let before = counters.get(key)?.map_or(0, |value| value.value());
    let value = before.saturating_add(1);
    counters.insert(key, value)?;
    Ok(value)
}

/// Removes a few of the records that have expired.
pub(super) fn purge(write: &WriteTransaction) -> Result<(), redb::Error> {
    let mut ends = write.open_table(ENDS)?;
    let old: Vec<(u64, Vec<u8>)> = ends
        .range(..(now(), &[][..]))?
        .take(PURGED)
        .map(|entry| entry.map(|(end, _)| owned(end.value())))
        .collect::<Result<_, _>>()?;
    let mut records = write.open_table(RECORDS)?;
    for (end, key) in &old {
        records.remove(&key[..])?;
        ends.remove((*end, &key[..]))?;
    }
    Ok(())
}

fn owned((end, key): (u64, &[u8])) -> (u64, Vec<u8>) {
    (end, key.to_vec())
}
