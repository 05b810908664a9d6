//! Searches all the memory that this process can write to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, read_to_string};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::secret::{Secret, WORD, wipe};

/// What is read at a time, in bytes.
const CHUNK: usize = 1 << 16;

/// The smallest page. Most pages have never been written to, and are told at one look.
const PAGE: usize = 1 << 12;
const UNUSED: [u8; PAGE] = [0; PAGE];

/// A readable and writable mapping.
struct Mapping {
    range: Range<usize>,
    name: String,
}

fn mappings() -> Vec<Mapping> {
    let maps = read_to_string("/proc/self/maps").unwrap();
    let mut mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    // They come in order; but one that grows while they are read may come twice.
    let mut end = 0;
    for Mapping { range, .. } in &mut mappings {
        range.start = range.start.max(end).min(range.end);
        end = range.end;
    }
    assert!(mappings.iter().any(|m| m.name == "[heap]"), "{maps}");
    assert!(mappings.iter().any(|m| m.name == "[stack]"), "{maps}");
    mappings
}

/// A line such as `5581a000-5583b000 rw-p 00000000 00:00 0    [heap]`.
fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (begin, end) = fields.next()?.split_once('-')?;
    let number = |hex| usize::from_str_radix(hex, 16).unwrap();
    fields.next()?.starts_with("rw").then(|| Mapping {
        range: number(begin)..number(end),
        name: fields.nth(3).unwrap_or("anonymous").to_owned(),
    })
}

/// A copy of a secret, or what is left of one.
pub(crate) struct Copy {
    /// Where its first byte is, or was.
    at: usize,
    mapping: String,
    /// The aligned words of it that are there.
    words: usize,
    /// All that it has.
    of: usize,
}

impl Copy {
    pub(crate) fn is_whole(&self) -> bool {
        self.words == self.of
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            mapping,
            words,
            of,
        } = self;
        write!(f, "{words} of {of} words at {at:#x} in {mapping}")
    }
}

/// What is searched for, so arranged that most words of memory are told from it by one look.
pub(crate) struct Wanted {
    mask: u64,
    /// By the word's lowest 16 bits.
    maybe: Vec<bool>,
    /// Words under the mask, in order, with their offsets in the secret.
    words: Vec<(u64, usize)>,
}

impl Wanted {
    pub(crate) fn new(secret: &Secret) -> Self {
        let mut words: Vec<_> = secret.masked_words().collect();
        assert!(!words.is_empty(), "too short to be found");
        words.sort_unstable();
        let all_differ = words.windows(2).all(|two| two[0].0 != two[1].0);
        assert!(all_differ, "not random, and so found where it is not");
        let mut maybe = vec![false; 1 << 16];
        for (word, _) in &words {
            maybe[usize::from(*word as u16)] = true;
        }
        Self {
            mask: secret.mask(),
            maybe,
            words,
        }
    }

    /// The offset in the secret of a word of memory.
    fn offset(&self, word: &[u8]) -> Option<usize> {
        // Under the mask from the start, so that no temporary holds what is searched for; and only as much as is needed.
        let masked = |bytes: &[u8]| {
            let places = bytes.iter().zip(0..);
            places.fold(self.mask, |masked, (byte, place)| {
                masked ^ u64::from(*byte) << (8 * place)
            })
        };
        if !self.maybe[usize::from(masked(&word[..2]) as u16)] {
            return None;
        }
        let masked = masked(word);
        let place = self.words.binary_search_by_key(&masked, |(word, _)| *word);
        place.ok().map(|place| self.words[place].1)
    }

    /// Whether anything of the secret is in a block of memory.
    #[cfg(feature = "openssl")]
    pub(crate) fn is_in(&self, block: &[u8]) -> bool {
        let mut words = block.chunks_exact(WORD);
        words.any(|word| self.offset(word).is_some())
    }
}

/// Passes over the memory before an error is believed.
const PASSES: usize = 100;

/// All copies of the secret, and all pieces of it, of 15 bytes at least: such a piece has an aligned word in it, and those are
/// compared.
pub(crate) fn copies(secret: &Secret) -> Vec<Copy> {
    let wanted = Wanted::new(secret);
    // What a thread that ends unmaps meanwhile can't be read, so another look is taken.
    for _ in 1..PASSES {
        if let Ok(found) = pass(secret, &wanted) {
            return found;
        }
    }
    pass(secret, &wanted).unwrap()
}

/// One look at everything.
fn pass(secret: &Secret, wanted: &Wanted) -> io::Result<Vec<Copy>> {
    let memory = File::open("/proc/self/mem")?;
    let mut buffer = vec![0_u8; CHUNK];
    let own = buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len();
    let mut found = BTreeMap::<usize, Copy>::new();
    for Mapping { range, name } in mappings() {
        for start in range.clone().step_by(CHUNK) {
            let len = CHUNK.min(range.end - start);
            let read = memory.read_exact_at(&mut buffer[..len], start as u64);
            let used = (0..len)
                .step_by(PAGE)
                .filter(|n| buffer[*n..][..PAGE] != UNUSED);
            for place in used.flat_map(|page| (page..page + PAGE).step_by(WORD)) {
                let Some(offset) = wanted.offset(&buffer[place..][..WORD]) else {
                    continue;
                };
                let at = start + place;
                if own.contains(&at) {
                    continue;
                }
                let begin = at - offset;
                let first = begin.next_multiple_of(WORD);
                let copy = found.entry(begin).or_insert_with(|| Copy {
                    at: begin,
                    mapping: name.clone(),
                    words: 0,
                    of: (begin + secret.len() - first) / WORD,
                });
                copy.words += 1;
            }
            wipe(&mut buffer[..len]);
            // Part of it may have been read.
            read?;
        }
    }
    Ok(found.into_values().collect())
}
