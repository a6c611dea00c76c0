//! A slow disk: the same searches where every read takes a millisecond, as on a network disk, with
//! 40 originals read a query.
//!
//! A mapping waits for one page after the other, so that a query takes as many latencies as it reads
//! pages; what is read side by side takes few. More threads help a mapping as well, which is why they
//! are shown.

use clap::Args;
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;

use crate::Common;
use crate::contestants::Contestant;
use crate::outcome::Fact;
use crate::search::{DataArgs, DataSet, MEASURES, Paged, Task, limit_bytes};
use crate::slow_disk::{Behaviour, ByHand, Disks, Pace, Speeds, speeds};
use crate::study::Plan;

pub const NAME: &str = "slow-disk";

/// Of the originals' pages.
pub const MEMORY_PERCENT: u64 = 10;
/// Nearest neighbours of each query.
const K: usize = 10;
/// Candidates that a walk keeps.
const EF: usize = 100;

const CONTESTANTS: [&str; 3] = ["mmap-random", "mmap-willneed", "pool-ring"];

/// Searches on a disk whose reads take a millisecond; by hand: serve, probe
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SlowDisk {
    #[command(subcommand)]
    by_hand: Option<ByHand>,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    pace: Pace,

    /// Threads that search
    #[arg(long, value_delimiter = ',', default_value = "1,8,32", value_name = "LIST", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,

    /// Queries of a run, of those that there are
    #[arg(long, default_value_t = 400, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,

    /// Originals read for each of the 10 hits
    #[arg(long, default_value_t = 4.0, value_name = "X")]
    oversample: f32,

    /// Queries that each thread has in flight, whoever takes part
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    inflight: u16,
}

impl SlowDisk {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        if let Some(by_hand) = &self.by_hand {
            return by_hand.execute(console);
        }
        let data = self.data.or_shipped(self.queries, self.common.dir.as_deref(), console)?;
        let (bytes, files) = data.paged(Paged::Originals)?;
        let pages_bytes = bytes / 100 * MEMORY_PERCENT;
        let named = self.common.contestants_or(&CONTESTANTS);
        let limits = self.threads.iter().map(|&threads| {
            let rehearsed = Task { slow: false, ..self.task(&data, pages_bytes, threads.into()) };
            limit_bytes(NAME, &named, &rehearsed, pages_bytes, console)
        });
        let case_limits = limits.collect::<Result<Vec<u64>, Failure>>()?;
        let (disks, behaviour) = (Disks::over(&data.segment), Behaviour::sound(&self.pace));
        let speeds = speeds(&data.segment, &self.pace)?;
        let task = |contestant: &dyn Contestant, case: &str| {
            let task = self.task(&data, pages_bytes, threads_of(case));
            let contestant = contestant.name().into();
            Task { contestant, segment: disks.next(&behaviour)?, ..task }.words()
        };
        let plan = Plan {
            files,
            case_limits: case_limits.clone(),
            cases: self.threads.iter().map(|&threads| case_of(threads)).collect(),
            ..plan(&task, scale(&data, pages_bytes), facts(&self.pace, &speeds, &case_limits))
        };
        plan.execute(&self.common, console)
    }

    fn task(&self, data: &DataSet, memory_bytes: u64, threads: usize) -> Task {
        Task {
            contestant: String::new(),
            segment: data.segment.clone(),
            queries: data.queries.clone(),
            paged: Paged::Originals,
            memory_bytes,
            threads,
            in_flight: self.inflight.into(),
            k: K,
            ef: EF,
            oversample: self.oversample,
            warm: false,
            slow: true,
        }
    }
}

fn plan<'a>(
    task: &'a dyn Fn(&dyn Contestant, &str) -> Result<String, Failure>,
    scale: String,
    facts: Vec<Fact>,
) -> Plan<'a> {
    Plan {
        name: NAME,
        title: "Searches on a slow disk",
        source: "No published figure is of this disk; for those of a network disk see qdrant-article.",
        scale,
        facts,
        measures: &MEASURES,
        series: &[],
        rounds: 3,
        cases: Vec::new(),
        contestants: &CONTESTANTS,
        takes_part: |_, _| true,
        published: |_, _| None,
        task,
        files: Vec::new(),
        limit_bytes: 0,
        case_limits: Vec::new(),
    }
}

/// A case by its threads.
pub fn case_of(threads: u16) -> String {
    format!("{threads} thread{}", if threads == 1 { "" } else { "s" })
}

/// And back.
pub fn threads_of(case: &str) -> usize {
    case.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(1)
}

fn scale(data: &DataSet, pages_bytes: u64) -> String {
    format!(
        "{}: {} vectors of {} floats; graph and int8 codes in memory, originals on the disk, and {} \
         ({MEMORY_PERCENT} %) of memory for their pages.",
        data.name,
        table::count(data.points as u64),
        data.dim,
        table::bytes(pages_bytes)
    )
}

/// What holds of every experiment on a slow disk.
pub fn facts(pace: &Pace, speeds: &Speeds, case_limits: &[u64]) -> Vec<Fact> {
    vec![
        Fact {
            name: "disk",
            value: format!(
                "FUSE, {pace}, any number side by side; O_DIRECT passes by the page cache, mappings \
                 and buffered reads go through it; 128 KiB are read ahead where no advice says \
                 otherwise; freshly mounted for each run, so that nothing is in memory"
            ),
        },
        Fact { name: "limits of FUSE", value: speeds.to_string() },
        Fact {
            name: "checksums",
            value: "all check: mappings a page at its first touch, others after each read".into(),
        },
        Fact {
            name: "loading",
            value: "graph and codes are read from the same slow disk before the clock starts"
                .into(),
        },
        Fact {
            name: "reads",
            value: "as the disk counted them, from the first query to the last".into(),
        },
        limits(case_limits),
    ]
}

/// What runs are limited to, case by case.
pub fn limits(case_limits: &[u64]) -> Fact {
    let each: Vec<String> = case_limits.iter().map(|&bytes| table::bytes(bytes)).collect();
    Fact {
        name: "limits of the cases",
        value: format!(
            "{}: in each what it takes besides pages, by a rehearsal, the memory for pages, and a \
             little for the kernel; what of these a mapping does not use it has for pages",
            each.join(", ")
        ),
    }
}
