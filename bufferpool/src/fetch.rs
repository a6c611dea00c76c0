//! Fetching a batch: hits at once, misses side by side, each page handed over as it arrives.
//!
//! Pages that are resident are pinned a slice at a time, handed over, and unpinned together: a
//! batch that is all in memory does nothing else. From the first page that is not, step by step,
//! for as many pages as may be outstanding:
//!
//! 1. A page that is resident is pinned; one that somebody is reading is waited for; one that is
//!    absent is claimed, given a frame and submitted (`asking`).
//! 2. What was submitted is started.
//! 3. The resident pages are handed over, while the disk works.
//! 4. What has arrived is handed over. Only when nothing has does the thread wait.
//!
//! A pin lasts from arrival to the end of the visitor's look, so that a batch larger than the
//! pool streams through it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpool_storage::{Error, PageNo, Result};

use crate::asking::{Asking, Found, WINDOW, room};
use crate::counters::Count;
use crate::events;
use crate::guard::{PageGuard, PinnedSlice};
use crate::hint::{Hint, Reading};
use crate::landing::{Arrived, Asker};
use crate::pool::{File, PoolFile};

/// The first reads of a batch are started when there are so many, then when there are twice as
/// many, and so on: an idle disk is soon at work, and a long batch takes few system calls.
pub(crate) const FIRST_START: usize = 1;
/// How long a thread works for others before it tries again what was full.
pub(crate) const BACK_PRESSURE: Duration = Duration::from_millis(1);
/// How often a thread that waits looks whether it was cancelled.
const GLANCE: Duration = Duration::from_millis(5);

impl PoolFile {
    /// Visits `pages` as [`PageSource::visit`](ringpool_storage::PageSource::visit) does, and as
    /// `reading` says.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ringpool_bufferpool::{Hint, Pool, PoolOptions, Reading};
    /// # use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
    /// # let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
    /// # let file = pool.attach(Arc::new(MemoryDevice::new(pages)), None)?;
    /// let all: Vec<PageNo> = (0..1000).map(PageNo).collect();
    /// let mut sum = 0;
    /// let scan = Reading::default().hint(Hint::ScanOnce);
    /// file.visit_with(&all, &scan, &mut |_, bytes| sum += u64::from(bytes[0]))?;
    /// assert_eq!(sum, 7 * 1000);
    /// assert_eq!(pool.stats().resident(), 0); // Nobody else has wanted any of them.
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As those of `visit`, and [`Error::DeadlinePassed`] with the first page that is missing at
    /// the deadline, or [`Error::Cancelled`]. Only a page that is missing can be late: what is in
    /// memory is handed over.
    pub fn visit_with(
        &self,
        pages: &[PageNo],
        reading: &Reading<'_>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        fetch_as(self.file(), pages, reading, each)
    }

    /// Pins `page` as [`pin`](Self::pin) does, and as `reading` says. A page that is kept by a
    /// guard goes like any other, whatever the hint it was read with.
    ///
    /// # Errors
    /// As those of `pin`, [`Error::DeadlinePassed`] and [`Error::Cancelled`].
    pub fn pin_with(&self, page: PageNo, reading: &Reading<'_>) -> Result<PageGuard<'_>> {
        let file = self.file();
        let mut kept = None;
        fetch_as(file, &[page], reading, &mut |_, _| kept = file.pin_again(page))?;
        let frame = kept.ok_or_else(|| {
            // It was handed over, so that there are as many guards of it as can be counted.
            let (file, frames) = (file.device.file().clone(), file.pool.frames.usable_count());
            Error::Exhausted { file, page, frames, waited: Duration::ZERO }
        })?;
        Ok(PageGuard::of_pin(file, page, frame))
    }

    /// Calls `each(i, bytes)` for each page `pages[i]` that is in memory. Returns how many there
    /// are. Never waits, never reads.
    pub fn try_visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> usize {
        let file = self.file();
        if file.pool.frames.arena.is_the_parents() {
            return 0;
        }
        let hint = Hint::default();
        let mut slice = PinnedSlice::new(file, room(file, hint), hint.chances());
        let (mut next, mut found) = (0, 0);
        while next < pages.len() {
            next += slice.pin_resident(pages, next).max(1); // Or the next page is not there.
            if !slice.has_room() || next >= pages.len() {
                found += slice.len();
                slice.hand_over(each);
            }
        }
        file.count(Count::Hit, found as u64);
        found
    }
}

/// Fetches `pages` of `file` and hands each to `each(index, bytes)`.
pub(crate) fn fetch(
    file: &Arc<File>,
    pages: &[PageNo],
    each: &mut dyn FnMut(usize, &[u8]),
) -> Result<()> {
    fetch_as(file, pages, &Reading::default(), each)
}

/// The same as `reading` says.
pub(crate) fn fetch_as(
    file: &Arc<File>,
    pages: &[PageNo],
    reading: &Reading<'_>,
    each: &mut dyn FnMut(usize, &[u8]),
) -> Result<()> {
    if file.pool.frames.arena.is_the_parents() {
        return Err(Error::Forked { file: file.device.file().clone() });
    }
    let hint = reading.hinted();
    let mut slice = PinnedSlice::new(file, room(file, hint), hint.chances());
    let mut next = 0;
    loop {
        let looked = slice.pin_resident(pages, next);
        if next + looked < pages.len() && slice.has_room() {
            break; // The next page is not resident.
        }
        slice.hand_over(each);
        next += looked;
        if next == pages.len() {
            file.count(Count::Hit, next as u64);
            return Ok(());
        }
    }
    next += slice.len();
    let asking = Asking::new(file, pages.len(), next, reading, Asker::this_thread);
    Fetch { file, pages, asking, reading, starved_since: None }.run(slice, each)
}

struct Fetch<'a, 'p> {
    file: &'a Arc<File>,
    pages: &'p [PageNo],
    asking: Asking,
    reading: &'p Reading<'p>,
    /// Since when there has been no frame to be had.
    starved_since: Option<Instant>,
}

impl<'a> Fetch<'a, '_> {
    /// Fetches the rest, `here` being pinned already.
    fn run(mut self, mut here: PinnedSlice<'a>, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let mut start_after = FIRST_START;
        while !self.asking.is_over() || here.len() > 0 {
            let mut unstarted = 0;
            while self.asking.may_look_on(self.file) && here.has_room() {
                match self.asking.look(self.file, self.pages)? {
                    Found::Here(index, frame) => here.push(index, frame, self.pages[index]),
                    Found::OnItsWay => unstarted += 1,
                    Found::NotNow => break,
                }
                self.starved_since = None;
                if unstarted >= start_after {
                    self.start();
                    (unstarted, start_after) = (0, (2 * start_after).min(WINDOW));
                }
            }
            if unstarted > 0 {
                self.start();
            }
            here.hand_over(each);
            self.collect(each)?;
            self.asking.too_late(self.file, self.pages)?;
            self.expect_wanted()?;
            if !self.asking.may_look_on(self.file) {
                self.wait()?;
                self.collect(each)?;
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        self.asking.begin_anew();
        match self.reading.may_leave() {
            // The reads are to land also after we have left.
            true => self.file.device.start(),
            false => _ = self.file.device.drive(&|| true, None),
        }
    }

    /// An error where the call was cancelled and is not over.
    fn expect_wanted(&mut self) -> Result<()> {
        if !self.reading.is_cancelled() || self.asking.is_over() {
            return Ok(());
        }
        self.asking.leave(self.file); // What is still to come is waited for by nobody.
        Err(Error::Cancelled { file: self.file.device.file().clone() })
    }

    /// Works for the device until something arrives, the call was cancelled, or until `until`.
    /// Returns whether something has arrived.
    fn drive(&self, until: Instant) -> bool {
        let has_arrivals = || self.asking.has_arrivals();
        if !self.reading.is_cancellable() {
            return self.file.device.drive(&has_arrivals, Some(until));
        }
        loop {
            let glance = until.min(Instant::now() + GLANCE);
            let held = self.file.device.drive(&has_arrivals, Some(glance));
            if held || self.reading.is_cancelled() || Instant::now() >= until {
                return held;
            }
        }
    }

    /// Hands over what has arrived.
    fn collect(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        while let Some((index, arrived)) = self.asking.collect(self.file) {
            let arrived = Arrived::new(self.file, self.pages[index], arrived?);
            each(index, &arrived);
        }
        Ok(())
    }

    /// Waits until something arrives, or until it is time to try again what was not possible.
    fn wait(&mut self) -> Result<()> {
        let (file, pages) = (self.file, self.pages);
        if self.asking.is_over() {
            return Ok(());
        }
        let on_their_way = self.asking.on_their_way();
        let patience = match on_their_way {
            0 => BACK_PRESSURE,
            _ => file.pool.device_patience,
        };
        let until = Instant::now() + patience;
        let until = self.asking.reading.deadline().map_or(until, |deadline| deadline.min(until));
        let held = self.drive(until);
        if !held && on_their_way > 0 {
            self.asking.too_late(file, pages)?;
            self.expect_wanted()?;
            self.asking.leave(file); // What is still to come is waited for by nobody.
            let name = file.device.file();
            events::device_is_silent(name, patience);
            return Err(Error::TimedOut { file: name.clone(), waited: patience });
        }
        if self.asking.lacks() {
            let now = Instant::now();
            // Arrivals count as progress: the patience starts again.
            let since = match on_their_way {
                0 => *self.starved_since.get_or_insert(now),
                _ => *self.starved_since.insert(now),
            };
            let waited = now - since;
            if waited > file.pool.frame_patience {
                return Err(self.asking.starved(file, pages, waited));
            }
        }
        self.asking.try_again(file);
        Ok(())
    }

    /// Waits for what is outstanding and drops it, within the patience for the device and the
    /// deadline.
    ///
    /// Also a read that was handed back is carried out: others may wait for its page already.
    fn settle(&mut self) {
        let device = &self.file.device;
        let deadline = Instant::now() + self.file.pool.device_patience;
        let deadline = self.asking.reading.deadline().map_or(deadline, |end| end.min(deadline));
        while self.asking.is_waiting() && Instant::now() < deadline {
            self.asking.try_again(self.file);
            let until = match self.asking.was_handed_back() {
                true => deadline.min(Instant::now() + BACK_PRESSURE),
                false => deadline,
            };
            device.drive(&|| self.asking.has_arrivals(), Some(until));
            while let Some((index, arrived)) = self.asking.collect(self.file) {
                if let Ok(pinned) = arrived {
                    self.file.let_go(self.pages[index], pinned);
                }
            }
        }
    }
}

impl Drop for Fetch<'_, '_> {
    /// After a failure or a visitor's panic, what is outstanding lands before the call returns:
    /// nobody else may come to land it.
    fn drop(&mut self) {
        // A device that panics again while we unwind would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.settle()));
        self.asking.leave(self.file);
    }
}
