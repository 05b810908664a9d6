//! The cache as rustls 0.23's server session storage.
//!
//! ```
//! use refrain::adapter::rustls::Sessions;
//! use refrain::{ContextId, SessionCache};
//!
//! # fn install(config: &mut rustls::ServerConfig) -> Result<(), refrain::Error> {
//! let cache = SessionCache::builder().capacity(100_000).build()?;
//! config.session_storage = Sessions::new(&cache, ContextId::derive("my-server", &[("cert", b"fingerprint")]))?;
//! # Ok(())
//! # }
//! ```
//!
//! The cache outlives the configuration: build the next one, with a new certificate or a new policy, on the same cache.
//! Keep the [`ContextId`] if the sessions of the old configuration may be resumed under the new one, and change it if
//! not. rustls itself keeps no two configurations apart that share a storage.
//!
//! What this adds to rustls's own memory cache: sessions expire (rustls compares no session's age with its lifetime),
//! no lock and no linear search, statistics, callbacks, and memory that is wiped.
//!
//! What rustls's interface can't show, this can't promise:
//!
//! * Which handshake asks is unknown. So the number of look-ups that may reach the get callback is bounded per thread
//!   and second, not per handshake; a session's generation is the one at the moment of `put`, not at the start of the
//!   handshake; and an authentication deadline is not carried from one session to the ones that are born from its
//!   resumption.
//! * rustls takes a TLS 1.3 session before it has verified that the client knows the secret. Who has seen an id on the
//!   wire can burn it: its owner then gets a full handshake.
//! * rustls's `get` and `take` return a `Vec`, which is allocated here, outside of the engine, and which rustls frees
//!   without wiping it. What it hands to `put` is wiped here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::StoresServerSessions;

use crate::adapter::wipe;
use crate::cache::SessionCache;
use crate::cache::handshake::{Shelf, Side, Usage};
use crate::clock::Time;
use crate::config::CacheMode;
use crate::context::Context;
use crate::error::Error;
use crate::id::{ContextId, SessionId};
use crate::session::Session;
use crate::sync::{CachePadded, Mutex, MutexGuard, THREAD_NUMBERS, lock, thread_number};

/// The lifetime that rustls tells TLS 1.3 clients. A session is not kept longer than that, unless it was stored before
/// [`CacheMode::UPDATE_TIME`] or a longer timeout was set.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Look-ups a second that one thread may make by the get callback, unless it is told otherwise.
const EXTERNAL_PER_SECOND: u32 = 1000;
/// With a shared tier, so many at once are enough, or a hundredth of a second's worth: each may take the whole read budget,
/// and one ClientHello can carry hundreds of ids.
const BURST: u32 = 8;

/// Server sessions of one rustls configuration, kept in a [`SessionCache`].
///
/// Each look-up hashes once and copies the payload into a `Vec`. No method blocks, but for the cache's new and get
/// callbacks, if they are set; no method panics.
pub struct Sessions {
    cache: SessionCache,
    context: Context,
    tokens: Tokens,
}

impl Sessions {
    /// The storage to put into [`ServerConfig::session_storage`](rustls::ServerConfig::session_storage).
    ///
    /// The context decides which configurations may resume each other's sessions: derive it from the certificates, the
    /// client CAs and whatever else differs between your policies.
    ///
    /// # Errors
    ///
    /// As [`SessionCache::context`].
    pub fn new(cache: &SessionCache, context: ContextId) -> Result<Arc<Self>, Error> {
        Self::with_external_rate(cache, context, EXTERNAL_PER_SECOND)
    }

    /// As [`new`](Self::new), with a bound of its own on the look-ups that one thread may make by the get callback in a
    /// second. One ClientHello can carry hundreds of ids; those beyond the bound are misses. With a shared tier it bounds the
    /// reads of the store, of which strict single use makes one for each resumption of TLS 1.3: then no more than eight, or a
    /// hundredth of the bound, may follow on each other, and the time that a thread waits for the store does not count.
    ///
    /// # Errors
    ///
    /// As [`SessionCache::context`].
    pub fn with_external_rate(
        cache: &SessionCache,
        context: ContextId,
        per_second: u32,
    ) -> Result<Arc<Self>, Error> {
        let burst = match cache.has_tier() {
            true => per_second.min(BURST.max(per_second / 100)),
            false => per_second,
        };
        Ok(Arc::new(Self {
            context: cache.context(context)?,
            cache: cache.clone(),
            tokens: Tokens::new(per_second, burst),
        }))
    }

    /// The cache behind it.
    pub fn cache(&self) -> &SessionCache {
        &self.cache
    }

    /// The context of its sessions.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn store(&self, key: &[u8], value: &[u8]) -> Option<bool> {
        let id = SessionId::new(key).ok()?;
        let builder = Session::builder(&self.context, id);
        // Only what could live longer needs to carry the bound.
        let unbounded =
            self.cache.timeout() > LIFETIME || self.cache.mode().contains(CacheMode::UPDATE_TIME);
        let session = if unbounded {
            builder.not_after(self.cache.now() + LIFETIME).build(value)
        } else {
            builder.build(value)
        };
        // As it will be looked for.
        let usage = match is_tls12(value) {
            true => Usage::Again,
            false => Usage::Once,
        };
        let shelf = Shelf {
            context: &self.context,
            usage,
            host: None,
        };
        Some(self.cache.establish(Side::Server, session.ok()?, shelf))
    }

    fn find(&self, key: &[u8], single_use: bool) -> Option<Vec<u8>> {
        let id = SessionId::new(key).ok()?;
        // Once per look-up of a handshake, so that sessions expire on time whoever maintains.
        let now = self.cache.now();
        // A TLS 1.3 client may offer the id of somebody's TLS 1.2 session, which it has seen in clear. That must not
        // burn the session.
        let want = |session: &Session| !single_use || !is_tls12(session.payload());
        let usage = if single_use {
            Usage::Once
        } else {
            Usage::Again
        };
        let mut asked = false;
        let may_ask = || {
            asked = self.tokens.spend(now);
            asked
        };
        let found = self
            .cache
            .resume(&self.context, &id, usage, &want, None, may_ask);
        if asked && self.cache.has_tier() {
            self.tokens.pass(self.cache.now());
        }
        Some(found?.session.payload().to_vec())
    }
}

impl StoresServerSessions for Sessions {
    /// Stores a session. False only if it is stored neither here nor, by the new callback, elsewhere.
    fn put(&self, key: Vec<u8>, mut value: Vec<u8>) -> bool {
        let stored = self.store(&key, &value).unwrap_or(false);
        wipe(&mut value);
        stored
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, false)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key, true)
    }

    fn can_cache(&self) -> bool {
        self.cache.serves(Side::Server)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("cache", &self.cache)
            .field("context", &self.context)
            .finish()
    }
}

/// Whether what rustls stored is a session of TLS 1.2: its encoding begins with the server name, if there is one, and
/// then has the protocol version. What can't be read so is taken for anything else.
fn is_tls12(value: &[u8]) -> bool {
    let rest = match value {
        [0, rest @ ..] => Some(rest),
        [1, len, rest @ ..] => rest.get(usize::from(*len)..),
        _ => None,
    };
    rest.is_some_and(|rest| rest.starts_with(&[0x03, 0x03]))
}

/// What bounds the look-ups that leave the process: for each thread a bucket of tokens, which fills at the rate given. Threads beyond the numbered ones share a bucket.
struct Tokens {
    per_second: u32,
    /// How many a bucket holds.
    burst: u32,
    /// Each is its thread's own, so its lock is never waited for, but for the shared one.
    buckets: Box<[CachePadded<Mutex<Bucket>>]>,
}

struct Bucket {
    /// Thousandths of tokens left.
    tokens: u64,
    /// When they were counted.
    since: Time,
}

impl Tokens {
    fn new(per_second: u32, burst: u32) -> Self {
        let full = u64::from(burst) * 1000;
        Self {
            per_second,
            burst,
            buckets: (0..=THREAD_NUMBERS)
                .map(|_| {
                    CachePadded::new(Mutex::new(Bucket {
                        tokens: full,
                        since: Time::ZERO,
                    }))
                })
                .collect(),
        }
    }

    /// Takes one token from the calling thread's bucket, if there is one.
    fn spend(&self, now: Time) -> bool {
        let mut bucket = self.bucket();
        let rate = u64::from(self.per_second);
        let millis = now.saturating_since(bucket.since).as_millis() as u64;
        let earned = bucket.tokens.saturating_add(millis.saturating_mul(rate));
        bucket.tokens = earned.min(u64::from(self.burst) * 1000);
        bucket.since = bucket.since.max(now);
        let left = bucket.tokens.checked_sub(1000);
        bucket.tokens = left.unwrap_or(bucket.tokens);
        left.is_some()
    }

    /// The calling thread's bucket earns nothing for the time up to now: it was spent waiting.
    fn pass(&self, now: Time) {
        let mut bucket = self.bucket();
        bucket.since = bucket.since.max(now);
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        lock(&self.buckets[thread_number().unwrap_or(THREAD_NUMBERS)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_behind_the_server_name() {
        assert!(is_tls12(&[0, 3, 3, 9]));
        assert!(is_tls12(&[1, 2, b'a', b'b', 3, 3]));
        for other in [
            &[][..],
            &[0],
            &[0, 3, 4],
            &[1],
            &[1, 9, 3, 3],
            &[1, 2, b'a', b'b', 3, 4],
            &[3, 3, 0, 0],
        ] {
            assert!(!is_tls12(other), "{other:?}");
        }
    }

    #[test]
    fn a_bucket_of_tokens_fills_with_time() {
        let at = Time::from_millis;
        let three = Tokens::new(3, 3);
        assert!((0..3).all(|_| three.spend(at(0))));
        assert!(!three.spend(at(0)));
        assert!(!three.spend(at(333)));
        assert!(three.spend(at(334)));
        assert!(!three.spend(at(334)));
        assert!((0..3).all(|_| three.spend(at(99_000))));
        assert!(!three.spend(at(99_000)));
        assert!(!Tokens::new(0, 0).spend(at(199_000)));
    }

    #[test]
    fn a_bucket_holds_no_more_than_its_burst_and_earns_nothing_while_its_thread_waits() {
        let at = Time::from_millis;
        let few = Tokens::new(1000, 8);
        assert_eq!((0..100).filter(|_| few.spend(at(500))).count(), 8);
        // Each of these waits for the store.
        few.pass(at(900));
        assert!(!few.spend(at(900)));
        assert!(few.spend(at(901)) && !few.spend(at(901)));
        assert_eq!((0..100).filter(|_| few.spend(at(9000))).count(), 8);
    }
}
