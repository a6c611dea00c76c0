//! Guards: a page that is held in memory by being pinned.

#![allow(unsafe_code)]

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use ringpool_storage::PageNo;

use crate::pool::File;
use crate::word::Frame;

/// A pinned page. It stays in memory, unchanged, until the guard is dropped.
///
/// Pinning and unpinning are one atomic operation each. A guard that is leaked costs its frame
/// until the pool is dropped, and nothing else. To keep a page beyond the borrow of its file, make
/// it an [`OwnedPage`] or [`Bytes`].
#[must_use = "a page stays in memory only while its guard lives"]
pub struct PageGuard<'a> {
    file: &'a Arc<File>,
    page: PageNo,
    frame: Frame,
}

impl<'a> PageGuard<'a> {
    /// A guard for one pin of `page`, in `frame`, that the caller has and gives up.
    #[inline]
    pub(crate) fn of_pin(file: &'a Arc<File>, page: PageNo, frame: Frame) -> Self {
        debug_assert!(file.table.word(page).is_some_and(|word| {
            let content = word.content();
            content.is_resident() && content.frame() == frame && content.pins() > 0
        }));
        Self { file, page, frame }
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
        self.file.unpin(self.page);
    }
}

impl fmt::Debug for PageGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageGuard").field("page", &self.page).finish_non_exhaustive()
    }
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
