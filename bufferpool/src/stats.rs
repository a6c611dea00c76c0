//! Counters, and the audit that compares the books with the frames.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

/// What a pool has done since it was made, and what its frames hold now.
///
/// Taken without stopping anybody: while other threads work, the figures are of slightly
/// different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Pages asked for that were in memory.
    pub hits: u64,
    /// Pages asked for that were not, whoever read them.
    pub misses: u64,
    /// Pages read from a device, well or not.
    pub reads: u64,
    /// Pages evicted by the clock.
    pub evictions: u64,
    /// Steps that were taken in search of pages to evict: frames that the hand has passed, and
    /// pages whose probation has ended.
    pub sweep_steps: u64,
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

/// A few cells, so that threads that count do not fight for one cache line.
const CELLS: usize = 16;

#[derive(Default)]
struct Cell {
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Counts {
    cells: [CachePadded<Cell>; CELLS],
    started: AtomicU64,
    landed: AtomicU64,
}

// Relaxed throughout: these are counts, read for their values alone.
impl Counts {
    /// Counts a batch at once.
    #[inline]
    pub(crate) fn looked(&self, hits: u64, misses: u64) {
        let cell = &self.cells[cell_of_this_thread()];
        if hits > 0 {
            cell.hits.fetch_add(hits, Ordering::Relaxed);
        }
        if misses > 0 {
            cell.misses.fetch_add(misses, Ordering::Relaxed);
        }
    }

    pub(crate) fn started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn landed(&self) {
        self.landed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sum(&self) -> Stats {
        let landed = self.landed.load(Ordering::Relaxed);
        let started = self.started.load(Ordering::Relaxed);
        let sum = |count: fn(&Cell) -> &AtomicU64| {
            self.cells.iter().map(|cell| count(cell).load(Ordering::Relaxed)).sum()
        };
        Stats {
            hits: sum(|cell| &cell.hits),
            misses: sum(|cell| &cell.misses),
            reads: landed,
            loading: started.saturating_sub(landed) as usize,
            ..Stats::default()
        }
    }
}

/// A thread's cell: by where its stack is, which needs no state of its own.
#[inline]
fn cell_of_this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    // Each thread has its own copy, at an address of its own.
    let address = HERE.with(|here| std::ptr::from_ref(here) as usize as u64);
    ((address >> 6).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize % CELLS
}
