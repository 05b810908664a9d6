//! What is read off the wire: the session that a recorded hello offers, and what a server answered.

use super::hello::kind;
use super::reader::Reader;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
/// The `random` that marks a ServerHello as a HelloRetryRequest begins so.
const RETRY: [u8; 4] = [0xCF, 0x21, 0xAD, 0x74];

/// A server's answer to a first flight, by its first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It begins a full handshake.
    Full,
    /// It resumes the session that was offered.
    Resumed,
    /// It wants another hello.
    Retry,
    /// It refuses, with this alert.
    Alert(u8),
    /// It waits for more, or has hung up without a word.
    Nothing,
}

impl Answer {
    /// Reads the answer to a hello that offered this session id, be it empty.
    pub(crate) fn read(bytes: &[u8], offered: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::Nothing;
        }
        Self::parse(bytes, offered).expect("a server's record is well-formed")
    }

    /// Whether it is what a server says that has found the session and not the right binder: decrypt_error, as RFC 8446
    /// has it, or what libssl says before its version 4, illegal_parameter.
    pub(crate) fn refuses_binder(self) -> bool {
        matches!(self, Self::Alert(51 | 47))
    }

    fn parse(bytes: &[u8], offered: &[u8]) -> Option<Self> {
        let mut record = Reader(bytes);
        let content = record.u8()?;
        record.take(2)?;
        let mut fragment = Reader(record.vector16()?);
        if content == ALERT {
            fragment.u8()?;
            return Some(Self::Alert(fragment.u8()?));
        }
        if content != HANDSHAKE || fragment.u8()? != SERVER_HELLO {
            return None;
        }
        let mut hello = Reader(fragment.vector24()?);
        hello.take(2)?;
        if hello.take(32)?.starts_with(&RETRY) {
            return Some(Self::Retry);
        }
        let echoed = hello.vector8()?;
        hello.take(2 + 1)?;
        // TLS 1.2 hellos may end here.
        let rest = Reader(hello.vector16().unwrap_or_default());
        let resumed = if rest.extension(kind::SUPPORTED_VERSIONS).is_some() {
            rest.extension(kind::PRE_SHARED_KEY).is_some()
        } else {
            !offered.is_empty() && echoed == offered
        };
        Some(if resumed { Self::Resumed } else { Self::Full })
    }
}

/// The session that a recorded first flight offers: its first pre-shared key, or else its session id.
pub(crate) fn offered(first_flight: &[u8]) -> Option<Vec<u8>> {
    let mut record = Reader(first_flight);
    record.take(3)?;
    let mut message = Reader(record.vector16()?);
    message.u8()?;
    let mut hello = Reader(message.vector24()?);
    hello.take(2 + 32)?;
    let session_id = hello.vector8()?;
    hello.vector16()?;
    hello.vector8()?;
    let extensions = Reader(hello.vector16().unwrap_or_default());
    if let Some(keys) = extensions.extension(kind::PRE_SHARED_KEY) {
        return Some(Reader(Reader(keys).vector16()?).vector16()?.to_vec());
    }
    (!session_id.is_empty()).then(|| session_id.to_vec())
}
