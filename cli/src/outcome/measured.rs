//! One run with its place in the contest, and all runs of one kind as a line.

use serde::Serialize;

use crate::contest::{Contestant, Planned};
use crate::json::RunReport;
use crate::options::Temperature;

/// A run: who, in which round, in which memory, and what it measured.
#[derive(Serialize, Clone, Debug)]
pub struct Run {
    pub contestant: String,
    /// From 1 on.
    pub round: u16,
    /// That this memory is for pages; the yardstick has it as well, and no use for it.
    pub budget_bytes: u64,
    /// Pages that the disk delivered, by the kernel's count, in each second.
    pub iops: Option<f64>,
    pub cpu_us_per_query: f64,
    /// Whether it is the pool against itself.
    #[serde(skip)]
    pub again: bool,
    #[serde(skip)]
    pub temperature: Temperature,
    #[serde(flatten)]
    pub report: RunReport,
}

/// What all contestants have in common when they are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    pub budget_bytes: u64,
    pub threads: u64,
    pub temperature: Temperature,
}

/// All runs of one contestant in one setting.
pub struct Line<'a> {
    pub name: String,
    /// The one whose QPS is the median; of two in the middle, the slower.
    pub median: &'a Run,
    pub qps_min: f64,
    pub qps_max: f64,
    pub repeats: usize,
}

impl Run {
    /// What a run of the plan has measured, of pages of so many bytes.
    pub fn new(planned: &Planned, budget_bytes: u64, page_bytes: u64, report: RunReport) -> Self {
        let pages = |bytes: u64| bytes as f64 / page_bytes as f64;
        Self {
            contestant: planned.contestant.to_string(),
            round: planned.round,
            budget_bytes,
            iops: report.read_bytes.map(|bytes| pages(bytes) / report.wall_seconds),
            cpu_us_per_query: report.cpu_seconds * 1e6 / report.queries as f64,
            again: planned.contestant == Contestant::PoolAgain,
            temperature: planned.temperature,
            report,
        }
    }

    /// What it ran in.
    pub fn setting(&self) -> Setting {
        let Self { budget_bytes, temperature, .. } = *self;
        Setting { budget_bytes, threads: self.report.threads, temperature }
    }
}

impl<'a> Line<'a> {
    /// Of at least one run.
    pub fn new(name: &str, mut runs: Vec<&'a Run>) -> Self {
        runs.sort_by(|a, b| a.report.qps.total_cmp(&b.report.qps));
        Self {
            name: name.into(),
            median: runs[(runs.len() - 1) / 2],
            qps_min: runs[0].report.qps,
            qps_max: runs[runs.len() - 1].report.qps,
            repeats: runs.len(),
        }
    }

    /// Whether it takes no part in the contest and shows what no storage at all would give.
    pub fn is_yardstick(&self) -> bool {
        self.name == "memory"
    }
}
