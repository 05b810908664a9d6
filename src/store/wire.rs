//! A byte stream to a store, every operation of which ends by a deadline.
//!
//! A socket's own timeouts begin anew with each read, so a server that sends a byte now and then holds a reader for as long
//! as it likes; and Linux counts them in ticks of up to ten milliseconds. So the socket never blocks, and who waits, waits
//! in `poll` for what is left until the deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::store::StoreError;
use crate::sync::thread;

/// What one exchange may bring in at the most, in bytes: no answer of a sane store comes near.
const MOST: usize = 64 << 20;

/// Where a store listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A host, by name or by address, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A connection, in the clear or in TLS.
pub(crate) struct Wire {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Wire {
    /// Connects, and makes the handshake of TLS if there is a configuration for it.
    pub(crate) fn connect(
        place: &Place,
        tls: Option<&Arc<ClientConfig>>,
        deadline: Instant,
    ) -> Result<Self, StoreError> {
        let stream = reach(place, deadline).map_err(unreachable)?;
        let mut socket = Socket {
            stream,
            deadline,
            left: MOST,
        };
        let tls = match (tls, place) {
            (None, _) => None,
            (Some(_), Place::Unix(_)) => {
                let why = "TLS over a socket in the file system is not supported";
                return Err(StoreError::Unavailable(why.to_owned()));
            }
            (Some(config), Place::Tcp(host, _)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| StoreError::Unavailable(format!("TLS: {error}")))?;
                let mut tls = ClientConnection::new(config.clone(), name)
                    .map_err(|error| StoreError::Unavailable(format!("TLS: {error}")))?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket).map_err(unreachable)?;
                }
                Some(Box::new(tls))
            }
        };
        Ok(Self { socket, tls })
    }

    /// All that follows is one exchange, and ends by then.
    pub(crate) fn until(&mut self, deadline: Instant) {
        self.socket.deadline = deadline;
        self.socket.left = MOST;
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(into),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(from),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.socket).flush(),
        }
    }
}

/// What went wrong on a connection that stood.
pub(crate) fn broken(error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => StoreError::TimedOut,
        ErrorKind::InvalidData => StoreError::Protocol(error.to_string()),
        ErrorKind::UnexpectedEof => StoreError::Unavailable("the connection was closed".to_owned()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// What a server says of itself, short and without control characters: it may end in a log.
pub(crate) fn quoted(said: &str) -> String {
    said.chars()
        .take(200)
        .flat_map(char::escape_debug)
        .collect()
}

/// What went wrong before there was a connection.
fn unreachable(error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => StoreError::TimedOut,
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// What is left until the deadline; an error once it has passed.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    Ok(left)
}

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

struct Socket {
    stream: Stream,
    deadline: Instant,
    left: usize,
}

#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Socket {
    /// Does it, as soon as it can be done without blocking.
    fn patiently(
        &mut self,
        way: Way,
        mut act: impl FnMut(&mut Stream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = left(self.deadline)?;
            #[cfg(not(unix))]
            self.limit(way, left)?;
            match act(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    #[cfg(unix)]
                    self.wait(way, left)?;
                }
                done => return done,
            }
        }
    }

    #[cfg(unix)]
    fn wait(&self, way: Way, left: Duration) -> io::Result<()> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let flags = match way {
            Way::In => PollFlags::IN,
            Way::Out => PollFlags::OUT,
        };
        let mut waiting = [match &self.stream {
            Stream::Tcp(stream) => PollFd::new(stream, flags),
            Stream::Unix(stream) => PollFd::new(stream, flags),
        }];
        let left = Timespec::try_from(left).map_err(|_| ErrorKind::InvalidInput)?;
        match poll(&mut waiting, Some(&left)) {
            // Who calls looks at the clock.
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Where there is no `poll`, the socket blocks for what is left, or a little longer.
    #[cfg(not(unix))]
    fn limit(&self, way: Way, left: Duration) -> io::Result<()> {
        let Stream::Tcp(stream) = &self.stream;
        match way {
            Way::In => stream.set_read_timeout(Some(left)),
            Way::Out => stream.set_write_timeout(Some(left)),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the answer has no end",
            ));
        }
        let room = into.len().min(self.left);
        let read = self.patiently(Way::In, |stream| match stream {
            Stream::Tcp(stream) => stream.read(&mut into[..room]),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.read(&mut into[..room]),
        })?;
        self.left -= read;
        Ok(read)
    }
}

impl Write for Socket {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.patiently(Way::Out, |stream| match stream {
            Stream::Tcp(stream) => stream.write(from),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write(from),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reach(place: &Place, deadline: Instant) -> io::Result<Stream> {
    match place {
        Place::Tcp(host, port) => {
            let addresses = resolve(host, *port, deadline)?;
            let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
            for (index, address) in addresses.iter().enumerate() {
                // So that an address which swallows everything leaves time for the next.
                let share = left(deadline)? / (addresses.len() - index) as u32;
                match TcpStream::connect_timeout(address, share.max(Duration::from_micros(1))) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        #[cfg(unix)]
                        stream.set_nonblocking(true)?;
                        return Ok(Stream::Tcp(stream));
                    }
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        // To a server with a full backlog, connecting blocks, and no option bounds it.
        #[cfg(unix)]
        Place::Unix(path) => {
            let path = path.clone();
            let stream = aside(deadline, move || UnixStream::connect(path))?;
            stream.set_nonblocking(true)?;
            Ok(Stream::Unix(stream))
        }
        #[cfg(not(unix))]
        Place::Unix(_) => Err(ErrorKind::Unsupported.into()),
    }
}

/// The host's addresses. A name is looked up by a thread of its own, because the system's resolver knows no deadline.
fn resolve(host: &str, port: u16, deadline: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let host = host.to_owned();
    aside(deadline, move || {
        Ok((host.as_str(), port).to_socket_addrs()?.collect())
    })
}

/// Has it done by a thread of its own, which is left alone once the deadline has passed.
fn aside<T: Send + 'static>(
    deadline: Instant,
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (give, take) = sync_channel(1);
    thread::Builder::new()
        .name("refrain-connect".to_owned())
        .spawn(move || {
            // Nobody there any more: too late.
            let _ = give.send(act());
        })?;
    match take.recv_timeout(left(deadline)?) {
        Ok(done) => done,
        Err(RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the helping thread panicked")),
    }
}
