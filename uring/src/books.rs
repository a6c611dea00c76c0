//! What an engine counts, over all its rings, and what it steers by.

use std::sync::atomic::AtomicU64;

use ringpool_storage::LatencyCounts;

use crate::depth::Depth;
use crate::registered::Regions;

pub(crate) struct Books {
    pub(crate) depth: Depth,
    pub(crate) regions: Regions,
    pub(crate) latencies: LatencyCounts,
    pub(crate) reads: AtomicU64,
    pub(crate) merged: AtomicU64,
    pub(crate) bridged_bytes: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) strays: AtomicU64,
    pub(crate) panics: AtomicU64,
}

impl Books {
    pub(crate) fn new(depth: Depth) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            depth,
            regions: Regions::new(),
            latencies: LatencyCounts::new(),
            reads: zero(),
            merged: zero(),
            bridged_bytes: zero(),
            retries: zero(),
            strays: zero(),
            panics: zero(),
        }
    }
}

/// What an engine has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Pages read, well or not.
    pub reads: u64,
    /// Of these, pages that shared a read of the disk with their neighbours.
    pub merged: u64,
    /// Bytes that lay between pages of one read, and were read for nobody.
    pub bridged_bytes: u64,
    /// Calls of `io_uring_enter`; 0 for the blocking engine.
    pub enters: u64,
    /// Reads that were offered again: interrupted, short, or refused for a moment.
    pub retries: u64,
    /// Completions of no read in flight. Anything but 0 is a defect, the kernel's or ours.
    pub strays: u64,
    /// Landings that panicked. Their reads have ended; nobody else's were touched.
    pub panics: u64,
    /// Rings that were set up.
    pub rings: u32,
    /// Reads that may be in flight at this moment, over all rings.
    pub depth: u32,
    /// Bytes of memory that are registered with the rings.
    pub registered_bytes: u64,
}
