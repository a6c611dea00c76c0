//! What it costs to look at a page: in memory (hit) and on the disk (miss), through the pool,
//! through mmap and, as yardsticks, through plain memory and the engine alone.
//!
//! Every contestant gets the same pages in the same order and looks at the same bytes, without a
//! copy, through the same trait where it has one. Each is at its best: the mapping's page tables
//! are filled before a hit is timed, it has all of memory where the pool has a budget, and its
//! pages were checked once before. `mmap slice` is an index into the mapping with nothing in
//! between, neither trait nor check.
//!
//! ```sh
//! cargo bench --bench page_access -- --quick hit/uniform
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use criterion::{criterion_group, criterion_main};
use memmap2::Mmap;
use ringpool::bufferpool::{Hint, Pool, PoolFile, PoolOptions};
use ringpool::mmap::MmapSource;
use ringpool::storage::{self, DeviceGather, Gather, MemorySource, PageNo, PageSource, ReadBuffer};
use ringpool::uring::Engine;
use ringpool::{Advice, EngineChoice, MmapOptions};

use setup::page_file::{DIM, PAGE, PageFile};
use setup::{choices, cold, mapping, run};

mod setup {
    pub mod choices;
    pub mod cold;
    pub mod mapping;
    pub mod page_file;
    pub mod run;
}

/// 256 MiB: far past every cache and past what a TLB covers in small pages.
const PAGES: u64 = 65_536;
/// 8 MiB, to see that it works.
const FEW_PAGES: u64 = 2_048;

/// Pages that are looked at in one iteration of a hit.
const PASS: usize = 4_096;
/// Pages drawn for hits: more than any predictor remembers.
const DRAWN: usize = 64 * PASS;
/// A short batch, as one step of a walk over a graph asks for.
const HIT_BATCH: usize = 16;
/// One page, and a batch that keeps a disk busy.
const MISS_BATCHES: [usize; 2] = [1, 64];
/// Queries of one thread, and the pages that each asks for at once.
const QUERIES: usize = 16;
const QUERY_PAGES: usize = 10;
/// Pages of so many queries to one iteration, so that the first and the last do not count.
const STREAM_PAGES: usize = 32 * QUERIES * QUERY_PAGES;
/// Pages of the file for each page of the pool, in misses.
const PAGES_PER_FRAME: usize = 10;

fn page_file() -> PageFile {
    let pages = if run::is_measured() { PAGES } else { FEW_PAGES };
    PageFile::in_folder(run::files(), pages)
}

// Hits.

/// The file in memory, once for each contestant.
struct Resident {
    memory: MemorySource,
    slice: Mmap,
    random: MmapSource,
    willneed: MmapSource,
    pool: PoolFile,
}

impl Resident {
    fn of(file: &PageFile) -> Self {
        let engine = Engine::start(EngineChoice::Auto).expect("some engine");
        // A budget that holds all pages and what is kept for them.
        let budget_bytes = file.bytes.len() as u64 / 32 * 33 + (1 << 20);
        let memory = MemorySource::new("memory", PAGE, file.bytes.clone());
        let resident = Self {
            memory: memory.expect("whole pages"),
            slice: mapping::random(&file.path),
            random: mapped(file, Advice::Random),
            willneed: mapped(file, Advice::WillNeed),
            pool: pooled(&engine, file, budget_bytes),
        };
        let all: Vec<PageNo> = (0..file.page_count()).map(PageNo).collect();
        let sources: [&dyn PageSource; 4] =
            [&resident.memory, &resident.random, &resident.willneed, &resident.pool];
        for source in sources {
            let mut sum = 0.0;
            source.visit(&all, &mut |_, page| sum += word(page)).expect("a sound file");
        }
        for page in all {
            black_box(mapping::slice(&resident.slice, page)[0]);
        }
        resident
    }
}

fn hit(c: &mut Criterion) {
    let file = page_file();
    let resident = Resident::of(&file);
    let query: [f32; DIM] = std::array::from_fn(|i| i as f32 / DIM as f32);
    let pages = file.page_count();
    for (name, drawn) in
        [("uniform", choices::uniform(pages, DRAWN)), ("zipf", choices::zipf(pages, DRAWN))]
    {
        hits(c, &format!("hit/{name}/word"), &resident, &drawn, word);
        hits(c, &format!("hit/{name}/dot"), &resident, &drawn, |page| dot(&query, page));
    }
    let stats = resident.pool.pool().stats();
    assert_eq!(stats.misses, pages, "a page left memory, so that misses were timed");
}

fn hits(
    c: &mut Criterion,
    name: &str,
    resident: &Resident,
    drawn: &[PageNo],
    look: impl Fn(&[u8]) -> f32 + Copy,
) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(PASS as u64));
    group.bench_function("mmap slice", |b| {
        passes(b, drawn, |pass, sum| {
            pass.iter().for_each(|&page| *sum += look(mapping::slice(&resident.slice, page)));
        });
    });
    let mut reader = resident.pool.pool().reader().expect("a seat");
    let stay = reader.enter();
    group.bench_function(BenchmarkId::new("pool reader", 1), |b| {
        passes(b, drawn, |pass, sum| {
            for &page in pass {
                *sum += look(stay.get(&resident.pool, page).expect("a resident page"));
            }
        });
    });
    group.bench_function(BenchmarkId::new("pool reader", HIT_BATCH), |b| {
        let mut found = [None; HIT_BATCH];
        passes(b, drawn, |pass, sum| {
            for batch in pass.chunks(HIT_BATCH) {
                stay.get_many(&resident.pool, batch, &mut found[..batch.len()]);
                found.iter().for_each(|page| *sum += look(page.expect("a resident page")));
            }
        });
    });
    drop(stay);
    group.bench_function("pool try_pin", |b| {
        passes(b, drawn, |pass, sum| {
            for &page in pass {
                *sum += look(&resident.pool.try_pin(page).expect("a resident page"));
            }
        });
    });
    let contestants: [(&str, &dyn PageSource); 4] = [
        ("memory visit", &resident.memory),
        ("mmap random visit", &resident.random),
        ("mmap willneed visit", &resident.willneed),
        ("pool visit", &resident.pool),
    ];
    for batch in [1, HIT_BATCH] {
        for (contestant, source) in contestants {
            // A mapping gives no advice for one page: the other one is timed already.
            if batch == 1 && contestant == "mmap willneed visit" {
                continue;
            }
            group.bench_function(BenchmarkId::new(contestant, batch), |b| {
                passes(b, drawn, |pass, sum| {
                    for batch in pass.chunks(batch) {
                        let visited = source.visit(batch, &mut |_, page| *sum += look(page));
                        visited.expect("resident pages");
                    }
                });
            });
        }
    }
    let mut gather = resident.pool.gather_with(Hint::Random);
    group.bench_function(BenchmarkId::new("pool visit", QUERY_PAGES), |b| {
        passes(b, drawn, |pass, sum| {
            for batch in pass.chunks(QUERY_PAGES) {
                let visited = resident.pool.visit(batch, &mut |_, page| *sum += look(page));
                visited.expect("resident pages");
            }
        });
    });
    for batch in [1, QUERY_PAGES] {
        group.bench_function(BenchmarkId::new("pool gather", batch), |b| {
            passes(b, drawn, |pass, sum| {
                for (query, batch) in (0..).zip(pass.chunks(batch)) {
                    let query = query % QUERIES as u32;
                    let asked = gather.ask(query, batch, &mut |_, page| *sum += look(page));
                    assert_eq!(asked.expect("resident pages"), 0);
                }
            });
        });
    }
    group.finish();
}

/// Times `look` at one pass of pages after the other, around and around.
fn passes(b: &mut Bencher<'_>, drawn: &[PageNo], mut look: impl FnMut(&[PageNo], &mut f32)) {
    let mut passes = drawn.chunks(PASS).cycle();
    b.iter(|| {
        let mut sum = 0.0;
        passes.by_ref().take(1).for_each(|pass| look(pass, &mut sum));
        sum
    });
}

/// One word of a page: what is left is the cost of getting at it.
fn word(page: &[u8]) -> f32 {
    page.first_chunk().map_or(0.0, |word| f32::from_le_bytes(*word))
}

/// The inner product with the vector in a page: the least that an index does with it.
fn dot(query: &[f32; DIM], page: &[u8]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let values = page.as_chunks::<4>().0.as_chunks::<LANES>().0;
    for (query, values) in query.as_chunks::<LANES>().0.iter().zip(values) {
        for lane in 0..LANES {
            lanes[lane] += query[lane] * f32::from_le_bytes(values[lane]);
        }
    }
    lanes.iter().sum()
}

// Misses.

/// Looks at a batch of pages.
type Reader = Box<dyn FnMut(&[PageNo], &mut dyn FnMut(usize, &[u8])) -> storage::Result<()>>;

/// All pages in random order, around and around, in batches. Nobody has a page when it comes: the
/// page cache is dropped before each round, and the pool, which holds a tenth, has read nine
/// others for each of its frames since. What is asked for at once is ascending, as a mapping likes
/// it.
struct Rounds<'a> {
    file: &'a PageFile,
    order: Vec<PageNo>,
    at: usize,
    ascending: usize,
    open: &'a dyn Fn(&PageFile, &[PageNo]) -> Reader,
    reader: Option<Reader>,
}

impl Rounds<'_> {
    fn time(&mut self, batches: u64, batch_pages: usize) -> Duration {
        let mut elapsed = Duration::ZERO;
        for _ in 0..batches {
            if self.at + batch_pages > self.order.len() || self.reader.is_none() {
                self.begin();
            }
            let mut batch = self.order[self.at..self.at + batch_pages].to_vec();
            batch.chunks_mut(self.ascending).for_each(<[PageNo]>::sort_unstable);
            self.at += batch_pages;
            let reader = self.reader.as_mut().expect("opened above");
            let mut sum = 0.0;
            let begun = Instant::now();
            reader(&batch, &mut |_, page| sum += word(page)).expect("a sound file");
            elapsed += begun.elapsed();
            black_box(sum);
        }
        elapsed
    }

    fn begin(&mut self) {
        // Unmapped first: mapped pages stay.
        self.reader = None;
        cold::evict(&self.file.path);
        self.reader = Some((self.open)(self.file, &self.order));
        self.at = 0;
    }
}

fn miss(c: &mut Criterion) {
    let file = page_file();
    for batch_pages in MISS_BATCHES {
        let mut group = c.benchmark_group(format!("miss/batch of {batch_pages}"));
        group.throughput(Throughput::Elements(batch_pages as u64));
        let sizes = [batch_pages; 2];
        misses(&mut group, "engine alone", &file, sizes, &engine_reader);
        misses(&mut group, "pool", &file, sizes, &pool_reader);
        misses(&mut group, "mmap random", &file, sizes, &|file, _| {
            mmap_reader(file, Advice::Random)
        });
        if batch_pages > 1 {
            misses(&mut group, "mmap willneed", &file, sizes, &|file, _| {
                mmap_reader(file, Advice::WillNeed)
            });
        }
        group.finish();
    }
}

/// One thread and many queries: as many pages at once as they ask for together, and each query's
/// by themselves, where the next query comes as soon as one has its pages.
fn stream(c: &mut Criterion) {
    let file = page_file();
    let mut group = c.benchmark_group("miss/16 queries of 10");
    let stream_pages = STREAM_PAGES.min(file.page_count() as usize);
    group.throughput(Throughput::Elements(stream_pages as u64));
    let (visited, gathered) = ([stream_pages, QUERIES * QUERY_PAGES], [stream_pages, QUERY_PAGES]);
    misses(&mut group, "pool visit", &file, visited, &|file, order| {
        let pool = full_pool(file, order);
        Box::new(move |pages, look| visit_all(&pool, pages, look))
    });
    misses(&mut group, "pool gather", &file, gathered, &|file, order| {
        let pool = full_pool(file, order);
        Box::new(move |pages, look| gather_all(&mut *pool.gather_with(Hint::Random), pages, look))
    });
    misses(&mut group, "engine gather", &file, gathered, &|file, _| {
        let engine = Engine::start(EngineChoice::Auto).expect("some engine");
        let device = engine.open(&file.path, PAGE).expect("a sound file").device;
        Box::new(move |pages, look| {
            gather_all(&mut DeviceGather::new(&*device, None, 128), pages, look)
        })
    });
    misses(&mut group, "mmap willneed visit", &file, visited, &|file, _| {
        let source = mapped(file, Advice::WillNeed);
        Box::new(move |pages, look| visit_all(&source, pages, look))
    });
    misses(&mut group, "mmap willneed gather", &file, gathered, &|file, _| {
        let source = mapped(file, Advice::WillNeed);
        Box::new(move |pages, look| {
            gather_all(&mut *source.gather().expect("a gather"), pages, look)
        })
    });
    group.finish();
}

/// Visits the pages of all queries at once, and then those of the next ones.
fn visit_all(
    source: &dyn PageSource,
    pages: &[PageNo],
    look: &mut dyn FnMut(usize, &[u8]),
) -> storage::Result<()> {
    pages.chunks(QUERIES * QUERY_PAGES).try_for_each(|pages| source.visit(pages, look))
}

/// Carries so many queries at a time, one after the other in each place.
fn gather_all(
    gather: &mut dyn Gather,
    pages: &[PageNo],
    look: &mut dyn FnMut(usize, &[u8]),
) -> storage::Result<()> {
    let mut queries = pages.chunks(QUERY_PAGES);
    let mut missing = [0; QUERIES];
    loop {
        for (query, missing) in (0..).zip(&mut missing) {
            while *missing == 0
                && let Some(pages) = queries.next()
            {
                *missing = gather.ask(query, pages, look)?;
            }
        }
        if gather.outstanding() == 0 {
            return Ok(());
        }
        gather.wait(&|| false, None)?;
        gather.collect(&mut |query, i, page| {
            look(i, page.expect("a sound file"));
            missing[query as usize] -= 1;
        });
    }
}

fn misses(
    group: &mut BenchmarkGroup<'_, WallTime>,
    contestant: &str,
    file: &PageFile,
    [batch_pages, ascending]: [usize; 2],
    open: &dyn Fn(&PageFile, &[PageNo]) -> Reader,
) {
    let order = choices::shuffled(file.page_count());
    let mut rounds = Rounds { file, order, at: 0, ascending, open, reader: None };
    let mut pages = 0;
    let disk_reads = cold::DiskReads::start();
    group.bench_function(contestant, |b| {
        b.iter_custom(|batches| {
            pages += batches * batch_pages as u64;
            rounds.time(batches, batch_pages)
        });
    });
    if let (Some(read_bytes), true) = (disk_reads.bytes(), run::is_measured()) {
        let asked_bytes = pages * PAGE.bytes() as u64;
        assert!(
            read_bytes >= asked_bytes / 100 * 95,
            "{contestant}: of {asked_bytes} bytes only {read_bytes} came from the disk: the page \
             cache was warm; put the target folder on a disk"
        );
    }
}

fn engine_reader(file: &PageFile, _: &[PageNo]) -> Reader {
    let engine = Engine::start(EngineChoice::Auto).expect("some engine");
    let device = engine.open(&file.path, PAGE).expect("a sound file").device;
    let mut buffer = ReadBuffer::new(64, PAGE);
    Box::new(move |batch, look| buffer.visit(&*device, batch, look))
}

fn pool_reader(file: &PageFile, order: &[PageNo]) -> Reader {
    let pool = full_pool(file, order);
    Box::new(move |batch, look| pool.visit(batch, look))
}

/// A pool that is full of the last pages in `order`, so that each miss evicts.
fn full_pool(file: &PageFile, order: &[PageNo]) -> PoolFile {
    let engine = Engine::start(EngineChoice::Auto).expect("some engine");
    let tables_bytes = 12 * file.page_count();
    let budget_bytes = (file.bytes.len() / PAGES_PER_FRAME) as u64 + tables_bytes;
    let pool = pooled(&engine, file, budget_bytes);
    let last = &order[order.len() - order.len() / PAGES_PER_FRAME..];
    pool.visit(last, &mut |_, _| {}).expect("a sound file");
    pool
}

fn mmap_reader(file: &PageFile, advice: Advice) -> Reader {
    let source = mapped(file, advice);
    Box::new(move |batch, look| source.visit(batch, look))
}

// Opening.

fn pooled(engine: &Engine, file: &PageFile, memory_bytes: u64) -> PoolFile {
    let options = PoolOptions { memory_bytes, page_size: PAGE, ..PoolOptions::default() };
    let device = engine.open(&file.path, PAGE).expect("a sound file").device;
    let pool = Pool::new(&options).expect("a budget that does");
    pool.attach(device, Some(file.checksums.clone())).expect("a file that fits")
}

fn mapped(file: &PageFile, advice: Advice) -> MmapSource {
    let options = MmapOptions { advice, ..MmapOptions::default() };
    let checksums = Some(file.checksums.clone());
    MmapSource::open(&file.path, PAGE, checksums, options).expect("a sound file")
}

criterion_group! {
    name = page_access;
    config = run::criterion(20, Duration::from_secs(1));
    targets = hit, miss, stream
}
criterion_main!(page_access);
