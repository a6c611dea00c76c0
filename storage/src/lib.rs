//! The words and the two seams of ringpool.
//!
//! Everything else in the workspace is written against this leaf: a [`page`](PageNo) is
//! the unit of reading, checking and keeping; a [`PageSource`] is what an index reads pages from
//! (a buffer pool, a mapping, plain memory); a [`PageDevice`] is what a buffer pool fills its
//! frames from (a ring, blocking reads, memory, a faulty disk). Neither seam knows the other, so
//! that an index runs unchanged over a mapping, and a pool unchanged over a simulated disk.
//!
//! ```text
//!   index ──▶ PageSource ◀── pool ──▶ PageDevice ◀── io_uring
//!                        ◀── mmap               ◀── blocking pread
//!                        ◀── memory             ◀── memory, faulty
//! ```
//!
//! ```
//! use ringpool_storage::{Error, MemorySource, PageNo, PageSize, PageSource};
//!
//! # fn main() -> Result<(), Error> {
//! // Ten pages in memory. A pool, a mapping and a disk are asked in the same way.
//! let source = MemorySource::new("ten pages", PageSize::KIB_4, vec![7; 10 * 4096])?;
//! let mut sum = 0;
//! source.visit(&[PageNo(3), PageNo(9)], &mut |_, bytes| sum += u64::from(bytes[0]))?;
//! assert_eq!(sum, 14);
//!
//! let refused = source.visit(&[PageNo(10)], &mut |_, _| {});
//! assert!(matches!(refused, Err(Error::NoSuchPage { .. })));
//! # Ok(())
//! # }
//! ```
//!
//! Both traits have a public list of tests in [`conformance`]: an implementation, also somebody
//! else's, is right when it passes it.

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

mod asked;
mod checksum;
pub mod conformance;
mod device;
mod device_gather;
mod error;
mod fault_plan;
mod faulty;
mod folder;
mod fork_mark;
mod gather;
mod latency;
mod memory;
mod numbered;
mod page;
mod platform;
mod read_buffer;
mod source;
mod system_page;

pub use asked::{Asked, AskedPages};
pub use checksum::{Checksums, FileKey};
pub use device::{Landing, PageDevice, PageRead, Registration, park_until};
pub use device_gather::DeviceGather;
pub use error::{Awaited, Error, Result};
pub use fault_plan::{FaultPlan, FaultRates};
pub use faulty::{Answer, Fault, FaultyDevice, Incident};
pub use folder::{open_no_link, sync_folder};
pub use fork_mark::ForkMark;
pub use gather::{Arrivals, AtOnce, Gather};
pub use latency::{Latencies, LatencyCounts};
pub use memory::{MemoryDevice, MemorySource};
pub use numbered::NumberedPages;
pub use page::{PageNo, PageSize, PageSizeError};
pub use read_buffer::{ReadBuffer, VisitFuture};
pub use source::PageSource;
pub use system_page::SystemPage;

/// The README's example must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
