//! A pool over a disk that fails on request, what is to be true of it at rest, and the smallest
//! executor there is.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use ringpool_bufferpool::{Hint, Policy, Pool, PoolFile, PoolOptions, Reading};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Fault, FaultyDevice, MemoryDevice, PageNo, PageSize};

pub const SIZE: PageSize = PageSize::KIB_4;
pub const PAGES: u64 = 400;

/// A pool of so many frames, of which the table of [`faulty`] takes two.
pub fn pool(frames: u64) -> Pool {
    pool_with(frames, Policy::default())
}

pub fn pool_with(frames: u64, policy: Policy) -> Pool {
    let options = PoolOptions {
        policy,
        memory_bytes: frames * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_millis(50),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

pub fn faulty(
    pool: &Pool,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let memory = Arc::new(MemoryDevice::new(specimen.in_memory()));
    let device = Arc::new(FaultyDevice::new(memory, script));
    (pool.attach(device.clone(), Some(specimen.checksums)).unwrap(), device)
}

pub fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

pub fn pages(range: std::ops::Range<u64>) -> Vec<PageNo> {
    range.map(PageNo).collect()
}

pub fn scan() -> Reading<'static> {
    Reading::default().hint(Hint::ScanOnce)
}

/// At rest: every frame is accounted for, nothing is on its way, and so many pins are held.
pub fn assert_whole(pool: &Pool, pins: u64) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    let used = audit.resident + audit.loading + audit.retired + audit.limbo;
    assert_eq!(audit.free + used, stats.frames);
    assert_eq!((audit.loading, audit.pins, stats.loading), (0, pins, 0));
}

/// Wakes a thread, and counts how often.
pub struct Woken {
    thread: Thread,
    pub times: AtomicU64,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.thread.unpark();
    }
}

pub fn woken() -> Arc<Woken> {
    Arc::new(Woken { thread: thread::current(), times: AtomicU64::new(0) })
}

/// Polls only when woken, so that a wake-up that is missing is a hang, and that the test's own
/// limit of time finds.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (woken, mut future) = (woken(), pin!(future));
    let waker = Waker::from(woken.clone());
    let mut seen = 0;
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while woken.times.load(Ordering::Relaxed) == seen {
            thread::park();
        }
        seen = woken.times.load(Ordering::Relaxed);
    }
}

pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}
