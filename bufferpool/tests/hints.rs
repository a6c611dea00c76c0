//! What a hint is worth: a scan that leaves no trace, hot pages that stay, and what a scan costs
//! those who have nothing to do with it.

mod setup;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Hint, Policy, Pool, PoolOptions, Reading};
use ringpool_storage::{Fault, MemoryDevice, MemorySource, PageNo, PageSize, PageSource};
use setup::{PAGES, assert_whole, faulty, is_page, pages, pool, pool_with, scan};

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
    let (file, device) = faulty(&pool, |n, _| (n == 5).then_some(Fault::Hold));
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
        thread::sleep(Duration::from_millis(30)); // Let it find the page loading.
        device.release();
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

#[test]
fn a_hot_page_is_one_whoever_reads_it() {
    let pool = pool(102);
    let (file, device) = faulty(&pool, |n, _| (n == 100).then_some(Fault::Hold));
    let hot = Reading::default().hint(Hint::Hot);
    file.visit(&pages(200..300), &mut |_, _| {}).unwrap(); // The pool is full.
    thread::scope(|scope| {
        let plain = scope.spawn(|| file.pin(PageNo(0)).map(drop));
        while device.held() == 0 {
            thread::yield_now();
        }
        let waiter = scope.spawn(|| file.pin_with(PageNo(0), &hot).map(drop));
        thread::sleep(Duration::from_millis(30)); // Let it find the page loading.
        device.release();
        plain.join().unwrap().unwrap();
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(file.prefetch(&pages(1..5), &hot), 4, "read ahead, and hot before its first use");
    file.visit(&pages(100..200), &mut |_, _| {}).unwrap();
    assert_eq!(file.try_visit(&pages(0..5), &mut |_, _| {}), 5);
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
