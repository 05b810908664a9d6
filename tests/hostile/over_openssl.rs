//! Servers and clients of the crate openssl as peers.

use std::sync::{Arc, Mutex};

use openssl::pkey::PKey;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslSession, SslSessionCacheMode, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509;
use refrain::adapter::openssl::Sessions;
use refrain::{ContextId, SessionCache, TaggedIds};

use super::memory::Side;
use super::site::{CONTEXT, EXTERNAL};
use super::stack::{Client, NAME, PKI, Peer, Server, Version};

pub(crate) fn server(cache: &SessionCache, context: &str, external: u32) -> Box<dyn Server> {
    let sessions = sessions(cache, context).external_lookups(external);
    Box::new(Acceptor(built(&sessions, |_| ())))
}

/// A server with ids that it recognises.
pub(crate) fn server_tagged(
    cache: &SessionCache,
    context: &str,
    ids: TaggedIds,
) -> Box<dyn Server> {
    let sessions = sessions(cache, context).external_lookups(EXTERNAL);
    Box::new(Acceptor(built(&sessions.tagged_ids(ids), |_| ())))
}

/// A server with a change to its `SSL_CTX`.
pub(crate) fn server_by(
    cache: &SessionCache,
    change: impl FnOnce(&mut SslContextBuilder),
) -> Box<dyn Server> {
    Box::new(Acceptor(built(&sessions(cache, CONTEXT), change)))
}

fn sessions(cache: &SessionCache, context: &str) -> Sessions {
    Sessions::new(cache, ContextId::derive(context, &[])).unwrap()
}

fn built(sessions: &Sessions, change: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server()).unwrap();
    let certificate = X509::from_der(&PKI.certificate).unwrap();
    let key = PKey::private_key_from_der(&PKI.key).unwrap();
    builder.set_certificate(&certificate).unwrap();
    builder.set_private_key(&key).unwrap();
    sessions.install(&mut builder).unwrap();
    change(&mut builder);
    builder.build()
}

struct Acceptor(SslContext);

impl Server for Acceptor {
    fn accept(&self) -> Box<dyn Peer> {
        Box::new(Side::server(&self.0))
    }
}

pub(crate) fn client(version: Version) -> Box<dyn Client> {
    client_with(version, |_| ())
}

/// A client with a change to its `SSL_CTX`.
pub(crate) fn client_with(
    version: Version,
    change: impl FnOnce(&mut SslContextBuilder),
) -> Box<dyn Client> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
    let protocol = match version {
        Version::Tls12 => SslVersion::TLS1_2,
        Version::Tls13 => SslVersion::TLS1_3,
    };
    builder.set_min_proto_version(Some(protocol)).unwrap();
    builder.set_max_proto_version(Some(protocol)).unwrap();
    let root = X509::from_der(&PKI.certificate).unwrap();
    builder.cert_store_mut().add_cert(root).unwrap();
    builder.set_verify(SslVerifyMode::PEER);
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    let sessions = Arc::<Mutex<Vec<SslSession>>>::default();
    let store = Arc::clone(&sessions);
    builder.set_new_session_callback(move |_, session| store.lock().unwrap().push(session));
    change(&mut builder);
    Box::new(Connector {
        context: builder.build(),
        version,
        sessions,
    })
}

struct Connector {
    context: SslContext,
    version: Version,
    sessions: Arc<Mutex<Vec<SslSession>>>,
}

impl Client for Connector {
    fn connect(&self) -> Box<dyn Peer> {
        let mut sessions = self.sessions.lock().unwrap();
        let session = match self.version {
            Version::Tls12 => sessions.last().cloned(),
            Version::Tls13 => sessions.pop(),
        };
        drop(sessions);
        Box::new(Side::client(&self.context, Some(NAME), session.as_deref()))
    }
}

impl Peer for Side {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.feed(bytes)
    }

    fn is_connected(&self) -> bool {
        self.is_connected()
    }

    fn has_resumed(&self) -> bool {
        self.has_resumed()
    }

    fn close(&mut self) -> Vec<u8> {
        self.close()
    }
}
