//! The keys of a shared tier as a text: words of 64 hexadecimal digits. The first names records, the second seals them, and
//! further ones open what was sealed before.

use refrain::store::Keys;

use crate::hex;
use crate::output::Failure;

/// What keys are made of.
pub(crate) struct Material(Vec<[u8; 32]>);

impl Material {
    /// Fresh keys, drawn at random.
    pub(crate) fn draw() -> Result<Self, Failure> {
        let mut keys = vec![[0; 32]; 2];
        for key in &mut keys {
            getrandom::fill(key)
                .map_err(|error| Failure::broken(format!("could not draw keys: {error}")))?;
        }
        Ok(Self(keys))
    }

    /// Reads the text. The error does not repeat it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let keys: Option<Vec<_>> = text
            .split_whitespace()
            .map(|word| hex::decode(word)?.try_into().ok())
            .collect();
        keys.filter(|keys| keys.len() >= 2)
            .map(Self)
            .ok_or_else(|| "keys are two or more words of 64 hexadecimal digits".to_owned())
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|key| hex::encode(key)).collect();
        words.join("\n") + "\n"
    }

    /// The keys themselves.
    pub(crate) fn keys(&self) -> Result<Keys, refrain::Error> {
        let keys = Keys::new(&self.0[0], &self.0[1])?;
        self.0[2..]
            .iter()
            .try_fold(keys, |keys, key| keys.older(key))
    }
}
