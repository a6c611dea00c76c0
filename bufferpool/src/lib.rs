//! A page buffer pool with a byte budget, clock eviction and single-flight misses.
//!
//! A [`Pool`] keeps pages of any number of immutable files in a fixed number of frames. A file is
//! [attached](Pool::attach) as a [`PageDevice`](ringpool_storage::PageDevice); the [`PoolFile`]
//! that comes back hands out pages in three ways: [`visit`](PoolFile) for a batch, read side by
//! side and handed over in order of arrival; [`pin`](PoolFile::pin) for one page that is to be
//! kept for a while, as a counted guard or as [`bytes::Bytes`]; and to a [`Reader`], which looks at
//! what is in memory without writing to anything that others look at.
//!
//! ```
//! use std::sync::Arc;
//! use ringpool_bufferpool::{Pool, PoolOptions};
//! use ringpool_storage::{MemoryDevice, MemorySource, PageNo, PageSize, PageSource};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let thousand_pages = MemorySource::new("a file", PageSize::KIB_4, vec![7; 1000 * 4096])?;
//! let pool = Pool::new(&PoolOptions { memory_bytes: 512 * 1024, ..PoolOptions::default() })?;
//! let file = pool.attach(Arc::new(MemoryDevice::new(thousand_pages)), None)?;
//!
//! let batch = [PageNo(3), PageNo(999), PageNo(500)];
//! file.visit(&batch, &mut |i, bytes| println!("page {} starts with {}", batch[i], bytes[0]))?;
//!
//! let page = file.pin(PageNo(3))?; // In memory already.
//! assert_eq!(page[0], 7);
//! assert_eq!(pool.stats().hits, 1);
//! # Ok(())
//! # }
//! ```
//!
//! Each also takes a [`Reading`]: a [`Hint`] of how its pages are going to be used, and a deadline.
//! Pages come as futures too ([`fetch`](PoolFile::fetch), [`fetch_many`](PoolFile::fetch_many), on
//! any executor), ahead of time ([`prefetch`](PoolFile::prefetch)), or only if they are in memory
//! ([`try_pin`](PoolFile::try_pin), [`try_visit`](PoolFile::try_visit)); and for many batches at
//! once, on behalf of which one thread asks ([`gather_with`](PoolFile::gather_with)). Threads and
//! tasks that want the same page share one read. A file of many in one pool may be sure of a part
//! of it, and be held to one: [`Share`].
//!
//! # The rules, and where each is kept
//!
//! - A page is in one frame at most, and a frame holds one page: `word`, the law of the packed
//!   word that each page has, one page of transitions without I/O or pointers.
//! - A pinned page stays, and nobody writes to it: `word` (the hand passes pinned pages by), and
//!   `guard` (a guard is a pin).
//! - The budget is never passed: `budget` says what its bytes are spent on, `room` which frames may
//!   be used at all, and `free` which of them are free. The memory of those that may not has gone
//!   back to the system (`arena`).
//! - Of a page table that is large beside the budget only the parts are in memory that pages were
//!   read of: `stretch` is the law of one such part, and `tables` decides which of them go.
//! - What a reader looks at stays, pinned or not, until it lets go: `epochs`, and `frames`, where a
//!   frame whose page was unlinked is in limbo until nobody can have seen it.
//! - A victim is an unpinned page that its uses do not speak for: `clock`, with `probation` for
//!   new pages and a `ghost` in the word of one that was evicted early. Which of it is in force is
//!   a [`Policy`].
//! - One read serves everybody who waits for a page: `waiting`. Its bytes are checked once, before
//!   anybody sees them, and its failure is told to each and kept by nobody: `landing`.
//! - Whoever gives up, at a deadline or by dropping a future, leaves nothing behind: `asking`, the
//!   steps that threads and tasks have in common, and `landing`, where a batch that was given up
//!   gives back what still arrives.
//! - A batch that leaves while others of its thread stay is told nothing more, and what still arrives
//!   for it gives its pin back: `gather`, the slots of all that a thread waits for.
//! - A scan leaves no page that only it has wanted: `landing`, by a transition of `word` that loses
//!   against anybody else's use.
//! - A file is not pushed below its floor and does not grow above its ceiling: `share`, and `own`,
//!   the clock of a file that has to make room by itself; in between `priority` has a say.
//! - What was done is counted by each thread for itself: `counters`. Nothing hangs on it.
//! - Between submission and landing a frame belongs to its read: `landing` again, on the promise
//!   of [`PageRead`](ringpool_storage::PageRead).

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

mod ahead;
mod arena;
mod asking;
mod budget;
mod clock;
mod closing;
mod counters;
mod epochs;
mod error;
mod events;
mod fetch;
mod frames;
mod free;
mod future;
mod gather;
mod ghost;
mod guard;
mod hint;
mod hot_set;
mod hot_set_file;
mod landing;
#[cfg(feature = "metrics")]
mod metrics;
mod miss_times;
mod options;
mod own;
mod platform;
mod policy;
mod pool;
mod populating;
mod priority;
mod probation;
mod reader;
mod restoring;
mod room;
mod share;
mod starved;
mod stats;
mod stretch;
mod sync;
mod table;
mod tables;
mod thread_no;
mod waiting;
mod word;
mod zeroed;

pub use closing::{StillAttached, Unfinished};
pub use error::PoolError;
pub use future::Arrivals;
pub use guard::{OwnedPage, PageGuard};
pub use hint::{Hint, Reading};
pub use hot_set::HotSet;
pub use hot_set_file::HotSetError;
pub use options::PoolOptions;
pub use policy::{Policy, UnknownPolicy};
pub use pool::{Pool, PoolFile};
pub use populating::Populating;
pub use priority::{Priority, UnknownPriority};
pub use reader::{Pages, Reader, Stay};
pub use restoring::{Ended, Restored, Restoring};
pub use share::Share;
pub use stats::{Audit, FileStats, MissLatency, Snapshot, Stats};

/// The README's example must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
