//! The semantics of OpenSSL's session cache, checked against OpenSSL: each script runs on the linked libssl's own cache and
//! on Refrain, and asserts the same calls of the new, remove and get callbacks, the same counters and the same
//! resumptions. `scripts/semantics` runs it against another libssl than the system's.
//!
//! The scripts are those of OpenSSL's own tests that concern the session cache. Where Refrain means to differ, a test in
//! `differences` asserts what both do.

#![allow(missing_docs)]

mod books;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod cve_2024_2511;
mod differences;
mod ffi;
mod log;
mod net;
mod scripts;
mod server;
mod store;
mod version;
mod watch;
