//! An anonymous mapping: zeros that take memory where they are touched, and only then.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use super::system;

/// Ranges are in bytes from its start.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len_bytes: usize,
}

// SAFETY: it owns its memory and lends none of it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Whether what was [given back](Self::give_back) is zero.
    #[cfg_attr(any(loom, shuttle), allow(dead_code, reason = "the checkers' arrays are boxed"))]
    pub(crate) const GIVES_BACK: bool = true;

    /// Maps `len_bytes` bytes, more than none.
    pub(crate) fn new(len_bytes: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | system::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping touches no memory that is there already.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len_bytes, protection, flags, -1, 0) };
        match NonNull::new(start.cast::<u8>()) {
            Some(first) if start != libc::MAP_FAILED => Ok(Self { start: first, len_bytes }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Its first byte, at the start of a page of the system's.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Says whether huge pages are welcome in `range`. A wish.
    pub(crate) fn wish_for_huge_pages(&self, range: Range<usize>, wanted: bool) {
        let (start, len_bytes) = self.part(range);
        // SAFETY: within our own mapping; the advice does not change its content.
        unsafe { system::advise_huge_pages(start, len_bytes, wanted) };
    }

    /// Keeps it out of children, where the system can. A wish.
    pub(crate) fn keep_from_children(&self) {
        let (start, len_bytes) = self.part(0..self.len_bytes);
        // SAFETY: our own mapping; here its content stays.
        unsafe { system::keep_from_children(start, len_bytes) };
    }

    /// Gives back the memory of whole pages, which are zero then, also for who looks at them
    /// meanwhile.
    ///
    /// # Safety
    /// Nobody relies on what they held, nor on its staying what it is.
    pub(crate) unsafe fn give_back(&self, range: Range<usize>) {
        let (start, len_bytes) = self.part(range);
        // SAFETY: within our own mapping, and nobody minds, as the caller promised.
        unsafe { system::give_back(start, len_bytes) };
    }

    /// Takes memory for the pages of `range` now. What they hold stays as it is.
    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let (start, len_bytes) = self.part(range);
        // SAFETY: within our own mapping; its content stays.
        unsafe { system::populate(start, len_bytes) }
    }

    /// Keeps the pages of `range` in memory.
    pub(crate) fn lock(&self, range: Range<usize>) -> io::Result<()> {
        let (start, len_bytes) = self.part(range);
        // SAFETY: within our own mapping; locking does not change its content.
        match unsafe { system::lock(start, len_bytes) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The opposite.
    pub(crate) fn unlock(&self, range: Range<usize>) {
        let (start, len_bytes) = self.part(range);
        // SAFETY: as for locking.
        unsafe { libc::munlock(start, len_bytes) };
    }

    fn part(&self, range: Range<usize>) -> (*mut libc::c_void, usize) {
        assert!(range.start <= range.end && range.end <= self.len_bytes, "beyond the mapping");
        // SAFETY: within the mapping.
        let start = unsafe { self.start.add(range.start) };
        (start.as_ptr().cast(), range.end - range.start)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: our own mapping, of which nothing is lent that outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len_bytes) };
    }
}

/// How much memory a process may lock, in bytes.
pub(crate) fn lock_limit_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to `limit` and to nothing else.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    // Signed on some systems, and there never negative.
    #[allow(clippy::unnecessary_cast)]
    let bytes = limit.rlim_cur as u64;
    bytes
}
