//! Fetching a batch: hits at once, misses side by side, each page handed over as it arrives.
//!
//! Pages that are resident are pinned a slice at a time, handed over, and unpinned together: a
//! batch that is all in memory does nothing else. From the first page that is not, step by step,
//! for as many pages as may be outstanding:
//!
//! 1. A page that is resident is pinned; one that somebody is reading is waited for; one that is
//!    absent is claimed, given a frame and submitted.
//! 2. What was submitted is started.
//! 3. The resident pages are handed over, while the disk works.
//! 4. What has arrived is handed over. Only when nothing has does the thread wait.
//!
//! A pin lasts from arrival to the end of the visitor's look, so that a batch larger than the
//! pool streams through it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringpool_storage::{Error, PageNo, PageRead, Result};

use crate::guard::{PageGuard, PinnedSlice};
use crate::landing::Batch;
use crate::pool::File;
use crate::word::{Frame, Look, Word};

/// Pages that one batch waits for at once, at most: as many as a disk does anything useful with.
pub(crate) const WINDOW: usize = 128;
/// The first reads of a batch are started when there are so many, then when there are twice as
/// many, and so on: an idle disk is soon at work, and a long batch takes few system calls.
const FIRST_START: usize = 1;
/// How long a thread works for others before it tries again what was full.
const BACK_PRESSURE: Duration = Duration::from_millis(1);

/// Fetches `pages` of `file` and hands each to `each(index, bytes)`.
pub(crate) fn fetch(
    file: &Arc<File>,
    pages: &[PageNo],
    each: &mut dyn FnMut(usize, &[u8]),
) -> Result<()> {
    if file.pool.frames.arena.is_the_parents() {
        return Err(Error::Forked { file: file.device.file().clone() });
    }
    let window = (file.pool.frames.usable_count() / 4).clamp(1, WINDOW);
    let mut slice = PinnedSlice::new(file, window);
    let mut next = 0;
    loop {
        let looked = slice.pin_resident(pages, next);
        if next + looked < pages.len() && slice.has_room() {
            break; // The next page is not resident.
        }
        slice.hand_over(each);
        next += looked;
        if next == pages.len() {
            file.pool.stats.looked(next as u64, 0);
            return Ok(());
        }
    }
    next += slice.len();
    let fetch = Fetch {
        file,
        pages,
        window,
        next,
        outstanding: 0,
        batch: None,
        handed_back: None,
        starved_since: None,
        hits: next as u64,
        misses: 0,
    };
    fetch.run(slice, each)
}

struct Fetch<'a, 'p> {
    file: &'a Arc<File>,
    pages: &'p [PageNo],
    window: usize,
    /// The first page that was not looked for yet.
    next: usize,
    /// Pages looked for that are still to arrive.
    outstanding: usize,
    /// Where they arrive. Made at the first miss.
    batch: Option<Arc<Batch>>,
    /// A read that the device's queue had no room for.
    handed_back: Option<PageRead>,
    /// Since when there has been no frame to be had.
    starved_since: Option<Instant>,
    hits: u64,
    misses: u64,
}

/// What became of looking for a page.
enum Found {
    Here(Frame),
    OnItsWay,
    /// No frame is free, or the device's queue is full.
    NotNow,
}

impl<'a> Fetch<'a, '_> {
    /// Fetches the rest, `here` being pinned already.
    fn run(mut self, mut here: PinnedSlice<'a>, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let mut start_after = FIRST_START;
        while self.next < self.pages.len() || self.outstanding > 0 || here.len() > 0 {
            let mut unstarted = 0;
            while self.may_look_on() && here.has_room() {
                match self.look(self.next)? {
                    Found::Here(frame) => here.push(self.next, frame, self.pages[self.next]),
                    Found::OnItsWay => {
                        (self.outstanding, unstarted) = (self.outstanding + 1, unstarted + 1)
                    }
                    Found::NotNow => break,
                }
                self.next += 1;
                if unstarted >= start_after {
                    self.file.device.drive(&|| true, None);
                    (unstarted, start_after) = (0, (2 * start_after).min(WINDOW));
                }
            }
            if unstarted > 0 {
                self.file.device.drive(&|| true, None);
            }
            here.hand_over(each);
            self.collect(each)?;
            if !self.may_look_on() {
                self.wait()?;
                self.collect(each)?;
            }
        }
        Ok(())
    }

    fn may_look_on(&self) -> bool {
        self.next < self.pages.len()
            && self.outstanding < self.window
            && self.handed_back.is_none()
            && self.starved_since.is_none()
    }

    /// Looks for the page at `index`: pins it, waits for it, or starts its read.
    fn look(&mut self, index: usize) -> Result<Found> {
        let (file, page) = (self.file, self.pages[index]);
        let word = file.word(page)?;
        loop {
            match word.pin() {
                Look::Pinned(frame) => {
                    self.hits += 1;
                    return Ok(Found::Here(frame));
                }
                Look::Full => return Err(self.exhausted(page, Duration::ZERO)),
                Look::Loading => {
                    if self.wait_for(word, index) {
                        self.misses += 1;
                        return Ok(Found::OnItsWay);
                    }
                }
                Look::Absent(ghost) => {
                    let (number, table) = (file.number, &file.table);
                    let Some(frame) = file.pool.frame_for(number, table, page) else {
                        self.starved_since = Some(Instant::now());
                        return Ok(Found::NotNow);
                    };
                    let start = file.pool.clock.start(ghost, &file.pool.frames);
                    if word.claim(ghost, frame, start) {
                        self.misses += 1;
                        self.start(index, frame);
                        return Ok(Found::OnItsWay);
                    }
                    file.pool.unclaimed(number, table, page, frame);
                }
            }
            // Somebody else has moved the page on since we looked. Look again.
        }
    }

    fn batch(&mut self) -> &Arc<Batch> {
        self.batch.get_or_insert_with(|| Batch::new(self.file.clone(), self.pages, self.window))
    }

    /// Joins the waiters of a page that somebody else is reading, if it still is.
    fn wait_for(&mut self, word: &Word, index: usize) -> bool {
        let batch = self.batch().clone();
        let mut waiters = self.file.pool.waiting.lock(self.file.number, self.pages[index]);
        let waits = word.wait();
        if waits {
            waiters.add(batch, index as u32);
        }
        waits
    }

    /// Submits the read of a page that we have just claimed for `frame`.
    fn start(&mut self, index: usize, frame: Frame) {
        let file = self.file;
        file.pool.frames.owner(frame).set(file.number, self.pages[index]);
        file.pool.stats.started();
        file.in_flight.fetch_add(1, Ordering::Relaxed);
        let read = self.batch().read(index as u32, frame);
        self.handed_back = file.device.submit(read).err();
    }

    /// Hands over what has arrived.
    fn collect(&mut self, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let Some(batch) = self.batch.clone() else {
            return Ok(());
        };
        while let Some((index, result)) = batch.collect() {
            self.outstanding -= 1;
            let page = self.pages[index as usize];
            match result {
                Ok(frame) => {
                    let guard = PageGuard::of_pin(self.file, page, frame);
                    each(index as usize, &guard);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until something arrives, or until it is time to try again what was not possible.
    fn wait(&mut self) -> Result<()> {
        let device = &self.file.device;
        let submitted = self.outstanding - usize::from(self.handed_back.is_some());
        if submitted == 0 && self.next >= self.pages.len() && self.handed_back.is_none() {
            return Ok(());
        }
        let patience = match submitted {
            0 => BACK_PRESSURE,
            _ => self.file.pool.device_patience,
        };
        let batch = self.batch.clone();
        let arrived = || batch.as_ref().is_some_and(|batch| batch.has_arrivals());
        let held = device.drive(&arrived, Some(Instant::now() + patience));
        if !held && submitted > 0 {
            self.outstanding = 0; // What is still to come is waited for by nobody.
            tracing::warn!(file = %device.file(), ?patience, "the disk does not answer");
            return Err(Error::TimedOut { file: device.file().clone(), waited: patience });
        }
        if let Some(read) = self.handed_back.take() {
            self.handed_back = device.submit(read).err();
        }
        if let Some(since) = self.starved_since.take() {
            let waited = since.elapsed();
            let page = self.pages[self.next];
            match self.look(self.next)? {
                Found::Here(_) => {
                    // Rare: others have read it meanwhile. It is looked up again at once.
                    self.file.unpin(page);
                    self.hits -= 1;
                }
                Found::OnItsWay => {
                    (self.outstanding, self.next) = (self.outstanding + 1, self.next + 1);
                }
                Found::NotNow if submitted == 0 && waited > self.file.pool.frame_patience => {
                    return Err(self.exhausted(page, waited));
                }
                // Arrivals count as progress: the patience starts again.
                Found::NotNow if submitted > 0 => {}
                Found::NotNow => self.starved_since = Some(since),
            }
        }
        Ok(())
    }

    /// Waits for what is outstanding and drops it, within the patience for the device.
    ///
    /// Also a read that was handed back is carried out: others may wait for its page already.
    fn settle(&mut self) {
        let Some(batch) = &self.batch else { return };
        let device = &self.file.device;
        let deadline = Instant::now() + self.file.pool.device_patience;
        while self.outstanding > 0 && Instant::now() < deadline {
            self.handed_back = self.handed_back.take().and_then(|read| device.submit(read).err());
            let until = match self.handed_back {
                Some(_) => deadline.min(Instant::now() + BACK_PRESSURE),
                None => deadline,
            };
            device.drive(&|| batch.has_arrivals(), Some(until));
            while let Some((index, result)) = batch.collect() {
                self.outstanding -= 1;
                if let Ok(frame) = result {
                    drop(PageGuard::of_pin(self.file, self.pages[index as usize], frame));
                }
            }
        }
    }

    fn exhausted(&self, page: PageNo, waited: Duration) -> Error {
        let (file, frames) =
            (self.file.device.file().clone(), self.file.pool.frames.usable_count());
        Error::Exhausted { file, page, frames, waited }
    }
}

impl Drop for Fetch<'_, '_> {
    /// After a failure or a visitor's panic, what is outstanding lands before the call returns:
    /// nobody else may come to land it.
    fn drop(&mut self) {
        self.settle();
        self.file.pool.stats.looked(self.hits, self.misses);
    }
}
