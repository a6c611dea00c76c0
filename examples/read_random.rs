//! Reads random pages of a file as fast as it can, and prints what that took as one line of JSON.
//!
//! Threads draw pages, each as likely as any other, and read them in batches: through the engine
//! alone, or through a buffer pool. They are at work before the measurement begins and still when
//! it ends, so that neither the start nor the last batch is in the rates. A batch that begins
//! within the measurement is timed to its end. `benches/against_fio.py` sets all this beside fio.
//!
//! ```sh
//! cargo run --release --example read_random -- --path FILE --in-flight 64 --seconds 5
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{ArgAction, Parser};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool::storage::{self, PageDevice, PageNo, PageSize, PageSource, ReadBuffer};
use ringpool::uring::{Counters, Engine, EngineOptions, Latencies, OpenedFile};
use ringpool::{EngineChoice, Memory};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Reads random pages of a file as fast as it can, and prints what that took as one line of JSON.
#[derive(Parser)]
struct Options {
    /// A file of whole pages. It is only read.
    #[arg(long)]
    path: PathBuf,
    /// auto, uring or blocking.
    #[arg(long, default_value = "auto")]
    engine: EngineChoice,
    /// Bytes of a page: a power of two from 4096 to 65536.
    #[arg(long, default_value_t = 4096)]
    page_bytes: u64,
    /// Threads that read.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Reads that each thread offers at once. Through a pool, all of its batch.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    in_flight: u32,
    /// The engine's ceiling over all threads, if not its own.
    #[arg(long)]
    max_in_flight: Option<u32>,
    /// Whether the engine looks for the disk's knee below that ceiling.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    adapts: bool,
    /// Whether the memory that is read into is registered with the ring.
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    register: bool,
    /// Await the pages, which the engine's own thread then reads, instead of waiting for them.
    #[arg(long, conflicts_with = "pool")]
    futures: bool,
    /// Read through a buffer pool of so many bytes, as 64MiB, or of a share of the file, as 10%.
    #[arg(long)]
    pool: Option<Memory>,
    /// Pages that are asked for in one call.
    #[arg(long, default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    batch: u32,
    /// How long to measure.
    #[arg(long, default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// How long to read before that.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    warm_up: Duration,
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds: f64 = word.parse().map_err(|_| "give seconds, as 2 or 0.5".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let mut wanted = EngineOptions::from(options.engine);
    (wanted.adapts, wanted.registers) = (options.adapts, options.register);
    wanted.max_in_flight = options.max_in_flight.unwrap_or(wanted.max_in_flight);
    let engine = Engine::start(wanted)?;
    let page_size = PageSize::new(options.page_bytes)?;
    let opened = engine.open(&options.path, page_size)?;
    if opened.device.page_count() == 0 {
        return Err(format!("{}: an empty file: give one of pages", options.path.display()).into());
    }
    let pool = match options.pool {
        Some(budget) => Some(pooled(&opened.device, budget)?),
        None => None,
    };
    let phase = AtomicU8::new(WARMING);
    let (from, to, threads) = thread::scope(|scope| {
        let spawn = |thread| {
            let read = reader(&options, &*opened.device, pool.as_ref());
            let (page_count, batch, phase) = (opened.device.page_count(), options.batch, &phase);
            let mut rng = SmallRng::seed_from_u64(u64::from(thread));
            let draw = move || PageNo(rng.random_range(0..page_count));
            scope.spawn(move || read_on(read, draw, batch, phase))
        };
        let readers: Vec<_> = (0..options.threads).map(spawn).collect();
        thread::sleep(options.warm_up);
        let from = Reading::of(&engine);
        phase.store(MEASURING, Ordering::Relaxed); // Relaxed: nothing else hangs on it.
        thread::sleep(options.seconds);
        let to = Reading::of(&engine);
        phase.store(OVER, Ordering::Relaxed);
        let ended = readers.into_iter().map(|reader| reader.join().expect("no thread panics"));
        (from, to, ended.collect::<storage::Result<Vec<_>>>())
    });
    println!("{}", report(&options, &wanted, &opened, &from, &to, threads?));
    Ok(())
}

fn pooled(device: &Arc<dyn PageDevice>, budget: Memory) -> Result<PoolFile, Box<dyn Error>> {
    let page_size = device.page_size();
    let memory_bytes = budget.resolve(device.page_count() * page_size.bytes() as u64);
    let pool = Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?;
    Ok(pool.attach(device.clone(), None)?)
}

// Reading.

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// Reads one batch.
type Reader<'a> = Box<dyn FnMut(&[PageNo]) -> storage::Result<()> + Send + 'a>;

fn reader<'a>(
    options: &Options,
    device: &'a dyn PageDevice,
    pool: Option<&'a PoolFile>,
) -> Reader<'a> {
    if let Some(file) = pool {
        return Box::new(|pages| file.visit(pages, &mut |_, _| {}));
    }
    let mut buffer = ReadBuffer::new(options.in_flight, device.page_size());
    if options.register {
        buffer.register(device); // What was refused shows in `registered_bytes`.
    }
    if options.futures {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        return Box::new(move |pages| {
            runtime.block_on(buffer.visit_async(device, pages, |_, _| {}))
        });
    }
    Box::new(move |pages| buffer.visit(device, pages, |_, _| {}))
}

/// Reads batch after batch until the measurement is over. Returns how long each took, in
/// microseconds, of those that began within it.
fn read_on(
    mut read: Reader<'_>,
    mut draw: impl FnMut() -> PageNo,
    batch: u32,
    phase: &AtomicU8,
) -> storage::Result<Vec<f64>> {
    let mut pages = vec![PageNo(0); batch as usize];
    let mut batches_us = Vec::new();
    loop {
        let at_begin = phase.load(Ordering::Relaxed);
        if at_begin == OVER {
            return Ok(batches_us);
        }
        pages.fill_with(&mut draw);
        let begun = Instant::now();
        read(&pages)?;
        if at_begin == MEASURING {
            batches_us.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
}

// Reporting.

/// Everything that is counted, at one moment.
struct Reading {
    at: Instant,
    cpu: Duration,
    counters: Counters,
    latencies: Option<Latencies>,
}

impl Reading {
    fn of(engine: &Engine) -> Self {
        // User and system time of all threads of this process.
        let clock = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(clock.tv_sec as u64, clock.tv_nsec as u32);
        let (counters, latencies) = (engine.counters(), engine.latencies());
        Self { at: Instant::now(), cpu, counters, latencies }
    }
}

fn report(
    options: &Options,
    wanted: &EngineOptions,
    opened: &OpenedFile,
    from: &Reading,
    to: &Reading,
    threads: Vec<Vec<f64>>,
) -> Value {
    let reads = to.counters.reads - from.counters.reads;
    let enters = to.counters.enters - from.counters.enters;
    let elapsed = to.at - from.at;
    let batches_a_thread = threads.iter().map(Vec::len);
    let (fewest, most) = (batches_a_thread.clone().min(), batches_a_thread.max());
    let mut batches_us = threads.concat();
    batches_us.sort_unstable_by(f64::total_cmp);
    json!({
        "rung": opened.rung.as_str(),
        "reason": opened.reason,
        "threads": options.threads,
        "batch": options.batch,
        "offered": options.in_flight,
        "max_in_flight": wanted.max_in_flight,
        "adapts": wanted.adapts,
        "depth": to.counters.depth,
        "rings": to.counters.rings,
        "registered_bytes": to.counters.registered_bytes,
        "reads": reads,
        "iops": rounded(reads as f64 / elapsed.as_secs_f64()),
        "cpu_us_per_read": rounded((to.cpu - from.cpu).as_secs_f64() * 1e6 / reads as f64),
        "reads_per_syscall": (enters > 0).then(|| rounded(reads as f64 / enters as f64)),
        "latency_us": latency_us(from, to),
        "batches": batches_us.len(),
        "batch_p50_us": batches_us.get(batches_us.len() / 2).map(|us| rounded(*us)),
        "batch_max_us": batches_us.last().map(|us| rounded(*us)),
        "batches_of_a_thread": [fewest, most],
    })
}

/// Of single reads; null of the blocking engine, which keeps none.
fn latency_us(from: &Reading, to: &Reading) -> Value {
    let (Some(from), Some(to)) = (&from.latencies, &to.latencies) else { return Value::Null };
    let latencies = to.since(from);
    if latencies.reads() == 0 {
        return Value::Null;
    }
    json!({
        "mean": rounded(latencies.mean_us()),
        "p50": rounded(latencies.quantile_us(0.5)),
        "p99": rounded(latencies.quantile_us(0.99)),
        "max": rounded(latencies.max_us()),
    })
}

/// To hundredths: the rest is noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
