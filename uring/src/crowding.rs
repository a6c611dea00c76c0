//! Whether reads wait for each other at the disk, by what they take.
//!
//! A load that comes in bursts never keeps the disk busy for long enough to compare rates, and yet
//! each burst may wait for places in flight. On a disk that is far away such places are free: reads
//! take as long beside 60 others as alone. [`Crowding`] looks at the reads that land while no more
//! may start. As long as these take little longer than the fastest, the disk has room.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A read that takes so many times as long as the fastest has waited for others.
const WAITED: u64 = 3;
/// Reads that are looked at for each that may be in flight, before it is judged.
const READS_A_DEPTH: u64 = 4;

/// What reads took, until rates are known.
pub(crate) struct Crowding {
    watched: AtomicBool,
    /// Of all reads.
    least_ns: AtomicU64,
    /// Of those that landed while no more might start.
    reads: AtomicU64,
    sum_ns: AtomicU64,
}

impl Crowding {
    pub(crate) fn new(watched: bool) -> Self {
        let (reads, sum_ns) = (AtomicU64::new(0), AtomicU64::new(0));
        let (watched, least_ns) = (AtomicBool::new(watched), AtomicU64::new(u64::MAX));
        Self { watched, least_ns, reads, sum_ns }
    }

    /// Whether anybody wants to know.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        // Relaxed, here and below: numbers that guide and guard nothing.
        self.watched.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.watched.store(false, Ordering::Relaxed);
    }

    /// Takes in what reads took that landed while `depth` might be in flight, and as good as so many
    /// were (`full`) or not. Whether there is room for more.
    pub(crate) fn landed(&self, latencies_ns: &[u64], full: bool, depth: u32) -> bool {
        let Some(&least_ns) = latencies_ns.iter().min() else { return false };
        if least_ns < self.least_ns.load(Ordering::Relaxed) {
            self.least_ns.fetch_min(least_ns, Ordering::Relaxed);
        }
        if !full {
            return false;
        }
        let sum_ns = latencies_ns.iter().sum::<u64>();
        let sum_ns = self.sum_ns.fetch_add(sum_ns, Ordering::Relaxed) + sum_ns;
        let reads = latencies_ns.len() as u64;
        let reads = self.reads.fetch_add(reads, Ordering::Relaxed) + reads;
        if reads < READS_A_DEPTH * u64::from(depth) {
            return false;
        }
        self.reads.store(0, Ordering::Relaxed);
        self.sum_ns.store(0, Ordering::Relaxed);
        sum_ns / reads < self.least_ns.load(Ordering::Relaxed).saturating_mul(WAITED)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_where_reads_take_no_longer_than_alone() {
        let far = Crowding::new(true);
        assert!(!far.landed(&[1_000], false, 4), "one alone says nothing");
        assert!(!far.landed(&[1_200; 15], true, 4), "fewer than four a place");
        assert!(far.landed(&[1_200], true, 4));
        assert!(!far.landed(&[1_200], true, 4), "and is judged anew");
    }

    #[test]
    fn there_is_none_where_they_wait_for_each_other() {
        let near = Crowding::new(true);
        assert!(!near.landed(&[100, 200], false, 4));
        assert!(!near.landed(&[400; 16], true, 4));
        assert!(!near.landed(&[], true, 4));
        let idle = Crowding::new(true);
        assert!((0..100).all(|_| !idle.landed(&[100], false, 4)), "nobody waits for a place");
    }
}
