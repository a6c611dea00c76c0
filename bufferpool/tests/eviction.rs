//! Whether the right pages go: small traces with hard bounds, held against LRU and the optimum,
//! both computed here so plainly that they are right by inspection.
//!
//! A miss ratio is a number of misses over a number of requests. Nothing is timed, and with one
//! thread each figure is the same in every run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ringpool_bufferpool::{Policy, Pool, PoolFile, PoolOptions};
use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize, PageSource};

const PAGES: u64 = 4_000;

fn file(frames: u64, policy: Policy) -> PoolFile {
    let page_size = PageSize::new(512).unwrap();
    let bytes = vec![7; PAGES as usize * page_size.bytes()];
    let source = MemorySource::new("pages", page_size, bytes).unwrap();
    let frame_bytes = Pool::frame_bytes(page_size);
    let memory_bytes = (frames + (8 * PAGES).div_ceil(frame_bytes)) * frame_bytes;
    let rest = PoolOptions { whole_tables: true, ..PoolOptions::default() };
    let options = PoolOptions { memory_bytes, page_size, policy, ..rest };
    let pool = Pool::new(&options).unwrap();
    let file = pool.attach(Arc::new(MemoryDevice::new(source)), None).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.frames - stats.retired) as u64, frames, "the table is paid for apart");
    file
}

/// Asks for each page of `trace`; returns how many in a hundred were not there.
fn miss_percent(file: &PoolFile, trace: &[u64]) -> f64 {
    let before = file.pool().stats().misses;
    for &page in trace {
        file.visit(&[PageNo(page)], &mut |_, _| {}).unwrap();
    }
    percent(file.pool().stats().misses - before, trace)
}

fn percent(misses: u64, trace: &[u64]) -> f64 {
    100.0 * misses as f64 / trace.len() as f64
}

fn lru_percent(trace: &[u64], frames: usize) -> f64 {
    // The resident pages by when they were used last.
    let (mut by_use, mut used) = (BTreeSet::new(), HashMap::new());
    let mut misses = 0;
    for (now, &page) in trace.iter().enumerate() {
        match used.insert(page, now) {
            Some(last) => drop(by_use.remove(&(last, page))),
            None => misses += 1,
        }
        by_use.insert((now, page));
        if by_use.len() > frames {
            let (_, oldest) = by_use.pop_first().unwrap();
            used.remove(&oldest);
        }
    }
    percent(misses, trace)
}

fn opt_percent(trace: &[u64], frames: usize) -> f64 {
    let (mut next_use, mut upcoming) = (vec![0; trace.len()], HashMap::new());
    for (now, &page) in trace.iter().enumerate().rev() {
        next_use[now] = upcoming.insert(page, now).unwrap_or(usize::MAX);
    }
    // The resident pages by when they are used next.
    let mut by_next = BTreeSet::new();
    let mut misses = 0;
    for (now, &page) in trace.iter().enumerate() {
        if !by_next.remove(&(now, page)) {
            misses += 1;
            if by_next.len() == frames {
                by_next.pop_last();
            }
        }
        by_next.insert((next_use[now], page));
    }
    percent(misses, trace)
}

fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed;
    move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Requests for pages of which the r-th is wanted as often as 1 / r says, scattered over the file.
fn zipf(requests: usize, seed: u64) -> Vec<u64> {
    let weights = (1..=PAGES).scan(0.0, |sum, rank| {
        *sum += 1.0 / rank as f64;
        Some(*sum)
    });
    let weights: Vec<f64> = weights.collect();
    let (all, mut draw) = (weights[weights.len() - 1], numbers(seed));
    let rank = |of: f64| weights.partition_point(|&sum| sum < of) as u64;
    (0..requests).map(|_| rank(draw() * all) * 1_237 % PAGES).collect()
}

#[test]
fn a_loop_hits_what_came_first() {
    let trace: Vec<u64> = (0..300).cycle().take(30_000).collect();
    let ours = miss_percent(&file(100, Policy::Probation), &trace);
    let (lru, opt) = (lru_percent(&trace, 100), opt_percent(&trace, 100));
    assert_eq!(lru, 100.0);
    assert!(ours < opt + 6.0, "{ours} % miss, at best {opt}");
    assert_eq!(miss_percent(&file(100, Policy::Clock), &trace), 100.0, "as LRU");
}

#[test]
fn wanted_pages_stay_though_others_pass_through() {
    // One request in two is for one of 80 pages, the others go once around the file.
    let mut draw = numbers(5);
    let hot = move || (draw() * 80.0) as u64;
    let passing = (80..PAGES).cycle();
    let trace: Vec<u64> = std::iter::repeat_with(hot)
        .zip(passing)
        .flat_map(|two| [two.0, two.1])
        .take(60_000)
        .collect();
    let ours = miss_percent(&file(100, Policy::Probation), &trace);
    let (lru, opt) = (lru_percent(&trace, 100), opt_percent(&trace, 100));
    assert!(ours < opt + 4.0, "{ours} % miss, at best {opt}");
    assert!(ours < lru - 15.0, "{ours} % miss, {lru} by LRU");
}

#[test]
fn a_scan_of_five_pools_costs_a_point_or_two() {
    const FRAMES: u64 = 400;
    let warm = zipf(100_000, 1);
    let again = zipf(4_000, 2);
    let file = file(FRAMES, Policy::Probation);
    miss_percent(&file, &warm);
    let before = miss_percent(&file, &again);
    let scan: Vec<u64> = (0..5 * FRAMES).map(|i| i * 7 % PAGES).collect();
    miss_percent(&file, &scan);
    let after = miss_percent(&file, &again);
    assert!(after < before + 3.0, "{before} % miss before the scan, {after} after");
}

#[test]
fn skewed_requests_miss_less_than_by_lru() {
    for frames in [80, 400, 1_200] {
        let trace = zipf(80_000, frames);
        let lru = lru_percent(&trace, frames as usize);
        let opt = opt_percent(&trace, frames as usize);
        let ours = miss_percent(&file(frames, Policy::Probation), &trace);
        let clock = miss_percent(&file(frames, Policy::Clock), &trace);
        assert!(opt < ours && ours < lru - 2.0, "{frames} frames: {opt}, {ours}, {lru}");
        assert!((clock - lru).abs() < 2.0, "{frames} frames: clock {clock}, LRU {lru}");
    }
}

#[test]
fn four_threads_choose_as_well_as_one() {
    let trace = zipf(100_000, 3);
    for policy in Policy::ALL {
        let one = miss_percent(&file(400, policy), &trace);
        let (file, next) = (file(400, policy), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(&page) = trace.get(next.fetch_add(1, Ordering::Relaxed)) {
                        file.visit(&[PageNo(page)], &mut |_, _| {}).unwrap();
                    }
                });
            }
        });
        let four = percent(file.pool().stats().misses, &trace);
        assert!((four - one).abs() < 1.5, "{policy}: {one} % with one thread, {four} with four");
        file.pool().audit().unwrap();
    }
}

#[test]
fn an_eviction_takes_a_few_steps() {
    for policy in Policy::ALL {
        let file = file(400, policy);
        miss_percent(&file, &zipf(80_000, 4));
        let stats = file.pool().stats();
        let steps = stats.sweep_steps as f64 / stats.evictions as f64;
        assert!((1.0..5.0).contains(&steps), "{policy}: {steps} steps an eviction");
    }
}

#[test]
fn a_ghost_comes_back_past_probation() {
    let file = file(140, Policy::Probation);
    let scan = |pages: std::ops::Range<u64>| miss_percent(&file, &pages.collect::<Vec<_>>());
    let is_there = |page| file.try_pin(PageNo(page)).is_some();
    scan(1_000..1_200);
    scan(0..1);
    scan(1_200..1_250);
    assert!(!is_there(0), "one use is not enough to outlast fifty new pages");
    scan(0..1);
    scan(1_250..1_400);
    assert!(is_there(0), "asked for twice within as many evictions as there are frames");
    scan(1..2);
    scan(1_400..1_700);
    scan(1..2);
    scan(1_700..1_750);
    assert!(!is_there(1), "its ghost had faded");
}

#[test]
fn places_on_probation_are_not_used_up_by_pages_that_leave() {
    let file = file(100, Policy::Probation);
    let all: Vec<u64> = (0..200).collect();
    for _ in 0..50 {
        miss_percent(&file, &all);
        let forgotten = all.iter().filter(|&&page| file.forget(PageNo(page))).count();
        assert!((90..=100).contains(&forgotten), "all but a few frames in store: {forgotten}");
    }
    let again: Vec<u64> = (0..60).cycle().take(1_200).collect();
    assert!(miss_percent(&file, &again) < 10.0, "sixty pages have room among a hundred frames");
    let audit = file.pool().audit().unwrap();
    assert_eq!((audit.loading, audit.pins), (0, 0));
}
