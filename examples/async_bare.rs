//! Pages read by futures without any runtime: the executor is the standard library and one function.
//!
//! `ReadBuffer::visit_async` asks nothing of who polls it but a waker. Here one thread polls many
//! visits in turn, all with the same waker, and sleeps while none of them has anything to do. What
//! has not ended at the deadline is dropped: that abandons the interest in the pages and not the
//! memory, which stays until the kernel has written to it.
//!
//! ```sh
//! cargo run --release --example async_bare -- [FILE]
//! ```
//!
//! FILE is a whole number of 4 KiB pages. Without one, a temporary file is written, and removed at
//! the end.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringpool::EngineChoice;
use ringpool::storage::conformance::Specimen;
use ringpool::storage::{PageNo, PageSize, ReadBuffer};
use ringpool::uring::Engine;

const PAGE: PageSize = PageSize::KIB_4;
const VISITS: usize = 16;
const PAGES_PER_VISIT: u64 = 500;
/// Pages that a visit has in flight at most.
const DEPTH: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls all `futures` on this thread until they have ended, or until `deadline`. What has not
/// ended is dropped, and `None`.
fn run_until<F: Future + Unpin>(deadline: Instant, mut futures: Vec<F>) -> Vec<Option<F::Output>> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    loop {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            // One waker does not tell whose pages have landed: ask everybody who has not ended.
            if output.is_none()
                && let Poll::Ready(ended) = Pin::new(future).poll(&mut context)
            {
                *output = Some(ended);
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || outputs.iter().all(Option::is_some) {
            return outputs;
        }
        // Who was woken since the last poll does not sleep: an unpark is kept for the next park.
        thread::park_timeout(left);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => Specimen::write(temporary.path(), "pages", PAGE, 8192).path,
    };
    // A ring where the kernel allows one, else preads on threads. The futures are the same.
    let engine = Engine::start(EngineChoice::Auto)?;
    let opened = engine.open(&path, PAGE)?;
    let device = &*opened.device;
    println!("{}: {} pages, through {}", path.display(), device.page_count(), opened.rung);
    println!("({})", opened.reason);
    if device.page_count() == 0 {
        return Err("a file without pages has none to read".into());
    }

    // Pages in no order: 7919 is a prime.
    let page = |i: u64| PageNo(i * 7919 % device.page_count());
    let pages: Vec<PageNo> = (0..VISITS as u64 * PAGES_PER_VISIT).map(page).collect();
    // Each visit has memory of its own, for its pages in flight.
    let mut buffers: Vec<_> = (0..VISITS).map(|_| ReadBuffer::new(DEPTH, PAGE)).collect();
    let mut read = [0; VISITS];
    let parts = buffers.iter_mut().zip(pages.chunks(PAGES_PER_VISIT as usize));
    let visits = parts.zip(&mut read).map(|((buffer, pages), read)| {
        // Called once for each page, in the order in which they arrive: `pages[i]` holds `bytes`.
        buffer.visit_async(device, pages, |_i, bytes| *read += bytes.len() / PAGE.bytes())
    });
    let visited = run_until(Instant::now() + PATIENCE, visits.collect());
    for (number, visited) in visited.iter().enumerate() {
        match visited {
            Some(Ok(())) => {}
            Some(Err(error)) => println!("visit {number}: {error}"),
            None => println!("visit {number}: given up after {PATIENCE:?}"),
        }
    }
    let came: usize = read.iter().sum();
    println!("{VISITS} visits on one thread: {came} of {} pages", pages.len());
    if came < pages.len() { Err("some pages did not come".into()) } else { Ok(()) }
}
