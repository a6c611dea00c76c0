//! Warm start: the pages of a hot set are read in the background, while the pool serves.
//!
//! One thread reads a few pages at a time, the most used first. It takes free frames and never
//! asks for one: when the pool is nearly full, or has been, what serving has brought in is worth
//! more than what a former process left behind, and the thread ends. Where others read meanwhile
//! it pauses for longer than it reads, so that it has the disk to itself or a small part of it.
//! Nothing of it counts as asked for: no hits, no misses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringpool_storage::{Error, PageNo};

use crate::counters::Count;
use crate::events;
use crate::guard::PageGuard;
use crate::hot_set::HotSet;
use crate::hot_set_file::HotSetError;
use crate::landing::Batch;
use crate::pool::{Core, File, PoolFile};
use crate::word::Frame;

/// Pages that are read side by side: enough for a disk to be quick at it, and few beside what it
/// can do.
const BATCH: usize = 16;
/// Where others read too, it pauses so many times as long as it has read.
const PAUSE_FOR_OTHERS: u32 = 3;
/// And not longer, whatever the disk took.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// One frame of so many is left free, and not fewer than `LEAST_LEFT`: misses are to find one.
const FRAMES_PER_LEFT: usize = 32;
const LEAST_LEFT: usize = 16;
/// After so many reads that gave no page there is no point in more.
const MOST_FAILURES: u64 = 64;
/// How long to work for others before a read is tried again that the device's queue had no room
/// for.
const BACK_PRESSURE: Duration = Duration::from_millis(1);

/// A hot set that is being restored. Dropped, it stops, within the time that a few reads take.
#[must_use = "dropped, it stops; wait for it, or keep it while serving"]
pub struct Restoring {
    order: Arc<Order>,
    thread: Option<JoinHandle<Restored>>,
    pool: Arc<Core>,
}

/// What the thread and who waits for it tell each other.
#[derive(Default)]
struct Order {
    stop: AtomicBool,
    read: AtomicU64,
}

/// What became of restoring a hot set. The pages of it are those read, found, failed and left.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// Pages read into memory.
    pub read: u64,
    /// Pages that were in memory already, or on their way.
    pub found: u64,
    /// Pages that could not be read. Nothing of that is kept: who asks for one reads again.
    pub failed: u64,
    /// Pages that were not tried.
    pub left: u64,
    /// Why it ended.
    pub ended: Ended,
}

/// Why restoring has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Ended {
    /// All pages were tried.
    Complete,
    /// It was cancelled, or its file dropped.
    Cancelled,
    /// There are few free frames left: from here on, one page more is another one less.
    PoolFull,
    /// The device does not answer, or fails again and again; its last error.
    Device(Error),
}

impl PoolFile {
    /// Begins to read the pages of `hot_set`, most used first, with the chances that they had.
    ///
    /// A thread does it, a few pages at a time, and gives way to reads of others. It takes only
    /// frames that are free, so that it evicts nothing: restore before or while a pool fills.
    ///
    /// # Errors
    /// [`HotSetError::Mismatch`] when the file has other pages, [`HotSetError::NoThread`] when no
    /// thread can be had, [`HotSetError::Forked`] in a child process.
    pub fn restore(&self, hot_set: HotSet) -> Result<Restoring, HotSetError> {
        let file = self.file();
        let name = || file.device.file().clone();
        if file.pool.frames.arena.is_the_parents() {
            return Err(HotSetError::Forked { file: name() });
        }
        let its = (hot_set.page_size, hot_set.page_count);
        let ours = (file.pool.page_size, file.table.page_count());
        if its != ours {
            let reason = format!(
                "it has {} pages of {}, and its hot set is of {} pages of {}",
                ours.1, ours.0, its.1, its.0
            );
            return Err(HotSetError::Mismatch { file: name(), reason });
        }
        let order = Arc::new(Order::default());
        let restorer = Restorer { file: file.clone(), order: order.clone() };
        let thread = thread::Builder::new().name("ringpool-restore".into());
        let thread = thread.spawn(move || restorer.restore(&hot_set));
        let thread = thread.map_err(|source| HotSetError::NoThread { file: name(), source })?;
        Ok(Restoring { order, thread: Some(thread), pool: file.pool.clone() })
    }
}

impl Restoring {
    /// Asks it to stop, and does not wait for that.
    pub fn cancel(&self) {
        // Relaxed: nothing is read on the strength of it.
        self.order.stop.store(true, Ordering::Relaxed);
        self.thread.iter().for_each(|thread| thread.thread().unpark());
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Pages read into memory so far.
    pub fn read(&self) -> u64 {
        // Relaxed: a count.
        self.order.read.load(Ordering::Relaxed)
    }

    /// Waits until it has ended by itself, or because it was cancelled.
    ///
    /// # Panics
    /// When its thread has panicked: a device that breaks its promises.
    pub fn wait(mut self) -> Restored {
        let thread = self.thread.take().expect("taken only here and by drop");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        self.cancel();
        let Some(thread) = self.thread.take() else { return };
        if self.pool.frames.arena.is_the_parents() {
            std::mem::forget(thread); // It runs in the parent alone.
            return;
        }
        let _ = thread.join(); // A panic was printed already.
    }
}

/// The thread's side.
struct Restorer {
    file: Arc<File>,
    order: Arc<Order>,
}

/// A batch that is being read.
struct InFlight {
    batch: Arc<Batch>,
    outstanding: usize,
}

impl Restorer {
    fn restore(&self, hot_set: &HotSet) -> Restored {
        let mut restored =
            Restored { read: 0, found: 0, failed: 0, left: 0, ended: Ended::Complete };
        let mut pages = hot_set.pages();
        loop {
            let batch: Vec<(PageNo, u8)> = pages.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let others_before = self.others_started(0);
            let begun = Instant::now();
            let before = restored.read + restored.failed;
            let tried = self.why_not().and_then(|()| self.bring_in(&batch, &mut restored));
            // Relaxed: a count.
            self.order.read.store(restored.read, Ordering::Relaxed);
            if let Err(ended) = tried {
                restored.ended = ended;
                break;
            }
            let ours = restored.read + restored.failed - before;
            if self.others_started(ours) != others_before {
                self.pause(begun.elapsed().saturating_mul(PAUSE_FOR_OTHERS).min(LONGEST_PAUSE));
            }
        }
        let tried = restored.read + restored.found + restored.failed;
        restored.left = (hot_set.len() as u64).saturating_sub(tried);
        events::restored(self.file.device.file(), &restored);
        restored
    }

    /// Whether to go on.
    fn why_not(&self) -> Result<(), Ended> {
        if self.is_stopped() {
            return Err(Ended::Cancelled);
        }
        let pool = &self.file.pool;
        let left = (pool.frames.usable_count() / FRAMES_PER_LEFT).max(LEAST_LEFT);
        match pool.clock.is_full() || pool.frames.free_count() <= left {
            true => Err(Ended::PoolFull),
            false => Ok(()),
        }
    }

    fn is_stopped(&self) -> bool {
        // Relaxed, both: nothing is read on the strength of them.
        self.order.stop.load(Ordering::Relaxed) || self.file.is_closing.load(Ordering::Relaxed)
    }

    /// Reads that others have started in this pool since it was made, `ours` of the last moment
    /// left out.
    fn others_started(&self, ours: u64) -> u64 {
        self.file.pool.counters.sum().of(Count::Started).saturating_sub(ours)
    }

    fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.is_stopped() && Instant::now() < until {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Reads those of `pages` that are absent, into free frames, and waits for them.
    fn bring_in(&self, pages: &[(PageNo, u8)], restored: &mut Restored) -> Result<(), Ended> {
        let numbers: Vec<PageNo> = pages.iter().map(|&(page, _)| page).collect();
        let batch = Batch::new(self.file.clone(), &numbers, pages.len());
        let mut reads = InFlight { batch, outstanding: 0 };
        let mut full = false;
        for (index, &page) in numbers.iter().enumerate() {
            match self.claim(page) {
                Claim::Claimed(frame) => self.start(&mut reads, index as u32, frame),
                Claim::Found => restored.found += 1,
                Claim::NoFrame => full = true,
            }
        }
        let last_error = self.collect(&mut reads, pages, restored)?;
        match last_error {
            Some(error) if restored.failed >= MOST_FAILURES => Err(Ended::Device(error)),
            _ if full => Err(Ended::PoolFull),
            _ => Ok(()),
        }
    }

    /// Claims `page` for a frame that is free, if it is absent.
    fn claim(&self, page: PageNo) -> Claim {
        let pool = &self.file.pool;
        let Some(word) = self.file.table.word(page) else {
            return Claim::Found;
        };
        let Some(ghost) = word.absent() else {
            return Claim::Found;
        };
        let Some(frame) = pool.frames.take() else {
            return Claim::NoFrame;
        };
        if word.claim(ghost, frame, pool.clock.start(ghost, &pool.frames)) {
            pool.frames.owner(frame).set(self.file.number, page);
            return Claim::Claimed(frame);
        }
        pool.frames.give(frame);
        Claim::Found // By somebody else, just now.
    }

    fn start(&self, reads: &mut InFlight, index: u32, frame: Frame) {
        let device = &self.file.device;
        self.file.count(Count::Started, 1);
        self.file.in_flight.fetch_add(1, Ordering::Relaxed);
        reads.outstanding += 1;
        let mut read = reads.batch.read(index, frame, self.file.pool.miss_times.now());
        let deadline = Instant::now() + self.file.pool.device_patience;
        while let Err(handed_back) = device.submit(read) {
            if Instant::now() > deadline {
                return; // Dropped, it lands as abandoned, which its waiters are told.
            }
            read = handed_back;
            device.drive(&|| reads.batch.has_arrivals(), Some(Instant::now() + BACK_PRESSURE));
        }
    }

    /// Waits for what is outstanding, and gives each page its chances. Returns the last error.
    fn collect(
        &self,
        reads: &mut InFlight,
        pages: &[(PageNo, u8)],
        restored: &mut Restored,
    ) -> Result<Option<Error>, Ended> {
        let (device, patience) = (&self.file.device, self.file.pool.device_patience);
        let mut last_error = None;
        while reads.outstanding > 0 {
            let arrived = || reads.batch.has_arrivals();
            if !device.drive(&arrived, Some(Instant::now() + patience)) {
                restored.failed += reads.outstanding as u64;
                let file = device.file().clone();
                events::device_is_silent(&file, patience);
                return Err(Ended::Device(Error::TimedOut { file, waited: patience }));
            }
            while let Some((index, result)) = reads.batch.collect() {
                reads.outstanding -= 1;
                let (page, chances) = pages[index as usize];
                match result {
                    Ok(frame) => {
                        let pinned = PageGuard::of_pin(&self.file, page, frame);
                        self.file.table.word(page).inspect(|word| word.warm(chances.into()));
                        drop(pinned);
                        restored.read += 1;
                    }
                    Err(error) => {
                        last_error = Some(error);
                        restored.failed += 1;
                    }
                }
            }
        }
        Ok(last_error)
    }
}

/// What became of a page that is to be read.
enum Claim {
    Claimed(Frame),
    /// It is in memory or on its way, or the file has no such page.
    Found,
    NoFrame,
}
