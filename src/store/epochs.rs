//! How often everything, and each context, was invalidated: the store's counts, as far as this server knows them.
//!
//! The counts are part of every record's name. While one is not known, or is to be counted up, nothing is read and nothing
//! written under it.

use std::collections::HashMap;

use crate::id::ContextId;
use crate::sync::{Mutex, lock};

use super::name::Epoch;

/// One count at the store.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    known: Option<u64>,
    /// How often this server wants it counted up.
    due: u32,
    /// How many of those are not ready: the first tier is still being invalidated.
    held: u32,
    /// Which of all changes was its last.
    changed: u64,
}

impl Count {
    fn current(&self) -> Option<u64> {
        self.known.filter(|_| self.due == 0)
    }
}

#[derive(Debug, Default)]
struct Counts {
    all: Count,
    own: HashMap<ContextId, Count>,
    /// How often any of it has changed or was to be changed.
    changes: u64,
}

impl Counts {
    fn of(&mut self, which: Option<&ContextId>) -> &mut Count {
        match which {
            None => &mut self.all,
            Some(id) => self.own.entry(*id).or_default(),
        }
    }

    /// The same, of one that changes.
    fn change(&mut self, which: Option<&ContextId>) -> &mut Count {
        self.changes += 1;
        let changed = self.changes;
        let count = self.of(which);
        count.changed = changed;
        count
    }
}

/// What a value of the store's means for what this server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// Others have invalidated.
    Invalidated,
    /// The store has forgotten: it must be counted up to this again, or what was invalidated may come back.
    Behind(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<Counts>);

impl Epochs {
    /// The counts of a context, if both are known; else it is noted that they are wanted. The flag tells that this is news.
    pub(crate) fn of(&self, context: &ContextId) -> Result<Epoch, bool> {
        let mut counts = lock(&self.0);
        let all = counts.all.current();
        let news = !counts.own.contains_key(context);
        match (all, counts.of(Some(context)).current()) {
            (Some(all), Some(own)) => Ok(Epoch { all, own }),
            _ => Err(news),
        }
    }

    /// Which change of a context's two counts was the last, or wish for one: who has read before the next has read too early.
    pub(crate) fn changes(&self, context: &ContextId) -> u64 {
        let counts = lock(&self.0);
        let own = counts.own.get(context).map_or(0, |count| count.changed);
        own.max(counts.all.changed)
    }

    /// From here on, what stands under the count is out of reach for this server. It is counted up after the
    /// [end](Self::end_invalidation) of the same in the first tier: else a session that is not invalidated there yet could be
    /// written under the new count.
    pub(crate) fn begin_invalidation(&self, which: Option<&ContextId>) {
        let mut counts = lock(&self.0);
        let count = counts.change(which);
        count.due += 1;
        count.held += 1;
    }

    /// The first tier is invalidated.
    pub(crate) fn end_invalidation(&self, which: Option<&ContextId>) {
        let mut counts = lock(&self.0);
        let count = counts.of(which);
        count.held = count.held.saturating_sub(1);
    }

    /// Whether all counts are known, and nothing waits to be counted up.
    pub(crate) fn is_settled(&self) -> bool {
        let counts = lock(&self.0);
        let settled = |count: &Count| count.current().is_some();
        settled(&counts.all) && counts.own.values().all(settled)
    }

    /// What is to be counted up, and how often that was asked for.
    pub(crate) fn due(&self) -> Vec<(Option<ContextId>, u32)> {
        let counts = lock(&self.0);
        let own = counts.own.iter().map(|(id, count)| (Some(*id), count));
        std::iter::once((None, &counts.all))
            .chain(own)
            .filter(|(_, count)| count.due > 0 && count.held == 0)
            .map(|(id, count)| (id, count.due))
            .collect()
    }

    /// It was counted up, which answers so many wishes.
    pub(crate) fn counted(&self, which: Option<&ContextId>, due: u32, value: u64) -> News {
        let mut counts = lock(&self.0);
        let count = counts.change(which);
        count.due = count.due.saturating_sub(due);
        let before = count.known.replace(value);
        match before {
            // Others have counted, too.
            Some(known) if value > known.saturating_add(1) => News::Invalidated,
            // What stands under the old count is out of reach at once, and stays so if the store fails on the way there.
            Some(known) if value <= known => {
                let next = known.saturating_add(1);
                count.known = Some(next);
                News::Behind(next)
            }
            _ => News::None,
        }
    }

    /// The counts that are wanted: all of them, or only those that are not known. What is no context's any more, by `knows`,
    /// is forgotten.
    pub(crate) fn wanted(
        &self,
        all: bool,
        knows: impl Fn(&ContextId) -> bool,
    ) -> Vec<Option<ContextId>> {
        let mut counts = lock(&self.0);
        if all {
            counts.own.retain(|id, count| count.due > 0 || knows(id));
        }
        let own = counts.own.iter().map(|(id, count)| (Some(*id), count));
        std::iter::once((None, &counts.all))
            .chain(own)
            .filter(|(_, count)| all || count.known.is_none())
            .map(|(id, _)| id)
            .collect()
    }

    /// The store has told a value.
    pub(crate) fn learn(&self, which: Option<&ContextId>, value: u64) -> News {
        let mut counts = lock(&self.0);
        let count = counts.of(which);
        match count.known {
            Some(known) if value < known => News::Behind(known),
            Some(known) if value > known => {
                counts.change(which).known = Some(value);
                News::Invalidated
            }
            Some(_) => News::None,
            None => {
                count.known = Some(value);
                News::None
            }
        }
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    fn id(n: u8) -> ContextId {
        ContextId::new(&[n]).unwrap()
    }

    fn invalidate(epochs: &Epochs, which: Option<&ContextId>) {
        epochs.begin_invalidation(which);
        epochs.end_invalidation(which);
    }

    #[test]
    fn nothing_is_known_until_both_counts_are() {
        let epochs = Epochs::default();
        assert_eq!(epochs.of(&id(1)), Err(true));
        assert_eq!(epochs.of(&id(1)), Err(false));
        let wanted = epochs.wanted(false, |_| true);
        assert_eq!(wanted, [None, Some(id(1))]);
        assert_eq!(epochs.learn(None, 3), News::None);
        assert_eq!(epochs.of(&id(1)), Err(false));
        assert_eq!(epochs.learn(Some(&id(1)), 4), News::None);
        assert_eq!(epochs.of(&id(1)), Ok(Epoch { all: 3, own: 4 }));
        assert!(epochs.wanted(false, |_| true).is_empty());
    }

    #[test]
    fn an_invalidation_hides_everything_until_it_was_counted() {
        let epochs = Epochs::default();
        let one = id(1);
        let _ = epochs.of(&one);
        epochs.learn(None, 0);
        epochs.learn(Some(&one), 0);
        let (before, other) = (epochs.changes(&one), epochs.changes(&id(2)));
        epochs.begin_invalidation(Some(&one));
        epochs.begin_invalidation(Some(&one));
        assert_eq!(epochs.of(&one), Err(false));
        epochs.end_invalidation(Some(&one));
        assert!(epochs.due().is_empty() && !epochs.is_settled());
        epochs.end_invalidation(Some(&one));
        assert_eq!(epochs.due(), [(Some(one), 2)]);
        assert!(epochs.changes(&one) > before);
        assert_eq!(epochs.changes(&id(2)), other);
        // Another wish while it is counted is not answered by that.
        invalidate(&epochs, Some(&one));
        assert_eq!(epochs.counted(Some(&one), 2, 1), News::None);
        assert_eq!(epochs.of(&one), Err(false));
        // Somebody else has counted as well.
        assert_eq!(epochs.counted(Some(&one), 1, 3), News::Invalidated);
        assert_eq!(epochs.of(&one), Ok(Epoch { all: 0, own: 3 }));
        let before = epochs.changes(&one);
        invalidate(&epochs, None);
        assert!(epochs.changes(&one) > before && epochs.changes(&id(2)) > other);
        assert_eq!(epochs.of(&one), Err(false));
        assert_eq!(epochs.counted(None, 1, 1), News::None);
        assert_eq!(epochs.of(&one), Ok(Epoch { all: 1, own: 3 }));
        assert!(epochs.is_settled());
    }

    #[test]
    fn a_count_only_grows_and_a_store_that_forgets_is_reminded() {
        let epochs = Epochs::default();
        epochs.learn(None, 5);
        assert_eq!(epochs.learn(None, 5), News::None);
        assert_eq!(epochs.learn(None, 0), News::Behind(5));
        assert_eq!(epochs.learn(None, 6), News::Invalidated);
        invalidate(&epochs, None);
        assert_eq!(epochs.counted(None, 1, 2), News::Behind(7));
        assert_eq!(epochs.learn(None, 7), News::None);
        assert_eq!(epochs.learn(None, 8), News::Invalidated);
    }

    #[test]
    fn an_invalidation_at_a_store_that_has_forgotten_is_not_lost_on_the_way() {
        let epochs = Epochs::default();
        let one = id(1);
        epochs.learn(None, 0);
        epochs.learn(Some(&one), 5);
        invalidate(&epochs, Some(&one));
        assert_eq!(epochs.counted(Some(&one), 1, 1), News::Behind(6));
        // The store fails before it is there, and is looked at again later.
        assert_eq!(epochs.of(&one), Ok(Epoch { all: 0, own: 6 }));
        assert_eq!(epochs.learn(Some(&one), 3), News::Behind(6));
    }

    #[test]
    fn what_is_no_context_any_more_is_forgotten_unless_it_is_to_be_counted() {
        let epochs = Epochs::default();
        for n in 1..=3 {
            let _ = epochs.of(&id(n));
        }
        invalidate(&epochs, Some(&id(2)));
        let mut wanted = epochs.wanted(true, |known| *known == id(3));
        wanted.sort_by_key(|which| which.map(|id| id.as_bytes()[0]));
        assert_eq!(wanted, [None, Some(id(2)), Some(id(3))]);
    }
}
