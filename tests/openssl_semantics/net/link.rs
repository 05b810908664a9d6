//! A client and a server that talk to each other by turns.

use openssl::ssl::{ErrorCode, Ssl, SslContext, SslRef, SslSession, SslSessionRef, SslStream};

use super::pipe::{End, pair};

/// A connection. Dropped without [`close`](Self::close) it is cut off: neither end has said goodbye.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: SslStream<End>,
    pub(crate) server: SslStream<End>,
}

/// A handshake that ended without a connection: what the two ends said.
#[derive(Debug)]
pub(crate) struct Failed {
    #[allow(dead_code, reason = "shown when a test fails")]
    pub(crate) errors: (String, String),
}

impl Link {
    /// Both ends, before anything was said. `prepare` may change the client's `SSL` and the server's.
    pub(crate) fn prepared(
        client: &SslContext,
        server: &SslContext,
        prepare: impl FnOnce(&mut SslRef, &mut SslRef),
    ) -> Self {
        let (near, far) = pair();
        let mut client = Ssl::new(client).unwrap();
        let mut server = Ssl::new(server).unwrap();
        client.set_connect_state();
        server.set_accept_state();
        prepare(&mut client, &mut server);
        for ssl in [&mut client, &mut server] {
            if ssl.version_str().starts_with("DTLS") {
                ssl.set_mtu(1400).unwrap();
            }
        }
        Self {
            client: SslStream::new(client, near).unwrap(),
            server: SslStream::new(server, far).unwrap(),
        }
    }

    /// A connection after its handshake, with what the server sent behind it read; the client offers the session.
    pub(crate) fn open(
        client: &SslContext,
        server: &SslContext,
        session: Option<&SslSessionRef>,
    ) -> Result<Self, Failed> {
        let mut link = Self::prepared(client, server, |ssl, _| {
            if let Some(session) = session {
                // SAFETY: the sessions of these tests are of contexts with the same settings.
                unsafe { ssl.set_session(session) }.unwrap();
            }
        });
        link.handshake()?;
        Ok(link)
    }

    /// The same client with a new server, where the old one is freed.
    pub(crate) fn with_server(self, server: &SslContext) -> Self {
        let Self {
            client,
            server: old,
        } = self;
        drop(old);
        let far = client.get_ref().fresh_peer();
        let mut server = Ssl::new(server).unwrap();
        server.set_accept_state();
        Self {
            client,
            server: SslStream::new(server, far).unwrap(),
        }
    }

    /// Goes on until both ends have completed the handshake, and lets both read what came behind it.
    pub(crate) fn handshake(&mut self) -> Result<(), Failed> {
        let (mut client_error, mut server_error) = (None, None);
        let (mut client_done, mut server_done) = (false, false);
        for _ in 0..100 {
            step(&mut self.client, &mut client_done, &mut client_error);
            step(&mut self.server, &mut server_done, &mut server_error);
            if client_done && server_done {
                self.read_all();
                return Ok(());
            }
            if client_error.is_some() && server_error.is_some() {
                break;
            }
            // One end has failed, and the other has read all that it will ever get.
            let idle = !self.client.get_ref().has_input() && !self.server.get_ref().has_input();
            if idle && (client_error.is_some() || server_error.is_some()) {
                break;
            }
        }
        Err(Failed {
            errors: (
                client_error.unwrap_or_default(),
                server_error.unwrap_or_default(),
            ),
        })
    }

    /// Lets both ends read until there is nothing: tickets, alerts, data that nobody wants.
    pub(crate) fn read_all(&mut self) {
        for _ in 0..10 {
            read(&mut self.client);
            read(&mut self.server);
            if !self.client.get_ref().has_input() && !self.server.get_ref().has_input() {
                return;
            }
        }
        panic!("they never stop talking");
    }

    /// Whether the handshake resumed a session; both ends agree.
    pub(crate) fn reused(&self) -> bool {
        let reused = self.server.ssl().session_reused();
        assert_eq!(self.client.ssl().session_reused(), reused);
        reused
    }

    /// The client's session: the last one, where there are several.
    pub(crate) fn client_session(&self) -> SslSession {
        self.client.ssl().session().unwrap().to_owned()
    }

    /// The server's session.
    pub(crate) fn server_session(&self) -> SslSession {
        self.server.ssl().session().unwrap().to_owned()
    }

    /// Both ends say goodbye and are freed.
    pub(crate) fn close(mut self) {
        self.shut_down();
    }

    /// Both ends say goodbye.
    pub(crate) fn shut_down(&mut self) {
        for _ in 0..2 {
            let _ = self.client.shutdown();
            let _ = self.server.shutdown();
        }
    }
}

fn step(end: &mut SslStream<End>, done: &mut bool, error: &mut Option<String>) {
    if *done || error.is_some() {
        return;
    }
    match end.do_handshake() {
        Ok(()) => *done = true,
        Err(e) if matches!(e.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE) => {}
        Err(e) => *error = Some(format!("{e:?}")),
    }
}

/// Reads what is there; returns it.
pub(crate) fn read(end: &mut SslStream<End>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buf = [0; 256];
    while let Ok(len @ 1..) = end.ssl_read(&mut buf) {
        all.extend_from_slice(&buf[..len]);
    }
    all
}
