//! Frames that have their memory before a page is read into them.
//!
//! A frame of a new pool takes memory when it is first used, and the system clears it then, a huge
//! page at a time. That is a fifth of a millisecond where the memory is the system's own, and several
//! where a hypervisor has to find it first; whoever misses waits for that. A thread that does it
//! beforehand takes it out of the queries.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::events;
use crate::pool::{Core, Pool};

/// Memory that frames are given. Dropped, it stops, after at most one huge page more.
#[must_use = "dropped, it stops; wait for it, or keep it while serving"]
pub struct Populating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<u64>>>,
    pool: Arc<Core>,
}

impl Pool {
    /// Begins to give all frames in use their memory, from the first to be used on. A thread does it,
    /// 2 MiB at a time, beside whoever uses the pool. Frames that a
    /// [`resize`](Self::resize) brings later take theirs when they are first used, unless this is
    /// called again.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn populate(&self) -> io::Result<Populating> {
        let (pool, stop) = (self.core().clone(), Arc::new(AtomicBool::new(false)));
        let (frames_of, order) = (pool.clone(), stop.clone());
        let thread = thread::Builder::new().name("ringpool-populate".into());
        let thread = thread.spawn(move || populate(&frames_of, &order))?;
        Ok(Populating { stop, thread: Some(thread), pool })
    }
}

impl Populating {
    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until all frames have their memory. Returns how many bytes that are.
    ///
    /// # Errors
    /// What the system refused with: EINVAL before Linux 5.14, which cannot be asked for it, ENOMEM
    /// where there is not so much. Frames without memory take it when they are first used.
    pub fn wait(mut self) -> io::Result<u64> {
        let thread = self.thread.take().expect("taken only here and by drop");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Populating {
    fn drop(&mut self) {
        // Relaxed: nothing is read on the strength of it.
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        if self.pool.frames.arena.is_the_parents() {
            std::mem::forget(thread); // It runs in the parent alone.
            return;
        }
        let _ = thread.join();
    }
}

fn populate(pool: &Core, stop: &AtomicBool) -> io::Result<u64> {
    let mut done_bytes = 0;
    // Relaxed: as above.
    while !stop.load(Ordering::Relaxed) {
        match pool.populate(done_bytes) {
            Ok(Some(up_to)) => done_bytes = up_to,
            Ok(None) => break,
            Err(refused) => {
                events::not_populated(done_bytes as u64, &refused);
                return Err(refused);
            }
        }
    }
    Ok(done_bytes as u64)
}
