//! The second tier's stores on real servers, which the tests start on free ports of loopback and stop again.
//!
//! A server that is not installed is told by a line `NOT RUN` on standard error, whether or not the tests' output is
//! captured. `scripts/stores` runs this and counts those lines.

#![allow(missing_docs)]

mod cluster;
mod contract;
mod disk;
mod failures;
mod fork;
mod memcached;
mod proxy;
mod race;
mod redis;
mod sentinel;
mod servers;
mod tier;
mod tls;
