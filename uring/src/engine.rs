//! The ring engine: any number of threads, one ring, no thread of its own.
//!
//! A request enters a bounded lock-free queue. A thread that waits first stages what is queued
//! (moves it into the ring; whoever holds the submitting baton does so for all), then tries to
//! become the reaper. The reaper submits, waits in the kernel and lands whatever completes, for
//! everybody, until its own wait is over; the others park. When it leaves it wakes one follower,
//! who takes over. So a thread alone never switches context, and many share each system call.
//!
//! Nothing is lost between a thread that queues and one that lets go: see `baton`. No follower
//! sleeps while reads are in flight that nobody reaps: see [`Followers`].

#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use ringpool_storage::{PageDevice, PageRead, PageSize, Result};

use crate::direct_file::{DirectFile, Judgement, MAX_TRIES};
use crate::in_flight::InFlight;
use crate::ring::{Reaping, Ring};

/// Reads in flight at most. Beyond the knee of a disk (32 to 64) more only queue.
pub(crate) const DEPTH: u32 = 128;
/// Requests that wait for a place in flight at most; then `submit` hands back.
const QUEUE: usize = 1024;
/// The reaper lets up to so many completions gather before it returns from the kernel, but never
/// more than a quarter of what is in flight: fewer system calls when the disk is busy, no delay
/// when it is not.
const GATHER: usize = 16;
/// The reaper looks up from the kernel this often, in case its wait was ended by somebody else.
const NAP: Duration = Duration::from_millis(20);
/// How long the reaper waits before it offers the kernel again what the kernel refused.
const REFUSED: Duration = Duration::from_micros(100);
/// How long a closing engine waits for its reads before it leaves ring and memory to the kernel.
const DRAIN: Duration = Duration::from_secs(30);

/// Reads pages of any number of files through one io_uring.
pub(crate) struct RingEngine {
    core: ManuallyDrop<Box<Core>>,
}

/// What an engine or a file has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that ended, well or not.
    pub reads: u64,
    /// Calls of `io_uring_enter`; 0 for the blocking engine.
    pub enters: u64,
    /// Reads that were offered again: interrupted, short, or refused for a moment.
    pub retries: u64,
    /// Completions of no read in flight. Anything but 0 is a defect, the kernel's or ours.
    pub strays: u64,
}

struct Core {
    queue: ArrayQueue<Request>,
    /// Reads that go on where they stopped. Never full: each had a slot in flight.
    again: ArrayQueue<Request>,
    ring: Ring,
    in_flight: InFlight<Request>,
    followers: Followers,
    reads: AtomicU64,
    retries: AtomicU64,
    strays: AtomicU64,
}

struct Request {
    file: Arc<DirectFile>,
    read: PageRead,
    offset_bytes: u64,
    done_bytes: u32,
    tries: u32,
}

impl RingEngine {
    /// Sets up the ring, or says why the kernel refuses it.
    pub(crate) fn new() -> io::Result<Self> {
        let core = Core {
            queue: ArrayQueue::new(QUEUE),
            again: ArrayQueue::new(DEPTH as usize),
            ring: Ring::new(DEPTH)?,
            in_flight: InFlight::new(DEPTH),
            followers: Followers::default(),
            reads: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            strays: AtomicU64::new(0),
        };
        Ok(Self { core: ManuallyDrop::new(Box::new(core)) })
    }

    pub(crate) fn counters(&self) -> Counters {
        // Relaxed: counts, read for their values alone.
        Counters {
            reads: self.core.reads.load(Ordering::Relaxed),
            enters: self.core.ring.enters.load(Ordering::Relaxed),
            retries: self.core.retries.load(Ordering::Relaxed),
            strays: self.core.strays.load(Ordering::Relaxed),
        }
    }
}

impl Drop for RingEngine {
    /// Waits for the reads in flight. Closing a ring does not stop them: what was not waited for
    /// would be written to later.
    fn drop(&mut self) {
        let core = &self.core;
        core.drive(&|| core.idle(), Some(Instant::now() + DRAIN));
        if core.in_flight.count() == 0 {
            // SAFETY: dropped once, here. No read is in flight, so that the kernel writes to no
            // memory that the requests own.
            unsafe { ManuallyDrop::drop(&mut self.core) }
        } else {
            let (reads, waited) = (core.in_flight.count(), DRAIN);
            tracing::error!(reads, ?waited, "a disk does not answer: its ring and memory stay");
        }
    }
}

impl Core {
    fn idle(&self) -> bool {
        self.in_flight.count() == 0 && self.queue.is_empty() && self.again.is_empty()
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        self.stage();
        if until() {
            // What is there lands, what is not is left to others or to a later call.
            self.submit();
            if let Some(mut reaping) = self.ring.reaping() {
                self.land_all(&mut reaping);
            }
            self.submit();
            self.followers.call_one_if(|| self.unattended());
            return true;
        }
        let mut following = None;
        let held = loop {
            if let Some(mut reaping) = self.ring.reaping() {
                if let Some(held) = self.reap_until(&mut reaping, until, deadline) {
                    break held;
                }
            } else {
                // The reaper may be asleep in the kernel: submit without it.
                self.submit();
            }
            let following = following.get_or_insert_with(|| self.followers.join());
            // Registered first, looked second: see `Followers`.
            if until() {
                break true;
            }
            if !self.unattended() && !following.park(deadline) {
                break until();
            }
            self.stage();
        };
        drop(following);
        self.followers.call_one_if(|| self.unattended());
        held
    }

    /// Whether there is work that nobody reaps.
    fn unattended(&self) -> bool {
        !self.ring.is_reaped() && !self.idle()
    }

    /// Lands what completes until `until()` holds or `deadline` has passed, and returns which;
    /// `None` when there is nothing left to reap.
    fn reap_until(
        &self,
        reaping: &mut Reaping<'_>,
        until: &dyn Fn() -> bool,
        deadline: Option<Instant>,
    ) -> Option<bool> {
        loop {
            self.land_all(reaping);
            let patience = patience(deadline);
            if until() || patience.is_zero() {
                self.submit();
                return Some(until());
            }
            let in_flight = self.in_flight.count();
            if in_flight == 0 {
                if self.queue.is_empty() && self.again.is_empty() {
                    return None;
                }
                self.stage();
                continue;
            }
            let want = (in_flight / 4).clamp(1, GATHER);
            if let Err(error) = self.ring.submit_and_wait(want, patience) {
                self.bear(&error);
            }
        }
    }

    /// Moves queued requests into the ring, as far as there is room in flight. Does nothing while
    /// another thread is at it: that one looks again after it has let go.
    fn stage(&self) {
        while !(self.queue.is_empty() && self.again.is_empty()) {
            let Some(mut submitting) = self.ring.submitting() else {
                return;
            };
            let mut room = true;
            while room {
                let Some(vacant) = self.in_flight.vacant() else {
                    break;
                };
                let Some(request) = self.again.pop().or_else(|| self.queue.pop()) else {
                    break;
                };
                let (file, start) = (request.file.clone(), request.offset_bytes);
                let done_bytes = request.done_bytes;
                let (mut memory, mut len) = (std::ptr::null_mut(), 0);
                let user_data = vacant.fill(request, |request| {
                    memory = request.read.as_mut_ptr().wrapping_add(done_bytes as usize);
                    len = request.read.len_bytes() as u32 - done_bytes;
                });
                let at = start + u64::from(done_bytes);
                // SAFETY: the table owns memory and file until the completion is popped, and
                // `RingEngine::drop` keeps the table when some never arrive.
                room = unsafe { submitting.push_read(&file, at, memory, len, user_data) };
                if !room {
                    // Older SQEs are still in the ring. Nothing knows of this one yet.
                    let request = self.in_flight.land(user_data);
                    let kept = request.map(|request| self.again.push(request));
                    debug_assert!(matches!(kept, Some(Ok(()))), "as many places as slots");
                }
            }
            drop(submitting);
            if !room || self.in_flight.count() >= DEPTH as usize {
                return; // The reaper stages again once something has landed.
            }
        }
    }

    /// Gives the kernel what was staged.
    fn submit(&self) {
        if let Err(error) = self.ring.submit() {
            self.bear(&error);
        }
    }

    /// What `io_uring_enter` says when it does not do everything at once. Each leaves the rings
    /// as they are, so that the caller's loop goes on; each has its reason to go on.
    fn bear(&self, error: &io::Error) {
        match error.raw_os_error() {
            // The time was over, or a signal came: the completion queue says what is there.
            Some(libc::ETIME | libc::EINTR) => {}
            // Short of memory, or completions wait to be popped: pop, and offer the rest later.
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => {
                self.retries.fetch_add(1, Ordering::Relaxed);
                thread::park_timeout(REFUSED);
            }
            // Anything else would be a defect of ours, or a kernel that has lost completions
            // (EBADR): waits end at their deadlines, and no memory is given back.
            _ => {
                tracing::error!(%error, "io_uring_enter refuses");
                thread::park_timeout(NAP);
            }
        }
    }

    /// Lands what has completed, and fills the places that came free.
    fn land_all(&self, reaping: &mut Reaping<'_>) {
        if reaping.pop_all(|user_data, result| self.land(user_data, result)) > 0 {
            self.stage();
        }
    }

    fn land(&self, user_data: u64, result: i32) {
        let Some(mut request) = self.in_flight.land(user_data) else {
            self.strays.fetch_add(1, Ordering::Relaxed);
            tracing::error!(user_data, result, "a completion of no read in flight");
            return;
        };
        let judgement = request.file.judge(result, request.done_bytes as usize);
        if let Judgement::Again { done_bytes } = judgement
            && request.tries < MAX_TRIES
        {
            request.done_bytes = done_bytes as u32;
            request.tries += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            let kept = self.again.push(request);
            debug_assert!(kept.is_ok(), "as many places as slots");
            return;
        }
        // Relaxed: a count, read for its value alone.
        self.reads.fetch_add(1, Ordering::Relaxed);
        let Request { file, read, .. } = request;
        let landed = match judgement {
            Judgement::Whole => Ok(()),
            failure => Err(file.error(read.page(), failure)),
        };
        read.complete(landed);
    }
}

/// The threads that wait while another one reaps.
///
/// The promise: while reads are in flight and nobody reaps, no follower sleeps on. A follower
/// (F) registers, then looks whether somebody reaps, then parks. A thread that starts reads or
/// stops reaping (L) does so first, and then looks for registered followers. All four steps are
/// sequentially consistent, so one of two things holds:
///
/// - L looks after F registered: it sees F and wakes it. The token of `unpark` stays, also when F
///   has not parked yet.
/// - F registered after L looked: then F looks after L's change, sees work that nobody reaps,
///   and does not park.
#[derive(Default)]
struct Followers {
    count: AtomicUsize,
    threads: Mutex<Vec<Thread>>,
}

struct Following<'a>(&'a Followers);

impl Followers {
    fn join(&self) -> Following<'_> {
        self.threads.lock().push(thread::current());
        self.count.fetch_add(1, Ordering::SeqCst);
        Following(self)
    }

    /// Wakes one follower if there is one and `needed` says so.
    fn call_one_if(&self, needed: impl FnOnce() -> bool) {
        if self.count.load(Ordering::SeqCst) > 0
            && needed()
            && let Some(thread) = self.threads.lock().first()
        {
            thread.unpark();
        }
    }
}

impl Following<'_> {
    /// Parks until woken; returns false once `deadline` has passed.
    fn park(&self, deadline: Option<Instant>) -> bool {
        let patience = patience(deadline);
        if patience.is_zero() {
            return false;
        }
        thread::park_timeout(patience);
        true
    }
}

/// How long to wait at a stretch.
fn patience(deadline: Option<Instant>) -> Duration {
    deadline.map_or(NAP, |deadline| NAP.min(deadline.duration_since(Instant::now())))
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::SeqCst);
        let me = thread::current().id();
        let mut threads = self.0.threads.lock();
        if let Some(place) = threads.iter().position(|thread| thread.id() == me) {
            threads.remove(place);
        }
    }
}

/// A file that is read through the ring.
pub(crate) struct RingFile {
    engine: Arc<RingEngine>,
    file: Arc<DirectFile>,
}

impl RingFile {
    pub(crate) fn new(engine: Arc<RingEngine>, file: Arc<DirectFile>) -> Self {
        Self { engine, file }
    }
}

impl PageDevice for RingFile {
    fn file(&self) -> &Arc<str> {
        &self.file.path
    }

    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn submit(&self, read: PageRead) -> std::result::Result<(), PageRead> {
        debug_assert_eq!(read.len_bytes(), self.file.page_size.bytes(), "one page a read");
        let offset_bytes = match self.file.offset_bytes(read.page()) {
            Ok(offset_bytes) => offset_bytes,
            Err(error) => {
                read.complete(Result::Err(error));
                return Ok(());
            }
        };
        let file = self.file.clone();
        let request = Request { file, read, offset_bytes, done_bytes: 0, tries: 0 };
        self.engine.core.queue.push(request).map_err(|request| request.read)
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        self.engine.core.drive(until, deadline)
    }
}
