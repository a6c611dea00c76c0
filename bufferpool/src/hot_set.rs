//! The hot set of a file: which of its pages are in memory, and how many chances each has.
//!
//! Saved when a process ends and restored when the next one begins, so that it does not begin
//! cold. It is a hint and nothing more: a page number and two bits, no content. Pages on probation
//! that nobody has used again are left out, since they were about to go.

use ringpool_storage::{FileKey, PageNo, PageSize};

use crate::pool::{File, PoolFile};
use crate::word::MAX_CHANCES;

/// How many different counts of chances there are.
pub(crate) const HEATS: usize = MAX_CHANCES as usize + 1;

/// The pages of a file that were worth keeping in memory at one moment, most used first.
///
/// ```
/// # use std::sync::Arc;
/// # use ringpool_bufferpool::{HotSet, Pool, PoolOptions};
/// # use ringpool_storage::{FileKey, MemoryDevice, MemorySource, PageNo, PageSize, PageSource};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("vectors.hot");
/// # let pages = MemorySource::new("vectors", PageSize::KIB_4, vec![7; 1000 * 4096])?;
/// # let open = || -> Result<_, Box<dyn std::error::Error>> {
/// #     let pool = Pool::new(&PoolOptions { memory_bytes: 1 << 20, ..Default::default() })?;
/// #     Ok(pool.attach(Arc::new(MemoryDevice::new(pages.clone())), None)?)
/// # };
/// let key = FileKey(0x5eed); // Whatever tells this file from others, and from its next version.
/// # let file = open()?;
/// file.visit(&[PageNo(3), PageNo(700)], &mut |_, _| {})?;
/// file.hot_set(key).write(&path)?;
///
/// // After a restart:
/// # let file = open()?;
/// let restoring = file.restore(HotSet::read(&path, key)?)?; // Serve meanwhile.
/// println!("{:?}", restoring.wait());
/// assert!(file.try_pin(PageNo(700)).is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotSet {
    pub(crate) key: FileKey,
    pub(crate) page_size: PageSize,
    pub(crate) page_count: u64,
    /// The pages by their chances, those with the most first; each list in ascending order.
    pub(crate) by_chances: [Vec<PageNo>; HEATS],
}

impl HotSet {
    /// How many pages it has.
    pub fn len(&self) -> usize {
        self.by_chances.iter().map(Vec::len).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pages with their chances, 0 to 3: most used first, and in ascending order among equals.
    pub fn pages(&self) -> impl Iterator<Item = (PageNo, u8)> {
        let lists = (0..HEATS as u8).rev().zip(&self.by_chances);
        lists.flat_map(|(chances, pages)| pages.iter().map(move |&page| (page, chances)))
    }

    /// What the caller told the file from others by.
    pub fn key(&self) -> FileKey {
        self.key
    }
}

impl PoolFile {
    /// The first pages of the file, at most as many as the pool has frames, as if they were hot: for
    /// who wants to begin warm and has saved nothing.
    pub fn first_pages(&self, key: FileKey) -> HotSet {
        let File { pool, table, .. } = &**self.file();
        let (page_size, page_count) = (pool.page_size, table.page_count());
        let mut by_chances: [Vec<PageNo>; HEATS] = Default::default();
        let most = page_count.min(pool.frames.usable_count() as u64);
        by_chances[HEATS - 1].extend((0..most).map(PageNo));
        HotSet { key, page_size, page_count, by_chances }
    }

    /// The hot set at this moment. Looks at every frame of the pool, some 60 ms for each million,
    /// and takes 8 bytes a page while it is kept.
    ///
    /// `key` is what tells the file from others and from later versions of itself: that of its
    /// checksums, say. A hot set is only read back under the same one.
    pub fn hot_set(&self, key: FileKey) -> HotSet {
        let File { pool, table, .. } = &**self.file();
        let (page_size, page_count) = (pool.page_size, table.page_count());
        let mut by_chances: [Vec<PageNo>; HEATS] = Default::default();
        for (frame, file, page) in pool.frames.owned() {
            let Some(word) = table.word(page).filter(|_| file == self.file().number) else {
                continue;
            };
            // The frame's owner is a hint; the word decides.
            let content = word.content();
            let chances = content.chances();
            let unused = content.is_on_probation() && chances == 0;
            if content.is_resident() && content.frame() == frame && !unused {
                by_chances[HEATS - 1 - chances as usize].push(page);
            }
        }
        by_chances.iter_mut().for_each(|pages| {
            pages.sort_unstable();
            pages.dedup(); // One that has moved meanwhile was seen in two frames.
        });
        HotSet { key, page_size, page_count, by_chances }
    }
}
