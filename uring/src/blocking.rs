//! The blocking engine: preads on a few threads, for where io_uring is refused.
//!
//! The same queue and the same promise as the ring engine's. A thread that waits reads too, so
//! that a lone read never changes threads; the workers are started when a batch first needs them
//! and sleep when there is nothing to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};
use ringpool_storage::{PageDevice, PageRead, PageSize, park_until};

use crate::direct_file::DirectFile;
use crate::engine::Counters;

/// Threads that read at once, at most, beside those that wait.
const WORKERS: usize = 32;
/// Requests that wait for a thread at most; then `submit` hands back.
const QUEUE: usize = 1024;

/// Reads pages of any number of files by pread.
pub(crate) struct BlockingEngine {
    core: Arc<Core>,
}

struct Core {
    queue: ArrayQueue<Request>,
    /// The number of workers asleep, with the condition that wakes them.
    asleep: Mutex<usize>,
    wake: Condvar,
    workers: AtomicUsize,
    closed: AtomicBool,
    reads: AtomicU64,
}

struct Request {
    file: Arc<DirectFile>,
    read: PageRead,
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
        };
        Self { core: Arc::new(core) }
    }

    pub(crate) fn counters(&self) -> Counters {
        // Relaxed: a count, read for its value alone.
        Counters { reads: self.core.reads.load(Ordering::Relaxed), ..Counters::default() }
    }

    /// Wakes as many workers as there are requests, and starts those that are missing. Where the
    /// system allows no further thread, the waiting threads do the reading.
    fn wake_workers(&self) {
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
                return;
            }
            let worker = core.clone();
            let name = "ringpool-pread".to_string();
            if thread::Builder::new().name(name).spawn(move || worker.work()).is_err() {
                core.workers.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            wanted -= 1;
        }
    }
}

impl Drop for BlockingEngine {
    /// Lets the workers end. They own what they are reading into, so nobody waits for them.
    fn drop(&mut self) {
        // Stored under the lock, so that no worker misses it between looking and sleeping.
        let _asleep = self.core.asleep.lock();
        self.core.closed.store(true, Ordering::Relaxed);
        self.core.wake.notify_all();
    }
}

impl Core {
    fn work(&self) {
        loop {
            while let Some(request) = self.queue.pop() {
                self.serve(request);
            }
            let mut asleep = self.asleep.lock();
            // Relaxed: written under the same lock.
            if self.closed.load(Ordering::Relaxed) {
                return;
            }
            if self.queue.is_empty() {
                *asleep += 1;
                self.wake.wait(&mut asleep);
                *asleep -= 1;
            }
        }
    }

    fn serve(&self, request: Request) {
        let Request { file, mut read } = request;
        let result = file.read_blocking(&mut read);
        // Relaxed: a count, read for its value alone.
        self.reads.fetch_add(1, Ordering::Relaxed);
        read.complete(result);
    }
}

/// A file that is read by pread.
pub(crate) struct BlockingFile {
    engine: Arc<BlockingEngine>,
    file: Arc<DirectFile>,
}

impl BlockingFile {
    pub(crate) fn new(engine: Arc<BlockingEngine>, file: Arc<DirectFile>) -> Self {
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
        let request = Request { file: self.file.clone(), read };
        self.engine.core.queue.push(request).map_err(|request| request.read)
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        let core = &self.engine.core;
        let over = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
        // One read is left to this thread; more are shared out.
        if core.queue.len() > usize::from(!until()) {
            self.engine.wake_workers();
        }
        while !until() && !over() {
            let Some(request) = core.queue.pop() else {
                return park_until(until, deadline);
            };
            core.serve(request);
        }
        until()
    }
}
