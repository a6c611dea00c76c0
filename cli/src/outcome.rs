//! What a contest found: its runs, their medians, and who won by how much.

use std::path::PathBuf;

use ringpool::Manifest;
use ringpool::config::Oversample;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::failure::Failure;
use crate::json::RunReport;
use crate::machine::Machine;
use crate::options::QueryOptions;

/// Closer than this to 1, a ratio names no winner.
const EVEN: f64 = 0.02;

/// Everything that a contest found.
pub struct Outcome {
    pub subject: Subject,
    pub memory: SameMemory,
    pub runs: Vec<RunReport>,
    pub machine: Machine,
    /// Each kind of run as a command line.
    pub commands: Vec<String>,
}

/// What was searched, and how.
#[derive(Serialize, Clone, Debug)]
pub struct Subject {
    pub dir: PathBuf,
    pub queries: PathBuf,
    pub points: u64,
    pub dimensions: usize,
    pub element: String,
    pub metric: String,
    pub k: u32,
    pub ef: u32,
    pub oversample: Oversample,
}

/// How the memory was made the same.
#[derive(Serialize, Clone, Debug)]
pub struct SameMemory {
    /// `None` where no cgroup could be made.
    pub limit_bytes: Option<u64>,
    pub anonymous_bytes: u64,
    pub page_table_bytes: u64,
    pub budget_bytes: u64,
    pub headroom_bytes: u64,
    /// The bytes in pages that the budget is for.
    pub paged_bytes: u64,
    pub memory_enforced_by: String,
    pub unlimited_reason: Option<String>,
}

/// All runs of one kind.
pub struct Line<'a> {
    pub name: String,
    /// The one whose QPS is the median; of two in the middle, the slower.
    pub median: &'a RunReport,
    pub qps_min: f64,
    pub qps_max: f64,
    pub repeats: usize,
}

/// The pool against one other contestant.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub struct Ratio {
    pub threads: u64,
    pub temperature: String,
    pub against: String,
    pub pool_qps: f64,
    pub other_qps: f64,
    /// The pool's QPS divided by the other's.
    pub ratio: f64,
    /// `pool`, the other's name, or `even`: less than 2 % apart, or spreads that overlap.
    pub winner: String,
    /// Whether the other ran under the same limit.
    pub other_limited: bool,
}

impl Subject {
    /// The facts of a segment and of what is asked.
    pub fn new(query: &QueryOptions, manifest: &Manifest) -> Result<Self, Failure> {
        Ok(Self {
            dir: query.dir()?.into(),
            queries: query.queries.clone(),
            points: manifest.points as u64,
            dimensions: manifest.dim,
            element: manifest.element.to_string(),
            metric: manifest.metric.to_string(),
            k: query.k,
            ef: query.ef,
            oversample: query.oversample,
        })
    }
}

/// What a run's contestant is called.
pub fn name(run: &RunReport) -> String {
    match &run.mmap_advice {
        Some(advice) => format!("{} {advice}", run.backend),
        None => run.backend.clone(),
    }
}

impl Outcome {
    /// The recall, which is the same for every run: their answers are.
    pub fn recall(&self) -> Option<f64> {
        self.runs.first().and_then(|run| run.recall)
    }

    /// The numbers of threads, in order of their first run.
    pub fn threads(&self) -> Vec<u64> {
        let mut threads = Vec::new();
        for run in &self.runs {
            if !threads.contains(&run.threads) {
                threads.push(run.threads);
            }
        }
        threads
    }

    /// The lines of one number of threads and one temperature, in order of their first run.
    pub fn lines(&self, threads: u64, temperature: &str) -> Vec<Line<'_>> {
        let of_kind = |run: &&RunReport| run.threads == threads && run.temperature == temperature;
        let mut kinds: Vec<(String, Vec<&RunReport>)> = Vec::new();
        for run in self.runs.iter().filter(of_kind) {
            let name = name(run);
            match kinds.iter_mut().find(|(known, _)| *known == name) {
                Some((_, runs)) => runs.push(run),
                None => kinds.push((name, vec![run])),
            }
        }
        kinds.into_iter().map(|(name, runs)| Line::new(name, runs)).collect()
    }

    /// The pool against each other, for each number of threads, cold and warm.
    pub fn ratios(&self) -> Vec<Ratio> {
        let mut ratios = Vec::new();
        for threads in self.threads() {
            for temperature in ["cold", "warm"] {
                let lines = self.lines(threads, temperature);
                let Some(pool) = lines.iter().find(|line| line.name == "pool") else {
                    continue;
                };
                let others = lines.iter().filter(|line| line.name != "pool");
                ratios.extend(others.map(|other| Ratio::new(pool, other)));
            }
        }
        ratios
    }
}

impl<'a> Line<'a> {
    fn new(name: String, mut runs: Vec<&'a RunReport>) -> Self {
        runs.sort_by(|a, b| a.qps.total_cmp(&b.qps));
        Self {
            name,
            median: runs[(runs.len() - 1) / 2],
            qps_min: runs[0].qps,
            qps_max: runs[runs.len() - 1].qps,
            repeats: runs.len(),
        }
    }
}

impl Ratio {
    /// Whether the two are too close to name a winner, however often they ran.
    pub fn is_close(&self) -> bool {
        is_close(self.ratio)
    }

    fn new(pool: &Line<'_>, other: &Line<'_>) -> Self {
        let ratio = pool.median.qps / other.median.qps;
        let repeated = pool.repeats > 1 && other.repeats > 1;
        let overlap = pool.qps_min <= other.qps_max && other.qps_min <= pool.qps_max;
        let winner = if is_close(ratio) || (repeated && overlap) {
            "even"
        } else if ratio > 1.0 {
            &pool.name
        } else {
            &other.name
        };
        Self {
            threads: pool.median.threads,
            temperature: pool.median.temperature.clone(),
            against: other.name.clone(),
            pool_qps: pool.median.qps,
            other_qps: other.median.qps,
            ratio,
            winner: winner.into(),
            other_limited: other.median.memory_enforced_by.starts_with("cgroup"),
        }
    }
}

fn is_close(ratio: f64) -> bool {
    (ratio - 1.0).abs() < EVEN
}

/// One flat object: the limit first, then the runs, then what they come to.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = &self.memory;
        let mut object = serializer.serialize_struct("Outcome", 12)?;
        object.serialize_field("limit_bytes", &memory.limit_bytes)?;
        object.serialize_field("anonymous_bytes", &memory.anonymous_bytes)?;
        object.serialize_field("page_table_bytes", &memory.page_table_bytes)?;
        object.serialize_field("budget_bytes", &memory.budget_bytes)?;
        object.serialize_field("headroom_bytes", &memory.headroom_bytes)?;
        object.serialize_field("memory_enforced_by", &memory.memory_enforced_by)?;
        object.serialize_field("unlimited_reason", &memory.unlimited_reason)?;
        object.serialize_field("subject", &self.subject)?;
        object.serialize_field("runs", &self.runs)?;
        object.serialize_field("ratios", &self.ratios())?;
        object.serialize_field("machine", &self.machine)?;
        object.serialize_field("commands", &self.commands)?;
        object.end()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::json::LatencyUs;

    /// A run that never was.
    pub fn run(backend: &str, advice: Option<&str>, temperature: &str, qps: f64) -> RunReport {
        let limited = backend != "memory";
        RunReport {
            backend: backend.into(),
            temperature: temperature.into(),
            mmap_advice: advice.map(Into::into),
            engine: None,
            engine_reason: None,
            direct_io: None,
            memory_enforced_by: if limited { "cgroup-v1" } else { "none" }.into(),
            queries: 100,
            threads: 1,
            k: 10,
            recall: Some(0.99),
            qps,
            latency_us: LatencyUs {
                p50: 1e6 / qps,
                p95: 2e6 / qps,
                p99: 3e6 / qps,
                p999: 4e6 / qps,
                max: 5e6 / qps,
            },
            cpu_seconds: 1.0,
            wall_seconds: 100.0 / qps,
            reads: Some(4000),
            read_bytes: Some(16 << 20),
            reads_per_query: Some(40.0),
            originals_per_query: Some(40.0),
            hits: None,
            misses: None,
            evictions: None,
            memory_budget_bytes: Some(1 << 20),
            peak_rss_bytes: Some(20 << 20),
            page_cache_bytes: Some(0),
            page_cache_reason: None,
            mmap_verify: None,
            answers_crc32c: "00000000".into(),
            inflight: Some(8),
            place: "graph=resident,codes=resident,vectors=pool".into(),
            resident_bytes: 1 << 20,
            components: Vec::new(),
            segments: 1,
            filter: None,
            selected: None,
            selectivity: None,
            filter_us: None,
            fields_us: None,
            answers: None,
        }
    }

    /// An outcome with these runs.
    pub fn outcome(runs: Vec<RunReport>) -> Outcome {
        Outcome {
            subject: Subject {
                dir: "segment".into(),
                queries: "queries.fvecs".into(),
                points: 60_000,
                dimensions: 784,
                element: "f32".into(),
                metric: "l2".into(),
                k: 10,
                ef: 100,
                oversample: Oversample::Times(4.0),
            },
            memory: SameMemory {
                limit_bytes: Some(64 << 20),
                anonymous_bytes: 40 << 20,
                page_table_bytes: 0,
                budget_bytes: 20 << 20,
                headroom_bytes: 4 << 20,
                paged_bytes: 200 << 20,
                memory_enforced_by: "cgroup-v1".into(),
                unlimited_reason: None,
            },
            runs,
            machine: Machine::with_files_at(std::path::Path::new("/")),
            commands: vec!["ringpool search segment".into()],
        }
    }

    #[test]
    fn the_median_is_quoted_and_overlapping_spreads_have_no_winner() {
        let pool = [100.0, 300.0, 200.0].map(|qps| run("pool", None, "cold", qps));
        let mmap = [90.0, 150.0, 120.0].map(|qps| run("mmap", Some("random"), "cold", qps));
        let found = outcome(pool.into_iter().chain(mmap).collect());
        let lines = found.lines(1, "cold");
        let spread = (lines[0].qps_min, lines[0].median.qps, lines[0].qps_max);
        assert_eq!(spread, (100.0, 200.0, 300.0));
        let ratios = found.ratios();
        assert_eq!(ratios[0].winner, "even");
        assert_eq!(ratios[0].against, "mmap random");
    }

    #[test]
    fn losing_is_said_plainly() {
        let runs = vec![
            run("pool", None, "warm", 80.0),
            run("mmap", Some("willneed"), "warm", 100.0),
            run("memory", None, "warm", 81.0),
        ];
        let ratios = outcome(runs).ratios();
        assert_eq!(ratios[0].winner, "mmap willneed");
        assert!((ratios[0].ratio - 0.8).abs() < 1e-9 && ratios[0].other_limited);
        assert_eq!(ratios[1].winner, "even");
        assert!(!ratios[1].other_limited);
    }
}
