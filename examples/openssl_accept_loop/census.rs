//! How many `SSL_SESSION` objects libssl has made and freed in this process. The clients are not libssl's, so all are the
//! server's.

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::output::Failure;

static MADE: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// The class of application data that hangs on `SSL_SESSION`s.
const CRYPTO_EX_INDEX_SSL_SESSION: c_int = 2;

/// The type of both of libssl's callbacks, `CRYPTO_EX_new` and `CRYPTO_EX_free`.
type Callback =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, c_int, c_long, *mut c_void);

unsafe extern "C" {
    fn CRYPTO_get_ex_new_index(
        class: c_int,
        argl: c_long,
        argp: *mut c_void,
        new: Option<Callback>,
        dup: Option<unsafe extern "C" fn()>,
        free: Option<Callback>,
    ) -> c_int;
}

unsafe extern "C" fn count_made(
    _session: *mut c_void,
    _data: *mut c_void,
    _all_data: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    MADE.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn count_freed(
    _session: *mut c_void,
    _data: *mut c_void,
    _all_data: *mut c_void,
    _index: c_int,
    _argl: c_long,
    _argp: *mut c_void,
) {
    FREED.fetch_add(1, Ordering::Relaxed);
}

/// Begins to count. No session may have been made before.
pub(crate) fn begin() -> Result<(), Failure> {
    static INDEX: OnceLock<c_int> = OnceLock::new();
    let index = *INDEX.get_or_init(|| {
        // SAFETY: the callbacks have the types that libssl calls them with, touch none of their arguments, and live as
        // long as the process. Nothing is to be duplicated.
        unsafe {
            CRYPTO_get_ex_new_index(
                CRYPTO_EX_INDEX_SSL_SESSION,
                0,
                ptr::null_mut(),
                Some(count_made),
                None,
                Some(count_freed),
            )
        }
    });
    if index < 0 {
        return Err(Failure::broken("libssl has no memory left".to_owned()));
    }
    Ok(())
}

/// The objects made and freed since.
pub(crate) fn counts() -> (u64, u64) {
    (MADE.load(Ordering::Relaxed), FREED.load(Ordering::Relaxed))
}
