//! The accept loop: a few threads share a listener, and each takes one connection at a time from handshake to close.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::library::Library;
use crate::net::Bounded;
use crate::output::Failure;
use crate::stack::Stack;

/// The most that a request may have before its empty line.
const LONGEST_REQUEST: usize = 16 * 1024;

/// A running server.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What the server's threads have in common.
struct Shared {
    listener: TcpListener,
    stack: Stack,
    stop: AtomicBool,
    served: Arc<Served>,
}

/// How many handshakes ended in which way, as the server saw it.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) full: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) unfinished: AtomicU64,
}

impl Server {
    /// Listens at the first of `addresses` that works and starts the threads, which count in `served`.
    pub(crate) fn start(
        addresses: &[SocketAddr],
        threads: usize,
        stack: Stack,
        served: Arc<Served>,
    ) -> Result<Self, Failure> {
        let listening = TcpListener::bind(addresses)
            .and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listening.map_err(|error| {
            Failure::broken(format!("could not listen at {addresses:?}: {error}"))
        })?;
        let stop = AtomicBool::new(false);
        let shared = Arc::new(Shared {
            listener,
            stack,
            stop,
            served,
        });
        let mut server = Self {
            address,
            shared,
            threads: Vec::new(),
        };
        for number in 0..threads {
            let shared = Arc::clone(&server.shared);
            let thread = thread::Builder::new()
                .name(format!("server-{number}"))
                .spawn(move || shared.accept_loop())
                .map_err(|error| Failure::broken(format!("could not start a thread: {error}")))?;
            server.threads.push(thread);
        }
        Ok(server)
    }

    /// Where it listens, with the port that the system chose.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection within a fraction of a second and joins the threads.
    pub(crate) fn stop(self) -> Library {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        for _ in &self.threads {
            // Wakes one thread from `accept`. It fails only while other connections wait, which wake them just as well.
            let _ = TcpStream::connect_timeout(&address, Duration::from_millis(250));
        }
        for thread in self.threads {
            // A panic was printed by the thread, and its client has noticed.
            let _ = thread.join();
        }
        let shared = Arc::into_inner(self.shared).expect("no thread is left that shares it");
        shared.stack.close()
    }
}

impl Shared {
    fn accept_loop(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.listener.accept() {
                Ok((stream, _)) if !self.stop.load(Ordering::Relaxed) => {
                    // A broken connection is the client's to complain about: here it may be a replay or a visitor.
                    let _ = self.serve(stream);
                }
                Ok(_) => {}
                // Out of file descriptors, most likely: let other threads give some back.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// One connection: the handshake, a request, the page, the close.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let stream = Bounded::new(stream, &self.stop)?;
        let mut accepted = self.stack.accept(stream).inspect_err(|_| {
            self.served.unfinished.fetch_add(1, Ordering::Relaxed);
        })?;
        let resumed = accepted.resumed();
        let count = if resumed {
            &self.served.resumed
        } else {
            &self.served.full
        };
        count.fetch_add(1, Ordering::Relaxed);

        let page = page(accepted.version(), resumed);
        if read_request(&mut accepted.stream)? {
            accepted.stream.write_all(page.as_bytes())?;
        }
        accepted.close()
    }
}

/// Reads up to the empty line that ends an HTTP request's head. False if the client says goodbye instead, as some do
/// that only come for a session: it deserves an answer, without which libssl would take that session away again.
fn read_request(stream: &mut impl Read) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while request.len() < LONGEST_REQUEST {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(false);
        }
        request.extend_from_slice(&chunk[..count]);
        if request.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(true);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The answer to any request.
fn page(version: &str, resumed: bool) -> String {
    let kind = if resumed { "resumed" } else { "full" };
    let body = format!("{version}, {kind} handshake\n");
    let length = body.len();
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
}
