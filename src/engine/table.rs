//! The index of a shard: buckets, and the paths along which ids are looked for.
//!
//! Nothing in it ever moves. A session stands in one slot of its path from the moment it is published to the moment it
//! is unlinked or another of the same id is put into that slot. All methods that follow a pointer need the caller to be
//! pinned, and take the guard as proof.

use crate::engine::bucket::{Bucket, SLOTS, Word};
use crate::engine::header::Raw;
use crate::error::Error;
use crate::id::SessionId;
use crate::reclaim::Guard;
use crate::sync::{MODEL, prefetch};
use crate::zeroed::Array;

/// Buckets on the longest path. At the load that tables are built for, about one id in 10^10 would need more.
const MAX_HOPS: usize = if MODEL { 2 } else { 16 };

/// Bits of the hash above this belong to the choice of the shard.
pub(crate) const SHARD_BITS: u32 = 10;

/// Where an id is looked for: what the table makes of its hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    hash: u64,
    home: usize,
}

impl Path {
    /// Of the path of a session that stands in its first bucket, enough to take it out there. Not to look for it: the hash is not
    /// its own.
    pub(crate) fn home_only(bucket: usize) -> Self {
        Self {
            hash: 0,
            home: bucket,
        }
    }

    /// Its first bucket.
    #[inline(always)]
    pub(crate) fn home(&self) -> usize {
        self.home
    }

    /// What the words of its sessions carry.
    #[inline(always)]
    pub(crate) fn fingerprint(&self) -> u16 {
        (self.hash >> 32) as u16
    }

    #[inline(always)]
    fn group(&self) -> u8 {
        (self.hash >> 48 & 7) as u8
    }

    /// The binary logarithm of the distance between its buckets.
    #[inline(always)]
    fn step(&self) -> u32 {
        (self.hash >> 51 & 7) as u32
    }
}

/// One slot on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    hop: usize,
    pub(crate) bucket: usize,
    pub(crate) slot: usize,
}

impl Place {
    fn new(hop: usize, bucket: usize, slot: usize) -> Self {
        Self { hop, bucket, slot }
    }

    /// Whether it is behind the first bucket of the path.
    pub(crate) fn is_away(self) -> bool {
        self.hop > 0
    }

    /// Its rank on the path: the lower of two claims wins.
    fn rank(self) -> (usize, usize) {
        (self.hop, self.slot)
    }
}

/// What an add finds on its path.
#[derive(Debug)]
pub(crate) enum Scan {
    /// A published session of this id, dead or alive.
    Published(Place, Word, Raw),
    /// None, and this is the first empty slot.
    Free(Place),
    /// None, and no empty slot either.
    Crowded,
}

/// What an add finds when it looks again after its claim.
#[derive(Debug)]
pub(crate) enum Rival {
    /// Nobody else adds this id.
    None,
    /// Somebody has published it.
    Published,
    /// Somebody else's claim, in front of ours.
    Lower,
    /// Somebody else's claim, behind ours.
    Higher(Place, Word, Raw),
}

/// What became of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Held,
    /// The slot was filled meanwhile.
    Lost,
    /// An overflow count on the way is at its limit.
    Saturated,
}

#[derive(Debug)]
pub(crate) struct Table {
    buckets: Array<Bucket>,
    hops: usize,
}

impl Table {
    /// A table of this many buckets, made odd.
    pub(crate) fn new(buckets: usize) -> Result<Self, Error> {
        // Steps are powers of two, so with an odd number of buckets a path never meets itself.
        let buckets = buckets | 1;
        Ok(Self {
            buckets: Array::new(buckets)?,
            hops: buckets.min(MAX_HOPS),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    #[inline(always)]
    pub(crate) fn path(&self, hash: u64) -> Path {
        let buckets = self.buckets.len();
        Path {
            hash,
            home: (((hash & 0xffff_ffff) * buckets as u64) >> 32) as usize,
        }
    }

    #[inline(always)]
    fn next(&self, bucket: usize, path: &Path) -> usize {
        let next = bucket + (1 << path.step()) % self.buckets.len();
        if next >= self.buckets.len() {
            next - self.buckets.len()
        } else {
            next
        }
    }

    /// The bucket that a search begins with, asked for from the memory system.
    #[inline(always)]
    pub(crate) fn home(&self, path: &Path) -> &Bucket {
        debug_assert!(path.home < self.buckets.len());
        // SAFETY: made by `path`, of this table: the upper half of a 32-bit number times so many. (Or `home_only`, of a bucket.)
        let bucket = unsafe { self.buckets.get_unchecked(path.home) };
        prefetch(bucket);
        bucket
    }

    /// The published session of an id, for who has the first bucket already. Wait-free: at most [`MAX_HOPS`] buckets, one as
    /// a rule.
    #[inline(always)]
    pub(crate) fn seek(
        &self,
        home: &Bucket,
        guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
    ) -> Option<Raw> {
        match Self::find_in(guard, home, path, id, context) {
            Some((_, _, raw)) => Some(raw),
            None if home.overflows(path.group()) => {
                let found = self.find_further(guard, path, id, context);
                found.map(|(_, _, raw)| raw)
            }
            None => None,
        }
    }

    /// As [`seek`](Self::seek), with its place.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
    ) -> Option<(Place, Word, Raw)> {
        let home = self.home(path);
        match Self::find_in(guard, home, path, id, context) {
            Some((slot, word, raw)) => {
                let place = Self::place_at_home(path.home, slot);
                Some((place, word, raw))
            }
            None if home.overflows(path.group()) => self.find_further(guard, path, id, context),
            None => None,
        }
    }

    /// As [`find`](Self::find), in the buckets behind the first.
    #[inline(never)]
    fn find_further(
        &self,
        guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
    ) -> Option<(Place, Word, Raw)> {
        let mut at = path.home;
        for hop in 1..self.hops {
            at = self.next(at, path);
            let bucket = &self.buckets[at];
            let found = Self::find_in(guard, bucket, path, id, context);
            if let Some((slot, word, raw)) = found {
                let place = Place::new(hop, at, slot);
                return Some((place, word, raw));
            }
            if !bucket.overflows(path.group()) {
                break;
            }
        }
        None
    }

    #[inline(always)]
    fn find_in(
        _guard: &Guard<'_>,
        bucket: &Bucket,
        path: &Path,
        id: &SessionId,
        context: u32,
    ) -> Option<(usize, Word, Raw)> {
        // SAFETY: found in a slot under the guard.
        bucket.find(path.fingerprint(), |raw| unsafe { raw.is(id, context) })
    }

    /// What stands on an id's path, for an add.
    #[inline]
    pub(crate) fn scan(
        &self,
        guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
    ) -> Scan {
        if let Some((place, word, raw)) = self.find(guard, path, id, context) {
            return Scan::Published(place, word, raw);
        }
        match self.home(path).vacancy() {
            Some(slot) => Scan::Free(Self::place_at_home(path.home, slot)),
            None => self.vacancy_further(path),
        }
    }

    /// The first empty slot behind the first bucket.
    #[inline(never)]
    fn vacancy_further(&self, path: &Path) -> Scan {
        let mut at = path.home;
        for hop in 1..self.hops {
            at = self.next(at, path);
            if let Some(slot) = self.buckets[at].vacancy() {
                return Scan::Free(Place::new(hop, at, slot));
            }
        }
        Scan::Crowded
    }

    /// Looks again after a claim and a SeqCst fence: of two claims for one id, at least one sees the other, and the
    /// lower one stays.
    #[inline]
    pub(crate) fn rescan(
        &self,
        guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
        own: Place,
    ) -> Rival {
        if own.hop == 0 {
            let home = self.home(path);
            let alone = home.alike(path.fingerprint()).is_only(own.slot);
            if alone && !home.overflows(path.group()) {
                return Rival::None;
            }
        }
        self.find_rival(guard, path, id, context, own)
    }

    #[inline(never)]
    fn find_rival(
        &self,
        _guard: &Guard<'_>,
        path: &Path,
        id: &SessionId,
        context: u32,
        own: Place,
    ) -> Rival {
        let mut higher = None;
        let mut at = path.home;
        for hop in 0..self.hops {
            let bucket = &self.buckets[at];
            for slot in 0..SLOTS {
                let place = Place::new(hop, at, slot);
                let word = bucket.load(slot);
                if place == own || word.fingerprint() != path.fingerprint() {
                    continue;
                }
                let Some(raw) = word.raw() else { continue };
                // SAFETY: found in a slot under the guard.
                if !unsafe { raw.is(id, context) } {
                    continue;
                }
                if word.is_published() {
                    return Rival::Published;
                }
                if place.rank() < own.rank() {
                    return Rival::Lower;
                }
                higher = higher.or(Some((place, word, raw)));
            }
            if !bucket.overflows(path.group()) {
                break;
            }
            at = self.next(at, path);
        }
        higher.map_or(Rival::None, |(place, word, raw)| {
            Rival::Higher(place, word, raw)
        })
    }

    /// Puts a tentative word into an empty slot, and counts it as overflow in the buckets before.
    #[inline]
    pub(crate) fn claim(&self, path: &Path, place: Place, word: Word) -> Claim {
        if place.is_away() && !self.raise(path, place.hop) {
            return Claim::Saturated;
        }
        if self.replace(place, Word::EMPTY, word) {
            return Claim::Held;
        }
        self.lower(path, place.hop);
        Claim::Lost
    }

    /// Counts one more in each bucket before this hop; false if one of them is at its limit, and then nothing is counted.
    #[inline(never)]
    fn raise(&self, path: &Path, hops: usize) -> bool {
        let mut at = path.home;
        for hop in 0..hops {
            if !self.buckets[at].raise(path.group()) {
                self.lower(path, hop);
                return false;
            }
            at = self.next(at, path);
        }
        true
    }

    /// Puts one word in the place of another: publishes a claim, or one session instead of another.
    #[inline]
    pub(crate) fn replace(&self, place: Place, old: Word, new: Word) -> bool {
        self.buckets[place.bucket].replace(place.slot, old, new)
    }

    /// Empties a slot, if it still holds `word`; only then are the overflow counts before it lowered.
    #[inline]
    pub(crate) fn empty(&self, path: &Path, place: Place, word: Word) -> bool {
        let emptied = self.replace(place, word, Word::EMPTY);
        if emptied && place.is_away() {
            self.lower(path, place.hop);
        }
        emptied
    }

    #[inline(never)]
    fn lower(&self, path: &Path, hops: usize) {
        let mut at = path.home;
        for _ in 0..hops {
            self.buckets[at].lower(path.group());
            at = self.next(at, path);
        }
    }

    /// Where this very session stands, published or only claimed.
    pub(crate) fn locate(&self, path: &Path, raw: Raw) -> Option<(Place, Word)> {
        let mut at = path.home;
        for hop in 0..self.hops {
            for slot in 0..SLOTS {
                let word = self.buckets[at].load(slot);
                if word.raw() == Some(raw) {
                    let place = Place::new(hop, at, slot);
                    return Some((place, word));
                }
            }
            at = self.next(at, path);
        }
        None
    }

    pub(crate) fn bucket(&self, bucket: usize) -> &Bucket {
        &self.buckets[bucket]
    }

    /// The published words of one bucket.
    pub(crate) fn published(&self, bucket: usize) -> impl Iterator<Item = (usize, Word, Raw)> {
        (0..SLOTS).filter_map(move |slot| {
            let word = self.buckets[bucket].load(slot);
            let raw = word.raw().filter(|_| word.is_published())?;
            Some((slot, word, raw))
        })
    }

    /// The place of a session at home, which was found by its bucket.
    pub(crate) fn place_at_home(bucket: usize, slot: usize) -> Place {
        Place::new(0, bucket, slot)
    }

    /// A slot that was found by its bucket, as a place on the path of the session in it.
    pub(crate) fn place(&self, path: &Path, bucket: usize, slot: usize) -> Option<Place> {
        let mut at = path.home;
        for hop in 0..self.hops {
            if at == bucket {
                return Some(Place::new(hop, bucket, slot));
            }
            at = self.next(at, path);
        }
        None
    }

    /// Whether every slot is empty and every count is zero; only meaningful when nothing else runs.
    pub(crate) fn is_pristine(&self) -> bool {
        self.buckets.iter().all(|bucket| {
            (0..SLOTS).all(|slot| bucket.load(slot).is_empty())
                && bucket.overflow_counts().iter().all(|&n| n == 0)
        })
    }
}
