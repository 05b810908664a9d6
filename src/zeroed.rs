//! Large arrays that begin as zeros, from memory that the system hands out zeroed and untouched.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Deref;
use std::ptr::NonNull;

use crate::error::Error;
use crate::sync::MODEL;

/// Types for which a memory of zeros is a value: what `new` makes, too.
///
/// # Safety
///
/// All bytes zero must be a valid value outside the models, and the same as `zero()`.
pub(crate) unsafe trait Zeroed: Sized {
    fn zero() -> Self;
}

/// What an allocator aligns to without being asked. Beyond it, std's own gets memory that may hold anything, and writes all
/// of it to make it zero, which touches every page. Miri believes in no other alignment than what was asked for.
const FREE_ALIGN: usize = if cfg!(miri) { 4096 } else { 8 };

/// An array of zeros, whose pages the system supplies when they are first touched.
#[derive(Debug)]
pub(crate) struct Array<T> {
    items: NonNull<[T]>,
    /// What was allocated: larger than the items where those have to be aligned by hand. `None` for no items, and for the
    /// checkers' array, which is a box.
    block: Option<(NonNull<u8>, Layout)>,
}

// SAFETY: it owns its items, as a box does.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Array<T> {}

impl<T: Zeroed> Array<T> {
    pub(crate) fn new(len: usize) -> Result<Self, Error> {
        // The checkers' atomics are larger and not zeros.
        if MODEL || len == 0 {
            let items = Box::leak((0..len).map(|_| T::zero()).collect());
            return Ok(Self {
                items: NonNull::from(items),
                block: None,
            });
        }
        let too_large = || Error::OutOfMemory {
            bytes: len.saturating_mul(size_of::<T>()),
        };
        let layout = Layout::array::<T>(len).map_err(|_| too_large())?;
        let surplus = layout.align().saturating_sub(FREE_ALIGN);
        let block = layout
            .size()
            .checked_add(surplus)
            .and_then(|size| Layout::from_size_align(size, layout.align().min(FREE_ALIGN)).ok())
            .ok_or_else(too_large)?;
        // SAFETY: the layout's size is not zero.
        let memory = NonNull::new(unsafe { alloc_zeroed(block) }).ok_or_else(too_large)?;
        let skip = memory.align_offset(layout.align());
        // SAFETY: to the next multiple of the items' alignment from one of the block's is at most the surplus.
        let first = unsafe { memory.add(skip) }.cast::<T>();
        Ok(Self {
            items: NonNull::slice_from_raw_parts(first, len),
            block: Some((memory, block)),
        })
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: aligned, within the block, owned; and the trait says that zeros are values.
        unsafe { self.items.as_ref() }
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        match self.block {
            // SAFETY: the items are ours, and are not used again.
            Some((memory, layout)) => unsafe {
                self.items.as_ptr().drop_in_place();
                dealloc(memory.as_ptr(), layout);
            },
            // SAFETY: made from a box, and not used again.
            None => drop(unsafe { Box::from_raw(self.items.as_ptr()) }),
        }
    }
}

#[cfg(all(test, not(any(refrain_loom, refrain_shuttle))))]
mod tests {
    use crate::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[repr(align(64))]
    #[derive(Debug)]
    struct Line([AtomicU64; 8]);

    // SAFETY: eight integers.
    unsafe impl Zeroed for Line {
        fn zero() -> Self {
            Self([const { AtomicU64::new(0) }; 8])
        }
    }

    #[test]
    fn zeros_or_an_error() {
        let zeros = Array::<AtomicU64>::new(1000).unwrap();
        // ORDERING: Relaxed; one thread.
        assert!(zeros.iter().all(|n| n.load(Ordering::Relaxed) == 0));
        assert!(Array::<AtomicU64>::new(0).unwrap().is_empty());
        for len in [1 << 59, usize::MAX] {
            // An optimizer may do without memory that nobody looks at.
            let answer = std::hint::black_box(Array::<AtomicU64>::new(len));
            assert!(matches!(answer, Err(Error::OutOfMemory { .. })));
        }
        assert!(matches!(
            Array::<Line>::new((isize::MAX as usize - 60) / 64),
            Err(Error::OutOfMemory { .. })
        ));
    }

    #[test]
    fn lines_are_aligned_and_all_of_them_can_be_written() {
        for len in [0, 1, 2, 3, 100] {
            let lines = Array::<Line>::new(len).unwrap();
            assert_eq!(lines.len(), len);
            for line in lines.iter() {
                assert!(std::ptr::from_ref(line).is_aligned());
                for word in &line.0 {
                    // ORDERING: Relaxed; one thread.
                    assert_eq!(word.swap(1, Ordering::Relaxed), 0);
                }
            }
        }
    }
}
