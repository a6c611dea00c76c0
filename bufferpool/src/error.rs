//! Why a pool cannot be made or resized, or a file not be attached. What goes wrong with a page is
//! [`ringpool_storage::Error`].

use std::io;
use std::sync::Arc;

use ringpool_storage::PageSize;

/// Why a pool cannot be made or resized, or a file not be attached to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The budget is too small to be a pool.
    #[error(
        "a budget of {memory_bytes} bytes is below the minimum: {minimum_frames} frames of \
         {page_size}, which take {minimum_bytes} bytes; give the pool more memory"
    )]
    BelowMinimum {
        /// The budget given, in bytes.
        memory_bytes: u64,
        /// The frames that a pool has at least.
        minimum_frames: u32,
        /// The budget that they need, in bytes.
        minimum_bytes: u64,
        /// The size of a page.
        page_size: PageSize,
    },

    /// The tables of an attached file are paid for with frames, and too few would be left.
    #[error(
        "{file}: its page table and checksums take {table_bytes} bytes, which leaves fewer than \
         {minimum_frames} of the pool's {frames} frames; give the pool at least \
         {minimum_bytes} bytes"
    )]
    TableTooLarge {
        /// Path of the file.
        file: Arc<str>,
        /// What its table and checksums take, in bytes.
        table_bytes: u64,
        /// The frames that the pool has.
        frames: usize,
        /// The frames that must be left.
        minimum_frames: u32,
        /// The budget that would do, in bytes.
        minimum_bytes: u64,
    },

    /// All frames that the table needs are pinned or loading.
    #[error(
        "{file}: no frames came free to pay for its page table; drop guards, then attach again"
    )]
    Pinned {
        /// Path of the file.
        file: Arc<str>,
    },

    /// A budget past the one that addresses were reserved for when the pool was made.
    #[error(
        "a budget of {memory_bytes} bytes is above the {max_memory_bytes} bytes that were reserved \
         for the pool; make it with a larger max_memory_bytes"
    )]
    AboveMaximum {
        /// The budget asked for, in bytes.
        memory_bytes: u64,
        /// The largest that the pool can have, in bytes.
        max_memory_bytes: u64,
    },

    /// Too few frames came free to give the pool a smaller budget.
    #[error(
        "the pool cannot shrink to {memory_bytes} bytes and stays at {pool_bytes}: too many pages \
         are pinned, loading or looked at by readers; drop guards, then shrink it again"
    )]
    NotNow {
        /// The budget asked for, in bytes.
        memory_bytes: u64,
        /// The budget that the pool has, in bytes.
        pool_bytes: u64,
    },

    /// The system does not lock the pool's memory.
    #[error(
        "{locked_bytes} bytes cannot be locked in memory: {source}; the process may lock \
         {limit_bytes} bytes in all: raise that (ulimit -l, LimitMEMLOCK=, CAP_IPC_LOCK), or make \
         the pool without `locked`"
    )]
    NotLocked {
        /// How much was to be locked, in bytes.
        locked_bytes: u64,
        /// How much the process may lock, in bytes.
        limit_bytes: u64,
        /// The system's answer.
        source: io::Error,
    },

    /// A pool of another page size, or a file with another number of checksums.
    #[error("{file}: {reason}")]
    Mismatch {
        /// Path of the file.
        file: Arc<str>,
        /// What does not fit.
        reason: String,
    },

    /// The pool has as many files as it can number.
    #[error("{file}: the pool has {files} files already, as many as it can; drop some")]
    TooManyFiles {
        /// Path of the file.
        file: Arc<str>,
        /// How many files there are.
        files: usize,
    },

    /// A ceiling that leaves a file less than its floor, or nothing.
    #[error(
        "{file}: a ceiling of {ceiling} frames is less than the {least} it must hold; raise it to \
         {least} times {frame_bytes} bytes at least"
    )]
    BadShare {
        /// Path of the file.
        file: Arc<str>,
        /// The ceiling given, in frames.
        ceiling: usize,
        /// The least that it may be, in frames.
        least: usize,
        /// What a frame takes of the budget, in bytes.
        frame_bytes: u64,
    },

    /// The floors of all files leave too few frames for what has none.
    #[error(
        "{file}: the floors of all files would take {floors_bytes} bytes, and {most_bytes} can be \
         promised; lower one, or give the pool more memory"
    )]
    FloorsTooLarge {
        /// Path of the file.
        file: Arc<str>,
        /// The floors together, this one included, in bytes.
        floors_bytes: u64,
        /// What they may be at most, in bytes.
        most_bytes: u64,
    },

    /// Every seat of a reader is taken.
    #[error(
        "the pool has {readers} readers, as many as it can; keep one a thread, and drop others"
    )]
    TooManyReaders {
        /// How many there are.
        readers: usize,
    },

    /// The system does not give the memory.
    #[error("{memory_bytes} bytes of memory cannot be had: {source}")]
    NoMemory {
        /// How much was asked for, in bytes.
        memory_bytes: u64,
        /// The system's answer.
        source: io::Error,
    },
}
