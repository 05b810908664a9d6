//! What an operator does to a cache at work: other limits, other callbacks, invalidations; and a listener that is stuck.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::callbacks::{Shared, on_get, on_new, on_remove};
use crate::heap;
use crate::mix::Load;
use crate::payload::Random;
use crate::reference::CONTEXTS;

/// How often it looks.
const PACE: Duration = Duration::from_millis(1);

/// Operations within which a stuck listener must fill the backlog, or is let go: with a large budget it takes too many.
const STUCK: u64 = 4_000_000;

/// What it saw, and did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) limits: u64,
    pub(crate) invalidations: u64,
    pub(crate) swaps: u64,
    /// Times that the listener was stuck, and of those, that adds were then refused.
    pub(crate) stuck: u64,
    pub(crate) backed_up: u64,
    /// The most memory that the cache said it had: in sessions, and in sessions on their way out.
    pub(crate) peak_live: u64,
    pub(crate) peak_backlog: u64,
    /// The most memory of the process, where the system tells.
    pub(crate) peak_resident: Option<usize>,
}

pub(crate) struct Governor<'a> {
    pub(crate) load: &'a Load,
    pub(crate) shared: &'a Shared,
    pub(crate) capacity: usize,
    pub(crate) bytes: usize,
    pub(crate) seen: &'a mut Seen,
}

impl Governor<'_> {
    /// Governs until the time is up, and then ends the round.
    pub(crate) fn govern(&mut self, until: Instant) {
        let round = u64::from(self.load.reference.round());
        let mut random = Random::new(self.load.reference.seed ^ round << 48);
        while self.goes_on(until) {
            match random.below(40) {
                0..8 => self.change_limits(until, &mut random),
                8..14 => self.invalidate(&mut random),
                14..38 => self.swap(&mut random),
                38 => self.block_listener(until),
                _ => {}
            }
            let enough = self.operations() + 1000 + random.below(100_000);
            while self.operations() < enough && self.goes_on(until) {
                self.look();
            }
        }
        self.load.reference.over.store(true, Ordering::Relaxed);
    }

    fn goes_on(&self, until: Instant) -> bool {
        !self.load.reference.is_over() && Instant::now() < until
    }

    fn operations(&self) -> u64 {
        let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        self.load.operations.iter().map(count).sum()
    }

    /// Looks at the limits that always hold, and lets the others work.
    fn look(&mut self) {
        let Load {
            cache, reference, ..
        } = self.load;
        let stats = cache.stats();
        if stats.entries > self.capacity as u64 {
            reference
                .faults
                .note("there were more sessions than the capacity", || {
                    format!("{} of {}", stats.entries, self.capacity)
                });
        }
        if stats.bytes > self.bytes as u64 {
            reference.faults.note(
                "there was more memory in sessions than the byte budget",
                || format!("{} of {}", stats.bytes, self.bytes),
            );
        }
        self.seen.peak_live = self.seen.peak_live.max(stats.bytes);
        self.seen.peak_backlog = self.seen.peak_backlog.max(stats.backlog_bytes);
        self.seen.peak_resident = self.seen.peak_resident.max(heap::resident());
        thread::sleep(PACE);
    }

    /// Lowers or raises both limits. Once the adds of before have ended, the cache shrinks until it fits, and stays there.
    fn change_limits(&mut self, until: Instant, random: &mut Random) {
        let Load {
            cache,
            reference,
            steps,
            ..
        } = self.load;
        self.seen.limits += 1;
        let part = 1 << random.below(6);
        let capacity = (self.capacity / part).max(1);
        let bytes = self.bytes / [1, 1, 2, 8][random.below(4) as usize];
        let set = cache
            .set_capacity(capacity)
            .and_then(|_| cache.set_byte_budget(bytes));
        if let Err(error) = set {
            let what = "the limits could not be changed";
            reference.faults.note(what, || error.to_string());
        }
        let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Acquire);
        let before: Vec<u64> = steps.iter().map(count).collect();
        let hold_old = || steps.iter().map(count).zip(&before).any(|(n, b)| n < b + 2);
        let fits = || {
            let stats = cache.stats();
            stats.entries <= capacity as u64 && stats.bytes <= bytes as u64
        };
        while self.goes_on(until) && (hold_old() || !fits()) {
            self.look();
        }
        let enough = self.operations() + 20_000;
        while self.goes_on(until) && self.operations() < enough {
            if !fits() {
                reference
                    .faults
                    .note("a lowered limit was exceeded again", || {
                        format!("{:?}, of {capacity} and {bytes} bytes", cache.stats())
                    });
            }
            self.look();
        }
        // One of four times it stays so until the next.
        if !random.one_in(4) {
            self.restore();
        }
    }

    /// Sets the limits that the cache was built with.
    pub(crate) fn restore(&self) {
        let cache = &self.load.cache;
        let set = cache
            .set_capacity(self.capacity)
            .and_then(|_| cache.set_byte_budget(self.bytes));
        if let Err(error) = set {
            let what = "the limits could not be restored";
            self.load.reference.faults.note(what, || error.to_string());
        }
    }

    fn invalidate(&mut self, random: &mut Random) {
        let Load {
            cache,
            contexts,
            reference,
            ..
        } = self.load;
        self.seen.invalidations += 1;
        let context = random.below(CONTEXTS as u64) as usize;
        reference.invalidating(context, || {
            if let Err(error) = cache.invalidate_context(&contexts[context]) {
                let what = "a context could not be invalidated";
                reference.faults.note(what, || error.to_string());
            }
        });
    }

    fn swap(&mut self, random: &mut Random) {
        let (cache, shared) = (&self.load.cache, self.shared);
        self.seen.swaps += 1;
        match random.below(6) {
            0 => drop(cache.set_on_new(random.one_in(2).then(|| on_new(shared)))),
            1 => drop(cache.set_on_get(random.one_in(2).then(|| on_get(shared)))),
            _ => {
                let next = on_remove(shared, random.next());
                if cache.set_on_remove(Some(next)).is_none() {
                    let what = "the remove callback was gone";
                    self.load.reference.faults.note(what, String::new);
                }
            }
        }
    }

    /// Holds the listener up until adds are refused for it.
    fn block_listener(&mut self, until: Instant) {
        let cache = &self.load.cache;
        self.seen.stuck += 1;
        let refused = cache.stats().not_cached_backlog;
        let enough = self.operations() + STUCK;
        self.shared.gate.set(true);
        let is_backed_up = || cache.stats().not_cached_backlog > refused;
        while self.goes_on(until) && !is_backed_up() && self.operations() < enough {
            self.look();
        }
        // Full is full: whatever goes on now makes it no fuller.
        let enough = self.operations() + 50_000;
        while self.goes_on(until) && is_backed_up() && self.operations() < enough {
            self.look();
        }
        self.seen.backed_up += u64::from(is_backed_up());
        self.shared.gate.set(false);
    }
}
