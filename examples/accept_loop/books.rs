//! The books: every session that went in is still there or left for exactly one reason, and the callback heard of each
//! that left.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::HumanCount;
use refrain::{RemovalCause, Stats};

/// How often the callback was called, by cause. It is counted here, outside the cache.
#[derive(Debug, Default)]
pub(crate) struct Callbacks([AtomicU64; RemovalCause::ALL.len()]);

impl Callbacks {
    /// Counts one call.
    pub(crate) fn count(&self, cause: RemovalCause) {
        let place = RemovalCause::ALL.iter().position(|known| *known == cause);
        self.0[place.expect("ALL has every cause")].fetch_add(1, Ordering::Relaxed);
    }

    /// The calls with this cause.
    pub(crate) fn of(&self, cause: RemovalCause) -> u64 {
        RemovalCause::ALL
            .iter()
            .zip(&self.0)
            .filter(|(known, _)| **known == cause)
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum()
    }

    /// All calls.
    pub(crate) fn total(&self) -> u64 {
        self.0
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// `inserted = live + taken + removed + expired + evicted + replaced`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Balance {
    pub(crate) inserted: u64,
    pub(crate) live: u64,
    pub(crate) taken: u64,
    /// By anybody's decision: removed, invalidated, cleared, not retained, refused, or dropped with the cache.
    pub(crate) removed: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) replaced: u64,
}

impl Balance {
    /// The columns with their names.
    pub(crate) fn columns(&self) -> [(&'static str, u64); 7] {
        [
            ("inserted", self.inserted),
            ("live", self.live),
            ("taken", self.taken),
            ("removed", self.removed),
            ("expired", self.expired),
            ("evicted", self.evicted),
            ("replaced", self.replaced),
        ]
    }
}

impl From<&Stats> for Balance {
    fn from(stats: &Stats) -> Self {
        Self {
            inserted: stats.inserted,
            live: stats.entries,
            taken: stats.taken,
            removed: stats.removed
                + stats.invalidated
                + stats.cleared
                + stats.retained
                + stats.refused
                + stats.dropped,
            expired: stats.expired,
            evicted: stats.evicted,
            replaced: stats.replaced,
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.columns().into_iter().enumerate() {
            let joint = ["", " = ", " + "][place.min(2)];
            write!(f, "{joint}{name} {}", HumanCount(count))?;
        }
        Ok(())
    }
}

/// The books at one moment: what the cache says, and what the callback heard.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) balance: Balance,
    pub(crate) callbacks: u64,
    /// The callbacks that the balance calls for.
    pub(crate) callbacks_due: u64,
    /// What does not add up, in words.
    pub(crate) faults: Vec<String>,
}

impl Books {
    /// Closes the books. Delivery must have drained.
    pub(crate) fn close(when: &str, stats: &Stats, callbacks: &Callbacks) -> Self {
        let balance = Balance::from(stats);
        let [(_, inserted), rest @ ..] = balance.columns();
        let accounted: u64 = rest.iter().map(|(_, count)| count).sum();
        let Balance {
            taken,
            removed,
            expired,
            evicted,
            ..
        } = balance;
        let due = taken + removed + expired + evicted + stats.never_added;
        let fired = callbacks.total();

        let mut faults = Vec::new();
        if inserted != accounted {
            faults.push(format!(
                "{when}: the balance is off: {balance} (= {accounted})"
            ));
        }
        if fired != due {
            faults.push(format!(
                "{when}: {fired} callbacks fired, but {due} were due"
            ));
        }
        for (cause, count) in [
            (RemovalCause::Taken, taken),
            (RemovalCause::Expired, expired),
            (RemovalCause::Evicted, evicted),
        ] {
            let heard = callbacks.of(cause);
            if heard != count {
                let cause = cause.as_str();
                faults.push(format!(
                    "{when}: {count} sessions {cause}, but {heard} callbacks said so"
                ));
            }
        }
        if stats.callbacks != fired {
            let claimed = stats.callbacks;
            faults.push(format!(
                "{when}: the cache counts {claimed} callbacks, but {fired} fired"
            ));
        }
        Self {
            balance,
            callbacks: fired,
            callbacks_due: due,
            faults,
        }
    }
}
