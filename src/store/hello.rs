//! Which sessions a ClientHello offers, read from its raw bytes.

use crate::id::SessionId;

/// How many ids of one ClientHello are of interest. An honest client offers one session, or two.
const MOST: usize = 4;
/// A longer ClientHello is read no further.
const LONGEST: usize = 64 * 1024;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const PRE_SHARED_KEY: u16 = 41;

/// A session that a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its id.
    pub id: SessionId,
    /// It is a TLS 1.3 identity, which rustls and libssl take when they see it; else a session id of TLS 1.2.
    pub single_use: bool,
}

/// The sessions that a ClientHello offers, for [`SessionCache::prefetch`](crate::SessionCache::prefetch).
///
/// The bytes are those that arrive first on a connection: one TLS record, or more of them. What is cut short, too long or no
/// ClientHello offers nothing, and nothing here is believed: the handshake that follows looks for itself. Ids that no cache
/// has, such as self-contained tickets, are left out; so is the session id beside TLS 1.3 identities, which is made up then. At
/// most four are returned.
///
/// Never panics; at most one copy of the hello.
///
/// # Examples
///
/// ```
/// assert!(refrain::store::resumption_ids(b"GET / HTTP/1.1\r\n").is_empty());
/// ```
pub fn resumption_ids(client_hello: &[u8]) -> Vec<Offered> {
    let mut ids = Vec::new();
    if let Some(message) = message(client_hello) {
        // What was found before the end of what can be read counts.
        let _ = read(&message, &mut ids);
    }
    ids
}

/// A reader of bytes that come with their lengths.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, len: usize) -> Option<usize> {
        let bytes = self.take(len)?;
        Some(bytes.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)))
    }

    /// Bytes behind a length of so many bytes.
    fn vector(&mut self, len: usize) -> Option<Self> {
        let len = self.number(len)?;
        self.take(len).map(Reader)
    }
}

/// The handshake message in the records, if it is a whole ClientHello: its body.
fn message(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut records = Reader(bytes);
    let mut message = Vec::new();
    loop {
        if records.number(1)? != usize::from(HANDSHAKE) {
            return None;
        }
        records.take(2)?;
        let fragment = records.vector(2)?.0;
        if fragment.is_empty() || message.len() + fragment.len() > LONGEST {
            return None;
        }
        message.extend_from_slice(fragment);
        let mut whole = Reader(&message);
        if whole.number(1)? != usize::from(CLIENT_HELLO) {
            return None;
        }
        if let Some(body) = whole.vector(3) {
            return Some(body.0.to_vec());
        }
    }
}

fn read(body: &[u8], ids: &mut Vec<Offered>) -> Option<()> {
    let mut hello = Reader(body);
    // The version and the random number.
    hello.take(2 + 32)?;
    let session = hello.vector(1)?.0;
    // The cipher suites and the compression methods.
    hello.vector(2)?;
    hello.vector(1)?;
    // Which may end here, in TLS 1.2.
    let mut extensions = hello.vector(2).unwrap_or(Reader(&[]));
    while let Some(kind) = extensions.number(2) {
        let Some(mut extension) = extensions.vector(2) else {
            break;
        };
        if kind == usize::from(PRE_SHARED_KEY) {
            let mut identities = extension.vector(2)?;
            while let Some(identity) = identities.vector(2) {
                // The age.
                identities.take(4)?;
                offer(identity.0, true, ids);
            }
            return Some(());
        }
    }
    offer(session, false, ids);
    Some(())
}

fn offer(id: &[u8], single_use: bool, ids: &mut Vec<Offered>) {
    match SessionId::new(id) {
        Ok(id) if ids.len() < MOST => ids.push(Offered { id, single_use }),
        _ => {}
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    fn vector(len: usize, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len().to_be_bytes();
        [&length[8 - len..], bytes].concat()
    }

    fn body(session: &[u8], extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![3; 34];
        body.extend(vector(1, session));
        body.extend(vector(2, &[0x13, 1]));
        body.extend(vector(1, &[0]));
        if let Some(extensions) = extensions {
            body.extend(vector(2, extensions));
        }
        body
    }

    /// In records of so many bytes.
    fn records(body: &[u8], size: usize) -> Vec<u8> {
        let message = [&[CLIENT_HELLO][..], &vector(3, body)].concat();
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    fn psks(identities: &[&[u8]]) -> Vec<u8> {
        let list: Vec<u8> = identities
            .iter()
            .flat_map(|id| [vector(2, id), vec![0; 4]].concat())
            .collect();
        let extension = [vector(2, &list), vector(2, &[9; 33])].concat();
        // Another one before it.
        [&[0, 43, 0, 3, 2, 3, 4, 0, 41][..], &vector(2, &extension)].concat()
    }

    fn offered(ids: &[&[u8]], single_use: bool) -> Vec<Offered> {
        let one = |id: &&[u8]| Offered {
            id: SessionId::new(id).unwrap(),
            single_use,
        };
        ids.iter().map(one).collect()
    }

    #[test]
    fn a_session_id_is_found() {
        for size in [1, 7, 100, 4000] {
            let hello = records(&body(&[7; 32], None), size);
            assert_eq!(resumption_ids(&hello), offered(&[&[7; 32]], false));
            let hello = records(&body(&[7; 32], Some(&[0, 43, 0, 3, 2, 3, 4])), size);
            assert_eq!(resumption_ids(&hello), offered(&[&[7; 32]], false));
        }
        assert!(resumption_ids(&records(&body(&[], None), 100)).is_empty());
        assert!(resumption_ids(&records(&body(&[7; 33], None), 100)).is_empty());
    }

    #[test]
    fn identities_are_found_but_for_tickets_and_hide_the_session_id() {
        let extensions = psks(&[&[1; 32], &[2; 150], &[3; 16]]);
        let hello = records(&body(&[7; 32], Some(&extensions)), 50);
        let expected = offered(&[&[1; 32], &[3; 16]], true);
        assert_eq!(resumption_ids(&hello), expected);
        let many = psks(&[&[1; 32][..]; 900]);
        let hello = records(&body(&[], Some(&many)), 16_000);
        assert_eq!(resumption_ids(&hello).len(), MOST);
    }

    #[test]
    fn what_is_cut_short_or_changed_offers_nothing_or_something_and_never_panics() {
        let hello = records(&body(&[7; 32], Some(&psks(&[&[1; 32], &[2; 20]]))), 60);
        for n in 0..hello.len() {
            assert!(resumption_ids(&hello[..n]).is_empty(), "{n}");
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = hello.clone();
                changed[n] = value;
                assert!(resumption_ids(&changed).len() <= MOST);
            }
        }
        let endless = records(&[0; 70_000], 16_000);
        assert!(resumption_ids(&endless).is_empty());
        let empty = [&[HANDSHAKE, 3, 1, 0, 0][..], &hello].concat();
        assert!(resumption_ids(&empty).is_empty());
    }
}
