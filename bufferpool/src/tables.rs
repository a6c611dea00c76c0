//! The page tables of the attached files, and which parts of them are in memory.
//!
//! A table that is small beside the budget is paid for whole. Of a larger one only those
//! [stretches](crate::stretch) are in memory that pages were asked of. One that has become empty of
//! pages holds nothing but ghosts; it stays on a list while those may be of use, which is as long
//! as a ghost lasts, and is given back when its time has come, or when its memory is needed.
//!
//! Memory for a stretch is found, in this order: in one whose ghosts have faded; in frames, while
//! the tables have less than their part of the budget; in one that is empty of pages; in more
//! frames, down to the fewest there may be.

use std::collections::VecDeque;
use std::sync::Arc;

use ringpool_storage::PageNo;

use crate::budget::Unpaid;
use crate::pool::Core;
use crate::stretch::{Close, Entry, Stretches};
use crate::sync::{
    AtomicU64, AtomicUsize, Mutex, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard, thread,
};
use crate::table::{FileNo, Table};
use crate::zeroed;

/// A table is paid for whole if it takes no more than one part of so many of the budget.
const WHOLE_SHARE: u64 = 32;
/// Stretches keep ghosts while the tables have less than one part of so many of the budget.
const TABLES_SHARE: u64 = 16;
/// Frames that are taken out of use together to pay for stretches: one of so many.
const SPARE_SHARE: usize = 128;
/// Stretches that are looked at together, at most.
const LOOKS: usize = 64;
/// How many evictions pass before stretches are looked at again whose ghosts may have faded.
const TEND_EVERY: u64 = 64;
/// Stretches that there is room for when a file is attached, at least.
const LEAST_STRETCHES: u64 = 16;
/// Pages that are evicted in search of a stretch to be given back, at most.
const EVICTIONS: usize = 64;
/// How often a thread looks again at a stretch that others open and close.
const ATTEMPTS: usize = 64;

/// All tables of a pool.
#[derive(Default)]
pub(crate) struct Tables {
    files: RwLock<Vec<Option<Arc<Table>>>>,
    /// Stretches without pages, those that have become so first at the front.
    idle: Mutex<VecDeque<Idle>>,
    /// How many those are.
    idle_count: AtomicUsize,
    /// The bytes of stretches that are paid for.
    stretch_bytes: AtomicU64,
    /// The evictions after which those without pages are looked at again.
    tend_at: AtomicU64,
}

/// A stretch without pages.
struct Idle {
    /// How many pages the pool had evicted when it became so.
    since: u64,
    file: FileNo,
    stretch: usize,
}

impl Tables {
    /// What a stretch costs beside its words: its state, and its place on the list, which may have
    /// just grown to twice its length.
    const BOOK_BYTES: u64 = 4 + 2 * size_of::<Idle>() as u64;

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Vec<Option<Arc<Table>>>> {
        self.files.read()
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Vec<Option<Arc<Table>>>> {
        self.files.write()
    }

    /// The memory of all tables, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let files = self.read();
        let whole_bytes: u64 = files.iter().flatten().map(|table| table.whole_bytes()).sum();
        whole_bytes + self.stretch_bytes()
    }

    /// The bytes of stretches that are paid for.
    fn stretch_bytes(&self) -> u64 {
        // Relaxed, here and below: counts.
        self.stretch_bytes.load(Ordering::Relaxed)
    }

    /// Notes that a page of `table`, whose number is `file`, has left its stretch: it was evicted,
    /// as one of `evictions`, or its read has failed.
    #[inline]
    pub(crate) fn left(&self, file: FileNo, table: &Table, page: PageNo, evictions: u64) {
        let Some(stretches) = table.stretches() else { return };
        let stretch = stretches.of(page);
        if stretches.leave(stretch) {
            let mut idle = self.idle.lock();
            idle.push_back(Idle { since: evictions, file, stretch });
            self.idle_count.store(idle.len(), Ordering::Relaxed);
        }
    }

    /// Gives back a stretch that has had no page since there were `before` evictions, if there is
    /// one among those that come first. `now` is the number of evictions by now. Returns whether
    /// its bytes are the caller's, to be spent otherwise.
    fn give_back_one(&self, before: u64, now: u64) -> bool {
        if self.idle_count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let files = self.files.read();
        for _ in 0..LOOKS {
            let mut list = self.idle.lock();
            if list.front().is_none_or(|idle| idle.since > before) {
                return false;
            }
            let Some(idle) = list.pop_front() else { return false };
            self.idle_count.store(list.len(), Ordering::Relaxed);
            let Some(Some(table)) = files.get(usize::from(idle.file)) else { continue };
            let Some(stretches) = table.stretches() else { continue };
            match stretches.close(idle.stretch, before < now) {
                Close::HasPages => {}
                Close::Returned => list.push_back(Idle { since: now, ..idle }),
                Close::Closing => {
                    drop(list);
                    table.give_back(idle.stretch);
                    self.unpaid(table, stretch_cost());
                    return true;
                }
            }
        }
        false
    }

    /// Forgets what is listed of `file`, which is detached.
    pub(crate) fn forget(&self, file: FileNo) {
        let mut list = self.idle.lock();
        list.retain(|idle| idle.file != file);
        let room = 2 * list.len();
        list.shrink_to(room);
        self.idle_count.store(list.len(), Ordering::Relaxed);
    }

    fn paid(&self, table: &Table, bytes: u64) {
        table.paid_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.stretch_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn unpaid(&self, table: &Table, bytes: u64) {
        table.paid_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.stretch_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes what was paid for stretches of `table`, which is detached. Returns how much.
    pub(crate) fn detach(&self, table: &Table) -> u64 {
        let bytes = table.paid_bytes.load(Ordering::Relaxed);
        self.unpaid(table, bytes);
        bytes
    }
}

/// What a stretch costs, in bytes.
fn stretch_cost() -> u64 {
    Stretches::words_per_system_page() * size_of::<u64>() as u64 + Tables::BOOK_BYTES
}

impl Core {
    /// Whether a table of `pages` pages is paid for whole: if it is small beside the budget, or
    /// beside what its stretches would cost.
    pub(crate) fn is_paid_whole(&self, pages: u64) -> bool {
        let bytes = Table::memory_bytes(pages);
        let small_bytes = self.accounts.memory_bytes() / WHOLE_SHARE;
        self.whole_tables || bytes <= small_bytes.max(Self::least_stretch_bytes(pages))
    }

    /// Enters the stretch of `page`, and pays for it if need be.
    pub(crate) fn enter_stretch(&self, table: &Table, page: PageNo) -> bool {
        let Some(stretches) = table.stretches() else { return true };
        let stretch = stretches.of(page);
        for _ in 0..ATTEMPTS {
            match stretches.enter(stretch) {
                Entry::Entered => return true,
                Entry::Closing => thread::yield_now(),
                Entry::Empty if !self.pay_for_states(table, stretch) => return false,
                Entry::Empty if !self.pay_for_stretch() => return false,
                Entry::Empty => {
                    if stretches.open(stretch) {
                        self.tables.paid(table, stretch_cost());
                        return true;
                    }
                    self.refund_now(stretch_cost(), self.spare_frames()); // Another thread has paid.
                }
            }
        }
        false
    }

    /// Pays for the memory that the state of `stretch` is in, which others share.
    fn pay_for_states(&self, table: &Table, stretch: usize) -> bool {
        let Some(paid) = table.states_paid(stretch) else { return true };
        if paid.load(Ordering::Relaxed) {
            return true;
        }
        let bytes = zeroed::table_page_bytes() as u64;
        let spent = match self.spend_now(bytes, self.spare_frames()) {
            Ok(()) => true,
            Err(Unpaid::NotNow) => false,
            // As in `pay_for_stretch`: what others have comes free when their pages go.
            Err(Unpaid::TooMuch) => (0..EVICTIONS).any(|_| {
                self.evict_one();
                self.give_back_stretches() && self.spend_now(bytes, 0).is_ok()
            }),
        };
        if !spent {
            return false;
        }
        match paid.swap(true, Ordering::Relaxed) {
            true => self.refund_now(bytes, self.spare_frames()),
            false => self.tables.paid(table, bytes),
        }
        true
    }

    /// Finds the bytes for a stretch. Returns whether they are the caller's.
    fn pay_for_stretch(&self) -> bool {
        let now = self.clock.evictions.load(Ordering::Relaxed);
        let faded = now.checked_sub(self.frames.usable_count() as u64);
        if faded.is_some_and(|before| self.tables.give_back_one(before, now)) {
            return true;
        }
        let share_bytes = self.accounts.memory_bytes() / TABLES_SHARE;
        let tables_are_small = self.tables.stretch_bytes() < share_bytes;
        let spend = || self.spend_now(stretch_cost(), self.spare_frames());
        if tables_are_small && spend().is_ok() {
            return true;
        }
        if self.tables.give_back_one(u64::MAX, now) {
            return true;
        }
        match spend() {
            Ok(()) => true,
            Err(Unpaid::NotNow) => false,
            // No more frames are to be spared: pages go until one of them leaves its stretch empty.
            Err(Unpaid::TooMuch) => (0..EVICTIONS).any(|_| {
                self.evict_one();
                self.tables.give_back_one(u64::MAX, now)
            }),
        }
    }

    fn evict_one(&self) {
        let victim = self.clock.victim(&self.frames, &self.tables, &self.counters, None);
        victim.into_iter().for_each(|frame| self.frames.give(frame));
    }

    /// Gives back stretches whose ghosts have faded, so that their bytes are frames again: now and
    /// then while pages are evicted, which is when it is called.
    #[inline]
    pub(crate) fn tend_tables(&self) {
        if self.tables.idle_count.load(Ordering::Relaxed) > 0 {
            let now = self.clock.evictions.load(Ordering::Relaxed);
            let due = self.tables.tend_at.load(Ordering::Relaxed);
            if now >= due {
                self.tend_tables_at(now, due);
            }
        }
    }

    #[cold]
    fn tend_tables_at(&self, now: u64, due: u64) {
        let (tables, next) = (&self.tables, now + TEND_EVERY);
        let Some(before) = now.checked_sub(self.frames.usable_count() as u64) else { return };
        let order = Ordering::Relaxed;
        if tables.tend_at.compare_exchange(due, next, order, order).is_err() {
            return; // Another thread does it.
        }
        let given = (0..LOOKS).take_while(|_| tables.give_back_one(before, now)).count();
        if given > 0 {
            self.refund_now(given as u64 * stretch_cost(), 2 * self.spare_frames());
        }
    }

    /// Gives back some stretches that are empty of pages, whatever ghosts they hold. Returns whether
    /// there were any.
    pub(crate) fn give_back_stretches(&self) -> bool {
        let now = self.clock.evictions.load(Ordering::Relaxed);
        let given = (0..LOOKS).take_while(|_| self.tables.give_back_one(u64::MAX, now)).count();
        self.refund_now(given as u64 * stretch_cost(), 0);
        given > 0
    }

    fn spare_frames(&self) -> u32 {
        (self.frames.usable_count() / SPARE_SHARE) as u32
    }

    /// What has to be left for the stretches of a table when it is attached, in bytes: their
    /// states, and a few of them. With fewer, pages would go only to make room for others' words.
    pub(crate) fn least_stretch_bytes(pages: u64) -> u64 {
        let stretches = pages.div_ceil(Stretches::words_per_system_page());
        let states = stretches.div_ceil(Table::states_together() as u64);
        states * zeroed::table_page_bytes() as u64 + stretches.min(LEAST_STRETCHES) * stretch_cost()
    }
}
