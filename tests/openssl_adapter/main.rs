//! The cache behind real libssl connections, in memory: what resumes, what must not, and what is left afterwards.

#![allow(missing_docs)]
#![cfg(feature = "openssl")]

#[path = "../common/mod.rs"]
mod common;
mod memory;

mod ciphers;
mod contexts;
mod early_data;
mod external;
mod handles;
mod hosts;
mod lifetimes;
mod names;
mod party;
mod renegotiation;
mod resumption;
mod retry;
mod shared_store;
#[cfg(feature = "external")]
mod shared_tier;
#[cfg(feature = "external")]
#[path = "../external/store.rs"]
#[allow(dead_code, reason = "made for another test")]
mod shop;
mod shutdown;
mod sockets;
mod store;
mod tagged;
mod tickets;
