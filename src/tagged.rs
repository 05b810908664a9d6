//! Ids that their server recognises.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::error::Error;
use crate::id::SessionId;

/// The length of an id, in bytes: OpenSSL resumes TLS 1.3 sessions only by ids of this length.
const LEN: usize = 32;
/// How much of it is random.
const RANDOM: usize = 24;

/// Makes ids that carry a keyed tag, and recognises them: 24 random bytes and the SipHash-2-4 of them.
///
/// Looked-up ids are chosen by whoever connects. With tagged ids, one that this server did not make is refused before it
/// costs a look-up here or a question to an external store; a forger guesses one in 2^64. Servers that share an external
/// store share the key. The tag proves nothing else: it does not say whose session it is, or that it still lives.
///
/// Both methods are wait-free. Recognising costs about 20 ns and no cache line but the key's.
///
/// # Examples
///
/// ```
/// use refrain::TaggedIds;
///
/// let ids = TaggedIds::random()?;
/// let id = ids.generate()?;
/// assert!(ids.recognizes(id.as_bytes()));
/// assert!(!ids.recognizes(&[7; 32]));
/// assert!(!TaggedIds::random()?.recognizes(id.as_bytes()));
/// # Ok::<(), refrain::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct TaggedIds(SipHasher24);

impl TaggedIds {
    /// Ids under this key. Servers that resume each other's sessions have the same one.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroTagKey`] for zeros, which is what a key looks like that nobody has set.
    pub fn new(key: &[u8; 16]) -> Result<Self, Error> {
        if key == &[0; 16] {
            return Err(Error::ZeroTagKey);
        }
        Ok(Self(SipHasher24::new_with_key(key)))
    }

    /// Ids under a key that nobody else has: for one process.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`] if the system has none.
    pub fn random() -> Result<Self, Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(|_| Error::NoRandomness)?;
        Self::new(&key)
    }

    /// A fresh id.
    ///
    /// # Errors
    ///
    /// [`Error::NoRandomness`] if the system has none.
    #[doc(alias = "SSL_CTX_set_generate_session_id")]
    #[doc(alias = "SSL_set_generate_session_id")]
    pub fn generate(&self) -> Result<SessionId, Error> {
        let mut id = [0; LEN];
        getrandom::fill(&mut id[..RANDOM]).map_err(|_| Error::NoRandomness)?;
        let tag = self.tag(&id[..RANDOM]);
        id[RANDOM..].copy_from_slice(&tag.to_le_bytes());
        Ok(SessionId::from(id))
    }

    /// Whether this is an id that was made under this key. In constant time for ids of 32 bytes.
    pub fn recognizes(&self, id: &[u8]) -> bool {
        let Ok(id) = <&[u8; LEN]>::try_from(id) else {
            return false;
        };
        let (random, tag) = id.split_at(RANDOM);
        // As numbers: comparing bytes might stop at the first that differs.
        tag.try_into()
            .is_ok_and(|tag| u64::from_le_bytes(tag) == self.tag(random))
    }

    fn tag(&self, random: &[u8]) -> u64 {
        let mut hasher = self.0;
        hasher.write(random);
        hasher.finish()
    }
}

impl fmt::Debug for TaggedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaggedIds(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_ids_are_recognized() {
        let ids = TaggedIds::new(&[9; 16]).unwrap();
        let same = TaggedIds::new(&[9; 16]).unwrap();
        let other = TaggedIds::new(&[8; 16]).unwrap();
        let id = ids.generate().unwrap();
        assert!(same.recognizes(id.as_bytes()));
        assert!(!other.recognizes(id.as_bytes()));
        for bit in 0..LEN * 8 {
            let mut forged: [u8; LEN] = id.as_bytes().try_into().unwrap();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!ids.recognizes(&forged), "bit {bit}");
        }
        for len in 0..LEN {
            assert!(!ids.recognizes(&id.as_bytes()[..len]));
        }
        assert!(!ids.recognizes(&[&[0; 1], id.as_bytes()].concat()));
    }

    #[test]
    fn the_tag_is_siphash_2_4() {
        // The vector of the reference implementation: key 00..0f, input 00..0e.
        let key: [u8; 16] = std::array::from_fn(|n| n as u8);
        let input: [u8; 15] = std::array::from_fn(|n| n as u8);
        assert_eq!(
            TaggedIds::new(&key).unwrap().tag(&input),
            0xa129_ca61_49be_45e5
        );
    }

    #[test]
    fn a_key_that_nobody_has_set_is_refused() {
        assert_eq!(TaggedIds::new(&[0; 16]).unwrap_err(), Error::ZeroTagKey);
    }

    #[test]
    fn debug_shows_no_key() {
        let ids = TaggedIds::new(&[0xab; 16]).unwrap();
        assert_eq!(format!("{ids:?}"), "TaggedIds(..)");
    }
}
