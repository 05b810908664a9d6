//! One handshake's side of the cache, sentence by sentence of what its documentation promises.

#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod afterwards;
mod client;
mod counters;
mod ends;
mod establish;
mod lookups;
mod modes;
mod names;
mod shop;
mod single_use;
