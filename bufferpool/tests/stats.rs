//! What a pool says of itself: every figure against what was really done.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{
    Fault, FaultyDevice, MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 400;

fn pool(frames: u64) -> Pool {
    let memory_bytes = frames * Pool::frame_bytes(SIZE);
    let frame_patience = Duration::from_millis(50);
    Pool::new(&PoolOptions { memory_bytes, frame_patience, ..PoolOptions::default() }).unwrap()
}

/// A file on a device that does what `script` says.
fn faulty(
    pool: &Pool,
    name: &str,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let bytes = (0..PAGES).flat_map(|no| Specimen::page(PageNo(no), SIZE)).collect();
    let memory = MemoryDevice::new(MemorySource::new(name, SIZE, bytes).unwrap());
    let device = Arc::new(FaultyDevice::new(Arc::new(memory), script));
    (pool.attach(device.clone(), None).unwrap(), device)
}

fn sound(pool: &Pool, name: &str) -> PoolFile {
    faulty(pool, name, |_, _| None).0
}

fn pages(numbers: impl IntoIterator<Item = u64>) -> Vec<PageNo> {
    numbers.into_iter().map(PageNo).collect()
}

#[test]
fn each_file_has_its_own_counts_and_the_pool_their_sum() {
    let pool = pool(100);
    let (first, second) = (sound(&pool, "first"), sound(&pool, "second"));
    first.visit(&pages(0..10), &mut |_, _| {}).unwrap();
    first.visit(&pages(5..15), &mut |_, _| {}).unwrap();
    second.visit(&pages(0..30), &mut |_, _| {}).unwrap();
    for _ in 0..7 {
        drop(second.pin(PageNo(3)).unwrap());
        assert!(first.try_pin(PageNo(3)).is_some() && first.try_pin(PageNo(99)).is_none());
    }
    let snapshot = pool.snapshot();
    let names: Vec<&str> = snapshot.files.iter().map(|file| &*file.file).collect();
    assert_eq!(names, ["first", "second"]);
    let [one, two] = &snapshot.files[..] else { panic!("two files") };
    assert_eq!((one.hits, one.misses, one.reads, one.resident), (5 + 7, 15, 15, 15));
    assert_eq!((two.hits, two.misses, two.reads, two.resident), (7, 30, 30, 30));
    assert_eq!((one.pages, two.pages), (PAGES, PAGES));
    assert_eq!(*one, first.stats());
    let total = snapshot.total;
    assert_eq!((total.hits, total.misses, total.reads), (19, 45, 45));
    assert_eq!((total.resident(), total.loading, total.failed_reads), (45, 0, 0));
    assert_eq!(total.miss_latency.reads, 45);
    drop(first);
    assert_eq!(pool.stats().hits, 19, "what a file has done stays in the total");
    assert_eq!(pool.snapshot().files.len(), 1);
    // The number of the first file is the third's now, and nothing of what was counted under it.
    let third = sound(&pool, "third");
    let stats = third.stats();
    assert_eq!((&*stats.file, stats.hits, stats.misses, stats.resident), ("third", 0, 0, 0));
}

#[test]
fn evictions_are_the_victims_own() {
    let pool = pool(100);
    let (first, second) = (sound(&pool, "first"), sound(&pool, "second"));
    first.visit(&pages(0..60), &mut |_, _| {}).unwrap();
    for _ in 0..5 {
        second.visit(&pages(0..PAGES), &mut |_, _| {}).unwrap();
    }
    let snapshot = pool.snapshot();
    let by_file: u64 = snapshot.files.iter().map(|file| file.evictions).sum();
    assert_eq!(by_file, snapshot.total.evictions);
    for file in &snapshot.files {
        assert!(file.evictions > 0);
        assert_eq!(file.reads - file.evictions, file.resident as u64, "{}", file.file);
    }
}

#[test]
fn what_is_pinned_is_seen_and_by_whom_it_is_not() {
    let pool = pool(100);
    let (first, second) = (sound(&pool, "first"), sound(&pool, "second"));
    let one = first.pin(PageNo(1)).unwrap();
    let again = first.pin(PageNo(1)).unwrap();
    let kept = second.pin(PageNo(2)).unwrap().into_bytes();
    let mut reader = pool.reader().unwrap();
    let mut stay = reader.enter();
    stay.read(&first, PageNo(3)).unwrap();
    let snapshot = pool.snapshot();
    let pinned: Vec<_> = snapshot.files.iter().map(|file| (file.pinned, file.pins)).collect();
    assert_eq!(pinned, [(1, 2), (1, 1)]);
    assert_eq!((snapshot.pinned(), snapshot.pins(), snapshot.total.readers), (2, 3, 1));
    drop((one, again, kept, stay));
    let snapshot = pool.snapshot();
    assert_eq!((snapshot.pinned(), snapshot.pins(), snapshot.total.readers), (0, 0, 0));
}

#[test]
fn a_readers_hits_are_those_of_the_file_that_it_looked_at() {
    let pool = pool(100);
    let (first, second) = (sound(&pool, "first"), sound(&pool, "second"));
    first.visit(&pages(0..8), &mut |_, _| {}).unwrap();
    second.visit(&pages(0..8), &mut |_, _| {}).unwrap();
    let mut reader = pool.reader().unwrap();
    let stay = reader.enter();
    for page in pages(0..10) {
        for file in [&first, &second, &first] {
            assert_eq!(stay.get(file, page).is_some(), page.0 < 8);
        }
    }
    let batch = pages(6..10);
    assert_eq!(stay.get_many(&second, &batch, &mut [None; 4]), 2);
    drop(stay);
    assert_eq!((first.stats().hits, second.stats().hits), (16, 10));
    assert_eq!(pool.stats().hits, 26);
}

#[test]
fn failed_reads_are_counted_and_timed_as_reads() {
    let pool = pool(100);
    let (file, device) =
        faulty(&pool, "broken", |_, page| (page.0 % 4 == 3).then_some(Fault::Errno(5)));
    for page in pages(0..40) {
        assert_eq!(file.pin(page).is_err(), page.0 % 4 == 3);
    }
    let (stats, total) = (file.stats(), pool.stats());
    assert_eq!((stats.reads, stats.failed_reads, stats.resident), (40, 10, 30));
    assert_eq!((stats.reads, stats.failed_reads), (total.reads, total.failed_reads));
    assert_eq!((device.reads(), total.miss_latency.reads), (40, 40));
}

#[test]
fn what_is_in_flight_is_seen_and_how_long_it_was() {
    const HELD: Duration = Duration::from_millis(5);
    let pool = pool(100);
    let (file, device) = faulty(&pool, "slow", |_, page| (page.0 < 10).then_some(Fault::Hold));
    file.visit(&pages(20..40), &mut |_, _| {}).unwrap();
    let before = pool.miss_latencies();
    thread::scope(|scope| {
        scope.spawn(|| file.visit(&pages(0..10), &mut |_, _| {}).unwrap());
        while device.held() < 10 {
            thread::yield_now();
        }
        assert_eq!((file.stats().in_flight, pool.stats().loading), (10, 10));
        thread::sleep(HELD);
        assert_eq!(device.release(), 10);
    });
    assert_eq!((file.stats().in_flight, pool.stats().loading), (0, 0));
    let since = pool.miss_latencies().since(&before);
    assert_eq!(since.reads(), 10);
    // They were held at least as long, and buckets are right to about 3 %.
    let held_us = 0.96 * HELD.as_micros() as f64;
    assert!(since.quantile_us(0.01) >= held_us, "{}", since.quantile_us(0.01));
    let latency = pool.stats().miss_latency;
    assert!(latency.reads == 30 && latency.p90_us >= held_us, "{latency:?}");
    let rising = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us];
    assert!(rising.is_sorted() && latency.mean_us < latency.max_us, "{latency:?}");
    let ratio = file.stats().mean_miss_latency_us / latency.mean_us;
    assert!((ratio - 1.0).abs() < 1e-6, "the file's mean is the pool's, which has no other");
}

#[test]
fn threads_that_have_ended_are_counted_and_those_that_come_later_too() {
    const ROUNDS: usize = 5;
    const THREADS: usize = 40;
    let pool = pool(500);
    let files: Vec<PoolFile> = (0..9).map(|no| sound(&pool, &format!("file {no}"))).collect();
    for round in 0..ROUNDS {
        let together = Barrier::new(THREADS);
        thread::scope(|scope| {
            for no in 0..THREADS {
                let (files, together) = (&files, &together);
                scope.spawn(move || {
                    together.wait();
                    for file in files {
                        drop(file.pin(PageNo(no as u64)).unwrap());
                    }
                    if round % 2 == 0 {
                        together.wait();
                    }
                });
            }
        });
    }
    for file in &files {
        let stats = file.stats();
        assert_eq!(stats.hits + stats.misses, (ROUNDS * THREADS) as u64, "{stats:?}");
        assert_eq!((stats.misses, stats.reads), (THREADS as u64, THREADS as u64), "{stats:?}");
    }
    let total = pool.stats();
    assert_eq!(total.hits + total.misses, (ROUNDS * THREADS * files.len()) as u64);
}

#[test]
fn pools_count_apart_and_may_end_before_the_threads_that_used_them() {
    for round in 0..50 {
        let (one, two) = (pool(66), pool(66));
        let file = sound(&one, "a file");
        file.visit(&pages(0..round), &mut |_, _| {}).unwrap();
        assert_eq!((one.stats().misses, two.stats().misses), (round, 0));
    }
}
