//! Reads pages from a disk: through io_uring with O_DIRECT where that is allowed, through
//! blocking preads where it is not, and says which and why.
//!
//! [`Engine::start`] tries a ring and falls back; [`Engine::open`] opens a file of pages as a
//! [`PageDevice`](ringpool_storage::PageDevice), which a buffer pool fills its frames from, or a
//! [`ReadBuffer`](ringpool_storage::ReadBuffer) its own. Everything hangs on these two values: no
//! thread is started that is not needed, nothing is global, nothing runs when no read is in
//! flight.
//!
//! ```
//! use ringpool_storage::{PageNo, PageSize, ReadBuffer};
//! use ringpool_uring::{Engine, EngineChoice};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("pages");
//! std::fs::write(&path, vec![7; 100 * 4096])?;
//!
//! let engine = Engine::start(EngineChoice::Auto)?;
//! let file = engine.open(&path, PageSize::KIB_4)?;
//! println!("{}: {}", file.rung, file.reason);
//!
//! // Sixteen reads in flight, handed over as they arrive.
//! let mut buffer = ReadBuffer::new(16, PageSize::KIB_4);
//! let pages: Vec<PageNo> = (0..100).step_by(3).map(PageNo).collect();
//! let mut sum = 0;
//! buffer.visit(&*file.device, &pages, |_, bytes| sum += u64::from(bytes[0]))?;
//! assert_eq!(sum, 7 * 34);
//! # Ok(())
//! # }
//! ```
//!
//! The life of a read, by file:
//!
//! 1. `paged_file`: the file is opened once, its alignment asked for and one page read, so that
//!    a filesystem that refuses O_DIRECT says so here and not at a query. `rung` names what works.
//! 2. `request`, `lanes`: the read enters a bounded lock-free queue at its thread's home, a
//!    `lane`: one ring and what belongs to it. Whoever waits moves it into the ring, with its
//!    neighbours as one read, many in one system call.
//! 3. `depth`: not more of them than keep the disk busy, which `knee` finds.
//! 4. `in_flight`: from here to its completion the table owns the read's memory and file.
//!    `registered`: which of these the kernel knows already.
//! 5. `ring`: one thread at a time submits, one reaps, each with a `baton`; `kernel_ring` is
//!    io_uring itself, and in the tests a simulated one that fails on purpose takes its place.
//! 6. `lane` again: the reaping thread, which is one of those that wait (`followers` are the
//!    others), judges the result (error, short, whole) and lands the read with whoever asked.
//!
//! `blocking` is all of that where there is no ring. What Linux has and other systems have not is in
//! `platform`: there, files are read by `blocking` through the page cache.

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

mod baton;
mod blocking;
mod books;
mod closing;
mod crowding;
mod depth;
mod engine;
#[cfg(target_os = "linux")]
mod features;
mod followers;
mod in_flight;
#[cfg(target_os = "linux")]
mod kernel_ring;
mod knee;
mod lane;
mod lanes;
#[cfg(all(test, loom))]
mod models;
mod options;
mod paged_file;
mod platform;
mod registered;
mod request;
mod ring;
mod ring_engine;
mod rung;
#[cfg(all(test, target_os = "linux", not(loom)))]
mod sim_ring;
#[cfg(all(test, target_os = "linux", not(loom)))]
mod sim_tests;
mod sync;

pub use books::Counters;
pub use closing::Unfinished;
pub use engine::{Engine, OpenedFile};
pub use options::{EngineChoice, EngineChoiceError, EngineOptions};
pub use paged_file::{DioAlign, DirectIo};
pub use platform::kernel_features;
pub use ringpool_storage::Latencies;
pub use rung::Rung;

/// The README's example must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
