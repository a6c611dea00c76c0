//! Arrays of atomics that begin as zeros and cost nothing until they are touched.
//!
//! Anonymous memory fresh from the system, so that what is kept for each frame and each page of a
//! file takes no more than what is in use. A part of an array can be given back to the system: it
//! is zero again, as if somebody had stored zero there. Who gives it back sees to it that nobody
//! relies on what it held; looking at it meanwhile is harmless.

#![allow(unsafe_code)]

use std::ops::{Deref, Range};

/// What an array may consist of.
///
/// # Safety
/// An atomic, or transparent around one: all bit patterns are values of it, it is not dropped, and
/// it may change while others look at it, as memory that is given back does.
pub(crate) unsafe trait Zeroable: Default {
    /// Stores zero: what giving memory back comes to, as the model checker is told.
    #[cfg(any(loom, shuttle))]
    fn zero(&self);
}

macro_rules! zeroable_atomics {
    ($($atomic:ty),*) => {$(
        // SAFETY: an atomic integer.
        unsafe impl Zeroable for $atomic {
            #[cfg(any(loom, shuttle))]
            fn zero(&self) {
                self.store(0, crate::sync::Ordering::Relaxed);
            }
        }
    )*};
}
zeroable_atomics!(crate::sync::AtomicU32, crate::sync::AtomicU64);

/// The size of the pages in which the system gives memory and takes it back.
pub(crate) fn system_page_bytes() -> usize {
    // SAFETY: asks for a constant of the system.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
}

/// What tables are paid for and given back by: such a page, or so few words that the tables of a
/// pool of a dozen frames come and go.
pub(crate) fn table_page_bytes() -> usize {
    if cfg!(shuttle) { 32 } else { system_page_bytes() }
}

#[cfg(not(any(loom, shuttle)))]
mod mapped {
    use std::io;
    use std::ptr::NonNull;

    use super::*;

    pub(crate) struct Zeroed<T> {
        first: NonNull<T>,
        len: usize,
        mapping_bytes: usize,
    }

    // SAFETY: it owns its memory, as a boxed slice does.
    unsafe impl<T: Send> Send for Zeroed<T> {}
    // SAFETY: as above.
    unsafe impl<T: Sync> Sync for Zeroed<T> {}

    impl<T: Zeroable> Zeroed<T> {
        /// An array of `len` zeros. Without `huge_pages` a touch costs one page of the system's
        /// and no more, whatever the system's custom.
        ///
        /// # Errors
        /// The system's, when the address space cannot be had.
        pub(crate) fn new(len: usize, huge_pages: bool) -> io::Result<Self> {
            let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
            let len_bytes = len.checked_mul(size_of::<T>()).ok_or_else(too_long)?;
            let mapping_bytes = len_bytes.max(1);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a new anonymous mapping touches no memory that is there already.
            let mapping = unsafe {
                libc::mmap(std::ptr::null_mut(), mapping_bytes, protection, flags, -1, 0)
            };
            let first = match NonNull::new(mapping.cast::<T>()) {
                Some(first) if mapping != libc::MAP_FAILED => first,
                _ => return Err(io::Error::last_os_error()),
            };
            let advice = if huge_pages { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
            // SAFETY: our own mapping; the advice does not change its content.
            unsafe { libc::madvise(mapping, mapping_bytes, advice) };
            Ok(Self { first, len, mapping_bytes })
        }

        /// Gives back what memory lies wholly within `range`, which is zero then.
        pub(crate) fn release(&self, range: Range<usize>) {
            debug_assert!(range.start <= range.end && range.end <= self.len);
            let page_bytes = system_page_bytes();
            let from = (range.start * size_of::<T>()).next_multiple_of(page_bytes);
            let to = range.end * size_of::<T>() / page_bytes * page_bytes;
            if from < to {
                // SAFETY: within our own mapping. What changes under others' eyes are atomics.
                unsafe {
                    let start = self.first.cast::<u8>().add(from);
                    libc::madvise(start.as_ptr().cast(), to - from, libc::MADV_DONTNEED);
                }
            }
        }
    }

    impl<T> Deref for Zeroed<T> {
        type Target = [T];

        #[inline]
        fn deref(&self) -> &[T] {
            // SAFETY: `len` values of T, whose bytes are zeros or were stored as values of T. The
            // mapping is aligned to a page, and lives as long as `self`.
            unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
        }
    }

    impl<T> Drop for Zeroed<T> {
        fn drop(&mut self) {
            // SAFETY: our own mapping, which nobody borrows any more.
            unsafe { libc::munmap(self.first.as_ptr().cast(), self.mapping_bytes) };
        }
    }
}

#[cfg(not(any(loom, shuttle)))]
pub(crate) use mapped::Zeroed;

/// The same for the model checker, whose atomics are not plain memory.
#[cfg(any(loom, shuttle))]
pub(crate) struct Zeroed<T>(Box<[T]>);

#[cfg(any(loom, shuttle))]
impl<T: Zeroable> Zeroed<T> {
    pub(crate) fn new(len: usize, _huge_pages: bool) -> std::io::Result<Self> {
        Ok(Self((0..len).map(|_| T::default()).collect()))
    }

    pub(crate) fn release(&self, range: Range<usize>) {
        self.0[range].iter().for_each(T::zero);
    }
}

#[cfg(any(loom, shuttle))]
impl<T> Deref for Zeroed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn what_is_given_back_is_zero_and_the_rest_is_not() {
        let in_page = system_page_bytes() / 8;
        let array = Zeroed::<AtomicU64>::new(3 * in_page + 5, false).unwrap();
        array.iter().for_each(|value| assert_eq!(value.swap(7, Relaxed), 0));
        array.release(in_page - 1..3 * in_page + 5);
        let sum: u64 = array.iter().map(|value| value.load(Relaxed)).sum();
        assert_eq!(sum, 7 * (in_page as u64 + 5), "parts of pages stay");
        assert_eq!(array[in_page].load(Relaxed), 0);
    }

    #[test]
    fn an_array_may_be_empty_and_may_not_be_endless() {
        assert!(Zeroed::<AtomicU64>::new(0, true).unwrap().is_empty());
        assert!(Zeroed::<AtomicU64>::new(usize::MAX / 4, false).is_err());
    }
}
