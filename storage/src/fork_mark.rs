//! Tells a process from its forked children, for the price of a load.
//!
//! A ring, its completions and the frames that they land in stay with the process that made them.
//! A child has copies of the values that stand for them and must not touch what they stand for.

#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

/// A byte that the kernel wipes in every child. See madvise(2), MADV_WIPEONFORK.
pub struct ForkMark {
    /// `None` where the kernel has no such pages (before Linux 4.14): no child is told apart.
    byte: Option<NonNull<AtomicU8>>,
}

/// What the kernel rounds up to a page.
const LEN_BYTES: usize = 1;

// SAFETY: the byte is atomic, and mapped as long as the mark lives.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    /// Marks the calling process.
    pub fn new() -> Self {
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

    /// Whether this process is a child of the one that made the mark.
    #[inline]
    pub fn is_child(&self) -> bool {
        // Relaxed: as in `new`; no other thread writes to it.
        self.byte().is_some_and(|byte| byte.load(Ordering::Relaxed) == 0)
    }

    #[inline]
    fn byte(&self) -> Option<&AtomicU8> {
        // SAFETY: mapped, zeroed and so a valid value, until `drop`.
        self.byte.map(|byte| unsafe { byte.as_ref() })
    }
}

impl Default for ForkMark {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        if let Some(byte) = self.byte {
            // SAFETY: our own mapping, which no reference outlives. A child has it too.
            unsafe { libc::munmap(byte.as_ptr().cast(), LEN_BYTES) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_knows_that_it_is_one() {
        let mark = ForkMark::new();
        assert!(!mark.is_child());
        // SAFETY: the child calls nothing that another thread's lock could block: it reads a byte
        // and leaves.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(if mark.is_child() { 7 } else { 8 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(!mark.is_child(), "the parent is still itself");
    }
}
