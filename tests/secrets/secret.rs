//! Bytes that are searched for, and that are in memory only as long as a test wants them there.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::ops::Deref;

/// The length of the mask, and of a word of memory.
pub(crate) const WORD: usize = 8;

/// A secret that is kept masked.
pub(crate) struct Secret {
    masked: Box<[u8]>,
    mask: [u8; WORD],
}

/// A secret in clear, in one place, until it is dropped.
pub(crate) struct Clear(Box<[u8]>);

impl Secret {
    /// A new one, of so many bytes that no other has.
    pub(crate) fn new(len: usize) -> Self {
        let random = std::hash::RandomState::new();
        let masked = (0..len).map(|n| random.hash_one(n) as u8).collect();
        Self {
            masked,
            mask: random.hash_one("mask").to_le_bytes(),
        }
    }

    /// Notes what somebody else has made.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mask = Self::new(0).mask;
        // Byte by byte, so that no piece of it stands in a temporary.
        let masked = bytes
            .iter()
            .enumerate()
            .map(|(n, byte)| black_box(*byte) ^ mask[n % WORD])
            .collect();
        Self { masked, mask }
    }

    pub(crate) fn len(&self) -> usize {
        self.masked.len()
    }

    pub(crate) fn clear(&self) -> Clear {
        let mut clear = Clear(vec![0; self.len()].into());
        self.write(&mut clear.0);
        clear
    }

    /// Writes it in clear to where the caller wants it, and has to wipe it.
    #[inline(never)]
    pub(crate) fn write(&self, to: &mut [u8]) {
        for (n, (to, masked)) in to.iter_mut().zip(&self.masked).enumerate() {
            *to = black_box(*masked) ^ black_box(self.mask[n % WORD]);
        }
    }

    /// The mask, as it lies over each word of memory that is searched.
    pub(crate) fn mask(&self) -> u64 {
        u64::from_le_bytes(self.mask)
    }

    /// Every word that stands in it, at any offset, under the mask; with the offset.
    pub(crate) fn masked_words(&self) -> impl Iterator<Item = (u64, usize)> {
        let masked_word = |at: usize| {
            // What is under the mask of its place in the secret is put under the mask of its place in the word, and never
            // without either.
            std::array::from_fn(|n| {
                let change = self.mask[(at + n) % WORD] ^ self.mask[n];
                self.masked[at + n] ^ change
            })
        };
        let last = (self.len() + 1).saturating_sub(WORD);
        (0..last).map(move |at| (u64::from_le_bytes(masked_word(at)), at))
    }
}

impl Deref for Clear {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Clear {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites bytes that a test has to wipe itself.
pub(crate) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}
