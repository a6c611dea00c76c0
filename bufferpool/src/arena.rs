//! The memory of all frames: one anonymous mapping, as long as the pool may ever need it.
//!
//! What is not in use costs nothing but addresses. Frames in use are on huge pages where the system
//! has them, since a random page then costs half the time, but for the last, incomplete huge page:
//! the system would fill that up with memory that nobody has paid for. Not copied into children,
//! since a read in flight would land in the parent's page alone.

#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr::NonNull;

use ringpool_storage::{ForkMark, SystemPage};

use crate::error::PoolError;
use crate::platform::{self, Mapping};
use crate::sync::Mutex;
use crate::word::Frame;

/// Huge pages begin at multiples of this on x86-64 and (with 4 KiB pages) on aarch64. With larger
/// pages theirs are larger, and this is what the kernel can still hold as one.
const HUGE_PAGE_BYTES: usize = 2 << 20;

pub(crate) struct Arena {
    /// Unmapped at the end by the process that made it alone.
    mapping: ManuallyDrop<Mapping>,
    /// The first frame, aligned to a huge page.
    first: NonNull<u8>,
    frames: u32,
    frame_bytes: usize,
    locked: bool,
    system_page: SystemPage,
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
        Self::with_system_page(frames, frame_bytes, locked, SystemPage::of_machine())
    }

    /// The same on a machine with such pages.
    fn with_system_page(
        frames: u32,
        frame_bytes: usize,
        locked: bool,
        system_page: SystemPage,
    ) -> io::Result<Self> {
        let mapping_bytes = frames as usize * frame_bytes + HUGE_PAGE_BYTES;
        let mapping = ManuallyDrop::new(Mapping::new(mapping_bytes)?);
        // Both are wishes: without them the arena is slower, or a fork dearer, but right.
        mapping.wish_for_huge_pages(0..mapping_bytes, false);
        mapping.keep_from_children();
        let skipped = mapping.start().as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: less than a huge page is skipped, and the mapping is that much longer.
        let first = unsafe { mapping.start().add(skipped) };
        let (used, mark) = (Mutex::default(), ForkMark::new());
        Ok(Self { mapping, first, frames, frame_bytes, locked, system_page, used, mark })
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
        if from < to && !self.is_the_parents() {
            self.mapping.wish_for_huge_pages(self.in_mapping(from..to), huge_bytes == to);
            used.huge_bytes = huge_bytes;
        }
        Ok(())
    }

    /// Locks what is now used, or unlocks what no longer is. A page of the system's stays locked
    /// for as long as any frame in it is used.
    fn lock_below(&self, before_bytes: usize, now_bytes: usize) -> Result<(), PoolError> {
        if self.is_the_parents() {
            return Ok(());
        }
        let page = self.system_page;
        let (before, now) = (page.around(0..before_bytes).end, page.around(0..now_bytes).end);
        if now < before {
            self.mapping.unlock(self.in_mapping(now..before));
        }
        if before >= now {
            return Ok(());
        }
        self.mapping.lock(self.in_mapping(before..now)).map_err(|source| {
            let limit_bytes = platform::lock_limit_bytes();
            PoolError::NotLocked { locked_bytes: now as u64, limit_bytes, source }
        })
    }

    /// Gives the memory of frames back to the system, until they are used again. They are the
    /// caller's, and empty. A page of the system's that they share with others stays.
    pub(crate) fn release(&self, frames: Range<Frame>) {
        let bytes =
            frames.start as usize * self.frame_bytes..frames.end as usize * self.frame_bytes;
        let Some(pages) = self.system_page.within(bytes) else { return };
        if self.is_the_parents() {
            return; // Here this may be somebody else's memory.
        }
        if self.locked {
            // Locked memory is not given back, and these frames are out of use.
            self.mapping.unlock(self.in_mapping(pages.clone()));
        }
        // SAFETY: pages that hold frames of the caller's alone, and no frame of a page.
        unsafe { self.mapping.give_back(self.in_mapping(pages)) };
    }

    /// Gives memory to what comes next of the frames below `limit`, from `from_bytes` on: a huge
    /// page of it. Returns up to where, and `None` when there is no more. The caller sees to it that
    /// none of them goes out of use meanwhile.
    ///
    /// # Errors
    /// What the system says: EINVAL before Linux 5.14, which cannot be asked.
    pub(crate) fn populate(&self, from_bytes: usize, limit: Frame) -> io::Result<Option<usize>> {
        let used_bytes = limit as usize * self.frame_bytes;
        let end_bytes = self.system_page.within(0..used_bytes).map_or(0, |pages| pages.end);
        if from_bytes >= end_bytes || self.is_the_parents() {
            return Ok(None);
        }
        let to_bytes = end_bytes.min(from_bytes + HUGE_PAGE_BYTES);
        let mut used = self.used.lock();
        used.populated_bytes = used.populated_bytes.max(to_bytes);
        // It begins a system's page, as all that was populated before ends with one.
        self.mapping.populate(self.in_mapping(from_bytes..to_bytes))?;
        Ok(Some(to_bytes))
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

    /// What bytes counted from the first frame are, counted from the start of the mapping.
    fn in_mapping(&self, bytes: Range<usize>) -> Range<usize> {
        let skipped = self.first.as_ptr().addr() - self.mapping.start().as_ptr().addr();
        skipped + bytes.start..(skipped + bytes.end).min(self.mapping.len_bytes())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if self.is_the_parents() {
            return; // Not mapped here, or what is mapped here is somebody else's.
        }
        // SAFETY: once, and nothing looks at it afterwards. Guards and reads in flight keep the
        // pool alive, so that nobody is left who could look at a frame.
        unsafe { ManuallyDrop::drop(&mut self.mapping) };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// The sizes of the system's pages that can be tried here: this machine's and all larger ones.
    fn system_pages() -> impl Iterator<Item = SystemPage> {
        let own = SystemPage::of_machine().bytes();
        [4 * KIB, 16 * KIB, 64 * KIB]
            .into_iter()
            .filter(move |&bytes| bytes >= own)
            .map(SystemPage::of_bytes)
    }

    /// Frames may be smaller than the system's pages: what is given back of one page must not
    /// take along the other frames in it.
    #[test]
    fn frames_beside_one_that_is_given_back_keep_their_bytes() {
        for page in system_pages() {
            let frame_bytes = page.bytes() / 8;
            let arena = Arena::with_system_page(32, frame_bytes, false, page).unwrap();
            // SAFETY: nobody else has the arena.
            let fill = |byte: u8| unsafe { arena.address(0).write_bytes(byte, 32 * frame_bytes) };
            // SAFETY: as above.
            let is = |frame, byte| unsafe { arena.bytes(frame) }.iter().all(|&other| other == byte);
            for (released, zeroed) in [(8..9, 8..8), (9..16, 8..8), (8..16, 8..16), (7..25, 8..24)]
            {
                fill(7);
                arena.release(released);
                assert!(
                    (0..32).all(|f| is(f, if zeroed.contains(&f) { 0 } else { 7 })),
                    "{page:?}"
                );
            }
        }
    }

    /// Frames as large as a page, or larger, go alone.
    #[test]
    fn a_frame_of_whole_pages_is_given_back_by_itself() {
        for page in system_pages() {
            let frame_bytes = (64 * KIB).max(page.bytes());
            let arena = Arena::with_system_page(3, frame_bytes, false, page).unwrap();
            // SAFETY: nobody else has the arena.
            unsafe { arena.address(0).write_bytes(7, 3 * frame_bytes) };
            arena.release(1..2);
            // SAFETY: as above.
            let first_bytes = [0, 1, 2].map(|frame| unsafe { arena.bytes(frame) }[frame_bytes - 1]);
            assert_eq!(first_bytes, [7, 0, 7], "{page:?}");
        }
    }

    /// How much is locked from the first frame on, as the kernel says it: a stretch of memory of
    /// its own then.
    #[cfg(target_os = "linux")]
    fn locked_bytes(arena: &Arena) -> Option<usize> {
        let start = format!("{:x}-", arena.address(0).as_ptr().addr());
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let size = lines.find_map(|line| line.strip_prefix("Size:"));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"));
        if !flags.unwrap_or_default().split(' ').any(|flag| flag == "lo") {
            return Some(0);
        }
        let kib: usize = size?.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * KIB)
    }

    /// A page of the system's stays locked while one of its frames is in use.
    #[cfg(target_os = "linux")]
    #[test]
    fn locks_cover_whole_pages_of_what_is_used() {
        for page in system_pages() {
            let frame_bytes = page.bytes() / 8;
            let arena = Arena::with_system_page(32, frame_bytes, true, page).unwrap();
            for (used, pages) in [(3, 1), (8, 1), (9, 2), (32, 4), (17, 3), (8, 1), (1, 1), (0, 0)]
            {
                if let Err(error) = arena.use_below(|| used) {
                    return eprintln!("skipped: no memory may be locked here: {error}");
                }
                let Some(found) = locked_bytes(&arena) else {
                    return eprintln!("skipped: the kernel does not say what is locked");
                };
                assert_eq!(found, pages * page.bytes(), "{used} frames, {page:?}");
            }
        }
    }
}
