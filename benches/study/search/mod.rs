//! One measured run of searches: a segment opened through a contestant, and all queries once over a
//! number of threads.
//!
//! The index code is the same for all, and so are the files; what differs is through what pages are
//! read. The clock covers the searches alone. Graph and codes that are resident are loaded before,
//! by direct reads, whoever takes part.

mod data;
mod opened;
mod rehearsal;
mod threads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringpool::{Rescore, SearchParams, vectors};
use ringpool_cli::failure::Failure;
use ringpool_cli::process::{Counters, Undroppable};
use serde::{Deserialize, Serialize};

use crate::run::{Measure, Measured};
use crate::slow_disk::Seen;

pub use data::{DataArgs, DataSet};
pub use opened::{Opened, Paged};
pub use rehearsal::limit_bytes;
pub use threads::search;

/// What searches are measured by, their speed first.
pub const MEASURES: [Measure; 8] = [
    Measure::higher("qps", "QPS"),
    Measure::lower("p50_ms", "p50 ms"),
    Measure::lower("p99_ms", "p99 ms"),
    Measure::told("reads_per_query", "reads a query"),
    Measure::told("kib_per_query", "KiB a query"),
    Measure::told("reads_per_second", "reads/s"),
    Measure::told("cpu_percent", "CPU %"),
    Measure::told("major_faults", "major faults"),
];

/// One run.
#[derive(Serialize, Deserialize, Clone)]
pub struct Task {
    pub contestant: String,
    /// The segment, on whatever it is on.
    pub segment: PathBuf,
    /// A file of queries, all of which are run.
    pub queries: PathBuf,
    pub paged: Paged,
    /// What a contestant with a cache of its own may spend on pages.
    pub memory_bytes: u64,
    pub threads: usize,
    /// Queries that each thread has in flight, for all contestants.
    pub in_flight: usize,
    pub k: usize,
    pub ef: usize,
    pub oversample: f32,
    /// Whether all queries are run once before, within the same limit.
    pub warm: bool,
    /// Whether the segment is on a slow disk, which is then asked what was read.
    pub slow: bool,
}

impl Task {
    pub fn params(&self) -> SearchParams {
        SearchParams { k: self.k, ef: self.ef, rescore: Rescore::Times(self.oversample) }
    }

    /// For the command line of a child.
    pub fn words(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::of(&error))
    }
}

/// Rows of floats.
pub struct Queries {
    dim: usize,
    values: Vec<f32>,
}

impl Queries {
    /// The rows of the file at `path`.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let rows = vectors::read(path).map_err(|error| Failure::of(&error))?;
        let dim = rows.dim();
        let mut values = vec![0.0; rows.len() * dim];
        for (row, out) in values.chunks_exact_mut(dim).enumerate() {
            rows.row_f32(row, out);
        }
        Ok(Self { dim, values })
    }

    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    pub fn row(&self, query: usize) -> &[f32] {
        &self.values[query * self.dim..][..self.dim]
    }
}

/// Does one run.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let queries = Queries::read(&task.queries)?;
    let opened = Opened::open(task)?;
    if task.warm {
        search(&opened.segment, &queries, task)?;
    }
    let seen = || Seen::at(&task.segment).map(|seen| opened.asked(&seen));
    let asked = || task.slow.then(seen).transpose();
    let (before, asked_before) = (Counters::now(), asked()?);
    let searched = search(&opened.segment, &queries, task)?;
    let (spent, asked_after) = (Counters::now().since(&before), asked()?);
    let undroppable = Undroppable::now();
    let failed = searched.found.iter().find_map(|found| found.hits.as_ref().err());
    if let Some(line) = failed {
        return Err(Failure::new(line.clone()));
    }
    let (seconds, count) = (searched.wall.as_secs_f64(), queries.len() as f64);
    let page_bytes = opened.page_bytes as f64;
    let read = match asked_after.zip(asked_before) {
        Some((after, before)) => {
            Some(((after.reads - before.reads) as f64, (after.bytes - before.bytes) as f64))
        }
        // The kernel counts bytes, whichever way they were read.
        None => spent.read_bytes.map(|bytes| (bytes as f64 / page_bytes, bytes as f64)),
    };
    let mut figures = vec![
        ("qps", count / seconds),
        ("seconds", seconds),
        ("p50_ms", searched.latency_ms(0.5)),
        ("p99_ms", searched.latency_ms(0.99)),
        ("cpu_percent", spent.cpu_seconds / seconds * 100.0),
        ("major_faults", spent.major_faults as f64),
    ];
    if let Some((reads, bytes)) = read {
        figures.push(("reads_per_query", reads / count));
        figures.push(("kib_per_query", bytes / 1024.0 / count));
        figures.push(("reads_per_second", reads / seconds));
    }
    if let Some(undroppable) = undroppable {
        figures.push(("anonymous_bytes", undroppable.anonymous_bytes as f64));
        figures.push(("page_table_bytes", undroppable.page_table_bytes as f64));
    }
    let figures: BTreeMap<String, f64> =
        figures.into_iter().map(|(key, figure)| (key.to_owned(), figure)).collect();
    Ok(Measured { figures, seconds: Vec::new(), answer: Some(searched.answers_crc32c().into()) })
}
