//! The facade: the one file that names std's atomics and threads, loom or shuttle.
//!
//! Everything else says `crate::sync`, so the code that ships is the code that the models run. Three arms:
//!
//! | cfg | atomics, locks, threads | used by |
//! |---|---|---|
//! | none | std | everybody |
//! | `refrain_loom` | loom | `loom-tests`: weak memory, small models, every interleaving within a bound |
//! | `refrain_shuttle` | shuttle | `loom-tests`: sequential consistency, larger models, very many schedules |
//!
//! `refrain_modelled` leaves std in place, and changes only what stands between it and strict provenance: the
//! [reclamation](crate::reclaim) and [`SharedCell`] are those of the models. It is for Miri.
//!
//! `Arc` is std's in every arm: the races of interest are the engine's own reference counts, not std's.

#[cfg(not(any(refrain_loom, refrain_shuttle)))]
mod imp {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) mod atomic {
        #[cfg(any(not(target_arch = "x86_64"), miri, refrain_modelled))]
        pub(crate) use std::sync::atomic::fence;
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
            compiler_fence,
        };
    }
    pub(crate) mod thread {
        pub(crate) use std::thread::{
            Builder, JoinHandle, Thread, current, park_timeout, sleep, yield_now,
        };
        std::thread_local! {
            /// Whether this thread is one of a cache's own.
            pub(crate) static OURS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
        }
    }
}

#[cfg(refrain_loom)]
mod imp {
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
        };
    }
    pub(crate) mod thread {
        use std::cell::Cell;
        use std::sync::Arc;

        pub(crate) use loom::thread::{Builder, JoinHandle, yield_now};

        loom::thread_local! {
            pub(crate) static OURS: Cell<bool> = Cell::new(false);
            static TIMED_OUT: Cell<bool> = Cell::new(false);
            static TOKEN: Arc<Token> = Arc::default();
        }

        /// What an `unpark` leaves for a `park`.
        type Token = (loom::sync::Mutex<bool>, loom::sync::Condvar);

        /// A thread to be woken. loom 0.7.2 has one, but its `unpark` lets a thread that waits for a lock go on without
        /// it, and is forgotten if it finds one that is about to get a lock.
        #[derive(Clone, Debug)]
        pub(crate) struct Thread(Arc<Token>);

        pub(crate) fn current() -> Thread {
            Thread(TOKEN.with(Arc::clone))
        }

        impl Thread {
            pub(crate) fn unpark(&self) {
                let (there, news) = &*self.0;
                *there.lock().unwrap() = true;
                news.notify_one();
            }
        }

        /// The time is up once, at any moment. After that, who is not woken sleeps for good: loom then tells of it.
        pub(crate) fn park_timeout(_: std::time::Duration) {
            if TIMED_OUT.with(|before| !before.replace(true)) {
                yield_now();
                return;
            }
            let token = TOKEN.with(Arc::clone);
            let (there, news) = &*token;
            let mut there = there.lock().unwrap();
            while !std::mem::take(&mut *there) {
                there = news.wait(there).unwrap();
            }
        }

        pub(crate) fn sleep(_: std::time::Duration) {
            yield_now();
        }
    }
}

#[cfg(refrain_shuttle)]
mod imp {
    pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};
    pub(crate) mod atomic {
        pub(crate) use shuttle::sync::atomic::{
            AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
        };
    }
    pub(crate) mod thread {
        pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, current, yield_now};
        shuttle::thread_local! {
            pub(crate) static OURS: std::cell::Cell<bool> = std::cell::Cell::new(false);
            static TIMED_OUT: std::cell::Cell<bool> = std::cell::Cell::new(false);
        }
        /// The time is up once, at any moment. After that, who is not woken sleeps for good: shuttle then
        /// tells of it.
        pub(crate) fn park_timeout(_: std::time::Duration) {
            if TIMED_OUT.with(|before| !before.replace(true)) {
                yield_now();
            } else {
                shuttle::thread::park();
            }
        }
        pub(crate) fn sleep(_: std::time::Duration) {
            yield_now();
        }
    }
}

#[cfg(not(refrain_modelled))]
pub(crate) mod asymmetric;
mod home;
mod numbers;

pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use home::Home;
pub(crate) use imp::{Condvar, Mutex, MutexGuard, atomic, thread};
#[cfg(not(any(refrain_loom, refrain_shuttle)))]
pub(crate) use numbers::for_each_free_number;
pub(crate) use numbers::{THREAD_NUMBERS, thread_number};

/// Whether this is a build for the checkers, where structures and efforts are small so that every case is seen.
pub(crate) const MODEL: bool = cfg!(any(refrain_loom, refrain_shuttle));

/// Locks a mutex whose critical sections leave nothing half done, so that poison carries no news.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A sequentially consistent fence right behind an atomic read-modify-write of the same thread.
///
/// On x86 that operation is a locked instruction, which already orders everything before it against everything after
/// it, so only the compiler has to be held back; elsewhere, under the models and under Miri it is a real fence. The
/// standard's memory model does not know this fact about x86, so the shortcut is confined to this function.
#[inline(always)]
pub(crate) fn fence_after_rmw() {
    // ORDERING: SeqCst. The partner is the same fence in the other operation of a store-then-load pair; each call
    // site names it.
    #[cfg(all(target_arch = "x86_64", not(any(refrain_loom, refrain_shuttle, miri))))]
    atomic::compiler_fence(atomic::Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(any(refrain_loom, refrain_shuttle, miri)))))]
    atomic::fence(atomic::Ordering::SeqCst);
}

/// Asks for the cache line at an address, which need not be valid, and does not wait for it.
#[inline(always)]
pub(crate) fn prefetch<T>(_at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch has no effect but on caches.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(_at.cast());
    }
}

/// As [`prefetch`], in order to write.
#[inline(always)]
pub(crate) fn prefetch_to_write<T>(_at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above. An instruction of every such processor, if only as one that does nothing; the intrinsic makes it one that
    // prefetches to read, unless the build is for newer ones only.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) _at, options(nostack, preserves_flags));
    }
}

/// A cell that holds an optional shared value and can be replaced while others read it.
///
/// Outside the models it is an [`arc_swap::ArcSwapOption`], which has no loom support, and makes a pointer of a number
/// where a reader is helped; a mutex stands in for it there, so the models prove our use of the cell and arc-swap itself
/// is trusted.
#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
#[derive(Debug)]
pub(crate) struct SharedCell<T> {
    value: arc_swap::ArcSwapOption<T>,
    /// Whether there is a value, told without holding it: a reader must not become its last owner by asking.
    set: atomic::AtomicBool,
    swapping: Mutex<()>,
    home: Home,
}

#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
impl<T> SharedCell<T> {
    pub(crate) fn new(value: Option<std::sync::Arc<T>>) -> Self {
        Self {
            set: atomic::AtomicBool::new(value.is_some()),
            value: arc_swap::ArcSwapOption::new(value),
            swapping: Mutex::new(()),
            home: Home::here(),
        }
    }

    pub(crate) fn load(&self) -> Option<std::sync::Arc<T>> {
        self.value.load_full()
    }

    /// The value, until what is returned is dropped: as a rule, without a read-modify-write.
    pub(crate) fn lend(&self) -> Option<Lent<T>> {
        let lent = self.value.load();
        lent.is_some().then(|| Lent(lent))
    }

    pub(crate) fn is_set(&self) -> bool {
        // ORDERING: Relaxed. A hint; who acts on it loads the value.
        self.set.load(atomic::Ordering::Relaxed)
    }

    pub(crate) fn swap(&self, value: Option<std::sync::Arc<T>>) -> Option<std::sync::Arc<T>> {
        // In a forked child that does not get it, nobody else is at it.
        let _one_at_a_time = self.home.lock(&self.swapping);
        // ORDERING: Relaxed, as in `is_set`.
        self.set.store(value.is_some(), atomic::Ordering::Relaxed);
        self.value.swap(value)
    }
}

/// A value that is there.
#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
pub(crate) struct Lent<T>(arc_swap::Guard<Option<std::sync::Arc<T>>>);

#[cfg(not(any(refrain_loom, refrain_shuttle, refrain_modelled)))]
impl<T> std::ops::Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().expect("it was looked at before")
    }
}

#[cfg(any(refrain_loom, refrain_shuttle, refrain_modelled))]
#[derive(Debug)]
pub(crate) struct SharedCell<T>(Mutex<Option<std::sync::Arc<T>>>);

#[cfg(any(refrain_loom, refrain_shuttle, refrain_modelled))]
impl<T> SharedCell<T> {
    pub(crate) fn new(value: Option<std::sync::Arc<T>>) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn load(&self) -> Option<std::sync::Arc<T>> {
        self.lend()
    }

    pub(crate) fn lend(&self) -> Option<std::sync::Arc<T>> {
        lock(&self.0).clone()
    }

    pub(crate) fn is_set(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(crate) fn swap(&self, value: Option<std::sync::Arc<T>>) -> Option<std::sync::Arc<T>> {
        std::mem::replace(&mut *lock(&self.0), value)
    }
}

impl<T: Clone> SharedCell<T> {
    /// Puts a value in and returns the one before, which others may still be using.
    pub(crate) fn replace(&self, value: Option<T>) -> Option<T> {
        self.swap(value.map(std::sync::Arc::new))
            .map(|old| T::clone(&old))
    }
}

/// A statistic, or the source of unique numbers: never a part of a protocol, so always std's atomic, which keeps it
/// out of the models' state space.
#[derive(Debug, Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) const fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    /// Adds to a counter that several threads write; returns the value before.
    #[inline]
    pub(crate) fn add(&self, n: u64) -> u64 {
        // ORDERING: Relaxed. A count orders nothing; readers want exact sums once the writers are quiet.
        self.0.fetch_add(n, std::sync::atomic::Ordering::Relaxed)
    }

    /// Takes back what was added.
    #[cfg(not(any(refrain_loom, refrain_shuttle)))]
    #[inline]
    pub(crate) fn sub(&self, n: u64) {
        // ORDERING: Relaxed, as in `add`.
        self.0.fetch_sub(n, std::sync::atomic::Ordering::Relaxed);
    }

    /// Adds one to a counter that only the calling thread writes: a load and a store, no locked instruction.
    #[inline]
    pub(crate) fn bump_owned(&self) {
        // ORDERING: Relaxed, as in `add`; without a second writer nothing can be lost between the two.
        let value = self.0.load(std::sync::atomic::Ordering::Relaxed);
        self.0
            .store(value.wrapping_add(1), std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        // ORDERING: Relaxed, as in `add`.
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Whether a session's memory may still be read: a marker that each session carries in the models, and nothing at all
/// elsewhere.
///
/// Under loom it is an `UnsafeCell`, so a read that does not happen before the end of the session is reported as a
/// race even where it comes earlier in time. [`check`](Self::check) panics on a read after the end. The memory itself
/// is never handed back to the allocator in a model, so that such a read finds the marker.
#[derive(Debug)]
pub(crate) struct Alive {
    #[cfg(refrain_loom)]
    cell: loom::cell::UnsafeCell<bool>,
    #[cfg(refrain_shuttle)]
    cell: std::cell::Cell<bool>,
}

#[cfg(any(refrain_loom, refrain_shuttle))]
std::thread_local! {
    /// Sessions born and not yet ended on this test's OS thread. Both checkers run all threads of a model on the
    /// thread that called them, and run models one after the other there.
    static LIVE_SESSIONS: std::cell::Cell<i64> = const { std::cell::Cell::new(0) };
}

#[cfg(any(refrain_loom, refrain_shuttle))]
pub(crate) fn live_sessions() -> i64 {
    LIVE_SESSIONS.get()
}

#[cfg(any(refrain_loom, refrain_shuttle))]
pub(crate) fn forget_live_sessions() {
    LIVE_SESSIONS.set(0);
}

impl Alive {
    pub(crate) fn new() -> Self {
        #[cfg(any(refrain_loom, refrain_shuttle))]
        LIVE_SESSIONS.set(LIVE_SESSIONS.get() + 1);
        Self {
            #[cfg(refrain_loom)]
            cell: loom::cell::UnsafeCell::new(true),
            #[cfg(refrain_shuttle)]
            cell: std::cell::Cell::new(true),
        }
    }

    #[inline(always)]
    pub(crate) fn check(&self) {
        #[cfg(refrain_loom)]
        self.cell.with(|alive| {
            // SAFETY: loom verifies that no write to the cell races with this read, and panics otherwise.
            let alive = unsafe { *alive };
            assert!(alive, "a session was read after it had been freed");
        });
        #[cfg(refrain_shuttle)]
        assert!(
            self.cell.get(),
            "a session was read after it had been freed"
        );
    }

    #[inline(always)]
    pub(crate) fn end(&self) {
        #[cfg(refrain_loom)]
        self.cell.with_mut(|alive| {
            // SAFETY: loom verifies that no access to the cell races with this one, and panics otherwise.
            let was_alive = std::mem::replace(unsafe { &mut *alive }, false);
            assert!(was_alive, "a session was freed twice");
        });
        #[cfg(refrain_shuttle)]
        assert!(self.cell.replace(false), "a session was freed twice");
        #[cfg(any(refrain_loom, refrain_shuttle))]
        LIVE_SESSIONS.set(LIVE_SESSIONS.get() - 1);
    }
}

/// Marks the calling thread as one of a cache's own, which must never wait for another of them.
pub(crate) fn mark_own_thread() {
    thread::OURS.with(|mark| mark.set(true));
}

/// Whether the calling thread is some cache's own.
pub(crate) fn is_own_thread() -> bool {
    thread::OURS.with(std::cell::Cell::get)
}

/// A number that no other living thread has, never zero: an address of the thread's own, and the process. Unlike a thread's
/// id, it can be asked for while the thread's destructors run. A system call.
///
/// Without the process, a thread that a forked child starts could be taken for one of its parent's, whose memory it got.
pub(crate) fn thread_token() -> u64 {
    let address = thread::OURS.with(|mark| std::ptr::from_ref(mark).addr() as u64);
    address ^ Home::here().mark()
}
