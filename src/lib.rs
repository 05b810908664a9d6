//! A lock-free TLS session cache: the semantics of OpenSSL's server session cache, and none of its locks.
#![warn(missing_docs)]

pub mod adapter;
mod budget;
mod cache;
mod callbacks;
mod clock;
mod config;
mod context;
mod engine;
mod error;
mod id;
#[cfg(any(refrain_loom, refrain_shuttle))]
#[doc(hidden)]
pub mod internal;
pub mod manual;
mod reclaim;
mod removal;
mod session;
mod stats;
mod sync;

pub use cache::SessionCache;
pub use callbacks::{Lookup, OnGet, OnNew, OnRemove};
pub use clock::{ManualClock, Time};
pub use config::{Builder, CacheMode, DEFAULT_CAPACITY, DEFAULT_TIMEOUT, Maintenance};
pub use context::{Context, Generation};
pub use engine::maintain::Maintained;
pub use engine::{Added, NotCached};
pub use error::Error;
pub use id::{ContextId, SessionId};
pub use removal::RemovalCause;
pub use session::{Session, SessionBuilder};
pub use stats::{Stats, StatsHandle};
