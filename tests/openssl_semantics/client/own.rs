//! A client with the cache of its own `SSL_CTX`.

use std::sync::Arc;

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::ssl::{SslContext, SslSession, SslSessionCacheMode};

use super::Caching;
use crate::books::Books;
use crate::log::Log;
use crate::net::link::Link;
use crate::server::{Client, Protocol};
use crate::store::{Subject, libssl};

pub(crate) struct Own {
    ctx: SslContext,
    log: Arc<Log>,
}

impl Caching for Own {
    const SUBJECT: Subject = Subject::Libssl;
    type Session = SslSession;
    type Open = Link;

    fn new(protocol: Protocol, internal: bool, told: bool) -> Self {
        let log = Arc::new(Log::default());
        let mut ctx = Client::builder(protocol);
        let mut mode = SslSessionCacheMode::CLIENT;
        if !internal {
            mode |= SslSessionCacheMode::NO_INTERNAL_STORE;
        }
        ctx.set_session_cache_mode(mode);
        libssl::attach(&mut ctx, &log);
        if told {
            libssl::listen(&mut ctx);
        }
        Self {
            ctx: ctx.build(),
            log,
        }
    }

    fn books(&self) -> Books {
        self.log.books() + libssl::counters(&self.ctx)
    }

    fn connect(&self, server: &SslContext, offer: Option<&SslSession>) -> Option<Link> {
        Link::open(&self.ctx, server, offer.map(|session| &**session)).ok()
    }

    fn reused(open: &Link) -> bool {
        open.reused()
    }

    fn session(open: &Link) -> SslSession {
        open.client_session()
    }

    fn is_same(one: &SslSession, other: &SslSession) -> bool {
        one.as_ptr() == other.as_ptr()
    }

    fn set_session(open: &mut Link, session: &SslSession) {
        let ssl = open.client.ssl().as_ptr();
        // SAFETY: both are alive, and of one context.
        unsafe { assert_eq!(openssl_sys::SSL_set_session(ssl, session.as_ptr()), 1) };
    }

    fn close(open: Link) {
        open.close();
    }

    fn add(&self, session: &SslSession) -> bool {
        // SAFETY: both are alive; the cache takes a reference of its own.
        unsafe { openssl_sys::SSL_CTX_add_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }

    fn again(&self, session: &SslSession) -> SslSession {
        session.clone()
    }

    fn remove(&self, session: &SslSession) -> bool {
        // SAFETY: both are alive.
        unsafe { openssl_sys::SSL_CTX_remove_session(self.ctx.as_ptr(), session.as_ptr()) == 1 }
    }
}
