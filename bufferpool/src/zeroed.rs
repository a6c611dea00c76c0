//! Arrays of atomics that begin as zeros and cost nothing until they are touched.
//!
//! Anonymous memory fresh from the system, so that what is kept for each frame and each page of a
//! file takes no more than what is in use. A part of an array can be given back to the system: it
//! is zero again, as if somebody had stored zero there. Who gives it back sees to it that nobody
//! relies on what it held; looking at it meanwhile is harmless.

#![allow(unsafe_code)]

use std::ops::{Deref, Range};

use ringpool_storage::SystemPage;

/// What an array may consist of.
///
/// # Safety
/// An atomic, or transparent around one: all bit patterns are values of it, it is not dropped, and
/// it may change while others look at it, as memory that is given back does.
pub(crate) unsafe trait Zeroable: Default {
    /// Stores zero: what giving memory back comes to, where the system does not take any, and as
    /// the model checker is told.
    fn zero(&self);
}

macro_rules! zeroable_atomics {
    ($($atomic:ty),*) => {$(
        // SAFETY: an atomic integer.
        unsafe impl Zeroable for $atomic {
            fn zero(&self) {
                self.store(0, crate::sync::Ordering::Relaxed);
            }
        }
    )*};
}
zeroable_atomics!(crate::sync::AtomicU32, crate::sync::AtomicU64);

/// What tables are paid for and given back by: a page of the system's, or so few words that the
/// tables of a pool of a dozen frames come and go.
pub(crate) fn table_page_bytes() -> usize {
    if cfg!(shuttle) { 32 } else { SystemPage::of_machine().bytes() }
}

#[cfg(not(any(loom, shuttle)))]
mod mapped {
    use std::io;

    use super::*;
    use crate::platform::Mapping;

    pub(crate) struct Zeroed<T> {
        mapping: Mapping,
        len: usize,
        system_page: SystemPage,
        values: std::marker::PhantomData<T>,
    }

    impl<T: Zeroable> Zeroed<T> {
        /// An array of `len` zeros. Without `huge_pages` a touch costs one page of the system's
        /// and no more, whatever the system's custom.
        ///
        /// # Errors
        /// The system's, when the address space cannot be had.
        pub(crate) fn new(len: usize, huge_pages: bool) -> io::Result<Self> {
            Self::with_system_page(len, huge_pages, SystemPage::of_machine())
        }

        /// The same on a machine with such pages.
        pub(super) fn with_system_page(
            len: usize,
            huge_pages: bool,
            system_page: SystemPage,
        ) -> io::Result<Self> {
            let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
            let len_bytes = len.checked_mul(size_of::<T>()).ok_or_else(too_long)?.max(1);
            let mapping = Mapping::new(len_bytes)?;
            mapping.wish_for_huge_pages(0..len_bytes, huge_pages);
            Ok(Self { mapping, len, system_page, values: std::marker::PhantomData })
        }

        /// Gives back what memory lies wholly within `range`, which is zero then.
        pub(crate) fn release(&self, range: Range<usize>) {
            debug_assert!(range.start <= range.end && range.end <= self.len);
            if !Mapping::GIVES_BACK {
                return self[range].iter().for_each(T::zero);
            }
            let bytes = range.start * size_of::<T>()..range.end * size_of::<T>();
            if let Some(pages) = self.system_page.within(bytes) {
                // SAFETY: what changes under others' eyes are atomics, of whole values.
                unsafe { self.mapping.give_back(pages) };
            }
        }
    }

    impl<T> Deref for Zeroed<T> {
        type Target = [T];

        #[inline]
        fn deref(&self) -> &[T] {
            let first = self.mapping.start().cast::<T>().as_ptr();
            // SAFETY: `len` values of T, whose bytes are zeros or were stored as values of T. The
            // mapping is aligned to a page, and lives as long as `self`.
            unsafe { std::slice::from_raw_parts(first, self.len) }
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

    /// Also with larger pages than this machine has.
    #[test]
    fn what_is_given_back_is_zero_and_the_rest_is_not() {
        let own = SystemPage::of_machine().bytes();
        for page_bytes in [4 << 10, 16 << 10, 64 << 10].into_iter().filter(|&bytes| bytes >= own) {
            let in_page = page_bytes / 8;
            let page = SystemPage::of_bytes(page_bytes);
            let array =
                Zeroed::<AtomicU64>::with_system_page(3 * in_page + 5, false, page).unwrap();
            array.iter().for_each(|value| assert_eq!(value.swap(7, Relaxed), 0));
            array.release(in_page - 1..3 * in_page + 5);
            let sum: u64 = array.iter().map(|value| value.load(Relaxed)).sum();
            assert_eq!(sum, 7 * (in_page as u64 + 5), "parts of pages of {page_bytes} stay");
            assert_eq!(array[in_page].load(Relaxed), 0);
        }
    }

    #[test]
    fn an_array_may_be_empty_and_may_not_be_endless() {
        assert!(Zeroed::<AtomicU64>::new(0, true).unwrap().is_empty());
        assert!(Zeroed::<AtomicU64>::new(usize::MAX / 4, false).is_err());
    }
}
