//! The names of what was removed: for a while, no read brings them back.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::name::Name;

/// How long a tombstone stays after the removal, and after it was written. A read that takes longer lets nothing in.
pub(crate) const TOMBSTONE: Duration = Duration::from_millis(500);

/// So many burials are remembered. Where there is no room for one, no read lets anything in for as long as it would count.
pub(super) const MOST: usize = 1 << 16;
/// How many that are over are cleared away at a time: that is done under the queue's lock, which handshakes want, too.
pub(super) const CLEARED: usize = 4;

#[derive(Default)]
pub(super) struct Tombs {
    /// Until when a removed name stays out, and the order in which that ends.
    until: HashMap<Name, Instant>,
    order: VecDeque<(Instant, Name)>,
    /// Until when everything stays out.
    shut: Option<Instant>,
}

impl Tombs {
    /// Keeps a name out from here on.
    pub(super) fn bury(&mut self, name: Name, now: Instant) {
        for _ in 0..CLEARED {
            let Some(&(until, old)) = self.order.front().filter(|(until, _)| *until <= now) else {
                break;
            };
            self.order.pop_front();
            // It may have been buried again since.
            if self.until.get(&old) == Some(&until) {
                self.until.remove(&old);
            }
        }
        let until = now + TOMBSTONE;
        if self.order.len() >= MOST {
            self.shut = self.shut.max(Some(until));
            return;
        }
        self.until.insert(name, until);
        self.order.push_back((until, name));
    }

    /// Whether what a read brings of this name stays out.
    pub(super) fn keep_out(&self, name: &Name, now: Instant) -> bool {
        self.shut.is_some_and(|until| now < until)
            || self.until.get(name).is_some_and(|&until| now < until)
    }

    #[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.until.len(), self.order.len())
    }
}
