//! What libssl and libcrypto free without having wiped it: their allocator's functions are replaced by some that look.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::scan::Wanted;
use super::secret::Secret;

/// What is looked for in each block that is freed, and where in the library blocks were freed that had it.
static WATCH: Mutex<(Vec<Wanted>, Vec<String>)> = Mutex::new((Vec::new(), Vec::new()));

type Malloc = unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void;
type Realloc = unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void, *const c_char, c_int);

unsafe extern "C" {
    fn CRYPTO_set_mem_functions(malloc: Malloc, realloc: Realloc, free: Free) -> c_int;
    fn malloc(size: usize) -> *mut c_void;
    fn realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
    fn malloc_usable_size(block: *mut c_void) -> usize;
}

unsafe extern "C" fn new(size: usize, _: *const c_char, _: c_int) -> *mut c_void {
    // SAFETY: passed on.
    unsafe { malloc(size) }
}

unsafe extern "C" fn resize(
    block: *mut c_void,
    size: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    // The block may move, and leave its old place as it is.
    look(block, file, line);
    // SAFETY: passed on.
    unsafe { realloc(block, size) }
}

unsafe extern "C" fn end(block: *mut c_void, file: *const c_char, line: c_int) {
    look(block, file, line);
    // SAFETY: passed on.
    unsafe { free(block) }
}

fn watch() -> MutexGuard<'static, (Vec<Wanted>, Vec<String>)> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

fn look(block: *mut c_void, file: *const c_char, line: c_int) {
    let mut watch = watch();
    let (wanted, found) = &mut *watch;
    if block.is_null() || wanted.is_empty() {
        return;
    }
    // SAFETY: a block that is still allocated, this large.
    let bytes =
        unsafe { std::slice::from_raw_parts(block.cast::<u8>(), malloc_usable_size(block)) };
    if wanted.iter().any(|wanted| wanted.is_in(bytes)) {
        // SAFETY: the library's name of its own source.
        let file = unsafe { CStr::from_ptr(file) }.to_string_lossy();
        found.push(format!("{file}:{line}"));
    }
}

/// Has the libraries' blocks looked at from here on. Before libcrypto allocates anything.
pub(crate) fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    // SAFETY: the functions are malloc's and free's own.
    INSTALLED.get_or_init(|| unsafe {
        assert_eq!(CRYPTO_set_mem_functions(new, resize, end), 1);
    });
}

/// Where blocks with one of these secrets in them are freed while `f` runs.
pub(crate) fn unwiped<'a>(
    secrets: impl IntoIterator<Item = &'a Secret>,
    f: impl FnOnce(),
) -> Vec<String> {
    *watch() = (secrets.into_iter().map(Wanted::new).collect(), Vec::new());
    f();
    std::mem::take(&mut *watch()).1
}
