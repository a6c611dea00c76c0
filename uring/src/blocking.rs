//! The blocking engine: preads on a few threads, for where io_uring is refused.
//!
//! The same queue and the same promise as the ring engine's. The threads are started when they are
//! first needed and sleep when there is nothing to read. A thread that waits without a deadline
//! reads too; one that has a deadline leaves the reading to them, since a pread that hangs cannot
//! be left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use ringpool_storage::{Error, ForkMark, PageDevice, PageRead, PageSize, Result, park_until};

use crate::books::Counters;
use crate::closing::until_next_look;
use crate::paged_file::PagedFile;
use crate::request::{Request, Run};

/// Threads that read at once, at most, beside those that wait: on a disk that takes a millisecond
/// for a read, so many reads in the time of one.
const WORKERS: usize = 64;
/// Requests that wait for a thread at most; then `submit` hands back.
const QUEUE: usize = 1024;

/// Reads pages of any number of files by pread.
pub(crate) struct BlockingEngine {
    core: Arc<Core>,
    mark: ForkMark,
}

struct Core {
    queue: ArrayQueue<Request>,
    /// The number of workers asleep, with the condition that wakes them.
    asleep: Mutex<usize>,
    wake: Condvar,
    workers: AtomicUsize,
    closed: AtomicBool,
    reads: AtomicU64,
    merged: AtomicU64,
    bridged_bytes: AtomicU64,
    panics: AtomicU64,
}

impl BlockingEngine {
    pub(crate) fn new() -> Self {
        let core = Core {
            queue: ArrayQueue::new(QUEUE),
            asleep: Mutex::new(0),
            wake: Condvar::new(),
            workers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            bridged_bytes: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        };
        Self { core: Arc::new(core), mark: ForkMark::new() }
    }

    pub(crate) fn counters(&self) -> Counters {
        // Relaxed: counts, read for their values alone.
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            reads: value(&self.core.reads),
            merged: value(&self.core.merged),
            bridged_bytes: value(&self.core.bridged_bytes),
            panics: value(&self.core.panics),
            ..Counters::default()
        }
    }

    /// Waits until nothing is being read and its threads have ended, or until the deadline. Returns
    /// how many reads and threads are left.
    pub(crate) fn close(self, deadline: Option<Instant>) -> [usize; 2] {
        if self.mark.is_child() {
            return [0; 2]; // They are the parent's.
        }
        self.core.end();
        while self.left()[1] > 0 {
            let Some(nap) = until_next_look(deadline) else { break };
            thread::sleep(nap);
        }
        self.left()
    }

    /// How many reads are queued or being made, and how many threads run.
    pub(crate) fn left(&self) -> [usize; 2] {
        if self.mark.is_child() {
            return [0; 2];
        }
        let asleep = *self.core.asleep.lock();
        // Relaxed: a count, read for its value alone.
        let threads = self.core.workers.load(Ordering::Relaxed);
        [self.core.queue.len() + threads.saturating_sub(asleep), threads]
    }

    /// Wakes as many workers as there are requests, and starts those that are missing. Where the
    /// system allows no further thread, the waiting threads do the reading. Returns whether
    /// anybody is there to read.
    fn wake_workers(&self) -> bool {
        let core = &self.core;
        let mut wanted = core.queue.len();
        let asleep = *core.asleep.lock();
        for _ in 0..asleep.min(wanted) {
            core.wake.notify_one();
        }
        wanted -= asleep.min(wanted);
        while wanted > 0 {
            // Relaxed: only the number counts; it never passes the bound because the increment
            // is taken back when it would.
            if core.workers.fetch_add(1, Ordering::Relaxed) >= WORKERS {
                core.workers.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            let worker = core.clone();
            let name = "ringpool-pread".to_string();
            if thread::Builder::new().name(name).spawn(move || worker.work()).is_err() {
                core.workers.fetch_sub(1, Ordering::Relaxed);
                break;
            }
            wanted -= 1;
        }
        core.workers.load(Ordering::Relaxed) > 0
    }
}

impl Drop for BlockingEngine {
    /// Lets the workers end. They own what they are reading into, so nobody waits for them.
    fn drop(&mut self) {
        if self.mark.is_child() {
            return; // The workers, and whoever held the lock, are the parent's.
        }
        self.core.end();
    }
}

impl Core {
    /// Lets the workers end, once nothing is queued.
    fn end(&self) {
        // Stored under the lock, so that no worker misses it between looking and sleeping.
        let _asleep = self.asleep.lock();
        self.closed.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    fn work(&self) {
        loop {
            while let Some(request) = self.queue.pop() {
                self.serve(request);
            }
            let mut asleep = self.asleep.lock();
            // Relaxed: written under the same lock.
            if self.closed.load(Ordering::Relaxed) {
                self.workers.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            if self.queue.is_empty() {
                *asleep += 1;
                self.wake.wait(&mut asleep);
                *asleep -= 1;
            }
        }
    }

    /// Reads a page, and with it those that follow it in the queue and in the file.
    fn serve(&self, first: Request) {
        let Some(second) = self.queue.pop() else {
            return self.read_one(first);
        };
        if !Run::continues(&first, &second) {
            self.leave(second);
            return self.read_one(first);
        }
        let mut run = Run::new();
        run.push(first);
        run.push(second);
        while let Some(next) = self.queue.pop() {
            if !run.takes(&next) {
                self.leave(next);
                break;
            }
            run.push(next);
        }
        self.read_run(run);
    }

    /// Leaves a request to others, as this thread is about to read something else.
    fn leave(&self, request: Request) {
        match self.queue.push(request) {
            Ok(()) if *self.asleep.lock() > 0 => _ = self.wake.notify_one(),
            Ok(()) => {}
            Err(request) => self.read_one(request), // Others have filled the queue meanwhile.
        }
    }

    fn read_one(&self, mut request: Request) {
        let result = request.file.read_blocking(&mut request.read);
        self.land(request, result);
    }

    fn read_run(&self, mut run: Run) {
        // Relaxed: counts, read for their values alone.
        self.merged.fetch_add(run.len() as u64, Ordering::Relaxed);
        if run.bridged_bytes() > 0 {
            self.bridged_bytes.fetch_add(run.bridged_bytes() as u64, Ordering::Relaxed);
        }
        let result = run.read_blocking();
        run.settle(result, |request| self.land(request, Ok(())));
        while let Some(request) = run.pop_unsettled() {
            self.read_one(request);
        }
    }

    fn land(&self, request: Request, result: Result<()>) {
        // Relaxed: counts, read for their values alone.
        self.reads.fetch_add(1, Ordering::Relaxed);
        if !request.complete(result) {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A file that is read by pread.
pub(crate) struct BlockingFile {
    engine: Arc<BlockingEngine>,
    file: Arc<PagedFile>,
}

impl BlockingFile {
    pub(crate) fn new(engine: Arc<BlockingEngine>, file: Arc<PagedFile>) -> Self {
        Self { engine, file }
    }
}

impl PageDevice for BlockingFile {
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
        if self.engine.mark.is_child() {
            read.complete(Err(Error::Forked { file: self.file.path.clone() }));
            return Ok(());
        }
        match Request::new(&self.file, read) {
            Some(request) => self.engine.core.queue.push(request).map_err(|request| request.read),
            None => Ok(()),
        }
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        if self.engine.mark.is_child() {
            return until();
        }
        let waits = !until();
        // Without a deadline, one read is left to this thread; more are shared out.
        let own = usize::from(waits && deadline.is_none());
        let helped = self.engine.core.queue.len() <= own || self.engine.wake_workers();
        // With one, this thread reads nothing that may hold it beyond, if anybody else can.
        while waits && !until() && (deadline.is_none() || !helped) {
            let Some(request) = self.engine.core.queue.pop() else {
                break;
            };
            self.engine.core.serve(request);
        }
        if waits { park_until(until, deadline) } else { until() }
    }

    fn start(&self) {
        if self.engine.mark.is_child() || self.engine.wake_workers() {
            return;
        }
        // No thread to be had: slower than a future should be, and right.
        while let Some(request) = self.engine.core.queue.pop() {
            self.engine.core.serve(request);
        }
    }
}
