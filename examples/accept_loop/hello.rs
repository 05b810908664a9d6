//! Just enough of TLS on the wire (RFC 8446, sections 4 and 5) to see which session a ClientHello offers, and whether a
//! ServerHello accepts it, without asking the TLS library that is under test.

use std::io::{self, Read};

use crate::reader::Reader;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const PRE_SHARED_KEY: u16 = 41;
/// The longest record: 2^14 bytes and what protection may add.
const LONGEST_RECORD: usize = (1 << 14) + 256;
/// The `random` that marks a ServerHello as a HelloRetryRequest: SHA-256 of that word.
const RETRY: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91,
    0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// A session offered by a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// What the store knows the session by.
    pub(crate) id: Vec<u8>,
    /// Whether it is a TLS 1.3 offer, which may succeed only once.
    pub(crate) single_use: bool,
}

/// The session that a client's first flight offers: its first pre-shared key, or else its session id.
///
/// The session id of a hello that can speak TLS 1.3 may be noise for the sake of middleboxes; the store then simply
/// does not know it.
pub(crate) fn offered_session(first_flight: &[u8]) -> Option<Offer> {
    let mut record = Reader(first_flight);
    if record.u8()? != HANDSHAKE {
        return None;
    }
    record.take(2)?;
    let mut message = Reader(record.vector16()?);
    if message.u8()? != CLIENT_HELLO {
        return None;
    }
    let mut hello = Reader(message.vector24()?);
    hello.take(2 + 32)?;
    let session_id = hello.vector8()?;
    hello.vector16()?;
    hello.vector8()?;
    if let Some(psk) = Reader(hello.vector16()?).extension(PRE_SHARED_KEY) {
        let identity = Reader(Reader(psk).vector16()?).vector16()?;
        return Some(Offer {
            id: identity.to_vec(),
            single_use: true,
        });
    }
    (!session_id.is_empty()).then(|| Offer {
        id: session_id.to_vec(),
        single_use: false,
    })
}

/// Reads the server's first record and says whether its ServerHello accepts the pre-shared key.
pub(crate) fn read_answer(stream: &mut impl Read) -> io::Result<bool> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if header[0] != HANDSHAKE || length > LONGEST_RECORD {
        let what = format!("a record of type {} instead of a ServerHello", header[0]);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut record = vec![0; length];
    stream.read_exact(&mut record)?;
    accepts_psk(&record)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no ordinary ServerHello"))
}

/// Whether a record's ServerHello accepts the pre-shared key; `None` if it holds no ServerHello, or a retry request.
fn accepts_psk(record: &[u8]) -> Option<bool> {
    let mut message = Reader(record);
    if message.u8()? != SERVER_HELLO {
        return None;
    }
    let mut hello = Reader(message.vector24()?);
    hello.take(2)?;
    if hello.take(32)? == RETRY {
        return None;
    }
    hello.vector8()?;
    hello.take(2 + 1)?;
    Some(
        Reader(hello.vector16()?)
            .extension(PRE_SHARED_KEY)
            .is_some(),
    )
}
