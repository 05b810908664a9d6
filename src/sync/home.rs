//! The process that something was made in: a fork copies the memory and one thread, and none of the others.
//!
//! In the child, a mutex that one of the others held stays locked for ever, and to join one of them is to wait for ever.
//! What is shared by threads and may be waited for therefore knows its home, and asks for it off the hot path only.

use std::sync::TryLockError;
use std::time::Duration;

use super::{MODEL, Mutex, MutexGuard, lock, thread};

/// Times that a forked child tries a mutex, and the pause in between. The mutexes it is used for are held for less.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(1);

/// A process, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Home(u32);

impl Home {
    /// The calling process. A system call.
    pub(crate) fn here() -> Self {
        // The checkers' executions are all in one.
        Self(if MODEL { 0 } else { std::process::id() })
    }

    /// Whether the calling process is the one that this was made in, and no child of it.
    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }

    /// A number of the process's that leaves most bits of an address alone.
    pub(crate) fn mark(self) -> u64 {
        u64::from(self.0).rotate_right(16)
    }

    /// Locks a mutex that was made in this home. `None` in a forked child, if the mutex does not come free: then it was
    /// held, most likely, by a thread that the child does not have, and what it guards may be half changed.
    pub(crate) fn lock<'a, T>(self, mutex: &'a Mutex<T>) -> Option<MutexGuard<'a, T>> {
        // The checkers have one process, and fewer schedules without the attempt.
        if MODEL {
            return Some(lock(mutex));
        }
        for _ in 0..TRIES {
            match mutex.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poison)) => return Some(poison.into_inner()),
                Err(TryLockError::WouldBlock) if self.is_here() => return Some(lock(mutex)),
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
        None
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn away_from_home_a_mutex_is_not_waited_for_in_vain() {
        let (here, elsewhere) = (Home::here(), Home(0));
        assert!(here.is_here() && !elsewhere.is_here());
        let mutex = Mutex::new(1);
        let held = here.lock(&mutex).unwrap();
        assert!(elsewhere.lock(&mutex).is_none());
        drop(held);
        assert_eq!(elsewhere.lock(&mutex).as_deref(), Some(&1));
    }
}
