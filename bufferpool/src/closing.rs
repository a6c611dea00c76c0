//! Closing a file, or a pool: waits so long and not longer, and says what was not over by then.
//!
//! To drop a [`PoolFile`] is safe at any time, and says nothing. To close it is for who wants to know:
//! reads that the disk has not answered, pages that somebody still holds. Nothing of that is broken
//! off, since memory that the kernel may still write to belongs to the read. It ends by itself, and
//! then gives back what it holds.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::events;
use crate::pool::{File, Pool, PoolFile};
use crate::sync::Ordering;

/// How long to wait between two looks at what nobody wakes us for.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What was not over when a file of a pool was closed. It ends by itself, and gives back its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Path of the file.
    pub file: Arc<str>,
    /// Reads that the device has not answered.
    pub reads: usize,
    /// Pins of its pages.
    pub pins: u64,
    /// How long was waited.
    pub waited: Duration,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, reads, pins, waited } = self;
        write!(
            f,
            "{file}: not over {waited:?} after it was closed: {reads} reads in flight, {pins} pins, \
             or futures that were not dropped; check the disk, and drop what holds its pages"
        )
    }
}

impl std::error::Error for Unfinished {}

/// What was not over when a pool was closed: files that are still attached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillAttached {
    /// Each with what goes on with it.
    pub files: Vec<Unfinished>,
}

impl fmt::Display for StillAttached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files are still attached to the pool", self.files.len())?;
        self.files.iter().try_for_each(|file| write!(f, "; {file}"))
    }
}

impl std::error::Error for StillAttached {}

impl PoolFile {
    /// How long a file that is dropped waits for its reads in flight. Those that last longer keep
    /// their frames until they land.
    const DRAIN: Duration = Duration::from_secs(30);

    /// Detaches the file, once its reads in flight have landed and its pages are held by nobody,
    /// and waits for that for as long as `patience` and not longer. A time beyond what the clock can
    /// tell is no bound.
    ///
    /// # Errors
    /// [`Unfinished`]: reads that are still in flight, and pages that owned guards, `Bytes`, futures
    /// or a warm-up still hold. The file is closed all the same, and its pages leave the pool with
    /// the last of these.
    pub fn close(mut self, patience: Duration) -> Result<(), Unfinished> {
        let begun = Instant::now();
        let deadline = begun.checked_add(patience);
        self.was_closed = true; // Dropping it, at the end, waits for nothing more.
        let file = self.file();
        if file.pool.frames.arena.is_the_parents() {
            return Ok(()); // The reads, and the pages, are the parent's.
        }
        file.close_to_new_ones();
        let is_over = || !file.has_reads() && Arc::strong_count(file) == 1;
        drain(file, &is_over, deadline);
        if is_over() {
            return Ok(());
        }
        let (reads, pins) = (file.reads(), self.stats().pins);
        Err(Unfinished { file: file.device.file().clone(), reads, pins, waited: begun.elapsed() })
    }
}

impl Pool {
    /// Waits until all files have been dropped or closed, and what went on with them is over, for as
    /// long as `patience` and not longer. The memory of the frames goes back with the last clone of
    /// the pool.
    ///
    /// # Errors
    /// [`StillAttached`]: the files that are not gone, each with its reads in flight and its pins.
    /// They go on working, and the pool with them.
    pub fn close(self, patience: Duration) -> Result<(), StillAttached> {
        let begun = Instant::now();
        let deadline = begun.checked_add(patience);
        let is_over = || self.core().tables.read().iter().all(Option::is_none);
        while !is_over() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            thread::sleep(left.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN)));
        }
        if is_over() {
            return Ok(());
        }
        let waited = begun.elapsed();
        let files = self.snapshot().files.into_iter().map(|one| Unfinished {
            file: one.file,
            reads: one.in_flight,
            pins: one.pins,
            waited,
        });
        Err(StillAttached { files: files.collect() })
    }
}

impl Drop for PoolFile {
    /// Waits for reads in flight that nobody collects any more: those of a batch that timed out.
    fn drop(&mut self) {
        let file = self.file();
        file.close_to_new_ones();
        if file.pool.frames.arena.is_the_parents() {
            return; // The reads are the parent's.
        }
        if !self.was_closed {
            drain(file, &|| !file.has_reads(), Instant::now().checked_add(Self::DRAIN));
        }
        if file.has_reads() {
            events::frames_stay_out(file.device.file(), file.reads());
        }
    }
}

/// Works for the reads of the file until `is_over` or the deadline.
fn drain(file: &File, is_over: &dyn Fn() -> bool, deadline: Option<Instant>) {
    while !is_over() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        // Whoever lands the last one does not know that we wait: look again now and then.
        let look_again = Instant::now() + LOOK_AGAIN;
        let until = deadline.map_or(look_again, |deadline| deadline.min(look_again));
        file.device.drive(is_over, Some(until));
    }
}

impl File {
    /// Nobody is to begin anything new that lasts.
    fn close_to_new_ones(&self) {
        // Relaxed: who sees it late reads a few pages more.
        self.is_closing.store(true, Ordering::Relaxed);
    }

    fn reads(&self) -> usize {
        // Relaxed: a count. What it counts is kept alive by the reads themselves.
        self.in_flight.load(Ordering::Relaxed)
    }

    fn has_reads(&self) -> bool {
        self.reads() > 0
    }
}
