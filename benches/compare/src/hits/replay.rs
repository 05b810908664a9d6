//! Plays connections against a store of sessions. Who is not found makes a full handshake and gets a new session: what
//! the store does decides what is in it, as it does in a server.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use refrain::{
    Context, ContextId, Maintenance, ManualClock, Session, SessionCache, SessionId, Time,
};

use super::policy::{Entry, Policy};
use super::traffic::{Kind, LIFE_OF_IDS, LIFE_OF_TICKETS, Visit};

/// A store, at a time.
pub(super) trait Store {
    fn advance(&mut self, now: u32);
    fn find(&mut self, id: u64, next: u32) -> bool;
    fn take(&mut self, id: u64) -> bool;
    fn add(&mut self, entry: Entry);
    fn len(&self) -> usize;
}

/// A policy, out of which expired sessions fall by themselves.
pub(super) struct Simulated<P> {
    policy: P,
    deadlines: BinaryHeap<Reverse<(u32, u64)>>,
}

impl<P: Policy> Simulated<P> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            policy: P::new(capacity),
            deadlines: BinaryHeap::new(),
        }
    }
}

impl<P: Policy> Store for Simulated<P> {
    fn advance(&mut self, now: u32) {
        while let Some(&Reverse((deadline, id))) = self.deadlines.peek() {
            if deadline > now {
                return;
            }
            self.deadlines.pop();
            self.policy.remove(id);
        }
    }

    fn find(&mut self, id: u64, next: u32) -> bool {
        self.policy.touch(id, next)
    }

    fn take(&mut self, id: u64) -> bool {
        self.policy.remove(id)
    }

    fn add(&mut self, entry: Entry) {
        self.deadlines.push(Reverse((entry.deadline, entry.id)));
        self.policy.add(entry);
    }

    fn len(&self) -> usize {
        self.policy.len()
    }
}

/// The real engine, on a clock that is moved by hand.
#[derive(Debug)]
pub(super) struct Engine {
    cache: SessionCache,
    context: Context,
    clock: ManualClock,
    now: u32,
    maintained: u32,
}

/// Milliseconds between two runs of its maintenance: a quarter of its tick.
const PERIOD: u32 = 250;

impl Engine {
    pub(super) fn new(capacity: usize) -> Self {
        let clock = ManualClock::new();
        let cache = SessionCache::builder()
            .capacity(capacity)
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .expect("the capacity is sound");
        let context = cache
            .context(ContextId::derive("compare", &[]))
            .expect("the first context");
        Self {
            cache,
            context,
            clock,
            now: 0,
            maintained: 0,
        }
    }
}

fn session_id(id: u64) -> SessionId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes.into()
}

impl Store for Engine {
    fn advance(&mut self, now: u32) {
        self.now = now;
        self.clock.set(Time::from_millis(now.into()));
        if now - self.maintained >= PERIOD {
            self.maintained = now;
            while self.cache.run_maintenance().more {}
        }
    }

    fn find(&mut self, id: u64, _: u32) -> bool {
        let found = self.cache.get(&self.context, &session_id(id));
        found.is_some()
    }

    fn take(&mut self, id: u64) -> bool {
        let taken = self.cache.take(&self.context, &session_id(id));
        taken.is_some()
    }

    fn add(&mut self, entry: Entry) {
        let life = Duration::from_millis((entry.deadline - self.now).into());
        let session = Session::builder(&self.context, session_id(entry.id)).timeout(life);
        let session = session.build(&[0; 32]).expect("there is memory");
        let added = self.cache.add(session);
        if !added.is_cached() {
            // More waits to be freed than may: what a maintainer would have done meanwhile.
            while self.cache.run_maintenance().more {}
        }
    }

    fn len(&self) -> usize {
        self.cache.len()
    }
}

/// What came of it, from a moment on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// Connections of clients that had been there before.
    pub(super) returns: u64,
    /// Of those, resumed ones.
    pub(super) hits: u64,
    /// Sessions in the store, on average.
    pub(super) live: f64,
    pub(super) most: usize,
}

impl Score {
    pub(super) fn ratio(&self) -> f64 {
        self.hits as f64 / self.returns.max(1) as f64
    }
}

/// Plays them all; what comes before `from` is not counted.
pub(super) fn replay(visits: &[Visit], from: u32, store: &mut impl Store) -> Score {
    let mut score = Score::default();
    // What each client of TLS 1.2 has: its session, and until when.
    let mut sessions: HashMap<u32, (u64, u32)> = HashMap::new();
    let (mut sum, mut counted) = (0.0, 0.0);
    for (n, visit) in visits.iter().enumerate() {
        store.advance(visit.at);
        let fresh = 2 * n as u64;
        let (returns, hit) = match visit.kind {
            Kind::Ids => {
                let has = sessions.get(&visit.client).copied();
                let offer = has.filter(|(_, deadline)| *deadline > visit.at);
                let hit = offer.is_some_and(|(id, _)| store.find(id, visit.next[0]));
                if !hit {
                    let deadline = visit.at + LIFE_OF_IDS;
                    sessions.insert(visit.client, (fresh, deadline));
                    store.add(Entry {
                        id: fresh,
                        deadline,
                        next: visit.next[0],
                    });
                }
                (has.is_some(), hit)
            }
            Kind::Tickets(offer) => {
                let hit = offer.is_some_and(|(origin, second)| {
                    let alive = visits[origin as usize].at + LIFE_OF_TICKETS > visit.at;
                    alive && store.take(2 * u64::from(origin) + u64::from(second))
                });
                for (second, next) in (0..).zip(visit.next) {
                    store.add(Entry {
                        id: fresh + second,
                        deadline: visit.at + LIFE_OF_TICKETS,
                        next,
                    });
                }
                (offer.is_some(), hit)
            }
        };
        if visit.at >= from {
            score.returns += u64::from(returns);
            score.hits += u64::from(hit);
            sum += store.len() as f64;
            counted += 1.0;
        }
        score.most = score.most.max(store.len());
    }
    score.live = if counted > 0.0 { sum / counted } else { 0.0 };
    score
}
