//! Puts of which nobody knows whether the store will still do them.
//!
//! Their batch got no answer. What was sent may still be on its way, on a connection that is given up here, and be done after a
//! removal that was sent later on another one. So the removal of such a session is sent again, at growing distances, until the
//! store has had a minute to find what was on its way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::name::Name;

/// How long a put stays in doubt.
pub(super) const DOUBT: Duration = Duration::from_secs(60);
/// How long after it was written a removal is sent again; then twice as long after that, and so on.
pub(super) const FIRST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Doubt {
    until: Instant,
    pause: Duration,
    /// When the removal is sent again, if it was sent.
    again: Option<Instant>,
}

/// The sessions whose put is in doubt: not more than so many.
#[derive(Debug)]
pub(super) struct Doubts {
    of: HashMap<Name, Doubt>,
    most: usize,
    /// No removal is to be sent again before.
    next: Option<Instant>,
    /// When those that are over were looked for.
    swept: Option<Instant>,
}

impl Doubts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            of: HashMap::new(),
            most,
            next: None,
            swept: None,
        }
    }

    /// A put was sent, and there was no answer. Where there is no room, nobody remembers it.
    pub(super) fn add(&mut self, name: Name, now: Instant) {
        let sweeps = self.swept.is_none_or(|swept| swept + FIRST <= now);
        if self.of.len() >= self.most && sweeps {
            self.swept = Some(now);
            self.of.retain(|_, doubt| now < doubt.until);
        }
        if self.of.len() < self.most {
            let doubt = Doubt {
                until: now + DOUBT,
                pause: FIRST,
                again: None,
            };
            self.of.insert(name, doubt);
        }
    }

    /// Another put of that name was queued, and is its last word.
    pub(super) fn forget(&mut self, name: &Name) {
        self.of.remove(name);
    }

    /// A removal was written. Is it to be again?
    pub(super) fn removed(&mut self, name: &Name, now: Instant) {
        let Some(doubt) = self.of.get_mut(name) else {
            return;
        };
        if now < doubt.until {
            // The last one comes when the time is over.
            let again = doubt.until.min(now + doubt.pause);
            doubt.again = Some(again);
            doubt.pause *= 2;
            self.next = Some(self.next.map_or(again, |next| next.min(again)));
        } else {
            self.of.remove(name);
        }
    }

    /// When the next removal is to be sent again, or was to be, had nobody [forgotten](Self::forget) it.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Those whose removal is to be sent again by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Name> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let due = self.of.iter_mut().filter_map(|(name, doubt)| {
            let again = doubt.again.take_if(|again| *again <= now);
            again.map(|_| *name)
        });
        let due = due.collect();
        self.next = self.of.values().filter_map(|doubt| doubt.again).min();
        due
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;
    use crate::id::{ContextId, SessionId};

    fn name(n: u8) -> Name {
        Name {
            context: ContextId::new(&[1]).unwrap(),
            id: SessionId::new(&[n]).unwrap(),
        }
    }

    #[test]
    fn a_removal_is_repeated_until_the_doubt_is_over() {
        let begin = Instant::now();
        let mut doubts = Doubts::new(2);
        doubts.add(name(1), begin);
        assert_eq!(doubts.next(), None);
        let mut sent = Vec::new();
        let mut now = begin;
        doubts.removed(&name(1), now);
        while let Some(next) = doubts.next() {
            assert!(doubts.due(next - Duration::from_millis(1)).is_empty());
            assert_eq!(doubts.due(next), [name(1)]);
            assert_eq!(doubts.next(), None, "until it was written");
            now = next;
            sent.push((now - begin).as_secs());
            doubts.removed(&name(1), now);
        }
        assert_eq!(sent, [1, 3, 7, 15, 31, 60]);
        assert!(doubts.of.is_empty());
    }

    #[test]
    fn what_was_answered_is_not_repeated_and_there_are_not_too_many() {
        let begin = Instant::now();
        let mut doubts = Doubts::new(2);
        (1..=3).for_each(|n| doubts.add(name(n), begin));
        for n in 1..=4 {
            doubts.removed(&name(n), begin);
        }
        doubts.forget(&name(2));
        assert_eq!(doubts.due(begin + FIRST), [name(1)]);
        // There is room again once a doubt is over.
        (5..=6).for_each(|n| doubts.add(name(n), begin + DOUBT));
        assert_eq!(doubts.of.len(), 2);
        assert!(doubts.of.contains_key(&name(5)) && doubts.of.contains_key(&name(6)));
    }
}
