//! CIDR'22: random and sequential reads of a file larger than memory, second by second.
//!
//! Every thread reads one page after the other, as there (`--batch` asks for more at once), and looks
//! at the first word of each. What counts is what is left once memory is full and pages have to go:
//! the headline is the throughput of the second half, and the series shows when it became full. What
//! the kernel counts stands beside it: faults, TLB shootdowns, processor time.

mod reading;

use std::path::PathBuf;

use clap::Args;
use ringpool::Memory;
use ringpool::storage::PageSize;
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;
use serde::{Deserialize, Serialize};

pub use reading::run;

use super::size_of;
use crate::contestants::{Access, Contestant};
use crate::outcome::Fact;
use crate::run::Measure;
use crate::study::Plan;
use crate::venue::RESERVE_BYTES;
use crate::{Common, page_file};

pub const NAME: &str = "cidr";

const PAGE: PageSize = PageSize::KIB_4;
/// Pages that a scan asks for at once, whoever reads: 4 MiB.
const SCAN_PAGES: u64 = 1024;
/// More are a slip of the hand.
const MAX_THREADS: i64 = 256;
const MAX_BATCH: i64 = 1024;
const MAX_SECONDS: i64 = 3600;

const MEASURES: [Measure; 9] = [
    Measure::higher("mib_s", "MiB/s, 2nd half"),
    Measure::told("filling_mib_s", "until full"),
    Measure::told("full_s", "full at s"),
    Measure::told("worst_mib_s", "worst s after"),
    Measure::told("disk_mib_s", "disk MiB/s"),
    Measure::told("major_faults_s", "major faults/s"),
    Measure::told("minor_faults_s", "minor faults/s"),
    Measure::told("tlb_s", "TLB shootdowns/s"),
    Measure::told("cpus", "CPUs"),
];

const SERIES: [Measure; 4] = [
    Measure::higher("mib_s", "MiB/s"),
    Measure::told("major_faults_s", "major faults/s"),
    Measure::told("tlb_s", "TLB shootdowns/s, of the whole machine"),
    Measure::told("cpus", "CPUs"),
];

const ALL: [&str; 6] =
    ["mmap-random", "mmap-sequential", "mmap-normal", "pool-ring", "direct-ring", "pread-threads"];

/// Random and sequential reads while memory fills, as in CIDR'22
#[derive(Args)]
pub struct Cidr {
    #[command(flatten)]
    common: Common,

    /// The size of the file
    #[arg(long, default_value = "4GiB", value_name = "SIZE")]
    size: Memory,

    /// The limit of each run
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    memory: Memory,

    /// Numbers of threads that read side by side
    #[arg(long, default_value = "1,32", value_delimiter = ',', value_name = "LIST", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Vec<u16>,

    /// Which pages: random, sequential
    #[arg(long, default_value = "random,sequential", value_delimiter = ',', value_name = "LIST", value_parser = parsed_access)]
    access: Vec<Access>,

    /// How long each run reads
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(2..=MAX_SECONDS))]
    seconds: u16,

    /// Random pages that a thread asks for at once
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH))]
    batch: u16,
}

/// One run.
#[derive(Serialize, Deserialize, Clone)]
pub struct Task {
    contestant: String,
    access: Access,
    threads: u16,
    seconds: u16,
    batch: u16,
    path: PathBuf,
    memory_bytes: u64,
    limit_bytes: u64,
}

fn parsed_access(word: &str) -> Result<Access, String> {
    match word {
        "random" => Ok(Access::Random),
        "sequential" => Ok(Access::Sequential),
        _ => Err("use random or sequential".into()),
    }
}

/// The name of a case, and what it was made of.
fn case(access: Access, threads: u16) -> String {
    let word = if access == Access::Random { "random" } else { "sequential" };
    let plural = if threads == 1 { "" } else { "s" };
    format!("{word}, {threads} thread{plural}")
}

impl Cidr {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        let size_bytes = size_of(self.size, "--size")?.next_multiple_of(PAGE.bytes() as u64);
        let limit_bytes = size_of(self.memory, "--memory")?;
        if limit_bytes < 2 * RESERVE_BYTES || size_bytes < limit_bytes {
            let least = table::bytes(2 * RESERVE_BYTES);
            return Err(Failure::Usage(format!("--memory: {least} or more, and less than --size")));
        }
        let folder = page_file::folder(self.common.dir.as_deref())?;
        let path = page_file::floats(&folder, size_bytes, console)?;
        let cases = self.access.iter().flat_map(|&access| {
            self.threads.iter().map(move |&threads| (case(access, threads), access, threads))
        });
        let cases: Vec<_> = cases.collect();
        let task = |contestant: &dyn Contestant, name: &str| {
            let found = cases.iter().find(|(case, ..)| case == name);
            let &(_, access, threads) = found.expect("a case of the plan");
            let task = Task {
                contestant: contestant.name().into(),
                access,
                threads,
                seconds: self.seconds,
                batch: self.batch,
                path: path.clone(),
                memory_bytes: limit_bytes - RESERVE_BYTES,
                limit_bytes,
            };
            serde_json::to_string(&task).map_err(|error| Failure::of(&error))
        };
        let plan = Plan {
            name: NAME,
            title: "Reads while memory fills",
            source: "Published: Crotty, Leis and Pavlo, Are You Sure You Want to Use MMAP in Your \
                     Database Management System?, CIDR 2022, https://db.cs.cmu.edu/mmap-cidr2022/: \
                     random reads through mmap as fast as fio with O_DIRECT for 27 s, then nearly \
                     none for 5 s, then about half; 2 to 20 times worse in all.",
            scale: format!(
                "There: 100 threads, 10 NVMe disks, Linux 5.11, pages evicted by the whole \
                 machine; here {} under a limit of {}, the processors and the disk below, pages \
                 evicted by the cgroup, that is by the thread that faults.",
                table::bytes(size_bytes),
                table::bytes(limit_bytes)
            ),
            facts: self.facts(),
            measures: &MEASURES,
            series: &SERIES,
            rounds: 1,
            cases: cases.iter().map(|(case, ..)| case.clone()).collect(),
            contestants: &ALL,
            takes_part,
            published,
            task: &task,
            files: vec![path.clone()],
            limit_bytes,
            case_limits: Vec::new(),
        };
        plan.execute(&self.common, console)
    }

    fn facts(&self) -> Vec<Fact> {
        let asked = match self.batch {
            1 => "one page at a time, random ones".to_owned(),
            more => format!("{more} random pages at a time"),
        };
        vec![
            Fact { name: "checksums", value: "none, for nobody: the file has none".into() },
            Fact {
                name: "each thread",
                value: format!(
                    "{asked}; or scans its part of the file, {SCAN_PAGES} pages at a time"
                ),
            },
            Fact { name: "each run", value: format!("{} s from an empty cache", self.seconds) },
            Fact {
                name: "full",
                value: "when the disk has delivered as many bytes as the limit has; \"-\": not in \
                        that time, or nothing is kept"
                    .into(),
            },
            Fact {
                name: "TLB shootdowns",
                value: "of the whole machine (/proc/interrupts)".into(),
            },
        ]
    }
}

/// A mapping takes part with the advice that its user would give.
fn takes_part(contestant: &dyn Contestant, case: &str) -> bool {
    match contestant.name() {
        "mmap-random" | "mmap-willneed" => case.starts_with("random"),
        "mmap-sequential" => case.starts_with("sequential"),
        _ => true,
    }
}

fn published(contestant: &str, case: &str) -> Option<&'static str> {
    match (contestant, case.starts_with("random")) {
        ("mmap-random", true) => Some("as fio, ~0 for 5 s, then half"),
        ("direct-ring", true) => Some("fio: steady"),
        _ => None,
    }
}
