//! One connection of rustls's, from its handshake to its close.

use std::io;
use std::sync::Arc;

use rustls::{HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned};

use crate::net::Bounded;

/// A connection after its handshake.
pub(crate) struct Accepted<'a> {
    /// What to read from and write to.
    pub(crate) stream: StreamOwned<ServerConnection, Bounded<'a>>,
}

impl<'a> Accepted<'a> {
    /// Makes the handshake.
    pub(crate) fn accept(config: &Arc<ServerConfig>, mut stream: Bounded<'a>) -> io::Result<Self> {
        let mut tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let stream = StreamOwned::new(tls, stream);
        Ok(Self { stream })
    }

    pub(crate) fn version(&self) -> &'static str {
        match self.stream.conn.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        }
    }

    pub(crate) fn resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Says goodbye, so that the client knows that it has got everything.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.stream.conn.send_close_notify();
        io::Write::flush(&mut self.stream)
    }
}
