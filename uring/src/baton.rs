//! A baton: what one thread at a time holds, and nobody waits for.
//!
//! The ring has two, one for submitting and one for reaping. A thread that does not get a baton
//! may go on: whoever holds it looks for more work after letting go, and sees all that was
//! queued before the attempt that failed.

use std::sync::atomic::Ordering;

use crate::sync::AtomicBool;

/// Held by at most one thread. See the module for what its ordering promises.
pub(crate) struct Baton {
    taken: AtomicBool,
}

/// Lets go when dropped, also by a panic.
pub(crate) struct Held<'a>(&'a Baton);

impl Baton {
    pub(crate) fn new() -> Self {
        Self { taken: AtomicBool::new(false) }
    }

    /// Takes the baton, or says that somebody has it.
    #[inline]
    pub(crate) fn take(&self) -> Option<Held<'_>> {
        // A swap also writes when it fails. The holder's own swap in `drop` reads that write, so
        // that what the loser did before (queue a request) is visible to the holder once it has
        // let go. SeqCst: also ordered against the count of followers, see `Followers`.
        (!self.taken.swap(true, Ordering::SeqCst)).then(|| Held(self))
    }

    /// Whether somebody holds it at this moment.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        // SeqCst: read after the count of followers was written or the other way round; one of
        // two threads that do both sees the other. See `Followers`.
        self.taken.load(Ordering::SeqCst)
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Pairs with the failed swaps in `take`, and with the next successful one.
        self.0.taken.swap(false, Ordering::SeqCst);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let baton = Baton::new();
        let held = baton.take().unwrap();
        assert!(baton.take().is_none() && baton.is_taken());
        drop(held);
        assert!(!baton.is_taken());
        assert!(baton.take().is_some());
    }
}
