//! What the callbacks of one cache have seen and are told to do, whoever calls them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;

use openssl::ssl::SslSession;

use crate::books::Books;

/// What a remove callback does besides being counted.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// One call of a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) what: What,
    pub(crate) id: Vec<u8>,
    pub(crate) thread: ThreadId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    New,
    Remove,
    Get,
}

#[derive(Default)]
pub(crate) struct Log {
    new: AtomicI64,
    remove: AtomicI64,
    get: AtomicI64,
    calls: Mutex<Vec<Call>>,
    /// The new callback answers 0.
    refuses: AtomicBool,
    on_remove: Mutex<Option<Hook>>,
    /// What the get callback answers.
    supply: Mutex<Option<SslSession>>,
    /// The bytes of the sessions that the new callback has seen, by their ids: an external store.
    bytes: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// The sessions that the new callback was given, where they are to be kept.
    kept: Mutex<Option<Vec<SslSession>>>,
}

impl Log {
    /// Counts and notes a call, on the thread that makes it.
    pub(crate) fn note(&self, what: What, id: &[u8]) {
        match what {
            What::New => &self.new,
            What::Remove => &self.remove,
            What::Get => &self.get,
        }
        .fetch_add(1, SeqCst);
        lock(&self.calls).push(Call {
            what,
            id: id.to_vec(),
            thread: std::thread::current().id(),
        });
        if what == What::Remove {
            let hook = lock(&self.on_remove).clone();
            if let Some(hook) = hook {
                hook();
            }
        }
    }

    /// The three numbers of calls.
    pub(crate) fn books(&self) -> Books {
        Books {
            new: self.new.load(SeqCst),
            remove: self.remove.load(SeqCst),
            get: self.get.load(SeqCst),
            ..Books::NONE
        }
    }

    /// All calls since the last time.
    pub(crate) fn drain(&self) -> Vec<Call> {
        std::mem::take(&mut *lock(&self.calls))
    }

    /// The ids of the remove callback's calls since the last time, in order; other calls are forgotten.
    pub(crate) fn removed(&self) -> Vec<Vec<u8>> {
        self.drain()
            .into_iter()
            .filter(|call| call.what == What::Remove)
            .map(|call| call.id)
            .collect()
    }

    /// Whether the new callback answers that it keeps no reference.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses.load(SeqCst)
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, SeqCst);
    }

    /// What the get callback is to answer from now on.
    pub(crate) fn set_supply(&self, session: Option<SslSession>) {
        *lock(&self.supply) = session;
    }

    pub(crate) fn supply(&self) -> Option<SslSession> {
        lock(&self.supply).clone()
    }

    /// Keeps a session's bytes, which stand for it in an external store.
    pub(crate) fn store(&self, id: &[u8], bytes: &[u8]) {
        lock(&self.bytes).insert(id.to_vec(), bytes.to_vec());
    }

    pub(crate) fn stored(&self, id: &[u8]) -> Option<Vec<u8>> {
        lock(&self.bytes).get(id).cloned()
    }

    /// From now on, the new callback keeps what it is given.
    pub(crate) fn keep(&self) {
        *lock(&self.kept) = Some(Vec::new());
    }

    /// Takes the session, if sessions are kept.
    pub(crate) fn offer(&self, session: SslSession) {
        if let Some(kept) = &mut *lock(&self.kept) {
            kept.push(session);
        }
    }

    /// The sessions that were kept since the last time.
    pub(crate) fn take_kept(&self) -> Vec<SslSession> {
        lock(&self.kept)
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    pub(crate) fn hook_remove(&self, hook: Option<Hook>) {
        *lock(&self.on_remove) = hook;
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
