//! The memory of all frames: one anonymous mapping, as long as the budget says and no longer.
//!
//! On huge pages where the system has them, since a random page then costs half the time; not
//! copied into children, since a read in flight would land in the parent's page alone.

#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;

use ringpool_storage::ForkMark;

use crate::word::Frame;

/// Huge pages begin at multiples of this on x86-64 and (with 4 KiB pages) on aarch64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

pub(crate) struct Arena {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    /// The first frame, aligned to a huge page.
    first: NonNull<u8>,
    frames: u32,
    frame_bytes: usize,
    mark: ForkMark,
}

// SAFETY: the arena only says where frames are; who may touch one is the page words' business.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps `frames` frames of `frame_bytes` bytes. They take memory when they are first used.
    pub(crate) fn new(frames: u32, frame_bytes: usize) -> io::Result<Self> {
        let len_bytes = frames as usize * frame_bytes;
        let mapping_bytes = len_bytes + HUGE_PAGE_BYTES;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping touches no memory that is there already.
        let mapping =
            unsafe { libc::mmap(std::ptr::null_mut(), mapping_bytes, protection, flags, -1, 0) };
        let mapping = match NonNull::new(mapping.cast::<u8>()) {
            Some(mapping) if mapping.as_ptr().cast() != libc::MAP_FAILED => mapping,
            _ => return Err(io::Error::last_os_error()),
        };
        let skipped = mapping.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: less than a huge page is skipped, and the mapping is that much longer.
        let first = unsafe { mapping.add(skipped) };
        let mark = ForkMark::new();
        let this = Self { mapping, mapping_bytes, first, frames, frame_bytes, mark };
        // Both are wishes: without them the arena is slower, or a fork dearer, but right.
        this.advise(first, len_bytes, libc::MADV_HUGEPAGE);
        this.advise(mapping, mapping_bytes, libc::MADV_DONTFORK);
        Ok(this)
    }

    /// Where `frame` is. Aligned to the frame's size, up to 2 MiB.
    #[inline]
    pub(crate) fn address(&self, frame: Frame) -> NonNull<u8> {
        debug_assert!(frame < self.frames);
        // SAFETY: the frame lies within the mapping, as its number is below `frames`.
        unsafe { self.first.add(frame as usize * self.frame_bytes) }
    }

    /// The bytes of a frame.
    ///
    /// # Safety
    /// The caller sees to it that nobody writes to the frame while the slice lives: it holds a
    /// pin of the page in it, or is landing the read into it.
    #[inline]
    pub(crate) unsafe fn bytes(&self, frame: Frame) -> &[u8] {
        // SAFETY: within the mapping, initialised (anonymous memory is zeroed), and nobody
        // writes, as the caller promised.
        unsafe { std::slice::from_raw_parts(self.address(frame).as_ptr(), self.frame_bytes) }
    }

    /// Whether this process is a child of the one that mapped it: here there is no such memory.
    #[inline]
    pub(crate) fn is_the_parents(&self) -> bool {
        self.mark.is_child()
    }

    /// Gives a free frame's memory back to the system until it is used again.
    pub(crate) fn release(&self, frame: Frame) {
        self.advise(self.address(frame), self.frame_bytes, libc::MADV_DONTNEED);
    }

    fn advise(&self, from: NonNull<u8>, len_bytes: usize, advice: libc::c_int) {
        // SAFETY: the range is within our own mapping. The one advice that changes its content,
        // MADV_DONTNEED, is given only for frames that hold no page.
        unsafe { libc::madvise(from.as_ptr().cast(), len_bytes, advice) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.is_the_parents() {
            return; // Not mapped here, or what is mapped here is somebody else's.
        }
        // SAFETY: our own mapping. Guards and reads in flight keep the pool alive, so that
        // nobody is left who could look at it.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
    }
}
