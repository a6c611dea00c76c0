//! A lane: one ring, the requests that wait for it, and the reads that are in flight in it.
//!
//! Requests enter a bounded lock-free queue, from any thread. Whoever holds the submitting baton
//! stages them (moves them into the ring, as many as may be in flight); whoever holds the reaping
//! baton lands what has completed and stages what there is room for then. Neither waits for the
//! other; who waits, and for whom, is the business of `lanes`.

#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_storage::Result;

use crate::books::Books;
use crate::in_flight::InFlight;
use crate::paged_file::{Judgement, MAX_TRIES, PagedFile};
use crate::platform;
use crate::registered::{FILES, REGIONS};
use crate::request::{Request, Run};
use crate::ring::{RawRing, Reaping, Ring, Sqe, SqeFile, Target};
use crate::sync::thread::yield_now;
use crate::sync::{ArrayQueue, AtomicU64, fence};

/// Requests that wait for a place in flight at most; then a submission is handed back.
pub(crate) const QUEUE: usize = 1024;
/// Completions that are landed, and their places filled again, before the disk gets the next
/// work: a quarter of what is in flight, and not more than this. Fewer cost more system
/// calls; more let a disk that answers in bursts fall idle between them.
const BURST: usize = 16;
/// Boxes of runs that are kept for use.
const SPARE_RUNS: usize = 16;
/// How long a thread waits before it offers the kernel again what the kernel refused,
const REFUSED: Duration = Duration::from_micros(100);
/// and what it should never refuse.
const BROKEN: Duration = Duration::from_millis(20);

pub(crate) struct Lane<R> {
    queue: ArrayQueue<Request>,
    /// What goes on where it stopped: never full, as each had a slot in flight, but for the one
    /// request that may be put back by who stages.
    again: ArrayQueue<What>,
    ring: Ring<R>,
    in_flight: InFlight<Flight>,
    spare_runs: ArrayQueue<Box<Run>>,
    /// The file, by id, that each slot of the ring stands for; 0 for none.
    files: Box<[AtomicU64]>,
    has_slots: AtomicBool,
    /// A bit for each region of memory that the ring has taken.
    regions: AtomicU64,
}

struct Flight {
    what: What,
    started: Instant,
}

enum What {
    Page(Request),
    Run(Box<Run>),
}

impl<R: RawRing> Lane<R> {
    /// A lane for `depth` reads in flight.
    pub(crate) fn new(raw: R, depth: u32, has_slots: bool) -> Self {
        Self {
            queue: ArrayQueue::new(QUEUE),
            again: ArrayQueue::new(depth as usize + 1),
            ring: Ring::new(raw),
            in_flight: InFlight::new(depth),
            spare_runs: ArrayQueue::new(SPARE_RUNS),
            files: (0..FILES).map(|_| AtomicU64::new(0)).collect(),
            has_slots: AtomicBool::new(has_slots),
            regions: AtomicU64::new(0),
        }
    }

    pub(crate) fn queue(&self, request: Request) -> std::result::Result<(), Request> {
        self.queue.push(request)
    }

    pub(crate) fn ring(&self) -> &Ring<R> {
        &self.ring
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.count()
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !(self.queue.is_empty() && self.again.is_empty())
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && !self.has_waiting()
    }

    /// Whether there is work that nobody reaps.
    pub(crate) fn is_unattended(&self) -> bool {
        !self.ring.is_reaped() && !self.is_idle()
    }

    /// Moves queued requests into the ring, as far as there is room in flight. Does nothing while
    /// another thread is at it: that one looks again after it has let go.
    pub(crate) fn stage(&self, books: &Books) {
        loop {
            if !self.has_waiting() {
                return books.depth.runs_dry();
            }
            let Some(mut submitting) = self.ring.submitting() else {
                return;
            };
            let started = Instant::now();
            let mut room = true;
            while room && self.may_start(books) {
                let Some(vacant) = self.in_flight.vacant() else {
                    yield_now(); // Who has just landed a read is about to give its slot back.
                    break;
                };
                let Some(mut what) = self.next() else {
                    break;
                };
                let mut sqe = self.sqe(&mut what, books);
                let (user_data, is_first) = vacant.fill(Flight { what, started });
                books.depth.starts(is_first);
                sqe.user_data = user_data;
                // SAFETY: the table owns memory and file until the completion is popped, and the
                // table stays when some completions never come: see `RingEngine::drop`.
                room = unsafe { submitting.push(&sqe) };
                if !room {
                    self.put_back(user_data, books);
                }
            }
            drop(submitting);
            // Pairs with the fence in `land_burst`: either we see that there is room again, or
            // who made it sees what is queued.
            fence(Ordering::SeqCst);
            if !room || !self.may_start(books) {
                return; // The reaper stages again once something has landed.
            }
        }
    }

    fn may_start(&self, books: &Books) -> bool {
        books.depth.may_start(self.in_flight() as u32)
    }

    /// Takes an SQE back that the ring had no room for: older ones are still in it.
    fn put_back(&self, user_data: u64, books: &Books) {
        if let Some((flight, was_last)) = self.in_flight.land(user_data) {
            books.depth.ends(was_last);
            self.keep(match flight.what {
                What::Page(request) => What::Page(request),
                What::Run(mut run) => {
                    run.settle(0, drop);
                    What::Run(run)
                }
            });
        }
    }

    fn keep(&self, what: What) {
        let kept = self.again.push(what);
        debug_assert!(kept.is_ok(), "as many places as slots, and one");
    }

    /// The next thing to read. By the holder of the submitting baton.
    fn next(&self) -> Option<What> {
        let first = match self.again.pop() {
            Some(What::Run(mut run)) => {
                let request = run.pop_unsettled();
                if run.len() > 0 {
                    self.keep(What::Run(run));
                } else {
                    let _ = self.spare_runs.push(run);
                }
                request.or_else(|| self.queue.pop())?
            }
            Some(What::Page(request)) if request.tries > 0 => return Some(What::Page(request)),
            Some(What::Page(request)) => request,
            None => self.queue.pop()?,
        };
        if first.tries > 0 {
            return Some(What::Page(first));
        }
        let Some(second) = self.queue.pop() else {
            return Some(What::Page(first));
        };
        if !Run::continues(&first, &second) {
            self.keep(What::Page(second));
            return Some(What::Page(first));
        }
        let mut run = self.spare_runs.pop().unwrap_or_else(|| Box::new(Run::new()));
        run.push(first);
        run.push(second);
        while let Some(next) = self.queue.pop() {
            if !run.takes(&next) {
                self.keep(What::Page(next));
                break;
            }
            run.push(next);
        }
        Some(What::Run(run))
    }

    fn sqe(&self, what: &mut What, books: &Books) -> Sqe {
        let user_data = 0;
        match what {
            What::Page(request) => {
                let (start, len_bytes) = request.rest();
                let buffer = self.buffer_of(start as usize, len_bytes as usize, books);
                let target = Target::Memory { start, len_bytes, buffer };
                let offset_bytes = request.offset_bytes + u64::from(request.done_bytes);
                let (file, flags) = (self.sqe_file(&request.file), request.file.flags());
                Sqe { file, offset_bytes, target, flags, user_data }
            }
            What::Run(run) => {
                let (iovecs, count) = (run.targets().as_ptr(), run.targets().len() as u32);
                let target = Target::Scattered { iovecs, count };
                let (file, flags) = (self.sqe_file(run.file()), run.file().flags());
                Sqe { file, offset_bytes: run.offset_bytes(), target, flags, user_data }
            }
        }
    }

    /// The file's slot, which it gets when it is first read here, or its descriptor. By the
    /// holder of the submitting baton.
    fn sqe_file(&self, file: &PagedFile) -> SqeFile {
        let descriptor = SqeFile::Fd(file.fd());
        // Relaxed: set once, and before any read or by this very thread.
        if !self.has_slots.load(Ordering::Relaxed) {
            return descriptor;
        }
        let slot = (file.id % FILES as u64) as u32;
        let place = &self.files[slot as usize];
        // Acquire: pairs with the release in `forget_file`: the slot is empty.
        match place.load(Ordering::Acquire) {
            id if id == file.id => SqeFile::Slot(slot),
            0 if self.ring.raw().register_file(slot, file.fd()).is_ok() => {
                // Relaxed: read by the holders of the submitting baton, and by the one who
                // closes this very file.
                place.store(file.id, Ordering::Relaxed);
                SqeFile::Slot(slot)
            }
            _ => descriptor,
        }
    }

    /// Whether this file is read here as a registered one.
    pub(crate) fn has_registered(&self, file: &PagedFile) -> bool {
        // Relaxed: for what is told, not for what is read.
        self.files[(file.id % FILES as u64) as usize].load(Ordering::Relaxed) == file.id
    }

    /// A file is closed: no read of it is in flight or will come.
    pub(crate) fn forget_file(&self, id: u64) {
        let slot = (id % FILES as u64) as u32;
        let place = &self.files[slot as usize];
        if place.load(Ordering::Relaxed) == id {
            let emptied = self.ring.raw().register_file(slot, -1);
            if emptied.is_ok() {
                // Release: pairs with the acquire in `sqe_file`.
                place.store(0, Ordering::Release);
            }
        }
    }

    /// The slot of the registered memory that these bytes lie in.
    #[inline]
    fn buffer_of(&self, start: usize, len_bytes: usize, books: &Books) -> Option<u16> {
        let slot = books.regions.slot_of(start, len_bytes)?;
        // Acquire: pairs with the release in `take_region`: the kernel knows it.
        (self.regions.load(Ordering::Acquire) >> slot & 1 == 1).then_some(slot)
    }

    /// Registers a region of memory with the ring.
    ///
    /// # Safety
    /// The memory keeps its pages until the region was [dropped](Self::drop_region).
    pub(crate) unsafe fn take_region(
        &self,
        slot: usize,
        start: usize,
        end: usize,
    ) -> io::Result<()> {
        debug_assert!(slot < REGIONS);
        if !self.has_slots.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let memory = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: as our caller promised.
        unsafe { self.ring.raw().register_memory(slot as u32, memory, end - start)? };
        self.regions.fetch_or(1 << slot, Ordering::Release);
        Ok(())
    }

    pub(crate) fn drop_region(&self, slot: usize) {
        // Relaxed: nobody reads into this memory any more.
        if self.regions.fetch_and(!(1 << slot), Ordering::Relaxed) >> slot & 1 == 1 {
            // SAFETY: no memory is passed.
            let emptied =
                unsafe { self.ring.raw().register_memory(slot as u32, std::ptr::null_mut(), 0) };
            if let Err(error) = emptied {
                tracing::warn!(%error, "registered memory could not be given back");
            }
        }
    }

    /// Gives the kernel what was staged.
    pub(crate) fn submit(&self, books: &Books) {
        if let Err(error) = self.ring.submit() {
            bear(&error, books);
        }
    }

    /// Gives the kernel what was staged, unless it has work left for a while: then the next wait
    /// will, with one call less.
    pub(crate) fn submit_if_short(&self, reaping: &Reaping<'_, R>, books: &Books) {
        let idle = self.ring.staged() as usize + reaping.completions();
        let at_the_disk = self.in_flight().saturating_sub(idle);
        if at_the_disk < idle {
            self.submit(books);
        }
    }

    /// Submits, and waits for some of what is in flight, for `patience` at most.
    pub(crate) fn wait(&self, reaping: &Reaping<'_, R>, patience: Duration, books: &Books) {
        if reaping.completions() > 0 {
            return self.submit(books);
        }
        // Not for many: what is still in flight keeps the disk busy while these are landed.
        let want = (self.in_flight() / 16).clamp(1, BURST);
        if let Err(error) = self.ring.submit_and_wait(want, patience) {
            bear(&error, books);
        }
    }

    /// Lands a burst of what has completed and fills the places that came free. Returns how many
    /// completions there were; more may be left.
    pub(crate) fn land_burst(&self, reaping: &mut Reaping<'_, R>, books: &Books) -> usize {
        let mut completions = [(0, 0); BURST];
        let most = (self.in_flight() / 4).clamp(1, BURST);
        let count = reaping.pop(&mut completions[..most]);
        if count > 0 {
            let now = Instant::now();
            let (mut latencies_ns, mut landed) = ([0; BURST], 0);
            for &(user_data, result) in &completions[..count] {
                if let Some(latency) = self.land(user_data, result, now, books) {
                    latencies_ns[landed] = latency.as_nanos() as u64;
                    landed += 1;
                }
            }
            let latencies_ns = &latencies_ns[..landed];
            books.latencies.count(latencies_ns);
            // Pairs with the fence in `stage`.
            fence(Ordering::SeqCst);
            self.stage(books);
            books.depth.measure(latencies_ns, now);
        }
        count
    }

    /// Lands one completion, and says how long it took; `None` for one of nothing.
    fn land(&self, user_data: u64, result: i32, now: Instant, books: &Books) -> Option<Duration> {
        let Some((Flight { what, started }, was_last)) = self.in_flight.land(user_data) else {
            books.strays.fetch_add(1, Ordering::Relaxed);
            tracing::error!(user_data, result, "a completion of no read in flight");
            return None;
        };
        books.depth.ends(was_last);
        match what {
            What::Page(request) => self.land_page(request, result, books),
            What::Run(run) => self.land_run(run, result, books),
        }
        Some(now.saturating_duration_since(started))
    }

    fn land_page(&self, mut request: Request, result: i32, books: &Books) {
        let judgement = request.file.judge(result, request.done_bytes as usize);
        if let Judgement::Again { done_bytes } = judgement
            && request.tries < MAX_TRIES
        {
            request.done_bytes = done_bytes as u32;
            request.tries += 1;
            books.retries.fetch_add(1, Ordering::Relaxed);
            return self.keep(What::Page(request));
        }
        let verdict = match judgement {
            Judgement::Whole => Ok(()),
            other => Err(request.file.error(request.read.page(), other)),
        };
        land(request, verdict, books);
    }

    fn land_run(&self, mut run: Box<Run>, result: i32, books: &Books) {
        books.merged.fetch_add(run.len() as u64, Ordering::Relaxed);
        if run.bridged_bytes() > 0 {
            books.bridged_bytes.fetch_add(run.bridged_bytes() as u64, Ordering::Relaxed);
        }
        run.settle(result, |request| land(request, Ok(()), books));
        if run.len() == 0 {
            let _ = self.spare_runs.push(run);
        } else {
            books.retries.fetch_add(1, Ordering::Relaxed);
            self.keep(What::Run(run));
        }
    }
}

fn land(request: Request, verdict: Result<()>, books: &Books) {
    // Relaxed, as in all books: counts, read for their values alone.
    books.reads.fetch_add(1, Ordering::Relaxed);
    if !request.complete(verdict) {
        books.panics.fetch_add(1, Ordering::Relaxed);
    }
}

/// What `io_uring_enter` says when it does not do everything at once. Each leaves the rings as
/// they are, so that the caller's loop goes on; each has its reason to go on.
fn bear(error: &io::Error, books: &Books) {
    match error.raw_os_error() {
        // The time was over, or a signal came: the completion queue says what is there.
        Some(platform::ETIME | libc::EINTR) => {}
        // Short of memory, or completions wait to be popped: pop, and offer the rest later.
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
            books.retries.fetch_add(1, Ordering::Relaxed);
            thread::park_timeout(REFUSED);
        }
        // Anything else would be a defect of ours, or a kernel that has lost completions
        // (EBADR): waits end at their deadlines, and no memory is given back.
        _ => {
            tracing::error!(%error, "io_uring_enter refuses");
            thread::park_timeout(BROKEN);
        }
    }
}
