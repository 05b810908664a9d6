//! Reference counts, which libssl shows nobody, from outside: libssl calls back when a session object comes and goes.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use foreign_types::ForeignTypeRef;
use openssl::ssl::SslSessionRef;
use refrain::Session;

use crate::ffi;

thread_local! {
    /// Refrain's sessions that were established on this thread.
    static ESTABLISHED: RefCell<Vec<Session>> = const { RefCell::new(Vec::new()) };
    /// Session objects made on this thread, less those freed on it.
    static ALIVE: Cell<i64> = const { Cell::new(0) };
}

/// How many session objects this thread has made and not freed: no reference was lost if a script ends with as many as
/// it began with.
fn alive() -> i64 {
    index();
    ALIVE.get()
}

/// Keeps a handle to a session until the script has ended.
pub(crate) fn witness(session: &Session) {
    ESTABLISHED.with_borrow_mut(|all| all.push(session.clone()));
}

/// Runs a script, which must give up every reference: free every session object of libssl that it makes, and leave the
/// witness's handle as the last one to each of Refrain's that it establishes.
pub(crate) fn leaves_none_alive(script: impl FnOnce()) {
    let before = alive();
    script();
    let established = ESTABLISHED.take();
    assert!(
        established.iter().all(|session| session.references() == 1),
        "sessions to which somebody has kept a reference"
    );
    assert_eq!(
        alive() - before,
        0,
        "session objects that were made and not freed"
    );
}

/// Says whether a session object was freed, which is when its last reference was given up.
#[derive(Clone, Debug)]
pub(crate) struct Watch(Arc<AtomicBool>);

impl Watch {
    /// Watches this object; a duplicate is another one, and not watched.
    pub(crate) fn new(session: &SslSessionRef) -> Self {
        let freed = Arc::new(AtomicBool::new(false));
        let value = Box::into_raw(Box::new(Arc::clone(&freed))).cast();
        // SAFETY: the session is alive, and the index was made for values of this type.
        let set = unsafe { ffi::SSL_SESSION_set_ex_data(session.as_ptr(), index(), value) };
        assert_eq!(set, 1);
        Self(freed)
    }

    pub(crate) fn is_freed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

fn index() -> c_int {
    static INDEX: OnceLock<c_int> = OnceLock::new();
    *INDEX.get_or_init(|| {
        // SAFETY: the functions have the types that libssl calls them by.
        let index = unsafe {
            ffi::CRYPTO_get_ex_new_index(
                ffi::CRYPTO_EX_INDEX_SSL_SESSION,
                0,
                ptr::null_mut(),
                Some(made),
                Some(duplicated),
                Some(freed),
            )
        };
        assert!(index > 0, "no ex_data index");
        index
    })
}

unsafe extern "C" fn made(
    _: *mut c_void,
    _: *mut c_void,
    _: *mut c_void,
    _: c_int,
    _: c_long,
    _: *mut c_void,
) {
    ALIVE.set(ALIVE.get() + 1);
}

unsafe extern "C" fn duplicated(
    _: *mut c_void,
    _: *const c_void,
    value: *mut *mut c_void,
    _: c_int,
    _: c_long,
    _: *mut c_void,
) -> c_int {
    // SAFETY: libssl passes the address of the copied value. The original keeps what it points to.
    unsafe { *value = ptr::null_mut() };
    1
}

unsafe extern "C" fn freed(
    _: *mut c_void,
    value: *mut c_void,
    _: *mut c_void,
    _: c_int,
    _: c_long,
    _: *mut c_void,
) {
    // A thread may free its last session after its thread-locals are gone.
    let _ = ALIVE.try_with(|alive| alive.set(alive.get() - 1));
    if !value.is_null() {
        // SAFETY: the box of `Watch::new`, which is freed with its session, once.
        let watch = unsafe { Box::from_raw(value.cast::<Arc<AtomicBool>>()) };
        watch.store(true, Ordering::SeqCst);
    }
}
