//! The whole: caches that share a real store, with rustls's own handshakes in front of them.

mod node;
mod once;
mod removal;
mod sealed;
mod sharing;
mod site;
mod trouble;
