//! The pool and its files: everything put together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpool_storage::{
    Checksums, Error, Gather, PageDevice, PageNo, PageSize, PageSource, Result,
};

use crate::ahead::Ahead;
use crate::arena::Arena;
use crate::budget::{self, Accounts, Unpaid};
use crate::clock::Clock;
use crate::counters::{Count, Counters};
use crate::epochs::Epochs;
use crate::error::PoolError;
use crate::fetch;
use crate::frames::{Frames, Idle};
use crate::free::FreeList;
use crate::guard::PageGuard;
use crate::hint::{Hint, Reading};
use crate::landing::Batch;
use crate::miss_times::MissTimes;
use crate::options::PoolOptions;
use crate::starved::Starved;
use crate::stats::Audit;
use crate::sync::{AtomicBool, AtomicUsize, Mutex};
use crate::table::{FileNo, Table};
use crate::tables::Tables;
use crate::waiting::Waiting;
use crate::word::{Frame, Look, Word};

/// Frames for the pages of any number of files, within a budget.
///
/// Clones are the same pool. It lives as long as one of its files, guards or reads in flight.
///
/// It stays with its process: in a child after a fork its frames are not mapped, its calls give
/// [`Error::Forked`], and a guard that is read there faults. Make another one in the child.
#[derive(Clone)]
pub struct Pool {
    core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) page_size: PageSize,
    pub(crate) frames: Frames,
    pub(crate) clock: Clock,
    pub(crate) tables: Tables,
    /// Batches, and which of their pages they wait for.
    pub(crate) waiting: Waiting<(Arc<Batch>, u32)>,
    pub(crate) starved: Starved,
    pub(crate) ahead: Ahead,
    /// The floors of all files together, in frames.
    pub(crate) floors: Mutex<usize>,
    pub(crate) counters: Counters,
    pub(crate) miss_times: MissTimes,
    pub(crate) frame_patience: Duration,
    pub(crate) device_patience: Duration,
    pub(crate) accounts: Accounts,
    pub(crate) whole_tables: bool,
}

impl Pool {
    /// The frames that a pool has at least, whatever their size: below, threads would wait for
    /// each other rather than for the disk.
    pub const MIN_FRAMES: u32 = if cfg!(shuttle) { 4 } else { 64 };

    /// The readers that a pool has at once, at most.
    pub const MAX_READERS: usize = Epochs::SEATS;

    /// A pool within the budget of `options`.
    ///
    /// # Errors
    /// [`PoolError::BelowMinimum`] when the budget holds fewer than
    /// [`MIN_FRAMES`](Self::MIN_FRAMES) frames, [`PoolError::NoMemory`] when the address space
    /// for it cannot be had, [`PoolError::NotLocked`] when its frames may not be locked.
    pub fn new(options: &PoolOptions) -> std::result::Result<Self, PoolError> {
        let &PoolOptions { memory_bytes, page_size, policy, .. } = options;
        let frame_bytes = Self::frame_bytes(page_size);
        let most = u64::from(FreeList::MOST);
        let max_memory_bytes = options.max_memory_bytes.unwrap_or(0).max(memory_bytes);
        let capacity = (max_memory_bytes / frame_bytes).min(most) as u32;
        // What is kept for frames in reserve.
        let spent_bytes = (u64::from(capacity) - (memory_bytes / frame_bytes).min(most))
            .saturating_mul(Clock::BYTES_PER_FRAME);
        let count = (memory_bytes.saturating_sub(spent_bytes) / frame_bytes).min(most) as u32;
        if count < Self::MIN_FRAMES {
            return Err(PoolError::BelowMinimum {
                memory_bytes,
                minimum_frames: Self::MIN_FRAMES,
                minimum_bytes: u64::from(Self::MIN_FRAMES) * frame_bytes + spent_bytes,
                page_size,
            });
        }
        let no_memory = |source| PoolError::NoMemory { memory_bytes: max_memory_bytes, source };
        let arena = Arena::new(capacity, page_size.bytes(), options.locked).map_err(no_memory)?;
        arena.use_below(|| count)?;
        let core = Core {
            page_size,
            frames: Frames::new(arena, count).map_err(no_memory)?,
            clock: Clock::new(policy, capacity).map_err(no_memory)?,
            tables: Tables::default(),
            waiting: Waiting::new(),
            starved: Starved::default(),
            ahead: Ahead::default(),
            floors: Mutex::default(),
            counters: Counters::new(),
            miss_times: MissTimes::new(),
            frame_patience: options.frame_patience,
            device_patience: options.device_patience,
            accounts: Accounts::new(memory_bytes, max_memory_bytes, spent_bytes),
            whole_tables: options.whole_tables,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Attaches a file. Its checksums (4 bytes a page) and its page table (8 bytes a page) are
    /// paid for with frames, which are free again once the [`PoolFile`] and its guards are gone.
    ///
    /// Of a page table that takes more than a 32nd of the budget, and more than 64 KiB or so
    /// (unless it is to be [whole](PoolOptions::whole_tables)), only the parts are in memory that
    /// pages were read of, 4 KiB for 512 pages (a page of the system's, where those are larger);
    /// they are given back when all of those have been evicted, and as many pages again as the pool
    /// has frames. A file of any length can be attached, and costs nothing but its checksums until
    /// it is read.
    ///
    /// With `checksums`, each page is checked when it is read, before anybody sees it.
    ///
    /// # Errors
    /// [`PoolError::Mismatch`] when the file's page size or number of checksums is another,
    /// [`PoolError::TableTooLarge`] when too few frames would be left, [`PoolError::Pinned`] when
    /// none come free, [`PoolError::TooManyFiles`] past 65,535.
    pub fn attach(
        &self,
        device: Arc<dyn PageDevice>,
        checksums: Option<Checksums>,
    ) -> std::result::Result<PoolFile, PoolError> {
        let (name, pages) = (device.file().clone(), device.page_count());
        let core = &self.core;
        let mismatch = |reason| Err(PoolError::Mismatch { file: name.clone(), reason });
        if device.page_size() != core.page_size {
            let (its, ours) = (device.page_size(), core.page_size);
            return mismatch(format!("its pages have {its}, the pool's {ours}"));
        }
        if let Some(sums) = &checksums
            && sums.page_count() != pages
        {
            return mismatch(format!("{} checksums for {pages} pages", sums.page_count()));
        }
        let sum_bytes = checksums.as_ref().map_or(0, Checksums::memory_bytes);
        let whole = core.is_paid_whole(pages);
        let table_bytes = sum_bytes + if whole { Table::memory_bytes(pages) } else { 0 };
        let later_bytes = if whole { 0 } else { Core::least_stretch_bytes(pages) };
        core.pay(&name, table_bytes, later_bytes, *core.floors.lock())?;
        let attached = Table::new(pages, whole)
            .map_err(|source| PoolError::NoMemory {
                memory_bytes: Table::memory_bytes(pages),
                source,
            })
            .and_then(|table| core.enter(&name, table));
        let (number, table) = attached.inspect_err(|_| core.refund(table_bytes))?;
        core.counters.list(number, name, pages);
        let pool = core.clone();
        let file = File {
            pool,
            number,
            table,
            device,
            checksums,
            in_flight: AtomicUsize::new(0),
            is_closing: AtomicBool::new(false),
            paid_bytes: table_bytes,
        };
        Ok(PoolFile { file: Arc::new(file), was_closed: false })
    }

    /// Compares every page of every file with every frame. For tests of a pool at rest: while
    /// other threads use it, what it finds has no meaning.
    ///
    /// # Errors
    /// The first rule that is broken, in words: a page in two frames, a frame that is used twice
    /// or by nobody.
    pub fn audit(&self) -> std::result::Result<Audit, String> {
        let frames = &self.core.frames;
        let mut audit = Audit::default();
        let mut used_by = vec![None; frames.room.capacity() as usize];
        for (number, table) in self.core.tables.read().iter().enumerate() {
            for (page, word) in table.iter().flat_map(|table| table.words()) {
                let content = word.content();
                if content.is_absent() {
                    continue;
                }
                let frame = content.frame() as usize;
                let user = used_by.get_mut(frame).ok_or(format!("there is no frame {frame}"))?;
                if let Some(other) = user.replace((number, page)) {
                    return Err(format!("frame {frame} holds {other:?} and {:?}", (number, page)));
                }
                audit.pins += content.pins();
                *if content.is_loading() { &mut audit.loading } else { &mut audit.resident } += 1;
            }
            let miscount = table.as_ref().and_then(|table| table.miscount());
            if let Some((stretch, counted, pages)) = miscount {
                return Err(format!(
                    "stretch {stretch} of file {number} counts {counted} pages and has {pages}"
                ));
            }
        }
        let Idle { free, limbo, retired } = frames.idle();
        (audit.free, audit.limbo) = (free.len(), limbo.len());
        audit.retired = self.core.frames_of_budget().saturating_sub(frames.usable_count());
        for frame in free.into_iter().chain(limbo).chain(retired) {
            if let Some(user) = used_by[frame as usize].replace((usize::MAX, PageNo(0))) {
                return Err(format!("frame {frame} is idle and holds {user:?}"));
            }
        }
        // Above the span, frames are out of use without anybody keeping count of them.
        match used_by[..frames.span()].iter().position(Option::is_none) {
            Some(lost) => Err(format!("frame {lost} is lost: neither used nor free")),
            None => Ok(audit),
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The smallest budget, in bytes, that holds the fewest frames a pool has and the page table
    /// and checksums of one file of `pages` pages.
    pub fn minimum_bytes(page_size: PageSize, pages: u64) -> u64 {
        let frame_bytes = Self::frame_bytes(page_size);
        let table_bytes = Table::memory_bytes(pages).saturating_add(pages.saturating_mul(4));
        let table_frames = table_bytes.div_ceil(frame_bytes);
        table_frames.saturating_add(u64::from(Self::MIN_FRAMES)).saturating_mul(frame_bytes)
    }

    /// What each frame pays for what the pool has beside its frames, in bytes: counters, readers'
    /// seats, and the batches of those who wait for the device (about 10 KiB a thread).
    const SHARED_BYTES_PER_FRAME: u64 = 16;

    /// What a frame costs of the budget, in bytes: its page, what is kept for it, and its share of
    /// what the pool has beside.
    pub fn frame_bytes(page_size: PageSize) -> u64 {
        page_size.bytes() as u64
            + Frames::OVERHEAD_BYTES
            + Clock::BYTES_PER_FRAME
            + Self::SHARED_BYTES_PER_FRAME
    }
}

impl Core {
    /// A free frame, or one whose page had to go for it. `None` when all is pinned, or loading, or
    /// may still be looked at by readers.
    ///
    /// `own` is the file that it is for, if it is for a page.
    pub(crate) fn frame(&self, own: Option<FileNo>) -> Option<Frame> {
        let frames = &self.frames;
        let victim = |own| self.clock.victim(frames, &self.tables, &self.counters, own);
        let found = frames.take().or_else(|| frames.reclaim());
        let found = found.or_else(|| if frames.limbo_is_full() { None } else { victim(own) });
        // A victim may have been one of those that are to leave, and another is used for it.
        let found = found.or_else(|| frames.take());
        // While readers are inside, what they may look at is evicted ahead of the need: its frames
        // are free again once they have left.
        if found.is_some() && frames.are_scarce() && frames.epochs.inside() > 0 {
            victim(None).into_iter().for_each(|frame| frames.give(frame));
        }
        if found.is_some() {
            self.tend_tables();
        }
        found
    }

    /// Spends `table_bytes` on the table and the checksums of `file`, or on what else is kept for
    /// it, and leaves as many frames as the `floors` of all files take. There must be `later_bytes`
    /// left for what comes later.
    pub(crate) fn pay(
        &self,
        file: &Arc<str>,
        table_bytes: u64,
        later_bytes: u64,
        floors: usize,
    ) -> std::result::Result<(), PoolError> {
        let needed_bytes = table_bytes.saturating_add(later_bytes);
        let least = budget::least_beside(floors);
        let paid = self.spend_patiently(needed_bytes, least).map_err(|unpaid| match unpaid {
            Unpaid::NotNow => PoolError::Pinned { file: file.clone() },
            Unpaid::TooMuch => {
                let spent_bytes = self.accounts.spent_bytes();
                let least_bytes = Pool::frame_bytes(self.page_size) * u64::from(least);
                PoolError::TableTooLarge {
                    file: file.clone(),
                    table_bytes: needed_bytes,
                    frames: self.frames_of_budget(),
                    minimum_frames: least,
                    minimum_bytes: (least_bytes + spent_bytes).saturating_add(needed_bytes),
                }
            }
        });
        paid.inspect(|()| self.refund(later_bytes))
    }

    /// Gives the table the first number that is not taken.
    fn enter(
        &self,
        file: &Arc<str>,
        table: Table,
    ) -> std::result::Result<(FileNo, Arc<Table>), PoolError> {
        let table = Arc::new(table);
        let mut tables = self.tables.write();
        let place = tables.iter().position(Option::is_none).unwrap_or(tables.len());
        // The last number stands for nobody.
        let Some(number) = FileNo::try_from(place).ok().filter(|&number| number < FileNo::MAX)
        else {
            return Err(PoolError::TooManyFiles { file: file.clone(), files: place });
        };
        match tables.get_mut(place) {
            Some(free) => *free = Some(table.clone()),
            None => tables.push(Some(table.clone())),
        }
        Ok((number, table))
    }
}

/// One attached file. Shared by its [`PoolFile`], its owned guards and its reads in flight.
pub(crate) struct File {
    pub(crate) pool: Arc<Core>,
    pub(crate) number: FileNo,
    pub(crate) table: Arc<Table>,
    pub(crate) device: Arc<dyn PageDevice>,
    pub(crate) checksums: Option<Checksums>,
    /// Reads that have not landed.
    pub(crate) in_flight: AtomicUsize,
    /// Its `PoolFile` is gone: nobody is to begin anything new.
    pub(crate) is_closing: AtomicBool,
    /// What was spent on `table` and `checksums`.
    paid_bytes: u64,
}

impl File {
    #[inline]
    pub(crate) fn word(&self, page: PageNo) -> Result<&Word> {
        self.table.word(page).ok_or_else(|| Error::NoSuchPage {
            file: self.device.file().clone(),
            page,
            pages: self.table.page_count(),
        })
    }

    /// Counts pages that were asked for, a batch at once.
    #[inline]
    pub(crate) fn looked(&self, hits: u64, misses: u64) {
        if hits > 0 {
            self.count(Count::Hit, hits);
        }
        if misses > 0 {
            self.count(Count::Miss, misses);
        }
    }

    #[inline]
    pub(crate) fn count(&self, what: Count, count: u64) {
        self.pool.counters.add(self.number, what, count);
    }

    /// Adds a pin to a page that the caller sees pinned, and returns its frame.
    pub(crate) fn pin_again(&self, page: PageNo) -> Option<Frame> {
        self.table.word(page).and_then(Word::pin_again)
    }

    #[inline]
    pub(crate) fn unpin(&self, page: PageNo) {
        if let Some(word) = self.table.word(page) {
            word.unpin();
        }
    }
}

impl Drop for File {
    /// The last guard and the last read are gone: the pages leave, and their frames come free.
    fn drop(&mut self) {
        self.pool.forget_share(self);
        let mut tables = self.pool.tables.write();
        self.pool.counters.unlist(self.number);
        self.pool.clock.clear(&self.pool.frames, &tables, &self.table, self.number);
        if let Some(place) = tables.get_mut(usize::from(self.number)) {
            *place = None;
        }
        self.pool.tables.forget(self.number);
        drop(tables);
        let stretch_bytes = self.pool.tables.detach(&self.table);
        self.pool.refund(self.paid_bytes + stretch_bytes);
    }
}

/// A file whose pages come through the pool.
///
/// As a [`PageSource`] it is visited in batches; [`pin`](Self::pin) holds on to one page. Its
/// pages leave the pool when it, its owned guards and its reads in flight are gone.
pub struct PoolFile {
    file: Arc<File>,
    /// Whether somebody has waited for its reads already.
    pub(crate) was_closed: bool,
}

impl PoolFile {
    /// Pins `page`, and reads it first if it is not in memory.
    ///
    /// # Errors
    /// [`Error::NoSuchPage`], whatever the device answers, [`Error::Checksum`] when the bytes are
    /// wrong, [`Error::Exhausted`] when no frame comes free in time.
    pub fn pin(&self, page: PageNo) -> Result<PageGuard<'_>> {
        match self.try_pin(page) {
            Some(guard) => Ok(guard),
            None => self.pin_with(page, &Reading::default()),
        }
    }

    /// Pins `page` if it is in memory. Never waits, never reads.
    #[inline]
    pub fn try_pin(&self, page: PageNo) -> Option<PageGuard<'_>> {
        if self.file.pool.frames.arena.is_the_parents() {
            return None;
        }
        let word = self.file.table.word(page)?;
        let Look::Pinned(frame) = word.pin() else { return None };
        self.file.count(Count::Hit, 1);
        Some(PageGuard::at(&self.file, page, word, frame))
    }

    /// Drops `page` from memory, if it is there and nobody pins it. Returns whether it was.
    pub fn forget(&self, page: PageNo) -> bool {
        let evicted = self.file.table.word(page).and_then(Word::evict);
        if let Some(frame) = evicted {
            let free = self.file.unlinked(page, frame);
            free.into_iter().for_each(|frame| self.file.pool.frames.give(frame));
        }
        evicted.is_some()
    }

    pub(crate) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// The pool that the file is attached to.
    pub fn pool(&self) -> Pool {
        Pool { core: self.file.pool.clone() }
    }
}

impl PageSource for PoolFile {
    fn page_size(&self) -> PageSize {
        self.file.pool.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.table.page_count()
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        fetch::fetch(&self.file, pages, each)
    }

    fn visit_until(
        &self,
        pages: &[PageNo],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let reading = deadline.map_or_else(Reading::default, |at| Reading::default().until(at));
        self.visit_with(pages, &reading, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        Some(self.gather_with(Hint::default()))
    }
}
