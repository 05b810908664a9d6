//! Where a secret is in this process's memory, and that it is nowhere once its session has left: every readable and writable
//! mapping is searched, after each way out.
//!
//! Nothing here knows how the crate wipes or allocates. What is searched for stands nowhere in clear but where a test puts it,
//! and one test runs at a time, so that nothing else holds a copy. Registers are not memory, and are not looked at.

#![allow(missing_docs)]
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "openssl")]
#[path = "../openssl_adapter/memory.rs"]
mod memory;
#[cfg(feature = "openssl")]
#[allow(dead_code, reason = "not all of it is used here")]
#[path = "../openssl_adapter/party.rs"]
mod party;

#[cfg(feature = "openssl")]
mod freed;
mod handles;
#[cfg(feature = "openssl")]
mod over_openssl;
#[cfg(feature = "rustls")]
mod over_rustls;
mod refusals;
mod scan;
mod secret;
mod sight;
mod stage;
mod ways_out;
