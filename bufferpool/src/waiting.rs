//! Who waits for pages that somebody else is reading.
//!
//! Single flight: the first who misses a page claims its word and reads it; the others leave
//! their batch here and get the page, already pinned for them, when it lands. The lists are under
//! a few locks by page, which only those take who wait for another's read, and those who land a
//! page that is waited for.

use std::sync::Arc;

use ringpool_storage::PageNo;

use crate::landing::Batch;
use crate::sync::{Mutex, MutexGuard};
use crate::table::FileNo;

const STRIPES: usize = if cfg!(shuttle) { 2 } else { 64 };

pub(crate) struct Waiting {
    stripes: [Mutex<Vec<Waiter>>; STRIPES],
}

/// One batch that waits for one page, as its `index`.
pub(crate) struct Waiter {
    file: FileNo,
    page: PageNo,
    pub(crate) batch: Arc<Batch>,
    pub(crate) index: u32,
}

/// The waiters of one page, and of its neighbours in the stripe, under their lock.
pub(crate) struct Locked<'a> {
    waiters: MutexGuard<'a, Vec<Waiter>>,
    file: FileNo,
    page: PageNo,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self { stripes: [const { Mutex::new(Vec::new()) }; STRIPES] }
    }

    pub(crate) fn lock(&self, file: FileNo, page: PageNo) -> Locked<'_> {
        let hash = (page.0 ^ u64::from(file) << 48).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let stripe = (hash >> 58) as usize % STRIPES;
        Locked { waiters: self.stripes[stripe].lock(), file, page }
    }
}

impl Locked<'_> {
    pub(crate) fn add(&mut self, batch: Arc<Batch>, index: u32) {
        self.waiters.push(Waiter { file: self.file, page: self.page, batch, index });
    }

    pub(crate) fn count(&self) -> u64 {
        self.waiters.iter().filter(|waiter| self.is_mine(waiter)).count() as u64
    }

    /// Takes the page's waiters off the list and lets go of the lock.
    pub(crate) fn take(mut self) -> Vec<Waiter> {
        let (file, page) = (self.file, self.page);
        self.waiters.extract_if(.., |waiter| waiter.file == file && waiter.page == page).collect()
    }

    fn is_mine(&self, waiter: &Waiter) -> bool {
        waiter.file == self.file && waiter.page == self.page
    }
}
