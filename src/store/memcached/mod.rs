//! memcached as the second tier.
//!
//! The client is this crate's own, for five commands of the meta protocol. The crate memcache (0.21) can't keep a
//! handshake's deadline: its timeouts are set for all connections at once, begin anew with each read, and do not apply to
//! sockets in the file system; its pool (r2d2) makes who finds no free connection wait, and connects on the caller's
//! thread; it does not tell an answer from one that is left over; and its client for the meta protocol is an experiment.

mod link;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::ClientConfig;

use link::{Address, Answer, Connection, Request};

use crate::store::address::AddressError;
use crate::store::pool::{Caller, Pool};
use crate::store::wire::Place;
use crate::store::{ExternalStore, Key, StoreError, Write};

/// Connections for handshakes, unless told otherwise.
const CONNECTIONS: usize = 8;
/// What all keys begin with, unless told otherwise.
const PREFIX: &str = "refrain:";
/// The longest prefix with which the longest key still is one of memcached's, which have 250 bytes.
const LONGEST_PREFIX: usize = 64;
/// The longest time that memcached takes for one: thirty days. What is longer, it takes for a date.
const LONGEST: u64 = 30 * 24 * 60 * 60;

/// A memcached server. Version 1.6 with the meta protocol; tested with 1.6.18.
///
/// # Progress
///
/// A read by a handshake takes a connection that stands and that nobody uses, or says at once that there is none; it never
/// connects and never waits for another thread. It costs one round trip, a take two. A connection that timed out, that was
/// closed or that brought nonsense is thrown away, and the worker makes a new one at its next write or probe. Each request
/// carries a number that the server must repeat, so that an answer which comes late, twice or from elsewhere is never taken
/// for another one.
///
/// # Single use
///
/// A take reads the record with its version, and deletes that version: of all callers one succeeds, and it alone has the
/// record. One whose delete gets no answer in time has not; then the record is lost.
///
/// memcached forgets when it is full or restarted. A record that is forgotten is a miss. But a claim that is forgotten can
/// be made again, and a counter begins again at zero; where that matters, start memcached with `-M` and watch its memory.
///
/// # Time
///
/// memcached counts in seconds, by a clock that may be a second late: a record is kept up to two seconds longer than was
/// asked for, and thirty days at the most.
///
/// # Settings of the server
///
/// ```text
/// memcached -l 10.0.0.1 -U 0 -m 2048 -I 1m -c 4096 -M
/// #   -l, -U 0   a private network, and no UDP; or -s PATH, or -Z and the options of TLS
/// #   -m         the memory, in MiB: records, their keys in base64, and about 60 bytes for each
/// #   -I         the largest record; a larger one is refused
/// #   -c         connections: for each process those of its handshakes, and one
/// #   -M         when it is full, refuse what is new, and keep claims and counters
/// ```
///
/// memcached's own passwords (SASL, `-Y`) are not supported. Several servers: put memcached's proxy before them, or give
/// each group of machines its own.
///
/// # Examples
///
/// ```no_run
/// use refrain::store::Memcached;
///
/// let store = Memcached::at("10.0.0.1:11211")?.connections(16).build()?;
/// # Ok::<(), refrain::store::AddressError>(())
/// ```
pub struct Memcached {
    pool: Pool<Connection>,
    prefix: String,
}

impl fmt::Debug for Memcached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memcached")
            .field("place", &self.pool.address().place)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Memcached`] before it is built.
#[derive(Debug)]
#[must_use]
pub struct MemcachedBuilder {
    place: Place,
    tls: Option<Arc<ClientConfig>>,
    connections: usize,
    prefix: String,
}

impl Memcached {
    /// The server at `HOST:PORT`, or at `unix:PATH`.
    ///
    /// # Errors
    ///
    /// If that is not what the address is like.
    pub fn at(address: &str) -> Result<MemcachedBuilder, AddressError> {
        let place = match address.strip_prefix("unix:") {
            Some("") => return Err(AddressError::new("no path")),
            Some(path) => Place::Unix(path.into()),
            None => {
                let (host, port) = address
                    .rsplit_once(':')
                    .ok_or_else(|| AddressError::new("neither HOST:PORT nor unix:PATH"))?;
                let port = port
                    .parse()
                    .map_err(|_| AddressError::new("the port is not a number"))?;
                let host = match host.strip_prefix('[') {
                    Some(host) => host.strip_suffix(']').unwrap_or(""),
                    None => host,
                };
                if host.is_empty() {
                    return Err(AddressError::new("no host"));
                }
                Place::Tcp(host.to_owned(), port)
            }
        };
        Ok(MemcachedBuilder {
            place,
            tls: None,
            connections: CONNECTIONS,
            prefix: PREFIX.to_owned(),
        })
    }

    fn name(&self, key: &Key) -> String {
        let mut name = self.prefix.clone();
        BASE64_URL_SAFE_NO_PAD.encode_string(key.as_bytes(), &mut name);
        name
    }

    fn one(
        &self,
        caller: Caller,
        request: Request<'_>,
        deadline: Instant,
    ) -> Result<Answer, StoreError> {
        let mut answers = self.pool.run(caller, deadline, |link: &mut Connection| {
            link.exchange(&[request], deadline)
        })?;
        answers.pop().ok_or_else(nonsense)
    }
}

impl MemcachedBuilder {
    /// TLS to the server, by this configuration: its roots decide whom to trust, its provider is the application's choice.
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// How many handshakes can ask the server at once, 8 by default; one more is told that none is free. The worker has a
    /// connection of its own besides.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// What all keys begin with, `refrain:` by default: up to 64 bytes of text without spaces.
    pub fn prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The store. It connects nothing: that is done by the first call of the worker's, be it a probe or a write.
    ///
    /// # Errors
    ///
    /// If the prefix can't be one, if there is to be no connection, or for TLS over a socket in the file system.
    pub fn build(self) -> Result<Memcached, AddressError> {
        if self.prefix.len() > LONGEST_PREFIX || !self.prefix.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(AddressError::new(
                "the prefix is not short text without spaces",
            ));
        }
        if self.connections == 0 {
            return Err(AddressError::new("no connections are to be made"));
        }
        if self.tls.is_some() && matches!(self.place, Place::Unix(_)) {
            return Err(AddressError::new("TLS over a socket in the file system"));
        }
        let address = Address {
            place: self.place,
            tls: self.tls,
        };
        Ok(Memcached {
            pool: Pool::new(address, self.connections),
            prefix: self.prefix,
        })
    }
}

fn nonsense() -> StoreError {
    StoreError::Protocol("an answer that does not fit".to_owned())
}

/// Never less than was asked for, never zero, which would be for ever, and never so much that it would be a date.
fn seconds(ttl: Duration) -> u32 {
    let whole = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0));
    // The clock may be a second late.
    whole.saturating_add(1).min(LONGEST) as u32
}

fn number(value: &[u8]) -> Result<u64, StoreError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|digits| digits.trim_end().parse().ok())
        .ok_or_else(nonsense)
}

impl ExternalStore for Memcached {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let get = Request::Get {
            key: &self.name(key),
        };
        match self.one(Caller::Handshake, get, deadline)? {
            Answer::Value { value, .. } => Ok(Some(value)),
            Answer::Not => Ok(None),
            Answer::Done => Err(nonsense()),
        }
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let name = self.name(key);
        let get = Request::Get { key: &name };
        let (value, version) = match self.one(Caller::Handshake, get, deadline)? {
            Answer::Value { value, version } => (value, version),
            Answer::Not => return Ok(None),
            Answer::Done => return Err(nonsense()),
        };
        let delete = Request::Delete {
            key: &name,
            version: Some(version),
        };
        match self.one(Caller::Handshake, delete, deadline)? {
            Answer::Done => Ok(Some(value)),
            // Somebody else took it, or put another in its place.
            Answer::Not => Ok(None),
            Answer::Value { .. } => Err(nonsense()),
        }
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        let add = Request::Set {
            key: &self.name(key),
            value: b"1",
            seconds: seconds(ttl),
            only_new: true,
        };
        match self.one(Caller::Handshake, add, deadline)? {
            Answer::Done => Ok(true),
            Answer::Not => Ok(false),
            Answer::Value { .. } => Err(nonsense()),
        }
    }

    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        let names: Vec<String> = batch
            .iter()
            .map(|step| match *step {
                Write::Put { key, .. } | Write::Remove { key } => self.name(key),
            })
            .collect();
        let requests: Vec<Request<'_>> = batch
            .iter()
            .zip(&names)
            .map(|(step, key)| match *step {
                Write::Put { record, ttl, .. } => Request::Set {
                    key,
                    value: record,
                    seconds: seconds(ttl),
                    only_new: false,
                },
                Write::Remove { .. } => Request::Delete { key, version: None },
            })
            .collect();
        let answers = self
            .pool
            .run(Caller::Worker, deadline, |link: &mut Connection| {
                link.exchange(&requests, deadline)
            })?;
        for (request, answer) in requests.iter().zip(answers) {
            match (request, answer) {
                (_, Answer::Done) | (Request::Delete { .. }, Answer::Not) => {}
                (Request::Set { .. }, Answer::Not) => {
                    return Err(StoreError::Refused("not stored".to_owned()));
                }
                _ => return Err(nonsense()),
            }
        }
        Ok(())
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        let get = Request::Get {
            key: &self.name(key),
        };
        match self.one(Caller::Worker, get, deadline)? {
            Answer::Value { value, .. } => number(&value),
            Answer::Not => Ok(0),
            Answer::Done => Err(nonsense()),
        }
    }

    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        let increment = Request::Increment {
            key: &self.name(key),
        };
        match self.one(Caller::Worker, increment, deadline)? {
            Answer::Value { value, .. } => number(&value),
            _ => Err(nonsense()),
        }
    }

    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        self.pool.check(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_neither_zero_nor_a_date() {
        assert_eq!(seconds(Duration::from_millis(1)), 2);
        assert_eq!(seconds(Duration::from_secs(1)), 2);
        assert_eq!(seconds(Duration::from_millis(1500)), 3);
        assert_eq!(u64::from(seconds(Duration::from_secs(LONGEST))), LONGEST);
        assert_eq!(u64::from(seconds(Duration::MAX)), LONGEST);
    }

    #[test]
    fn addresses_are_read() {
        let place = |address| Memcached::at(address).map(|builder| builder.place);
        assert_eq!(place("h:1"), Ok(Place::Tcp("h".to_owned(), 1)));
        assert_eq!(place("[::1]:2"), Ok(Place::Tcp("::1".to_owned(), 2)));
        assert_eq!(place("unix:/a/b"), Ok(Place::Unix("/a/b".into())));
        for wrong in ["", "h", "h:", ":1", "h:99999", "unix:", "[::1:2"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        let spaced = Memcached::at("h:1").unwrap().prefix("a b").build();
        assert!(spaced.is_err());
    }

    #[test]
    fn the_longest_key_fits() {
        let store = Memcached::at("h:1").unwrap();
        let store = store.prefix(&"p".repeat(LONGEST_PREFIX)).build().unwrap();
        let key = Key::new(&[0xff; crate::store::MAX_KEY]).unwrap();
        assert!(store.name(&key).len() <= 250);
    }
}
