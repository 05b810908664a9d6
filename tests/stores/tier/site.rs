//! The stores that the caches share, as an operator has them.

use std::sync::Arc;

use refrain::store::{Disk, ExternalStore};
use tempfile::TempDir;

use crate::cluster::{self, cluster};
use crate::sentinel::{Set, set};
use crate::servers::{Kind, Server, later};

pub(crate) enum Site {
    One(Kind, Server),
    Cluster(Vec<Server>),
    Sentinel(Set),
    /// What is in the file is of one process: all caches of it share one handle.
    File {
        store: Arc<dyn ExternalStore>,
        _directory: TempDir,
    },
}

impl Site {
    pub(crate) fn one(kind: Kind) -> Option<Self> {
        Some(Self::One(kind, kind.server()?))
    }

    pub(crate) fn cluster() -> Option<Self> {
        cluster().map(Self::Cluster)
    }

    pub(crate) fn sentinel() -> Option<Self> {
        set().map(Self::Sentinel)
    }

    pub(crate) fn file() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let (disk, _) = Disk::open(directory.path().join("sessions")).unwrap();
        Some(Self::File {
            store: Arc::new(disk),
            _directory: directory,
        })
    }

    /// A client of its own, connected.
    pub(crate) fn store(&self) -> Arc<dyn ExternalStore> {
        let store: Arc<dyn ExternalStore> = match self {
            Self::One(kind, server) => Arc::from(kind.store(server.port, 8)),
            Self::Cluster(nodes) => Arc::new(cluster::store(&[&nodes[0], &nodes[2]])),
            Self::Sentinel(set) => Arc::new(set.store()),
            Self::File { store, .. } => Arc::clone(store),
        };
        store.probe(later()).unwrap();
        store
    }
}
