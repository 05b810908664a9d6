//! The cache behind real libssl connections, in memory: what resumes, what must not, and what is left afterwards.

#![allow(missing_docs)]
#![cfg(feature = "openssl")]

#[path = "../common/mod.rs"]
mod common;
mod memory;

mod contexts;
mod early_data;
mod external;
mod lifetimes;
mod names;
mod party;
mod renegotiation;
mod resumption;
mod retry;
mod shutdown;
mod tagged;
mod tickets;
