//! One script for two caches.

mod ciphers;
mod client;
mod early_data;
mod flush;
mod getters;
mod lifetime;
mod overflow;
mod reentry;
mod references;
mod renegotiation;
mod replacement;
mod session;
mod shutdown;
mod tickets;
mod versions;
