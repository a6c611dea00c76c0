//! How a pool is made.

use std::time::Duration;

use ringpool_storage::PageSize;

use crate::policy::Policy;

/// How a pool is made.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The budget in bytes. It covers the frames, what is kept for each of them and for the pool,
    /// and the page tables and checksums of the attached files.
    pub memory_bytes: u64,
    /// The largest budget that [`Pool::resize`](crate::Pool::resize) can give the pool later, in bytes; `None` for
    /// `memory_bytes`. What is reserved costs addresses, and two bytes a page.
    pub max_memory_bytes: Option<u64>,
    /// The size of a page, the same for all files of the pool.
    pub page_size: PageSize,
    /// Which pages are evicted.
    pub policy: Policy,
    /// Whether the frames are locked in memory (mlock). Otherwise a system that swaps may take
    /// some away that count as resident, and a hit then waits for its swap: as slow as a miss,
    /// and unseen by the statistics. What has been read stays; what was never read takes nothing.
    pub locked: bool,
    /// Whether page tables are paid for whole when their files are attached, however large they
    /// are. Then the number of frames does not change while a file is read, and the table may be
    /// on huge pages; otherwise that is so of tables up to a 32nd of the budget, and of small ones.
    pub whole_tables: bool,
    /// How long a thread that finds every frame pinned or loading waits for one.
    pub frame_patience: Duration,
    /// How long a thread waits for the next page of its batch to arrive from the device.
    pub device_patience: Duration,
}

impl Default for PoolOptions {
    /// 64 MiB of pages of 4 KiB, the default policy; a second for a frame, thirty for a device.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            max_memory_bytes: None,
            locked: false,
            whole_tables: false,
            page_size: PageSize::KIB_4,
            policy: Policy::default(),
            frame_patience: Duration::from_secs(1),
            device_patience: Duration::from_secs(30),
        }
    }
}
