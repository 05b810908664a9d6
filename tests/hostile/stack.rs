//! The TLS stacks, seen from the wire: peers that are fed bytes and answer with bytes.

use std::sync::LazyLock;

use refrain::SessionCache;

#[cfg(feature = "openssl")]
use super::over_openssl;
use super::over_rustls;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// The name that the certificate is for.
pub(crate) const NAME: &str = "server.example";

/// One side of a connection.
pub(crate) trait Peer {
    /// Gives it what has arrived, which may be nothing, and returns what it has to send.
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// Whether its handshake is complete.
    fn is_connected(&self) -> bool;
    /// Whether it says that a session was resumed.
    fn has_resumed(&self) -> bool;
    /// Ends the connection in order, and returns what it has to send.
    fn close(&mut self) -> Vec<u8>;
}

/// A client that remembers its sessions.
pub(crate) trait Client: Send {
    fn connect(&self) -> Box<dyn Peer>;
}

/// A server whose sessions are in a cache.
pub(crate) trait Server: Send + Sync {
    fn accept(&self) -> Box<dyn Peer>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    Rustls,
    #[cfg(feature = "openssl")]
    Openssl,
}

impl Stack {
    /// A server under a context of this name. `external` bounds the calls of the get callback: each handshake's, or where
    /// the stack does not show the handshake, each thread's in a second.
    pub(crate) fn server(
        self,
        cache: &SessionCache,
        context: &str,
        external: u32,
    ) -> Box<dyn Server> {
        match self {
            Self::Rustls => over_rustls::server(cache, context, external),
            #[cfg(feature = "openssl")]
            Self::Openssl => over_openssl::server(cache, context, external),
        }
    }

    /// An honest client that speaks this version.
    pub(crate) fn client(self, version: Version) -> Box<dyn Client> {
        match self {
            Self::Rustls => over_rustls::client(version),
            #[cfg(feature = "openssl")]
            Self::Openssl => over_openssl::client(version),
        }
    }

    /// Whether its server asks the cache for a pre-shared key of this length.
    pub(crate) fn looks_up_key(self, length: usize) -> bool {
        match self {
            Self::Rustls => (1..=32).contains(&length),
            // It knows that its own are of 32 bytes.
            #[cfg(feature = "openssl")]
            Self::Openssl => length == 32,
        }
    }
}

/// A whole connection of a client, closed in order; tells whether it was resumed, on which both sides must agree.
/// `meddle` sees the client's hello before the server does.
pub(crate) fn visit(client: &dyn Client, server: &dyn Server, meddle: impl FnOnce(&[u8])) -> bool {
    let (mut client, mut server) = (client.connect(), server.accept());
    let mut to_server = client.feed(&[]);
    meddle(&to_server);
    while !to_server.is_empty() {
        let to_client = server.feed(&to_server);
        to_server = client.feed(&to_client);
    }
    assert!(client.is_connected() && server.is_connected());
    assert_eq!(client.has_resumed(), server.has_resumed());
    server.feed(&client.close());
    client.feed(&server.close());
    server.has_resumed()
}

/// The certificate and its key, in DER.
pub(crate) struct Pki {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    Pki {
        certificate: made.cert.der().to_vec(),
        key: made.signing_key.serialize_der(),
    }
});
