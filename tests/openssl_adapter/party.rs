//! Servers and clients of the crate openssl, and what they do with each other.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    SslContext, SslContextBuilder, SslContextRef, SslMethod, SslSession, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use refrain::adapter::openssl::Sessions;
use refrain::{ContextId, SessionCache, SessionId};

use super::memory::Side;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

impl Version {
    /// The sessions that a full handshake makes.
    pub(crate) fn tickets(self) -> u64 {
        match self {
            Self::Tls12 => 1,
            Self::Tls13 => 2,
        }
    }
}

/// The name that clients ask for.
pub(crate) const NAME: &str = "server.example";

static PKI: LazyLock<(X509, PKey<Private>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PKey::private_key_from_der(&made.signing_key.serialize_der()).unwrap();
    (X509::from_der(made.cert.der()).unwrap(), key)
});

/// What a server would be built of, without a cache.
pub(crate) fn plain_server() -> SslContextBuilder {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server()).unwrap();
    builder.set_certificate(&PKI.0).unwrap();
    builder.set_private_key(&PKI.1).unwrap();
    builder
}

/// Sessions in a cache, under a context of this name.
pub(crate) fn sessions(cache: &SessionCache, context: &str) -> Sessions {
    Sessions::new(cache, ContextId::derive(context, &[])).unwrap()
}

/// A server on the context of a `Rig`.
pub(crate) fn server(cache: &SessionCache) -> SslContext {
    server_with(sessions(cache, "rig"))
}

pub(crate) fn server_with(sessions: Sessions) -> SslContext {
    let mut builder = plain_server();
    sessions.install(&mut builder).unwrap();
    builder.build()
}

/// A client that remembers its sessions.
pub(crate) struct Client {
    context: SslContext,
    version: Version,
    sessions: Arc<Mutex<Vec<SslSession>>>,
}

impl Client {
    pub(crate) fn new(version: Version) -> Self {
        Self::with(version, |_| ())
    }

    pub(crate) fn with(version: Version, change: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
        let protocol = match version {
            Version::Tls12 => SslVersion::TLS1_2,
            Version::Tls13 => SslVersion::TLS1_3,
        };
        builder.set_min_proto_version(Some(protocol)).unwrap();
        builder.set_max_proto_version(Some(protocol)).unwrap();
        builder.cert_store_mut().add_cert(PKI.0.clone()).unwrap();
        builder.set_verify(SslVerifyMode::PEER);
        let mode = SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL;
        builder.set_session_cache_mode(mode);
        let sessions = Arc::<Mutex<Vec<SslSession>>>::default();
        let store = Arc::clone(&sessions);
        builder.set_new_session_callback(move |_, session| store.lock().unwrap().push(session));
        change(&mut builder);
        Self {
            context: builder.build(),
            version,
            sessions,
        }
    }

    pub(crate) fn context(&self) -> &SslContextRef {
        &self.context
    }

    /// The sessions that it has not used yet, the latest last.
    pub(crate) fn sessions(&self) -> MutexGuard<'_, Vec<SslSession>> {
        self.sessions.lock().unwrap()
    }

    /// Its side of a connection, with the latest session that it has; one of TLS 1.3 it then has no more.
    pub(crate) fn connect(&self, name: Option<&str>) -> Side {
        let session = match self.version {
            Version::Tls12 => self.sessions().last().cloned(),
            Version::Tls13 => self.sessions().pop(),
        };
        self.connect_with(name, session.as_ref())
    }

    /// Its side of a connection, with a copy of this session: libssl's clients don't offer one of TLS 1.3 twice.
    pub(crate) fn connect_with(&self, name: Option<&str>, session: Option<&SslSession>) -> Side {
        let copy = session.map(|session| SslSession::from_der(&session.to_der().unwrap()).unwrap());
        Side::client(&self.context, name, copy.as_deref())
    }

    /// A whole connection, closed in order; tells whether it was resumed.
    pub(crate) fn visit(&self, server: &SslContext) -> bool {
        self.visit_as(Some(NAME), server)
    }

    /// As `visit`, asking for this name.
    pub(crate) fn visit_as(&self, name: Option<&str>, server: &SslContext) -> bool {
        let (client, server) = (self.connect(name), Side::server(server));
        finish(client, server)
    }

    /// A connection that stays open, and that was resumed or not, as told.
    #[track_caller]
    pub(crate) fn open(&self, server: &SslContext, resumed: bool) -> (Side, Side) {
        let (mut client, mut server) = (self.connect(Some(NAME)), Side::server(server));
        assert!(shake(&mut client, &mut server));
        assert_eq!(server.has_resumed(), resumed);
        (client, server)
    }
}

/// The cache's id of a session that a client has: in TLS 1.3 it is the ticket.
pub(crate) fn id_of(cache: &SessionCache, held: &SslSession) -> SessionId {
    let der = held.to_der().unwrap();
    let mut found = None;
    cache.retain(|session| {
        if der.windows(32).any(|window| window == session.id()) {
            assert!(found.replace(session.session_id()).is_none());
        }
        true
    });
    found.expect("the cache has the session")
}

/// Lets both sides talk until neither has anything to say; tells whether they are connected.
pub(crate) fn shake(client: &mut Side, server: &mut Side) -> bool {
    let hello = client.feed(&[]);
    go_on(client, server, hello)
}

/// As `shake`, from where these bytes are on their way to the server.
pub(crate) fn go_on(client: &mut Side, server: &mut Side, mut to_server: Vec<u8>) -> bool {
    loop {
        let to_client = server.feed(&to_server);
        to_server = client.feed(&to_client);
        if to_server.is_empty() {
            return client.is_connected() && server.is_connected();
        }
    }
}

/// A whole connection, closed in order; tells whether it was resumed.
#[track_caller]
pub(crate) fn finish(mut client: Side, mut server: Side) -> bool {
    assert!(shake(&mut client, &mut server));
    assert_eq!(client.has_resumed(), server.has_resumed());
    close(&mut client, &mut server);
    server.has_resumed()
}

/// Ends a connection on the server's side without a word from the client. The client itself thinks that it has closed in
/// order, or its libssl would not offer the session again.
pub(crate) fn cut_off((mut client, server): (Side, Side)) {
    client.close();
    drop(server);
}

/// Closes a connection in order.
pub(crate) fn close(client: &mut Side, server: &mut Side) {
    server.feed(&client.close());
    client.feed(&server.close());
    assert!(client.has_closed(), "{client:?}");
    assert!(server.has_closed(), "{server:?}");
}
