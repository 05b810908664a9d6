//! How sessions leave together: a bucket is looked at, and those that have to go are ended.

use crate::budget::Permit;
use crate::reclaim::Guard;
use crate::removal::RemovalCause;
use crate::sync::fence_after_rmw;

use super::header::Raw;
use super::removed::Pile;
use super::word::{Life, Owed, State};
use super::{Engine, Shard};

/// Sessions that were ended one after another, and what is owed for them.
#[derive(Default)]
struct Left {
    ended: u64,
    permit: Permit,
    pile: Option<Pile>,
    units: u64,
}

impl Left {
    /// # Safety
    ///
    /// As for [`Pile::add`], if the push is owed.
    unsafe fn add(&mut self, raw: Raw, permit: Permit, owed: Owed) {
        self.ended += 1;
        self.permit = self.permit.and(permit);
        if owed == Owed::Push {
            // SAFETY: passed on to the caller; so below.
            self.units += unsafe { raw.units() };
            match &mut self.pile {
                // SAFETY: as above.
                Some(pile) => unsafe { pile.add(raw) },
                None => self.pile = Some(Pile::of(raw)),
            }
        }
    }
}

impl Engine {
    /// Looks at the sessions of one bucket and ends those to which `when` applies. Returns how many this call ended; their
    /// permits are released.
    ///
    /// `when` is asked again about each state that is really replaced, so a touch or a visit in between counts. It is not the
    /// user's: what has been ended is settled when all of the bucket were looked at.
    ///
    /// Locked instructions: two for each session that leaves, and four for all of them together.
    pub(super) fn look(
        &self,
        _guard: &Guard<'_>,
        shard: &Shard,
        bucket: usize,
        cause: RemovalCause,
        when: impl Fn(Raw, State) -> bool,
    ) -> usize {
        let mut left = Left::default();
        for (slot, word, raw) in shard.table.published(bucket) {
            // SAFETY: found in a slot under the guard; so in the rest of this function.
            let state = &unsafe { raw.header() }.state;
            let seen = state.load();
            if seen.life() != Life::Live || !when(raw, seen) {
                continue;
            }
            let Some((path, place)) = self.place(shard, (bucket, slot), (word, raw)) else {
                continue;
            };
            let Ok(owed) = state.end_in_slot(cause, |state| when(raw, state)) else {
                continue;
            };
            let permit = Self::vacate(shard, &path, (place, word, raw));
            // SAFETY: as above; the push is owed by the end.
            unsafe { left.add(raw, permit, owed) };
        }
        if left.ended > 0 {
            shard.cells.end(cause, left.ended);
            if let Some(pile) = left.pile {
                // SAFETY: alive under the guard; owed by the ends.
                unsafe { self.push(shard, &pile, left.units) };
            }
            self.cells.budget.release(left.permit);
            // ORDERING: SeqCst, behind read-modify-writes; partner: this same fence in another thread, as in `finish`.
            fence_after_rmw();
        }
        left.ended as usize
    }
}
