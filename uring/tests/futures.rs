//! The same buffer as a future: on no executor in particular, dropped at any moment.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, PageDevice, PageNo, PageSize, ReadBuffer};
use ringpool_uring::{Engine, EngineChoice};

const PAGES: u64 = 400;
const WATCHDOG: Duration = Duration::from_secs(60);

/// A whole executor.
struct Unpark(Thread, AtomicUsize);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(unpark);
    let began = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(began.elapsed() < WATCHDOG, "nobody wakes the future");
        thread::park_timeout(WATCHDOG);
    }
}

fn specimen() -> (tempfile::TempDir, Specimen) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let specimen = Specimen::write(dir.path(), "pages", PageSize::KIB_4, PAGES);
    (dir, specimen)
}

fn engines() -> Vec<Engine> {
    let choices = [EngineChoice::Auto, EngineChoice::Blocking];
    choices.map(|choice| Engine::start(choice).unwrap()).into()
}

async fn check(device: &dyn PageDevice, buffer: &mut ReadBuffer, pages: &[PageNo]) {
    let mut seen = vec![0; pages.len()];
    let visit = buffer.visit_async(device, pages, |i, bytes| {
        assert_eq!(bytes, Specimen::page(pages[i], PageSize::KIB_4));
        seen[i] += 1;
    });
    visit.await.unwrap();
    assert!(seen.iter().all(|&times| times == 1));
}

#[test]
fn a_future_reads_every_page_once_with_nobody_driving() {
    let (_dir, specimen) = specimen();
    for engine in engines() {
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let mut buffer = ReadBuffer::new(16, PageSize::KIB_4);
        let pages: Vec<PageNo> = (0..PAGES).map(|i| PageNo(i * 7 % PAGES)).collect();
        block_on(check(&*device, &mut buffer, &pages));
        block_on(check(&*device, &mut buffer, &[]));
    }
}

#[test]
fn many_futures_on_many_threads_beside_threads_that_wait() {
    let (_dir, specimen) = specimen();
    for engine in engines() {
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        thread::scope(|scope| {
            for thread in 0..6u64 {
                let device = &device;
                scope.spawn(move || {
                    let mut buffer = ReadBuffer::new(4, PageSize::KIB_4);
                    for round in 0..40u64 {
                        let at = |i: u64| PageNo((i * 31 + round * 7 + thread) % PAGES);
                        let pages: Vec<PageNo> = (0..12).map(at).collect();
                        if thread % 2 == 0 {
                            block_on(check(&**device, &mut buffer, &pages));
                        } else {
                            buffer.visit(&**device, &pages, |_, _| {}).unwrap();
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_future_that_is_dropped_at_any_poll_abandons_interest_not_memory() {
    let (_dir, specimen) = specimen();
    for engine in engines() {
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let mut buffer = ReadBuffer::new(8, PageSize::KIB_4);
        let pages: Vec<PageNo> = (0..40).map(PageNo).collect();
        for polls in 0..12 {
            let woken = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
            let waker = Waker::from(woken.clone());
            let mut visit = buffer.visit_async(&*device, &pages, |i, bytes| {
                assert_eq!(bytes, Specimen::page(pages[i], PageSize::KIB_4));
            });
            for _ in 0..polls {
                let _ = pin!(&mut visit).poll(&mut Context::from_waker(&waker));
            }
            drop(visit);
            // What the dropped future has in flight lands in the buffer meanwhile, or later.
            block_on(check(&*device, &mut buffer, &pages));
        }
        drop(buffer);
    }
}

#[test]
fn a_future_tells_the_error() {
    let (_dir, specimen) = specimen();
    for engine in engines() {
        let device = engine.open(&specimen.path, PageSize::KIB_4).unwrap().device;
        let mut buffer = ReadBuffer::new(2, PageSize::KIB_4);
        let pages = [PageNo(3), PageNo(PAGES)];
        let verdict = block_on(buffer.visit_async(&*device, &pages, |_, _| {}));
        assert!(matches!(verdict, Err(Error::NoSuchPage { pages: PAGES, .. })), "{verdict:?}");
    }
}
