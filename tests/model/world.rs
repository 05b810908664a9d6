//! The cache and its model, side by side.

mod check;

use std::collections::BTreeMap;
use std::time::Duration;

use refrain::{
    Added, CacheMode, Context, Maintenance, ManualClock, NotCached, RemovalCause, Session,
    SessionCache, Stats, Time,
};

use crate::common::{Log, context, id};
use crate::ops::{CONTEXTS, Op};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    New,
    Live,
    /// With the cause that the callback must hear; none if it must hear nothing.
    Gone(Option<RemovalCause>),
    /// The cache made room; which of its causes it was is not the model's to know.
    MadeRoom,
}

/// What the model knows of one session object; its index is its tag.
struct Object {
    handle: Session,
    key: (u32, u64),
    timeout: Option<u64>,
    not_after: u64,
    deadline: u64,
    life: Life,
}

pub(crate) struct World {
    cache: SessionCache,
    contexts: Vec<Context>,
    clock: ManualClock,
    log: Log,
    /// The time that the cache has seen, and the tick that all times are multiples of, in milliseconds.
    now: u64,
    unit: u64,
    timeout: u64,
    update: bool,
    /// The model's own generations: a context's current one.
    generations: [u32; CONTEXTS],
    next_generation: u32,
    objects: Vec<Object>,
    index: BTreeMap<(u32, u64), usize>,
    /// Whether the capacity is never reached.
    roomy: bool,
    expected: Stats,
}

impl World {
    pub(crate) fn new(roomy: bool, unit: u64, shards: usize) -> Self {
        let (clock, log) = (ManualClock::new(), Log::default());
        let builder = SessionCache::builder()
            .capacity(if roomy { 500 } else { 4 })
            .max_capacity(500)
            .byte_budget(if roomy { 1 << 30 } else { 64 * 20 })
            .backlog(1 << 30)
            .shards(shards)
            .tick(Duration::from_millis(unit))
            .timeout(Duration::from_millis(10 * unit))
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .on_remove(log.tag_listener());
        let cache = builder.build().unwrap();
        Self {
            contexts: vec![context(&cache, "a"), context(&cache, "b")],
            cache,
            clock,
            log,
            now: 0,
            unit,
            timeout: 10 * unit,
            update: false,
            generations: [0, 1],
            next_generation: 2,
            objects: Vec::new(),
            index: BTreeMap::new(),
            roomy,
            expected: Stats::default(),
        }
    }

    fn refresh(&mut self) {
        self.now = self.now.max(self.clock.now().as_millis());
    }

    fn build(&mut self, c: usize, n: u64, t: Option<u64>, auth: Option<u64>, len: usize) -> usize {
        let mut builder = Session::builder(&self.contexts[c], id(n)).tag(self.objects.len() as u64);
        let timeout = t.map(|t| t * self.unit);
        if let Some(t) = timeout {
            builder = builder.timeout(Duration::from_millis(t));
        }
        let not_after = auth.map_or(Time::MAX.as_millis(), |a| self.now + a * self.unit);
        let handle = builder
            .not_after(Time::from_millis(not_after))
            .build(&vec![n as u8; len])
            .unwrap();
        self.objects.push(Object {
            handle,
            key: (self.generations[c], n),
            timeout,
            not_after,
            deadline: 0,
            life: Life::New,
        });
        self.objects.len() - 1
    }

    fn deadline(&self, object: &Object) -> u64 {
        (self.now + object.timeout.unwrap_or(self.timeout)).min(object.not_after)
    }

    fn add(&mut self, at: usize) -> Added {
        self.refresh();
        let object = &self.objects[at];
        let deadline = self.deadline(object);
        match object.life {
            Life::Live => return Added::AlreadyPresent,
            Life::Gone(_) | Life::MadeRoom => return Added::Removed,
            Life::New => {}
        }
        self.expected.not_cached += 1;
        if !self.generations.contains(&object.key.0) {
            return Added::NotCached(NotCached::Stale);
        }
        if self.now >= deadline {
            return Added::NotCached(NotCached::Expired);
        }
        self.expected.not_cached -= 1;
        self.expected.inserted += 1;
        let old = self.index.insert(object.key, at);
        self.objects[at].life = Life::Live;
        self.objects[at].deadline = deadline;
        match old {
            Some(old) => {
                self.objects[old].life = Life::Gone(None);
                self.expected.replaced += 1;
                Added::Replaced
            }
            None => Added::Inserted,
        }
    }

    fn end(&mut self, at: usize, cause: RemovalCause) {
        let object = &mut self.objects[at];
        if object.life == Life::Live {
            self.index.remove(&object.key);
            let stats = &mut self.expected;
            *match cause {
                RemovalCause::Taken => &mut stats.taken,
                RemovalCause::Removed => &mut stats.removed,
                RemovalCause::Expired => &mut stats.expired,
                RemovalCause::Invalidated => &mut stats.invalidated,
                RemovalCause::Cleared => &mut stats.cleared,
                RemovalCause::Retained => &mut stats.retained,
                other => panic!("{other:?} is no cause of the model's"),
            } += 1;
        } else {
            self.expected.never_added += 1;
        }
        object.life = Life::Gone(Some(cause));
    }

    /// Ends all that are in the cache and that `which` wants ended; returns how many.
    fn end_all(&mut self, cause: RemovalCause, which: impl Fn(usize, &Object) -> bool) -> usize {
        let live: Vec<_> = self.index.values().copied().collect();
        let ends = |at: &usize| which(*at, &self.objects[*at]);
        let ended: Vec<_> = live.into_iter().filter(ends).collect();
        ended.iter().for_each(|at| self.end(*at, cause));
        ended.len()
    }

    /// The object that a lookup finds.
    fn find(&self, c: usize, n: u64) -> Result<usize, bool> {
        let at = self.index.get(&(self.generations[c], n)).ok_or(false)?;
        let is_live = self.now < self.objects[*at].deadline;
        is_live.then_some(*at).ok_or(true)
    }

    /// As `find`, and counted.
    fn look_up(&mut self, c: usize, n: u64, touch: bool) -> Option<usize> {
        let found = self.find(c, n);
        match found {
            Ok(at) => {
                self.expected.hits += 1;
                if touch && self.update {
                    let deadline = self.deadline(&self.objects[at]);
                    let object = &mut self.objects[at];
                    object.deadline = object.deadline.max(deadline);
                }
            }
            Err(true) => self.expected.timeouts += 1,
            Err(false) => self.expected.misses += 1,
        }
        found.ok()
    }

    /// Does one operation on both and compares the answers.
    pub(crate) fn apply(&mut self, op: &Op) {
        let cache = self.cache.clone();
        match *op {
            Op::Add(c, n, t, auth, len) => {
                let at = self.build(c, n, t, auth, len);
                self.compare_add(at);
            }
            Op::Build(c, n) => drop(self.build(c, n, None, None, 0)),
            Op::AddAgain(i) if !self.objects.is_empty() => {
                self.compare_add(i % self.objects.len());
            }
            Op::With(c, n) => {
                let got = cache.with(&self.contexts[c], &id(n), Session::tag);
                let at = self.look_up(c, n, true);
                assert_eq!(got, at.map(|at| at as u64));
            }
            Op::Get(c, n) => {
                let got = cache.get(&self.contexts[c], &id(n));
                let at = self.look_up(c, n, true);
                assert_eq!(got.as_ref().map(Session::tag), at.map(|at| at as u64));
            }
            Op::Contains(c, n) => {
                let got = cache.contains(&self.contexts[c], &id(n));
                assert_eq!(got, self.look_up(c, n, false).is_some());
            }
            Op::Take(c, n) => {
                let got = cache.take(&self.contexts[c], &id(n));
                let at = self.look_up(c, n, false);
                assert_eq!(got.as_ref().map(Session::tag), at.map(|at| at as u64));
                at.into_iter()
                    .for_each(|at| self.end(at, RemovalCause::Taken));
            }
            Op::Remove(c, n) => {
                let found = self.find(c, n).ok();
                assert_eq!(cache.remove(&self.contexts[c], &id(n)), found.is_some());
                found
                    .into_iter()
                    .for_each(|at| self.end(at, RemovalCause::Removed));
            }
            Op::TakeExact(i) if !self.objects.is_empty() => {
                let at = i % self.objects.len();
                let object = &self.objects[at];
                let takes = object.life == Life::Live
                    && self.now < object.deadline
                    && self.generations.contains(&object.key.0);
                assert_eq!(cache.take_exact(&object.handle), takes);
                if takes {
                    self.end(at, RemovalCause::Taken);
                }
            }
            Op::RemoveExact(i) if !self.objects.is_empty() => {
                let at = i % self.objects.len();
                let object = &self.objects[at];
                let removes = matches!(object.life, Life::Live | Life::New);
                assert_eq!(cache.remove_exact(&object.handle), removes);
                if removes {
                    self.end(at, RemovalCause::Removed);
                }
            }
            Op::Advance(units) => self.clock.advance(Duration::from_millis(units * self.unit)),
            Op::SetBack(units) => {
                let back = self.now.saturating_sub(units * self.unit);
                self.clock.set(Time::from_millis(back));
            }
            Op::Flush(units) => {
                self.refresh();
                let at = self.now + units * self.unit;
                let flushed = cache.flush(Time::from_millis(at));
                let ended = self.end_all(RemovalCause::Expired, |_, o| at >= o.deadline);
                assert_eq!(flushed, ended);
            }
            Op::Retain(m) => {
                let retained = cache.retain(|session| session.tag() % 4 != m);
                let ended = self.end_all(RemovalCause::Retained, |at, _| at as u64 % 4 == m);
                assert_eq!(retained, ended);
            }
            Op::Clear => {
                assert_eq!(
                    cache.clear(),
                    self.end_all(RemovalCause::Cleared, |_, _| true)
                );
            }
            Op::Invalidate(c) => {
                cache.invalidate_context(&self.contexts[c]).unwrap();
                self.generations[c] = self.next_generation;
                self.next_generation += 1;
            }
            Op::SetTimeout(units) => {
                let old = cache.set_timeout(Duration::from_millis(units * self.unit));
                assert_eq!(old.as_millis() as u64, self.timeout);
                self.timeout = units * self.unit;
            }
            Op::UpdateTime(update) => {
                cache.set_mode(if update {
                    CacheMode::SERVER | CacheMode::UPDATE_TIME
                } else {
                    CacheMode::SERVER
                });
                self.update = update;
            }
            Op::Resize(capacity) if !self.roomy => {
                cache.set_capacity(capacity + 1).unwrap();
            }
            Op::Maintain => self.maintain(),
            _ => {}
        }
        self.agree();
    }

    fn compare_add(&mut self, at: usize) {
        // Over a limit that was lowered, an add may be refused; that ends the session.
        let is_over = self.cache.len() > self.cache.capacity();
        let added = self.cache.add(self.objects[at].handle.clone());
        if added == Added::NotCached(NotCached::Full) && !self.roomy && is_over {
            self.objects[at].life = Life::Gone(None);
            return;
        }
        if added == Added::Inserted && !self.roomy {
            // What it would have replaced has made room before, with a callback of its own.
            if let Some(old) = self.index.remove(&self.objects[at].key) {
                assert!(!self.objects[old].handle.is_resumable());
                self.objects[old].life = Life::MadeRoom;
            }
        }
        assert_eq!(added, self.add(at));
    }

    fn maintain(&mut self) {
        self.cache.settle();
        self.refresh();
        let (now, generations) = (self.now, self.generations);
        if !self.roomy {
            // A cut capacity is trimmed after the sweeps; what is left of the causes is learnt from the handles.
            self.agree();
        }
        self.end_all(RemovalCause::Expired, |_, o| now >= o.deadline);
        self.end_all(RemovalCause::Invalidated, |_, o| {
            !generations.contains(&o.key.0)
        });
        if self.roomy {
            self.compare_events();
        }
    }
}
