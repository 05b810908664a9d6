//! The tier's worker: writes what is queued, counts invalidations, hears of others', and tries a store that has failed.

use std::time::{Duration, Instant};

use crate::host::host_of;
use crate::id::ContextId;
use crate::sync::atomic::Ordering;
use crate::sync::{lock, thread};

use super::doubts::DOUBT;
use super::epochs::News;
use super::keys::Keys;
use super::name::{Class, Name};
use super::query::Pending;
use super::queue::{Op, Step};
use super::record::{self, Content};
use super::tier::{Tier, chance};
use super::{Key, Write};

/// How many bytes of sessions go to the store at once; one session always does.
const BATCH_BYTES: usize = 1 << 20;
/// How soon what is not known is asked for again after a failure.
const AGAIN: Duration = Duration::from_millis(50);
/// The same, while the cache's end waits for it.
const PAUSE: Duration = Duration::from_millis(5);
/// No record stays at a store for longer: the longest lifetime of a TLS 1.3 ticket (RFC 8446, 4.6.1).
const LONGEST_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How far a count is brought up again in one go.
const STEPS: usize = 1000;

/// What the worker needs of the cache.
pub(crate) trait Host {
    /// Whether a generation is not over.
    fn is_current(&self, generation: u32) -> bool;
    /// Whether there is such a context.
    fn knows(&self, context: &ContextId) -> bool;
    /// Other servers have invalidated a context, or everything.
    fn invalidate(&self, context: Option<&ContextId>);
}

/// One step of a batch, with what it borrows.
enum Sealed {
    Put(Key, Vec<u8>, Duration),
    Remove(Key),
}

impl Tier {
    /// Works until the tier is stopped, and then until the queue is empty or the time for that is over.
    pub(crate) fn work(&self, host: &impl Host) {
        let mut due = Instant::now();
        loop {
            let mut may_write = true;
            self.probe();
            self.queue.repeat(Instant::now());
            if self.is_well() {
                let now = Instant::now();
                if self.count_up(host) && self.refresh(host, now >= due) {
                    if now >= due {
                        due = now + self.options.refresh;
                    }
                    may_write = self.write(host);
                } else {
                    due = due.max(now + AGAIN);
                }
            }
            let now = Instant::now();
            self.cool(now);
            let (well, limit) = {
                let breaker = lock(&self.breaker);
                let until_due = due.saturating_duration_since(now);
                match breaker.probe_in(now) {
                    None if may_write => (true, until_due),
                    // What could not be written is not tried again at once.
                    None => (false, until_due.min(AGAIN)),
                    Some(limit) => (false, limit),
                }
            };
            if !self.queue.wait(limit, well) {
                break;
            }
        }
        // Once more, and for the last time.
        self.queue.repeat(Instant::now() + DOUBT);
        let until = *self.end.get_or_init(|| Instant::now() + self.options.drain);
        while Instant::now() < until && self.is_well() && !self.queue.drained(Duration::ZERO) {
            if !self.count_up(host) || !self.refresh(host, false) || !self.write(host) {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Until when a call may take that is made now.
    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + self.options.write_budget;
        self.end.get().map_or(deadline, |&end| deadline.min(end))
    }

    /// Whether the time that there was for the end is over.
    fn is_late(&self) -> bool {
        self.end.get().is_some_and(|&end| Instant::now() >= end)
    }

    fn is_well(&self) -> bool {
        lock(&self.breaker).is_closed()
    }

    /// Tries the store, if the breaker's pause is over, or a handshake has found no connection.
    fn probe(&self) {
        // ORDERING: Relaxed. As in `call`.
        let worried = self.worried.swap(false, Ordering::Relaxed);
        let deadline = self.deadline();
        let begun = lock(&self.breaker).begin_probe(Instant::now());
        if begun || (worried && self.is_well()) {
            let well = self
                .call(true, deadline, || self.store.probe(deadline))
                .is_some();
            lock(&self.breaker).end_probe(well, Instant::now(), chance());
            #[cfg(feature = "tracing")]
            if begun && well {
                tracing::info!(target: "refrain", "the shared store is well again");
            }
        }
    }

    /// Counts up what this server has invalidated. False if the store does not answer.
    fn count_up(&self, host: &impl Host) -> bool {
        for (which, times) in self.epochs.due() {
            if self.is_late() {
                return false;
            }
            let Some(value) = self.increment(which.as_ref()) else {
                return false;
            };
            self.figures.invalidated.add(1);
            let news = self.epochs.counted(which.as_ref(), times, value);
            if !self.heed(host, which.as_ref(), news) {
                return false;
            }
        }
        true
    }

    /// Asks for all counts, or those that are not known. False if the store does not answer.
    fn refresh(&self, host: &impl Host, all: bool) -> bool {
        for which in self.epochs.wanted(all, |context| host.knows(context)) {
            if self.is_late() {
                return false;
            }
            let deadline = self.deadline();
            let Some(key) = self.counter(which.as_ref()) else {
                return false;
            };
            let read = || self.store.counter(&key, deadline);
            let Some(value) = self.call(true, deadline, read) else {
                return false;
            };
            let news = self.epochs.learn(which.as_ref(), value);
            if !self.heed(host, which.as_ref(), news) {
                return false;
            }
        }
        true
    }

    /// Does what a count's value calls for.
    fn heed(&self, host: &impl Host, which: Option<&ContextId>, news: News) -> bool {
        match news {
            News::None => true,
            News::Invalidated => {
                self.figures.invalidations_heard.add(1);
                #[cfg(feature = "tracing")]
                tracing::info!(target: "refrain", context = ?which, "invalidated by another server");
                host.invalidate(which);
                true
            }
            News::Behind(target) => {
                for _ in 0..STEPS {
                    if self.is_late() {
                        return false;
                    }
                    let Some(value) = self.increment(which) else {
                        return false;
                    };
                    if value >= target {
                        // Further than that, and others have counted it up as well, or invalidated.
                        let news = self.epochs.learn(which, value);
                        return news == News::None || self.heed(host, which, news);
                    }
                }
                false
            }
        }
    }

    fn counter(&self, which: Option<&ContextId>) -> Option<Key> {
        Some(self.keys()?.counter(which.map(ContextId::as_bytes)))
    }

    fn increment(&self, which: Option<&ContextId>) -> Option<u64> {
        let key = self.counter(which)?;
        let deadline = self.deadline();
        self.call(true, deadline, || self.store.increment(&key, deadline))
    }

    /// Writes one batch, if there is one. False if that failed.
    fn write(&self, host: &impl Host) -> bool {
        let batch = self.queue.next(self.options.batch, BATCH_BYTES);
        if batch.is_empty() {
            return true;
        }
        let written = self.write_batch(host, &batch);
        if !written {
            self.figures.batches_failed.add(1);
        }
        self.queue.finish(batch, written, Instant::now());
        written
    }

    fn write_batch(&self, host: &impl Host, batch: &[Op<Pending>]) -> bool {
        let Some(keys) = self.keys() else {
            return false;
        };
        // A context may be so new that its count was not asked for yet.
        let known = |op: &Op<Pending>| self.epochs.of(&op.name.context).is_ok();
        let all_known = batch.iter().all(known);
        if !all_known && (!self.count_up(host) || !self.refresh(host, false)) {
            return false;
        }
        let mut sealed = Vec::with_capacity(batch.len());
        let (mut puts, mut removes) = (0, 0);
        for op in batch {
            let Ok(epoch) = self.epochs.of(&op.name.context) else {
                // It was invalidated just now, and is out of everybody's reach.
                continue;
            };
            match &op.step {
                Step::Put(class, pending) => {
                    match self.seal(host, &keys, &op.name, *class, pending) {
                        Some(put) => {
                            sealed.push(put);
                            puts += 1;
                        }
                        None => {
                            self.figures.skipped.add(1);
                        }
                    }
                }
                Step::Remove => {
                    for class in [Class::Looked, Class::Taken] {
                        sealed.push(Sealed::Remove(keys.name(&op.name, class, epoch)));
                    }
                    removes += 1;
                }
                Step::Nothing => {}
            }
        }
        if sealed.is_empty() {
            return true;
        }
        let writes: Vec<_> = sealed
            .iter()
            .map(|step| match step {
                Sealed::Put(key, record, ttl) => Write::Put {
                    key,
                    record,
                    ttl: *ttl,
                },
                Sealed::Remove(key) => Write::Remove { key },
            })
            .collect();
        let deadline = self.deadline();
        let done = self.call(true, deadline, || self.store.write(&writes, deadline));
        if done.is_some() {
            self.figures.batches.add(1);
            self.figures.written.add(puts);
            self.figures.removed.add(removes);
        }
        done.is_some()
    }

    /// Seals a session that is still worth it.
    fn seal(
        &self,
        host: &impl Host,
        keys: &Keys,
        name: &Name,
        class: Class,
        pending: &Pending,
    ) -> Option<Sealed> {
        // The generation first: if it is not over, the epoch that is known next is not older than it.
        // SAFETY: the handle is a reference.
        let number = unsafe { pending.session.raw().context() };
        if !host.is_current(number) {
            return None;
        }
        let epoch = self.epochs.of(&name.context).ok()?;
        // Likewise the host's.
        let second = match (pending.host, host_of(pending.session.tag())) {
            (None, _) => None,
            (Some(id), Some(number)) if host.is_current(number) => {
                Some((id, self.epochs.of(&id).ok()?.own))
            }
            (Some(_), _) => return None,
        };
        let ends = pending.expires.min(pending.not_after);
        let ttl = record::left(ends, self.options.now()).min(LONGEST_TTL);
        if ttl.is_zero() {
            return None;
        }
        let content = Content {
            created: pending.created,
            expires: pending.expires,
            not_after: pending.not_after,
            // What the tag of a host says here says nothing elsewhere.
            tag: second.map_or(pending.session.tag(), |_| 0),
            host: second,
            server_name: pending.session.server_name().unwrap_or_default(),
            payload: pending.session.payload(),
        };
        let record = record::seal(keys, name, class, epoch, &content).ok()?;
        Some(Sealed::Put(keys.name(name, class, epoch), record, ttl))
    }
}
