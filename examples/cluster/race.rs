//! A single-use session offered to both nodes: at once, or once more after it was used.

use std::io;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use crate::net::Bounded;
use crate::replay::replay;
use crate::visit::{Visit, Visited};

/// When the recorded hello is sent to both nodes, seen from the visit that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// At the same moment.
    Together,
    /// When that is through.
    After,
}

/// Makes the visit, and sends its hello to both nodes besides. Returns how often that was accepted.
pub(crate) fn around(
    plan: Plan,
    nodes: [SocketAddr; 2],
    home: SocketAddr,
    visit: &mut Visit,
) -> io::Result<(Visited, u64)> {
    let hello = visit.first_flight.clone();
    let start = Barrier::new(nodes.len() + 1);
    // Nobody may leave without having been at the barrier, not even with an error.
    let connect = |node| {
        let connection = Bounded::connect(node);
        if plan == Plan::Together {
            start.wait();
        }
        connection
    };
    let again = |node| replay(connect(node)?, &hello);
    if plan == Plan::After {
        let visited = visit.finish(&mut connect(home)?)?;
        let accepted = [again(nodes[0])?, again(nodes[1])?];
        return Ok((visited, count(accepted)));
    }
    thread::scope(|scope| {
        let replays = nodes.map(|node| scope.spawn(move || again(node)));
        let visited = connect(home).and_then(|mut connection| visit.finish(&mut connection));
        let answers = replays.map(|thread| {
            let panicked = |_| Err(io::Error::other("a thread panicked"));
            thread.join().unwrap_or_else(panicked)
        });
        let [first, second] = answers;
        Ok((visited?, count([first?, second?])))
    })
}

fn count(accepted: [bool; 2]) -> u64 {
    accepted.into_iter().map(u64::from).sum()
}
