//! The JSON of a run: its keys are a contract, in this order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::found::FoundHit;

/// What one run of the queries measured. `None` where a figure has no meaning.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    pub backend: String,
    /// `cold`, `warm` or `as-is`.
    pub temperature: String,
    pub mmap_advice: Option<String>,
    pub engine: Option<String>,
    pub engine_reason: Option<String>,
    pub direct_io: Option<bool>,
    /// `cgroup-v1`, `cgroup-v2`, `pool` or `none`.
    pub memory_enforced_by: String,
    pub queries: u64,
    pub threads: u64,
    pub k: u64,
    pub recall: Option<f64>,
    pub qps: f64,
    pub latency_us: LatencyUs,
    pub cpu_seconds: f64,
    pub wall_seconds: f64,
    /// Reads of the pool's device; for a mapping its major faults.
    pub reads: Option<u64>,
    /// The kernel's own count of what the disk delivered.
    pub read_bytes: Option<u64>,
    pub reads_per_query: Option<f64>,
    pub hits: Option<u64>,
    pub misses: Option<u64>,
    pub evictions: Option<u64>,
    pub memory_budget_bytes: Option<u64>,
    pub peak_rss_bytes: Option<u64>,
    /// What the page cache holds of the files read through the backend after the run.
    pub page_cache_bytes: Option<u64>,
    /// Why the one above is null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_cache_reason: Option<String>,
    /// `first-touch` or `never`, for a mapping.
    pub mmap_verify: Option<String>,
    /// CRC32C over all ids and the bits of all distances: equal for equal answers.
    pub answers_crc32c: String,
    /// Originals that were read to rescore; none where the walk read originals.
    pub originals_per_query: Option<f64>,
    /// Queries in flight on each thread; none where all are measured at once.
    pub inflight: Option<u64>,
    /// Where the components are, as `--place` takes it.
    pub place: String,
    /// What the components take that are loaded.
    pub resident_bytes: u64,
    /// Those that are in the pool.
    pub components: Vec<ComponentReport>,
    /// How many segments each query searched.
    pub segments: u64,
    /// The filter, in the one way to write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many points it let pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<u64>,
    /// Their share of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selectivity: Option<f64>,
    /// How long it took to evaluate, for all segments, before the queries were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_us: Option<f64>,
    /// How long it took to read the fields of all hits, after the queries were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields_us: Option<f64>,
    /// The hits of each query with their fields. (`hits` are those of the pool.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<Vec<FoundHit>>>,
}

/// What the pool did for a component since it was opened.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ComponentReport {
    pub component: String,
    pub pages: u64,
    /// Of these in memory after the run.
    pub resident_pages: u64,
    pub hits: u64,
    pub misses: u64,
    pub reads: u64,
}

/// How long a query took, in microseconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct LatencyUs {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What the rehearsal of a comparison measures.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct LoadReport {
    /// The memory that the kernel cannot drop, when all queries were run and before the threads
    /// end: without the pool's frames, which are the budget's.
    pub anonymous_bytes: u64,
    /// The tables that say where it is.
    pub page_table_bytes: u64,
    /// What `--memory` comes to.
    pub budget_bytes: u64,
    /// The bytes in pages that go through the backend.
    pub paged_bytes: u64,
    /// Their files.
    pub paged_files: Vec<PathBuf>,
}
