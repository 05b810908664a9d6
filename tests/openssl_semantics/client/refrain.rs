//! A client whose sessions go to Refrain by a `Connection`, as the author of a TLS stack would do it.

use std::sync::Arc;

use openssl::ssl::{SslContext, SslSession};
use refrain::{
    CacheMode, Connection, Context, ContextId, Maintenance, Session, SessionCache, SessionId,
};

use super::Caching;
use crate::books::Books;
use crate::log::Log;
use crate::net::link::Link;
use crate::server::{Client, Protocol};
use crate::store::{Subject, refrain as store};

pub(crate) struct Connected {
    tls: Client,
    cache: SessionCache,
    context: Context,
    log: Arc<Log>,
    protocol: Protocol,
}

pub(crate) struct Open {
    link: Link,
    connection: Connection,
}

impl Caching for Connected {
    const SUBJECT: Subject = Subject::Refrain;
    type Session = Session;
    type Open = Open;

    fn new(protocol: Protocol, internal: bool, told: bool) -> Self {
        let log = Arc::new(Log::default());
        let mode = if internal {
            CacheMode::CLIENT
        } else {
            CacheMode::CLIENT | CacheMode::NO_INTERNAL_STORE
        };
        let cache = SessionCache::builder()
            .mode(mode)
            .shards(1)
            .maintenance(Maintenance::Manual)
            .build()
            .unwrap();
        if told {
            store::listen(&cache, &log);
        }
        let context = cache.context(ContextId::derive("client", &[])).unwrap();
        Self {
            tls: Client::new(protocol, |_| {}),
            cache,
            context,
            log,
            protocol,
        }
    }

    fn books(&self) -> Books {
        self.cache.settle();
        self.log.books() + store::counters(&self.cache)
    }

    fn connect(&self, server: &SslContext, offer: Option<&Session>) -> Option<Open> {
        let mut connection = self.cache.connect(&self.context);
        let offered = offer.map(|session| {
            connection.offer(session.clone());
            SslSession::from_der(session.payload()).unwrap()
        });
        let link = Link::open(self.tls.ctx(), server, offered.as_deref());
        let new = self.tls.take_sessions();
        let Ok(link) = link else {
            connection.fail();
            return None;
        };
        if offer.is_some() && !link.reused() {
            connection.decline();
        }
        connection.finish();
        if link.reused() && self.protocol == Protocol::Tls1_3 {
            connection.claim();
        }
        for session in new {
            let id = SessionId::new(session.id()).unwrap();
            let built = connection
                .session_builder(id)
                .build(&session.to_der().unwrap());
            connection.establish(built.unwrap());
        }
        Some(Open { link, connection })
    }

    fn reused(open: &Open) -> bool {
        open.link.reused()
    }

    fn session(open: &Open) -> Session {
        open.connection.session_owned().unwrap()
    }

    fn is_same(one: &Session, other: &Session) -> bool {
        one.is_same(other)
    }

    fn set_session(open: &mut Open, session: &Session) {
        open.connection.offer(session.clone());
    }

    fn close(mut open: Open) {
        open.connection.close();
        open.link.close();
    }

    fn add(&self, session: &Session) -> bool {
        store::is_new(self.cache.add(session.clone()))
    }

    fn again(&self, session: &Session) -> Session {
        Session::new(&self.context, session.session_id(), session.payload()).unwrap()
    }

    fn remove(&self, session: &Session) -> bool {
        self.cache.remove_exact(session)
    }
}
