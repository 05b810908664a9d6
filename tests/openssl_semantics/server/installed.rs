//! A server whose `SSL_CTX` has Refrain behind it.

use std::sync::Arc;
use std::time::Duration;

use openssl::ssl::{SslContext, SslOptions, SslSessionRef};
use refrain::adapter::openssl::Sessions;
use refrain::{
    CacheMode, Context, ContextId, Maintenance, ManualClock, SessCounters, Session, SessionCache,
    SessionId,
};

use super::{Plan, Server};
use crate::books::Books;
use crate::ffi;
use crate::log::Log;
use crate::store::{Subject, refrain as store};

pub(crate) struct Installed {
    ctx: SslContext,
    cache: SessionCache,
    context: Context,
    clock: ManualClock,
    log: Arc<Log>,
}

fn context_id() -> ContextId {
    ContextId::new(b"semantics").unwrap()
}

/// Makes the plan's `SSL_CTX`, with the cache behind it.
fn install(cache: &SessionCache, plan: Plan) -> SslContext {
    let mut sessions = Sessions::new(cache, context_id()).unwrap();
    if !plan.stateful {
        sessions = sessions.stateless_tickets();
    }
    let mut ctx = plan.ctx;
    sessions.install(&mut ctx).unwrap();
    if !plan.anti_replay {
        // For stateless tickets, the adapter leaves that to the application.
        ctx.set_options(SslOptions::from_bits_retain(ffi::SSL_OP_NO_ANTI_REPLAY));
    }
    ctx.build()
}

impl Installed {
    pub(crate) fn cache(&self) -> &SessionCache {
        &self.cache
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The cache's session with the id of this one, as it was established, but with another timeout.
    fn rebuilt(&self, session: &SslSessionRef, timeout: Duration) -> Session {
        let bytes = self
            .log
            .stored(session.id())
            .expect("it was established here");
        let id = SessionId::new(session.id()).unwrap();
        Session::builder(&self.context, id)
            .timeout(timeout)
            .build(&bytes)
            .unwrap()
    }
}

impl Server for Installed {
    const SUBJECT: Subject = Subject::Refrain;

    fn start(plan: Plan) -> Self {
        let log = Arc::new(Log::default());
        let clock = ManualClock::new();
        let cache = SessionCache::builder()
            .capacity(plan.size)
            .shards(1)
            .mode(CacheMode::from_bits(plan.mode))
            .clock(clock.clone())
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap();
        if let Some(seconds) = plan.timeout {
            let before = cache.set_timeout(Duration::from_secs(seconds));
            assert_eq!(before.as_secs(), 7200);
        }
        if plan.told {
            store::listen(&cache, &log);
        }
        if plan.external {
            store::supply(&cache, &log);
        }
        let ctx = install(&cache, plan);
        Self {
            ctx,
            context: cache.context(context_id()).unwrap(),
            cache,
            clock,
            log,
        }
    }

    fn sibling(&self, plan: Plan) -> Self {
        Self {
            ctx: install(&self.cache, plan),
            cache: self.cache.clone(),
            context: self.context.clone(),
            clock: self.clock.clone(),
            log: Arc::clone(&self.log),
        }
    }

    fn adopt(&self, session: &SslSessionRef) -> bool {
        self.has(session)
    }

    fn ctx(&self) -> &SslContext {
        &self.ctx
    }

    fn log(&self) -> &Log {
        &self.log
    }

    /// Handshakes are libssl's to count, sessions are Refrain's.
    fn books(&self) -> Books {
        self.cache.settle();
        let handshakes = Books::from(SessCounters::of(&self.ctx));
        Books {
            connect: handshakes.connect,
            connect_good: handshakes.connect_good,
            connect_renegotiate: handshakes.connect_renegotiate,
            accept: handshakes.accept,
            accept_good: handshakes.accept_good,
            accept_renegotiate: handshakes.accept_renegotiate,
            ..store::counters(&self.cache) + self.log.books()
        }
    }

    fn has(&self, session: &SslSessionRef) -> bool {
        store::ids(&self.cache).contains(&session.id().to_vec())
    }

    fn add(&self, session: &SslSessionRef) -> bool {
        let mut same = None;
        self.cache.retain(|present| {
            if present.id() == session.id() {
                same = Some(present.clone());
            }
            true
        });
        let session = same.unwrap_or_else(|| self.rebuilt(session, self.cache.timeout()));
        store::is_new(self.cache.add(session))
    }

    fn remove(&self, session: &SslSessionRef) -> bool {
        let id = SessionId::new(session.id()).unwrap();
        self.cache.remove(&self.context, &id)
    }

    fn expire(&self, _: &SslSessionRef) {
        self.clock.advance(self.cache.timeout());
        self.cache.now();
    }

    fn prolong(&self, session: &SslSessionRef) {
        let _ = self.cache.add(self.rebuilt(session, Duration::MAX));
    }

    fn set_mode(&self, mode: u32) {
        self.cache.set_mode(CacheMode::from_bits(mode));
    }

    fn set_timeout(&self, seconds: u64) -> u64 {
        self.cache
            .set_timeout(Duration::from_secs(seconds))
            .as_secs()
    }
}
