//! The key ring: what records are sealed with and named by.

use std::fmt;

use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;

use super::Key;
use super::name::{Class, Epoch, Name};

/// The length of a nonce: long enough for any number of servers to draw them at random.
pub(crate) const NONCE: usize = 24;
const KEY_ID: usize = 4;
/// Fewer different bytes than these in a key, and nobody has drawn it at random.
const FEWEST: usize = 8;

type Keyed = Hmac<Sha256>;

struct Ring {
    id: [u8; KEY_ID],
    cipher: XChaCha20Poly1305,
}

/// The keys that all servers on one store share: one that names records, and one or more that seal them.
///
/// The first sealing key seals; the others only open what was sealed before. To rotate: give every server the new key as an
/// [older](Self::older) one, then make it the current one everywhere, and drop the old one once the longest timeout has passed.
/// The naming key stays: with another one nothing that is in the store is found. Who has these keys has the sessions.
///
/// # Examples
///
/// ```
/// use refrain::store::Keys;
///
/// # let (naming, current, last_week) = (random(1), random(2), random(3));
/// # fn random(n: u8) -> [u8; 32] { std::array::from_fn(|i| (i as u8).wrapping_mul(i as u8 ^ 0x5d).wrapping_add(n)) }
/// let keys = Keys::new(&naming, &current)?.older(&last_week)?;
/// assert!(Keys::new(&naming, &[0; 32]).is_err());
/// # Ok::<(), refrain::Error>(())
/// ```
pub struct Keys {
    naming: Keyed,
    ring: Vec<Ring>,
}

impl Keys {
    /// A ring of one sealing key, and the key that names records. Draw each at random; they may not be the same.
    ///
    /// # Errors
    ///
    /// [`Error::WeakStoreKey`] for keys that nobody has drawn at random: all zeros, one byte over and over, counting up,
    /// and two that are the same.
    pub fn new(naming: &[u8; 32], current: &[u8; 32]) -> Result<Self, Error> {
        if is_weak(naming) || naming == current {
            return Err(Error::WeakStoreKey);
        }
        let keys = Self {
            naming: keyed(naming),
            ring: Vec::new(),
        };
        keys.older(current)
    }

    /// With one more key, which only opens.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn older(mut self, key: &[u8; 32]) -> Result<Self, Error> {
        if is_weak(key) {
            return Err(Error::WeakStoreKey);
        }
        // One key is for one purpose: what seals is derived, and so is what tells of it.
        let id = derive(key, b"refrain key id");
        let seal = derive(key, b"refrain seal");
        self.ring.push(Ring {
            id: [id[0], id[1], id[2], id[3]],
            cipher: XChaCha20Poly1305::new((&*seal).into()),
        });
        Ok(self)
    }

    /// The key that seals.
    pub(crate) fn current(&self) -> ([u8; KEY_ID], &XChaCha20Poly1305) {
        let first = &self.ring[0];
        (first.id, &first.cipher)
    }

    pub(crate) fn find(&self, id: &[u8]) -> Option<&XChaCha20Poly1305> {
        let found = self.ring.iter().find(|key| key.id == id)?;
        Some(&found.cipher)
    }

    /// Under what a record stands in the store, which learns neither the id nor the context from it.
    pub(crate) fn name(&self, name: &Name, class: Class, epoch: Epoch) -> Key {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend_from_slice(b"record");
        name.write(class, epoch, &mut bytes);
        self.digest(&bytes)
    }

    /// Under what the count of a context's invalidations stands, or, with none, that of everything.
    pub(crate) fn counter(&self, context: Option<&[u8]>) -> Key {
        let mut bytes = b"epoch".to_vec();
        bytes.push(u8::from(context.is_some()));
        bytes.extend_from_slice(context.unwrap_or_default());
        self.digest(&bytes)
    }

    fn digest(&self, bytes: &[u8]) -> Key {
        let digest = self.naming.clone().chain_update(bytes).finalize();
        Key::of(digest.into_bytes().into())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.ring.len())
    }
}

fn keyed(key: &[u8; 32]) -> Keyed {
    // By its whole block, which can't be of a wrong length.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    <Keyed as KeyInit>::new((&*block).into())
}

fn derive(key: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let digest = keyed(key).chain_update(purpose).finalize();
    Zeroizing::new(digest.into_bytes().into())
}

/// Whether a key looks like one that somebody has typed, or forgotten to set.
fn is_weak(key: &[u8; 32]) -> bool {
    let step = key[1].wrapping_sub(key[0]);
    let counts = key
        .windows(2)
        .all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let mut seen = [false; 256];
    key.iter().for_each(|&byte| seen[usize::from(byte)] = true);
    counts || seen.iter().filter(|&&seen| seen).count() < FEWEST
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;
    use crate::id::{ContextId, SessionId};

    fn key(n: u8) -> [u8; 32] {
        *derive(&[n; 32], b"test")
    }

    #[test]
    fn keys_that_nobody_has_drawn_are_refused() {
        let counting = std::array::from_fn(|n| n as u8 + 1);
        let pattern = std::array::from_fn(|n| b"secret"[n % 6]);
        for weak in [[0; 32], [0xff; 32], [7; 32], counting, pattern] {
            let refused = Err(Error::WeakStoreKey);
            assert_eq!(Keys::new(&weak, &key(1)).map(|_| ()), refused);
            assert_eq!(Keys::new(&key(1), &weak).map(|_| ()), refused);
            let ring = Keys::new(&key(1), &key(2)).unwrap();
            assert_eq!(ring.older(&weak).map(|_| ()), refused);
        }
        assert!(Keys::new(&key(1), &key(1)).is_err());
    }

    #[test]
    fn the_current_key_seals_and_all_are_found() {
        let ring = Keys::new(&key(1), &key(2)).unwrap();
        let (id, _) = ring.current();
        let older = Keys::new(&key(1), &key(3)).unwrap().older(&key(2)).unwrap();
        assert!(older.find(&id).is_some());
        assert_ne!(older.current().0, id);
        assert!(ring.find(&older.current().0).is_none());
        assert_eq!(format!("{older:?}"), "Keys(2)");
    }

    #[test]
    fn names_differ_in_whatever_differs() {
        let ring = Keys::new(&key(1), &key(2)).unwrap();
        let other = Keys::new(&key(9), &key(2)).unwrap();
        let name = |context: &[u8], id: &[u8]| Name {
            context: ContextId::new(context).unwrap(),
            id: SessionId::new(id).unwrap(),
        };
        let epoch = Epoch { all: 1, own: 2 };
        let usual = name(b"context", b"id");
        let keys = [
            ring.name(&usual, Class::Looked, epoch),
            ring.name(&usual, Class::Taken, epoch),
            ring.name(&usual, Class::Looked, Epoch { all: 2, own: 1 }),
            ring.name(&name(b"contexti", b"d"), Class::Looked, epoch),
            ring.name(&name(b"context", b"ie"), Class::Looked, epoch),
            other.name(&usual, Class::Looked, epoch),
            ring.counter(None),
            ring.counter(Some(b"context")),
            ring.counter(Some(b"")),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(key.as_bytes().len(), 32);
            assert!(!keys[n + 1..].contains(key), "{n}");
        }
        assert_eq!(keys[0], ring.name(&usual, Class::Looked, epoch));
    }
}
