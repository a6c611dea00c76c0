//! Reads pages from a disk: through io_uring with O_DIRECT where that is allowed, through
//! blocking preads where it is not, and says which and why.
//!
//! [`Engine::start`] tries a ring and falls back; [`Engine::open`] opens a file of pages as a
//! [`PageDevice`](ringpool_storage::PageDevice), which a buffer pool fills its frames from.
//! Everything hangs on these two values: no thread is started that is not needed, nothing is
//! global, nothing runs when no read is in flight.
//!
//! The life of a read, by file:
//!
//! 1. `direct_file`: the file is opened once, its alignment asked for and one page read, so that
//!    a filesystem that refuses O_DIRECT says so here and not at a query.
//! 2. `engine`: the read enters a bounded lock-free queue. Whoever waits next moves it into the
//!    ring, so that many reads share one system call.
//! 3. `in_flight`: from here to its completion the table owns the read's memory and file.
//! 4. `ring`: one io_uring; one thread at a time submits, one reaps.
//! 5. `engine` again: the reaping thread, which is one of those that wait, judges the result
//!    (error, short, whole) and lands the read with whoever asked for it.

mod baton;
mod blocking;
mod direct_file;
mod engine;
mod in_flight;
mod ring;
mod select;

pub use direct_file::DirectIo;
pub use engine::Counters;
pub use select::{Engine, EngineChoice, EngineChoiceError, OpenedFile};
