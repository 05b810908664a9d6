//! What is not a connection: handles that were kept, floods, maintenance, and what looks at every session.

use std::time::Duration;

use refrain::{Added, Session};

use crate::mix::{KEPT, Load, Worker};

/// Sessions of a flood, and look-ups.
const FLOOD: usize = 512;

impl Worker<'_> {
    /// A handle that was kept: used up, removed, or added again, which must not bring it back.
    pub(crate) fn use_kept(&mut self) {
        let at = self.random.below(KEPT as u64) as usize;
        if at >= self.kept.len() {
            return;
        }
        self.operations += 1;
        let session = self.kept.swap_remove(at);
        let Load {
            cache, reference, ..
        } = self.load;
        let Some(label) = reference.read(&session) else {
            return;
        };
        match self.random.below(3) {
            0 => {
                let added = cache.add(session);
                if !matches!(added, Added::AlreadyPresent | Added::Removed) {
                    reference
                        .faults
                        .note("a session was added a second time", || {
                            format!("{added}: {label:?}")
                        });
                }
            }
            1 if cache.take_exact(&session) => reference.took(&label),
            2 if cache.remove_exact(&session) => reference.removed(&label),
            _ => {}
        }
    }

    /// Removed before it is added, so that it can't be added any more.
    pub(crate) fn remove_unadded(&mut self) {
        let Some((label, session)) = self.new_ticket() else {
            return;
        };
        self.operations += 2;
        let Load {
            cache, reference, ..
        } = self.load;
        if cache.remove_exact(&session) {
            reference.removed(&label);
            let added = cache.add(session);
            if added != Added::Removed {
                reference
                    .faults
                    .note("a session was added after its removal", || {
                        format!("{added}: {label:?}")
                    });
            }
        }
    }

    /// Strangers who guess ids.
    pub(crate) fn flood_astray(&mut self) {
        (0..FLOOD).for_each(|_| self.look_astray());
    }

    /// Newcomers who never come back.
    pub(crate) fn flood(&mut self) {
        for _ in 0..FLOOD {
            if let Some((label, session)) = self.new_ticket() {
                self.add(&label, session);
            }
        }
    }

    pub(crate) fn maintain(&mut self) {
        self.operations += 1;
        let Load {
            cache, reference, ..
        } = self.load;
        if self.random.one_in(2) {
            cache.run_maintenance();
            return;
        }
        let ahead = Duration::from_millis(self.random.below(2) * self.random.below(50));
        let time = reference.tell_time(cache) + ahead;
        reference.flushing(time);
        reference.told.flushed.add(cache.flush(time) as u64);
    }

    /// Something that looks at every session.
    pub(crate) fn sweep(&mut self) {
        self.operations += 1;
        let Load {
            cache, reference, ..
        } = self.load;
        match self.random.below(16) {
            0 => reference.told.cleared.add(cache.clear() as u64),
            1..6 => {
                let part = self.random.next();
                let keep = |session: &Session| {
                    let label = reference.read(session);
                    label.is_none_or(|label| u64::from(label.serial) % 64 != part % 64)
                };
                reference.told.retained.add(cache.retain(keep) as u64);
            }
            6 => {
                let _ = format!("{cache:?} {:?}", cache.stats());
            }
            _ => {
                cache.run_maintenance();
            }
        }
    }
}
