//! The threads of one piece of work: a build, or a search of all points. They begin with it and end
//! with it.
//!
//! Never those that a process has in common: their number would be an environment variable's to say,
//! and work of the caller's own would wait behind ours. Nor does a caller that is another pool's
//! thread wait for ours as such: it would take up more of that pool's work meanwhile, which may
//! call us again, one upon the other until its stack is full.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// A pool of threads of our own.
pub(crate) struct Workers(ThreadPool);

impl Workers {
    /// So many threads; 0 means one a core.
    pub(crate) fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        // Left to itself, the builder would ask the environment.
        let threads = if threads == 0 { cores() } else { threads };
        let builder = ThreadPoolBuilder::new().num_threads(threads);
        builder.thread_name(|number| format!("ringpool-work-{number}")).build().map(Self)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.current_num_threads()
    }

    /// Does `work` with these threads.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let is_ours = self.0.current_thread_index().is_some();
        if is_ours || rayon::current_thread_index().is_none() {
            return self.0.install(work);
        }
        let work = Mutex::new(Some(work));
        let taken = || {
            let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
            work.map(|work| self.0.install(work))
        };
        // A thread of nobody's pool waits, and this one for it.
        let done = thread::scope(|scope| {
            let waiting = thread::Builder::new().spawn_scoped(scope, taken).ok()?;
            waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        // Where no thread can be had, this one waits after all.
        done.or_else(taken).expect("taken by one of the two")
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    /// Each call waits in a thread of the caller's pool, which has more such calls to make.
    #[test]
    fn calls_from_a_pool_of_the_callers_do_not_pile_up_on_its_stacks() {
        const STACK_BYTES: usize = 256 << 10;
        const CALLS: usize = 2_000;
        let callers = ThreadPoolBuilder::new().num_threads(2).stack_size(STACK_BYTES);
        let sum: usize = callers.build().unwrap().install(|| {
            let calls = (0..CALLS).into_par_iter().with_max_len(1);
            calls.map(|call| Workers::new(1).unwrap().run(|| call)).sum()
        });
        assert_eq!(sum, CALLS * (CALLS - 1) / 2);
    }

    #[test]
    fn a_panic_is_the_callers() {
        let workers = Workers::new(2).unwrap();
        let callers = ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            callers.install(|| workers.run(|| panic!("of the work")));
        }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"of the work"));
        assert_eq!(workers.run(|| workers.run(|| 7)), 7);
    }
}
