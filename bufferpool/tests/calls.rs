//! The ways to ask for pages beside the plain batch: with a hint, until a deadline, ahead of time,
//! as a future, only what is in memory. And what threads and tasks that want the same page do to
//! each other.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ringpool_bufferpool::{Hint, OwnedPage, Policy, Pool, PoolFile, PoolOptions, Reading};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{
    Awaited, Error, Fault, FaultyDevice, MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 400;

/// A pool of so many frames, of which the table of [`faulty`] takes two.
fn pool(frames: u64) -> Pool {
    pool_with(frames, Policy::default())
}

fn pool_with(frames: u64, policy: Policy) -> Pool {
    let options = PoolOptions {
        policy,
        memory_bytes: frames * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_millis(50),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

fn faulty(
    pool: &Pool,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let memory = Arc::new(MemoryDevice::new(specimen.in_memory()));
    let device = Arc::new(FaultyDevice::new(memory, script));
    (pool.attach(device.clone(), Some(specimen.checksums)).unwrap(), device)
}

fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

fn pages(range: std::ops::Range<u64>) -> Vec<PageNo> {
    range.map(PageNo).collect()
}

fn scan() -> Reading {
    Reading::default().hint(Hint::ScanOnce)
}

/// At rest: every frame is accounted for, nothing is on its way, and so many pins are held.
fn assert_whole(pool: &Pool, pins: u64) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    let used = audit.resident + audit.loading + audit.retired + audit.limbo;
    assert_eq!(audit.free + used, stats.frames);
    assert_eq!((audit.loading, audit.pins, stats.loading), (0, pins, 0));
}

/// Wakes a thread, and counts how often.
struct Woken {
    thread: Thread,
    times: AtomicU64,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn woken() -> Arc<Woken> {
    Arc::new(Woken { thread: thread::current(), times: AtomicU64::new(0) })
}

/// Polls only when woken, so that a wake-up that is missing is a hang, and that the test's own
/// limit of time finds.
fn block_on<T>(future: impl Future<Output = T>) -> T {
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

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}

// Hints.

#[test]
fn a_scan_runs_through_a_handful_of_frames_and_leaves_none_behind() {
    for policy in Policy::ALL {
        let pool = pool_with(80, policy);
        let (file, device) = faulty(&pool, |_, _| None);
        let mut seen = 0;
        let all = pages(0..PAGES);
        file.visit_with(&all, &scan(), &mut |i, bytes| {
            assert!(is_page(bytes, all[i]));
            assert!(pool.stats().resident() <= 80 / 16, "{policy}");
            seen += 1;
        })
        .unwrap();
        assert_eq!((seen, device.reads()), (PAGES, PAGES));
        assert_eq!((pool.stats().resident(), pool.stats().evictions), (0, 0), "{policy}");
        assert_whole(&pool, 0);
    }
}

#[test]
fn a_scan_leaves_in_place_what_it_finds() {
    let pool = pool(80);
    let (file, _) = faulty(&pool, |_, _| None);
    file.visit(&pages(0..60), &mut |_, _| {}).unwrap();
    let held = file.pin(PageNo(7)).unwrap();
    for _ in 0..3 {
        file.visit_with(&pages(0..PAGES), &scan(), &mut |_, _| {}).unwrap();
    }
    let mut there = 0;
    assert_eq!(file.try_visit(&pages(0..PAGES), &mut |i, _| there += usize::from(i < 60)), 60);
    assert_eq!(there, 60);
    assert!(is_page(&held, PageNo(7)));
    assert_whole(&pool, 1);
}

#[test]
fn what_others_want_of_a_scan_stays_for_them() {
    let pool = pool(80);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 9).then_some(Fault::Hold));
    // Used, pinned by a look, or kept while the scan looks at it.
    let mut kept = Vec::new();
    let mut reader = pool.reader().unwrap();
    file.visit_with(&pages(0..5), &scan(), &mut |i, _| match i {
        1 => drop(file.pin(PageNo(1)).unwrap()),
        2 => kept.push(file.pin_with(PageNo(2), &scan()).unwrap()),
        3 => assert!(reader.enter().get(&file, PageNo(3)).is_some()),
        _ => {}
    })
    .unwrap();
    let there: Vec<u64> = (0..5).filter(|&no| file.try_pin(PageNo(no)).is_some()).collect();
    assert_eq!(there, [1, 2, 3]);
    // Waited for while the scan reads it.
    thread::scope(|scope| {
        let scanning = scope.spawn(|| file.visit_with(&pages(9..10), &scan(), &mut |_, _| {}));
        while device.held() == 0 {
            thread::yield_now();
        }
        let waiting = scope.spawn(|| file.pin(PageNo(9)).map(|page| page.page()));
        while !waiting.is_finished() && pool.stats().misses == 5 {
            // The waiter counts its miss when it is over: what is waited for is its queueing.
            thread::sleep(Duration::from_millis(30));
            device.release();
        }
        scanning.join().unwrap().unwrap();
        assert_eq!(waiting.join().unwrap().unwrap(), PageNo(9));
    });
    assert!(file.try_pin(PageNo(9)).is_some(), "two wanted it, one of them not for a scan");
    drop(kept);
    assert_whole(&pool, 0);
}

#[test]
fn a_scan_that_panics_or_fails_leaves_nothing_behind() {
    let pool = pool(80);
    let (file, _) = faulty(&pool, |_, page| (page.0 == 50).then_some(Fault::Errno(5)));
    let panics = || {
        let _ = file.visit_with(&pages(0..40), &scan(), &mut |i, _| assert!(i != 20, "as meant"));
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    assert!(panicked.is_err());
    assert_eq!(pool.stats().resident(), 0);
    assert!(file.visit_with(&pages(40..60), &scan(), &mut |_, _| {}).is_err());
    assert_eq!(pool.stats().resident(), 0);
    assert_whole(&pool, 0);
}

#[test]
fn hot_pages_outlive_what_is_used_as_often() {
    let pool = pool(102);
    let (file, _) = faulty(&pool, |_, _| None);
    let hot = Reading::default().hint(Hint::Hot);
    file.visit(&pages(200..300), &mut |_, _| {}).unwrap(); // The pool is full.
    file.visit_with(&pages(0..20), &hot, &mut |_, _| {}).unwrap();
    // Others come by, each used once.
    file.visit(&pages(100..200), &mut |_, _| {}).unwrap();
    let kept = file.try_visit(&pages(0..20), &mut |_, _| {});
    assert_eq!(kept, 20, "read once, and yet past probation with all chances");
}

/// Requests of a Zipf law over `HOT` pages, from a seed.
struct Zipf {
    weights: Vec<f64>,
    state: u64,
}

impl Zipf {
    fn new(pages: u64) -> Self {
        let weights = (1..=pages).scan(0.0, |sum, rank| {
            *sum += 1.0 / (rank as f64).powf(0.8);
            Some(*sum)
        });
        Self { weights: weights.collect(), state: 1 }
    }

    fn draw(&mut self) -> PageNo {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let of = (self.state >> 11) as f64 / (1_u64 << 53) as f64;
        let last = self.weights[self.weights.len() - 1];
        PageNo(self.weights.partition_point(|&sum| sum < of * last) as u64)
    }
}

/// A hot set of seven tenths of the pool, and a scan of five times the pool beside it: how many
/// points of the hot set's hit ratio the scan costs, over as many requests as there are frames
/// right after it, and while it goes on.
fn points_lost_to_a_scan(policy: Policy, reading: &Reading) -> (f64, f64) {
    const FRAMES: u64 = 1_000;
    const HOT: u64 = FRAMES * 7 / 10;
    const FILE: u64 = HOT + 5 * FRAMES;
    let page_size = PageSize::new(512).unwrap();
    let source = MemorySource::new("pages", page_size, vec![7; FILE as usize * 512]).unwrap();
    let frame_bytes = Pool::frame_bytes(page_size);
    let memory_bytes = (FRAMES + (8 * FILE).div_ceil(frame_bytes)) * frame_bytes;
    let options = PoolOptions { memory_bytes, page_size, policy, ..PoolOptions::default() };
    let pool = Pool::new(&options).unwrap();
    let file = pool.attach(Arc::new(MemoryDevice::new(source)), None).unwrap();
    let mut zipf = Zipf::new(HOT);
    let mut hit_percent = |requests: u64| {
        let hits = (0..requests).filter(|_| {
            let before = pool.stats().hits;
            file.visit(&[zipf.draw()], &mut |_, _| {}).unwrap();
            pool.stats().hits > before
        });
        100.0 * hits.count() as f64 / requests as f64
    };
    hit_percent(20 * FRAMES); // Warm.
    let before = hit_percent(FRAMES);
    let (mut during, mut rounds) = (0.0, 0.0);
    for chunk in pages(HOT..FILE).chunks(100) {
        file.visit_with(chunk, reading, &mut |_, _| {}).unwrap();
        during += hit_percent(50);
        rounds += 1.0;
    }
    let after = hit_percent(FRAMES);
    (before - after, before - during / rounds)
}

#[test]
fn a_scan_of_five_times_the_pool_costs_the_hot_set_next_to_nothing() {
    let plain = Reading::default();
    for (policy, reading, most) in [
        (Policy::Probation, scan(), 1.0),
        (Policy::Clock, scan(), 1.0),
        (Policy::Probation, plain, 5.0),
    ] {
        let (after, during) = points_lost_to_a_scan(policy, &reading);
        println!("{policy}, {reading:?}: {after:.2} points after it, {during:.2} during");
        assert!(after <= most && during <= most, "{policy}, {reading:?}: {after}, {during}");
    }
    // It would be seen: the plain clock without the hint.
    let (after, during) = points_lost_to_a_scan(Policy::Clock, &plain);
    println!("clock, no hint: {after:.2} points after it, {during:.2} during");
    assert!(during > 5.0, "the scan does nothing: {after}, {during}");
}

// Deadlines.

#[test]
fn a_deadline_ends_the_call_and_says_what_was_missing() {
    let pool = pool(80);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 9).then_some(Fault::Hold));
    let soon = || Reading::default().within(Duration::from_millis(20));
    let mut seen = BTreeSet::new();
    let batch = pages(0..20);
    let late = file.visit_with(&batch, &soon(), &mut |i, bytes| {
        assert!(is_page(bytes, batch[i]) && seen.insert(i));
    });
    let late = late.unwrap_err();
    assert!(
        matches!(late, Error::DeadlinePassed { page: PageNo(9), awaited: Awaited::Disk, .. }),
        "{late}"
    );
    assert_eq!(seen.len(), 19, "what has arrived was handed over");
    let pinned = file.pin_with(PageNo(9), &soon()).map(drop);
    assert!(matches!(pinned, Err(Error::DeadlinePassed { .. })), "also for who waits for another");
    assert_eq!(device.reads(), 20, "single flight");
    assert_eq!((pool.audit().unwrap().loading, pool.audit().unwrap().pins), (1, 0));
    // What is in memory is not late, whatever the time.
    let past = Reading::default().until(Instant::now());
    file.visit_with(&pages(10..20), &past, &mut |_, _| {}).unwrap();
    // The read that went on gives its pin back, and is there for the next.
    assert_eq!(device.release(), 1);
    assert_whole(&pool, 0);
    assert!(is_page(&file.try_pin(PageNo(9)).expect("it has landed"), PageNo(9)));
}

#[test]
fn a_deadline_counts_with_a_device_that_never_makes_anybody_wait() {
    let pool = pool(80);
    let (file, _) = faulty(&pool, |_, _| None);
    let past = Reading::default().until(Instant::now());
    let late = file.visit_with(&pages(0..PAGES), &past, &mut |_, _| {}).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Turn, .. }), "{late}");
    assert_whole(&pool, 0);
}

#[test]
fn a_deadline_ends_the_wait_for_a_frame_and_for_the_queue() {
    let options = PoolOptions {
        memory_bytes: 66 * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_secs(1_000),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    let (file, _) =
        faulty(&pool, move |_, _| is_full.load(Ordering::Relaxed).then_some(Fault::QueueFull));
    let pins: Vec<_> = (0..64).map(|no| file.pin(PageNo(no)).unwrap()).collect();
    let soon = || Reading::default().within(Duration::from_millis(20));
    let late = file.pin_with(PageNo(99), &soon()).map(drop).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Frame, .. }), "{late}");
    drop(pins);
    full.store(true, Ordering::Relaxed);
    let late = file.pin_with(PageNo(99), &soon()).map(drop).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Queue, .. }), "{late}");
    assert_whole(&pool, 0);
    full.store(false, Ordering::Relaxed);
    assert!(is_page(&file.pin(PageNo(99)).unwrap(), PageNo(99)));
}

#[test]
fn a_read_that_is_taken_back_is_read_by_who_else_wants_it() {
    let pool = pool(80);
    let full = Arc::new(AtomicBool::new(true));
    let is_full = full.clone();
    let (file, _) =
        faulty(&pool, move |_, _| is_full.load(Ordering::Relaxed).then_some(Fault::QueueFull));
    thread::scope(|scope| {
        let hasty = scope.spawn(|| {
            let soon = Reading::default().within(Duration::from_millis(100));
            file.pin_with(PageNo(9), &soon).map(drop)
        });
        while pool.audit().unwrap().loading == 0 {
            thread::yield_now();
        }
        let patient = scope.spawn(|| file.pin(PageNo(9)).map(|page| page.page()));
        let task = scope.spawn(|| block_on(file.fetch(PageNo(9))).map(|page| page.page()));
        let late = hasty.join().unwrap().unwrap_err();
        assert!(matches!(late, Error::DeadlinePassed { .. }), "{late}");
        full.store(false, Ordering::Relaxed);
        assert_eq!(patient.join().unwrap().unwrap(), PageNo(9));
        assert_eq!(task.join().unwrap().unwrap(), PageNo(9));
    });
    assert_whole(&pool, 0);
}

#[test]
fn those_who_give_up_are_not_remembered() {
    let pool = pool(80);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let owner = Reading::default().within(Duration::from_millis(1));
    file.pin_with(PageNo(9), &owner).map(drop).unwrap_err();
    for _ in 0..100 {
        let past = Reading::default().until(Instant::now());
        file.pin_with(PageNo(9), &past).map(drop).unwrap_err();
        drop(Box::pin(file.fetch(PageNo(9))));
        let mut polled = Box::pin(file.fetch(PageNo(9)));
        assert!(poll_once(polled.as_mut(), &woken()).is_pending());
    }
    device.release();
    assert_whole(&pool, 0);
    assert_eq!(device.reads(), 1);
}

// Reading ahead, and looking at what is in memory.

#[test]
fn what_was_read_ahead_is_there_and_pinned_by_nobody() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |_, _| None);
    let reading = Reading::default();
    assert_eq!(file.prefetch(&pages(0..10), &reading), 10);
    assert_eq!(file.prefetch(&pages(0..20), &reading), 10, "half of them are there");
    assert_eq!(file.prefetch(&[PageNo(3), PageNo(PAGES), PageNo(u64::MAX)], &reading), 0);
    assert_eq!(file.prefetch(&[PageNo(30), PageNo(30)], &reading), 1);
    assert_whole(&pool, 0);
    assert_eq!((device.reads(), pool.stats().misses), (21, 0));
    file.visit(&pages(0..20), &mut |i, bytes| assert!(is_page(bytes, PageNo(i as u64)))).unwrap();
    assert_eq!((device.reads(), pool.stats().hits), (21, 20));
}

#[test]
fn reading_ahead_is_bounded_and_waits_for_nothing() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let started = file.prefetch(&pages(0..PAGES), &Reading::default());
    assert_eq!(started, 320 / 16);
    assert_eq!(file.prefetch(&pages(100..PAGES), &Reading::default()), 0);
    assert_eq!(pool.stats().loading, 20);
    device.release();
    assert_whole(&pool, 0);
    assert_eq!(file.prefetch(&pages(100..PAGES), &Reading::default()), 20, "there is room again");
    device.abandon();
    assert_whole(&pool, 0);
    // With every frame pinned there is nothing to be had, and that is no failure.
    let (pinned, _) = faulty(&pool, |_, _| None);
    let pins: Vec<_> = (0..).map_while(|no| pinned.pin(PageNo(no)).ok()).collect();
    assert_eq!(file.prefetch(&pages(0..5), &Reading::default()), 0);
    assert_whole(&pool, pins.len() as u64);
}

#[test]
fn nobody_keeps_the_failure_of_what_was_read_ahead() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |n, _| (n < 3).then_some(Fault::FlipBit(77)));
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 3);
    assert_whole(&pool, 0);
    assert_eq!(pool.stats().resident(), 0);
    file.visit(&pages(0..3), &mut |i, bytes| assert!(is_page(bytes, PageNo(i as u64)))).unwrap();
    assert_eq!(device.reads(), 6);
    // Where the queue is full, the page is absent as before.
    let (file, device) = faulty(&pool, |n, _| (n == 1).then_some(Fault::QueueFull));
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 1);
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 2, "{}", device.reads());
    assert_whole(&pool, 0);
}

#[test]
fn trying_visits_what_is_in_memory_and_nothing_else() {
    let pool = pool(82);
    let (file, device) = faulty(&pool, |_, _| None);
    file.visit(&pages(0..70), &mut |_, _| {}).unwrap();
    let (reads, hits) = (device.reads(), pool.stats().hits);
    let wanted: Vec<_> = (0..140).rev().chain([3, 3, PAGES, 3]).map(PageNo).collect();
    let mut seen = Vec::new();
    let found = file.try_visit(&wanted, &mut |i, bytes| {
        assert!(is_page(bytes, wanted[i]));
        seen.push(i);
    });
    let expected: Vec<_> = (70..140).chain([140, 141, 143]).collect();
    assert_eq!((found, seen), (73, expected));
    assert_eq!((device.reads(), pool.stats().hits), (reads, hits + 73));
    assert_whole(&pool, 0);
}

// Futures.

#[test]
fn a_future_fetches_each_page_of_a_batch_once() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let batch: Vec<_> = (0..300).chain([5, 5, 299]).map(PageNo).collect();
    let mut seen = vec![0; batch.len()];
    block_on(async {
        let mut arrivals = file.fetch_many(&batch, &Reading::default());
        while let Some((i, page)) = arrivals.next().await {
            assert!(is_page(&page.unwrap(), batch[i]));
            seen[i] += 1;
        }
        assert!(arrivals.next().await.is_none(), "and none again");
    });
    assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, batch.len() as u64);
    assert_whole(&pool, 0);
}

#[test]
fn each_page_of_a_batch_has_the_error_of_its_own() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, page| (page.0 % 10 == 4).then_some(Fault::Errno(5)));
    let batch: Vec<_> = (0..40).chain([PAGES]).map(PageNo).collect();
    block_on(async {
        let mut arrivals = file.fetch_many(&batch, &Reading::default());
        let mut places = BTreeSet::new();
        while let Some((i, page)) = arrivals.next().await {
            assert!(places.insert(i));
            match page {
                Ok(page) => assert!(is_page(&page, batch[i])),
                Err(Error::NoSuchPage { .. }) => assert_eq!(i, 40),
                Err(error) => assert_eq!(i % 10, 4, "{error}"),
            }
        }
        assert_eq!(places.len(), 41);
    });
    assert_whole(&pool, 0);
}

#[test]
fn a_future_that_is_dropped_leaves_nothing_behind() {
    for taken in 0..6 {
        let pool = pool(70);
        let (file, device) = faulty(&pool, |_, page| (page.0 % 2 == 1).then_some(Fault::Hold));
        file.visit(&[PageNo(0), PageNo(2)], &mut |_, _| {}).unwrap();
        let mut arrivals = file.fetch_many(&pages(0..10), &Reading::default());
        let mut kept: Vec<OwnedPage> = Vec::new();
        let woken = woken();
        for _ in 0..taken {
            let Poll::Ready(Some((_, page))) = poll_once(pin!(arrivals.next()), &woken) else {
                break;
            };
            kept.push(page.unwrap());
        }
        drop(arrivals);
        assert_eq!(pool.audit().unwrap().pins, kept.len() as u64, "{taken} taken");
        device.release();
        assert_whole(&pool, kept.len() as u64);
        drop(kept);
        assert_whole(&pool, 0);
        drop(file);
        assert_eq!(pool.stats().free, 70);
    }
}

#[test]
fn a_future_waits_for_a_frame_while_anything_is_read_and_no_longer() {
    let pool = pool(66);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 63).then_some(Fault::Hold));
    let mut pins: Vec<_> = (0..63).map(|no| file.pin(PageNo(no)).unwrap()).collect();
    let mut last = Box::pin(file.fetch(PageNo(63)));
    let (of_last, of_more) = (woken(), woken());
    assert!(poll_once(last.as_mut(), &of_last).is_pending());
    let mut more = Box::pin(file.fetch(PageNo(99)));
    assert!(poll_once(more.as_mut(), &of_more).is_pending(), "a read of the pool is in flight");
    assert!(poll_once(more.as_mut(), &of_more).is_pending());
    assert_eq!(of_more.times.load(Ordering::Relaxed), 0, "and nobody polls for nothing");
    device.release();
    assert_eq!(of_more.times.load(Ordering::Relaxed), 1, "woken by what has landed");
    let Poll::Ready(Ok(page)) = poll_once(last.as_mut(), &of_last) else { panic!("it has landed") };
    let Poll::Ready(Err(error)) = poll_once(more.as_mut(), &of_more) else {
        panic!("every frame is pinned, and nothing is read");
    };
    assert!(matches!(error, Error::Exhausted { page: PageNo(99), .. }), "{error}");
    pins.pop();
    assert!(is_page(&block_on(file.fetch(PageNo(99))).unwrap(), PageNo(99)));
    drop((page, pins));
    assert_whole(&pool, 0);
}

#[test]
fn a_future_looks_at_its_deadline_when_it_is_polled() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |_, page| (page.0 > 4).then_some(Fault::Hold));
    let reading = Reading::default().within(Duration::from_millis(30));
    let batch = pages(0..100);
    let mut arrivals = file.fetch_many(&batch, &reading);
    let woken = woken();
    let mut places = BTreeSet::new();
    while let Poll::Ready(Some((i, page))) = poll_once(pin!(arrivals.next()), &woken) {
        assert!(places.insert(i) && page.is_ok());
    }
    thread::sleep(Duration::from_millis(30));
    while let Poll::Ready(Some((i, page))) = poll_once(pin!(arrivals.next()), &woken) {
        assert!(matches!(page, Err(Error::DeadlinePassed { page, .. }) if page == batch[i]));
        assert!(places.insert(i), "place {i} once");
    }
    assert_eq!(places.len(), 100);
    device.release();
    assert_whole(&pool, 0);
}

#[test]
fn a_full_queue_keeps_a_future_waiting_and_no_longer() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |n, _| (n % 3 != 2).then_some(Fault::QueueFull));
    block_on(async {
        let mut arrivals = file.fetch_many(&pages(0..50), &Reading::default());
        let mut arrived = 0;
        while let Some((_, page)) = arrivals.next().await {
            drop(page.unwrap());
            arrived += 1;
        }
        assert_eq!(arrived, 50);
    });
    assert!(device.reads() >= 150);
    assert_whole(&pool, 0);
}

#[test]
fn a_runtime_of_many_threads_sees_only_pages_that_say_who_they_are() {
    let pool = pool(90);
    let (file, _) = faulty(&pool, |n, _| (n % 50 == 49).then_some(Fault::FlipBit(n as usize)));
    let file = Arc::new(file);
    thread::scope(|scope| {
        for seed in 0..8_u64 {
            let file = file.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.unwrap().block_on(async {
                    for round in 0..60 {
                        let batch: Vec<_> = (0..30)
                            .map(|i| PageNo((seed * 131 + round * 17 + i * i) % PAGES))
                            .collect();
                        let mut arrivals = file.fetch_many(&batch, &Reading::default());
                        // Now and then somebody loses patience.
                        for _ in 0..if round % 4 == 0 { 7 } else { batch.len() } {
                            let (i, page) = arrivals.next().await.expect("one for each place");
                            page.into_iter().for_each(|page| assert!(is_page(&page, batch[i])));
                        }
                    }
                });
            });
        }
    });
    assert_whole(&pool, 0);
}

// Single flight.

#[test]
fn threads_and_tasks_that_miss_one_page_make_one_read() {
    for fails in [false, true] {
        let pool = pool(70);
        let (file, device) = faulty(&pool, move |n, _| (n == 0).then_some(Fault::Hold));
        let meeting = Barrier::new(64);
        let failed = AtomicU64::new(0);
        thread::scope(|scope| {
            for who in 0..64 {
                let (file, meeting, failed) = (&file, &meeting, &failed);
                scope.spawn(move || {
                    meeting.wait();
                    let told = match who % 2 {
                        0 => file.pin(PageNo(9)).map(|page| assert!(is_page(&page, PageNo(9)))),
                        _ => block_on(file.fetch(PageNo(9)))
                            .map(|page| assert!(is_page(&page, PageNo(9)))),
                    };
                    match told {
                        Ok(()) => {}
                        Err(Error::Abandoned { .. }) => _ = failed.fetch_add(1, Ordering::Relaxed),
                        Err(error) => panic!("{error}"),
                    }
                });
            }
            while device.held() == 0 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(30)); // Let the others find it loading.
            if fails {
                device.abandon();
            } else {
                assert_eq!(device.release(), 1);
            }
        });
        let failed = failed.into_inner();
        // Who came too late to be told of the failure has read the page anew.
        assert!(failed >= if fails { 2 } else { 0 } && (fails || failed == 0), "{failed} failed");
        assert!(device.reads() <= 2 && (fails || device.reads() == 1), "{} reads", device.reads());
        assert_whole(&pool, 0);
        assert!(is_page(&file.pin(PageNo(9)).unwrap(), PageNo(9)), "a failure is not kept");
    }
}
