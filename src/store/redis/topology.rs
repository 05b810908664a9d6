//! Which server has which key: one for all of them, or a cluster's sixteen thousand slots.

use std::sync::Arc;

use ::redis::{ServerError, ServerErrorKind, Value};

use crate::store::StoreError;
use crate::store::pool::Pool;
use crate::store::redis::link::{Connection, nonsense, text};
use crate::store::wire::Place;

/// The slots of a cluster.
const SLOTS: usize = 16_384;

/// No node has the slot.
const NOBODY: u16 = u16::MAX;

pub(super) type Node = Pool<Connection>;

/// The servers as they were last seen.
pub(super) struct Topology {
    pub(super) nodes: Vec<Arc<Node>>,
    /// For each slot the index of its node. Empty if one node has everything.
    slots: Vec<u16>,
}

impl Topology {
    /// One server for all keys.
    pub(super) fn one(node: Arc<Node>) -> Self {
        Self {
            nodes: vec![node],
            slots: Vec::new(),
        }
    }

    /// A cluster's servers. `node` makes one, or finds the one that is already there.
    pub(super) fn cluster(ranges: &[Range], mut node: impl FnMut(&Place) -> Arc<Node>) -> Self {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut slots = vec![NOBODY; SLOTS];
        for range in ranges {
            let known = nodes
                .iter()
                .position(|node| node.address().place == range.place);
            let index = known.unwrap_or_else(|| {
                nodes.push(node(&range.place));
                nodes.len() - 1
            });
            slots[range.first..=range.last].fill(index as u16);
        }
        Self { nodes, slots }
    }

    /// The key's server.
    pub(super) fn of(&self, key: &[u8]) -> Result<&Arc<Node>, StoreError> {
        let index = match self.slots.get(slot(key)) {
            None => 0,
            Some(&index) => usize::from(index),
        };
        self.nodes
            .get(index)
            .ok_or_else(|| StoreError::Unavailable("no node has the key's slot".to_owned()))
    }

    /// The server of that place, if it is known.
    pub(super) fn at(&self, place: &Place) -> Option<&Arc<Node>> {
        self.nodes
            .iter()
            .find(|node| node.address().place == *place)
    }

    /// Whether the servers that answer have more than half of the slots.
    pub(super) fn mostly(&self, answers: impl Fn(&Arc<Node>) -> bool) -> bool {
        let well: Vec<bool> = self.nodes.iter().map(answers).collect();
        if self.slots.is_empty() {
            return well.contains(&true);
        }
        let count = self
            .slots
            .iter()
            .filter(|&&index| well.get(usize::from(index)) == Some(&true))
            .count();
        count * 2 > SLOTS
    }
}

/// Slots that a node has, both ends included.
pub(super) struct Range {
    first: usize,
    last: usize,
    place: Place,
}

/// Reads what CLUSTER SLOTS answers. Where it names no host, it is the one that was asked.
pub(super) fn ranges(answer: &Value, asked: &Place) -> Result<Vec<Range>, StoreError> {
    let Value::Array(rows) = answer else {
        return Err(nonsense("no slots"));
    };
    rows.iter()
        .map(|row| range(row, asked).ok_or_else(|| nonsense("no slots")))
        .collect()
}

fn range(row: &Value, asked: &Place) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(master),
        ..,
    ] = &row[..]
    else {
        return None;
    };
    let (first, last) = (usize::try_from(*first).ok()?, usize::try_from(*last).ok()?);
    let Some(Value::Int(port)) = master.get(1) else {
        return None;
    };
    let host = match (text(master.first()), asked) {
        (None | Some("" | "?"), Place::Tcp(host, _)) => host,
        (Some(host), _) => host,
        (None, Place::Unix(_)) => return None,
    };
    (first <= last && last < SLOTS).then_some(Range {
        first,
        last,
        place: Place::Tcp(host.to_owned(), u16::try_from(*port).ok()?),
    })
}

/// Where a cluster's node says that the key is to be found.
pub(super) struct Redirect {
    pub(super) place: Place,
    /// Only this once, while the slot is on its way.
    pub(super) ask: bool,
}

/// The redirection in an answer, if it is one. `asked` stands for a host that is not named.
pub(super) fn redirect(error: &ServerError, asked: &Place) -> Option<Redirect> {
    let ask = match error.kind()? {
        ServerErrorKind::Moved => false,
        ServerErrorKind::Ask => true,
        _ => return None,
    };
    let (host, port) = error.details()?.split(' ').nth(1)?.rsplit_once(':')?;
    let host = match (host, asked) {
        ("" | "?", Place::Tcp(asked, _)) => asked,
        _ => host,
    };
    Some(Redirect {
        place: Place::Tcp(host.to_owned(), port.parse().ok()?),
        ask,
    })
}

/// The slot of a key: of what stands in its first pair of braces, if anything does.
fn slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let end = rest.iter().position(|&byte| byte == b'}')?;
        (end > 0).then(|| &rest[..end])
    });
    usize::from(crc16::State::<crc16::XMODEM>::calculate(tag.unwrap_or(key))) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        // Empty braces, and braces that do not close, are a part of the key like any other.
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"));
        assert_ne!(slot(b"foo{bar"), slot(b"bar"));
    }
}
