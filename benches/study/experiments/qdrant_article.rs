//! Qdrant's article on io_uring: HNSW and int8 codes in memory, originals on a network disk, and 1,000
//! requests for 10 neighbours, with oversampling 1 and 4, by 4 and 8 clients.

use clap::Args;
use ringpool_cli::console::Console;
use ringpool_cli::failure::Failure;
use ringpool_cli::table;

use super::slow_disk::{MEMORY_PERCENT, facts, limits};
use crate::Common;
use crate::contestants::Contestant;
use crate::outcome::Fact;
use crate::run::Measure;
use crate::search::{DataArgs, DataSet, Paged, Task, limit_bytes};
use crate::slow_disk::{Behaviour, Disks, Pace, speeds};
use crate::study::Plan;

pub const NAME: &str = "qdrant-article";

const DIM: usize = 768;
/// As in the article's script.
const K: usize = 10;
const EF: usize = 100;

/// The rows of the article's table: oversampling, and requests side by side.
const CASES: [(&str, f32, usize); 3] = [
    ("oversampling 1, parallel 4", 1.0, 4),
    ("oversampling 1, parallel 8", 1.0, 8),
    ("oversampling 4, parallel 8", 4.0, 8),
];

const CONTESTANTS: [&str; 4] = ["mmap-random", "mmap-willneed", "buffered-ring", "pool-ring"];

const MEASURES: [Measure; 6] = [
    Measure::lower("seconds", "s"),
    Measure::told("reads_per_second", "IOPS"),
    Measure::told("cpu_percent", "CPU %"),
    Measure::higher("qps", "QPS"),
    Measure::lower("p99_ms", "p99 ms"),
    Measure::told("reads_per_query", "reads a query"),
];

/// Rescoring from a network disk, as in Qdrant's article on io_uring
#[derive(Args)]
pub struct QdrantArticle {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    data: DataArgs,

    #[command(flatten)]
    pace: Pace,

    /// Vectors of 768 floats that are made, unless --data names others
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1_000..))]
    points: u32,

    /// Queries of a run; the article has 1,000
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queries: u32,

    /// Queries that each thread has in flight; clients of the article wait for one answer each
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    inflight: u16,

    /// Not the slow disk, but the one that --dir is on
    #[arg(long)]
    plain: bool,
}

impl QdrantArticle {
    pub fn execute(&self, console: &Console) -> Result<(), Failure> {
        let points = (self.points as usize, DIM);
        let data =
            self.data.or_clustered(points, self.queries, self.common.dir.as_deref(), console)?;
        let (bytes, files) = data.paged(Paged::Originals)?;
        let pages_bytes = bytes / 100 * MEMORY_PERCENT;
        let named = self.common.contestants_or(&CONTESTANTS);
        let rehearsals = CASES.map(|(_, oversample, threads)| {
            let rehearsed = Task { threads, oversample, ..self.task(&data, pages_bytes) };
            limit_bytes(NAME, &named, &rehearsed, pages_bytes, console)
        });
        let case_limits = rehearsals.into_iter().collect::<Result<Vec<u64>, Failure>>()?;
        let slow = !self.plain;
        let disks = slow.then(|| Disks::over(&data.segment));
        let behaviour = Behaviour::sound(&self.pace);
        let facts = match slow {
            true => facts(&self.pace, &speeds(&data.segment, &self.pace)?, &case_limits),
            false => vec![plain_disk(), limits(&case_limits)],
        };
        let task = |contestant: &dyn Contestant, case: &str| {
            let (_, oversample, threads) = row(case);
            let segment = disks.as_ref().map(|disks| disks.next(&behaviour)).transpose()?;
            let segment = segment.unwrap_or_else(|| data.segment.clone());
            let contestant = contestant.name().into();
            let task = self.task(&data, pages_bytes);
            Task { contestant, segment, slow, oversample, threads, ..task }.words()
        };
        let plan = Plan {
            name: NAME,
            title: "Rescoring from a network disk",
            source: "Published: Qdrant under the hood: io_uring, 2023, \
                     https://qdrant.tech/articles/io_uring/: time for 1,000 requests, about the most \
                     IOPS, CPU of 4 cores.",
            scale: scale(&data, pages_bytes),
            facts,
            measures: &MEASURES,
            series: &[],
            rounds: 3,
            cases: CASES.iter().map(|(name, ..)| (*name).to_owned()).collect(),
            contestants: &CONTESTANTS,
            takes_part: |_, _| true,
            published,
            task: &task,
            files,
            limit_bytes: 0,
            case_limits,
        };
        plan.execute(&self.common, console)
    }

    fn task(&self, data: &DataSet, memory_bytes: u64) -> Task {
        Task {
            contestant: String::new(),
            segment: data.segment.clone(),
            queries: data.queries.clone(),
            paged: Paged::Originals,
            memory_bytes,
            threads: 1,
            in_flight: self.inflight.into(),
            k: K,
            ef: EF,
            oversample: 1.0,
            warm: false,
            slow: false,
        }
    }
}

fn row(case: &str) -> (&'static str, f32, usize) {
    CASES.into_iter().find(|(name, ..)| *name == case).unwrap_or(CASES[0])
}

fn plain_disk() -> Fact {
    Fact {
        name: "disk",
        value: "the one that the files are on; reads are bytes that the kernel counted, in pages"
            .into(),
    }
}

fn scale(data: &DataSet, pages_bytes: u64) -> String {
    format!(
        "There: 5 million vectors of LAION, 768 floats each, on a network disk of Hetzner's, through a \
         server with 4 cores whose memory is not stated; m 16, ef_construct 512. Here: {}, {} vectors \
         of {} floats, M 16, ef_construction 200, no server, and {} ({MEMORY_PERCENT} %) of memory for \
         pages of originals. IOPS there are about the most, here the average.",
        data.name,
        table::count(data.points as u64),
        data.dim,
        table::bytes(pages_bytes)
    )
}

fn published(contestant: &str, case: &str) -> Option<&'static str> {
    let (case, ..) = row(case);
    Some(match (contestant, case) {
        ("mmap-random", "oversampling 1, parallel 4") => "43 s, 2,000 IOPS, 93 %",
        ("mmap-random", "oversampling 1, parallel 8") => "43 s, 2,000 IOPS, 90 %",
        ("mmap-random", "oversampling 4, parallel 8") => "145 s, 2,300 IOPS, 50 %",
        ("buffered-ring", "oversampling 4, parallel 8") => "30 s, 7,000 IOPS, 100 %",
        ("buffered-ring", _) => "12 s, 4,000 IOPS, 200 %",
        _ => return None,
    })
}
