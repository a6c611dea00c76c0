//! CIDR'22: random and sequential reads of a file larger than memory, second by second.
//!
//! Every thread reads one page after the other, as there (`--batch` asks for more at once), and looks
//! at the first word of each. What counts is what is left once memory is full and pages have to go:
//! the headline is the throughput of the second half, and the series shows when it became full. What
//! the kernel counts stands beside it: faults, TLB shootdowns, processor time.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::Memory;
use ringpool::storage::{PageNo, PageSize, PageSource};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::process::{Counters, tlb_shootdowns};
use ringpool_cli::table;
use serde::{Deserialize, Serialize};

use super::size_of;
use crate::contestants::{self, Access, Contestant, Subject};
use crate::outcome::Fact;
use crate::run::{Measure, Measured};
use crate::study::Plan;
use crate::venue::RESERVE_BYTES;
use crate::{Common, page_file};

pub const NAME: &str = "cidr";

const PAGE: PageSize = PageSize::KIB_4;
/// Pages that a scan asks for at once, whoever reads: 4 MiB.
const SCAN_PAGES: u64 = 1024;
const SEED: u64 = 2022;
const MIB: f64 = 1048576.0;
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
                "There: 100 threads, 64 cores, 10 NVMe disks, Linux 5.11, pages evicted by the whole \
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

/// Does one run.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let subject = Subject {
        path: task.path.clone(),
        page_size: PAGE,
        checksums: None,
        memory_bytes: task.memory_bytes,
        access: task.access,
    };
    let contestant = contestants::named(&task.contestant)?;
    let source = contestant.open(&subject)?;
    let readers = Readers::default();
    let seconds = thread::scope(|scope| {
        for thread in 0..task.threads {
            let (readers, source) = (&readers, &*source);
            scope.spawn(move || readers.read(task, thread, source));
        }
        let seconds = readers.watch(task.seconds);
        readers.stop.store(true, Ordering::Relaxed);
        seconds
    });
    if let Some(failure) = readers.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    Ok(Measured { figures: figures(task, contestant, &seconds), seconds, answer: None })
}

/// Threads that read until they are told to stop. Relaxed throughout: nothing is published.
#[derive(Default)]
struct Readers {
    pages: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Readers {
    fn read(&self, task: &Task, thread: u16, source: &dyn PageSource) {
        let mut next = Next::new(task, thread, source.page_count());
        let mut batch = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            next.draw(&mut batch);
            let mut sum = 0_u64;
            let visited = source.visit(&batch, &mut |_, page| sum = sum.wrapping_add(word(page)));
            black_box(sum);
            if let Err(error) = visited {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(Failure::of(&error));
                self.stop.store(true, Ordering::Relaxed);
                return;
            }
            self.pages.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }

    /// What passed in each second, until the time is over or somebody has failed.
    fn watch(&self, seconds: u16) -> Vec<BTreeMap<String, f64>> {
        let begun = Instant::now();
        let mut told = Vec::new();
        let mut before = Sample::now(self);
        for second in 1..=u64::from(seconds) {
            let end = begun + Duration::from_secs(second);
            thread::sleep(end.saturating_duration_since(Instant::now()));
            let now = Sample::now(self);
            told.push(now.since(&before));
            before = now;
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        told
    }
}

fn word(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Which pages a thread reads next.
struct Next {
    access: Access,
    rng: SmallRng,
    batch: usize,
    /// Of a scan: its part of the file, and where it is.
    part: std::ops::Range<u64>,
    at: u64,
    page_count: u64,
}

impl Next {
    fn new(task: &Task, thread: u16, page_count: u64) -> Self {
        let share = page_count / u64::from(task.threads);
        let first = u64::from(thread) * share;
        Self {
            access: task.access,
            rng: SmallRng::seed_from_u64(SEED + u64::from(thread)),
            batch: task.batch.into(),
            part: first..first + share,
            at: first,
            page_count,
        }
    }

    fn draw(&mut self, batch: &mut Vec<PageNo>) {
        batch.clear();
        if self.access == Access::Random {
            let drawn = (0..self.batch).map(|_| PageNo(self.rng.random_range(0..self.page_count)));
            batch.extend(drawn);
            return;
        }
        if self.at >= self.part.end {
            self.at = self.part.start;
        }
        let end = (self.at + SCAN_PAGES).min(self.part.end);
        batch.extend((self.at..end).map(PageNo));
        self.at = end;
    }
}

/// What the counters say at a moment.
struct Sample {
    at: Instant,
    pages: u64,
    counters: Counters,
    tlb: Option<u64>,
}

impl Sample {
    fn now(readers: &Readers) -> Self {
        let pages = readers.pages.load(Ordering::Relaxed);
        Self { at: Instant::now(), pages, counters: Counters::now(), tlb: tlb_shootdowns() }
    }

    /// What passed between the two, a second.
    fn since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let spent = self.counters.since(&earlier.counters);
        let pages = (self.pages - earlier.pages) as f64;
        let figures = [
            ("mib_s", Some(pages * PAGE.bytes() as f64 / MIB)),
            ("disk_mib_s", spent.read_bytes.map(|bytes| bytes as f64 / MIB)),
            ("major_faults_s", Some(spent.major_faults as f64)),
            ("minor_faults_s", Some(spent.minor_faults as f64)),
            ("tlb_s", self.tlb.zip(earlier.tlb).map(|(now, then)| now.saturating_sub(then) as f64)),
            ("cpus", Some(spent.cpu_seconds)),
        ];
        let known = figures.into_iter().filter_map(|(key, figure)| Some((key, figure?)));
        known.map(|(key, figure)| (key.to_owned(), figure / seconds)).collect()
    }
}

/// What the seconds say together.
fn figures(
    task: &Task,
    contestant: &dyn Contestant,
    seconds: &[BTreeMap<String, f64>],
) -> BTreeMap<String, f64> {
    let mean = |seconds: &[BTreeMap<String, f64>], key: &str| {
        let values = seconds.iter().map(|second| second.get(key).copied());
        let sum = values.sum::<Option<f64>>()?;
        Some(sum / seconds.len() as f64).filter(|mean| mean.is_finite())
    };
    let half = &seconds[seconds.len() / 2..];
    let keys = ["mib_s", "disk_mib_s", "major_faults_s", "minor_faults_s", "tlb_s", "cpus"];
    let means = keys.into_iter().filter_map(|key| Some((key.to_owned(), mean(half, key)?)));
    let mut figures: BTreeMap<String, f64> = means.collect();
    let Some(full) = full_after(task.limit_bytes, seconds).filter(|_| contestant.caches()) else {
        return figures;
    };
    let (filling, after) = seconds.split_at(full);
    figures.insert("full_s".into(), full as f64);
    figures.extend(mean(filling, "mib_s").map(|mean| ("filling_mib_s".into(), mean)));
    let worst = after.iter().filter_map(|second| second.get("mib_s").copied()).reduce(f64::min);
    figures.extend(worst.map(|worst| ("worst_mib_s".into(), worst)));
    figures
}

/// After how many seconds the disk has delivered as much as the limit allows to keep.
fn full_after(limit_bytes: u64, seconds: &[BTreeMap<String, f64>]) -> Option<usize> {
    let mut delivered_mib = 0.0;
    let mut delivered = seconds.iter().map(|second| {
        delivered_mib += second.get("disk_mib_s").copied().unwrap_or(0.0);
        delivered_mib
    });
    delivered.position(|mib| mib * MIB >= limit_bytes as f64).map(|second| second + 1)
}
