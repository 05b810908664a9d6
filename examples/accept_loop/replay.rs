//! Recorded TLS 1.3 hellos, sent again. rustls's own clients never offer a TLS 1.3 session twice, so without these no run
//! could notice a cache that lets one be used twice.
//!
//! A replay can't finish its handshake, for it lacks the client's keys. It need not: the ServerHello tells whether the
//! server accepted the session. The server also puts no time limit on the hello, as it would for early data.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use crate::hello::read_answer;
use crate::net::Bounded;

/// When replays are sent, seen from the original.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Plan {
    /// Two at the same moment as the original, from other threads. At most one of the three may be accepted.
    Together,
    /// One when the original is through. It must not be accepted if the original was.
    After,
    /// One before the original. If it is accepted, the session is used up and the original must not be.
    Before,
}

impl Plan {
    /// The plan for a thread's `count`-th TLS 1.3 offer: every eighth is replayed, beginning with the first.
    pub(crate) fn for_offer(count: u64) -> Option<Self> {
        let plans = [Self::Together, Self::After, Self::Before];
        (count % 8 == 0).then(|| plans[(count / 8 % 3) as usize])
    }
}

/// What became of a recorded hello.
#[derive(Debug)]
pub(crate) struct Replayed<R> {
    /// What the original came to.
    pub(crate) original: R,
    /// How often the hello was sent again.
    pub(crate) offered: u64,
    /// How many of those the server accepted.
    pub(crate) accepted: u64,
}

/// Connects, runs `original` on the connection, and sends the hello again according to `plan`.
pub(crate) fn around<R>(
    plan: Option<Plan>,
    server: SocketAddr,
    hello: &[u8],
    original: impl FnOnce(Bounded<'static>) -> R,
) -> io::Result<Replayed<R>> {
    let mut before = Vec::new();
    let mut after = Vec::new();
    let original = match plan {
        None => original(Bounded::connect(server)?),
        Some(Plan::Before) => {
            before.push(replay(Bounded::connect(server)?, hello)?);
            original(Bounded::connect(server)?)
        }
        Some(Plan::After) => {
            let original = original(Bounded::connect(server)?);
            after.push(replay(Bounded::connect(server)?, hello)?);
            original
        }
        Some(Plan::Together) => {
            let start = Barrier::new(3);
            // Nobody may leave without having been at the barrier, not even with an error.
            let connect = || {
                let connection = Bounded::connect(server);
                start.wait();
                connection
            };
            thread::scope(|scope| {
                let replays = [(); 2].map(|()| scope.spawn(|| replay(connect()?, hello)));
                let original = connect().map(original);
                for thread in replays {
                    let result = thread
                        .join()
                        .unwrap_or_else(|_| Err(io::Error::other("panic")));
                    after.push(result?);
                }
                original
            })?
        }
    };
    let answers = [before, after].concat();
    Ok(Replayed {
        original,
        offered: answers.len() as u64,
        accepted: answers.iter().filter(|accepted| **accepted).count() as u64,
    })
}

/// Sends the recorded hello and says whether the server accepts its session.
pub(crate) fn replay(mut connection: Bounded<'_>, hello: &[u8]) -> io::Result<bool> {
    connection.write_all(hello)?;
    read_answer(&mut connection)
}
