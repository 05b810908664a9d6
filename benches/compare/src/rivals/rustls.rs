//! rustls's own cache: a map and a queue behind one mutex. It keeps bytes and gives copies of them.

use std::sync::Arc;

use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use crate::cache::{Cache, Id, Need, Setup};

#[derive(Debug)]
pub(crate) struct Rustls(Arc<ServerSessionMemoryCache>);

impl Cache for Rustls {
    const NAME: &'static str = "rustls";
    const LACKS: &'static [(Need, &'static str)] = &[
        (Need::Lend, "hands out copies"),
        (Need::Listen, "no callbacks, no expiry"),
    ];

    type Key = Id;
    type Local = ();

    fn build(setup: &Setup) -> Self {
        Self(ServerSessionMemoryCache::new(setup.capacity))
    }

    fn local(&self) {}

    #[inline]
    fn own(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.0.get(&key.0).map(|payload| payload[0])
    }

    #[inline]
    fn see(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.own(&mut (), key)
    }

    #[inline]
    fn take(&self, (): &mut (), key: &Id) -> Option<u8> {
        self.0.take(&key.0).map(|payload| payload[0])
    }

    #[inline]
    fn add(&self, (): &mut (), id: Id, payload: &[u8]) -> bool {
        self.0.put(id.0.to_vec(), payload.to_vec())
    }

    /// It doesn't tell.
    fn len(&self, (): &()) -> Option<usize> {
        None
    }
}
