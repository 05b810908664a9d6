//! A store that servers share by way of the callbacks, and that lets its sessions grow older.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use openssl::ssl::SslContext;
use refrain::{Builder, Session, SessionCache};

use super::common::Rig;
use super::party::server;

/// What a store knows of a session.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) name: Option<String>,
    pub(crate) state: Vec<u8>,
}

/// What a store was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) single_use: bool,
    pub(crate) name: Option<String>,
}

#[derive(Default)]
pub(crate) struct Shelves {
    /// By id.
    pub(crate) sessions: HashMap<Vec<u8>, Kept>,
    pub(crate) asked: Vec<Asked>,
}

/// It hands out once what is for single use.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Shelves>>);

/// How many bytes stand behind the DER of a session: when its authentication ends, in seconds since 1970.
const UNTIL: usize = 8;

impl Store {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.0.lock().unwrap()
    }

    /// A server with a cache of its own on this store.
    pub(crate) fn node(&self) -> (Rig, SslContext) {
        let rig = self.rig(SessionCache::builder());
        let server = server(&rig.cache);
        (rig, server)
    }

    /// A cache on this store.
    pub(crate) fn rig(&self, builder: Builder) -> Rig {
        let (write, read) = (self.clone(), self.clone());
        let builder = builder
            .on_new(move |session| {
                let kept = Kept {
                    name: session.server_name().map(str::to_owned),
                    state: session.payload().to_vec(),
                };
                write.lock().sessions.insert(session.id().to_vec(), kept);
                true
            })
            .on_get(move |lookup| {
                let mut shelves = read.lock();
                shelves.asked.push(Asked {
                    single_use: lookup.single_use,
                    name: lookup.server_name.map(str::to_owned),
                });
                let key = lookup.id.as_bytes();
                let kept = if lookup.single_use {
                    shelves.sessions.remove(key)?
                } else {
                    shelves.sessions.get(key).cloned()?
                };
                let builder = Session::builder(lookup.context, *lookup.id);
                match &kept.name {
                    Some(name) => builder.server_name(name).build(&kept.state).ok(),
                    None => builder.build(&kept.state).ok(),
                }
            });
        Rig::with(builder)
    }

    /// Lets so many seconds pass for all of its sessions: they, and what authenticated them, are so much older.
    pub(crate) fn age(&self, seconds: u32) {
        for kept in self.lock().sessions.values_mut() {
            age(&mut kept.state, seconds);
            if let Some(until) = until(&kept.state) {
                let end = kept.state.len() - UNTIL;
                let older = until - i64::from(seconds);
                kept.state[end..].copy_from_slice(&older.to_be_bytes());
            }
        }
    }

    /// Makes its sessions what libssl alone would have put here: DER, and nothing behind it.
    pub(crate) fn forget_authentications(&self) {
        for kept in self.lock().sessions.values_mut() {
            assert!(until(&kept.state).is_some());
            let end = kept.state.len() - UNTIL;
            kept.state.truncate(end);
        }
    }
}

/// Makes the session so many seconds older, by its own account.
fn age(state: &mut [u8], seconds: u32) {
    let time = state.windows(4).position(|w| w == [0xa1, 6, 2, 4]).unwrap() + 4;
    let made = u32::from_be_bytes(state[time..time + 4].try_into().unwrap());
    state[time..time + 4].copy_from_slice(&(made - seconds).to_be_bytes());
}

/// What stands behind the DER, if anything does. A session's DER has a length of two bytes, or of one.
fn until(state: &[u8]) -> Option<i64> {
    let len = match state[1] {
        0x82 => 4 + usize::from(u16::from_be_bytes([state[2], state[3]])),
        0x81 => 3 + usize::from(state[2]),
        short => 2 + usize::from(short),
    };
    let behind = state[len..].try_into().ok();
    behind.map(i64::from_be_bytes)
}
