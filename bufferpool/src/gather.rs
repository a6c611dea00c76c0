//! Many batches at once, from one thread: every page on its way has one of a fixed number of
//! slots, whichever batch it is for.
//!
//! The steps are those of `fetch`. What differs is who waits: nobody, until no batch has a page
//! left to work on. So all batches share one landing, which is made once and whose places are the
//! slots, and a page that arrives finds its batch by its slot. What finds no slot, no frame or no
//! room in the device's queue is put off, and looked for again when something has arrived or a
//! while has passed. Nothing is allocated from page to page.
//!
//! Reads are started while the thread goes on asking, not when it waits: the disk works while the
//! thread does. Each start is a system call and a call of the disk, as dear as the read itself
//! where a query asks for one page at a time; so there is one for every few reads, but at once
//! where nothing was in flight. Others who wait for one of these pages start it and land it if we
//! do not come.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpool_storage::{Arrivals, Asked, AskedPages, Error, Gather, PageNo, Result};

use crate::asking::{WINDOW, exhausted, is_crowded, room, window};
use crate::counters::Count;
use crate::events;
use crate::fetch::{BACK_PRESSURE, FIRST_START};
use crate::ghost::Ghost;
use crate::guard::PinnedSlice;
use crate::hint::Hint;
use crate::landing::{Arrival, Arrived, Asker, Batch, Pinned};
use crate::miss_times::Ticks;
use crate::pool::{File, PoolFile};
use crate::share::Lack;
use crate::word::{Frame, Look, Word};

impl PoolFile {
    /// A [`Gather`] of this file's pages, to be used as `hint` says.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ringpool_bufferpool::{Hint, Pool, PoolOptions};
    /// # use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
    /// # let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
    /// # let file = pool.attach(Arc::new(MemoryDevice::new(pages)), None)?;
    /// let mut gather = file.gather_with(Hint::Random);
    /// let mut sum = 0;
    /// let asked = [[PageNo(3), PageNo(999)], [PageNo(3), PageNo(500)]];
    /// for (query, pages) in (0..).zip(&asked) {
    ///     gather.ask(query, pages, &mut |_, bytes| sum += u64::from(bytes[0]))?;
    /// }
    /// while gather.outstanding() > 0 {
    ///     gather.wait(&|| gather.has_arrivals(), None)?;
    ///     gather.collect(&mut |_query, _i, bytes| sum += bytes.map_or(0, |page| u64::from(page[0])));
    /// }
    /// assert_eq!(sum, 4 * 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn gather_with(&self, hint: Hint) -> Box<dyn Gather + '_> {
        Box::new(Gathering::new(self.file(), hint))
    }
}

struct Gathering<'f> {
    file: &'f Arc<File>,
    hint: Hint,
    /// Where everything lands: a place for each slot.
    landing: Arc<Batch>,
    asked: AskedPages,
    blocked: Option<Blocked>,
    /// When to look again for what is put off though nothing has arrived.
    retry_at: Instant,
    /// Since when there has been no frame to be had, with nothing on its way.
    starved_since: Option<Instant>,
    /// Reads that were submitted and not started.
    unstarted: Cell<usize>,
    /// When the first page was claimed of those.
    claiming_since: Cell<Option<Ticks>>,
    /// How long was waited since something last arrived.
    silence: Cell<Duration>,
    hits: u64,
    /// Below zero where a page is looked for once more that was counted before.
    misses: i64,
}

/// Why nothing more can be looked for.
#[derive(Clone, Copy)]
enum Blocked {
    NoFrame(Lack),
    QueueFull,
}

/// What became of looking for a page.
enum Found {
    /// It is in this frame, and pinned.
    Here(Frame),
    OnItsWay,
    /// There is no room for it now.
    NotNow,
}

impl<'f> Gathering<'f> {
    fn new(file: &'f Arc<File>, hint: Hint) -> Self {
        let landing =
            Batch::new(file.clone(), &[PageNo(0); WINDOW], WINDOW, hint, Asker::this_thread());
        Self {
            file,
            hint,
            landing,
            asked: AskedPages::new(WINDOW as u32),
            blocked: None,
            retry_at: Instant::now(),
            starved_since: None,
            unstarted: Cell::default(),
            claiming_since: Cell::default(),
            silence: Cell::default(),
            hits: 0,
            misses: 0,
        }
    }

    fn is_the_parents(&self) -> bool {
        self.file.pool.frames.arena.is_the_parents()
    }

    fn forked(&self) -> Error {
        Error::Forked { file: self.file.device.file().clone() }
    }

    /// Looks for `pages[next..]`, `here` being pinned already.
    fn look_for(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        mut next: usize,
        mut here: PinnedSlice<'_>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        // A disk that is at work has time for the rest to be started in one system call.
        let mut start_at = if self.asked.in_use() == 0 { FIRST_START } else { usize::MAX };
        loop {
            if next < pages.len() && here.has_room() {
                let asked = Asked { page: pages[next], batch, place: next as u32 };
                if let Some(frame) = self.want(asked)? {
                    here.push(next, frame, asked.page);
                }
                next += 1;
                if self.asked.in_use() >= start_at {
                    self.start();
                    start_at = start_at.saturating_mul(2);
                }
            } else {
                self.start_some();
                self.hits += here.len() as u64;
                here.hand_over(each);
            }
            if next == pages.len() && here.len() == 0 {
                return Ok(());
            }
            next += here.pin_resident(pages, next);
        }
    }

    /// Looks for a page that was absent, or puts it off. Returns its frame, pinned, if it is here
    /// meanwhile.
    fn want(&mut self, asked: Asked) -> Result<Option<Frame>> {
        self.file.word(asked.page)?;
        let found = match self.asked.is_behind() {
            false => self.look(asked)?,
            true => Found::NotNow, // After those that came before.
        };
        match found {
            Found::Here(frame) => return Ok(Some(frame)),
            Found::OnItsWay => {}
            Found::NotNow => self.asked.put_off(asked, self.file.device.file())?,
        }
        Ok(None)
    }

    /// Pins the page, waits for it, or claims and submits it.
    fn look(&mut self, asked: Asked) -> Result<Found> {
        let (file, page) = (self.file, asked.page);
        let word = file.word(page)?;
        let in_use = self.asked.in_use();
        if self.blocked.is_some() || in_use >= window(file, self.hint) || is_crowded(file, in_use) {
            return Ok(Found::NotNow);
        }
        loop {
            match word.pin_giving(self.hint.chances()) {
                Look::Pinned(frame) => return Ok(Found::Here(frame)),
                Look::Full => return Err(exhausted(file, page, Lack::OfThePool, Duration::ZERO)),
                Look::Loading => {
                    let slot = self.take_slot(asked);
                    let waiter = (self.landing.clone(), slot);
                    if file.pool.waiting.join(word, file.number, page, waiter) {
                        self.misses += 1;
                        return Ok(Found::OnItsWay);
                    }
                    self.asked.vacate(slot);
                }
                Look::Absent(ghost) => match self.claim(word, ghost, asked) {
                    Ok(true) => {
                        self.misses += 1;
                        return Ok(Found::OnItsWay);
                    }
                    Ok(false) => {}
                    Err(blocked) => {
                        self.blocked = Some(blocked);
                        self.retry_at = Instant::now() + BACK_PRESSURE;
                        return Ok(Found::NotNow);
                    }
                },
            }
            // Somebody else has moved the page on since we looked. Look again.
        }
    }

    /// Claims a page that was absent and submits its read. `Ok(false)` when somebody else was
    /// faster.
    fn claim(
        &mut self,
        word: &Word,
        ghost: Ghost,
        asked: Asked,
    ) -> std::result::Result<bool, Blocked> {
        let file = self.file;
        let claimed = file.claim(asked.page, word, ghost, self.hint);
        let Some(frame) = claimed.map_err(Blocked::NoFrame)? else {
            return Ok(false);
        };
        let since = self.claiming_since.get().unwrap_or_else(|| file.pool.miss_times.now());
        self.claiming_since.set(Some(since));
        let slot = self.take_slot(asked);
        let read = self.landing.read(slot, frame, since);
        self.unstarted.update(|reads| reads + 1);
        let Err(read) = file.device.submit(read) else { return Ok(true) };
        // What is queued may enter the device now, so that there is room.
        self.start();
        let Err(read) = file.device.submit(read) else { return Ok(true) };
        // Others may wait for the page already, and we may not come back soon.
        self.landing.take_back(slot, read);
        self.asked.vacate(slot);
        Err(Blocked::QueueFull)
    }

    /// A slot for a page that was looked for, which is done within the window alone.
    fn take_slot(&mut self, asked: Asked) -> u32 {
        let slot = self.asked.take_slot(asked).expect("a vacant slot, within the window");
        self.landing.ask_anew(slot, asked.page);
        slot
    }

    /// What was submitted is started now.
    fn begin_anew(&self) {
        self.unstarted.set(0);
        self.claiming_since.set(None);
    }

    /// Starts what was submitted, and lands what has completed meanwhile.
    fn start(&mut self) {
        self.begin_anew();
        self.file.device.drive(&|| true, None);
    }

    /// Does so when it is worth a system call.
    fn start_some(&mut self) {
        if self.asked.are_worth_a_start(self.unstarted.get()) {
            self.start();
        }
    }

    /// Looks for what was put off, as far as there is room now.
    fn catch_up(&mut self) {
        self.blocked = None;
        while let Some(asked) = self.asked.next_put_off() {
            let found = match self.look(asked) {
                Ok(Found::OnItsWay) => continue,
                Ok(Found::NotNow) => {
                    self.asked.put_back(asked);
                    break;
                }
                Ok(Found::Here(frame)) => {
                    self.hits += 1;
                    Arrival::Here(Pinned::found(frame))
                }
                Err(error) => Arrival::Failed(error),
            };
            let slot = self.take_slot(asked);
            self.landing.found(slot, found);
        }
        self.start_some();
    }

    /// Takes an arrival out of its slot and hands it to whoever wants it.
    fn hand_over(&mut self, slot: u32, arrival: Arrival, each: &mut Arrivals<'_>) {
        let page = self.landing.page(slot);
        let asked = self.asked.vacate(slot);
        match (arrival, asked) {
            (Arrival::Here(pinned), asked) => {
                let arrived = Arrived::new(self.file, page, pinned);
                let Some(Asked { batch, place, .. }) = asked else { return };
                if self.hint == Hint::Hot
                    && let Some(word) = self.file.table.word(page)
                {
                    word.favour();
                }
                each(batch, place as usize, Ok(&arrived));
            }
            (Arrival::Failed(error), Some(Asked { batch, place, .. })) => {
                each(batch, place as usize, Err(error));
            }
            (Arrival::Again, Some(asked)) => {
                self.misses -= 1; // It is going to be looked for again.
                self.asked.put_back(asked);
            }
            (Arrival::Failed(_) | Arrival::Again, None) => {}
        }
    }

    /// Fails the page that has been waiting for a frame for too long, if one has.
    fn fail_starved(&mut self, each: &mut Arrivals<'_>) {
        let (Some(Blocked::NoFrame(lack)), 0) = (self.blocked, self.asked.in_use()) else {
            self.starved_since = None;
            return;
        };
        let now = Instant::now();
        let waited = now - *self.starved_since.get_or_insert(now);
        if waited > self.file.pool.frame_patience
            && let Some(Asked { page, batch, place }) = self.asked.next_put_off()
        {
            self.starved_since = None;
            each(batch, place as usize, Err(exhausted(self.file, page, lack, waited)));
        }
    }

    /// Gives back what has arrived for those who have left, and leaves the rest.
    fn give_back_forsaken(&mut self) {
        for _ in 0..self.asked.in_use() {
            let Some((slot, arrival)) = self.landing.collect() else { break };
            match self.asked.is_waited_for(slot) {
                true => self.landing.found(slot, arrival),
                false => self.hand_over(slot, arrival, &mut |_, _, _| {}),
            }
        }
    }

    /// Whether something is put off and nothing on its way, so that no arrival makes room for it.
    fn is_stuck(&self) -> bool {
        self.asked.is_behind() && self.asked.in_use() == 0
    }

    fn count(&mut self) {
        self.file.looked(std::mem::take(&mut self.hits), 0);
        if self.misses != 0 {
            // Counts wrap: what is taken back was added by this thread.
            self.file.count(Count::Miss, std::mem::take(&mut self.misses) as u64);
        }
    }
}

impl Gather for Gathering<'_> {
    fn ask(
        &mut self,
        batch: u32,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<usize> {
        if self.is_the_parents() {
            return Err(self.forked());
        }
        let file = self.file;
        let mut here = PinnedSlice::new(file, room(file, self.hint), self.hint.chances());
        let mut next = 0;
        loop {
            next += here.pin_resident(pages, next);
            if next < pages.len() && here.has_room() {
                break; // The next page is not resident.
            }
            here.hand_over(each);
            if next == pages.len() {
                file.count(Count::Hit, next as u64);
                return Ok(0);
            }
        }
        self.hits += (next - here.len()) as u64;
        self.catch_up();
        let before = self.asked.outstanding();
        let looked = self.look_for(batch, pages, next, here, each);
        self.start_some(); // After a failure, too.
        self.count();
        looked.map(|()| self.asked.outstanding() - before)
    }

    fn collect(&mut self, each: &mut Arrivals<'_>) {
        if self.is_the_parents() {
            return;
        }
        for _ in 0..WINDOW {
            let Some((slot, arrival)) = self.landing.collect() else { break };
            self.silence.take();
            self.hand_over(slot, arrival, each);
        }
        self.catch_up();
        self.fail_starved(each);
        self.count();
    }

    /// Also when it is time to look for what is put off, and nothing else is to arrive.
    fn has_arrivals(&self) -> bool {
        self.landing.has_arrivals() || (self.is_stuck() && Instant::now() >= self.retry_at)
    }

    fn outstanding(&self) -> usize {
        self.asked.outstanding()
    }

    fn wait(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> Result<()> {
        if self.is_the_parents() {
            return Err(self.forked());
        }
        let (device, began) = (&self.file.device, Instant::now());
        let patience = self.file.pool.device_patience;
        let end = match self.is_stuck() {
            true => self.retry_at,
            false => began + patience.saturating_sub(self.silence.get()),
        };
        let end = deadline.map_or(end, |deadline| deadline.min(end));
        self.begin_anew();
        device.drive(&|| self.has_arrivals() || until(), Some(end));
        if self.asked.in_use() == 0 || self.asked.outstanding() == 0 || self.has_arrivals() {
            return Ok(());
        }
        // The thread may come and go: only what it has waited is silence.
        let silence = self.silence.get() + began.elapsed();
        self.silence.set(silence);
        if silence >= patience {
            self.silence.take(); // Whoever waits on is patient anew.
            events::device_is_silent(device.file(), silence);
            return Err(Error::TimedOut { file: device.file().clone(), waited: silence });
        }
        Ok(())
    }

    fn leave(&mut self, batch: u32) {
        if self.asked.outstanding() > 0 {
            self.asked.leave(batch, |slot| self.landing.forsake(slot));
            self.give_back_forsaken();
            self.catch_up();
        }
    }
}

impl Drop for Gathering<'_> {
    /// What has arrived goes back at once, and what is in flight when it lands.
    fn drop(&mut self) {
        if self.is_the_parents() {
            return;
        }
        while let Some((slot, arrival)) = self.landing.collect() {
            if let Arrival::Here(pinned) = arrival {
                self.file.let_go(self.landing.page(slot), pinned);
            }
            self.asked.vacate(slot);
        }
        self.count();
        self.landing.give_up();
        if self.asked.in_use() == 0 {
            return;
        }
        let is_me = |(other, _): &(Arc<Batch>, u32)| Arc::ptr_eq(other, &self.landing);
        for slot in self.asked.used() {
            self.file.pool.waiting.leave(self.file.number, self.landing.page(slot), is_me);
        }
        // Nobody of us waits for it any more; a device that panics while we unwind would end the
        // process.
        let _ = catch_unwind(AssertUnwindSafe(|| self.file.device.start()));
    }
}
