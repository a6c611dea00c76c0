//! The pool's calls over real engines: threads that wait, threads with a deadline, futures that
//! are dropped half-way and reading ahead, all after the same pages. Each gets its bytes or its
//! own error, none waits for ever, and at the end every frame has come back.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringpool::EngineChoice;
use ringpool::bufferpool::{Hint, Pool, PoolFile, PoolOptions, Reading, Share};
use ringpool::storage::conformance::{self, Specimen};
use ringpool::storage::{Error, PageNo, PageSize, PageSource};
use ringpool::uring::Engine;

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 2_000;
const FRAMES: u64 = 300;
const ROUNDS: u64 = 60;
/// A wait that is longer is a hang.
const HANG: Duration = Duration::from_secs(60);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls when woken, and fails when nobody wakes it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let began = Instant::now();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        assert!(began.elapsed() < HANG, "nobody wakes a future");
        thread::park_timeout(HANG);
    }
}

/// A generator of its own for each thread.
fn draws(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut x = seed * 2 + 1;
    move |below| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % below
    }
}

fn check(bytes: &[u8], page: PageNo) {
    assert!(bytes == Specimen::page(page, SIZE), "bytes of page {page}");
}

fn tolerate(told: Result<(), Error>, late: &AtomicU64) {
    match told {
        Ok(()) => {}
        Err(Error::DeadlinePassed { .. }) => _ = late.fetch_add(1, Ordering::Relaxed),
        // Others hold pins for as long as a batch of futures is kept.
        Err(Error::Exhausted { .. } | Error::AtCeiling { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn one_thread(file: &PoolFile, seed: u64, late: &AtomicU64) {
    let mut draw = draws(seed);
    for _ in 0..ROUNDS {
        // Half of them in one place, so that they meet.
        let range = if draw(2) == 0 { 40 } else { PAGES };
        let batch: Vec<PageNo> = (0..draw(60)).map(|_| PageNo(draw(range))).collect();
        let hint = [Hint::Random, Hint::ScanOnce, Hint::Hot][draw(3) as usize];
        let reading = Reading::default().hint(hint);
        let mut look = |i: usize, bytes: &[u8]| check(bytes, batch[i]);
        match draw(5) {
            0 => tolerate(file.visit(&batch, &mut look), late),
            1 => {
                let reading = reading.within(Duration::from_micros(draw(500)));
                tolerate(file.visit_with(&batch, &reading, &mut look), late);
            }
            2 => drop(file.prefetch(&batch, &reading)),
            3 => drop(file.try_visit(&batch, &mut look)),
            _ => block_on(async {
                let mut arrivals = file.fetch_many(&batch, &reading);
                for _ in 0..draw(60) {
                    let Some((i, page)) = arrivals.next().await else { break };
                    tolerate(page.map(|page| check(&page, batch[i])), late);
                }
            }),
        }
    }
}

fn all_ways_at_once(choice: EngineChoice, dir: &Path) {
    let engine = Engine::start(choice).unwrap();
    let memory_bytes = FRAMES * Pool::frame_bytes(SIZE);
    let pool = Pool::new(&PoolOptions { memory_bytes, ..PoolOptions::default() }).unwrap();
    let specimen = Specimen::write(dir, &format!("{choice:?}"), SIZE, PAGES);
    let device = engine.open(&specimen.path, SIZE).unwrap().device;
    let file = pool.attach(device, Some(specimen.checksums.clone())).unwrap();
    let late = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..12 {
            let (file, late) = (&file, &late);
            scope.spawn(move || one_thread(file, seed, late));
        }
        for most in [200, 100, 50, 150] {
            thread::sleep(Duration::from_millis(5));
            let share = Share::default().ceiling_bytes(most * Pool::frame_bytes(SIZE));
            // Refused where all frames are pinned that could pay for its books.
            let _ = file.set_share(share);
        }
    });
    println!("{choice:?}: {} calls were late, {:?}", late.into_inner(), pool.stats());
    // What was given up lands by itself.
    let began = Instant::now();
    while pool.stats().loading > 0 {
        assert!(began.elapsed() < HANG, "reads that nobody waits for do not land");
        thread::sleep(Duration::from_millis(1));
    }
    let audit = pool.audit().unwrap();
    assert_eq!((audit.pins, audit.loading), (0, 0));
    assert_eq!(file.frames_held(), audit.resident);
    drop(file);
    let stats = pool.stats();
    assert_eq!((stats.free + stats.limbo) as u64, FRAMES, "{stats:?}");
}

#[test]
fn over_real_engines_nobody_waits_for_ever_and_every_frame_comes_back() {
    // On the disk that the build is on, since temporary folders may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    match Engine::start(EngineChoice::Uring) {
        Ok(_) => all_ways_at_once(EngineChoice::Uring, dir.path()),
        Err(why) => conformance::skipped(format!("the ring: {why}")),
    }
    all_ways_at_once(EngineChoice::Blocking, dir.path());
}
