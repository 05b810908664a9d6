//! How the servers are found: by their address, by Sentinel, or by a cluster's nodes.

use std::sync::Arc;
use std::time::Instant;

use ::redis::{Value, cmd};

use crate::store::StoreError;
use crate::store::pool::{Caller, Link, Pool};
use crate::store::redis::link::{Address, Connection, nonsense, refusal, text};
use crate::store::redis::topology::{Node, Topology, ranges};
use crate::store::wire::Place;

/// What is known of the servers beforehand.
pub(super) enum Site {
    /// One server.
    Alone(Address),
    /// Sentinels, which know a master by its name.
    Sentinel {
        /// Where to ask, each with a login of its own.
        sentinels: Vec<Address>,
        /// The name.
        name: String,
        /// How to speak to the master. Its place is not used.
        master: Address,
    },
    /// Some nodes of a cluster.
    Cluster(Vec<Address>),
}

impl Site {
    /// The servers as they are now. What is already connected is kept.
    pub(super) fn discover(
        &self,
        known: Option<&Topology>,
        readers: usize,
        deadline: Instant,
    ) -> Result<Topology, StoreError> {
        let node = |address: &Address, place: &Place| -> Arc<Node> {
            known
                .and_then(|known| known.at(place))
                .cloned()
                .unwrap_or_else(|| {
                    let mut address = address.clone();
                    address.place = place.clone();
                    Arc::new(Pool::new(address, readers))
                })
        };
        match self {
            Self::Alone(address) => Ok(Topology::one(node(address, &address.place))),
            Self::Sentinel {
                sentinels,
                name,
                master,
            } => {
                let place = each(sentinels, deadline, |sentinel, deadline| {
                    master_of(name, sentinel, deadline)
                })?;
                Ok(Topology::one(node(master, &place)))
            }
            Self::Cluster(seeds) => {
                let nodes = known.map_or(&[][..], |known| &known.nodes);
                let mut connected = nodes.iter().filter(|node| node.stands()).peekable();
                let ranges = if connected.peek().is_some() {
                    let nodes: Vec<_> = connected.collect();
                    each(&nodes, deadline, |node, deadline| slots_by(node, deadline))
                } else {
                    Err(StoreError::Unavailable("no node is connected".to_owned()))
                };
                let ranges = match ranges {
                    Ok(ranges) => ranges,
                    Err(_) => each(seeds, deadline, |seed, deadline| {
                        let node = Pool::new((*seed).clone(), 0);
                        slots_by(&node, deadline)
                    })?,
                };
                let model = seeds
                    .first()
                    .ok_or_else(|| StoreError::Unavailable("no seeds".to_owned()))?;
                Ok(Topology::cluster(&ranges, |place| node(model, place)))
            }
        }
    }
}

/// Asks one after the other, until one answers. Each gets its share of the time that is left.
fn each<A, T>(
    asked: &[A],
    deadline: Instant,
    mut ask: impl FnMut(&A, Instant) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut last = StoreError::Unavailable("nobody to ask".to_owned());
    for (index, one) in asked.iter().enumerate() {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / (asked.len() - index) as u32;
        match ask(one, now + share) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn master_of(name: &str, sentinel: &Address, deadline: Instant) -> Result<Place, StoreError> {
    let mut sentinel = Connection::connect(sentinel, deadline)?;
    let question = cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(name)
        .take();
    match sentinel.exchange(&[question], deadline)?.pop() {
        Some(Value::Array(place)) => {
            let port = text(place.get(1)).and_then(|port| port.parse().ok());
            match (text(place.first()), port) {
                (Some(host), Some(port)) => Ok(Place::Tcp(host.to_owned(), port)),
                _ => Err(nonsense("no address of a master")),
            }
        }
        Some(Value::Nil) => Err(StoreError::Unavailable(format!(
            "the sentinel knows no master of the name {name}"
        ))),
        Some(Value::ServerError(error)) => Err(refusal(&error)),
        _ => Err(nonsense("no address of a master")),
    }
}

fn slots_by(
    node: &Node,
    deadline: Instant,
) -> Result<Vec<crate::store::redis::topology::Range>, StoreError> {
    let question = cmd("CLUSTER").arg("SLOTS").take();
    let answer = node
        .run(Caller::Worker, deadline, |link| {
            link.exchange(&[question], deadline)
        })?
        .pop();
    match answer {
        Some(Value::ServerError(error)) => Err(refusal(&error)),
        Some(answer) => ranges(&answer, &node.address().place),
        None => Err(nonsense("no slots")),
    }
}
