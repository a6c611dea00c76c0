//! Counting without a shared line: each thread has its own counts, which are summed when somebody
//! asks.
//!
//! A thread's counts stand by file in memory that it alone writes to, so that counting is a load
//! and a store: neither a locked instruction nor a line that moves between processors. They are
//! found by the thread's [number](crate::thread_no); when it ends, the next thread of that number
//! goes on adding. So nothing is ever handed over: the sum over all numbers is what all threads
//! have counted, also those that have ended. Nor is a file's count ever cleared: another one under
//! the same number remembers what stood there before it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;

use crate::table::FileNo;
use crate::thread_no;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// A page asked for that was in memory.
    Hit,
    /// A page asked for that was not.
    Miss,
    /// A read that was submitted.
    Started,
    /// A read that has ended, well or not.
    Landed,
    /// A read that has ended, but without the right bytes.
    Failed,
    /// A page that had to go for another.
    Evicted,
    /// The nanoseconds that reads took from claim to landing.
    ReadNs,
}

/// One line for each thread and file; the last count is not used.
const COUNTS: usize = 8;
/// The files whose counts each thread has from the first; further ones are in rows, each twice
/// as long as the one before.
const FIRST_FILES: usize = 4;
/// Enough rows for each number that a file can have.
const ROWS: usize = (FileNo::MAX as usize / FIRST_FILES + 1).ilog2() as usize;

/// One thread's counts of one file.
#[derive(Default)]
#[repr(align(64))]
struct Tally([AtomicU64; COUNTS]);

/// One thread's counts.
#[derive(Default)]
struct Slot {
    first: [Tally; FIRST_FILES],
    further: [OnceLock<Box<[Tally]>>; ROWS],
}

/// The counts of a pool.
pub(crate) struct Counters {
    own: [OnceLock<Box<CachePadded<Slot>>>; thread_no::OWN],
    /// Of all threads that have no number of their own.
    shared: Box<CachePadded<Slot>>,
    files: Mutex<BTreeMap<FileNo, Listed>>,
}

/// A file that is attached.
#[derive(Clone, Default)]
pub(crate) struct Listed {
    pub(crate) name: Arc<str>,
    pub(crate) pages: u64,
    /// What others before it have counted under its number.
    before: Sum,
}

/// Counts of all threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; COUNTS]);

impl Counters {
    pub(crate) fn new() -> Self {
        let own = [const { OnceLock::new() }; thread_no::OWN];
        Self { own, shared: Box::default(), files: Mutex::default() }
    }

    /// Adds `count` to what the calling thread has counted of `file`.
    #[inline]
    pub(crate) fn add(&self, file: FileNo, what: Count, count: u64) {
        let own = self.own.get(thread_no::of_this_thread()).and_then(OnceLock::get);
        let Some(tally) = own.and_then(|slot| slot.first.get(usize::from(file))) else {
            return self.add_elsewhere(file, what, count);
        };
        tally.add(what, count);
    }

    /// What a thread counts first, or for a file past the first few, or has no place of its own
    /// for.
    #[cold]
    fn add_elsewhere(&self, file: FileNo, what: Count, count: u64) {
        match thread_no::of_this_thread_or_new() {
            Some(own) => {
                self.own[own].get_or_init(Box::default).tally_or_new(file).add(what, count)
            }
            None => self.shared.tally_or_new(file).add_with_others(what, count),
        }
    }

    /// The counts of all files, whether they are still attached or not.
    pub(crate) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        self.slots().flat_map(Slot::tallies).for_each(|tally| sum.add(tally));
        sum
    }

    /// The counts of `file` since it was listed; `None` when it is not.
    pub(crate) fn of_file(&self, file: FileNo) -> Option<(Listed, Sum)> {
        let listed = self.files.lock().get(&file)?.clone();
        let since = self.under(file).since(&listed.before);
        Some((listed, since))
    }

    /// The numbers of the files that are attached.
    pub(crate) fn files(&self) -> Vec<FileNo> {
        self.files.lock().keys().copied().collect()
    }

    /// Begins to count for a file that was just attached.
    pub(crate) fn list(&self, file: FileNo, name: Arc<str>, pages: u64) {
        let before = self.under(file);
        self.files.lock().insert(file, Listed { name, pages, before });
    }

    /// Ends what [`list`](Self::list) began.
    pub(crate) fn unlist(&self, file: FileNo) {
        self.files.lock().remove(&file);
    }

    /// Everything that was ever counted under a file's number.
    fn under(&self, file: FileNo) -> Sum {
        let mut sum = Sum::default();
        self.slots().filter_map(|slot| slot.tally(file)).for_each(|tally| sum.add(tally));
        sum
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.own.iter().filter_map(OnceLock::get).chain([&self.shared]).map(|slot| &***slot)
    }
}

impl Tally {
    /// Adds where nobody else writes.
    #[inline]
    fn add(&self, what: Count, count: u64) {
        let counter = &self.0[what as usize];
        // Relaxed: counts, read for their values alone.
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    /// Adds where others may, too.
    fn add_with_others(&self, what: Count, count: u64) {
        self.0[what as usize].fetch_add(count, Ordering::Relaxed);
    }
}

impl Slot {
    fn tally_or_new(&self, file: FileNo) -> &Tally {
        self.first.get(usize::from(file)).unwrap_or_else(|| {
            let (row, place) = row_and_place(file);
            let tallies = || (0..FIRST_FILES << (row + 1)).map(|_| Tally::default()).collect();
            &self.further[row].get_or_init(tallies)[place]
        })
    }

    /// The tally of a file, if this thread has counted for its like.
    fn tally(&self, file: FileNo) -> Option<&Tally> {
        self.first.get(usize::from(file)).or_else(|| {
            let (row, place) = row_and_place(file);
            self.further[row].get().map(|tallies| &tallies[place])
        })
    }

    fn tallies(&self) -> impl Iterator<Item = &Tally> {
        let further = self.further.iter().filter_map(OnceLock::get).flat_map(|row| row.iter());
        self.first.iter().chain(further)
    }
}

/// Where a file past the first few is.
fn row_and_place(file: FileNo) -> (usize, usize) {
    let row = (usize::from(file) / FIRST_FILES + 1).ilog2() as usize;
    (row - 1, usize::from(file) - FIRST_FILES * ((1 << row) - 1))
}

impl Sum {
    pub(crate) fn of(&self, what: Count) -> u64 {
        self.0[what as usize]
    }

    /// Reads that have not landed.
    pub(crate) fn in_flight(&self) -> usize {
        // A landing may be seen, and its start not yet.
        self.of(Count::Started).saturating_sub(self.of(Count::Landed)) as usize
    }

    fn add(&mut self, tally: &Tally) {
        for (sum, count) in self.0.iter_mut().zip(&tally.0) {
            // Relaxed: counts, read for their values alone.
            *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
        }
    }

    fn since(mut self, earlier: &Self) -> Self {
        for (now, then) in self.0.iter_mut().zip(&earlier.0) {
            *now = now.saturating_sub(*then);
        }
        self
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn rows_are_dense_and_hold_every_number() {
        let mut last = None;
        let files = FIRST_FILES as FileNo..=if cfg!(miri) { 500 } else { FileNo::MAX };
        for file in files {
            let (row, place) = row_and_place(file);
            assert!(row < ROWS && place < FIRST_FILES << (row + 1), "file {file}");
            let follows = last.is_none_or(|(last_row, last_place)| {
                (row, place) == (last_row, last_place + 1) || (row, place) == (last_row + 1, 0)
            });
            assert!(follows, "file {file} at {row}, {place} after {last:?}");
            last = Some((row, place));
        }
    }

    #[test]
    fn nothing_is_lost_when_threads_end_and_numbers_run_out() {
        const ROUNDS: u64 = if cfg!(miri) { 1 } else { 3 };
        let _alone = thread_no::tests::CROWD.lock().unwrap();
        let counters = Counters::new();
        for _ in 0..ROUNDS {
            let everybody = std::sync::Barrier::new(thread_no::OWN + 20);
            thread::scope(|scope| {
                let threads: Vec<_> = (0..thread_no::OWN + 20)
                    .map(|file| {
                        let (counters, everybody) = (&counters, &everybody);
                        scope.spawn(move || {
                            for _ in 0..10 {
                                counters.add(file as FileNo % 40, Count::Hit, 1);
                                counters.add(file as FileNo % 40, Count::Miss, 2);
                                everybody.wait();
                            }
                        })
                    })
                    .collect();
                // Joined one by one, a thread has given its number back.
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        }
        let hits = ROUNDS * 10 * (thread_no::OWN as u64 + 20);
        assert_eq!(counters.sum().of(Count::Hit), hits);
        assert_eq!(counters.sum().of(Count::Miss), 2 * hits);
        let by_file: u64 = (0..40).map(|file| counters.under(file).of(Count::Hit)).sum();
        assert_eq!(by_file, hits);
    }

    #[test]
    fn a_file_begins_with_nothing() {
        let counters = Counters::new();
        for round in 1..4 {
            counters.list(7, "a file".into(), 100);
            assert_eq!(counters.of_file(7).unwrap().1, Sum::default());
            counters.add(7, Count::Hit, round);
            assert_eq!(counters.of_file(7).unwrap().1.of(Count::Hit), round);
            counters.unlist(7);
            assert!(counters.of_file(7).is_none() && counters.files().is_empty());
        }
        assert_eq!(counters.sum().of(Count::Hit), 1 + 2 + 3, "in total nothing is forgotten");
    }
}
