//! A server under attack, and what the attack costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use refrain::{Builder, SessionCache, Stats};

use super::answer::{Answer, offered};
use super::common::{Log, Rig};
use super::hello::Hello;
use super::stack::{Client, Server, Stack, Version, visit};

/// The calls of the get callback that a site's server may make: for a handshake, or in a second.
pub(crate) const EXTERNAL: u32 = 3;

/// The context of a site's server.
pub(crate) const CONTEXT: &str = "site";

/// A server, its cache, whose clock only the test moves, and a get callback that knows nothing and counts.
pub(crate) struct Site {
    pub(crate) stack: Stack,
    pub(crate) rig: Rig,
    pub(crate) server: Box<dyn Server>,
    gets: Arc<AtomicU64>,
}

/// Work that was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Look-ups in the cache.
    pub(crate) lookups: u64,
    /// Calls of the get callback.
    pub(crate) gets: u64,
    /// Sessions that came in or left, whatever for.
    pub(crate) changes: u64,
}

impl Site {
    pub(crate) fn new(stack: Stack) -> Self {
        Self::with(stack, SessionCache::builder().capacity(10_000))
    }

    pub(crate) fn with(stack: Stack, builder: Builder) -> Self {
        let gets = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&gets);
        let rig = Rig::with(builder.on_get(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            None
        }));
        let server = stack.server(&rig.cache, CONTEXT, EXTERNAL);
        Self {
            stack,
            rig,
            server,
            gets,
        }
    }

    /// Another server on the same cache.
    pub(crate) fn neighbour(&self, context: &str) -> Box<dyn Server> {
        self.stack.server(&self.rig.cache, context, EXTERNAL)
    }

    /// The same server with another bound on the calls of the get callback.
    pub(crate) fn bounded(&self, external: u32) -> Box<dyn Server> {
        self.stack.server(&self.rig.cache, CONTEXT, external)
    }

    pub(crate) fn client(&self, version: Version) -> Box<dyn Client> {
        self.stack.client(version)
    }

    /// A visit of an honest client; tells whether it was resumed.
    pub(crate) fn visit(&self, client: &dyn Client) -> bool {
        visit(client, &*self.server, |_| ())
    }

    /// A visit of an honest client, whose id somebody on the way sees first.
    pub(crate) fn visit_past(&self, client: &dyn Client, meddle: impl FnOnce(&[u8])) -> bool {
        visit(client, &*self.server, |hello| {
            meddle(&offered(hello).expect("the client offers a session"));
        })
    }

    /// A visit of an honest client, whose hello somebody on the way records.
    pub(crate) fn visit_recorded(&self, client: &dyn Client, meddle: impl FnOnce(&[u8])) -> bool {
        visit(client, &*self.server, meddle)
    }

    /// A new client of this version, which has been here once and so has a session.
    pub(crate) fn regular(&self, version: Version) -> Box<dyn Client> {
        let client = self.client(version);
        assert!(!self.visit(&*client));
        client
    }

    /// Sends a hello and nothing else, and hangs up when the server has answered.
    pub(crate) fn attack(&self, hello: &Hello) -> Answer {
        attack(&*self.server, hello)
    }

    /// What happened so far.
    pub(crate) fn tally(&self) -> Cost {
        let stats = self.rig.cache.stats();
        Cost {
            lookups: stats.hits + stats.misses + stats.timeouts,
            gets: self.gets.load(Ordering::Relaxed),
            changes: stats.inserted + departures(&stats),
        }
    }

    /// What an attack costs, and that it leaves nothing behind.
    pub(crate) fn cost<R>(&self, attack: impl FnOnce() -> R) -> (R, Cost) {
        let (before, memory) = (self.tally(), self.memory());
        let result = attack();
        let after = self.tally();
        assert_eq!(self.memory(), memory, "entries and bytes");
        let cost = Cost {
            lookups: after.lookups - before.lookups,
            gets: after.gets - before.gets,
            changes: after.changes - before.changes,
        };
        (result, cost)
    }

    fn memory(&self) -> (u64, u64) {
        self.rig.cache.settle();
        let stats = self.rig.cache.stats();
        assert_eq!(stats.backlog_bytes, 0);
        (stats.entries, stats.bytes)
    }

    /// How many calls of the get callback `count` look-ups of one handshake come to, all in a second of its own.
    pub(crate) fn allowed(&self, count: u64) -> u64 {
        count.min(u64::from(EXTERNAL))
    }

    /// Lets so much time pass that what is bounded by the second starts anew.
    pub(crate) fn next_second(&self) {
        self.rig.advance(super::common::secs(1));
    }

    pub(crate) fn log(&self) -> &Log {
        &self.rig.log
    }
}

/// Sends a hello and nothing else, and hangs up when the server has answered.
pub(crate) fn attack(server: &dyn Server, hello: &Hello) -> Answer {
    let answer = server.accept().feed(&hello.records());
    Answer::read(&answer, hello.offered_id())
}

fn departures(stats: &Stats) -> u64 {
    stats.taken + stats.removed_total() + stats.expired + stats.evicted + stats.replaced
}
