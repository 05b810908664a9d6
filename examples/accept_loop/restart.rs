//! `--disk`: a server that is started twice on one file, and clients that were there before.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;

use crate::args::Options;
use crate::hello;
use crate::net::Bounded;
use crate::output::Failure;
use crate::pki::{Pki, newcomer};
use crate::replay::replay;
use crate::run::versions;
use crate::server::{Served, Server};
use crate::stack::Stack;
use crate::store;
use crate::visit::{Visit, Visited};

/// Clients of each version.
const CLIENTS: usize = 25;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Restart {
    /// Sessions offered to the second server, all of the first one's.
    pub(crate) offered: u64,
    /// Those that resumed.
    pub(crate) resumed: u64,
    /// Single-use sessions that the first server had used, offered to the second.
    pub(crate) used: u64,
    /// Those that it used once more.
    pub(crate) reused: u64,
    /// Look-ups that the file did not answer in time.
    pub(crate) late: u64,
}

impl Restart {
    /// What broke, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let lost = (self.offered - self.resumed).saturating_sub(self.late);
        let faults = [
            (lost, "sessions did not survive the restart"),
            (self.reused, "used sessions came back with the restart"),
        ];
        faults
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect()
    }
}

/// Has clients visit a server twice, starts it anew, and has them come back.
pub(crate) fn run(options: &Options, pki: &Pki) -> Result<Restart, Failure> {
    let mut clients = Vec::new();
    for (_, version) in versions(options.tls) {
        let config = pki.client(version)?;
        clients.extend((0..CLIENTS).map(|_| newcomer(&config)));
    }
    let (used, _) = serve(options, pki, |server| {
        let mut used = Vec::new();
        for client in &clients {
            visit(server, client)?;
            let (Visited { resumed, .. }, hello) = visit(server, client)?;
            let offer = hello::offered_session(&hello);
            if resumed && offer.is_some_and(|offer| offer.single_use) {
                used.push(hello);
            }
        }
        Ok(used)
    })?;
    let (mut restart, late) = serve(options, pki, |server| {
        let mut restart = Restart {
            offered: clients.len() as u64,
            resumed: 0,
            used: used.len() as u64,
            reused: 0,
            late: 0,
        };
        for hello in &used {
            restart.reused += u64::from(replay(Bounded::connect(server)?, hello)?);
        }
        for client in &clients {
            restart.resumed += u64::from(visit(server, client)?.0.resumed);
        }
        Ok(restart)
    })?;
    restart.late = late;
    Ok(restart)
}

/// A server on the file, from its start to its end. Returns how often the file was late, too.
fn serve<R>(
    options: &Options,
    pki: &Pki,
    visit: impl FnOnce(SocketAddr) -> io::Result<R>,
) -> Result<(R, u64), Failure> {
    let cache = store::open(options, |_, _| {})?;
    let stack = Stack::open(options, pki, cache.as_ref(), None)?;
    let loopback = [(Ipv4Addr::LOCALHOST, 0).into()];
    let served = Arc::new(Served::default());
    let server = Server::start(&loopback, options.threads, stack, served)?;
    let result = visit(server.address());
    server.stop();
    let late = cache.as_ref().map_or(0, store::late);
    // The last handle: what is still to be written is written now, and the file is closed.
    drop(cache);
    let result = result.map_err(|error| Failure::broken(format!("around the restart: {error}")))?;
    Ok((result, late))
}

fn visit(server: SocketAddr, client: &Arc<ClientConfig>) -> io::Result<(Visited, Vec<u8>)> {
    let mut visit = Visit::begin(client)?;
    let visited = visit.finish(&mut Bounded::connect(server)?)?;
    Ok((visited, visit.first_flight))
}
