//! Floors and ceilings: what a file is sure to keep of a pool, and what it may take of it at most,
//! with several files, several threads, and changes while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{
    Hint, Policy, Pool, PoolError, PoolFile, PoolOptions, Priority, Reading, Share,
};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{
    Error, Fault, FaultyDevice, MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 1_000;
/// The frames that the table of a file takes: 8 bytes a page.
const TABLE: u64 = 2;

fn pool_for(files: u64, frames: u64) -> Pool {
    let options = PoolOptions {
        memory_bytes: (frames + files * TABLE) * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_millis(20),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

fn attach(pool: &Pool, name: &str) -> PoolFile {
    attach_faulty(pool, name, |_, _| None).0
}

fn attach_faulty(
    pool: &Pool,
    name: &str,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let bytes: Vec<u8> = (0..PAGES).flat_map(|no| Specimen::page(PageNo(no), SIZE)).collect();
    let memory = MemoryDevice::new(MemorySource::new(name, SIZE, bytes).unwrap());
    let device = Arc::new(FaultyDevice::new(Arc::new(memory), script));
    (pool.attach(device.clone(), None).unwrap(), device)
}

fn frames(frames: u64) -> u64 {
    frames * Pool::frame_bytes(SIZE)
}

fn floor(least: u64) -> Share {
    Share::default().floor_bytes(frames(least))
}

fn ceiling(most: u64) -> Share {
    Share::default().ceiling_bytes(frames(most))
}

fn load(file: &PoolFile, range: std::ops::Range<u64>) {
    let pages: Vec<PageNo> = range.map(PageNo).collect();
    let mut visit = |i: usize, bytes: &[u8]| assert!(bytes == Specimen::page(pages[i], SIZE));
    file.visit(&pages, &mut visit).unwrap();
}

fn resident(file: &PoolFile) -> usize {
    let all: Vec<PageNo> = (0..PAGES).map(PageNo).collect();
    file.try_visit(&all, &mut |_, _| {})
}

/// At rest: the books of the files are right, and every frame is accounted for.
fn assert_whole(pool: &Pool, files: &[&PoolFile]) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    assert_eq!((audit.pins, audit.loading), (0, 0));
    let held: usize = files.iter().map(|file| file.frames_held()).sum();
    assert_eq!(held, audit.resident, "each frame is counted for its file");
    for file in files {
        assert_eq!(file.frames_held(), resident(file));
    }
    assert_eq!(audit.free + audit.resident + audit.retired + audit.limbo, stats.frames);
}

#[test]
fn frames_are_counted_for_their_files_whatever_happens() {
    for policy in Policy::ALL {
        let options = PoolOptions { policy, memory_bytes: frames(104), ..PoolOptions::default() };
        let pool = Pool::new(&options).unwrap();
        let (one, _) = attach_faulty(&pool, "one", |n, _| (n % 7 == 3).then_some(Fault::Errno(5)));
        let other = attach(&pool, "other");
        for start in (0..900).step_by(50) {
            let pages: Vec<PageNo> = (start..start + 80).map(PageNo).collect();
            let _ = one.visit(&pages, &mut |_, _| {});
            load(&other, start..start + 20);
            let scan = Reading::default().hint(Hint::ScanOnce);
            other.visit_with(&pages, &scan, &mut |_, _| {}).unwrap();
            one.forget(PageNo(start));
            other.prefetch(&pages, &Reading::default());
            assert_whole(&pool, &[&one, &other]);
        }
    }
}

#[test]
fn a_scan_of_one_file_does_not_push_another_below_its_floor() {
    for policy in Policy::ALL {
        let options = PoolOptions { policy, memory_bytes: frames(306), ..PoolOptions::default() };
        let pool = Pool::new(&options).unwrap();
        let (graph, codes, originals) =
            (attach(&pool, "graph"), attach(&pool, "codes"), attach(&pool, "originals"));
        graph.set_share(floor(100)).unwrap();
        codes.set_share(floor(50)).unwrap();
        load(&graph, 0..100);
        load(&codes, 0..90);
        for _ in 0..3 {
            load(&originals, 0..PAGES);
            assert_eq!(graph.frames_held(), 100, "{policy}: none above its floor, and none lost");
            assert!(codes.frames_held() >= 50, "{policy}: {} of 90", codes.frames_held());
        }
        assert!(originals.frames_held() >= 100, "{policy}: the rest is for who wants it");
        if policy == Policy::Clock {
            // It was the floor that kept them: what was read once goes.
            graph.set_share(Share::default()).unwrap();
            load(&originals, 0..PAGES);
            load(&originals, 0..PAGES);
            assert!(graph.frames_held() < 50, "{} left", graph.frames_held());
        }
        assert_whole(&pool, &[&graph, &codes, &originals]);
    }
}

#[test]
fn a_file_at_its_ceiling_evicts_its_own() {
    for policy in Policy::ALL {
        let options = PoolOptions { policy, memory_bytes: frames(306), ..PoolOptions::default() };
        let pool = Pool::new(&options).unwrap();
        let (kept, bounded) = (attach(&pool, "kept"), attach(&pool, "bounded"));
        load(&kept, 0..200);
        bounded.set_share(ceiling(40)).unwrap();
        for _ in 0..3 {
            for page in 0..PAGES {
                drop(bounded.pin(PageNo(page)).unwrap());
                assert!(bounded.frames_held() <= 40);
            }
            load(&bounded, 0..PAGES);
        }
        assert_eq!((bounded.frames_held(), resident(&bounded)), (40, 40), "{policy}");
        assert_eq!(resident(&kept), 200, "{policy}: it had no need of others' frames");
        // What is used stays, within the ceiling too.
        for _ in 0..4 {
            load(&bounded, 0..20);
        }
        for page in 100..PAGES {
            drop(bounded.pin(PageNo(page)).unwrap());
            if page % 5 == 0 {
                load(&bounded, 0..20);
            }
        }
        let hot: Vec<PageNo> = (0..20).map(PageNo).collect();
        assert_eq!(bounded.try_visit(&hot, &mut |_, _| {}), 20, "{policy}");
        assert_whole(&pool, &[&kept, &bounded]);
    }
}

#[test]
fn a_ceiling_holds_exactly_whatever_threads_do() {
    let pool = pool_for(2, 300);
    let (bounded, other) = (attach(&pool, "bounded"), attach(&pool, "other"));
    bounded.set_share(ceiling(30)).unwrap();
    other.set_share(floor(100)).unwrap();
    load(&other, 0..100);
    let (over, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let exhausted = AtomicU64::new(0);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if bounded.frames_held() > 30 || other.frames_held() < 100 {
                    over.store(true, Ordering::Relaxed);
                }
                thread::yield_now();
            }
        });
        let threads: Vec<_> = (0..8_u64)
            .map(|seed| {
                let (bounded, other, exhausted) = (&bounded, &other, &exhausted);
                scope.spawn(move || {
                    for round in 0..200 {
                        let first = (seed * 977 + round * 37) % (PAGES - 60);
                        let pages: Vec<PageNo> = (first..first + 40).map(PageNo).collect();
                        match bounded.visit(&pages, &mut |i, bytes| {
                            assert!(bytes == Specimen::page(pages[i], SIZE));
                        }) {
                            Ok(()) => {}
                            Err(Error::AtCeiling { frames: 30, .. }) => {
                                exhausted.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                        if seed == 0 {
                            load(other, 200..300);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
    assert!(!over.into_inner(), "above its ceiling, or below its floor");
    assert_eq!(bounded.frames_held(), 30);
    assert_whole(&pool, &[&bounded, &other]);
}

#[test]
fn at_its_ceiling_with_all_pinned_a_file_is_told_so() {
    let pool = pool_for(1, 300);
    let file = attach(&pool, "file");
    file.set_share(ceiling(10)).unwrap();
    let pins: Vec<_> = (0..10).map(|page| file.pin(PageNo(page)).unwrap()).collect();
    let refused = file.pin(PageNo(99)).map(drop).unwrap_err();
    assert!(matches!(refused, Error::AtCeiling { page: PageNo(99), frames: 10, .. }), "{refused}");
    assert_eq!(file.prefetch(&[PageNo(99)], &Reading::default()), 0);
    drop(pins);
    load(&file, 0..PAGES);
    assert_whole(&pool, &[&file]);
}

#[test]
fn a_share_changes_while_it_runs() {
    let pool = pool_for(1, 300);
    let file = attach(&pool, "file");
    load(&file, 0..250);
    let kept: Vec<_> = (0..50).map(|page| file.pin(PageNo(page)).unwrap()).collect();
    file.set_share(ceiling(100)).unwrap();
    assert_eq!(file.frames_held(), 100, "at once");
    file.set_share(ceiling(20)).unwrap();
    assert_eq!(file.frames_held(), 50, "what is pinned goes later");
    drop(kept);
    load(&file, 500..501);
    assert_eq!(file.frames_held(), 20, "when room is next wanted");
    file.set_share(ceiling(60)).unwrap();
    load(&file, 0..PAGES);
    assert_eq!(file.frames_held(), 60);
    assert!(pool.stats().retired as u64 > TABLE, "its books are paid for");
    file.set_share(Share::default()).unwrap();
    assert_eq!(pool.stats().retired as u64, TABLE, "and paid back");
    load(&file, 0..PAGES);
    assert!(file.frames_held() > 250);
    assert_whole(&pool, &[&file]);
    file.set_share(ceiling(20)).unwrap();
    drop(file);
    assert_eq!(pool.stats().free as u64, 300 + TABLE);
}

#[test]
fn what_cannot_be_promised_is_refused() {
    let pool = pool_for(2, 200);
    let (one, other) = (attach(&pool, "one"), attach(&pool, "other"));
    let refused = one.set_share(floor(50).ceiling_bytes(frames(40))).unwrap_err();
    assert!(matches!(refused, PoolError::BadShare { ceiling: 40, least: 50, .. }), "{refused}");
    let refused = one.set_share(Share::default().ceiling_bytes(100)).unwrap_err();
    assert!(matches!(refused, PoolError::BadShare { ceiling: 0, least: 1, .. }), "{refused}");
    one.set_share(floor(100)).unwrap();
    let most = frames(200 - u64::from(Pool::MIN_FRAMES));
    match other.set_share(floor(37)).unwrap_err() {
        PoolError::FloorsTooLarge { floors_bytes, most_bytes, .. } => {
            assert_eq!((floors_bytes, most_bytes), (frames(137), most));
        }
        error => panic!("{error}"),
    }
    other.set_share(floor(36)).unwrap();
    let third = MemorySource::new("third", SIZE, vec![0; 4096 * 600]).unwrap();
    let refused = pool.attach(Arc::new(MemoryDevice::new(third)), None).err().unwrap();
    assert!(matches!(refused, PoolError::TableTooLarge { minimum_frames: 200, .. }), "{refused}");
    let refused = other.set_share(floor(36).ceiling_bytes(u64::MAX)).unwrap_err();
    assert!(
        matches!(refused, PoolError::TableTooLarge { .. }),
        "no frame for its books: {refused}"
    );
    // A floor goes with its file.
    drop(one);
    other.set_share(floor(100)).unwrap();
    assert_whole(&pool, &[&other]);
}

#[test]
fn a_file_below_its_floor_takes_from_its_own_when_nothing_else_is_left() {
    let pool = pool_for(2, 164);
    let (sure, other) = (attach(&pool, "sure"), attach(&pool, "other"));
    sure.set_share(floor(100)).unwrap();
    load(&sure, 0..100);
    let _pins: Vec<_> = (0..64).map(|page| other.pin(PageNo(page)).unwrap()).collect();
    load(&sure, 0..PAGES);
    assert_eq!(resident(&sure), 100);
    let refused = other.pin(PageNo(99)).map(drop).unwrap_err();
    assert!(matches!(refused, Error::Exhausted { .. }), "others' floors are kept: {refused}");
}

#[test]
fn one_pool_serves_many_segments_with_shares_of_their_own() {
    const SEGMENTS: u64 = 12;
    let pool = pool_for(SEGMENTS, 600);
    let segments: Vec<PoolFile> =
        (0..SEGMENTS).map(|no| attach(&pool, &format!("segment {no}"))).collect();
    for (no, segment) in segments.iter().enumerate() {
        segment
            .set_share(match no % 3 {
                0 => floor(40),
                1 => ceiling(30),
                _ => Share::default(),
            })
            .unwrap();
    }
    // Each has a hot set of 40 pages, and scans its whole file between.
    for round in 0..20_u64 {
        for segment in &segments {
            load(segment, 0..40);
            load(segment, 40 + round * 48..40 + (round + 1) * 48);
        }
        for (no, segment) in segments.iter().enumerate() {
            match no % 3 {
                0 => assert!(segment.frames_held() >= 40, "segment {no} in round {round}"),
                1 => assert!(segment.frames_held() <= 30, "segment {no} in round {round}"),
                _ => {}
            }
        }
    }
    assert_whole(&pool, &segments.iter().collect::<Vec<_>>());
}

/// How many in a hundred of `trace` miss, in a pool of `frames` frames and under this share.
fn miss_percent(frames: u64, share: Share, trace: &[u64]) -> f64 {
    let options = PoolOptions {
        memory_bytes: (frames + 2 * TABLE) * Pool::frame_bytes(SIZE),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).unwrap();
    let file = attach(&pool, "traced");
    file.set_share(share).unwrap();
    for &page in trace {
        file.visit(&[PageNo(page)], &mut |_, _| {}).unwrap();
    }
    100.0 * pool.stats().misses as f64 / trace.len() as f64
}

#[test]
fn under_a_ceiling_a_file_does_as_well_as_in_a_pool_of_that_size() {
    let mut x = 1_u64;
    let mut draw = move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 11) as f64 / (1_u64 << 53) as f64
    };
    // Skewed, skewed beside a scan, and a loop.
    let skewed: Vec<u64> = (0..30_000).map(|_| (draw().powi(4) * PAGES as f64) as u64).collect();
    let beside_a_scan: Vec<u64> =
        skewed.iter().zip((0..PAGES).cycle()).flat_map(|(&page, next)| [page / 4, next]).collect();
    let looping: Vec<u64> = (0..300).cycle().take(20_000).collect();
    for (name, trace) in [("skewed", skewed), ("scan", beside_a_scan), ("loop", looping)] {
        let alone = miss_percent(120, Share::default(), &trace);
        let bounded = miss_percent(400, ceiling(120), &trace);
        println!(
            "{name}: {alone:.1} % miss in a pool of 120 frames, {bounded:.1} % below a ceiling"
        );
        assert!(
            bounded < alone + 1.5,
            "{name}: {bounded} % miss, {alone} % in a pool of that size"
        );
        assert!(alone < bounded + 6.0, "{name}: the ceiling does not hold: {bounded}, {alone}");
    }
}

#[test]
fn pages_of_a_low_file_go_before_those_of_a_high_one() {
    let options = PoolOptions { memory_bytes: frames(306), ..PoolOptions::default() };
    let held = |first: Priority, second: Priority| {
        let pool = Pool::new(&options).unwrap();
        let (one, other) = (attach(&pool, "one"), attach(&pool, "other"));
        one.set_share(Share::default().priority(first)).unwrap();
        other.set_share(Share::default().priority(second)).unwrap();
        // Both are asked for alike, more than fits.
        for round in 0..20 {
            for page in (0..PAGES).step_by(10) {
                let stretch = page..(page + 10).min(PAGES);
                load(&one, stretch.clone());
                load(&other, stretch);
            }
            assert!(one.frames_held() + other.frames_held() <= 306, "round {round}");
        }
        assert_whole(&pool, &[&one, &other]);
        (one.frames_held(), other.frames_held())
    };
    let (high, low) = held(Priority::High, Priority::Low);
    assert!(high > 2 * low, "{high} and {low}");
    let (high, normal) = held(Priority::High, Priority::Normal);
    assert!(high > normal, "{high} and {normal}");
    let (low, normal) = held(Priority::Low, Priority::Normal);
    assert!(low <= normal, "{low} and {normal}");
}
