//! Large arrays that begin as zeros, from memory that the system hands out zeroed and untouched.

use crate::error::Error;

/// Types for which a memory of zeros is a value: what `new` makes, too.
///
/// # Safety
///
/// All bytes zero must be a valid value outside the models, and the same as `zero()`.
pub(crate) unsafe trait Zeroed: Sized {
    fn zero() -> Self;
}

/// An array of zeros, whose pages the system supplies when they are first touched.
pub(crate) fn array<T: Zeroed>(len: usize) -> Result<Box<[T]>, Error> {
    let too_large = Error::OutOfMemory {
        bytes: len.saturating_mul(size_of::<T>()),
    };
    // The checkers' atomics are larger and not zeros.
    if crate::sync::MODEL {
        return Ok((0..len).map(|_| T::zero()).collect());
    }
    let layout = std::alloc::Layout::array::<T>(len).map_err(|_| too_large.clone())?;
    if layout.size() == 0 {
        return Ok(Box::new([]));
    }
    // SAFETY: the layout's size is not zero.
    let memory = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<T>();
    if memory.is_null() {
        return Err(too_large);
    }
    // SAFETY: allocated by the global allocator with the layout of `[T; len]`, and the trait says that zeros are values.
    Ok(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(memory, len)) })
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use crate::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn zeros_or_an_error() {
        let zeros = array::<AtomicU64>(1000).unwrap();
        // ORDERING: Relaxed; one thread.
        assert!(zeros.iter().all(|n| n.load(Ordering::Relaxed) == 0));
        assert!(array::<AtomicU64>(0).unwrap().is_empty());
        for len in [1 << 59, usize::MAX] {
            // An optimizer may do without memory that nobody looks at.
            let answer = std::hint::black_box(array::<AtomicU64>(len));
            assert!(matches!(answer, Err(Error::OutOfMemory { .. })));
        }
    }
}
