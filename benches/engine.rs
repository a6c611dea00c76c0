//! The engine against what one would write without it: preads in a row, preads on a pool of
//! threads, and a mapping, on uniformly random pages of a large file that are not in memory.
//!
//! Each page is asked for once before any is asked for again, in batches that are ascending, as a
//! mapping likes them; the page cache is dropped before each turn. The engine's reads and the
//! preads are direct, the mapping is told that reads are random, and `mmap willneed` announces each batch first. That
//! all of them read the same words, and that the disk was read, is asserted.
//!
//! Criterion times one row after the other. A disk that is shared drifts meanwhile, so the table
//! at the end comes from rounds of short turns, in which every row takes part that criterion was
//! asked for: IOPS, processor time a read, and IOPS relative to the engine's own in that round.
//!
//! ```sh
//! cargo bench --bench engine -- --quick 'batch of 64'
//! RINGPOOL_BENCH_FILE=/mnt/disk/random.bytes cargo bench --bench engine
//! ```

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use criterion::{SamplingMode, Throughput};
use ringpool::storage::PageNo;
use ringpool::uring::Engine;
use ringpool::{Advice, EngineChoice};

use setup::random_file::{PAGE, RandomFile};
use setup::readers::{self, Reader};
use setup::spent::Spent;
use setup::{choices, cold, run};

mod setup {
    #[allow(dead_code, reason = "all pages in random order, and no other choice")]
    pub mod choices;
    pub mod cold;
    pub mod random_file;
    pub mod readers;
    pub mod run;
    pub mod spent;
}

/// A lone read, a step of a search, and as much as anybody asks for at once.
const BATCHES: [usize; 3] = [1, 64, 4_096];
/// Threads that read through one engine, beside the one of the other rows,
const THREADS: [usize; 4] = [2, 4, 8, 32];
/// and what each asks for at once.
const BATCH_OF_A_THREAD: usize = 64;
/// Threads of the pool of preads: what it takes to keep a disk busy.
const PREAD_THREADS: usize = 32;
/// Reads that a thread offers to the engine at once, which has fewer in flight where that does.
const OFFERED: usize = 256;
/// Pages that every row reads once, to see that all read the same.
const COMPARED: usize = 4_096;
/// Of the bytes asked for, the share that must have come from the disk.
const FROM_DISK: f64 = 0.95;

/// Rounds of the table, after one that does not count, and how long a turn in one is at least.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(200);
/// What is timed in one piece of a turn: so many pages, and so many batches of each thread.
const STRETCH_PAGES: usize = 4_096;
const STRETCH_BATCHES: usize = 8;

/// The row that the others are set beside.
const ENGINE: &str = "engine";

/// One way to read.
struct Row<'a> {
    name: String,
    batch: usize,
    threads: usize,
    open: Box<dyn Fn() -> Reader + 'a>,
    /// Whether criterion was asked for it.
    wanted: bool,
}

fn rows(file: &RandomFile) -> Vec<Row<'_>> {
    let path = &*file.path;
    let mut rows = Vec::new();
    for batch in BATCHES {
        let mut add = |name: &str, threads, open| {
            rows.push(Row { name: name.into(), batch, threads, open, wanted: false });
        };
        add(ENGINE, 1, engine(path, batch, EngineChoice::Auto));
        add("engine, its preads", 1, engine(path, batch, EngineChoice::Blocking));
        add("pread", 1, Box::new(|| readers::pread(path)));
        let name = format!("pread, pool of {PREAD_THREADS}");
        add(&name, 1, Box::new(|| readers::pread_threads(path, PREAD_THREADS)));
        add("mmap random", 1, Box::new(|| readers::mmap(path, Advice::Random)));
        // A mapping gives no advice for one page: it is the other one.
        if batch > 1 {
            add("mmap willneed", 1, Box::new(|| readers::mmap(path, Advice::WillNeed)));
        }
        if batch == BATCH_OF_A_THREAD {
            for threads in THREADS {
                let open = engine(path, batch, EngineChoice::Auto);
                add(&format!("{ENGINE}, {threads} threads"), threads, open);
            }
        }
    }
    rows
}

/// Readers of one engine, which stays, with what it has learnt of the disk.
fn engine(path: &Path, batch: usize, choice: EngineChoice) -> Box<dyn Fn() -> Reader> {
    let engine = Engine::start(choice).expect("some engine");
    let device = engine.open(path, PAGE).expect("a file of whole pages").device;
    Box::new(move || readers::engine(&device, batch.min(OFFERED) as u32))
}

/// A row at work.
struct Track<'a> {
    row: &'a Row<'a>,
    file: &'a RandomFile,
    order: &'a [PageNo],
    at: usize,
    readers: Vec<Reader>,
    /// Pages read so far, to be compared with what came from the disk meanwhile.
    read_pages: usize,
}

impl<'a> Track<'a> {
    fn new(row: &'a Row<'a>, file: &'a RandomFile, order: &'a [PageNo]) -> Self {
        Self { row, file, order, at: 0, readers: Vec::new(), read_pages: 0 }
    }

    /// Opens the file, of which nothing is in memory then.
    fn begin(&mut self) {
        // Unmapped first: mapped pages stay.
        self.readers.clear();
        cold::evict(&self.file.path);
        self.readers = (0..self.row.threads).map(|_| (self.row.open)()).collect();
    }

    /// Pages that are read when each thread reads one batch.
    fn step(&self) -> usize {
        self.row.batch * self.row.threads
    }

    /// Reads `batches` batches on each thread. What is between the stretches is not timed.
    fn read(&mut self, mut batches: usize) -> Spent {
        let mut spent = Spent::default();
        while batches > 0 {
            let left = (self.order.len() - self.at) / self.step();
            if left == 0 {
                self.at = 0;
                self.begin();
                continue;
            }
            let now = batches.min(left);
            let mut stretch = self.order[self.at..][..now * self.step()].to_vec();
            stretch.chunks_mut(self.row.batch).for_each(<[PageNo]>::sort_unstable);
            spent += self.stretch(&stretch);
            self.at += stretch.len();
            self.read_pages += stretch.len();
            batches -= now;
        }
        spent
    }

    fn stretch(&mut self, pages: &[PageNo]) -> Spent {
        let batch = self.row.batch;
        let read = |reader: &mut Reader, pages: &[PageNo]| {
            pages.chunks(batch).for_each(|batch| {
                black_box(reader(batch));
            });
        };
        if let [reader] = &mut self.readers[..] {
            return Spent::on(|| read(reader, pages));
        }
        let (ready, share) = (Barrier::new(self.readers.len() + 1), pages.len() / self.row.threads);
        thread::scope(|scope| {
            let start = |(reader, pages)| {
                let ready = &ready;
                scope.spawn(move || {
                    ready.wait();
                    read(reader, pages);
                })
            };
            let threads = self.readers.iter_mut().zip(pages.chunks(share)).map(start);
            let threads: Vec<_> = threads.collect();
            Spent::on(|| {
                ready.wait();
                threads.into_iter().for_each(|thread| thread.join().expect("no reader panics"));
            })
        })
    }

    /// The sum of the first words of the pages that all rows read.
    fn sum(&mut self) -> u64 {
        self.begin();
        let pages = &self.order[..COMPARED];
        (self.at, self.read_pages) = (COMPARED, COMPARED);
        let sums = pages.chunks(self.row.batch).map(|batch| self.readers[0](batch));
        sums.fold(0, u64::wrapping_add)
    }
}

/// Runs `work` on a track of `row` and asserts that what it read came from the disk.
fn from_disk<T>(track: &mut Track<'_>, work: impl FnOnce(&mut Track<'_>) -> T) -> T {
    let (disk_reads, before) = (cold::DiskReads::start(), track.read_pages);
    let result = work(track);
    if let (Some(read_bytes), true) = (disk_reads.bytes(), run::is_measured()) {
        let asked_bytes = (track.read_pages - before) * PAGE.bytes();
        assert!(
            read_bytes as f64 >= asked_bytes as f64 * FROM_DISK,
            "{}: of {asked_bytes} bytes only {read_bytes} came from the disk: the page cache was \
             warm; set RINGPOOL_BENCH_FILE to a file on a disk",
            track.row.name
        );
    }
    result
}

// Criterion.

fn one_after_the_other(rows: &mut [Row<'_>], file: &RandomFile, order: &[PageNo]) {
    let mut criterion = run::criterion(10, Duration::from_secs(1)).configure_from_args();
    let mut expected = None;
    for rows in rows.chunk_by_mut(|a, b| a.batch == b.batch) {
        let mut group = criterion.benchmark_group(format!("engine/batch of {}", rows[0].batch));
        // The slowest take a third of a second for the largest batch.
        group.sampling_mode(SamplingMode::Flat);
        for row in rows {
            let mut wanted = false;
            let mut track = Track::new(row, file, order);
            group.throughput(Throughput::Elements(track.step() as u64));
            group.bench_function(&*row.name, |b| {
                if !wanted {
                    wanted = true;
                    let sum = track.sum();
                    assert_eq!(*expected.get_or_insert(sum), sum, "{} reads otherwise", row.name);
                }
                let read = |track: &mut Track<'_>, batches| track.read(batches as usize).elapsed;
                b.iter_custom(|batches| from_disk(&mut track, |track| read(track, batches)));
            });
            row.wanted = wanted;
        }
        group.finish();
    }
    criterion.final_summary();
}

// The table.

/// What a turn came to.
#[derive(Clone, Copy)]
struct Turn {
    iops: f64,
    cpu_us_per_read: f64,
}

impl Turn {
    fn of(track: &mut Track<'_>, shortest: Duration) -> Self {
        track.begin();
        track.read(1);
        let at_least = if track.row.threads > 1 { STRETCH_BATCHES } else { 1 };
        let batches = (STRETCH_PAGES / track.step()).max(at_least);
        let before = track.read_pages;
        let mut spent = track.read(batches);
        while spent.elapsed < shortest {
            spent += track.read(batches);
        }
        let pages = (track.read_pages - before) as f64;
        track.readers.clear(); // What is mapped could not be dropped from the page cache.
        Self {
            iops: pages / spent.elapsed.as_secs_f64(),
            cpu_us_per_read: spent.cpu.as_secs_f64() * 1e6 / pages,
        }
    }
}

fn in_rounds(rows: &[Row<'_>], file: &RandomFile, order: &[PageNo]) {
    let (rounds, shortest) = if run::is_measured() { (ROUNDS, TURN) } else { (1, Duration::ZERO) };
    let tracks = rows.iter().filter(|row| row.wanted).map(|row| Track::new(row, file, order));
    let mut tracks: Vec<Track<'_>> = tracks.collect();
    let mut turns = vec![Vec::new(); tracks.len()];
    for round in 0..=rounds {
        for i in 0..tracks.len() {
            let i = (i + round) % tracks.len(); // Nobody always comes after the same one.
            let turn = from_disk(&mut tracks[i], |track| Turn::of(track, shortest));
            if round > 0 {
                turns[i].push(turn);
            }
        }
    }
    println!("\n{rounds} rounds, each row in turn: median (lowest to highest)\n");
    println!(
        "{:<22}{:>6} {:>26} {:>26} {:>21}",
        "", "batch", "IOPS", "CPU us a read", "IOPS, engine's = 1"
    );
    for (track, of_it) in tracks.iter().zip(&turns) {
        let row = track.row;
        let is_engine =
            |track: &Track<'_>| track.row.name == ENGINE && track.row.batch == row.batch;
        let engine = tracks.iter().position(is_engine).map(|i| &turns[i]);
        let relative = engine.map(|engine| {
            spread(of_it.iter().zip(engine).map(|(turn, engine)| turn.iops / engine.iops), 2)
        });
        println!(
            "{:<22}{:>6} {:>26} {:>26} {:>21}",
            row.name,
            row.batch,
            spread(of_it.iter().map(|turn| turn.iops), 0),
            spread(of_it.iter().map(|turn| turn.cpu_us_per_read), 2),
            relative.unwrap_or_default(),
        );
    }
}

/// Median, lowest and highest, to so many places.
fn spread(values: impl Iterator<Item = f64>, places: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let (Some(lowest), Some(highest)) = (values.first(), values.last()) else {
        return String::new();
    };
    let median = values[values.len() / 2];
    format!("{median:.places$} ({lowest:.places$} to {highest:.places$})")
}

fn main() {
    let file = RandomFile::ready();
    let order = choices::shuffled(file.page_count);
    assert!(order.len() >= COMPARED, "the file has fewer than {COMPARED} pages: set a larger one");
    let mut rows = rows(&file);
    one_after_the_other(&mut rows, &file, &order);
    if rows.iter().any(|row| row.wanted) {
        in_rounds(&rows, &file, &order);
    }
}
