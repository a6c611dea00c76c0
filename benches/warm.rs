//! What a page costs that is in memory already: the pool beside a mapping of the same file, on the
//! mapping's home ground.
//!
//! The file is as large as fits twice, at most 4 GiB: once in the page cache, once in the pool.
//! The mapping is resident, its page tables are filled (but for the first touch, which is about
//! filling them), its advice is MADV_RANDOM, and what is timed of it is an index into a slice,
//! with nothing in between. Contestants take turns, in one process, and each ratio is of one round.
//!
//! ```sh
//! cargo bench --bench warm              # RINGPOOL_BENCH_MIB=1024 for a smaller file
//! cargo bench --bench warm -- words     # one table: words, dots, chains, pins, threads, touches
//! ```

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use memmap2::Mmap;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use ringpool::EngineChoice;
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions, Reader};
use ringpool::storage::{PageNo, PageSize, PageSource};
use ringpool::uring::Engine;

use setup::rounds::{Contestant, table};
use setup::{choices, mapping, run};

mod setup {
    pub mod choices;
    pub mod mapping;
    pub mod rounds;
    pub mod run;
    pub mod spread;
}

const PAGE: PageSize = PageSize::KIB_4;
/// The file's size where nothing else is asked for and memory allows.
const FILE_MIB: u64 = 4096;
/// Where the bench is only to show that it works.
const SMALL_FILE_MIB: u64 = 8;

const ROUNDS: usize = 5;
/// Pages looked at in a turn.
const LOOKS: usize = 1 << 21;
/// A short batch, as one step of a walk over a graph asks for.
const BATCH: usize = 16;
/// A large batch of a search, in which hardly two pages lie so near that one fault maps both.
const FEW: usize = 1 << 12;
/// Pages that two threads fight for.
const HOT_PAGES: u64 = 64;
/// Dimensions of the vector that a page begins with.
const DIM: usize = 768;

fn main() {
    let looks = if run::is_measured() { LOOKS } else { 1 << 12 };
    let rounds = if run::is_measured() { ROUNDS } else { 1 };
    let resident = Resident::new();
    println!("{} MiB in memory, {} for each row", resident.map.len() >> 20, rounds);
    let drawn = choices::uniform(resident.page_count(), looks);
    let tables: [(&str, &dyn Fn()); 6] = [
        ("words", &|| words(&resident, &drawn, rounds)),
        ("dots", &|| dots(&resident, &drawn[..looks / 4], rounds)),
        ("chains", &|| chains(&resident, looks / 8, rounds)),
        ("pins", &|| pins(&resident, looks, rounds)),
        ("threads", &|| two_threads(&resident, looks, rounds)),
        ("touches", &|| {
            first_touches(&resident, FEW, rounds);
            first_touches(&resident, looks / 16, rounds);
        }),
    ];
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for (name, table) in tables {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            table();
        }
    }
    let stats = resident.file.pool().stats();
    assert_eq!(
        stats.misses,
        resident.page_count(),
        "a page left memory, so that misses were timed"
    );
}

/// The file in memory, once for each contestant.
struct Resident {
    path: PathBuf,
    map: Mmap,
    file: PoolFile,
}

impl Resident {
    fn new() -> Self {
        let path = run::files().join("warm.pages");
        let bytes = file_mib() << 20;
        write(&path, bytes);
        // Into the page cache as its readahead likes it: in large folios, which fault faster.
        let mut file = File::open(&path).expect("a file that was written");
        io::copy(&mut file, &mut io::sink()).expect("a sound file");
        let engine = Engine::start(EngineChoice::Auto).expect("some engine");
        let pages = bytes / PAGE.bytes() as u64;
        // Room for all pages and what is kept for them.
        let memory_bytes = Pool::minimum_bytes(PAGE, pages) + pages * Pool::frame_bytes(PAGE);
        let pool = Pool::new(&PoolOptions { memory_bytes, page_size: PAGE, ..Default::default() });
        let device = engine.open(&path, PAGE).expect("a sound file").device;
        let file = pool.expect("a budget that does").attach(device, None).expect("room for it");
        let map = mapping::random(&path);
        let resident = Self { path, map, file };
        resident.touch_all();
        resident
    }

    fn touch_all(&self) {
        let all: Vec<PageNo> = (0..self.page_count()).map(PageNo).collect();
        for batch in all.chunks(4096) {
            self.file.visit(batch, &mut |_, page| _ = black_box(word(page))).expect("a sound file");
        }
        all.iter().for_each(|&page| _ = black_box(word(mapping::slice(&self.map, page))));
    }

    fn page_count(&self) -> u64 {
        self.file.page_count()
    }

    fn reader(&self) -> Reader {
        self.file.pool().reader().expect("a seat")
    }
}

const HERE: &str = "a page in memory";

/// One word of a random page: what is left is the cost of getting at it.
fn words(resident: &Resident, drawn: &[PageNo], rounds: usize) {
    let (map, file) = (&resident.map, &resident.file);
    let [mut one, mut many] = [(); 2].map(|()| resident.reader());
    let (one, many) = (one.enter(), many.enter());
    let (one, many) = (one.pages(file), many.pages(file));
    let by_slice = || timed(|| sum(drawn.iter().map(|&page| word(mapping::slice(map, page)))));
    let mut contestants = [
        Contestant::new("mmap", by_slice),
        Contestant::new("mmap again", by_slice),
        Contestant::new("reader", || {
            timed(|| sum(drawn.iter().map(|&page| word(one.get(page).expect(HERE)))))
        }),
        Contestant::new("reader, 16 at a time", || {
            let mut found = [None; BATCH];
            let batches = drawn.as_chunks::<BATCH>().0;
            timed(|| {
                sum(batches.iter().map(|batch| {
                    many.get_many(batch, &mut found);
                    sum(found.iter().map(|page| word(page.expect(HERE))))
                }))
            })
        }),
        Contestant::new("guard", || {
            timed(|| sum(drawn.iter().map(|&page| word(&file.try_pin(page).expect(HERE)))))
        }),
        Contestant::new("visit, 16 at a time", || visited(file, drawn, &|page| word(page))),
    ];
    table("a word of a random page", drawn.len(), rounds, &mut contestants);
}

/// The inner product with the vector in a random page: the least that an index does with it.
fn dots(resident: &Resident, drawn: &[PageNo], rounds: usize) {
    let (map, file) = (&resident.map, &resident.file);
    let query: [f32; DIM] = std::array::from_fn(|i| i as f32 / DIM as f32);
    let mut reader = resident.reader();
    let stay = reader.enter();
    let pages = stay.pages(file);
    let mut contestants = [
        Contestant::new("mmap", || {
            timed(|| sum(drawn.iter().map(|&page| dot(&query, mapping::slice(map, page)))))
        }),
        Contestant::new("reader", || {
            timed(|| sum(drawn.iter().map(|&page| dot(&query, pages.get(page).expect(HERE)))))
        }),
        Contestant::new("reader, 16 at a time", || {
            let mut found = [None; BATCH];
            let batches = drawn.as_chunks::<BATCH>().0;
            timed(|| {
                sum(batches.iter().map(|batch| {
                    pages.get_many(batch, &mut found);
                    sum(found.iter().map(|page| dot(&query, page.expect(HERE))))
                }))
            })
        }),
        Contestant::new("visit, 16 at a time", || visited(file, drawn, &|page| dot(&query, page))),
    ];
    table("a dot product of 768 floats", drawn.len(), rounds, &mut contestants);
}

/// Each page says which comes next, so that nothing is fetched ahead.
fn chains(resident: &Resident, looks: usize, rounds: usize) {
    let (map, file) = (&resident.map, &resident.file);
    let mut reader = resident.reader();
    let stay = reader.enter();
    let pages = stay.pages(file);
    let count = resident.page_count();
    // The page's own random word decides, and the step, or else the walk would soon be a circle.
    let next = |bytes: &[u8], step: usize| PageNo(word(bytes).wrapping_add(step as u64) % count);
    let mut contestants = [
        Contestant::new("mmap", || {
            timed(|| {
                (0..looks).fold(PageNo(0), |page, step| next(mapping::slice(map, page), step)).0
            })
        }),
        Contestant::new("reader", || {
            timed(|| {
                let walk = |page, step| next(pages.get(page).expect(HERE), step);
                (0..looks).fold(PageNo(0), walk).0
            })
        }),
        Contestant::new("guard", || {
            timed(|| {
                let walk = |page, step| next(&file.try_pin(page).expect(HERE), step);
                (0..looks).fold(PageNo(0), walk).0
            })
        }),
    ];
    table("a walk, each page naming the next", looks, rounds, &mut contestants);
}

/// What it takes to pin a hot page and to let it go, beside two locked additions.
fn pins(resident: &Resident, looks: usize, rounds: usize) {
    let file = &resident.file;
    let counter = AtomicU64::new(0);
    let mut contestants = [
        Contestant::new("two atomic additions", || {
            timed(|| {
                for _ in 0..looks {
                    black_box(&counter).fetch_add(1, Ordering::Relaxed);
                    black_box(&counter).fetch_sub(1, Ordering::Relaxed);
                }
                0
            })
        }),
        Contestant::new("guard taken and dropped", || {
            timed(|| {
                for _ in 0..looks {
                    let guard = file.try_pin(black_box(PageNo(0))).expect(HERE);
                    black_box(guard.as_ptr());
                }
                0
            })
        }),
    ];
    table("pinning and unpinning a hot page", looks, rounds, &mut contestants);
}

/// Two threads on the same hot pages, beside one: each looks as often as the one does.
fn two_threads(resident: &Resident, looks: usize, rounds: usize) {
    let hot = choices::uniform(HOT_PAGES, 1 << 12);
    let (map, file) = (&resident.map, &resident.file);
    // Long enough for the scheduler to have given each thread a processor of its own.
    let looks = 32 * looks;
    let passes = looks / hot.len();
    let by_reader = || {
        let mut reader = resident.reader();
        let stay = reader.enter();
        let pages = stay.pages(file);
        for _ in 0..passes {
            black_box(sum(hot.iter().map(|&page| word(pages.get(page).expect(HERE)))));
        }
    };
    let by_slice = || {
        for _ in 0..passes {
            black_box(sum(hot.iter().map(|&page| word(mapping::slice(map, page)))));
        }
    };
    let by_guard = || {
        for _ in 0..passes {
            black_box(sum(hot.iter().map(|&page| word(&file.try_pin(page).expect(HERE)))));
        }
    };
    let mut contestants = [
        Contestant::new("reader, one thread", || threads(1, &by_reader)),
        Contestant::new("reader, two", || threads(2, &by_reader)),
        Contestant::new("mmap, one thread", || threads(1, &by_slice)),
        Contestant::new("mmap, two", || threads(2, &by_slice)),
        Contestant::new("guard, one thread", || threads(1, &by_guard)),
        Contestant::new("guard, two", || threads(2, &by_guard)),
    ];
    let title = "64 hot pages; two threads do twice the work, so that 1.00 is twice the speed";
    table(title, looks, rounds, &mut contestants);
}

/// The first look at pages that each side holds in memory: a mapping has to be told of each by a
/// fault, and is new for each turn.
fn first_touches(resident: &Resident, looks: usize, rounds: usize) {
    let mut order = choices::shuffled(resident.page_count());
    order.truncate(looks);
    let mut contestants = [
        Contestant::new("mmap", || {
            let map = mapping::random(&resident.path);
            timed(|| sum(order.iter().map(|&page| word(mapping::slice(&map, page)))))
        }),
        Contestant::new("reader", || {
            let mut reader = resident.reader();
            timed(|| {
                let stay = reader.enter();
                let pages = stay.pages(&resident.file);
                sum(order.iter().map(|&page| word(pages.get(page).expect(HERE))))
            })
        }),
    ];
    let title = format!("the first touch of {} pages in memory", order.len());
    table(&title, order.len(), rounds, &mut contestants);
}

/// Through the seam that every source has.
fn visited(file: &PoolFile, drawn: &[PageNo], look: &dyn Fn(&[u8]) -> u64) -> Duration {
    timed(|| {
        let mut sum = 0_u64;
        for batch in drawn.chunks(BATCH) {
            let mut each = |_: usize, page: &[u8]| sum = sum.wrapping_add(look(page));
            file.visit(batch, &mut each).expect("resident pages");
        }
        sum
    })
}

/// How long `count` threads take that begin together: from when the first begins until the last
/// has ended.
fn threads(count: usize, work: &(dyn Fn() + Sync)) -> Duration {
    let start = Barrier::new(count);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let run = || {
            start.wait();
            let begun = Instant::now();
            work();
            (begun, Instant::now())
        };
        let running: Vec<_> = (0..count).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let begun = spans.iter().map(|span| span.0).min().expect("a thread");
    spans.iter().map(|span| span.1).max().expect("a thread") - begun
}

fn timed(work: impl FnOnce() -> u64) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn sum(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0, u64::wrapping_add)
}

#[inline]
fn word(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
fn dot(query: &[f32; DIM], page: &[u8]) -> u64 {
    const LANES: usize = 16;
    let mut lanes = [0.0; LANES];
    let values = page.as_chunks::<4>().0.as_chunks::<LANES>().0;
    for (query, values) in query.as_chunks::<LANES>().0.iter().zip(values) {
        for lane in 0..LANES {
            lanes[lane] += query[lane] * f32::from_le_bytes(values[lane]);
        }
    }
    u64::from(lanes.iter().sum::<f32>().to_bits())
}

// The file.

fn file_mib() -> u64 {
    if !run::is_measured() {
        return SMALL_FILE_MIB;
    }
    let asked = std::env::var("RINGPOOL_BENCH_MIB").ok();
    asked.map_or_else(
        || FILE_MIB.min(available_mib() / 3),
        |mib| mib.parse().expect("RINGPOOL_BENCH_MIB: a number of MiB"),
    )
}

/// What the system says can be had without swapping.
fn available_mib() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.map_or(FILE_MIB, |kib| kib >> 10)
}

/// Random bytes, in pages that differ. Written if the file is not there as it should be.
fn write(path: &Path, bytes: u64) {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == bytes) {
        return;
    }
    let mut rng = SmallRng::seed_from_u64(bytes);
    let mut file = File::create(path).expect("a file in the target folder");
    let mut chunk = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        rng.fill_bytes(&mut chunk);
        file.write_all(&chunk).expect("room for it");
    }
    file.sync_all().expect("a disk that takes it");
}
