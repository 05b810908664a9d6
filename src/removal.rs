//! Why a session left.

/// Why a session left the cache, as the remove callback hears it.
///
/// Exactly one cause is decided per session, by the one compare-and-swap that ends its life. A session that was
/// replaced by another of the same id has no cause here, because it fires no callback: the callback's usual work is to
/// delete the id from an external store, and that would delete the newcomer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalCause {
    /// [`take`](crate::SessionCache::take) returned it: it was used, and is not to be used again.
    Taken,
    /// [`remove`](crate::SessionCache::remove) or [`remove_exact`](crate::SessionCache::remove_exact).
    Removed,
    /// Its deadline passed; found by the wheel or by [`flush`](crate::SessionCache::flush).
    Expired,
    /// It made room for another.
    Evicted,
    /// Its context was invalidated, or given up to make room for another context.
    Invalidated,
    /// [`clear`](crate::SessionCache::clear).
    Cleared,
    /// [`retain`](crate::SessionCache::retain) did not want it.
    Retained,
    /// The new callback answered that it should not be kept.
    Refused,
    /// The cache was dropped with the session in it.
    Dropped,
}

impl RemovalCause {
    /// Every cause, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Taken,
        Self::Removed,
        Self::Expired,
        Self::Evicted,
        Self::Invalidated,
        Self::Cleared,
        Self::Retained,
        Self::Refused,
        Self::Dropped,
    ];

    /// The cause in one lower-case word, as metrics want it.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(refrain::RemovalCause::Expired.as_str(), "expired");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Invalidated => "invalidated",
            Self::Cleared => "cleared",
            Self::Retained => "retained",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the cache itself decided that the session had to go: its deadline or lack of room.
    pub const fn was_evicted(self) -> bool {
        matches!(self, Self::Expired | Self::Evicted)
    }
}

impl std::fmt::Display for RemovalCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a session ended, as its state word records it: by a cause that the callback hears, or by one that it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The callback hears of it.
    Event(RemovalCause),
    /// Another session took its place, and the callback is not told.
    Replaced,
    /// An add gave it up before anybody could find it: it never was in the cache.
    Unpublished,
}

impl End {
    /// The number that the state word holds: 0 to 8 are the causes, 14 and 15 the silent ends.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Event(cause) => cause as u64,
            Self::Replaced => 14,
            Self::Unpublished => 15,
        }
    }

    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            14 => Self::Replaced,
            15 => Self::Unpublished,
            n => Self::Event(RemovalCause::ALL[n as usize]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_numbers_and_words() {
        for (n, cause) in RemovalCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
            assert_eq!(cause.as_str(), format!("{cause:?}").to_lowercase());
            assert_eq!(cause.to_string(), cause.as_str());
            let own = matches!(cause, RemovalCause::Expired | RemovalCause::Evicted);
            assert_eq!(cause.was_evicted(), own);
        }
    }

    #[test]
    fn every_end_has_a_number_of_four_bits() {
        let events = RemovalCause::ALL.map(End::Event);
        let ends = [&events[..], &[End::Replaced, End::Unpublished]].concat();
        let mut numbers: Vec<_> = ends.iter().map(|end| end.number()).collect();
        for (end, &number) in ends.iter().zip(&numbers) {
            assert!(number < 16);
            assert_eq!(End::from_number(number), *end);
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ends.len());
    }
}
