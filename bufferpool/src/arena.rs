//! The memory of all frames: one anonymous mapping, as long as the pool may ever need it.
//!
//! What is not in use costs nothing but addresses. Frames in use are on huge pages where the system
//! has them, since a random page then costs half the time, but for the last, incomplete huge page:
//! the system would fill that up with memory that nobody has paid for. Not copied into children,
//! since a read in flight would land in the parent's page alone.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use ringpool_storage::ForkMark;

use crate::error::PoolError;
use crate::sync::Mutex;
use crate::word::Frame;
use crate::zeroed::system_page_bytes;

/// Huge pages begin at multiples of this on x86-64 and (with 4 KiB pages) on aarch64.
const HUGE_PAGE_BYTES: usize = 2 << 20;

pub(crate) struct Arena {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    /// The first frame, aligned to a huge page.
    first: NonNull<u8>,
    frames: u32,
    frame_bytes: usize,
    locked: bool,
    used: Mutex<Used>,
    mark: ForkMark,
}

/// How much of the arena is in use, as the system was told.
#[derive(Default)]
struct Used {
    /// Up to here it may use huge pages.
    huge_bytes: usize,
    /// Up to here it keeps what it has given in memory.
    locked_bytes: usize,
    /// Up to here it has given memory in advance.
    populated_bytes: usize,
}

// SAFETY: the arena only says where frames are; who may touch one is the page words' business.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Maps `frames` frames of `frame_bytes` bytes. They take memory when they are first used,
    /// which they are to be after [`use_below`](Self::use_below). With `locked`, they are not
    /// swapped out.
    pub(crate) fn new(frames: u32, frame_bytes: usize, locked: bool) -> io::Result<Self> {
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
        let (used, mark) = (Mutex::default(), ForkMark::new());
        let this = Self { mapping, mapping_bytes, first, frames, frame_bytes, locked, used, mark };
        // Both are wishes: without them the arena is slower, or a fork dearer, but right.
        this.advise(mapping, mapping_bytes, libc::MADV_NOHUGEPAGE);
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

    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// How many frames there can be.
    pub(crate) fn frames(&self) -> u32 {
        self.frames
    }

    /// Says that the frames below what `limit` then says are in use from now on, and no others.
    ///
    /// # Errors
    /// [`PoolError::NotLocked`] when they are to be locked, and that is refused. Then nothing has
    /// changed.
    pub(crate) fn use_below(&self, limit: impl FnOnce() -> Frame) -> Result<(), PoolError> {
        let mut used = self.used.lock();
        let used_bytes = limit() as usize * self.frame_bytes;
        if self.locked {
            self.lock_below(used.locked_bytes, used_bytes)?;
            used.locked_bytes = used_bytes;
        }
        let huge_bytes = used_bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        let (from, to) = (used.huge_bytes.min(huge_bytes), used.huge_bytes.max(huge_bytes));
        if from < to {
            let wish = if huge_bytes == to { libc::MADV_HUGEPAGE } else { libc::MADV_NOHUGEPAGE };
            // SAFETY: below `limit` frames, or what once was.
            self.advise(unsafe { self.first.add(from) }, to - from, wish);
            used.huge_bytes = huge_bytes;
        }
        Ok(())
    }

    /// Locks what is now used, or unlocks what no longer is.
    fn lock_below(&self, before_bytes: usize, now_bytes: usize) -> Result<(), PoolError> {
        let (from, to) = (before_bytes.min(now_bytes), before_bytes.max(now_bytes));
        if from == to || self.is_the_parents() {
            return Ok(());
        }
        // SAFETY: within the mapping, below frames that are used or were used.
        let start = unsafe { self.first.add(from) }.as_ptr();
        // SAFETY: our own mapping; locking does not change its content. Asked for by its number,
        // since not every C library has it.
        let refused = unsafe {
            if now_bytes < before_bytes {
                libc::munlock(start.cast(), to - from);
                false
            } else {
                libc::syscall(libc::SYS_mlock2, start, to - from, libc::MLOCK_ONFAULT) != 0
            }
        };
        if refused {
            let (source, limit_bytes) = (io::Error::last_os_error(), lock_limit_bytes());
            return Err(PoolError::NotLocked { locked_bytes: to as u64, limit_bytes, source });
        }
        Ok(())
    }

    /// Gives the memory of frames back to the system, until they are used again. They are the
    /// caller's, and empty. A page of the system's that they share with others stays.
    pub(crate) fn release(&self, frames: Range<Frame>) {
        let page_bytes = system_page_bytes();
        let from = (frames.start as usize * self.frame_bytes).next_multiple_of(page_bytes);
        let to = frames.end as usize * self.frame_bytes / page_bytes * page_bytes;
        if from >= to {
            return;
        }
        // SAFETY: within the frames, which lie within the mapping; the first is aligned.
        let (start, len_bytes) = (unsafe { self.first.add(from) }, to - from);
        if self.locked && !self.is_the_parents() {
            // SAFETY: our own mapping. Locked memory is not given back, and these frames are out
            // of use.
            unsafe { libc::munlock(start.as_ptr().cast(), len_bytes) };
        }
        self.advise(start, len_bytes, libc::MADV_DONTNEED);
    }

    /// Gives memory to what comes next of the frames below `limit`, from `from_bytes` on: a huge
    /// page of it. Returns up to where, and `None` when there is no more. The caller sees to it that
    /// none of them goes out of use meanwhile.
    ///
    /// # Errors
    /// What the system says: EINVAL before Linux 5.14, which cannot be asked.
    pub(crate) fn populate(&self, from_bytes: usize, limit: Frame) -> io::Result<Option<usize>> {
        let end_bytes =
            limit as usize * self.frame_bytes / system_page_bytes() * system_page_bytes();
        if from_bytes >= end_bytes || self.is_the_parents() {
            return Ok(None);
        }
        let to_bytes = end_bytes.min(from_bytes + HUGE_PAGE_BYTES);
        let mut used = self.used.lock();
        used.populated_bytes = used.populated_bytes.max(to_bytes);
        // SAFETY: within the mapping, below frames that are used; it begins a system's page, as
        // all that was populated before ends with one. What the frames hold stays as it is.
        let refused = unsafe {
            let start = self.first.add(from_bytes).as_ptr();
            libc::madvise(start.cast(), to_bytes - from_bytes, libc::MADV_POPULATE_WRITE) != 0
        };
        if refused { Err(io::Error::last_os_error()) } else { Ok(Some(to_bytes)) }
    }

    /// Gives back what frames from `unused` on were given in advance: they are out of use, and were
    /// never in it.
    pub(crate) fn give_back(&self, unused: Frame) {
        let mut used = self.used.lock();
        let populated = used.populated_bytes.div_ceil(self.frame_bytes) as Frame;
        if unused < populated {
            self.release(unused..populated);
            used.populated_bytes = unused as usize * self.frame_bytes;
        }
    }

    fn advise(&self, from: NonNull<u8>, len_bytes: usize, advice: libc::c_int) {
        if self.is_the_parents() {
            return; // Here this may be somebody else's memory.
        }
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

/// How much memory a process may lock, in bytes.
fn lock_limit_bytes() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes to `limit` and to nothing else.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    limit.rlim_cur
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Frames may be smaller than the system's pages: what is given back of one page must not
    /// take along the other frames in it.
    #[test]
    fn frames_beside_one_that_is_given_back_keep_their_bytes() {
        let frame_bytes = system_page_bytes() / 8;
        let arena = Arena::new(32, frame_bytes, false).unwrap();
        // SAFETY: nobody else has the arena.
        let fill = |byte: u8| unsafe { arena.first.write_bytes(byte, 32 * frame_bytes) };
        // SAFETY: as above.
        let is = |frame, byte| unsafe { arena.bytes(frame) }.iter().all(|&other| other == byte);
        for (released, zeroed) in [(8..9, 8..8), (9..16, 8..8), (8..16, 8..16), (7..25, 8..24)] {
            fill(7);
            arena.release(released);
            assert!((0..32).all(|frame| is(frame, if zeroed.contains(&frame) { 0 } else { 7 })));
        }
    }
}
