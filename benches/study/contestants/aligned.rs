//! Memory that direct reads can go to.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// To what all disks that are read here want memory aligned.
const ALIGN_BYTES: usize = 4096;

/// An allocation of its own. Its bytes are anything until something was read into it.
pub struct Aligned {
    memory: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to the value alone.
unsafe impl Send for Aligned {}

impl Aligned {
    /// Room for `len_bytes`.
    ///
    /// # Panics
    /// When that is none, or more than the address space has.
    pub fn new(len_bytes: usize) -> Self {
        assert!(len_bytes > 0, "memory for nothing");
        let layout = Layout::from_size_align(len_bytes, ALIGN_BYTES).expect("addresses enough");
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc(layout) };
        let memory = NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
        Self { memory, layout }
    }

    /// Where `offset_bytes` of it are.
    pub fn at(&self, offset_bytes: usize) -> NonNull<u8> {
        assert!(offset_bytes < self.layout.size(), "past the end");
        // SAFETY: within the allocation, as was just checked.
        unsafe { self.memory.add(offset_bytes) }
    }

    /// Bytes of it that were read into.
    ///
    /// # Safety
    /// All of them were written, and no read into them is in flight.
    pub unsafe fn bytes(&self, offset_bytes: usize, len_bytes: usize) -> &[u8] {
        assert!(offset_bytes + len_bytes <= self.layout.size(), "past the end");
        // SAFETY: within the allocation; the caller promises that it was written and is not now.
        unsafe { std::slice::from_raw_parts(self.at(offset_bytes).as_ptr(), len_bytes) }
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and given back once.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}
