//! `ringpool compare`: the same queries through each backend, cold and warm, under the same
//! memory.

mod text;

use std::path::PathBuf;

use clap::Args;
use ringpool::{Backend, Memory};

use crate::console::Console;
use crate::contest::{self, Contest, Contestant, Mapping};
use crate::failure::Failure;
use crate::options::{QueryOptions, Switch};
use crate::search::MAX_THREADS;
use crate::{outcome, report};

pub use text::{
    HEADER, YARDSTICK, cells, memory_of, place, same_memory, subject, text, threads_of, verdict,
};

/// Run the same queries through each backend, cold and warm, under the same memory
#[derive(Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub(crate) query: QueryOptions,

    /// Several memories instead of one, as 50%,25%,10%: everything is run in each, under a limit of
    /// its own
    #[arg(long, value_delimiter = ',', value_name = "LIST", conflicts_with = "memory")]
    memories: Vec<Memory>,

    /// Who takes part; memory holds everything and runs without a limit, as the yardstick
    #[arg(long, default_value = "pool,mmap,memory", value_delimiter = ',', value_name = "LIST")]
    backends: Vec<Backend>,

    /// What the kernel is told about a mapping: willneed (the best), random, normal, or populate (all
    /// of it read before the clock starts; warm only); a mapping takes part once for each
    #[arg(long, default_value = "willneed", value_delimiter = ',', value_name = "LIST")]
    mmap_advice: Vec<Mapping>,

    /// Numbers of threads that search side by side
    #[arg(long, default_value = "1,2,8", value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Vec<u16>,

    /// How often everything is run, interleaved; medians are quoted
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_REPEATS))]
    repeats: u16,

    /// Whether the pool runs twice in each round: what it differs by from itself is noise, and
    /// ratios within it are marked [default: on with more than one repeat]
    #[arg(long, value_enum, value_name = "WHETHER")]
    aa: Option<Switch>,

    /// Run each contestant once more, cold, for so long, and note its queries in each second; with
    /// the most threads and the smallest memory
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=MAX_SERIES_SECONDS))]
    series: Option<u32>,

    /// Whether the disk under the vectors is measured first, at each queue depth
    #[arg(long, value_enum, default_value = "on", value_name = "WHETHER")]
    probe: Switch,

    /// Also write a page with plots (.html)
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Also write every run as a row (.csv)
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

/// More repeats than this are a slip of the hand.
const MAX_REPEATS: i64 = 1000;

/// And so is a series that lasts longer than an hour.
const MAX_SERIES_SECONDS: i64 = 3600;

/// Runs the command.
pub fn execute(args: &CompareArgs, console: &Console) -> Result<(), Failure> {
    args.query.check()?;
    args.query.dir()?;
    let mut outcome = args.contest().hold(console)?;
    let own: Vec<_> = std::env::args_os().skip(1).collect();
    outcome.command = Some(contest::line(&own));
    let mut written = Vec::new();
    if let Some(path) = &args.report {
        report::write(path, "Pool, mmap and memory, side by side", &outcome)?;
        written.push(format!("\nreport: {}", path.display()));
    }
    if let Some(path) = &args.csv {
        outcome::write_csv(path, &outcome)?;
        written.push(format!("\nruns: {}", path.display()));
    }
    console.show(&outcome, |outcome| text(outcome) + &written.concat())
}

impl CompareArgs {
    fn contest(&self) -> Contest {
        let mut threads = self.threads.clone();
        threads.dedup();
        let memories = match &self.memories[..] {
            [] => vec![self.query.memory],
            memories => memories.iter().copied().map(Some).collect(),
        };
        let repeated = if self.repeats > 1 { Switch::On } else { Switch::Off };
        Contest {
            query: self.query.clone(),
            contestants: Contestant::all(&self.backends, &self.mmap_advice),
            memories,
            threads,
            repeats: self.repeats,
            again: self.aa.unwrap_or(repeated) == Switch::On,
            series_seconds: self.series,
            probes: self.probe == Switch::On,
        }
    }
}
