//! Both servers are offered a session for single use at once, by several threads: it is used once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use refrain::SessionId;
use refrain::store::resumption_ids;
use rustls::{HandshakeKind, ServerConnection};

use crate::servers::{key, wait};
use crate::tier::node::{Node, Pki, VERSIONS, connect, hello};

const ROUNDS: u32 = 300;
/// Threads at each server.
const THREADS: usize = 2;

/// Has all threads of both servers do it at once, and counts who has won.
fn winners(nodes: &[Node; 2], win: impl Fn(&Node, &Barrier) -> bool + Sync) -> u32 {
    let (won, together) = (AtomicU32::new(0), Barrier::new(nodes.len() * THREADS));
    std::thread::scope(|scope| {
        for node in nodes.iter().cycle().take(nodes.len() * THREADS) {
            scope.spawn(|| {
                if win(node, &together) {
                    won.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    won.into_inner()
}

/// One wins each time. Nobody does only where a call of the store has failed meanwhile, its answer being late.
fn judge(nodes: &[Node; 2], mut round: impl FnMut(u32) -> u32) {
    let mut nobody = 0;
    for number in 0..ROUNDS {
        let failures = || nodes.iter().map(Node::failures).sum::<u64>();
        let before = failures();
        match round(number) {
            1 => {}
            0 => {
                assert!(failures() > before, "nobody in round {number}");
                nobody += 1;
            }
            many => panic!("{many} winners in round {number}"),
        }
    }
    assert!(
        nobody <= ROUNDS / 4,
        "nobody in {nobody} of {ROUNDS} rounds"
    );
}

/// A ClientHello of TLS 1.3 reaches all of them, as by a thief who replays it.
pub(crate) fn taken_at_sight(pki: &Pki, nodes: &[Node; 2]) {
    let client = pki.client(VERSIONS[1]);
    judge(nodes, |number| {
        let mut offer = Vec::new();
        wait("a ticket", || {
            offer = hello(&client).1;
            let offered = resumption_ids(&offer)
                .iter()
                .any(|offered| offered.single_use);
            if !offered {
                connect(&client, &nodes[number as usize % 2]);
            }
            offered
        });
        // In some rounds the session still waits to be written.
        if number % 3 > 0 {
            nodes.iter().for_each(Node::settle);
        }
        winners(nodes, |node, together| {
            let mut server = ServerConnection::new(node.config.clone()).unwrap();
            server.read_tls(&mut &offer[..]).unwrap();
            together.wait();
            server.process_new_packets().unwrap();
            server.handshake_kind() == Some(HandshakeKind::Resumed)
        })
    });
}

/// The same by `Connection`, which looks first and takes what the client has proved to know.
pub(crate) fn claimed(nodes: &[Node; 2]) {
    judge(nodes, |number| {
        let id = SessionId::new(&key(number).as_bytes()[..32]).unwrap();
        let maker = &nodes[number as usize % 2];
        let mut connection = maker.cache.accept(maker.context());
        let session = connection.session_builder(id).build(b"state").unwrap();
        assert!(connection.establish(session));
        connection.close();
        if number % 3 > 0 {
            nodes.iter().for_each(Node::settle);
        }
        winners(nodes, |node, together| {
            let mut connection = node.cache.accept(node.context());
            together.wait();
            let found = connection.resume_once(id).is_some();
            let won = found && connection.claim();
            connection.finish();
            connection.close();
            won
        })
    });
}
