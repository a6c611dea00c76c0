//! What the pool itself adds to a miss: finding a victim, claiming, landing, checking.
//!
//! The device is memory, so that no disk is in the figures; the file is ten times the pool.
//! `device alone` reads every page into a buffer with no pool in between, which costs one copy of
//! a page. What the pool did meanwhile is printed after each of its benches.
//!
//! ```sh
//! cargo bench --bench eviction -- --quick
//! ```

use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ringpool::bufferpool::{Policy, Pool, PoolFile, PoolOptions, Stats};
use ringpool::storage::{
    Checksums, FileKey, MemoryDevice, MemorySource, PageDevice, PageNo, PageSize, PageSource,
    ReadBuffer,
};

use setup::{choices, run};

mod setup {
    pub mod choices;
    pub mod run;
}

const PAGE: PageSize = PageSize::KIB_4;
/// 64 MiB: more than the caches of most processors, as a device should be.
const PAGES: u64 = 16_384;
const FEW_PAGES: u64 = 2_048;
const PAGES_PER_FRAME: u64 = 10;
/// Pages that are looked at in one iteration.
const PASS: usize = 1_024;
const DRAWN: usize = 256 * PASS;
const BATCHES: [usize; 2] = [1, 16];

/// The file, as a device.
struct Disk {
    device: Arc<MemoryDevice>,
    checksums: Checksums,
}

impl Disk {
    fn new(pages: u64) -> Self {
        let bytes: Vec<u8> =
            (0..pages * PAGE.bytes() as u64).map(|i| ((i * i) >> 7) as u8).collect();
        let checksums = Checksums::of_pages(FileKey(1), PAGE, &bytes);
        let source = MemorySource::new("memory", PAGE, bytes).expect("whole pages");
        Self { device: Arc::new(MemoryDevice::new(source)), checksums }
    }

    /// The file through a pool of a tenth of its pages.
    fn pooled(&self, checksums: Option<Checksums>, policy: Policy) -> PoolFile {
        // Beside the frames: 12 bytes a page for table and checksums.
        let frames = self.device.page_count() / PAGES_PER_FRAME;
        let memory_bytes = frames * Pool::frame_bytes(PAGE) + 12 * self.device.page_count();
        let rest = PoolOptions { whole_tables: true, ..PoolOptions::default() };
        let options = PoolOptions { memory_bytes, page_size: PAGE, policy, ..rest };
        let pool = Pool::new(&options).expect("a budget that does");
        pool.attach(self.device.clone(), checksums).expect("a file that fits")
    }
}

fn eviction(c: &mut Criterion) {
    let pages = if run::is_measured() { PAGES } else { FEW_PAGES };
    let disk = Disk::new(pages);
    for (name, drawn) in
        [("uniform", choices::uniform(pages, DRAWN)), ("zipf", choices::zipf(pages, DRAWN))]
    {
        for batch in BATCHES {
            let mut group = c.benchmark_group(format!("eviction/{name}/batch of {batch}"));
            group.throughput(Throughput::Elements(PASS as u64));
            device_alone(&mut group, &disk, &drawn, batch);
            let checked = || Some(disk.checksums.clone());
            for (contestant, checksums, policy) in [
                ("pool", checked(), Policy::default()),
                ("pool by plain clock", checked(), Policy::Clock),
                ("pool unchecked", None, Policy::default()),
            ] {
                let file = disk.pooled(checksums, policy);
                pool(&mut group, contestant, &file, &drawn, batch);
            }
            group.finish();
        }
    }
}

fn device_alone(
    group: &mut BenchmarkGroup<'_, WallTime>,
    disk: &Disk,
    drawn: &[PageNo],
    batch: usize,
) {
    let mut buffer = ReadBuffer::new(batch as u32, PAGE);
    let mut passes = drawn.chunks(PASS).cycle();
    group.bench_function("device alone", |b| {
        b.iter(|| {
            let mut sum = 0_u64;
            for batch in passes.next().unwrap_or_default().chunks(batch) {
                let read = buffer.visit(&*disk.device, batch, |_, page| sum += u64::from(page[0]));
                read.expect("memory");
            }
            sum
        });
    });
}

fn pool(
    group: &mut BenchmarkGroup<'_, WallTime>,
    contestant: &str,
    file: &PoolFile,
    drawn: &[PageNo],
    batch: usize,
) {
    let mut passes = drawn.chunks(PASS).cycle();
    let before = file.pool().stats();
    group.bench_function(contestant, |b| {
        b.iter(|| {
            let mut sum = 0_u64;
            for batch in passes.next().unwrap_or_default().chunks(batch) {
                file.visit(batch, &mut |_, page| sum += u64::from(page[0])).expect("memory");
            }
            sum
        });
    });
    report(contestant, &before, &file.pool().stats());
}

fn report(contestant: &str, before: &Stats, after: &Stats) {
    let misses = after.misses - before.misses;
    let evictions = after.evictions - before.evictions;
    let looks = after.hits - before.hits + misses;
    if looks > 0 {
        println!(
            "{contestant}: {looks} pages asked for, {:.1} % of them misses, {evictions} evictions \
             after {:.2} steps of the hand each\n",
            100.0 * misses as f64 / looks as f64,
            (after.sweep_steps - before.sweep_steps) as f64 / evictions.max(1) as f64,
        );
    }
}

criterion_group! {
    name = evictions;
    config = run::criterion(20, Duration::from_secs(1));
    targets = eviction
}
criterion_main!(evictions);
