//! What the bytes of a soak's session tell: which it is, from when, for how long, and that they are whole.

use refrain::SessionId;

/// Words before the filling.
const HEAD: usize = 6;

/// The longest payload, in bytes.
pub(crate) const LONGEST: usize = 6144;

/// Spreads a number over all bits of a word.
pub(crate) fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// A thread's choices.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// A number from zero on, below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// The length of a payload: most sessions have no client certificate, some have one, a few have a chain.
    pub(crate) fn length(&mut self) -> usize {
        let (least, most) = match self.below(20) {
            0..14 => (160, 320),
            14..19 => (1024, 2048),
            _ => (3072, LONGEST as u64),
        };
        (least + self.below(most - least)) as usize
    }
}

/// Whose a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TLS 1.2 client's: it has one id, under which one session follows another.
    Client,
    /// A TLS 1.3 ticket: an id of its own.
    Ticket,
    /// The external store's, built by the get callback.
    External,
    /// Nobody's: an id that is never stored.
    Stranger,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Client, Self::Ticket, Self::External, Self::Stranger];

    /// The id of one of these.
    pub(crate) fn id(self, seed: u64, number: u64) -> SessionId {
        let start = mix(seed ^ mix(number ^ (self as u64) << 56));
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&mix(start ^ place as u64).to_le_bytes());
        }
        SessionId::from(bytes)
    }
}

/// What a session says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) kind: Kind,
    /// The place of its context.
    pub(crate) context: usize,
    /// Invalidations of that context that had begun by the time at which its generation was read, or later.
    pub(crate) epoch: u32,
    /// What its id was made of.
    pub(crate) number: u64,
    pub(crate) round: u32,
    /// Its number in the round.
    pub(crate) serial: u32,
    /// When it was built and how long it lives from its adding on, in milliseconds.
    pub(crate) born: u64,
    pub(crate) life: u64,
}

impl Label {
    fn head(&self, length: usize) -> [u64; HEAD] {
        let what = self.kind as u64 | (self.context as u64) << 8 | (length as u64) << 16;
        let mut words = [
            what | u64::from(self.epoch) << 32,
            self.number,
            u64::from(self.round) << 32 | u64::from(self.serial),
            self.born,
            self.life,
            0,
        ];
        words[HEAD - 1] = words.iter().fold(0, |sum, word| mix(sum ^ word));
        words
    }

    /// The payload: this, and as much filling as makes `length` bytes.
    pub(crate) fn write(&self, length: usize, into: &mut Vec<u8>) {
        into.clear();
        let head = self.head(length);
        head.iter()
            .for_each(|word| into.extend_from_slice(&word.to_le_bytes()));
        let words = filling(&head, length.div_ceil(8).saturating_sub(HEAD));
        words.for_each(|word| into.extend_from_slice(&word.to_le_bytes()));
        into.truncate(length);
    }

    /// Reads a payload; `None` unless every byte is as it was written.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (head, rest) = payload.split_at_checked(8 * HEAD)?;
        let word = |place: usize| {
            let bytes = head[8 * place..][..8].try_into().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let (what, serial) = (word(0), word(2));
        let label = Self {
            kind: *Kind::ALL.get(usize::from(what as u8))?,
            context: usize::from((what >> 8) as u8),
            epoch: (what >> 32) as u32,
            number: word(1),
            round: (serial >> 32) as u32,
            serial: serial as u32,
            born: word(3),
            life: word(4),
        };
        let written = label.head(payload.len());
        let same_head = (0..HEAD).all(|place| word(place) == written[place]);
        let words = filling(&written, rest.len().div_ceil(8));
        let same_rest = rest
            .chunks(8)
            .zip(words)
            .all(|(bytes, word)| *bytes == word.to_le_bytes()[..bytes.len()]);
        (same_head && same_rest).then_some(label)
    }
}

/// The words behind the head.
fn filling(head: &[u64; HEAD], words: usize) -> impl Iterator<Item = u64> + use<> {
    let start = head[HEAD - 1];
    (1..=words as u64).map(move |place| start ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
