//! A system that is no unix, such as Windows: zeroed memory of the heap, which stays until the end.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

/// A page of the system's, to which the others' mappings are aligned.
const ALIGN_BYTES: usize = 4096;

pub(crate) struct Mapping {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns its memory and lends none of it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Whether what was given back is zero.
    #[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "the checkers' arrays are boxed"))]
    pub(crate) const GIVES_BACK: bool = false;

    pub(crate) fn new(len_bytes: usize) -> io::Result<Self> {
        let none = || io::Error::from(io::ErrorKind::OutOfMemory);
        let layout = Layout::from_size_align(len_bytes.max(1), ALIGN_BYTES).map_err(|_| none())?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(none)?;
        Ok(Self { start, layout })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.layout.size()
    }

    pub(crate) fn wish_for_huge_pages(&self, _range: Range<usize>, _wanted: bool) {}

    pub(crate) fn keep_from_children(&self) {}

    /// Keeps it.
    ///
    /// # Safety
    /// None here.
    pub(crate) unsafe fn give_back(&self, _range: Range<usize>) {}

    /// Cannot be asked for here.
    pub(crate) fn populate(&self, _range: Range<usize>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn lock(&self, _range: Range<usize>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "memory is locked on unixes only"))
    }

    pub(crate) fn unlock(&self, _range: Range<usize>) {}
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own allocation, of which nothing is lent that outlives it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

pub(crate) fn lock_limit_bytes() -> u64 {
    0
}
