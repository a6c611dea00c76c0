//! Hits of one thread while another misses all the time: what do its slowest ones cost?
//!
//! A thread looks at hot pages, sixteen to a stay, or pins them, and each such step is timed.
//! Beside it, in turns: nobody; fio, another process that loads the disk as fast as it can; and a
//! thread that reads random pages of the same file through the same pool, so that each of its
//! pages evicts another. What the pool is answerable for is what the last costs more than fio:
//! the disk's interrupts, and a processor that two share, hit everybody alike.
//!
//! ```sh
//! cargo bench --bench beside
//! ```

use std::hint::black_box;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::EngineChoice;
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool::storage::{PageNo, PageSource};
use ringpool::uring::Engine;

use setup::random_file::{PAGE, RandomFile};
use setup::spread::Spread;
use setup::{choices, run};

mod setup {
    pub mod choices;
    pub mod random_file;
    pub mod run;
    pub mod spread;
}

const ROUNDS: usize = 5;
/// How long a load is at work before it counts, and then how long it counts.
const WARM_UP: Duration = Duration::from_millis(700);
const MEASURED: Duration = Duration::from_secs(2);

/// The pages that are hit, and what the pool holds of the file beside them.
const HOT_PAGES: u64 = 4_096;
const OTHER_PAGES: u64 = 12_288;
/// Pages that are looked at in a step.
const STEP: usize = 16;
/// Reads that the missing thread asks for at once.
const MISSES: usize = 256;

/// Times of steps are kept to three digits, up to this.
const LONGEST_NS: u64 = 10_000_000_000;

fn main() {
    let file = RandomFile::ready();
    let engine = Engine::start(EngineChoice::Auto).expect("some engine");
    let device = engine.open(&file.path, PAGE).expect("a sound file").device;
    let memory_bytes = (HOT_PAGES + OTHER_PAGES) * Pool::frame_bytes(PAGE)
        + Pool::minimum_bytes(PAGE, file.page_count);
    let pool = Pool::new(&PoolOptions { memory_bytes, page_size: PAGE, ..Default::default() });
    let pages = Arc::new(pool.expect("a budget").attach(device, None).expect("room"));

    let rounds = if run::is_measured() { ROUNDS } else { 1 };
    let mut steps: Vec<(&str, &Step)> = vec![("reader", &by_reader)];
    steps.push(("guards", &by_guards));
    for (name, step) in steps {
        let mut times: [Vec<Histogram<u64>>; 3] = Default::default();
        for _ in 0..rounds {
            for (load, times) in [Load::None, Load::Fio, Load::Misses].iter().zip(&mut times) {
                times.extend(load.beside(&file.path, &pages, step));
            }
        }
        show(name, &times);
    }
}

/// What is at work beside the hits.
enum Load {
    None,
    Fio,
    Misses,
}

impl Load {
    /// Times steps beside this load; `None` where there is no fio.
    fn beside(&self, path: &Path, pages: &Arc<PoolFile>, step: &Step) -> Option<Histogram<u64>> {
        let beside = match self {
            Self::None => Beside::Nothing,
            Self::Fio => Beside::Process(fio(path)?),
            Self::Misses => Beside::thread(pages.clone()),
        };
        step(pages, WARM_UP.min(measured()));
        let times = step(pages, measured());
        drop(beside);
        Some(times)
    }
}

/// A load that is at work until it is dropped.
enum Beside {
    Nothing,
    Process(Child),
    Thread(Arc<AtomicBool>, Option<JoinHandle<()>>),
}

impl Beside {
    /// Misses as fast as the disk goes.
    fn thread(pages: Arc<PoolFile>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = ended.clone();
        let mut rng = SmallRng::seed_from_u64(7);
        let work = move || {
            // Relaxed: a flag, and nothing else is handed over by it.
            while !seen.load(Ordering::Relaxed) {
                let cold = hot_pages(&pages)..pages.page_count();
                let batch = [(); MISSES].map(|()| PageNo(rng.random_range(cold.clone())));
                let look = &mut |_: usize, page: &[u8]| _ = black_box(page[0]);
                pages.visit(&batch, look).expect("a sound file");
            }
        };
        Self::Thread(ended, Some(thread::spawn(work)))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        match self {
            Self::Nothing => {}
            Self::Process(child) => {
                child.kill().expect("a child of ours");
                child.wait().expect("a child of ours");
            }
            Self::Thread(ended, thread) => {
                ended.store(true, Ordering::Relaxed);
                thread.take().expect("dropped once").join().expect("no panic");
            }
        }
    }
}

fn fio(path: &Path) -> Option<Child> {
    let started = Command::new("fio")
        .args(["--name=beside", "--readonly", "--direct=1", "--rw=randread", "--bs=4k"])
        .args(["--ioengine=io_uring", "--iodepth=128", "--time_based", "--runtime=60"])
        .arg(format!("--filename={}", path.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    started.inspect_err(|why| eprintln!("without fio: {why}")).ok()
}

fn hot_pages(file: &PoolFile) -> u64 {
    HOT_PAGES.min(file.page_count() / 4)
}

/// Times steps for so long.
type Step = dyn Fn(&PoolFile, Duration) -> Histogram<u64>;

fn by_reader(file: &PoolFile, lasting: Duration) -> Histogram<u64> {
    let mut reader = file.pool().reader().expect("a seat");
    timed(file, lasting, &mut |batch| {
        let stay = reader.enter();
        let pages = stay.pages(file);
        let word = |&page: &PageNo| pages.get(page).map_or(0, |bytes| u64::from(bytes[0]));
        batch.iter().map(word).sum()
    })
}

fn by_guards(file: &PoolFile, lasting: Duration) -> Histogram<u64> {
    timed(file, lasting, &mut |batch| {
        let word = |&page: &PageNo| file.try_pin(page).map_or(0, |bytes| u64::from(bytes[0]));
        batch.iter().map(word).sum()
    })
}

fn timed(
    file: &PoolFile,
    lasting: Duration,
    step: &mut dyn FnMut(&[PageNo]) -> u64,
) -> Histogram<u64> {
    let drawn = choices::uniform(hot_pages(file), 1 << 14);
    file.visit(&drawn, &mut |_, _| {}).expect("a sound file");
    let before = file.pool().stats().hits;
    let mut times_ns = Histogram::new_with_max(LONGEST_NS, 3).expect("three digits");
    let begun = Instant::now();
    let mut at = begun;
    let mut asked = 0;
    for batch in drawn.chunks(STEP).cycle() {
        black_box(step(batch));
        let now = Instant::now();
        times_ns.saturating_record((now - at).as_nanos() as u64);
        asked += batch.len() as u64;
        at = now;
        if now - begun > lasting {
            break;
        }
    }
    let hit = file.pool().stats().hits - before;
    assert!(hit >= asked / 1000 * 999, "of {asked} hot pages only {hit} were in memory");
    times_ns
}

fn measured() -> Duration {
    if run::is_measured() { MEASURED } else { MEASURED / 100 }
}

fn show(name: &str, times: &[Vec<Histogram<u64>>; 3]) {
    println!(
        "\nsteps of {STEP} hot pages, by {name}: median (lowest-highest) of {} rounds",
        times[0].len()
    );
    println!("{:<22} {:>24} {:>24} {:>24}", "beside", "p50, ns", "p99, ns", "p99.9, ns");
    for (load, times) in ["nothing", "fio", "misses in the pool"].iter().zip(times) {
        if times.is_empty() {
            println!("{load:<22} (not installed)");
            continue;
        }
        let cells = [50.0, 99.0, 99.9].map(|percentile| {
            let of = |times: &Histogram<u64>| times.value_at_percentile(percentile) as f64;
            let spread = Spread::of(times.iter().map(of).collect());
            format!("{:.0} ({:.0}-{:.0})", spread.median, spread.least, spread.most)
        });
        println!("{load:<22} {:>24} {:>24} {:>24}", cells[0], cells[1], cells[2]);
    }
    if times[1].len() == times[2].len() {
        let worst = |times: &Histogram<u64>| times.value_at_percentile(99.9) as f64;
        let ratios = times[2].iter().zip(&times[1]).map(|(ours, fio)| worst(ours) / worst(fio));
        let spread = Spread::of(ratios.collect());
        let Spread { median, least, most } = spread;
        println!("p99.9 beside misses, relative to beside fio: {median:.2} ({least:.2}-{most:.2})");
    }
}
