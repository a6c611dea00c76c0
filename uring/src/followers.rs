//! The threads that wait while others reap.
//!
//! A follower says first that it follows, then looks whether any reads are in flight that nobody
//! reaps, and only then parks. A thread that leaves such reads behind lets go of its baton first
//! and then looks for followers. Whichever comes second sees the other, so that no follower sleeps
//! while reads complete that nobody lands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sync::thread::{self, Thread, ThreadId};
use crate::sync::{AtomicUsize, Mutex, fence};

/// Who follows.
pub(crate) struct Followers {
    count: AtomicUsize,
    threads: Mutex<Vec<Thread>>,
}

/// One thread's place among them. Given up when dropped.
pub(crate) struct Following<'a> {
    followers: &'a Followers,
    id: ThreadId,
}

impl Followers {
    pub(crate) fn new() -> Self {
        Self { count: AtomicUsize::new(0), threads: Mutex::new(Vec::new()) }
    }

    /// Joins. What the caller looks at from now on, nobody leaves behind without waking somebody.
    pub(crate) fn join(&self) -> Following<'_> {
        let thread = thread::current();
        let id = thread.id();
        self.threads().push(thread);
        self.count.fetch_add(1, Ordering::SeqCst);
        // Pairs with the fence in `call_one_if`.
        fence(Ordering::SeqCst);
        Following { followers: self, id }
    }

    /// Wakes one follower if there is one and `needed` says so.
    pub(crate) fn call_one_if(&self, needed: impl FnOnce() -> bool) {
        // Pairs with the fence in `join`: one of two threads sees what the other did before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) > 0
            && needed()
            && let Some(thread) = self.threads().first()
        {
            thread.unpark();
        }
    }

    fn threads(&self) -> impl std::ops::DerefMut<Target = Vec<Thread>> + '_ {
        // A vector of threads is whole whatever panicked while it was locked.
        self.threads.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Following<'_> {
    /// Parks until woken, for `patience` at most; without one, until woken.
    pub(crate) fn park(&self, patience: Option<Duration>) {
        #[cfg(not(loom))]
        if let Some(patience) = patience {
            return thread::park_timeout(patience);
        }
        let _ = patience; // The model has no clock: it finds what only a clock would wake.
        thread::park();
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.followers.count.fetch_sub(1, Ordering::SeqCst);
        let mut threads = self.followers.threads();
        if let Some(place) = threads.iter().position(|thread| thread.id() == self.id) {
            threads.remove(place);
        }
    }
}
