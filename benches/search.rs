//! Searches on the shipped slice of Fashion-MNIST as f32: through the pool with room for a tenth
//! of the originals, through mmap, and over plain arrays.
//!
//! *warm* goes around the queries on an index that has answered all of them before. The mapping
//! then has every page in memory, and the pool a tenth: that is the price of a budget, not a
//! contest. Under the same memory the two are set side by side by `ringpool compare`.
//!
//! *cold* times the first queries after opening, with nothing in the page cache; graph and codes,
//! which every backend keeps in memory, are loaded before.
//!
//! ```sh
//! cargo bench --bench search -- --quick cold
//! ```

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpool::{
    Advice, Backend, BuildOptions, FORMAT_VERSION, Index, Memory, MmapOptions, NoProgress,
    OpenOptions, Scratch, SearchParams, Vectors, vectors,
};

use setup::{cold, run};

mod setup {
    pub mod cold;
    pub mod run;
}

const POINTS: usize = 12_000;
const FEW_POINTS: usize = 500;
/// Queries in a row after a cold opening. Together they look at about half of the pages.
const COLD_QUERIES: usize = 100;

/// The segment and what is asked of it.
struct Contest {
    dir: PathBuf,
    queries: Vec<Vec<f32>>,
    params: SearchParams,
}

impl Contest {
    fn ready() -> Result<Self, Box<dyn Error>> {
        let points = if run::is_measured() { POINTS } else { FEW_POINTS };
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
        let dir = run::files().join(format!("segment-{points}-v{FORMAT_VERSION}"));
        // Built once, and again when it does not open any more.
        if Index::open(&dir, &OpenOptions::default()).is_err() {
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            let base = first(&vectors::read(&shipped.join("base.bvecs.gz"))?, points)?;
            ringpool::build(&base, &dir, &BuildOptions::default(), &NoProgress)?;
        }
        let queries = vectors::read(&shipped.join("query.bvecs.gz"))?;
        Ok(Self { dir, queries: rows(&queries, queries.len()), params: SearchParams::default() })
    }

    fn open(&self, options: &OpenOptions) -> Index {
        Index::open(&self.dir, options).expect("a segment that was opened before")
    }

    fn search(&self, index: &Index, query: &[f32], scratch: &mut Scratch) -> u64 {
        let hits = index.segment().search(query, &self.params, scratch);
        hits.expect("a sound segment").iter().fold(0, |ids: u64, hit| ids.wrapping_mul(31) ^ hit.id)
    }

    /// The answers to all queries, as one number.
    fn answers(&self, index: &Index, scratch: &mut Scratch) -> u64 {
        let answer = |query: &Vec<f32>| self.search(index, query, scratch);
        self.queries.iter().map(answer).fold(0, |all: u64, ids| all.wrapping_mul(31) ^ ids)
    }
}

fn rows(vectors: &Vectors, count: usize) -> Vec<Vec<f32>> {
    let row = |row| {
        let mut values = vec![0.0; vectors.dim()];
        vectors.row_f32(row, &mut values);
        values
    };
    (0..count).map(row).collect()
}

fn first(vectors: &Vectors, count: usize) -> Result<Vectors, Box<dyn Error>> {
    Ok(Vectors::from_f32(vectors.dim(), rows(vectors, count).concat())?)
}

fn backends() -> [(&'static str, OpenOptions); 4] {
    let through = |backend, advice| OpenOptions {
        backend,
        memory: Some(Memory::Percent(10.0)),
        mmap: MmapOptions { advice, ..MmapOptions::default() },
        ..OpenOptions::default()
    };
    [
        ("memory", through(Backend::Memory, Advice::WillNeed)),
        ("mmap random", through(Backend::Mmap, Advice::Random)),
        ("mmap willneed", through(Backend::Mmap, Advice::WillNeed)),
        ("pool 10 %", through(Backend::Pool, Advice::WillNeed)),
    ]
}

/// A tenth of the few points is less than a pool can be.
fn fitting(mut options: OpenOptions) -> OpenOptions {
    if !run::is_measured() {
        options.memory = None;
    }
    options
}

fn warm(c: &mut Criterion) {
    let contest = Contest::ready().expect("the slice is shipped");
    let mut group = c.benchmark_group("search/warm");
    group.throughput(Throughput::Elements(1));
    let mut expected = None;
    for (backend, options) in backends() {
        let index = contest.open(&fitting(options));
        let mut scratch = Scratch::default();
        let answers = contest.answers(&index, &mut scratch);
        assert_eq!(*expected.get_or_insert(answers), answers, "{backend} finds something else");
        let mut queries = contest.queries.iter().cycle();
        group.bench_function(backend, |b| {
            b.iter(|| queries.next().map(|query| contest.search(&index, query, &mut scratch)));
        });
    }
    group.finish();
}

fn cold_start(c: &mut Criterion) {
    let contest = Contest::ready().expect("the slice is shipped");
    let mut group = c.benchmark_group("search/cold");
    let disk_is_counted = cold::DiskReads::start().bytes().is_some();
    group.throughput(Throughput::Elements(COLD_QUERIES as u64));
    for (backend, options) in backends() {
        if options.backend == Backend::Memory {
            continue; // Loaded when it is opened: it is never cold.
        }
        let options = fitting(options);
        let mut batches = contest.queries.chunks_exact(COLD_QUERIES).cycle();
        let mut read_bytes = 0;
        group.bench_function(backend, |b| {
            b.iter_custom(|rounds| {
                let batches = batches.by_ref().take(rounds as usize);
                batches.map(|queries| round(&contest, &options, queries, &mut read_bytes)).sum()
            });
        });
        if run::is_measured() && disk_is_counted && read_bytes == 0 {
            panic!("{backend}: nothing came from the disk: put the target folder on one");
        }
    }
    group.finish();
}

/// Opens, evicts, and times the queries.
fn round(
    contest: &Contest,
    options: &OpenOptions,
    queries: &[Vec<f32>],
    read_bytes: &mut u64,
) -> Duration {
    let index = contest.open(options);
    index.paged_files().iter().for_each(|file| cold::evict(file));
    let mut scratch = Scratch::default();
    let disk_reads = cold::DiskReads::start();
    let begun = Instant::now();
    for query in queries {
        contest.search(&index, query, &mut scratch);
    }
    let elapsed = begun.elapsed();
    *read_bytes += disk_reads.bytes().unwrap_or(0);
    elapsed
}

criterion_group! {
    name = searches;
    config = run::criterion(20, Duration::from_secs(2));
    targets = warm, cold_start
}
criterion_main!(searches);
