//! A batch step by step: what a thread that waits and a future have in common.
//!
//! Each page of the batch is looked for once. It is here, or on its way: being read by somebody
//! else, whose waiter the batch becomes, or by us. Or it cannot be read now, for want of a frame
//! or of room in the device's queue, and is looked for again later. What is on its way arrives in
//! the [`Batch`]. How to wait for that is not decided here: see `fetch` for threads and `future`
//! for tasks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ringpool_storage::{Awaited, Error, PageNo, PageRead, Result};

use crate::counters::Count;
use crate::events;
use crate::ghost::Ghost;
use crate::hint::{Hint, Reading};
use crate::landing::{Arrival, Asker, Batch, Pinned};
use crate::miss_times::Ticks;
use crate::pool::File;
use crate::share::Lack;
use crate::sync::Ordering;
use crate::word::{Frame, Look, Word};

/// Pages that one batch waits for at once, at most: as many as a disk does anything useful with.
pub(crate) const WINDOW: usize = 128;
/// A batch waits for one page in so many frames at most, so that a few batches find room.
const FRAMES_PER_PAGE: usize = 4;
/// A scan, which is to leave the others theirs, for one in so many.
const FRAMES_PER_SCANNED_PAGE: usize = 16;
/// Reads of the whole pool have one frame in so many. With more, those of many threads take nearly all
/// frames of a small pool, and whoever looks for a victim goes around the clock for it.
const FRAMES_PER_READ: usize = 4;
/// Pages that each batch, or thread with a gather, may wait for however many are on their way for others.
const LEAST_ON_THEIR_WAY: usize = 8;

pub(crate) struct Asking {
    pub(crate) reading: Reading<'static>,
    /// Whether reads land by themselves, since the one who asks may be gone before.
    unattended: bool,
    asker: fn() -> Asker,
    window: usize,
    /// The first page that was not looked for yet.
    next: usize,
    pages: usize,
    /// Pages to be looked for again, since who was reading them took that back.
    again: Vec<u32>,
    /// Pages looked for that are still to arrive, in the order in which they were asked for, which
    /// is nearly that in which they do.
    outstanding: VecDeque<u32>,
    /// Where they arrive. Made at the first miss.
    batch: Option<Arc<Batch>>,
    /// A read that the device's queue had no room for.
    handed_back: Option<(u32, PageRead)>,
    /// Why there was no frame for the upcoming page.
    lack: Option<Lack>,
    /// When the first page was claimed of those that are not started yet.
    claiming_since: Option<Ticks>,
    hits: u64,
    misses: u64,
}

/// What became of looking for a page.
pub(crate) enum Found {
    /// It is the page at this place, and pinned.
    Here(usize, Frame),
    OnItsWay,
    /// No frame is free.
    NotNow,
}

impl Asking {
    /// Of a batch of `pages` pages, of which the first `next` were found resident.
    pub(crate) fn new(
        file: &File,
        pages: usize,
        next: usize,
        reading: &Reading<'_>,
        asker: fn() -> Asker,
    ) -> Self {
        let unattended = reading.may_leave() || !matches!(asker(), Asker::Thread(_));
        Self {
            reading: reading.without_flag(),
            unattended,
            asker,
            window: window(file, reading.hinted()),
            next,
            pages,
            again: Vec::new(),
            outstanding: VecDeque::new(),
            batch: None,
            handed_back: None,
            lack: None,
            claiming_since: None,
            hits: next as u64,
            misses: 0,
        }
    }

    /// The page to be looked for next, by its place.
    pub(crate) fn upcoming(&self) -> Option<usize> {
        let again = self.again.last().map(|&index| index as usize);
        again.or_else(|| (self.next < self.pages).then_some(self.next))
    }

    /// Goes on to the page after that.
    pub(crate) fn advance(&mut self) {
        self.lack = None;
        if self.again.pop().is_none() {
            self.next += 1;
        }
    }

    /// What was claimed is started now.
    pub(crate) fn begin_anew(&mut self) {
        self.claiming_since = None;
    }

    pub(crate) fn may_look_on(&self, file: &File) -> bool {
        self.outstanding.len() < self.window
            && !is_crowded(file, self.outstanding.len())
            && self.handed_back.is_none()
            && self.lack.is_none()
            && self.upcoming().is_some()
    }

    /// Whether every page was looked for and has arrived.
    pub(crate) fn is_over(&self) -> bool {
        self.outstanding.is_empty() && self.upcoming().is_none()
    }

    /// Whether something is still to arrive.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// How many pages are on their way: those that a full queue has handed back are not.
    pub(crate) fn on_their_way(&self) -> usize {
        self.outstanding.len() - usize::from(self.handed_back.is_some())
    }

    pub(crate) fn was_handed_back(&self) -> bool {
        self.handed_back.is_some()
    }

    /// Why the upcoming page cannot be read now, if it was looked for.
    pub(crate) fn lacks(&self) -> bool {
        self.lack.is_some()
    }

    /// Allows the upcoming page to be looked for again.
    pub(crate) fn try_again(&mut self, file: &File) {
        self.lack = None;
        if let Some((index, read)) = self.handed_back.take() {
            self.handed_back = file.device.submit(read).err().map(|read| (index, read));
        }
    }

    pub(crate) fn has_arrivals(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.has_arrivals())
    }

    pub(crate) fn batch(&mut self, file: &Arc<File>, pages: &[PageNo]) -> &Arc<Batch> {
        let (window, hint, asker) = (self.window, self.reading.hinted(), self.asker);
        self.batch.get_or_insert_with(|| Batch::new(file.clone(), pages, window, hint, asker()))
    }

    /// Looks for the upcoming page: pins it, waits for it, or starts its read. Goes on to the next
    /// but for [`Found::NotNow`].
    pub(crate) fn look(&mut self, file: &Arc<File>, pages: &[PageNo]) -> Result<Found> {
        let Some(index) = self.upcoming() else {
            return Ok(Found::NotNow);
        };
        let found = self.look_at(index, file, pages);
        if !matches!(found, Ok(Found::NotNow)) {
            self.advance();
        }
        found
    }

    fn look_at(&mut self, index: usize, file: &Arc<File>, pages: &[PageNo]) -> Result<Found> {
        let page = pages[index];
        let word = file.word(page)?;
        loop {
            match word.pin_giving(self.reading.hinted().chances()) {
                Look::Pinned(frame) => {
                    self.hits += 1;
                    return Ok(Found::Here(index, frame));
                }
                Look::Full => return Err(exhausted(file, page, Lack::OfThePool, Duration::ZERO)),
                Look::Loading => {
                    let waiter = (self.batch(file, pages).clone(), index as u32);
                    if file.pool.waiting.join(word, file.number, page, waiter) {
                        self.misses += 1;
                        self.outstanding.push_back(index as u32);
                        return Ok(Found::OnItsWay);
                    }
                }
                Look::Absent(ghost) => match self.claim(word, ghost, index, file, pages) {
                    Ok(true) => {
                        self.misses += 1;
                        return Ok(Found::OnItsWay);
                    }
                    Ok(false) => {}
                    Err(lack) => {
                        self.lack = Some(lack);
                        return Ok(Found::NotNow);
                    }
                },
            }
            // Somebody else has moved the page on since we looked. Look again.
        }
    }

    /// Claims a page that was absent and submits its read. `Ok(false)` when somebody else was
    /// faster.
    pub(crate) fn claim(
        &mut self,
        word: &Word,
        ghost: Ghost,
        index: usize,
        file: &Arc<File>,
        pages: &[PageNo],
    ) -> std::result::Result<bool, Lack> {
        let hint = self.reading.hinted();
        let Some(frame) = file.claim(pages[index], word, ghost, hint)? else {
            return Ok(false);
        };
        let claimed = *self.claiming_since.get_or_insert_with(|| file.pool.miss_times.now());
        let read = self.batch(file, pages).read(index as u32, frame, claimed);
        let read = if self.unattended { read.unattended() } else { read };
        self.outstanding.push_back(index as u32);
        self.handed_back = file.device.submit(read).err().map(|read| (index as u32, read));
        Ok(true)
    }

    /// The next page that has arrived, by its place, with its pin.
    pub(crate) fn collect(&mut self, file: &File) -> Option<(usize, Result<Pinned>)> {
        loop {
            let (index, arrival) = self.batch.as_ref()?.collect()?;
            let place = self.outstanding.iter().position(|&other| other == index);
            debug_assert!(place.is_some(), "nobody has asked for place {index}");
            self.outstanding.remove(place?);
            match arrival {
                Arrival::Here(pinned) => {
                    if self.reading.hinted() == Hint::Hot {
                        let page = self.batch.as_ref()?.page(index);
                        file.table.word(page)?.favour();
                    }
                    return Some((index as usize, Ok(pinned)));
                }
                Arrival::Failed(error) => return Some((index as usize, Err(error))),
                Arrival::Again => {
                    self.misses -= 1;
                    self.again.push(index);
                }
            }
        }
    }

    /// Gives up one page that is missing. Returns its place and what it has been waiting for;
    /// `None` when there is none left.
    pub(crate) fn give_up_one(&mut self, file: &File) -> Option<(usize, Awaited)> {
        let lacks = self.lacks();
        self.give_up_batch(file);
        if let Some(index) = self.outstanding.pop_front() {
            return Some((index as usize, Awaited::Disk));
        }
        let index = self.upcoming()?;
        self.advance();
        Some((index, if lacks { Awaited::Frame } else { Awaited::Turn }))
    }

    /// What to say when the deadline has passed, if it has and something is missing.
    pub(crate) fn too_late(&self, file: &File, pages: &[PageNo]) -> Result<()> {
        if !self.reading.is_late() || self.is_over() {
            return Ok(());
        }
        let back = self.handed_back.as_ref().map(|&(index, _)| index);
        let flying = self.outstanding.iter().find(|&&index| Some(index) != back);
        let (index, awaited) = match (flying, back, self.lack) {
            (Some(&index), _, _) => (index as usize, Awaited::Disk),
            (None, Some(index), _) => (index as usize, Awaited::Queue),
            (None, None, Some(_)) => (self.upcoming().unwrap_or(0), Awaited::Frame),
            (None, None, None) => (self.upcoming().unwrap_or(0), Awaited::Turn),
        };
        let file = file.device.file().clone();
        Err(Error::DeadlinePassed { file, page: pages[index], awaited })
    }

    /// That no frame came free for the upcoming page within `waited`.
    pub(crate) fn starved(&self, file: &File, pages: &[PageNo], waited: Duration) -> Error {
        let page = pages[self.upcoming().unwrap_or(0)];
        exhausted(file, page, self.lack.unwrap_or(Lack::OfThePool), waited)
    }

    /// Ends it: what has arrived goes back at once and what is still to arrive when it lands; a
    /// read that was not submitted yet is taken back.
    pub(crate) fn leave(&mut self, file: &File) {
        let (hits, misses) = (std::mem::take(&mut self.hits), std::mem::take(&mut self.misses));
        file.looked(hits, misses);
        if misses > 0 {
            events::batch_missed(file.device.file(), self.pages, hits, misses);
        }
        self.give_up_batch(file);
        self.outstanding.clear();
    }

    fn give_up_batch(&mut self, file: &File) {
        let Some(batch) = self.batch.take() else { return };
        if let Some((index, read)) = self.handed_back.take() {
            batch.take_back(index, read);
        }
        batch.give_up();
        if self.outstanding.is_empty() {
            return;
        }
        for &index in &self.outstanding {
            let is_me = |(other, _): &(Arc<Batch>, u32)| Arc::ptr_eq(other, &batch);
            file.pool.waiting.leave(file.number, batch.page(index), is_me);
        }
        // Nobody of us waits for it any more. This may be called while a panic of the device's
        // unwinds, and one more would end the process.
        let _ = catch_unwind(AssertUnwindSafe(|| file.device.start()));
    }
}

impl File {
    /// Claims a page that was absent. It is loading then, into the frame that is returned, and
    /// the caller reads it. `Ok(None)` when somebody else was faster.
    pub(crate) fn claim(
        &self,
        page: PageNo,
        word: &Word,
        ghost: Ghost,
        hint: Hint,
    ) -> std::result::Result<Option<Frame>, Lack> {
        let room = self.pool.frame_for(self, page)?;
        let frame = room.frame;
        if !word.claim(ghost, frame, self.start(ghost, hint)) {
            self.not_claimed(page, room);
            return Ok(None);
        }
        self.table.holdings.gained(&room);
        self.pool.frames.owner(frame).set(self.number, page);
        self.list(frame, ghost);
        self.count(Count::Started, 1);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.pool.starved.read_begins();
        Ok(Some(frame))
    }
}

/// How many pages of `file` a batch with this hint may hold pinned at once.
#[inline]
pub(crate) fn room(file: &File, hint: Hint) -> usize {
    share_of(file.pool.frames.usable_count(), hint)
}

/// How many it may wait for at once.
pub(crate) fn window(file: &File, hint: Hint) -> usize {
    let ceiling = file.table.holdings.ceiling();
    ceiling.map_or(usize::MAX, |ceiling| share_of(ceiling, hint)).min(room(file, hint))
}

/// Whether a batch that waits for so many pages is to let them arrive first, since the pool has as many
/// frames with reads in flight as it can spare.
pub(crate) fn is_crowded(file: &File, waits_for: usize) -> bool {
    let pool = &file.pool;
    waits_for >= LEAST_ON_THEIR_WAY
        && pool.starved.reads_in_flight() >= pool.frames.usable_count() / FRAMES_PER_READ
}

#[inline]
fn share_of(frames: usize, hint: Hint) -> usize {
    let frames_per_page = match hint {
        Hint::ScanOnce => FRAMES_PER_SCANNED_PAGE,
        Hint::Random | Hint::Hot => FRAMES_PER_PAGE,
    };
    (frames / frames_per_page).clamp(1, WINDOW)
}

pub(crate) fn exhausted(file: &File, page: PageNo, lack: Lack, waited: Duration) -> Error {
    let name = file.device.file().clone();
    events::no_frame(&name, page, waited);
    match (lack, file.table.holdings.ceiling()) {
        (Lack::OfTheFile, Some(frames)) => Error::AtCeiling { file: name, page, frames, waited },
        _ => {
            let frames = file.pool.frames.usable_count();
            Error::Exhausted { file: name, page, frames, waited }
        }
    }
}
