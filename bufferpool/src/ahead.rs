//! Reading ahead: pages that are likely to be wanted soon, brought in while nobody waits.

use ringpool_storage::PageNo;

use crate::asking::Asking;
use crate::ghost::Ghost;
use crate::hint::Reading;
use crate::landing::Asker;
use crate::pool::PoolFile;
use crate::sync::{AtomicUsize, Ordering};

/// One frame of so many may be on its way for pages that nobody has asked for yet, and be taken by
/// one call: a few less than are on probation, so that what comes does not push out what has come.
const FRAMES_PER_PAGE_AHEAD: usize = 16;

/// How many pages are being read ahead.
#[derive(Default)]
pub(crate) struct Ahead {
    in_flight: AtomicUsize,
}

// Relaxed: a count. It bounds how much is read ahead, and orders nothing.
impl Ahead {
    /// Reserves one of `most` places.
    fn begin(&self, most: usize) -> bool {
        let more = |now: usize| (now < most).then_some(now + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// A read has landed, or has not begun.
    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PoolFile {
    /// Starts to read those of `pages` that are not in memory, and does not wait for them. Returns
    /// how many reads it has started.
    ///
    /// It stops early, without an error, where the device's queue is full, no frame is free or
    /// can be made so, or the deadline of `reading` has passed; and after a sixteenth of the
    /// pool's frames or of the file's ceiling, those included that are being read ahead already.
    /// Nobody is told of a read that fails: whoever asks for the page
    /// reads it again. A page that is never used goes like any other; with
    /// [`Hint::ScanOnce`](crate::Hint::ScanOnce) it is not kept for having come early.
    pub fn prefetch(&self, pages: &[PageNo], reading: &Reading<'_>) -> usize {
        let file = self.file();
        let pool = &file.pool;
        if pool.frames.arena.is_the_parents() {
            return 0;
        }
        let seen = |&page: &PageNo| -> Option<(PageNo, Ghost)> {
            Some((page, file.table.word(page)?.content().ghost()?))
        };
        let (absent, ghosts): (Vec<PageNo>, Vec<Ghost>) = pages.iter().filter_map(seen).unzip();
        let usable = pool.frames.usable_count();
        let ceiling = file.table.holdings.ceiling().map_or(usable, |ceiling| ceiling.min(usable));
        let most = |frames: usize| (frames / FRAMES_PER_PAGE_AHEAD).max(1);
        let mut asking = Asking::new(file, absent.len(), 0, reading, || Asker::Nobody);
        let mut started = 0;
        for (index, (&page, ghost)) in absent.iter().zip(ghosts).enumerate() {
            if started == most(ceiling) {
                break;
            }
            let Some(word) = file.table.word(page) else { continue };
            if reading.is_late() || !pool.ahead.begin(most(usable)) {
                break;
            }
            match asking.claim(word, ghost, index, file, &absent) {
                Ok(true) if asking.was_handed_back() => break, // `leave` takes it back.
                Ok(true) => started += 1,
                Ok(false) => pool.ahead.end(), // Somebody else is reading it.
                Err(_) => {
                    pool.ahead.end();
                    break;
                }
            }
        }
        asking.leave(file);
        started
    }
}
