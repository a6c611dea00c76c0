//! What a contest found: its runs, their medians, the noise, and who won by how much.

mod disk;
mod measured;
mod noise;
mod ratio;
mod rows;

use std::path::PathBuf;

use ringpool::Manifest;
use ringpool::config::Oversample;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use crate::contest::PerSecond;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::options::QueryOptions;

pub use disk::Disk;
pub use measured::{Line, Run, Setting};
pub use noise::Noise;
pub use ratio::Ratio;
pub use rows::write_csv;

/// Everything that a contest found.
pub struct Outcome {
    pub subject: Subject,
    /// One for each memory, at least one.
    pub memories: Vec<SameMemory>,
    /// All, with those of the pool against itself.
    pub runs: Vec<Run>,
    pub series: Vec<PerSecond>,
    pub disk: Disk,
    pub machine: Machine,
    /// Each kind of run as a command line.
    pub commands: Vec<String>,
    /// The command line that made all of them.
    pub command: Option<String>,
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
    pub page_size_bytes: u64,
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
            page_size_bytes: manifest.page_size.bytes() as u64,
        })
    }
}

impl SameMemory {
    /// The budget as a share of what it is for, in hundredths.
    pub fn percent(&self) -> f64 {
        100.0 * self.budget_bytes as f64 / self.paged_bytes.max(1) as f64
    }
}

impl Outcome {
    /// Whether somebody ran who holds everything.
    pub fn has_yardstick(&self) -> bool {
        self.runs.iter().any(|run| run.report.backend == "memory")
    }

    /// The recall, which is the same for every run: their answers are.
    pub fn recall(&self) -> Option<f64> {
        self.runs.first().and_then(|run| run.report.recall)
    }

    /// The memory with this budget; of two alike the first.
    pub fn memory(&self, budget_bytes: u64) -> &SameMemory {
        let found = self.memories.iter().find(|memory| memory.budget_bytes == budget_bytes);
        found.unwrap_or(&self.memories[0])
    }

    /// Memory, threads and temperature that something ran with, in order of their first run.
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for setting in self.runs.iter().map(Run::setting) {
            if !settings.contains(&setting) {
                settings.push(setting);
            }
        }
        settings
    }

    /// Settings that differ in temperature alone, together.
    pub fn scenes(&self) -> Vec<Vec<Setting>> {
        let mut scenes: Vec<Vec<Setting>> = Vec::new();
        for setting in self.settings() {
            let alike = |scene: &&mut Vec<Setting>| {
                let Setting { budget_bytes, threads, .. } = scene[0];
                (budget_bytes, threads) == (setting.budget_bytes, setting.threads)
            };
            match scenes.iter_mut().find(alike) {
                Some(scene) => scene.push(setting),
                None => scenes.push(vec![setting]),
            }
        }
        scenes
    }

    /// The numbers of threads, in order of their first run.
    pub fn threads(&self) -> Vec<u64> {
        let mut threads: Vec<u64> = Vec::new();
        for setting in self.settings() {
            if !threads.contains(&setting.threads) {
                threads.push(setting.threads);
            }
        }
        threads
    }

    /// Who took part, in order of their first run, without the pool's second.
    pub fn contestants(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for run in self.runs.iter().filter(|run| !run.again) {
            if !names.contains(&run.contestant.as_str()) {
                names.push(&run.contestant);
            }
        }
        names
    }

    /// The lines of one setting, in order of their first run.
    pub fn lines(&self, setting: &Setting) -> Vec<Line<'_>> {
        let mut kinds: Vec<(&str, Vec<&Run>)> = Vec::new();
        for run in self.runs.iter().filter(|run| !run.again && run.setting() == *setting) {
            match kinds.iter_mut().find(|(known, _)| *known == run.contestant) {
                Some((_, runs)) => runs.push(run),
                None => kinds.push((&run.contestant, vec![run])),
            }
        }
        kinds.into_iter().map(|(name, runs)| Line::new(name, runs)).collect()
    }

    /// What the pool differs by from itself, in each setting that it ran twice in.
    pub fn noise(&self) -> Vec<Noise> {
        let all = self.settings().into_iter();
        all.filter_map(|setting| Noise::of(&self.runs, setting)).collect()
    }

    /// The pool against each other, in each setting.
    pub fn ratios(&self) -> Vec<Ratio> {
        let noise = self.noise();
        let mut ratios = Vec::new();
        for setting in self.settings() {
            let lines = self.lines(&setting);
            let Some(pool) = lines.iter().find(|line| line.name == "pool") else {
                continue;
            };
            let noise = noise.iter().find(|noise| noise.setting == setting);
            let others = lines.iter().filter(|line| line.name != "pool");
            ratios.extend(others.map(|other| Ratio::new(pool, other, noise)));
        }
        ratios
    }
}

/// One flat object: the limit of the first memory first, then the runs, then what they come to.
impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let memory = &self.memories[0];
        let (again, runs): (Vec<&Run>, Vec<&Run>) = self.runs.iter().partition(|run| run.again);
        let mut object = serializer.serialize_struct("Outcome", 18)?;
        object.serialize_field("limit_bytes", &memory.limit_bytes)?;
        object.serialize_field("anonymous_bytes", &memory.anonymous_bytes)?;
        object.serialize_field("page_table_bytes", &memory.page_table_bytes)?;
        object.serialize_field("budget_bytes", &memory.budget_bytes)?;
        object.serialize_field("headroom_bytes", &memory.headroom_bytes)?;
        object.serialize_field("memory_enforced_by", &memory.memory_enforced_by)?;
        object.serialize_field("unlimited_reason", &memory.unlimited_reason)?;
        object.serialize_field("subject", &self.subject)?;
        object.serialize_field("runs", &runs)?;
        object.serialize_field("ratios", &self.ratios())?;
        object.serialize_field("machine", &self.machine)?;
        object.serialize_field("commands", &self.commands)?;
        object.serialize_field("memories", &self.memories)?;
        object.serialize_field("aa_runs", &again)?;
        object.serialize_field("noise", &self.noise())?;
        object.serialize_field("series", &self.series)?;
        object.serialize_field("disk", &self.disk)?;
        object.serialize_field("command", &self.command)?;
        object.end()
    }
}

#[cfg(test)]
pub mod tests {
    use ringpool::Advice;

    use super::*;
    use crate::contest::{Contestant, Mapping, Planned};
    use crate::json::{LatencyUs, RunReport};
    use crate::options::Temperature;

    /// A run that never was.
    pub fn run(backend: &str, advice: Option<&str>, temperature: &str, qps: f64) -> Run {
        let advised = || advice.unwrap().parse::<Advice>().unwrap();
        let contestant = match backend {
            "pool" => Contestant::Pool,
            "mmap" => Contestant::Mmap(Mapping::Advised(advised())),
            _ => Contestant::Memory,
        };
        of(contestant, report(backend, advice, temperature, qps))
    }

    /// The pool's second run of a round.
    pub fn again(temperature: &str, qps: f64) -> Run {
        of(Contestant::PoolAgain, report("pool", None, temperature, qps))
    }

    /// The same in another round.
    pub fn in_round(round: u16, run: Run) -> Run {
        Run { round, ..run }
    }

    fn of(contestant: Contestant, report: RunReport) -> Run {
        let temperatures = [Temperature::Cold, Temperature::Warm];
        let temperature = temperatures.into_iter().find(|t| t.word() == report.temperature);
        let temperature = temperature.unwrap();
        let planned = Planned { contestant, threads: 1, temperature, stage: 0, round: 1 };
        Run::new(&planned, 20 << 20, 4096, report)
    }

    fn report(backend: &str, advice: Option<&str>, temperature: &str, qps: f64) -> RunReport {
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
    pub fn outcome(runs: Vec<Run>) -> Outcome {
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
                page_size_bytes: 4096,
            },
            memories: vec![SameMemory {
                limit_bytes: Some(64 << 20),
                anonymous_bytes: 40 << 20,
                page_table_bytes: 0,
                budget_bytes: 20 << 20,
                headroom_bytes: 4 << 20,
                paged_bytes: 200 << 20,
                memory_enforced_by: "cgroup-v1".into(),
                unlimited_reason: None,
            }],
            runs,
            series: Vec::new(),
            disk: Disk::found(Err("not asked for".into())),
            machine: Machine::with_files_at(std::path::Path::new("/")),
            commands: vec!["ringpool search segment".into()],
            command: Some("ringpool compare segment".into()),
        }
    }

    #[test]
    fn the_median_is_quoted_and_overlapping_spreads_have_no_winner() {
        let pool = [100.0, 300.0, 200.0].map(|qps| run("pool", None, "cold", qps));
        let mmap = [90.0, 150.0, 120.0].map(|qps| run("mmap", Some("random"), "cold", qps));
        let found = outcome(pool.into_iter().chain(mmap).collect());
        let lines = found.lines(&found.settings()[0]);
        let spread = (lines[0].qps_min, lines[0].median.report.qps, lines[0].qps_max);
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

    #[test]
    fn a_ratio_within_the_noise_has_no_winner_and_is_marked() {
        let mmap = |qps| run("mmap", Some("random"), "cold", qps);
        let found =
            |aa| outcome(vec![run("pool", None, "cold", 100.0), mmap(90.0), again("cold", aa)]);
        let marked = &found(115.0).ratios()[0];
        assert_eq!((marked.winner.as_str(), marked.within_noise), ("even", true));
        assert_eq!(
            (marked.figure(), marked.verdict()),
            ("~1.11".into(), "even: within the noise".into())
        );
        let clear = &found(105.0).ratios()[0];
        assert_eq!((clear.winner.as_str(), clear.within_noise), ("pool", false));
        assert_eq!(found(115.0).ratios().len(), 1, "the pool against itself is no contest");
    }
}
