//! Warm start: the pages of a hot set are read in the background, while the pool serves.
//!
//! One thread reads a few pages at a time, the most used first. It takes free frames and never
//! asks for one: when the pool is nearly full, or has been, what serving has brought in is worth
//! more than what a former process left behind, and the thread ends. Where others read meanwhile
//! it pauses for longer than it reads, so that it has the disk to itself or a small part of it.
//! Nothing of it counts as asked for: no hits, no misses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringpool_storage::{Error, PageNo};

use crate::asking::Asking;
use crate::counters::Count;
use crate::events;
use crate::hint::Reading;
use crate::hot_set::HotSet;
use crate::hot_set_file::HotSetError;
use crate::landing::Asker;
use crate::pool::{Core, File, PoolFile};
use crate::share::Lack;

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
    /// Whether the thread has come to its end, by whichever way.
    is_over: Mutex<bool>,
    over: Condvar,
}

/// Says so at the thread's end.
struct Ending(Arc<Order>);

impl Drop for Ending {
    fn drop(&mut self) {
        *self.0.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.over.notify_all();
    }
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
        let ending = Ending(order.clone());
        let thread = thread.spawn(move || {
            let restored = restorer.restore(&hot_set);
            drop((restorer, ending)); // The file first: who waits may be about to close it.
            restored
        });
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

    /// Waits until it has ended, as [`wait`](Self::wait) does, or until `deadline`.
    ///
    /// # Errors
    /// Itself, at the deadline: to be waited for again, kept, dropped, or [left](Self::leave).
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_until(self, deadline: Instant) -> Result<Restored, Self> {
        let mut is_over = self.order.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(is_over);
                return Err(self);
            }
            let waited = self.order.over.wait_timeout(is_over, left);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(is_over);
        Ok(self.wait())
    }

    /// Cancels it and does not wait for its end, as dropping it does: it comes when the reads that
    /// are in flight have landed.
    pub fn leave(mut self) {
        self.cancel();
        self.thread = None; // Detached.
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
            let tried = self.bring_in(&batch, &mut restored);
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

    /// Whether to go on, and why not.
    fn may_go_on(&self) -> Result<(), Ended> {
        match (self.is_stopped(), self.has_room()) {
            (true, _) => Err(Ended::Cancelled),
            (false, false) => Err(Ended::PoolFull),
            (false, true) => Ok(()),
        }
    }

    /// Whether a page can come in and nobody has to go for it, nor soon.
    fn has_room(&self) -> bool {
        let File { pool, table, .. } = &*self.file;
        let left = (pool.frames.usable_count() / FRAMES_PER_LEFT).max(LEAST_LEFT);
        let below_ceiling =
            table.holdings.ceiling().is_none_or(|most| table.holdings.held() < most);
        below_ceiling && !pool.clock.is_full() && pool.frames.free_count() > left
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

    /// Reads those of `pages` that are absent, while there is room, and waits for them.
    fn bring_in(&self, pages: &[(PageNo, u8)], restored: &mut Restored) -> Result<(), Ended> {
        let numbers: Vec<PageNo> = pages.iter().map(|&(page, _)| page).collect();
        let reading = Reading::default();
        let asking = Asking::new(&self.file, pages.len(), 0, &reading, Asker::this_thread);
        let mut reads = Reads { file: &self.file, asking, last_error: None };
        let mut tried = Ok(());
        for (index, &page) in numbers.iter().enumerate() {
            while !reads.asking.may_look_on(&self.file) {
                reads.wait(pages, restored)?; // For a place among the batch's reads.
            }
            tried = self.may_go_on();
            if tried.is_ok() {
                match reads.claim(index, page, &numbers) {
                    Ok(true) => {}
                    Ok(false) => restored.found += 1,
                    Err(_) => tried = Err(Ended::PoolFull),
                }
            }
            if tried.is_err() {
                break;
            }
        }
        while reads.asking.is_waiting() {
            reads.wait(pages, restored)?;
        }
        match reads.last_error.take() {
            Some(error) if restored.failed >= MOST_FAILURES => Err(Ended::Device(error)),
            _ => tried,
        }
    }
}

/// The reads of one batch. Dropped, those that are still in flight land without it.
struct Reads<'a> {
    file: &'a Arc<File>,
    asking: Asking,
    last_error: Option<Error>,
}

impl Reads<'_> {
    /// Starts to read `page`, if it is absent. Returns whether it was.
    fn claim(&mut self, index: usize, page: PageNo, numbers: &[PageNo]) -> Result<bool, Lack> {
        let word = self.file.table.word(page);
        match word.and_then(|word| Some((word, word.content().ghost()?))) {
            Some((word, ghost)) => self.asking.claim(word, ghost, index, self.file, numbers),
            None => Ok(false),
        }
    }

    /// Waits for the next arrivals, and gives each page its chances.
    fn wait(&mut self, pages: &[(PageNo, u8)], restored: &mut Restored) -> Result<(), Ended> {
        let (device, patience) = (&self.file.device, self.file.pool.device_patience);
        let deadline = Instant::now() + patience;
        while !self.asking.has_arrivals() {
            let until = match self.asking.was_handed_back() {
                true => deadline.min(Instant::now() + BACK_PRESSURE),
                false => deadline,
            };
            device.drive(&|| self.asking.has_arrivals(), Some(until));
            if !self.asking.has_arrivals() && Instant::now() >= deadline {
                let file = device.file().clone();
                restored.failed += self.asking.on_their_way() as u64;
                events::device_is_silent(&file, patience);
                return Err(Ended::Device(Error::TimedOut { file, waited: patience }));
            }
            let was_handed_back = self.asking.was_handed_back();
            self.asking.try_again(self.file);
            if was_handed_back && !self.asking.was_handed_back() {
                break; // It has a place now, and there may be one for the next.
            }
        }
        while let Some((index, arrival)) = self.asking.collect(self.file) {
            let (page, chances) = pages[index];
            match arrival {
                Ok(pinned) => {
                    self.file.table.word(page).inspect(|word| word.warm(chances.into()));
                    self.file.let_go(page, pinned);
                    restored.read += 1;
                }
                Err(error) => {
                    self.last_error = Some(error);
                    restored.failed += 1;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        self.asking.leave(self.file);
    }
}
