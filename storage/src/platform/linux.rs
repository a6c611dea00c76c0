//! Linux wipes a page in every child that asks for it: madvise(2), MADV_WIPEONFORK.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

/// A byte that is 1 in the process that made it, and 0 in its children.
pub(crate) struct Mark {
    /// `None` where the kernel has no such pages (before Linux 4.14): no child is told apart.
    byte: Option<NonNull<AtomicU8>>,
}

/// What the kernel rounds up to a page, whatever its size.
const LEN_BYTES: usize = 1;

// SAFETY: the byte is atomic, and mapped as long as the mark lives.
unsafe impl Send for Mark {}
// SAFETY: as above.
unsafe impl Sync for Mark {}

impl Mark {
    pub(crate) fn new() -> Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping touches no memory that is there already; the advice
        // and the unmapping are for this very mapping.
        let byte = unsafe {
            let page = libc::mmap(std::ptr::null_mut(), LEN_BYTES, protection, flags, -1, 0);
            if page == libc::MAP_FAILED {
                None
            } else if libc::madvise(page, LEN_BYTES, libc::MADV_WIPEONFORK) != 0 {
                libc::munmap(page, LEN_BYTES);
                None
            } else {
                NonNull::new(page.cast::<AtomicU8>())
            }
        };
        let mark = Self { byte };
        // Relaxed: this process sees its own store, a child what the kernel wiped.
        mark.byte().inspect(|byte| byte.store(1, Ordering::Relaxed));
        mark
    }

    #[inline]
    pub(crate) fn is_child(&self) -> bool {
        // Relaxed: as in `new`; no other thread writes to it.
        self.byte().is_some_and(|byte| byte.load(Ordering::Relaxed) == 0)
    }

    #[inline]
    fn byte(&self) -> Option<&AtomicU8> {
        // SAFETY: mapped, zeroed and so a valid value, until `drop`.
        self.byte.map(|byte| unsafe { byte.as_ref() })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(byte) = self.byte {
            // SAFETY: our own mapping, which no reference outlives. A child has it too.
            unsafe { libc::munmap(byte.as_ptr().cast(), LEN_BYTES) };
        }
    }
}
