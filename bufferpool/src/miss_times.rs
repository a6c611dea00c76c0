//! How long misses take: from the claim of an absent page to the landing of its read.
//!
//! A batch keeps for each page when it was claimed, in 32 bits: ticks of 64 ns, as finely as
//! latencies are told apart, that wrap after 274 s. A read that takes longer counts as shorter.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use ringpool_storage::{Latencies, LatencyCounts};

const TICK_BITS: u32 = 6;

pub(crate) struct MissTimes {
    began: Instant,
    counts: LatencyCounts,
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticks(u32);

/// When a page was claimed, by whoever did; looked at by whoever lands its read.
#[derive(Default)]
pub(crate) struct ClaimedAt(AtomicU32);

impl MissTimes {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), counts: LatencyCounts::new() }
    }

    pub(crate) fn now(&self) -> Ticks {
        Ticks((self.began.elapsed().as_nanos() >> TICK_BITS) as u32)
    }

    /// Counts a read that lands now. Returns how many nanoseconds it took.
    pub(crate) fn landed(&self, claimed: &ClaimedAt) -> u64 {
        // Relaxed: the device hands the read over from who claimed to who lands.
        let ticks = self.now().0.wrapping_sub(claimed.0.load(Ordering::Relaxed));
        let taken_ns = u64::from(ticks) << TICK_BITS;
        self.counts.count(&[taken_ns]);
        taken_ns
    }

    pub(crate) fn so_far(&self) -> Latencies {
        self.counts.so_far()
    }
}

impl ClaimedAt {
    pub(crate) fn set(&self, now: Ticks) {
        // Relaxed: as in `landed`.
        self.0.store(now.0, Ordering::Relaxed);
    }
}
