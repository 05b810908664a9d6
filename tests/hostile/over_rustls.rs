//! rustls's servers and clients as peers.

use std::sync::Arc;

use refrain::adapter::rustls::Sessions;
use refrain::{ContextId, SessionCache};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, RootCertStore, ServerConfig,
    ServerConnection,
};

use super::stack::{Client, NAME, PKI, Peer, Server, Version};

pub(crate) fn server(cache: &SessionCache, context: &str, external: u32) -> Box<dyn Server> {
    let key = PrivateKeyDer::try_from(PKI.key.clone()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(PKI.certificate.clone())], key)
        .unwrap();
    let context = ContextId::derive(context, &[]);
    config.session_storage = Sessions::with_external_rate(cache, context, external).unwrap();
    Box::new(Arc::new(config))
}

pub(crate) fn client(version: Version) -> Box<dyn Client> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(PKI.certificate.clone()))
        .unwrap();
    let version = match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    let mut config = ClientConfig::builder_with_protocol_versions(&[version])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption =
        Resumption::in_memory_sessions(16).tls12_resumption(Tls12Resumption::SessionIdOnly);
    Box::new(Arc::new(config))
}

impl Server for Arc<ServerConfig> {
    fn accept(&self) -> Box<dyn Peer> {
        Box::new(Connection::Server(
            ServerConnection::new(Arc::clone(self)).unwrap(),
        ))
    }
}

impl Client for Arc<ClientConfig> {
    fn connect(&self) -> Box<dyn Peer> {
        let name = ServerName::try_from(NAME).unwrap();
        Box::new(Connection::Client(
            ClientConnection::new(Arc::clone(self), name).unwrap(),
        ))
    }
}

impl Peer for Connection {
    fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            // What a connection that has failed does not read any more is lost on it.
            if self.read_tls(&mut bytes).is_err() || self.process_new_packets().is_err() {
                break;
            }
        }
        while self.wants_write() {
            self.write_tls(&mut out).unwrap();
        }
        out
    }

    fn is_connected(&self) -> bool {
        !self.is_handshaking()
    }

    fn has_resumed(&self) -> bool {
        self.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn close(&mut self) -> Vec<u8> {
        self.send_close_notify();
        self.feed(&[])
    }
}
