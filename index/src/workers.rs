//! The threads of one piece of work: a build, or a search of all points. They begin with it and end
//! with it.
//!
//! Never those that a process has in common: their number would be an environment variable's to say,
//! and work of the caller's own would wait behind ours.

use std::num::NonZero;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// So many threads; 0 means one a core.
pub(crate) fn workers(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    // Left to itself, the builder would ask the environment.
    let threads = if threads == 0 { cores() } else { threads };
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|number| format!("ringpool-work-{number}"))
        .build()
}
