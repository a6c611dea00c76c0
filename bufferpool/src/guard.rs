//! Guards: pages that are held in memory by being pinned.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use ringpool_storage::PageNo;

use crate::pool::File;
use crate::word::{Frame, Look, Word};

/// A pinned page. It stays in memory, unchanged, until the guard is dropped.
///
/// Pinning and unpinning are one atomic operation each. A guard that is leaked costs its frame
/// until the pool is dropped, and nothing else. To keep a page beyond the borrow of its file, make
/// it an [`OwnedPage`] or [`Bytes`].
#[must_use = "a page stays in memory only while its guard lives"]
pub struct PageGuard<'a> {
    file: &'a Arc<File>,
    page: PageNo,
    /// The page's own: after a pin's locked instruction each further load is waited for.
    word: &'a Word,
    frame: Frame,
}

impl<'a> PageGuard<'a> {
    /// A guard for one pin of `page`, in `frame`, that the caller has and gives up.
    ///
    /// # Panics
    /// Past the end of the file, where no pin can be.
    pub(crate) fn of_pin(file: &'a Arc<File>, page: PageNo, frame: Frame) -> Self {
        Self::at(file, page, &file.table.all()[page.0 as usize], frame)
    }

    /// The same, with the page's word at hand.
    #[inline]
    pub(crate) fn at(file: &'a Arc<File>, page: PageNo, word: &'a Word, frame: Frame) -> Self {
        debug_assert!({
            let content = word.content();
            content.is_resident() && content.frame() == frame && content.pins() > 0
        });
        Self { file, page, word, frame }
    }

    /// The number of the page.
    pub fn page(&self) -> PageNo {
        self.page
    }

    /// The same pin, held independently of the borrow of the file.
    pub fn into_owned(self) -> OwnedPage {
        let owned = OwnedPage { file: self.file.clone(), page: self.page, frame: self.frame };
        std::mem::forget(self);
        owned
    }

    /// The page as `Bytes`, without a copy. Slices and clones of it share the pin.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.into_owned())
    }
}

impl Deref for PageGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: our pin keeps the page in this frame, and nobody writes to a frame whose page
        // is resident.
        unsafe { self.file.pool.frames.arena.bytes(self.frame) }
    }
}

impl Drop for PageGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.word.unpin();
    }
}

impl fmt::Debug for PageGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageGuard").field("page", &self.page).finish_non_exhaustive()
    }
}

/// How many pages a slice holds at most.
const SLICE: usize = 32;

/// A few pinned pages of one batch, which are handed over one after another and unpinned
/// together: between two looks there is no locked instruction, so that the processor fetches the
/// lines of the next page while the first is looked at.
pub(crate) struct PinnedSlice<'a> {
    file: &'a Arc<File>,
    pinned: [(u32, Frame, PageNo); SLICE],
    len: usize,
    room: usize,
    /// What the look gives each page.
    chances: u64,
}

impl<'a> PinnedSlice<'a> {
    /// An empty slice for at most `room` pages, each of which gets `chances` for being looked at.
    #[inline]
    pub(crate) fn new(file: &'a Arc<File>, room: usize, chances: u64) -> Self {
        let room = room.min(SLICE);
        Self { file, pinned: [(0, 0, PageNo(0)); SLICE], len: 0, room, chances }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn has_room(&self) -> bool {
        self.len < self.room
    }

    /// Pins `pages[from..]` as long as they are resident and there is room. Returns how many.
    #[inline]
    pub(crate) fn pin_resident(&mut self, pages: &[PageNo], from: usize) -> usize {
        let ahead = &pages[from..pages.len().min(from + self.room - self.len)];
        let words = ahead.iter().map_while(|&page| self.file.table.word(page));
        if ahead.len() > 1 {
            words.clone().for_each(|word| prefetch(std::ptr::from_ref(word)));
        }
        let before = self.len;
        for (word, (index, &page)) in words.zip((from..).zip(ahead)) {
            let Look::Pinned(frame) = word.pin_giving(self.chances) else { break };
            self.push(index, frame, page);
        }
        self.len - before
    }

    /// Takes over the pin of `page`, the batch's `index`, in `frame`.
    #[inline]
    pub(crate) fn push(&mut self, index: usize, frame: Frame, page: PageNo) {
        prefetch(self.file.pool.frames.arena.address(frame).as_ptr());
        self.pinned[self.len] = (index as u32, frame, page);
        self.len += 1;
    }

    /// Gives each page to `each(index, bytes)` and then unpins them all.
    #[inline]
    pub(crate) fn hand_over(&mut self, each: &mut dyn FnMut(usize, &[u8])) {
        for &(index, frame, _) in &self.pinned[..self.len] {
            // SAFETY: the page is pinned until `unpin`, and nobody writes to a frame whose page
            // is resident.
            each(index as usize, unsafe { self.file.pool.frames.arena.bytes(frame) });
        }
        self.unpin();
    }

    #[inline]
    fn unpin(&mut self) {
        for &(_, _, page) in &self.pinned[..self.len] {
            self.file.unpin(page);
        }
        self.len = 0;
    }
}

impl Drop for PinnedSlice<'_> {
    /// What was not handed over, or whose visitor panicked.
    fn drop(&mut self) {
        self.unpin();
    }
}

/// Tells the processor that this line is going to be read.
#[inline]
pub(crate) fn prefetch<T>(line: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint that reads nothing and never faults, whatever the address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// A pinned page that keeps its file and pool alive: `'static`, `Send` and `Sync`.
#[must_use = "a page stays in memory only while its guard lives"]
pub struct OwnedPage {
    file: Arc<File>,
    page: PageNo,
    frame: Frame,
}

impl OwnedPage {
    /// The number of the page.
    pub fn page(&self) -> PageNo {
        self.page
    }
}

impl AsRef<[u8]> for OwnedPage {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: as in `PageGuard::deref`.
        unsafe { self.file.pool.frames.arena.bytes(self.frame) }
    }
}

impl Deref for OwnedPage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl Drop for OwnedPage {
    fn drop(&mut self) {
        self.file.unpin(self.page);
    }
}

impl fmt::Debug for OwnedPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPage").field("page", &self.page).finish_non_exhaustive()
    }
}
