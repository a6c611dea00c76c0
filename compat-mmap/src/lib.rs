//! The read-only mmap backend: pages of a file through a mapping, behind the trait that the buffer
//! pool implements too.
//!
//! What mmap cannot promise, whoever wraps it: a bad sector under a mapped page, or a file that is
//! cut after it was opened, is no error that a caller could see. It is a SIGBUS at the moment of
//! the load, and it kills the process. This crate installs no signal handler: one handler a
//! process is the application's to give away, and there is nothing right to go on with in the
//! middle of a distance. A file that is written to while it is mapped changes under the reader.
//! The kernel alone decides which pages stay in memory and when a fault has to wait, so that there
//! is no byte budget: a limit on the whole process, by a cgroup, is the only one.
//!
//! What it does promise is what a [`PageSource`](ringpool_storage::PageSource) must: a page past
//! the end is a typed error, a file of the wrong length or kind is refused at open, and a page is
//! checked against its checksum when it is touched for the first time. It is the baseline that the
//! pool is measured against, hence made as fast as a mapping can be ([`Advice::WillNeed`]).
//!
//! ```
//! use ringpool_compat_mmap::{MmapOptions, MmapSource};
//! use ringpool_storage::{PageNo, PageSize, PageSource, conformance::Specimen};
//!
//! # let dir = tempfile::tempdir().unwrap();
//! let file = Specimen::write(dir.path(), "pages", PageSize::KIB_4, 100);
//! let source = MmapSource::open(
//!     &file.path,
//!     file.page_size,
//!     Some(file.checksums.clone()),
//!     MmapOptions::default(),
//! )?;
//! source.visit(&[PageNo(3), PageNo(4), PageNo(90)], &mut |i, bytes| {
//!     println!("page {i} of the batch starts with {:?}", &bytes[..8]);
//! })?;
//! # Ok::<(), ringpool_storage::Error>(())
//! ```

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

mod gather;
mod options;
mod platform;
mod runs;
mod source;
mod verified;

pub use options::{Advice, MmapOptions, UnknownAdvice, UnknownVerify, Verify};
pub use source::MmapSource;

/// The README's example must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
