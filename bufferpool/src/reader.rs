//! Readers: looking at resident pages without pinning them.
//!
//! During a [`Stay`] a reader is inside an epoch. What it finds in the page table stays where it
//! is, even if it is evicted meanwhile, until the stay ends or lets go of everything at once; that
//! takes `&mut self`, so that no reference is left then: the borrow checker carries the proof. So
//! a look at a page is a load, a test and nothing written but, the first few times, the page's own
//! chance (see `epochs` for what makes that safe).

#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use ringpool_storage::{Error, PageNo, Result};

use crate::arena::Arena;
use crate::counters::Count;
use crate::epochs::SeatNo;
use crate::error::PoolError;
use crate::fetch;
use crate::guard::prefetch;
use crate::pool::{Core, Pool, PoolFile};
use crate::table::FileNo;
use crate::word::Word;

/// Looks at resident pages of all files of a pool at the price of a load.
///
/// Make one for each thread and keep it; it can be sent, not shared. It holds nothing between one
/// [stay](Self::enter) and the next.
///
/// ```
/// # use std::sync::Arc;
/// # use ringpool_bufferpool::{Pool, PoolOptions};
/// # use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
/// # let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
/// # let file = pool.attach(Arc::new(MemoryDevice::new(pages)), None)?;
/// let mut reader = pool.reader()?;
/// let mut stay = reader.enter(); // For a query, say.
/// assert!(stay.get(&file, PageNo(3)).is_none()); // Not in memory: nothing is read for it.
/// assert_eq!(stay.read(&file, PageNo(3))?[0], 7); // Read, and looked at.
///
/// let (first, second) = (stay.get(&file, PageNo(3)), stay.get(&file, PageNo(3)));
/// assert_eq!(first, second); // Any number of pages side by side.
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    core: Arc<Core>,
    seat: SeatNo,
}

/// A stay of a [`Reader`] among the pages in memory.
///
/// While it lasts, frames of pages that are evicted are not used again: they wait in limbo
/// ([`Stats::limbo`](crate::Stats::limbo)). Keep it as short as a query, or
/// [`refresh`](Self::refresh) it: one that never lets go keeps a sixteenth of the frames from use,
/// and then others from reading anything new.
#[must_use = "pages are looked at during a stay"]
pub struct Stay<'r> {
    /// Inside, but while a method with `&mut self` runs.
    reader: &'r Reader,
    /// Hits that are not counted yet, all of one file, and its number.
    hits: Cell<u64>,
    hit_file: Cell<FileNo>,
}

impl Pool {
    /// A reader of this pool's pages.
    ///
    /// # Errors
    /// [`PoolError::TooManyReaders`] past [`MAX_READERS`](Self::MAX_READERS) at once.
    pub fn reader(&self) -> std::result::Result<Reader, PoolError> {
        let core = self.core().clone();
        let readers = Self::MAX_READERS;
        let seat = core.frames.epochs.sit().ok_or(PoolError::TooManyReaders { readers })?;
        Ok(Reader { core, seat })
    }
}

impl Reader {
    /// Enters. The stay ends when it is dropped.
    #[inline]
    pub fn enter(&mut self) -> Stay<'_> {
        self.core.frames.epochs.enter(&self.seat);
        Stay { reader: self, hits: Cell::new(0), hit_file: Cell::new(0) }
    }

    /// Lets go of what was seen. By the stay, when none of its slices is left.
    #[inline]
    fn enter_anew(&self) {
        self.core.frames.epochs.enter(&self.seat);
    }

    #[inline]
    fn is_of(&self, file: &PoolFile) -> bool {
        Arc::ptr_eq(&self.core, &file.file().pool) && !self.core.frames.arena.is_the_parents()
    }
}

impl Stay<'_> {
    /// The pages of `file`, for many looks: what each look would have to find anew is found here
    /// once. None is in memory when the file belongs to another pool.
    #[inline]
    pub fn pages<'s>(&'s self, file: &'s PoolFile) -> Pages<'s> {
        let words = if self.reader.is_of(file) { file.file().table.all() } else { &[] };
        Pages { words, arena: &self.reader.core.frames.arena, file: file.file().number, stay: self }
    }

    /// The page, if it is in memory. Never waits, never reads. For many looks at one file, take
    /// its [`pages`](Self::pages).
    #[inline]
    pub fn get<'s>(&'s self, file: &'s PoolFile, page: PageNo) -> Option<&'s [u8]> {
        self.pages(file).get(page)
    }

    /// Those of `pages` that are in memory; see [`Pages::get_many`].
    ///
    /// # Panics
    /// When `found` is not as long as `pages`.
    #[inline]
    pub fn get_many<'s>(
        &'s self,
        file: &'s PoolFile,
        pages: &[PageNo],
        found: &mut [Option<&'s [u8]>],
    ) -> usize {
        self.pages(file).get_many(pages, found)
    }

    /// The page, read first if it is not in memory. Everything seen before is let go.
    ///
    /// # Errors
    /// As those of [`PoolFile::pin`]; [`Error::NoSuchPage`] also when the file belongs to another
    /// pool.
    pub fn read<'s>(&'s mut self, file: &'s PoolFile, page: PageNo) -> Result<&'s [u8]> {
        let word = self.word(file, page)?;
        let mut frame = word.look();
        if frame.is_none() {
            let outside = Outside::step(self.reader);
            fetch::fetch(file.file(), &[page], &mut |_, _| {
                // Pinned at this moment, and from here on we are inside.
                outside.end();
                frame = Some(word.content().frame());
            })?;
        } else {
            self.hit(file.file().number, 1);
        }
        let frame = frame.ok_or_else(|| self.no_such_page(file, page))?;
        // SAFETY: as in `get`: we are inside since a moment when the page was resident.
        Ok(unsafe { self.reader.core.frames.arena.bytes(frame) })
    }

    /// Visits `pages` as [`PageSource::visit`](ringpool_storage::PageSource::visit) does, with
    /// everything seen before let go: to bring in what [`get_many`](Self::get_many) has not found.
    ///
    /// # Errors
    /// As those of `visit`.
    pub fn visit(
        &mut self,
        file: &PoolFile,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let _outside = Outside::step(self.reader);
        fetch::fetch(file.file(), pages, each)
    }

    /// Lets go of everything seen so far, so that its frames can be used again.
    #[inline]
    pub fn refresh(&mut self) {
        self.reader.enter_anew();
        self.count();
    }

    fn word<'s>(&self, file: &'s PoolFile, page: PageNo) -> Result<&'s Word> {
        if self.reader.core.frames.arena.is_the_parents() {
            return Err(Error::Forked { file: file.file().device.file().clone() });
        }
        match self.reader.is_of(file) {
            true => file.file().word(page),
            false => Err(self.no_such_page(file, page)),
        }
    }

    fn no_such_page(&self, file: &PoolFile, page: PageNo) -> Error {
        Error::NoSuchPage { file: file.file().device.file().clone(), page, pages: 0 }
    }

    #[inline]
    fn hit(&self, file: FileNo, hits: u64) {
        if self.hit_file.get() != file {
            self.count();
            self.hit_file.set(file);
        }
        self.hits.set(self.hits.get() + hits);
    }

    /// Hands its own count over to the pool's.
    fn count(&self) {
        let hits = self.hits.take();
        if hits > 0 {
            self.reader.core.counters.add(self.hit_file.get(), Count::Hit, hits);
        }
    }
}

/// The pages of one file during a [`Stay`].
#[derive(Clone, Copy)]
pub struct Pages<'s> {
    words: &'s [Word],
    arena: &'s Arena,
    file: FileNo,
    stay: &'s Stay<'s>,
}

impl<'s> Pages<'s> {
    /// The page, if it is in memory. Never waits, never reads.
    #[inline]
    pub fn get(&self, page: PageNo) -> Option<&'s [u8]> {
        let frame = self.word(page)?.look()?;
        self.stay.hit(self.file, 1);
        // SAFETY: we are inside since before the look, and until the stay is had as `&mut`, when
        // no slice is left. Until then nobody writes to the frame (`epochs`).
        Some(unsafe { self.arena.bytes(frame) })
    }

    /// Those of `pages` that are in memory: `found[i]` becomes the page `pages[i]`, or `None`.
    /// Returns how many there are.
    ///
    /// The pages' first lines are asked for together, as soon as the table's words are there, so
    /// that the processor waits for all of them at once: up to a few dozen pages that is faster than
    /// one [`get`](Self::get) after the other. (The words need no asking for: nothing that comes
    /// between two of them has to be waited for.)
    ///
    /// # Panics
    /// When `found` is not as long as `pages`.
    #[inline]
    pub fn get_many(&self, pages: &[PageNo], found: &mut [Option<&'s [u8]>]) -> usize {
        assert_eq!(pages.len(), found.len(), "a place for each page");
        let mut count = 0;
        for (found, &page) in found.iter_mut().zip(pages) {
            *found = self.word(page).and_then(Word::look).map(|frame| {
                prefetch(self.arena.address(frame).as_ptr());
                count += 1;
                // SAFETY: as in `get`.
                unsafe { self.arena.bytes(frame) }
            });
        }
        self.stay.hit(self.file, count);
        count as usize
    }

    #[inline]
    fn word(&self, page: PageNo) -> Option<&'s Word> {
        self.words.get(usize::try_from(page.0).ok()?)
    }
}

impl Drop for Stay<'_> {
    #[inline]
    fn drop(&mut self) {
        self.count();
        self.reader.core.frames.epochs.leave(&self.reader.seat);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A stay that was leaked ends here.
        self.core.frames.epochs.leave(&self.seat);
        self.core.frames.epochs.rise(&self.seat);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("seat", &self.seat).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay").field("reader", self.reader).finish_non_exhaustive()
    }
}

/// A stay that is interrupted for a moment, and not longer, by whatever return or panic.
struct Outside<'a> {
    reader: &'a Reader,
}

impl<'a> Outside<'a> {
    fn step(reader: &'a Reader) -> Self {
        reader.core.frames.epochs.leave(&reader.seat);
        Self { reader }
    }

    fn end(&self) {
        self.reader.enter_anew();
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        if !self.reader.core.frames.epochs.is_inside(&self.reader.seat) {
            self.end();
        }
    }
}
