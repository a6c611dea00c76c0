//! What a pool has done and what it holds: figures for whoever runs it, and the audit that
//! compares the books with the frames.
//!
//! [`Pool::stats`] adds up what threads have counted and costs as much as there are threads and
//! files. What is pinned is counted by nobody, since that would cost each hit: to know it,
//! [`Pool::snapshot`] looks at every frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringpool_storage::Latencies;

use crate::counters::{Count, Listed, Sum};
use crate::pool::{Core, Pool, PoolFile};

/// What a pool has done since it was made, and what its frames hold now.
///
/// Taken without stopping anybody: while other threads work, the figures are of slightly
/// different moments. Counts only grow: two snapshots make a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Pages asked for that were in memory.
    pub hits: u64,
    /// Pages asked for that were not, whoever read them.
    pub misses: u64,
    /// Pages read from a device, well or not.
    pub reads: u64,
    /// Of these, the ones that gave no page: the device's error, or bytes that do not match their
    /// checksum.
    pub failed_reads: u64,
    /// Pages that had to go for others.
    pub evictions: u64,
    /// Steps that were taken in search of pages to evict: frames that the hand has passed, and
    /// pages whose probation has ended.
    pub sweep_steps: u64,
    /// How long reads took, from the claim of an absent page to its landing.
    pub miss_latency: MissLatency,
    /// All frames.
    pub frames: usize,
    /// Frames that hold no page.
    pub free: usize,
    /// Frames that a read in flight belongs to.
    pub loading: usize,
    /// Frames whose pages were evicted, and which readers may still look at.
    pub limbo: usize,
    /// Readers that are inside at this moment.
    pub readers: usize,
    /// Frames out of use, whose memory pays for page tables and checksums.
    pub retired: usize,
    /// The memory of page tables, in bytes: of those paid for whole, and of the parts of others
    /// that are in memory.
    pub table_bytes: u64,
    /// The budget in bytes: frames, what they cost beside their pages, tables and checksums.
    pub memory_bytes: u64,
}

impl Stats {
    /// Frames that hold a page.
    pub fn resident(&self) -> usize {
        self.frames.saturating_sub(self.free + self.loading + self.retired + self.limbo)
    }
}

/// How long reads took since the pool was made, in microseconds.
///
/// The percentiles are right to about 3 %, the mean is exact. For those of the last minute, keep
/// the [`Latencies`] of a minute ago: [`Pool::miss_latencies`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MissLatency {
    /// How many reads were measured: all of the pool's.
    pub reads: u64,
    /// Their mean.
    pub mean_us: f64,
    /// Half of them took less.
    pub p50_us: f64,
    /// Nine of ten took less.
    pub p90_us: f64,
    /// 99 of 100 took less.
    pub p99_us: f64,
    /// 999 of 1,000 took less.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl From<&Latencies> for MissLatency {
    fn from(latencies: &Latencies) -> Self {
        Self {
            reads: latencies.reads(),
            mean_us: latencies.mean_us(),
            p50_us: latencies.quantile_us(0.5),
            p90_us: latencies.quantile_us(0.9),
            p99_us: latencies.quantile_us(0.99),
            p999_us: latencies.quantile_us(0.999),
            max_us: latencies.max_us(),
        }
    }
}

/// What was done for one file since it was attached, and what is in memory of it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct FileStats {
    /// The file's path, as its device names it.
    pub file: Arc<str>,
    /// How many pages it has.
    pub pages: u64,
    /// Pages asked for that were in memory.
    pub hits: u64,
    /// Pages asked for that were not, whoever read them.
    pub misses: u64,
    /// Pages read from the device, well or not.
    pub reads: u64,
    /// Of these, the ones that gave no page.
    pub failed_reads: u64,
    /// Pages that had to go for others.
    pub evictions: u64,
    /// The mean time of a read from claim to landing, in microseconds; 0 before the first.
    pub mean_miss_latency_us: f64,
    /// Pages in memory.
    pub resident: usize,
    /// Pages on their way.
    pub in_flight: usize,
    /// Pages that somebody pins. What readers look at is not pinned.
    pub pinned: usize,
    /// Their pins together: guards, and visitors that are looking.
    pub pins: u64,
}

/// A pool and each of its files at one moment, or nearly.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// All files together, detached ones included.
    pub total: Stats,
    /// The files that are attached.
    pub files: Vec<FileStats>,
}

impl Snapshot {
    /// Pages that somebody pins.
    pub fn pinned(&self) -> usize {
        self.files.iter().map(|file| file.pinned).sum()
    }

    /// Their pins together.
    pub fn pins(&self) -> u64 {
        self.files.iter().map(|file| file.pins).sum()
    }
}

impl Pool {
    /// What the pool has done, and what its frames hold.
    pub fn stats(&self) -> Stats {
        let core = self.core();
        let (sum, frames) = (core.counters.sum(), core.frames_of_budget());
        Stats {
            hits: sum.of(Count::Hit),
            misses: sum.of(Count::Miss),
            reads: sum.of(Count::Landed),
            failed_reads: sum.of(Count::Failed),
            evictions: sum.of(Count::Evicted),
            // Relaxed: a count, read for its value alone.
            sweep_steps: core.clock.steps.load(Ordering::Relaxed),
            miss_latency: MissLatency::from(&self.miss_latencies()),
            frames,
            free: core.frames.free_count(),
            loading: sum.in_flight(),
            limbo: core.frames.limbo_count(),
            readers: core.frames.epochs.inside(),
            retired: frames.saturating_sub(core.frames.usable_count()),
            table_bytes: core.tables.memory_bytes(),
            memory_bytes: core.accounts.memory_bytes(),
        }
    }

    /// How long each read took until now, from the claim of an absent page to its landing. Of two
    /// of these, the difference is what came between: [`Latencies::since`].
    pub fn miss_latencies(&self) -> Latencies {
        self.core().miss_times.so_far()
    }

    /// The pool and each of its files. Looks at every frame and the page in it, some 30 ms
    /// for each million: for a look now and then, not for each query.
    pub fn snapshot(&self) -> Snapshot {
        let core = self.core();
        let numbers = core.counters.files();
        let held = core.held();
        let file = |number| {
            let (listed, sum) = core.counters.of_file(number)?;
            Some(FileStats::new(listed, &sum, held.get(usize::from(number)).copied()))
        };
        Snapshot { total: self.stats(), files: numbers.into_iter().filter_map(file).collect() }
    }
}

impl PoolFile {
    /// What was done for this file, and what is in memory of it. Looks at every frame of the pool,
    /// as [`Pool::snapshot`] does.
    pub fn stats(&self) -> FileStats {
        let (core, number) = (&self.file().pool, self.file().number);
        let (listed, sum) = core.counters.of_file(number).unwrap_or_default();
        FileStats::new(listed, &sum, core.held().get(usize::from(number)).copied())
    }
}

impl FileStats {
    fn new(listed: Listed, sum: &Sum, held: Option<Held>) -> Self {
        let Held { resident, pinned, pins } = held.unwrap_or_default();
        let reads = sum.of(Count::Landed);
        Self {
            file: listed.name,
            pages: listed.pages,
            hits: sum.of(Count::Hit),
            misses: sum.of(Count::Miss),
            reads,
            failed_reads: sum.of(Count::Failed),
            evictions: sum.of(Count::Evicted),
            mean_miss_latency_us: sum.of(Count::ReadNs) as f64 / 1e3 / reads.max(1) as f64,
            resident,
            in_flight: sum.in_flight(),
            pinned,
            pins,
        }
    }
}

/// What the frames hold of one file.
#[derive(Clone, Copy, Default)]
struct Held {
    resident: usize,
    pinned: usize,
    pins: u64,
}

impl Core {
    /// What the frames hold of each file, by the files' numbers.
    fn held(&self) -> Vec<Held> {
        let tables = self.tables.read();
        let mut held = vec![Held::default(); tables.len()];
        for (frame, file, page) in self.frames.owned() {
            let Some(Some(table)) = tables.get(usize::from(file)) else { continue };
            let Some(content) = table.word(page).map(|word| word.content()) else { continue };
            // The frame's owner is a hint; the word decides.
            if content.is_resident() && content.frame() == frame {
                let held = &mut held[usize::from(file)];
                held.resident += 1;
                held.pinned += usize::from(content.pins() > 0);
                held.pins += content.pins();
            }
        }
        held
    }
}

/// What a look at every page finds in a pool at rest. See [`Pool::audit`](crate::Pool::audit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// Pages in memory.
    pub resident: usize,
    /// Pages on their way.
    pub loading: usize,
    /// Frames that hold none.
    pub free: usize,
    /// Frames whose pages were evicted, and which readers may still look at.
    pub limbo: usize,
    /// Frames out of use.
    pub retired: usize,
    /// Pins of all pages together.
    pub pins: u64,
}
