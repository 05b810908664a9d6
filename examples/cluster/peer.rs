//! A node, as seen by the process that started it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::{env, io};

use crate::args::NODE;
use crate::orders::{Orders, State};
use crate::output::Failure;

/// A process of this same program.
pub(crate) struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// Starts a node and waits until it listens and knows its store.
    pub(crate) fn start(orders: &Orders) -> Result<Self, Failure> {
        Self::spawn(orders).map_err(|error| Failure::broken(format!("a node: {error}")))
    }

    fn spawn(orders: &Orders) -> io::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg(format!("--{NODE}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipe"));
        };
        let mut peer = Self {
            child,
            orders: Some(input),
            answers: BufReader::new(output),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = peer.send(&orders.line())?;
        peer.address = line.trim().parse().map_err(io::Error::other)?;
        Ok(peer)
    }

    fn send(&mut self, line: &str) -> io::Result<String> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        match answer.is_empty() {
            true => Err(io::Error::other("it has ended")),
            false => Ok(answer),
        }
    }

    /// How the node is. With `settle` it first waits until its sessions are at the store.
    pub(crate) fn state(&mut self, settle: bool) -> Result<State, Failure> {
        let line = if settle { "settle\n" } else { "state\n" };
        let answer = self
            .send(line)
            .map_err(|error| Failure::broken(format!("a node: {error}")))?;
        State::parse(&answer).ok_or_else(|| Failure::broken(format!("a node says {answer:?}")))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is the node's.
        self.orders = None;
        let _ = self.child.wait();
    }
}
