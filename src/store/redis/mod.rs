//! Redis as the second tier.
//!
//! The crate redis packs commands and parses answers. The sockets are this crate's own, because a handshake's deadline must
//! hold: the timeouts of the crate's blocking connections begin anew with each byte that arrives, looking up a host's name
//! knows none, and its blocking client for a cluster connects, asks for the slots and sleeps in the midst of a call.

mod batch;
mod builder;
mod link;
mod site;
mod topology;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::{Cmd, ServerErrorKind, Value, cmd};

pub use builder::RedisBuilder;
use link::{Connection, nonsense, refusal};
use site::Site;
use topology::{Node, Redirect, Topology, redirect};

use crate::store::address::AddressError;
use crate::store::pool::{Caller, Failure, Pool};
use crate::store::{ExternalStore, Key, StoreError, Write};
use crate::sync::SharedCell;
use crate::sync::atomic::{AtomicBool, Ordering};

/// The longest a record is kept, so that no sum of times overflows at the server.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A Redis server, found by its address, by Sentinel, or as a cluster. Redis 6.2 or later; tested with 7.0.
///
/// Valkey speaks the same protocol, and has all that is used here. It is untested.
///
/// # Progress
///
/// A read by a handshake takes a connection that stands and that nobody uses, or says at once that there is none; it never
/// connects and never waits for another thread. It costs one round trip, in a cluster a second one while a slot is being
/// moved. A connection that timed out, that was closed or that brought nonsense is thrown away, and the worker makes a new
/// one at its next write or probe. Each exchange ends with a number that the server must repeat, so that an answer which
/// comes late, twice or from elsewhere is never taken for another one.
///
/// # Single use
///
/// A take is a GETDEL: of all callers one gets the record. That holds for one server. With replicas, Redis answers before
/// they have heard of it: who is promoted in that moment still has the record, and hands it out a second time. Where that
/// must not happen (0-RTT data), use a server without replicas, or claim, too, at one.
///
/// # Settings of the server
///
/// ```text
/// save ""                         # sessions need not survive a restart, and secrets do not belong on disks
/// appendonly no
/// maxmemory 2gb                   # records, their keys, and about 140 bytes for each
/// maxmemory-policy volatile-ttl   # the record goes first that ends first; counters have no end and stay
/// timeout 0                       # an idle connection is not closed
/// tcp-keepalive 60
/// lazyfree-lazy-user-del yes
/// ```
///
/// Encrypt by TLS (`tls-port`, and `port 0`), or keep the network private. Certificates must name the servers as the URLs do,
/// and as the sentinels or the cluster's nodes do: by their addresses, or by what they announce. A user that can do what is needed, and no more:
///
/// ```text
/// user refrain on >PASSWORD ~refrain:* resetchannels -@all +get +set +getdel +del +incr +ping +select
/// user refrain ... +role                          # by Sentinel
/// user refrain ... +cluster|slots +asking         # in a cluster
/// ```
///
/// With `noeviction` a full server refuses writes, and removals too where they need memory; reads go on. In a cluster set
/// `cluster-require-full-coverage no`, or one lost part takes all the others with it.
///
/// # Examples
///
/// ```no_run
/// use refrain::store::Redis;
///
/// let alone = Redis::at("redis://user:password@10.0.0.1:6379/0")?.build()?;
/// let watched = Redis::sentinel(&["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"], "sessions")?
///     .password("password")
///     .build()?;
/// let cluster = Redis::cluster(&["redis://10.0.0.1", "redis://10.0.0.2"])?.connections(16).build()?;
/// # Ok::<(), refrain::store::AddressError>(())
/// ```
pub struct Redis {
    site: Site,
    readers: usize,
    prefix: Vec<u8>,
    topology: SharedCell<Topology>,
    /// The servers are not where they were seen; the worker is to look again.
    stale: AtomicBool,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// One server, at a URL: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` for TLS, or
    /// `redis+unix:///PATH[?db=DATABASE][&user=USER][&pass=PASSWORD]`.
    ///
    /// # Errors
    ///
    /// If that is not what the URL is like.
    pub fn at(url: &str) -> Result<RedisBuilder, AddressError> {
        RedisBuilder::alone(url)
    }

    /// The master that these sentinels know by this name. After a fail-over the worker asks them for the new one.
    ///
    /// # Errors
    ///
    /// As for [`at`](Self::at), or if there is no URL.
    pub fn sentinel(urls: &[&str], name: &str) -> Result<RedisBuilder, AddressError> {
        RedisBuilder::sentinel(urls, name)
    }

    /// The cluster to which these nodes belong. Not all need to be named; it is asked for the others.
    ///
    /// # Errors
    ///
    /// As for [`at`](Self::at), or if there is no URL.
    pub fn cluster(urls: &[&str]) -> Result<RedisBuilder, AddressError> {
        RedisBuilder::cluster(urls)
    }

    fn new(site: Site, readers: usize, prefix: Vec<u8>) -> Self {
        Self {
            site,
            readers,
            prefix,
            topology: SharedCell::new(None),
            stale: AtomicBool::new(false),
        }
    }

    fn name(&self, key: &Key) -> Vec<u8> {
        [&self.prefix, key.as_bytes()].concat()
    }

    /// The servers as they are known. The worker looks for them first if they are not, or not any more.
    fn topology(&self, caller: Caller, deadline: Instant) -> Result<Arc<Topology>, StoreError> {
        let known = self.topology.load();
        // ORDERING: Relaxed. A hint: who comes too late for it fails once more, and sets it again.
        let stale = self.stale.load(Ordering::Relaxed);
        match known {
            Some(known) if !stale || caller == Caller::Handshake => Ok(known),
            Some(known) => {
                // Half of the time, so that what was known can still be tried.
                let now = Instant::now();
                let half = now + deadline.saturating_duration_since(now) / 2;
                Ok(self.discover(half).unwrap_or(known))
            }
            None if caller == Caller::Worker => self.discover(deadline),
            None => Err(StoreError::Unavailable("not connected yet".to_owned())),
        }
    }

    fn discover(&self, deadline: Instant) -> Result<Arc<Topology>, StoreError> {
        self.mark(false);
        let known = self.topology.load();
        match self.site.discover(known.as_deref(), self.readers, deadline) {
            Ok(found) => {
                let found = Arc::new(found);
                self.topology.swap(Some(found.clone()));
                Ok(found)
            }
            Err(error) => {
                self.mark(true);
                Err(error)
            }
        }
    }

    fn mark(&self, stale: bool) {
        // ORDERING: Relaxed, as in `topology`.
        self.stale.store(stale, Ordering::Relaxed);
    }

    /// One exchange with one server.
    fn exchange(
        &self,
        caller: Caller,
        node: &Node,
        commands: &[Cmd],
        deadline: Instant,
    ) -> Result<Vec<Value>, StoreError> {
        let done = node.run(caller, deadline, |link: &mut Connection| {
            let answers = link
                .exchange(commands, deadline)
                .inspect_err(|_| self.mark(true))?;
            let demoted = answers.iter().find_map(|answer| match answer {
                Value::ServerError(error) if error.kind() == Some(ServerErrorKind::ReadOnly) => {
                    Some(refusal(error))
                }
                _ => None,
            });
            match demoted {
                Some(error) => {
                    self.mark(true);
                    Err(Failure::Spoilt(error))
                }
                None => Ok(answers),
            }
        });
        if done.is_err() && caller == Caller::Worker {
            self.mark(true);
        }
        done
    }

    /// One command, which follows its key where a cluster says that it went.
    fn ask(
        &self,
        caller: Caller,
        key: &Key,
        command: impl FnOnce(Vec<u8>) -> Cmd,
        deadline: Instant,
    ) -> Result<Value, StoreError> {
        let name = self.name(key);
        let topology = self.topology(caller, deadline)?;
        let node = topology.of(&name)?;
        let command = command(name);
        let mut answers = self.exchange(caller, node, std::slice::from_ref(&command), deadline)?;
        if let Some(Value::ServerError(error)) = answers.first() {
            let Some(to) = redirect(error, &node.address().place) else {
                return Err(refusal(error));
            };
            let node = self.elsewhere(caller, &topology, node, &to)?;
            let mut commands = Vec::with_capacity(2);
            if to.ask {
                commands.push(cmd("ASKING"));
            }
            commands.push(command);
            answers = self.exchange(caller, &node, &commands, deadline)?;
        }
        match answers.pop() {
            Some(Value::ServerError(error)) => Err(refusal(&error)),
            Some(answer) => Ok(answer),
            None => Err(nonsense("no answer")),
        }
    }

    /// The node to which a redirection leads. Only the worker may meet a new one.
    fn elsewhere(
        &self,
        caller: Caller,
        topology: &Topology,
        from: &Node,
        to: &Redirect,
    ) -> Result<Arc<Node>, StoreError> {
        if !to.ask {
            self.mark(true);
        }
        if let Some(node) = topology.at(&to.place) {
            return Ok(node.clone());
        }
        if caller == Caller::Handshake {
            let why = "the key is at a node that is not connected";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        let mut address = from.address().clone();
        address.place = to.place.clone();
        Ok(Arc::new(Pool::new(address, 0)))
    }
}

fn millis(ttl: Duration) -> u64 {
    (ttl.min(LONGEST).as_millis() as u64).max(1)
}

fn put(name: Vec<u8>, record: &[u8], ttl: Duration) -> Cmd {
    cmd("SET")
        .arg(name)
        .arg(record)
        .arg("PX")
        .arg(millis(ttl))
        .take()
}

fn record(answer: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match answer {
        Value::BulkString(record) => Ok(Some(record)),
        Value::Nil => Ok(None),
        _ => Err(nonsense("neither a record nor none")),
    }
}

impl ExternalStore for Redis {
    fn get(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let get = |name| cmd("GET").arg(name).take();
        record(self.ask(Caller::Handshake, key, get, deadline)?)
    }

    fn take(&self, key: &Key, deadline: Instant) -> Result<Option<Vec<u8>>, StoreError> {
        let take = |name| cmd("GETDEL").arg(name).take();
        record(self.ask(Caller::Handshake, key, take, deadline)?)
    }

    fn claim(&self, key: &Key, ttl: Duration, deadline: Instant) -> Result<bool, StoreError> {
        let claim = |name| put(name, b"1", ttl).arg("NX").take();
        match self.ask(Caller::Handshake, key, claim, deadline)? {
            Value::Okay => Ok(true),
            Value::Nil => Ok(false),
            _ => Err(nonsense("neither claimed nor not")),
        }
    }

    /// One round trip; in a cluster one for each node, and one more for what was moved meanwhile.
    fn write(&self, batch: &[Write<'_>], deadline: Instant) -> Result<(), StoreError> {
        let commands: Vec<(Vec<u8>, Cmd)> = batch
            .iter()
            .map(|step| match *step {
                Write::Put { key, record, ttl } => {
                    let name = self.name(key);
                    (name.clone(), put(name, record, ttl))
                }
                Write::Remove { key } => {
                    let name = self.name(key);
                    (name.clone(), cmd("DEL").arg(&name).take())
                }
            })
            .collect();
        self.write_all(&commands, deadline)
    }

    fn counter(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        let get = |name| cmd("GET").arg(name).take();
        match record(self.ask(Caller::Worker, key, get, deadline)?)? {
            None => Ok(0),
            Some(digits) => std::str::from_utf8(&digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(|| nonsense("a counter that is not a number")),
        }
    }

    fn increment(&self, key: &Key, deadline: Instant) -> Result<u64, StoreError> {
        let increment = |name| cmd("INCR").arg(name).take();
        match self.ask(Caller::Worker, key, increment, deadline)? {
            Value::Int(value) => u64::try_from(value).map_err(|_| nonsense("a counter below zero")),
            _ => Err(nonsense("a counter that is not a number")),
        }
    }

    /// Finds the servers again, and looks at every connection. In a cluster those who have most of the slots must answer.
    fn probe(&self, deadline: Instant) -> Result<(), StoreError> {
        let now = Instant::now();
        let half = now + deadline.saturating_duration_since(now) / 2;
        let found = self.discover(half);
        let topology = match (found, self.topology.load()) {
            (Ok(found), _) => found,
            // The sentinels may be away, and the master not.
            (Err(_), Some(known)) => known,
            (Err(error), None) => return Err(error),
        };
        // Who answered last goes first: nodes that are gone must not use up the time.
        let mut nodes: Vec<&Arc<Node>> = topology.nodes.iter().collect();
        nodes.sort_by_key(|node| !node.stands());
        let mut first_error = None;
        let mut gone = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / (nodes.len() - index) as u32;
            if let Err(error) = node.check(now + share) {
                first_error.get_or_insert(error);
                gone.push(Arc::as_ptr(node));
            }
        }
        match first_error {
            Some(error) if !topology.mostly(|node| !gone.contains(&Arc::as_ptr(node))) => {
                Err(error)
            }
            Some(_) => {
                self.mark(true);
                Ok(())
            }
            None => Ok(()),
        }
    }
}
