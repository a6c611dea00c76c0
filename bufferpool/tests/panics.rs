//! Whatever of the caller's panics (a visitor, a waker, a device, a subscriber), the panic goes to
//! the caller and no further, and the pool is as good as before. Visitors of a gather are in
//! `gather`, those of readers in `readers`.

mod setup;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ringpool_bufferpool::{Hint, Pool, PoolFile, Reading};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Fault, MemoryDevice, PageDevice, PageNo, PageRead, PageSize, PageSource};
use setup::{PAGES, SIZE, assert_whole, block_on, faulty, is_page, pages, poll_once, pool, woken};

/// Its caller's own, without a word on stderr.
fn panic_quietly() -> ! {
    resume_unwind(Box::new("on purpose"))
}

#[track_caller]
fn panics<T>(does: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(does)).is_err(), "the panic goes to the caller");
}

/// Every page is to be had, and nothing is held.
fn expect_as_good_as_before(pool: &Pool, file: &PoolFile) {
    let mut seen = 0;
    file.visit(&pages(0..PAGES), &mut |i, bytes| {
        seen += u64::from(is_page(bytes, PageNo(i as u64)))
    })
    .unwrap();
    assert_eq!(seen, PAGES);
    assert_whole(pool, 0);
}

#[test]
fn a_visitor_panics_at_each_page() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let batch = pages(0..30);
    let soon = Reading::default().within(Duration::from_secs(60));
    for at in 0..batch.len() {
        for reading in [Reading::default(), soon, Reading::default().hint(Hint::ScanOnce)] {
            for page in pages(5..20) {
                file.forget(page);
            }
            let mut seen = 0;
            panics(|| {
                file.visit_with(&batch, &reading, &mut |_, _| {
                    if seen == at {
                        panic_quietly();
                    }
                    seen += 1;
                })
            });
            assert_whole(&pool, 0);
        }
        panics(|| file.try_visit(&batch, &mut |_, _| panic_quietly()));
    }
    expect_as_good_as_before(&pool, &file);
}

/// A waker that panics, as one of an executor that is gone.
struct Panicking(AtomicU32);

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic_quietly();
    }
}

#[test]
fn a_waker_panics_and_others_who_wait_for_the_page_are_woken() {
    let pool = pool(70);
    let (file, disk) = faulty(&pool, |_, page| (page.0 == 3).then_some(Fault::Hold));
    let panicking = Arc::new(Panicking(AtomicU32::new(0)));
    let mut first = pin!(file.fetch(PageNo(3)));
    let mut second = pin!(file.fetch(PageNo(3)));
    let waker = Waker::from(panicking.clone());
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let awake = woken();
    assert!(poll_once(second.as_mut(), &awake).is_pending());
    disk.heal();
    disk.release();
    assert_eq!((panicking.0.load(Ordering::Relaxed), awake.times.load(Ordering::Relaxed)), (1, 1));
    // Both have it.
    for future in [first, second] {
        assert!(is_page(&block_on(future).unwrap(), PageNo(3)));
    }
    expect_as_good_as_before(&pool, &file);
}

/// A device of the caller's own that panics when it is told to.
struct Fragile {
    inner: MemoryDevice,
    submits: AtomicU32,
    drives: AtomicU32,
}

impl Fragile {
    fn step(count: &AtomicU32) {
        // Counts down, and panics as long as it is at zero: `u32::MAX` is never.
        match count.load(Ordering::Relaxed) {
            0 => panic_quietly(),
            u32::MAX => {}
            left => count.store(left - 1, Ordering::Relaxed),
        }
    }
}

impl PageDevice for Fragile {
    fn file(&self) -> &Arc<str> {
        self.inner.file()
    }

    fn page_size(&self) -> PageSize {
        self.inner.page_size()
    }

    fn page_count(&self) -> u64 {
        self.inner.page_count()
    }

    fn submit(&self, read: PageRead) -> Result<(), PageRead> {
        Self::step(&self.submits);
        self.inner.submit(read)
    }

    fn drive(&self, until: &dyn Fn() -> bool, deadline: Option<Instant>) -> bool {
        Self::step(&self.drives);
        self.inner.drive(until, deadline)
    }
}

#[test]
fn a_device_panics_at_each_of_its_calls() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let never = || AtomicU32::new(u32::MAX);
    let (submits, drives) = (never(), never());
    let inner = MemoryDevice::new(specimen.in_memory());
    let device = Arc::new(Fragile { inner, submits, drives });
    let pool = pool(100);
    let file = pool.attach(device.clone(), Some(specimen.checksums)).unwrap();
    let fresh = |from: u64| {
        let batch = pages(from..from + 20);
        batch.iter().for_each(|&page| _ = file.forget(page));
        batch
    };
    for after in 0..8 {
        for (count, what) in [(&device.submits, "submit"), (&device.drives, "drive")] {
            // As long as it is asked: also while what was begun is given back.
            count.store(after, Ordering::Relaxed);
            let visit = || file.visit(&fresh(0), &mut |_, _| {});
            let visited = catch_unwind(AssertUnwindSafe(visit));
            assert!(visited.is_err() || (what, after > 0) == ("drive", true), "{what} {after}");
            let prefetch = || file.prefetch(&fresh(40), &Reading::default());
            let _ = catch_unwind(AssertUnwindSafe(prefetch));
            let fetch = || block_on(file.fetch(fresh(80)[0])).map(drop);
            let _ = catch_unwind(AssertUnwindSafe(fetch));
            count.store(u32::MAX, Ordering::Relaxed);
            expect_as_good_as_before(&pool, &file);
        }
    }
}

#[test]
fn a_future_whose_device_panics_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let (submits, drives) = (AtomicU32::new(0), AtomicU32::new(u32::MAX));
    let inner = MemoryDevice::new(specimen.in_memory());
    let device = Arc::new(Fragile { inner, submits, drives });
    let pool = pool(100);
    let file = pool.attach(device.clone(), Some(specimen.checksums)).unwrap();
    {
        let mut page = pin!(file.fetch(PageNo(1)));
        let awake = woken();
        panics(|| poll_once(page.as_mut(), &awake).is_pending());
    }
    device.submits.store(u32::MAX, Ordering::Relaxed);
    let mut page = pin!(file.fetch(PageNo(1)));
    assert!(matches!(poll_once(page.as_mut(), &woken()), Poll::Ready(Ok(_))));
    expect_as_good_as_before(&pool, &file);
}

#[cfg(all(feature = "tracing", not(loom)))]
#[test]
fn a_subscriber_panics() {
    struct Deaf;
    impl std::io::Write for Deaf {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            panic_quietly()
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let pool = pool(70);
    let (file, _) = faulty(&pool, |ordinal, _| (ordinal % 3 == 1).then_some(Fault::Errno(5)));
    let deaf = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_writer(|| Deaf)
        .finish();
    tracing::subscriber::with_default(deaf, || {
        for page in pages(0..60) {
            // The error is the disk's, and not the subscriber's.
            let pinned = file.pin(page).map(|pinned| is_page(&pinned, page));
            assert!(matches!(pinned, Ok(true) | Err(ringpool_storage::Error::Io { .. })));
        }
    });
    assert_whole(&pool, 0);
}
