//! A few connections to one server. A handshake finds one that is there and free, or does without; only the worker connects.

use std::sync::TryLockError;
use std::time::Instant;

use crate::store::StoreError;
use crate::sync::{Home, Mutex, MutexGuard, thread_number};

/// A connection to a store.
pub(crate) trait Link: Sized {
    /// Whom to connect to, and as whom.
    type Address;

    /// Connects and logs in.
    fn connect(address: &Self::Address, deadline: Instant) -> Result<Self, StoreError>;

    /// Asks for a sign of life.
    fn ping(&mut self, deadline: Instant) -> Result<(), Failure>;
}

/// Why an exchange failed, and what that means for its connection.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection may go on: the store refused in good order.
    #[cfg_attr(
        not(feature = "memcached"),
        expect(dead_code, reason = "Redis's refusals are answers like others")
    )]
    Sound(StoreError),
    /// An answer may still be on its way, or what came makes no sense: the connection must not be used again.
    Spoilt(StoreError),
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sound(error) | Failure::Spoilt(error) => error,
        }
    }
}

/// On whose behalf the store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A handshake, which waits for nothing but the answer.
    Handshake,
    /// The worker, which may connect.
    Worker,
}

/// The connections to one address. The first is the worker's, the others are the handshakes'.
pub(crate) struct Pool<L: Link> {
    address: L::Address,
    /// A forked child shares its parent's connections: what one of them asks, the other might be answered.
    home: Home,
    slots: Box<[Mutex<Option<L>>]>,
}

impl<L: Link> Pool<L> {
    /// Room for so many handshakes at a time, and for the worker. Connects nothing.
    pub(crate) fn new(address: L::Address, readers: usize) -> Self {
        Self {
            address,
            home: Home::here(),
            slots: (0..=readers).map(|_| Mutex::new(None)).collect(),
        }
    }

    pub(crate) fn address(&self) -> &L::Address {
        &self.address
    }

    /// Has one exchange on a free connection.
    pub(crate) fn run<T>(
        &self,
        caller: Caller,
        deadline: Instant,
        exchange: impl FnOnce(&mut L) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.at_home()?;
        if Instant::now() >= deadline {
            return Err(StoreError::TimedOut);
        }
        let mut slot = match caller {
            Caller::Handshake => self.connected()?,
            Caller::Worker => self.own(deadline)?,
        };
        // Out of its place until it is known to be sound: who panics leaves no connection behind.
        let Some(mut link) = slot.take() else {
            return Err(none_free());
        };
        match exchange(&mut link) {
            Ok(answer) => {
                *slot = Some(link);
                drop(slot);
                if caller == Caller::Worker {
                    self.mend(deadline);
                }
                Ok(answer)
            }
            Err(Failure::Sound(error)) => {
                *slot = Some(link);
                Err(error)
            }
            Err(Failure::Spoilt(error)) => Err(error),
        }
    }

    /// Looks at every connection that nobody uses, and connects where there is none. An error if not even one stands.
    pub(crate) fn check(&self, deadline: Instant) -> Result<(), StoreError> {
        self.at_home()?;
        let mut stands = false;
        let mut first_error = None;
        for slot in &self.slots {
            let Some(mut slot) = free(slot) else {
                continue;
            };
            let checked = match slot.take() {
                Some(mut link) => match link.ping(deadline) {
                    Ok(()) => Ok(link),
                    // It may only have been closed while it was idle.
                    Err(_) => L::connect(&self.address, deadline),
                },
                None => L::connect(&self.address, deadline),
            };
            match checked {
                Ok(link) => {
                    *slot = Some(link);
                    stands = true;
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                    // The worker's own is the first. Where that can't be had, the others need not be tried.
                    if !stands {
                        break;
                    }
                }
            }
        }
        match first_error {
            Some(error) if !stands => Err(error),
            _ if stands => Ok(()),
            _ => Err(none_free()),
        }
    }

    fn at_home(&self) -> Result<(), StoreError> {
        if self.home.is_here() {
            return Ok(());
        }
        let why = "the connections are the parent process's";
        Err(StoreError::Unavailable(why.to_owned()))
    }

    /// Whether any of the connections stands, or is in use.
    #[cfg(feature = "redis")]
    pub(crate) fn stands(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| free(slot).is_none_or(|slot| slot.is_some()))
    }

    /// Connects once more, if a handshake has lost a connection. At most one at a time, so that the worker gets on.
    fn mend(&self, deadline: Instant) {
        for slot in &self.slots[1..] {
            if let Some(mut slot) = free(slot) {
                if slot.is_none() {
                    *slot = L::connect(&self.address, deadline).ok();
                    return;
                }
            }
        }
    }

    /// A connection that stands and that nobody uses.
    fn connected(&self) -> Result<MutexGuard<'_, Option<L>>, StoreError> {
        let readers = &self.slots[1..];
        // Each thread begins elsewhere, so that they seldom meet.
        let first = thread_number().unwrap_or(0);
        for index in 0..readers.len() {
            let slot = &readers[(first + index) % readers.len()];
            if let Some(slot) = free(slot) {
                if slot.is_some() {
                    return Ok(slot);
                }
            }
        }
        Err(none_free())
    }

    /// The worker's own connection, or another that is free; made if need be.
    fn own(&self, deadline: Instant) -> Result<MutexGuard<'_, Option<L>>, StoreError> {
        let mut slot = self.slots.iter().find_map(free).ok_or_else(none_free)?;
        if slot.is_none() {
            *slot = Some(L::connect(&self.address, deadline)?);
        }
        Ok(slot)
    }
}

fn none_free() -> StoreError {
    StoreError::Unavailable("no connection is free".to_owned())
}

/// The slot, unless somebody uses it. Poison carries no news: see `run`.
fn free<L>(slot: &Mutex<Option<L>>) -> Option<MutexGuard<'_, Option<L>>> {
    match slot.try_lock() {
        Ok(slot) => Some(slot),
        Err(TryLockError::Poisoned(slot)) => Some(slot.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
