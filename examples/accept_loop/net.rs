//! A TCP stream that cannot hang: it gives up at a deadline, or when the server is told to stop.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a connection may take from its beginning to its end.
const WHOLE_CONNECTION: Duration = Duration::from_secs(10);
/// How long one system call may block, and so how soon a stop is noticed.
const PATIENCE: Duration = Duration::from_millis(250);

/// A blocking stream with an end in sight.
#[derive(Debug)]
pub(crate) struct Bounded<'a> {
    stream: TcpStream,
    deadline: Instant,
    stop: &'a AtomicBool,
}

impl<'a> Bounded<'a> {
    /// Wraps an accepted stream. `stop` ends it early.
    pub(crate) fn new(stream: TcpStream, stop: &'a AtomicBool) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let deadline = Instant::now() + WHOLE_CONNECTION;
        Ok(Self {
            stream,
            deadline,
            stop,
        })
    }

    /// Repeats a call that timed out, until it succeeds or there is no more time for it.
    fn persist<R>(
        &mut self,
        mut call: impl FnMut(&mut TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
        loop {
            match call(&mut self.stream) {
                Err(error) if error.kind() == Interrupted => {}
                // Which of the two a timeout is depends on the system.
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => {
                    if self.stop.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
                        return Err(io::Error::new(TimedOut, "no answer in time"));
                    }
                }
                result => return result,
            }
        }
    }
}

impl Bounded<'static> {
    /// Connects as a client does.
    pub(crate) fn connect(server: SocketAddr) -> io::Result<Self> {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self::new(
            TcpStream::connect_timeout(&server, WHOLE_CONNECTION)?,
            &NEVER,
        )
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.persist(|stream| stream.read(buffer))
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.persist(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
