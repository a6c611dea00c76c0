//! Closing an engine: waits so long and not longer, and says what was not over by then.
//!
//! To drop an [`Engine`](crate::Engine) is safe at any time, and says nothing: its files go on being
//! read, and the last of them takes rings and threads with it. To close it is for who wants to know
//! that nothing of it is left.

use std::fmt;
use std::time::{Duration, Instant};

/// How long to wait between two looks at what nobody wakes us for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What was not over when an engine was closed. Nothing is broken off: memory that the kernel may
/// still write to stays with its read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Files of it that are still open: what they are attached to is to be closed first.
    pub files: usize,
    /// Reads that the disk has not answered.
    pub reads: usize,
    /// Threads of it that have not ended.
    pub threads: usize,
    /// How long was waited.
    pub waited: Duration,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, reads, threads, waited } = self;
        write!(
            f,
            "the engine is not over {waited:?} after it was closed: {files} files open, {reads} reads \
             in flight, {threads} threads; close what reads from it first, or check the disk"
        )
    }
}

impl std::error::Error for Unfinished {}

/// How long to sleep until the next look; `None` once `deadline` has passed.
pub(crate) fn until_next_look(deadline: Option<Instant>) -> Option<Duration> {
    let left = deadline.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
    (!left.is_zero()).then_some(left.min(LOOK_AGAIN))
}
