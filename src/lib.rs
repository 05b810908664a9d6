//! A lock-free TLS session cache: the semantics of OpenSSL's server session cache, and none of its locks.
//!
//! A TLS server that remembers sessions spares returning clients the expensive handshake. [`SessionCache`] is the memory:
//! many threads add, look up, take and remove at once, and none ever waits for another.
//!
//! # What you get
//!
//! * Lookups are wait-free, and a warm one writes no line that other threads read (beyond 256 threads, one).
//! * [`take`](SessionCache::take) hands a session out once: of any number of callers, one gets it.
//! * Sessions expire by themselves, are evicted when there is no room (expired first, then the oldest that nobody came
//!   back for), and never exceed the capacity in entries or in bytes.
//! * Callbacks as in OpenSSL: new and get for an external store, and remove, which fires exactly once for each session
//!   that leaves, with a [cause](RemovalCause), on a thread of its own.
//! * A session never resumes in another [context](ContextId); a context can be
//!   [invalidated](SessionCache::invalidate_context) in constant time.
//! * Secrets are wiped on every way out, and no `Debug` shows them.
//!
//! # What you don't
//!
//! * It is in one process's memory, unless a [store] is put behind it (feature `external`).
//! * It serves stateful resumption: TLS 1.2 session ids and TLS 1.3 stateful tickets. Who resumes by self-contained
//!   tickets needs no cache.
//! * 64-bit targets whose allocator stays below 2^48, which is to say nearly all.
//!
//! # Start
//!
//! ```
//! use refrain::{ContextId, Session, SessionCache, SessionId};
//!
//! let cache = SessionCache::builder()
//!     .capacity(100_000)
//!     .on_remove(|_session, cause| eprintln!("a session left: {}", cause.as_str()))
//!     .build()?;
//! let context = cache.context(ContextId::derive("my-server", &[("cert", b"fingerprint")]))?;
//!
//! let id = SessionId::new(&[1; 32])?;
//! let added = cache.add(Session::new(&context, id, b"what the TLS stack wants back")?);
//! assert!(added.is_cached());
//! assert!(cache.with(&context, &id, |session| session.payload().len()).is_some());
//! # Ok::<(), refrain::Error>(())
//! ```
//!
//! With rustls and with the crate openssl it is one line, see [`adapter`] (features `rustls` and `openssl`). Authors of other
//! TLS stacks: [`Connection`].
//!
//! # How it works
//!
//! The chapters [design](manual::design), [consistency](manual::consistency), [orderings](manual::orderings),
//! [security](manual::security), [operations](manual::operations) for who runs it, and, for who comes from there,
//! [from OpenSSL](manual::from_openssl).
//!
//! # Features
//!
//! | feature | what it adds | needs |
//! |---|---|---|
//! | none | everything but the adapters and the stores | Rust 1.85 |
//! | `external` | the shared tier: `Builder::external`, `store::Keys`, sealed records; see `manual::external` | Rust 1.85 |
//! | `metrics` | `SessionCache::publish_metrics`, for recorders of the crate metrics | Rust 1.85 |
//! | `disk` | `store::Disk`, a file that survives a restart | Rust 1.90 |
//! | `memcached` | `store::Memcached` | Rust 1.85; memcached 1.6 to run |
//! | `openssl` | `adapter::openssl` for the crate openssl 0.10 | libssl 1.1.1 to 4.x with its headers |
//! | `redis` | `store::Redis`: alone, by Sentinel, or a cluster | Rust 1.85; Redis 6.2 or later to run |
//! | `rustls` | `adapter::rustls` for rustls 0.23, without rustls's default features | Rust 1.85 |
//! | `tracing` | events of the shared tier, for subscribers of the crate tracing | Rust 1.85 |

pub mod adapter;
mod blocks;
mod budget;
mod cache;
mod callbacks;
mod clock;
mod config;
mod connection;
mod context;
mod engine;
mod error;
#[cfg(any(feature = "openssl", feature = "external"))]
mod host;
mod id;
#[cfg(refrain_internal)]
#[doc(hidden)]
pub mod inside;
#[cfg(any(refrain_loom, refrain_shuttle))]
#[doc(hidden)]
pub mod internal;
pub mod manual;
#[cfg(feature = "metrics")]
mod publish;
mod reclaim;
mod removal;
mod session;
mod stats;
pub mod store;
mod sync;
mod tagged;
mod zeroed;

pub use cache::SessionCache;
pub use callbacks::{Lookup, OnGet, OnNew, OnRemove};
pub use clock::{ManualClock, Time};
pub use config::{Builder, CacheMode, DEFAULT_CAPACITY, DEFAULT_TIMEOUT, Maintenance};
pub use connection::{Connection, EXTERNAL_LOOKUPS};
pub use context::{Context, Generation};
pub use engine::maintain::Maintained;
pub use engine::{Added, NotCached};
pub use error::Error;
pub use id::{ContextId, SessionId};
pub use removal::RemovalCause;
pub use session::{Session, SessionBuilder};
pub use stats::{SessCounters, Stats, StatsHandle};
pub use tagged::TaggedIds;
