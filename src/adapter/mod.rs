//! Adapters: the cache behind the interfaces of TLS stacks.

#[cfg(feature = "rustls")]
pub mod rustls;
