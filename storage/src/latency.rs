//! How long reads take, in buckets of powers of two.
//!
//! Counted by the ring engine from the SQE to the look at its CQE, by a pool from the claim of a
//! page to its landing. Each power of two is cut into 16 parts, so that a percentile is right to about 3 %. Recording
//! is one atomic addition for neighbours in a burst that took equally long, and one for its sum;
//! reading it back races with recording and may miss the last few. (A histogram from a library
//! would be recorded to by one thread at a time.)

use std::sync::atomic::{AtomicU64, Ordering};

const PARTS: usize = 16;
/// From 64 ns to about 70 s; what takes longer counts as that.
const POWERS: std::ops::Range<u32> = 6..36;
const BUCKETS: usize = (POWERS.end - POWERS.start) as usize * PARTS;

/// Counts how long reads take. Any number of threads count at once; it takes some 4 KiB.
#[derive(Debug)]
pub struct LatencyCounts {
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// How long reads took, in microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Latencies {
    counts: Vec<u64>,
    sum_ns: u64,
}

impl LatencyCounts {
    /// Nothing counted yet.
    pub const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum_ns: AtomicU64::new(0) }
    }

    /// Counts the reads of a burst, each with its nanoseconds. Those that were started together
    /// took equally long.
    #[inline]
    pub fn count(&self, latencies_ns: &[u64]) {
        // Relaxed: counts, read for their values alone.
        for equal in latencies_ns.chunk_by(|&a, &b| bucket(a) == bucket(b)) {
            self.buckets[bucket(equal[0])].fetch_add(equal.len() as u64, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(latencies_ns.iter().sum(), Ordering::Relaxed);
    }

    /// What was counted until now.
    pub fn so_far(&self) -> Latencies {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Latencies { counts, sum_ns: self.sum_ns.load(Ordering::Relaxed) }
    }
}

impl Default for LatencyCounts {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// What was counted after `earlier` was taken.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts =
            self.counts.iter().zip(&earlier.counts).map(|(now, then)| now - then).collect();
        Self { counts, sum_ns: self.sum_ns - earlier.sum_ns }
    }

    /// How many reads were counted.
    pub fn reads(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean, exact; 0 of nothing.
    pub fn mean_us(&self) -> f64 {
        self.sum_ns as f64 / 1e3 / self.reads().max(1) as f64
    }

    /// The latency that a share of the reads stay below (0.5: the median), to about 3 %.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (share.clamp(0.0, 1.0) * self.reads() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return middle_us(i);
            }
        }
        0.0
    }

    /// The longest, to about 3 %.
    pub fn max_us(&self) -> f64 {
        self.counts.iter().rposition(|&count| count > 0).map_or(0.0, middle_us)
    }
}

fn bucket(latency_ns: u64) -> usize {
    let clamped = latency_ns.clamp(1 << POWERS.start, (1 << POWERS.end) - 1);
    let power = clamped.ilog2();
    let part = (clamped >> (power - PARTS.ilog2())) as usize % PARTS;
    (power - POWERS.start) as usize * PARTS + part
}

fn middle_us(bucket: usize) -> f64 {
    let power = POWERS.start + (bucket / PARTS) as u32;
    let part = (bucket % PARTS) as f64 + 0.5;
    (1u64 << power) as f64 * (1.0 + part / PARTS as f64) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let counts = LatencyCounts::new();
        for us in 1..=1000 {
            counts.count(&[us * 1000]);
        }
        let latencies = counts.so_far();
        assert_eq!(latencies.reads(), 1000);
        assert_eq!(latencies.mean_us(), 500.5);
        for (share, truth) in [(0.01, 10.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = latencies.quantile_us(share);
            assert!((found / truth - 1.0f64).abs() < 0.035, "{share}: {found} for {truth}");
        }
        assert!((latencies.max_us() / 1000.0 - 1.0).abs() < 0.035);
        counts.count(&[5_000_000]);
        assert_eq!(counts.so_far().since(&latencies).reads(), 1);
    }

    #[test]
    fn what_is_out_of_range_is_counted_at_its_end() {
        let counts = LatencyCounts::new();
        for latency_ns in [0, 1, 63, u64::MAX] {
            counts.buckets[bucket(latency_ns)].fetch_add(1, Ordering::Relaxed);
        }
        let latencies = counts.so_far();
        assert_eq!(latencies.reads(), 4);
        assert!(latencies.quantile_us(0.5) < 0.07 && latencies.max_us() > 6e7);
        assert_eq!(LatencyCounts::new().so_far().quantile_us(0.5), 0.0);
    }
}
