//! One visit of a client: it says hello, maybe with a session, finishes the handshake and reads the page.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, Stream};

use crate::net::Bounded;

/// A visit before its connection.
pub(crate) struct Visit {
    tls: ClientConnection,
    /// The ClientHello, as it is to be sent.
    pub(crate) first_flight: Vec<u8>,
    /// How long it took to make.
    preparing: Duration,
}

/// What a visit came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visited {
    pub(crate) resumed: bool,
    /// The handshake's, with the making of the hello, without the connecting and the page.
    pub(crate) latency: Duration,
}

impl Visit {
    /// Makes the hello of a client with this configuration.
    pub(crate) fn begin(config: &Arc<ClientConfig>) -> io::Result<Self> {
        let began = Instant::now();
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut first_flight = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut first_flight)?;
        }
        Ok(Self {
            tls,
            first_flight,
            preparing: began.elapsed(),
        })
    }

    /// Sends the hello, drives the handshake to its end, and fetches the page.
    pub(crate) fn finish(&mut self, connection: &mut Bounded<'_>) -> io::Result<Visited> {
        let began = Instant::now();
        connection.write_all(&self.first_flight)?;
        while self.tls.is_handshaking() {
            self.tls.complete_io(connection)?;
        }
        let latency = self.preparing + began.elapsed();
        let mut stream = Stream::new(&mut self.tls, connection);
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut page = Vec::new();
        // The page comes after the session, so whoever has read it has the session.
        stream.take(4096).read_to_end(&mut page)?;
        if !page.starts_with(b"HTTP/1.0 200 ") {
            let what = "the page is not what the server sends";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        Ok(Visited { resumed, latency })
    }
}
