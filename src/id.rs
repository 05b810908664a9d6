//! Names: of a session, and of the context in which it may be resumed.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The longest session id and the longest context id, in bytes, as in TLS and OpenSSL.
pub(crate) const MAX_LEN: usize = 32;

/// Up to 32 bytes, kept inline and padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Short {
    bytes: [u8; MAX_LEN],
    len: u8,
}

impl Short {
    fn new(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() || bytes.len() > MAX_LEN {
            return None;
        }
        let mut padded = [0; MAX_LEN];
        padded[..bytes.len()].copy_from_slice(bytes);
        Some(Self {
            bytes: padded,
            len: bytes.len() as u8,
        })
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A session's id: 1 to 32 bytes. `Debug` shows only the length.
///
/// # Examples
///
/// ```
/// use refrain::SessionId;
///
/// let id = SessionId::new(&[7; 32])?;
/// assert_eq!(id.as_bytes(), [7; 32]);
/// assert!(SessionId::new(&[]).is_err());
/// assert!(SessionId::new(&[0; 33]).is_err());
/// # Ok::<(), refrain::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(Short);

impl SessionId {
    /// An id of these bytes.
    ///
    /// # Errors
    ///
    /// [`Error::IdLength`] unless there are 1 to 32 of them.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        Short::new(bytes)
            .map(Self)
            .ok_or(Error::IdLength { len: bytes.len() })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The id that was taken apart by [`padded`](Self::padded) and [`len`](Self::len).
    pub(crate) fn from_padded(bytes: [u8; MAX_LEN], len: u8) -> Self {
        Self(Short { bytes, len })
    }

    /// The padded bytes as two numbers.
    #[inline(always)]
    pub(crate) fn halves(&self) -> [u128; 2] {
        let half = |at: usize| {
            let bytes = self.0.bytes[at..at + MAX_LEN / 2].try_into();
            u128::from_ne_bytes(bytes.expect("half of them"))
        };
        [half(0), half(MAX_LEN / 2)]
    }

    pub(crate) fn padded(&self) -> &[u8; MAX_LEN] {
        &self.0.bytes
    }

    #[allow(
        clippy::len_without_is_empty,
        reason = "an id is never empty; there is nothing to ask"
    )]
    pub(crate) fn len(&self) -> u8 {
        self.0.len
    }
}

impl AsRef<[u8]> for SessionId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<[u8; MAX_LEN]> for SessionId {
    fn from(bytes: [u8; MAX_LEN]) -> Self {
        Self(Short {
            bytes,
            len: MAX_LEN as u8,
        })
    }
}

impl TryFrom<&[u8]> for SessionId {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        Self::new(bytes)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({} bytes)", self.0.len)
    }
}

/// The security context in which sessions may be resumed: OpenSSL's session id context.
///
/// A session is found only under the context it was stored under. Put into it whatever decides who may resume what:
/// the application, the server's certificates, the client CAs and the verification policy. Two servers whose policies
/// differ must have different contexts; [`derive`](Self::derive) makes that easy, and there is no default, because a
/// constant one is how CVE-2025-23419 and its relatives came about.
///
/// # Examples
///
/// ```
/// use refrain::ContextId;
///
/// let public = ContextId::derive("shop", &[("cert", b"fingerprint"), ("client-ca", b"")]);
/// let admin = ContextId::derive("shop", &[("cert", b"fingerprint"), ("client-ca", b"staff")]);
/// assert_ne!(public, admin);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContextId(Short);

impl ContextId {
    /// A context of these bytes, as `SSL_CTX_set_session_id_context` takes them.
    ///
    /// # Errors
    ///
    /// [`Error::ContextLength`] unless there are 1 to 32 of them.
    #[doc(alias = "SSL_CTX_set_session_id_context")]
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        Short::new(bytes)
            .map(Self)
            .ok_or(Error::ContextLength { len: bytes.len() })
    }

    /// The SHA-256 of an application's name and labelled parts, each with its length in front, so that no two lists
    /// run together into the same bytes.
    pub fn derive(application: &str, parts: &[(&str, &[u8])]) -> Self {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(b"refrain context 1");
        field(application.as_bytes());
        for (label, value) in parts {
            field(label.as_bytes());
            field(value);
        }
        Self(Short {
            bytes: hash.finalize().into(),
            len: MAX_LEN as u8,
        })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextId({} bytes)", self.0.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_every_length() {
        for len in 0..=33 {
            let bytes = vec![0xa5; len];
            let good = (1..=32).contains(&len);
            assert_eq!(SessionId::new(&bytes).is_ok(), good, "session id of {len}");
            assert_eq!(ContextId::new(&bytes).is_ok(), good, "context id of {len}");
        }
    }

    #[test]
    fn an_id_is_its_bytes() {
        let bytes: [u8; MAX_LEN] = std::array::from_fn(|n| n as u8 + 1);
        for len in 1..=MAX_LEN {
            let id = SessionId::new(&bytes[..len]).unwrap();
            assert_eq!(id.as_bytes(), &bytes[..len]);
            assert_eq!(id.as_ref(), &bytes[..len]);
            assert_eq!(usize::from(id.len()), len);
            assert_eq!(SessionId::try_from(&bytes[..len]), Ok(id));
            let mut padded = [0; MAX_LEN];
            padded[..len].copy_from_slice(&bytes[..len]);
            assert_eq!(id.padded(), &padded);
            let context = ContextId::new(&bytes[..len]).unwrap();
            assert_eq!(context.as_bytes(), &bytes[..len]);
        }
        assert_eq!(SessionId::from(bytes), SessionId::new(&bytes).unwrap());
        assert_eq!(
            SessionId::try_from(&[][..]),
            Err(Error::IdLength { len: 0 })
        );
    }

    #[test]
    fn padding_is_not_part_of_an_id() {
        assert_ne!(
            SessionId::new(&[1, 0]).unwrap(),
            SessionId::new(&[1]).unwrap()
        );
    }

    #[test]
    fn derived_contexts_do_not_run_together() {
        let ab_c = ContextId::derive("a", &[("ab", b"c")]);
        let a_bc = ContextId::derive("a", &[("a", b"bc")]);
        let two = ContextId::derive("a", &[("a", b"b"), ("c", b"")]);
        assert_ne!(ab_c, a_bc);
        assert_ne!(ab_c, two);
        assert_eq!(ab_c, ContextId::derive("a", &[("ab", b"c")]));
    }

    #[test]
    fn a_derived_context_stays_the_same() {
        // Servers that share a store have to agree, whatever version they run. Computed by another program.
        let expected = [
            0xac, 0x09, 0xc3, 0xb5, 0xaa, 0x28, 0x56, 0xc4, 0xf2, 0x01, 0x54, 0x5d, 0xb9, 0x03,
            0xbe, 0xdd, 0xcb, 0xb7, 0x67, 0xbb, 0x2e, 0x7d, 0xd3, 0x9c, 0x7c, 0x05, 0xf4, 0xc6,
            0x4e, 0x67, 0xc5, 0x3b,
        ];
        let shop = ContextId::derive("shop", &[("cert", b"fingerprint")]);
        assert_eq!(shop.as_bytes(), expected);
    }

    #[test]
    fn debug_shows_no_bytes() {
        let id = SessionId::new(&[0xab; 32]).unwrap();
        assert_eq!(format!("{id:?}"), "SessionId(32 bytes)");
        let context = ContextId::new(&[0xab; 5]).unwrap();
        assert_eq!(format!("{context:?}"), "ContextId(5 bytes)");
    }
}
