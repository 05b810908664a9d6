//! The shared tier, in front of a small store of this test's own that keeps its contract, or breaks it when told to.

#![allow(missing_docs)]

mod chaos;
#[cfg(unix)]
#[path = "../faults/child.rs"]
#[allow(dead_code, reason = "made for another test")]
mod child;
#[path = "../common/mod.rs"]
mod common;
mod faults;
#[cfg(unix)]
mod fork;
mod invalidation;
mod lifecycle;
mod node;
mod prefetch;
mod removal;
#[cfg(feature = "rustls")]
mod rustls;
mod sealed;
mod sharing;
mod single_use;
mod store;
mod watching;
