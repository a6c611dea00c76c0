//! The figures of a pool for the `metrics` facade, behind the feature of the same name.
//!
//! Nothing is counted for it on the way: [`Pool::publish_metrics`] takes a snapshot and sets
//! counters and gauges to what it says. Call it as often as they are looked at: once for each
//! scrape, or each few seconds.

use std::sync::Arc;

use metrics::{SharedString, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::pool::Pool;
use crate::stats::{FileStats, MissLatency, Snapshot, Stats};

/// A name, what it means, and where the figure is.
type Figure<S, T> = (&'static str, &'static str, fn(&S) -> T);

const POOL_COUNTERS: [Figure<Stats, u64>; 6] = [
    ("ringpool_pool_hits_total", "Pages asked for that were in memory.", |s| s.hits),
    ("ringpool_pool_misses_total", "Pages asked for that were not.", |s| s.misses),
    ("ringpool_pool_reads_total", "Pages read from a device, well or not.", |s| s.reads),
    ("ringpool_pool_failed_reads_total", "Reads that gave no page.", |s| s.failed_reads),
    ("ringpool_pool_evictions_total", "Pages that had to go for others.", |s| s.evictions),
    ("ringpool_pool_sweep_steps_total", "Steps in search of victims.", |s| s.sweep_steps),
];

const POOL_GAUGES: [Figure<Snapshot, usize>; 8] = [
    ("ringpool_pool_frames", "All frames.", |s| s.total.frames),
    ("ringpool_pool_free_frames", "Frames that hold no page.", |s| s.total.free),
    ("ringpool_pool_resident_pages", "Pages in memory.", |s| s.total.resident()),
    ("ringpool_pool_pinned_pages", "Pages that somebody pins.", Snapshot::pinned),
    ("ringpool_pool_in_flight_reads", "Reads that have not landed.", |s| s.total.loading),
    ("ringpool_pool_limbo_frames", "Frames that readers may still look at.", |s| s.total.limbo),
    ("ringpool_pool_retired_frames", "Frames that pay for tables.", |s| s.total.retired),
    ("ringpool_pool_readers", "Readers that are inside.", |s| s.total.readers),
];

const POOL_BYTES: [Figure<Stats, u64>; 2] = [
    ("ringpool_pool_memory_bytes", "The budget.", |s| s.memory_bytes),
    ("ringpool_pool_table_bytes", "The memory of page tables.", |s| s.table_bytes),
];

const MISS_LATENCY_SECONDS: (&str, &str) =
    ("ringpool_pool_miss_latency_seconds", "From the claim of an absent page to its landing.");

/// A quantile's label, and where it is; 1 is the longest.
type Quantile = (&'static str, fn(&MissLatency) -> f64);

const QUANTILES_US: [Quantile; 5] = [
    ("0.5", |l| l.p50_us),
    ("0.9", |l| l.p90_us),
    ("0.99", |l| l.p99_us),
    ("0.999", |l| l.p999_us),
    ("1", |l| l.max_us),
];

const FILE_COUNTERS: [Figure<FileStats, u64>; 5] = [
    ("ringpool_file_hits_total", "Pages asked for that were in memory.", |s| s.hits),
    ("ringpool_file_misses_total", "Pages asked for that were not.", |s| s.misses),
    ("ringpool_file_reads_total", "Pages read from the device, well or not.", |s| s.reads),
    ("ringpool_file_failed_reads_total", "Reads that gave no page.", |s| s.failed_reads),
    ("ringpool_file_evictions_total", "Pages that had to go for others.", |s| s.evictions),
];

const FILE_GAUGES: [Figure<FileStats, usize>; 3] = [
    ("ringpool_file_resident_pages", "Pages in memory.", |s| s.resident),
    ("ringpool_file_pinned_pages", "Pages that somebody pins.", |s| s.pinned),
    ("ringpool_file_in_flight_reads", "Reads that have not landed.", |s| s.in_flight),
];

impl Pool {
    /// Tells the recorder what the metrics mean, once, before the first is published.
    pub fn describe_metrics() {
        let counters = POOL_COUNTERS.map(|(name, meaning, _)| (name, meaning));
        let file_counters = FILE_COUNTERS.map(|(name, meaning, _)| (name, meaning));
        for (name, meaning) in counters.into_iter().chain(file_counters) {
            describe_counter!(name, Unit::Count, meaning);
        }
        let gauges = POOL_GAUGES.map(|(name, meaning, _)| (name, meaning));
        let file_gauges = FILE_GAUGES.map(|(name, meaning, _)| (name, meaning));
        for (name, meaning) in gauges.into_iter().chain(file_gauges) {
            describe_gauge!(name, Unit::Count, meaning);
        }
        for (name, meaning, _) in POOL_BYTES {
            describe_gauge!(name, Unit::Bytes, meaning);
        }
        describe_gauge!(MISS_LATENCY_SECONDS.0, Unit::Seconds, MISS_LATENCY_SECONDS.1);
    }

    /// Sets the counters and gauges of the recorder that is in force to what the pool's
    /// [snapshot](Self::snapshot) says, each with the label `pool` and, where it is a file's,
    /// `file`. Without a recorder nothing comes of it.
    pub fn publish_metrics(&self, pool: &str) {
        let snapshot = self.snapshot();
        let pool = SharedString::from_shared(Arc::from(pool));
        for (name, _, of) in POOL_COUNTERS {
            counter!(name, "pool" => pool.clone()).absolute(of(&snapshot.total));
        }
        for (name, _, of) in POOL_GAUGES {
            gauge!(name, "pool" => pool.clone()).set(of(&snapshot) as f64);
        }
        for (name, _, of) in POOL_BYTES {
            gauge!(name, "pool" => pool.clone()).set(of(&snapshot.total) as f64);
        }
        for (quantile, of_us) in QUANTILES_US {
            let seconds = of_us(&snapshot.total.miss_latency) / 1e6;
            gauge!(MISS_LATENCY_SECONDS.0, "pool" => pool.clone(), "quantile" => quantile)
                .set(seconds);
        }
        for file in &snapshot.files {
            let path = SharedString::from_shared(file.file.clone());
            for (name, _, of) in FILE_COUNTERS {
                counter!(name, "pool" => pool.clone(), "file" => path.clone()).absolute(of(file));
            }
            for (name, _, of) in FILE_GAUGES {
                gauge!(name, "pool" => pool.clone(), "file" => path.clone()).set(of(file) as f64);
            }
        }
    }
}
