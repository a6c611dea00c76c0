//! What FUSE itself costs: random direct reads a second of one file at depth 1 and 64, on the disk
//! that it lies on, through a slow disk without delay, and with the delay. So a figure that is the
//! filesystem's limit is not taken for the contestant's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::EngineChoice;
use ringpool::storage::{PageNo, PageSize, ReadBuffer};
use ringpool::uring::Engine;
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;
use serde::{Deserialize, Serialize};

use super::{Behaviour, Pace, SlowDisk, leave_the_mounts};

const PAGE: PageSize = PageSize::KIB_4;
/// Reads in flight.
const DEPTHS: [u32; 2] = [1, 64];
/// How long each is measured.
const LASTS: Duration = Duration::from_millis(500);
/// Reads of a batch, for each that is in flight: the end of a batch, where fewer are in flight, is
/// a small part of it.
const BATCH_PER_DEPTH: u32 = 16;

/// Measure what FUSE costs: reads a second with and without it
#[derive(Args)]
pub struct ProbeArgs {
    /// The folder whose largest file is read
    #[arg(long, value_name = "DIR")]
    source: PathBuf,

    #[command(flatten)]
    pace: Pace,
}

/// Reads a second at each of the depths.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Rates {
    pub depth_1: f64,
    pub depth_64: f64,
}

/// The same file in three ways.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speeds {
    /// On the disk that it lies on.
    pub plain: Rates,
    /// Through FUSE without delay: the most that there is.
    pub fuse: Rates,
    /// With the delay.
    pub slow: Rates,
    /// Which.
    pub latency_us: u64,
}

/// Runs the command.
pub fn execute(args: &ProbeArgs, console: &Console) -> Result<(), Failure> {
    // Refused, the mounts are everybody's and are taken away all the same.
    let _ = leave_the_mounts();
    console.show(&speeds(&args.source, &args.pace)?, Speeds::to_string)
}

/// Measures the largest file in `source`.
pub fn speeds(source: &Path, pace: &Pace) -> Result<Speeds, Failure> {
    let name = largest_file(source)?;
    let through = |latency_us| {
        let disk =
            SlowDisk::mount(source, &Behaviour::sound(&Pace { latency_us, ..pace.clone() }))?;
        rates(&disk.at().join(&name))
    };
    Ok(Speeds {
        plain: rates(&source.join(&name))?,
        fuse: through(0)?,
        slow: through(pace.latency_us)?,
        latency_us: pace.latency_us,
    })
}

fn largest_file(folder: &Path) -> Result<PathBuf, Failure> {
    let refused = |error: std::io::Error| Failure::at(folder, "look for its largest file", &error);
    let entries = std::fs::read_dir(folder).map_err(refused)?;
    let sized = entries.flatten().filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((metadata.len(), entry.file_name()))
    });
    let largest = sized.max().filter(|(length, _)| *length >= PAGE.bytes() as u64);
    let (_, name) = largest.ok_or_else(|| {
        Failure::new(format!("{}: has no file of a page or more to read", folder.display()))
    })?;
    Ok(name.into())
}

fn rates(path: &Path) -> Result<Rates, Failure> {
    let [depth_1, depth_64] = DEPTHS.map(|depth| reads_per_second(path, depth));
    Ok(Rates { depth_1: depth_1?, depth_64: depth_64? })
}

fn reads_per_second(path: &Path, depth: u32) -> Result<f64, Failure> {
    let refused = |error: &dyn std::error::Error| Failure::of(error);
    let engine = Engine::start(EngineChoice::Auto).map_err(|error| refused(&error))?;
    let device = engine.open(path, PAGE).map_err(|error| refused(&error))?.device;
    let mut buffer = ReadBuffer::new(depth, PAGE);
    let mut chance = SmallRng::seed_from_u64(depth.into());
    let count = device.page_count();
    let (mut reads, started) = (0_u64, Instant::now());
    while started.elapsed() < LASTS {
        let pages = (0..depth * BATCH_PER_DEPTH).map(|_| PageNo(chance.random_range(0..count)));
        let pages: Vec<PageNo> = pages.collect();
        buffer.visit(&*device, &pages, |_, _| {}).map_err(|error| refused(&error))?;
        reads += pages.len() as u64;
    }
    Ok(reads as f64 / started.elapsed().as_secs_f64())
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = table::figure;
        write!(f, "{} and {}", figure(self.depth_1), figure(self.depth_64))
    }
}

/// One line.
impl fmt::Display for Speeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plain, fuse, slow, latency_us } = self;
        write!(
            f,
            "direct reads of 4 KiB a second at depth 1 and 64: {plain} on the disk below, {fuse} \
             through FUSE without delay, {slow} with {latency_us} us"
        )
    }
}
