//! Qdrant's PR 9852: 4,096 random vectors are read, once warm and once cold, by one thread, in
//! milliseconds.
//!
//! The vectors lie in a flat file one behind the other, so that half of them straddle two pages. What
//! is asked for are the pages that a vector lies on, in the order of the draw; ways that read by
//! themselves read both pages at once. Each float is added up, as the bits that it is, so that any order
//! gives the same sum and every contestant can be seen to have read the same.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::storage::{PageNo, PageSize, PageSource};
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::process::Counters;
use ringpool_cli::table;
use serde::{Deserialize, Serialize};

use super::size_of;
use crate::contestants::{self, Access, Contestant, Subject};
use crate::outcome::Fact;
use crate::run::{Measure, Measured};
use crate::spread::Spread;
use crate::study::Plan;
use crate::venue::RESERVE_BYTES;
use crate::{Common, page_file};

pub const NAME: &str = "qdrant-pr9852";

const PAGE: PageSize = PageSize::KIB_4;
/// 768 floats.
const VECTOR_BYTES: u64 = 3_072;
const SEED: u64 = 9_852;
/// Passes over what is in memory already; the middle one counts.
const WARM_PASSES: usize = 9;
/// The smallest file: every vector of a draw then still has a place of its own, mostly.
const SIZE_BYTES_MIN: u64 = 64 << 20;

const MEASURES: [Measure; 4] = [
    Measure::lower("ms", "ms"),
    Measure::told("read_mib", "read MiB"),
    Measure::told("major_faults", "major faults"),
    Measure::told("cpu_ms", "CPU ms"),
];

const ALL: [&str; 10] = [
    "mmap-random",
    "mmap-normal",
    "mmap-willneed",
    "mmap-populate",
    "pool-ring",
    "pool-blocking",
    "direct-ring",
    "buffered-ring",
    "batch-ring",
    "pread-threads",
];

/// 4,096 random vectors, warm and cold, as in Qdrant's PR 9852
#[derive(Args)]
pub struct QdrantPr9852 {
    #[command(flatten)]
    common: Common,

    /// The size of the file of vectors
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    size: ringpool::Memory,

    /// The limit of each run: by default the file and a quarter, so that warm is warm
    #[arg(long, value_name = "SIZE")]
    memory: Option<ringpool::Memory>,

    /// How many vectors are read
    #[arg(long, default_value_t = 4_096, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    vectors: u32,
}

/// One run.
#[derive(Serialize, Deserialize)]
pub struct Task {
    contestant: String,
    warm: bool,
    path: PathBuf,
    vectors: u32,
    memory_bytes: u64,
}

impl QdrantPr9852 {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        let size_bytes = size_of(self.size, "--size")?.next_multiple_of(PAGE.bytes() as u64);
        if size_bytes < SIZE_BYTES_MIN {
            return Err(Failure::Usage("--size: 64MiB or more".into()));
        }
        let limit_bytes = match self.memory {
            Some(memory) => size_of(memory, "--memory")?,
            None => size_bytes / 4 * 5 + 4 * RESERVE_BYTES,
        };
        let folder = page_file::folder(self.common.dir.as_deref())?;
        let path = page_file::floats(&folder, size_bytes, console)?;
        let task = |contestant: &dyn Contestant, case: &str| {
            let task = Task {
                contestant: contestant.name().into(),
                warm: case == "warm",
                path: path.clone(),
                vectors: self.vectors,
                memory_bytes: limit_bytes.saturating_sub(RESERVE_BYTES),
            };
            serde_json::to_string(&task).map_err(|error| Failure::of(&error))
        };
        self.plan(&task, size_bytes, limit_bytes, path.clone()).execute(&self.common, console)
    }

    fn plan<'a>(
        &self,
        task: &'a dyn Fn(&dyn Contestant, &str) -> Result<String, Failure>,
        size_bytes: u64,
        limit_bytes: u64,
        path: PathBuf,
    ) -> Plan<'a> {
        Plan {
            name: NAME,
            title: "4,096 random vectors, warm and cold",
            source: "Published: Qdrant, pull request 9852, https://github.com/qdrant/qdrant/pull/9852: \
                     mmap unbatched 0.8 ms warm and 218 ms cold, io_uring batched 4.7 and 27.8.",
            scale: format!(
                "There: quantized vectors of an unnamed size on a developer's own disk; here {} vectors \
                 of 768 floats out of {}, one thread.",
                table::count(self.vectors.into()),
                table::bytes(size_bytes)
            ),
            facts: vec![
                Fact { name: "checksums", value: "none, for nobody: the file has none".into() },
                Fact {
                    name: "cold",
                    value: "one pass over a file that was evicted, after it was opened".into(),
                },
                Fact {
                    name: "warm",
                    value: format!(
                        "the same vectors once untimed, then the median of {WARM_PASSES} \
                                    passes; contestants without a cache read the disk again"
                    ),
                },
            ],
            measures: &MEASURES,
            series: &[],
            rounds: 5,
            cases: vec!["cold".into(), "warm".into()],
            contestants: &ALL,
            takes_part: |contestant, case| {
                // It has read the whole file before anything is timed.
                case == "warm" || contestant.name() != "mmap-populate"
            },
            published,
            task,
            files: vec![path],
            limit_bytes,
            case_limits: Vec::new(),
        }
    }
}

fn published(contestant: &str, case: &str) -> Option<&'static str> {
    Some(match (contestant, case) {
        ("mmap-random", "cold") => "218 ms",
        ("mmap-random", "warm") => "0.8 ms",
        ("buffered-ring", "cold") => "27.8 ms",
        ("buffered-ring", "warm") => "4.7 ms",
        _ => return None,
    })
}

/// Where the drawn vectors lie: pages, and of each the bytes that count.
struct Draw {
    pages: Vec<PageNo>,
    parts: Vec<(usize, usize)>,
}

impl Draw {
    fn of(vectors: u32, page_count: u64) -> Self {
        let page_bytes = PAGE.bytes() as u64;
        let count = page_count * page_bytes / VECTOR_BYTES;
        let mut rng = SmallRng::seed_from_u64(SEED);
        let (mut pages, mut parts) = (Vec::new(), Vec::new());
        for _ in 0..vectors {
            let begin = rng.random_range(0..count) * VECTOR_BYTES;
            let end = begin + VECTOR_BYTES;
            for page in begin / page_bytes..=(end - 1) / page_bytes {
                let first = page * page_bytes;
                pages.push(PageNo(page));
                parts.push((
                    begin.saturating_sub(first) as usize,
                    (end - first).min(page_bytes) as usize,
                ));
            }
        }
        Self { pages, parts }
    }

    /// Reads all of it, and adds up the floats as bits.
    fn pass(&self, source: &dyn PageSource) -> Result<u64, Failure> {
        let mut sum = 0_u64;
        let visited = source.visit(&self.pages, &mut |i, page| {
            let (begin, end) = self.parts[i];
            let words = page[begin..end].as_chunks::<4>().0.iter();
            sum = sum.wrapping_add(words.map(|word| u64::from(u32::from_le_bytes(*word))).sum());
        });
        visited.map_err(|error| Failure::of(&error))?;
        Ok(sum)
    }
}

/// Does one run.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let subject = Subject {
        path: task.path.clone(),
        page_size: PAGE,
        checksums: None,
        memory_bytes: task.memory_bytes,
        access: Access::Random,
    };
    let source = contestants::named(&task.contestant)?.open(&subject)?;
    let draw = Draw::of(task.vectors, source.page_count());
    let mut answer = None;
    if task.warm {
        answer = Some(draw.pass(&*source)?);
    }
    let passes = if task.warm { WARM_PASSES } else { 1 };
    let before = Counters::now();
    let mut times_ms = Vec::new();
    for _ in 0..passes {
        let begun = Instant::now();
        answer = Some(draw.pass(&*source)?);
        times_ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let spent = Counters::now().since(&before);
    let per_pass = |figure: f64| figure / passes as f64;
    let mut figures = vec![
        ("major_faults", per_pass(spent.major_faults as f64)),
        ("cpu_ms", per_pass(spent.cpu_seconds * 1e3)),
    ];
    figures.extend(Spread::of(times_ms).map(|times| ("ms", times.median)));
    figures.extend(spent.read_bytes.map(|read| ("read_mib", per_pass(read as f64 / 1048576.0))));
    let figures = figures.into_iter().map(|(key, figure)| (key.to_owned(), figure)).collect();
    Ok(Measured { figures, seconds: Vec::new(), answer })
}
