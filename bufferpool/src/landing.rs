//! Where reads land: the page is checked, published and handed to everybody who waits for it.
//!
//! A [`Batch`] is the landing of the reads that it has started. A read in flight holds its batch,
//! and with it the file, the frames and the device, whatever the caller has dropped meanwhile. A
//! batch that nobody collects from any more is [given up](Batch::give_up): from then on each pin
//! goes back when its read lands. Its places may be used for one page after the other (`gather`).

#![allow(unsafe_code)]

use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::Waker;

use crossbeam_queue::ArrayQueue;
use ringpool_storage::{Error, Landing, PageNo, PageRead, Result};

use crate::counters::Count;
use crate::events;
use crate::hint::Hint;
use crate::miss_times::{ClaimedAt, Ticks};
use crate::pool::File;
use crate::sync::thread::Thread;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering, fence, thread};
use crate::word::Frame;

/// What a batch has asked for and not yet collected.
pub(crate) struct Batch {
    file: Arc<File>,
    /// What has arrived, each with its place in the batch.
    arrivals: ArrayQueue<(u32, Arrival)>,
    asked: Box<[Asked]>,
    hint: Hint,
    asker: Asker,
    /// Whether nobody collects any more.
    given_up: AtomicBool,
    /// Whether it is among those who wait for a frame.
    starved: AtomicBool,
    /// The place of a read that was taken back, if one was.
    taken_back: AtomicU32,
}

/// A page of the batch.
struct Asked {
    page: AtomicU64,
    claimed: ClaimedAt,
    /// Whether nobody wants it any more.
    forsaken: AtomicBool,
}

/// Who is to be told that something has arrived.
pub(crate) enum Asker {
    Thread(Thread),
    /// Told once; it says so again when it waits again.
    Task(Mutex<Option<Waker>>),
    /// Nobody waits: pages are read ahead.
    Nobody,
}

impl Asker {
    pub(crate) fn this_thread() -> Self {
        Self::Thread(thread::current())
    }

    pub(crate) fn task() -> Self {
        Self::Task(Mutex::new(None))
    }
}

/// What became of a page that a batch waits for.
pub(crate) enum Arrival {
    Here(Pinned),
    Failed(Error),
    /// Its read was taken back before it began. Whoever still wants the page reads it.
    Again,
}

/// One pin of a page that has arrived.
#[derive(Clone, Copy)]
pub(crate) struct Pinned {
    pub(crate) frame: Frame,
    /// Whether it was read for scans, and for nobody else.
    unwanted: bool,
}

impl Pinned {
    /// A pin of a page that was found in `frame`.
    pub(crate) fn found(frame: Frame) -> Self {
        Self { frame, unwanted: false }
    }
}

impl Batch {
    /// A batch of `pages` with at most `window` of them outstanding.
    pub(crate) fn new(
        file: Arc<File>,
        pages: &[PageNo],
        window: usize,
        hint: Hint,
        asker: Asker,
    ) -> Arc<Self> {
        let given_up = AtomicBool::new(matches!(asker, Asker::Nobody));
        let taken_back = AtomicU32::new(u32::MAX);
        let arrivals = ArrayQueue::new(window);
        let asked = |page: &PageNo| Asked {
            page: AtomicU64::new(page.0),
            claimed: ClaimedAt::default(),
            forsaken: AtomicBool::new(false),
        };
        let asked = pages.iter().map(asked).collect();
        let starved = AtomicBool::new(false);
        Arc::new(Self { file, arrivals, asked, hint, asker, given_up, starved, taken_back })
    }

    pub(crate) fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// The next arrival, with its pin.
    pub(crate) fn collect(&self) -> Option<(u32, Arrival)> {
        self.arrivals.pop()
    }

    /// Nobody collects any more: gives back the pins of what has arrived, and of what arrives.
    pub(crate) fn give_up(&self) {
        // Relaxed, and the fence: pairs with the one in `deliver`. Either it sees this, or we see
        // what it has put among the arrivals.
        self.given_up.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.give_back();
    }

    fn give_back(&self) {
        while let Some((index, arrival)) = self.arrivals.pop() {
            self.let_go(index, &arrival);
        }
    }

    fn let_go(&self, index: u32, arrival: &Arrival) {
        if let Arrival::Here(pinned) = arrival {
            self.file.let_go(self.page(index), *pinned);
        }
    }

    /// Whether nobody looks at its pages a second time.
    fn is_scan(&self) -> bool {
        self.hint == Hint::ScanOnce && !matches!(self.asker, Asker::Nobody)
    }

    pub(crate) fn page(&self, index: u32) -> PageNo {
        // Relaxed: read by whoever collects, who has set it, and by whoever lands the page or
        // holds an arrival of it, to whom the device or the page's waiters have handed it.
        PageNo(self.asked[index as usize].page.load(Ordering::Relaxed))
    }

    /// Uses a place, for which nothing is outstanding, for another page. By whoever collects.
    pub(crate) fn ask_anew(&self, index: u32, page: PageNo) {
        let asked = &self.asked[index as usize];
        asked.page.store(page.0, Ordering::Relaxed);
        asked.forsaken.store(false, Ordering::Relaxed);
    }

    /// Nobody wants the page at `index` any more, which is still to arrive: its pin goes back when
    /// it lands. If that is happening at this moment, it is for whoever collects to give back.
    pub(crate) fn forsake(&self, index: u32) {
        self.asked[index as usize].forsaken.store(true, Ordering::Relaxed);
    }

    /// Puts a page among the arrivals that whoever collects has found by himself.
    pub(crate) fn found(&self, index: u32, arrival: Arrival) {
        let kept = self.arrivals.push((index, arrival));
        debug_assert!(kept.is_ok(), "more arrivals than places");
    }

    /// Notes that it waits for a frame, or that it does not any more. Returns what was noted.
    pub(crate) fn set_starved(&self, starved: bool) -> bool {
        // Relaxed: under the lock of those who do.
        self.starved.swap(starved, Ordering::Relaxed)
    }

    /// Says who is to be woken by the next arrival.
    pub(crate) fn tell(&self, waker: &Waker) {
        if let Asker::Task(asker) = &self.asker {
            let mut asker = asker.lock();
            match &mut *asker {
                Some(told) => told.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
    }

    pub(crate) fn wake(&self) {
        match &self.asker {
            Asker::Thread(thread) => thread.unpark(),
            Asker::Task(asker) => {
                let waker = asker.lock().take(); // The lock is free again when it wakes.
                // A waker is the caller's. Should it panic, others who wait are told all the same.
                let wake = || waker.into_iter().for_each(Waker::wake);
                if catch_unwind(AssertUnwindSafe(wake)).is_err() {
                    events::waker_panicked(self.file.device.file());
                }
            }
            Asker::Nobody => {}
        }
    }

    /// A read of the page at `index` into `frame`, which the caller has claimed for it at
    /// `claimed`.
    pub(crate) fn read(self: &Arc<Self>, index: u32, frame: Frame, claimed: Ticks) -> PageRead {
        let frames = &self.file.pool.frames;
        self.asked[index as usize].claimed.set(claimed);
        let page = self.page(index);
        let memory: NonNull<u8> = frames.arena.address(frame);
        let len_bytes = self.file.pool.page_size.bytes() as u32;
        let token = u64::from(index) << 32 | u64::from(frame);
        // SAFETY: the page's word says that this frame is loading, so that nobody else looks at
        // it until `landed`; the batch holds the arena; frames are aligned to the page size.
        unsafe { PageRead::new(page, memory, len_bytes, self.clone(), token) }
    }

    fn deliver(&self, index: u32, mut arrival: Arrival) {
        // Relaxed: no more than a short cut.
        if self.given_up.load(Ordering::Relaxed) {
            return self.let_go(index, &arrival);
        }
        // Relaxed: see `forsake`.
        if self.asked[index as usize].forsaken.load(Ordering::Relaxed) {
            self.let_go(index, &arrival);
            arrival = Arrival::Again; // The place is free again.
        }
        // Never full: no more are outstanding than it holds.
        let delivered = self.arrivals.push((index, arrival));
        debug_assert!(delivered.is_ok(), "more arrivals than reads");
        // Pairs with the fence in `give_up`.
        fence(Ordering::SeqCst);
        if self.given_up.load(Ordering::Relaxed) {
            return self.give_back();
        }
        self.wake();
    }

    /// Publishes the page with a pin for each who waits, and hands it to them.
    fn publish(&self, page: PageNo, index: u32, frame: Frame) {
        let (file, pool) = (&*self.file, &*self.file.pool);
        let Some(word) = file.table.word(page) else {
            return;
        };
        let waiters = pool.waiting.publish(word, file.number, page, frame);
        let unwanted = self.is_scan() && waiters.all(|(batch, _)| batch.is_scan());
        if !unwanted {
            pool.clock.arrived(word, frame);
        }
        for (batch, index) in waiters {
            batch.deliver(index, Arrival::Here(Pinned { frame, unwanted }));
        }
        self.deliver(index, Arrival::Here(Pinned { frame, unwanted }));
    }

    fn fail_with(&self, page: PageNo, index: u32, frame: Frame, error: &Error) {
        events::read_failed(self.file.device.file(), page, error);
        self.forget(page, frame, || Arrival::Failed(error.clone()));
        self.deliver(index, Arrival::Failed(error.clone()));
    }

    /// Forgets the page, and tells all others who wait for it what became of it.
    fn forget(&self, page: PageNo, frame: Frame, why: impl Fn() -> Arrival) {
        let (file, pool) = (&*self.file, &*self.file.pool);
        let Some(word) = file.table.word(page) else {
            return;
        };
        // The frame's owner is cleared before the word says absent, since afterwards the page
        // may be claimed again; the frame is given back after.
        pool.frames.owner(frame).clear();
        let told = pool.waiting.fail(word, file.number, page, frame);
        file.left(page);
        pool.frames.give(frame);
        for (batch, index) in told {
            batch.deliver(index, why());
        }
    }

    /// Takes the read of the page at `index` back, which no device has: whoever else wants the
    /// page reads it. Nothing arrives at `index`.
    pub(crate) fn take_back(&self, index: u32, read: PageRead) {
        // Relaxed: `landed` is called below, by this thread.
        self.taken_back.store(index, Ordering::Relaxed);
        drop(read);
        self.taken_back.store(u32::MAX, Ordering::Relaxed);
    }
}

/// A page that has arrived, for one look.
pub(crate) struct Arrived<'a> {
    file: &'a File,
    page: PageNo,
    pinned: Pinned,
}

impl<'a> Arrived<'a> {
    /// For a pin that the caller gives up.
    pub(crate) fn new(file: &'a File, page: PageNo, pinned: Pinned) -> Self {
        Self { file, page, pinned }
    }
}

impl Deref for Arrived<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: our pin keeps the page in this frame, and nobody writes to a frame whose page
        // is resident.
        unsafe { self.file.pool.frames.arena.bytes(self.pinned.frame) }
    }
}

impl Drop for Arrived<'_> {
    fn drop(&mut self) {
        self.file.let_go(self.page, self.pinned);
    }
}

impl Landing for Batch {
    fn landed(&self, token: u64, result: Result<()>) {
        let (index, frame) = ((token >> 32) as u32, token as Frame);
        let file = &*self.file;
        let (page, claimed) = (self.page(index), &self.asked[index as usize].claimed);
        let checked = result.and_then(|()| match &file.checksums {
            Some(checksums) => {
                // SAFETY: the page is loading and its read is over: nobody writes to the frame
                // and nobody else looks at it.
                let bytes = unsafe { file.pool.frames.arena.bytes(frame) };
                checksums.verify(file.device.file(), page, bytes)
            }
            None => Ok(()),
        });
        // Relaxed: see `take_back`.
        let is_taken_back = matches!(checked, Err(Error::Abandoned { .. }))
            && self.taken_back.load(Ordering::Relaxed) == index;
        file.count(Count::Landed, 1);
        file.count(Count::Failed, u64::from(checked.is_err() && !is_taken_back));
        file.count(Count::ReadNs, file.pool.miss_times.landed(claimed));
        match checked {
            Ok(()) => self.publish(page, index, frame),
            Err(_) if is_taken_back => self.forget(page, frame, || Arrival::Again),
            Err(Error::Abandoned { page, .. }) => {
                let error = Error::Abandoned { file: file.device.file().clone(), page };
                self.fail_with(page, index, frame, &error);
            }
            Err(error) => self.fail_with(page, index, frame, &error),
        }
        if matches!(self.asker, Asker::Nobody) {
            file.pool.ahead.end();
        }
        // Relaxed: a count, see `PoolFile::drop`.
        file.in_flight.fetch_sub(1, Ordering::Relaxed);
        file.pool.starved.read_ends();
    }
}

impl Drop for Batch {
    /// Gives back the pins of what arrived and was never collected.
    fn drop(&mut self) {
        self.give_back();
    }
}

impl File {
    /// Gives back a pin of a page that has arrived. A page that was read for scans alone goes
    /// with the last one, unless somebody has used it since.
    pub(crate) fn let_go(&self, page: PageNo, pinned: Pinned) {
        let Pinned { frame, unwanted } = pinned;
        let Some(word) = self.table.word(page) else {
            return;
        };
        if !unwanted {
            return word.unpin();
        }
        if word.unpin_unwanted(frame) {
            self.unlinked(page, frame).into_iter().for_each(|frame| self.pool.frames.give(frame));
        } else {
            self.pool.clock.arrived(word, frame);
            word.unpin();
        }
    }

    /// Keeps a page that has arrived, with its pin, whatever it was read for.
    pub(crate) fn keep(&self, page: PageNo, pinned: Pinned) -> Frame {
        if pinned.unwanted
            && let Some(word) = self.table.word(page)
        {
            self.pool.clock.arrived(word, pinned.frame);
        }
        pinned.frame
    }
}
