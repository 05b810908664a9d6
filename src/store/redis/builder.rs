//! Where a Redis is, and how it is to be used.

use std::fmt;
use std::sync::Arc;

use ::redis::{ConnectionAddr, IntoConnectionInfo};
use rustls::ClientConfig;

use crate::store::address::AddressError;
use crate::store::redis::Redis;
use crate::store::redis::link::{Address, Login};
use crate::store::redis::site::Site;
use crate::store::wire::Place;

/// Connections for handshakes to each server, unless told otherwise.
pub(super) const CONNECTIONS: usize = 8;
/// What all keys begin with, unless told otherwise.
pub(super) const PREFIX: &str = "refrain:";

/// Settings of a [`Redis`] before it is built.
#[must_use]
pub struct RedisBuilder {
    addresses: Vec<Address>,
    kind: Kind,
    /// Whether the URLs ask for TLS.
    secure: bool,
    tls: Option<Arc<ClientConfig>>,
    user: Option<String>,
    password: Option<String>,
    database: Option<i64>,
    connections: usize,
    prefix: Vec<u8>,
}

enum Kind {
    Alone,
    Sentinel(String),
    Cluster,
}

impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl RedisBuilder {
    pub(super) fn alone(url: &str) -> Result<Self, AddressError> {
        Self::new(&[url], Kind::Alone)
    }

    pub(super) fn sentinel(urls: &[&str], name: &str) -> Result<Self, AddressError> {
        Self::new(urls, Kind::Sentinel(name.to_owned()))
    }

    pub(super) fn cluster(urls: &[&str]) -> Result<Self, AddressError> {
        Self::new(urls, Kind::Cluster)
    }

    fn new(urls: &[&str], kind: Kind) -> Result<Self, AddressError> {
        let parsed: Vec<_> = urls
            .iter()
            .map(|url| parse(url))
            .collect::<Result<_, _>>()?;
        let Some(&(_, secure)) = parsed.first() else {
            return Err(AddressError::new("there is none"));
        };
        if parsed.iter().any(|&(_, other)| other != secure) {
            return Err(AddressError::new("some ask for TLS, and some do not"));
        }
        Ok(Self {
            addresses: parsed.into_iter().map(|(address, _)| address).collect(),
            kind,
            secure,
            tls: None,
            user: None,
            password: None,
            database: None,
            connections: CONNECTIONS,
            prefix: PREFIX.as_bytes().to_vec(),
        })
    }

    /// TLS to all servers, by this configuration: its roots decide whom to trust, its provider is the application's choice.
    /// It goes with `rediss://`, and only with it.
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// The user, in place of the URL's. With Sentinel, this is the user at the master; the URLs name those at the sentinels.
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// The password, in place of the URL's. With Sentinel, this is the one at the master.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// The number of the database, in place of the URL's. A cluster only has the first, 0.
    pub fn database(mut self, database: u16) -> Self {
        self.database = Some(i64::from(database));
        self
    }

    /// How many handshakes can ask a server at once, 8 by default; one more is told that none is free. The worker has a
    /// connection of its own besides.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// What all keys begin with, `refrain:` by default.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.as_bytes().to_vec();
        self
    }

    /// The store. It connects nothing: that is done by the first call of the worker's, be it a probe or a write.
    ///
    /// # Errors
    ///
    /// If `rediss://` and [`tls`](Self::tls) do not go together, or there is to be no connection at all.
    pub fn build(self) -> Result<Redis, AddressError> {
        match (self.secure, &self.tls) {
            (true, None) => {
                return Err(AddressError::new("rediss:// needs a configuration of TLS"));
            }
            (false, Some(_)) => {
                return Err(AddressError::new(
                    "there is a configuration of TLS, and the address is not rediss://",
                ));
            }
            _ => {}
        }
        if self.connections == 0 {
            return Err(AddressError::new("no connections are to be made"));
        }
        let mut addresses = self.addresses;
        for address in &mut addresses {
            address.tls = self.tls.clone();
        }
        let enter = |login: &mut Login| {
            if self.user.is_some() {
                login.user.clone_from(&self.user);
            }
            if self.password.is_some() {
                login.password.clone_from(&self.password);
            }
            login.database = self.database.unwrap_or(login.database);
        };
        let site = match self.kind {
            Kind::Sentinel(name) => {
                let mut master = addresses[0].clone();
                master.login = Login::default();
                enter(&mut master.login);
                master.master = true;
                Site::Sentinel {
                    sentinels: addresses,
                    name,
                    master,
                }
            }
            Kind::Alone => {
                let mut address = addresses.swap_remove(0);
                enter(&mut address.login);
                Site::Alone(address)
            }
            Kind::Cluster => {
                for address in &mut addresses {
                    enter(&mut address.login);
                    if address.login.database != 0 {
                        return Err(AddressError::new("a cluster only has the database 0"));
                    }
                }
                Site::Cluster(addresses)
            }
        };
        Ok(Redis::new(site, self.connections, self.prefix))
    }
}

/// Reads a URL, and whether it asks for TLS. The crate redis reads all but that, which it only does with a TLS of its own.
fn parse(url: &str) -> Result<(Address, bool), AddressError> {
    let (plain, secure) = match url.split_once("://") {
        Some(("rediss" | "valkeys", rest)) => (format!("redis://{rest}"), true),
        _ => (url.to_owned(), false),
    };
    // The error is told without the URL: that may hold a password.
    let info = plain
        .as_str()
        .into_connection_info()
        .map_err(|error| AddressError::new(error.to_string()))?;
    let place = match info.addr() {
        ConnectionAddr::Tcp(host, port) => Place::Tcp(host.clone(), *port),
        ConnectionAddr::Unix(path) => Place::Unix(path.clone()),
        _ => return Err(AddressError::new("neither TCP nor a socket")),
    };
    let settings = info.redis_settings();
    let login = Login {
        user: settings.username().map(str::to_owned),
        password: settings.password().map(str::to_owned),
        database: settings.db(),
    };
    if login.user.is_some() && login.password.is_none() {
        return Err(AddressError::new("a user without a password"));
    }
    Ok((
        Address {
            place,
            tls: None,
            login,
            master: false,
        },
        secure,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let (address, secure) = parse("rediss://me:se%2fcret@host:7000/3").unwrap();
        assert!(secure);
        assert_eq!(address.place, Place::Tcp("host".to_owned(), 7000));
        assert_eq!(address.login.user.as_deref(), Some("me"));
        assert_eq!(address.login.password.as_deref(), Some("se/cret"));
        assert_eq!(address.login.database, 3);
        let (address, secure) = parse("redis://:pass@[::1]").unwrap();
        assert!(!secure);
        assert_eq!(address.place, Place::Tcp("::1".to_owned(), 6379));
        assert_eq!(address.login.user, None);
        let (address, _) = parse("redis+unix:///run/redis.sock?pass=x").unwrap();
        assert_eq!(address.place, Place::Unix("/run/redis.sock".into()));
    }

    #[test]
    fn what_can_not_be_used_is_told_without_the_password() {
        for url in [
            "",
            "nonsense",
            "http://h:pass@host",
            "redis://h:pass@host:port",
            "redis://h:pass@/x",
        ] {
            let error = parse(url).err().unwrap();
            assert!(!error.to_string().contains("pass"), "{error}");
        }
        assert!(RedisBuilder::cluster(&[]).is_err());
        assert!(RedisBuilder::cluster(&["redis://a", "rediss://b"]).is_err());
        assert!(RedisBuilder::alone("rediss://a").unwrap().build().is_err());
        let none = RedisBuilder::alone("redis://a").unwrap().connections(0);
        assert!(none.build().is_err());
        let second = RedisBuilder::cluster(&["redis://a/1"]).unwrap();
        assert!(second.build().is_err());
    }
}
