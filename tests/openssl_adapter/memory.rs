//! A side of a connection of the crate openssl, which is fed bytes and answers with bytes.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContextRef, SslRef, SslSession, SslSessionRef, SslStream,
};

/// What libssl reads from and writes to.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One side of a connection.
#[derive(Debug)]
pub(crate) struct Side {
    stream: SslStream<Memory>,
    connected: bool,
    failed: bool,
    received: Vec<u8>,
}

#[allow(dead_code, reason = "not every test crate uses all of it")]
impl Side {
    pub(crate) fn server(context: &SslContextRef) -> Self {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_accept_state();
        Self::new(ssl)
    }

    /// A client's side, which asks for a server by name, and offers a session.
    pub(crate) fn client(
        context: &SslContextRef,
        name: Option<&str>,
        session: Option<&SslSessionRef>,
    ) -> Self {
        let mut ssl = Ssl::new(context).unwrap();
        ssl.set_connect_state();
        if let Some(name) = name {
            ssl.set_hostname(name).unwrap();
        }
        if let Some(session) = session {
            // SAFETY: all sessions come from clients of the same context.
            unsafe { ssl.set_session(session).unwrap() };
        }
        Self::new(ssl)
    }

    pub(crate) fn new(ssl: Ssl) -> Self {
        Self {
            stream: SslStream::new(ssl, Memory::default()).unwrap(),
            connected: false,
            failed: false,
            received: Vec::new(),
        }
    }

    /// Gives it what has arrived, which may be nothing, and returns what it has to send.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.push(bytes);
        if !self.connected && !self.failed {
            match self.stream.do_handshake() {
                Ok(()) => self.connected = true,
                Err(error) => self.failed = error.code() != ErrorCode::WANT_READ,
            }
        }
        while self.connected && !self.failed {
            let mut buffer = [0; 4096];
            match self.stream.ssl_read(&mut buffer) {
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) => match error.code() {
                    ErrorCode::WANT_READ | ErrorCode::ZERO_RETURN => break,
                    _ => self.failed = true,
                },
            }
        }
        self.take_outgoing()
    }

    /// Lets it find bytes when it reads the next time.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.stream.get_mut().incoming.extend(bytes);
    }

    /// What it has to send.
    pub(crate) fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.stream.get_mut().outgoing)
    }

    /// Sends data over the connection, and returns its bytes.
    pub(crate) fn send(&mut self, data: &[u8]) -> Vec<u8> {
        self.stream.write_all(data).unwrap();
        self.take_outgoing()
    }

    /// The data that has arrived so far.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected && !self.failed
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn has_resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// Sends a close_notify.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        if self.connected && !self.failed {
            self.stream.shutdown().unwrap();
        }
        self.take_outgoing()
    }

    pub(crate) fn has_closed(&mut self) -> bool {
        self.stream.get_shutdown() == ShutdownState::SENT | ShutdownState::RECEIVED
    }

    pub(crate) fn ssl(&self) -> &SslRef {
        self.stream.ssl()
    }

    pub(crate) fn stream(&mut self) -> &mut SslStream<Memory> {
        &mut self.stream
    }

    pub(crate) fn session(&self) -> Option<SslSession> {
        self.stream.ssl().session().map(ToOwned::to_owned)
    }
}
