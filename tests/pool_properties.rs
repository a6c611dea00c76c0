//! Why the eviction can be believed: any sequence of operations, compared after each step with a
//! model so plain that it is right by inspection.
//!
//! The model knows what every page contains, which pages are broken and which guards are held; it
//! knows nothing of frames, clocks or reads. After each step of any sequence of *pin*, *try to
//! pin*, *unpin*, *batch*, *forget*, *look while others read*, *read with a hint and a deadline*,
//! *read ahead*, *visit what is there*, *fetch as futures and drop them at any await*, *change the
//! file's share*, *resize*, *break* and *mend*, on a pool with a sixth of the file and any eviction
//! policy:
//!
//! 1. No page is in two frames, and no frame is lost: free + resident + loading + limbo + retired
//!    are all the frames there are ([`Pool::audit`] looks at every page and every frame).
//! 2. The pool counts as many pins as there are guards.
//! 3. A pinned page is where it was: same address, same bytes, and it can be pinned again without
//!    a read.
//! 4. Bytes are always those of the page asked for: a batch hands over each of its pages exactly
//!    once, in whatever order, or fails.
//! 5. A page is read when it is absent and only then; a page that was forgotten is absent.
//! 6. It fails if and only if a page of the batch is broken, or every frame is pinned. The error
//!    names which, and nothing is left behind.
//! 7. The budget is never passed: no more pages are resident than it has frames, and no more
//!    than the file's ceiling allows, those apart that were pinned when it was lowered.
//! 8. Each page asked for is a hit or a miss, unless no frame came free to read it into.
//! 9. A reader finds a page if and only if it is resident, and what it looks at stays as it was
//!    until it lets go, whatever is read, evicted and forgotten meanwhile.
//! 10. A scan evicts nothing while frames are free, and leaves none of what it alone has read.
//! 11. A deadline that has passed fails the call unless everything was there, and leaves nothing
//!     behind; so does a future that is dropped, wherever it waits.
//! 12. Reading ahead hands nothing over and tells nobody of a failure: it reads at most what is
//!     absent, and what is broken is absent after it as before.
//! 13. A pool that was resized has the frames of its new budget from then on. It refuses only to
//!     have fewer than the least, or than are pinned, or more than it was made for, and then
//!     nothing has changed.
//! 14. A file's own figures are the pool's, which has no other; what it says is pinned is held, and
//!     what it says is resident, the audit finds.
//! 15. What is restored from a hot set was forgotten since; it pushes nothing out and counts as
//!     neither hit nor miss.
//!
//! `PROPTEST_CASES=20000 cargo test --release --test pool_properties` tries more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use ringpool::bufferpool::{
    Ended, Hint, OwnedPage, Policy, Pool, PoolError, PoolFile, PoolOptions, Reading, Share,
};
use ringpool::storage::conformance::Specimen;
use ringpool::storage::{
    Checksums, Error, Fault, FaultyDevice, FileKey, MemoryDevice, MemorySource, PageNo, PageSize,
    PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 400;
/// The fewest that a pool may have, what the tables take, and some to promise and to pay books with.
const FRAMES: usize = Pool::MIN_FRAMES as usize + 2 + 8;
/// The most that it can grow to.
const MOST_FRAMES: usize = 2 * FRAMES;

/// The budget that holds so many frames, and what is kept for those in reserve.
fn budget_bytes(frames: usize) -> u64 {
    frames as u64 * Pool::frame_bytes(SIZE) + 2 * (MOST_FRAMES - FRAMES) as u64
}

#[derive(Clone, Debug)]
enum Step {
    Pin(u64),
    PinRange(u64, u64),
    TryPin(u64),
    Unpin(usize),
    UnpinAll,
    Batch(Vec<u64>),
    Scan(u64, u64),
    Forget(u64),
    Look(Vec<u64>, Vec<u64>),
    Read(Vec<u64>, Hint, bool),
    Ahead(Vec<u64>, Hint),
    TryBatch(Vec<u64>),
    /// So many pages are taken, and the rest is dropped.
    Fetch(Vec<u64>, usize),
    Share(u64, Option<u64>),
    Resize(usize),
    Restore(Vec<u64>),
    Break(u64, Fault),
    Mend,
}

fn page() -> impl Strategy<Value = u64> {
    // Half of the requests go to a twentieth of the pages.
    prop_oneof![0..PAGES / 20, 0..PAGES]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Errno(5)),
        (0..4096_usize).prop_map(Fault::Truncated),
        (0..4096 * 8_usize).prop_map(Fault::FlipBit),
        (0..4096_usize).prop_map(Fault::Torn),
        Just(Fault::Misdirected(PageNo(PAGES - 1))),
    ]
}

fn numbers(pages: &[u64]) -> Vec<PageNo> {
    pages.iter().copied().map(PageNo).collect()
}

fn pages() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::vec(page(), 0..60)
}

fn hint() -> impl Strategy<Value = Hint> {
    proptest::sample::select(vec![Hint::Random, Hint::ScanOnce, Hint::Hot])
}

/// A floor and a ceiling in frames, some of which cannot be promised.
fn share() -> impl Strategy<Value = (u64, Option<u64>)> {
    (0..3_u64, proptest::option::weighted(0.7, 0..FRAMES as u64 + 10))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => page().prop_map(Step::Pin),
        1 => (page(), 1..40_u64).prop_map(|(first, count)| Step::PinRange(first, count)),
        3 => page().prop_map(Step::TryPin),
        5 => any::<usize>().prop_map(Step::Unpin),
        1 => Just(Step::UnpinAll),
        6 => pages().prop_map(Step::Batch),
        1 => (page(), 1..PAGES).prop_map(|(first, count)| Step::Scan(first, count)),
        3 => page().prop_map(Step::Forget),
        3 => (proptest::collection::vec(page(), 0..20), pages())
            .prop_map(|(looked_at, meanwhile)| Step::Look(looked_at, meanwhile)),
        3 => (pages(), hint(), proptest::bool::weighted(0.2))
            .prop_map(|(pages, hint, late)| Step::Read(pages, hint, late)),
        2 => (pages(), hint()).prop_map(|(pages, hint)| Step::Ahead(pages, hint)),
        2 => pages().prop_map(Step::TryBatch),
        4 => (pages(), 0..70_usize).prop_map(|(pages, taken)| Step::Fetch(pages, taken)),
        1 => share().prop_map(|(floor, ceiling)| Step::Share(floor, ceiling)),
        1 => (FRAMES - 10..MOST_FRAMES + 10).prop_map(Step::Resize),
        1 => proptest::collection::vec(page(), 0..40).prop_map(Step::Restore),
        1 => (page(), fault()).prop_map(|(page, fault)| Step::Break(page, fault)),
        1 => Just(Step::Mend),
    ]
}

/// What is true of the file, whatever the pool does.
struct Model {
    broken: Arc<Mutex<BTreeMap<u64, Fault>>>,
    /// The guards held: page and the address of its bytes.
    held: Vec<(u64, usize, OwnedPage)>,
    asked: u64,
    /// The frames that the file may hold, and how many it held when that was said.
    ceiling: Option<(usize, usize)>,
    /// The frames that the file is sure to keep.
    floor: usize,
    /// The frames that the budget holds.
    frames: usize,
}

struct Bench {
    pool: Pool,
    file: PoolFile,
    device: Arc<FaultyDevice>,
    model: Model,
}

impl Bench {
    fn new(policy: Policy) -> Self {
        let bytes: Vec<u8> = (0..PAGES).flat_map(|no| Specimen::page(PageNo(no), SIZE)).collect();
        let checksums = Checksums::of_pages(FileKey(1), SIZE, &bytes);
        let memory = MemoryDevice::new(MemorySource::new("a file", SIZE, bytes).unwrap());
        let broken: Arc<Mutex<BTreeMap<u64, Fault>>> = Arc::default();
        let asked_of = broken.clone();
        let script = move |_, page: PageNo| asked_of.lock().unwrap().get(&page.0).copied();
        let device = Arc::new(FaultyDevice::new(Arc::new(memory), script));
        let pool = Pool::new(&PoolOptions {
            memory_bytes: budget_bytes(FRAMES),
            max_memory_bytes: Some(budget_bytes(MOST_FRAMES)),
            policy,
            frame_patience: Duration::from_millis(1),
            ..PoolOptions::default()
        });
        let pool = pool.unwrap();
        let file = pool.attach(device.clone(), Some(checksums)).unwrap();
        let (held, ceiling) = (Vec::new(), None);
        let model = Model { broken, held, asked: 0, ceiling, floor: 0, frames: FRAMES };
        Self { pool, file, device, model }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Pin(page) => self.pin(page),
            Step::PinRange(first, count) => {
                (first..PAGES.min(first + count)).for_each(|page| self.pin(page));
            }
            Step::TryPin(page) => self.try_pin(page),
            Step::Unpin(_) if self.model.held.is_empty() => {}
            Step::Unpin(which) => {
                let which = which % self.model.held.len();
                drop(self.model.held.swap_remove(which));
            }
            Step::UnpinAll => self.model.held.clear(),
            Step::Batch(pages) => self.batch(pages),
            Step::Scan(first, count) => self.batch((first..PAGES.min(first + count)).collect()),
            Step::Forget(page) => self.forget(page),
            Step::Look(looked_at, meanwhile) => self.look(&looked_at, &meanwhile),
            Step::Read(pages, hint, late) => self.read(&pages, hint, late),
            Step::Ahead(pages, hint) => self.ahead(&pages, hint),
            Step::TryBatch(pages) => self.try_batch(&pages),
            Step::Fetch(pages, taken) => self.fetch(&pages, taken),
            Step::Share(floor, ceiling) => self.share(floor, ceiling),
            Step::Resize(frames) => self.resize(frames),
            Step::Restore(forgotten) => self.restore(&forgotten),
            Step::Break(page, fault) => drop(self.model.broken.lock().unwrap().insert(page, fault)),
            Step::Mend => self.model.broken.lock().unwrap().clear(),
        }
    }

    fn pin(&mut self, page: u64) {
        let (resident, reads) = (self.is_resident(page), self.device.reads());
        let pinned = self.file.pin(PageNo(page));
        let starved = matches!(pinned, Err(Error::Exhausted { .. } | Error::AtCeiling { .. }));
        self.model.asked += u64::from(!starved);
        match pinned {
            Ok(guard) => {
                assert!(resident || self.is_sound(page), "page {page} is broken, and was absent");
                assert!(*guard == Specimen::page(PageNo(page), SIZE), "bytes of page {page}");
                assert_eq!(self.device.reads() - reads, u64::from(!resident), "one read a miss");
                let address = guard.as_ptr() as usize;
                self.model.held.push((page, address, guard.into_owned()));
            }
            Err(error) => {
                assert!(!resident, "page {page} was there, and yet: {error}");
                self.expect(&error, &[page]);
            }
        }
    }

    fn try_pin(&mut self, page: u64) {
        let reads = self.device.reads();
        if let Some(guard) = self.file.try_pin(PageNo(page)) {
            self.model.asked += 1;
            assert!(*guard == Specimen::page(PageNo(page), SIZE), "bytes of page {page}");
        } else {
            assert!(!self.model.held.iter().any(|held| held.0 == page), "a pinned page is there");
        }
        assert_eq!(self.device.reads(), reads, "trying reads nothing");
    }

    fn batch(&mut self, pages: Vec<u64>) {
        let numbers: Vec<PageNo> = pages.iter().copied().map(PageNo).collect();
        let distinct: BTreeSet<u64> = pages.iter().copied().collect();
        let absent = distinct.iter().filter(|&&page| !self.is_resident(page)).count() as u64;
        let before = self.pool.stats();
        let mut seen = vec![0; pages.len()];
        let visited = self.file.visit(&numbers, &mut |i, bytes| {
            assert!(bytes == Specimen::page(numbers[i], SIZE), "bytes of page {}", numbers[i]);
            seen[i] += 1;
        });
        let after = self.pool.stats();
        let looked = (after.hits + after.misses) - (before.hits + before.misses);
        self.model.asked += looked;
        match visited {
            Ok(()) => {
                assert!(seen.iter().all(|&times| times == 1), "each page once: {seen:?}");
                assert_eq!(looked, pages.len() as u64, "each page is a hit or a miss");
                let reads = after.reads - before.reads;
                assert!(absent <= reads && reads <= looked, "{absent} were absent, {reads} read");
            }
            Err(error) => {
                assert!(seen.iter().all(|&times| times <= 1), "no page twice: {seen:?}");
                self.expect(&error, &pages);
            }
        }
    }

    fn forget(&mut self, page: u64) {
        let held = self.model.held.iter().any(|held| held.0 == page);
        let resident = self.is_resident(page);
        assert_eq!(self.file.forget(PageNo(page)), resident && !held, "forgetting page {page}");
        assert_eq!(self.is_resident(page), held, "what was forgotten is absent");
    }

    fn look(&mut self, looked_at: &[u64], meanwhile: &[u64]) {
        let resident: Vec<bool> = looked_at.iter().map(|&page| self.is_resident(page)).collect();
        let before = self.pool.stats();
        let mut reader = self.pool.reader().unwrap();
        let stay = reader.enter();
        let get = |&page: &u64| stay.get(&self.file, PageNo(page));
        let found: Vec<Option<&[u8]>> = looked_at.iter().map(get).collect();
        assert!(found.iter().map(Option::is_some).eq(resident), "found what is resident");
        // Others forget what we look at, and read what they get frames for.
        looked_at.iter().step_by(2).for_each(|&page| _ = self.file.forget(PageNo(page)));
        let numbers: Vec<PageNo> = meanwhile.iter().copied().map(PageNo).collect();
        let _ = self.file.visit(&numbers, &mut |i, bytes| {
            assert!(bytes == Specimen::page(numbers[i], SIZE), "bytes of page {}", numbers[i]);
        });
        for (page, bytes) in looked_at.iter().zip(&found) {
            let same = bytes.is_none_or(|bytes| bytes == Specimen::page(PageNo(*page), SIZE));
            assert!(same, "page {page} has changed under a reader");
        }
        let hits = found.iter().flatten().count() as u64;
        drop(stay);
        let after = self.pool.stats();
        assert!(after.hits >= before.hits + hits, "each look that finds is a hit");
        self.model.asked += (after.hits + after.misses) - (before.hits + before.misses);
    }

    fn restore(&mut self, forgotten: &[u64]) {
        let hot_set = self.file.hot_set(FileKey(1));
        let gone = forgotten.iter().filter(|&&page| self.file.forget(PageNo(page))).count() as u64;
        let before = self.pool.stats();
        let restored = self.file.restore(hot_set.clone()).unwrap().wait();
        let after = self.pool.stats();
        assert_eq!(
            (after.hits, after.misses, after.evictions),
            (before.hits, before.misses, before.evictions)
        );
        assert_eq!(after.resident() - before.resident(), restored.read as usize);
        assert_eq!(after.reads - before.reads, restored.read + restored.failed);
        assert!(restored.read + restored.failed <= gone, "{gone} were forgotten: {restored:?}");
        match restored.ended {
            Ended::Complete => hot_set.pages().for_each(|(page, _)| {
                assert!(self.is_resident(page.0) || !self.is_sound(page.0), "page {page}");
            }),
            Ended::PoolFull => assert!(restored.left > 0),
            other => panic!("nobody stops it, and it has few pages to fail with: {other:?}"),
        }
    }

    fn read(&mut self, pages: &[u64], hint: Hint, late: bool) {
        let numbers = numbers(pages);
        let missing = pages.iter().any(|&page| !self.is_resident(page));
        let before = (self.pool.stats(), self.device.reads());
        let mut seen = vec![0; pages.len()];
        let reading = Reading::default().hint(hint);
        let reading = if late { reading.until(Instant::now()) } else { reading };
        let visited = self.file.visit_with(&numbers, &reading, &mut |i, bytes| {
            assert!(bytes == Specimen::page(numbers[i], SIZE), "bytes of page {}", numbers[i]);
            seen[i] += 1;
        });
        let after = self.pool.stats();
        self.model.asked += (after.hits + after.misses) - (before.0.hits + before.0.misses);
        match visited {
            Ok(()) => {
                assert!(seen.iter().all(|&times| times == 1), "each page once: {seen:?}");
                // What is read and handed over in the first round is not late.
                assert!(missing || before.1 == self.device.reads(), "all was there");
            }
            Err(Error::DeadlinePassed { page, .. }) => {
                assert!(late && missing && pages.contains(&page.0), "page {page}");
                assert!(seen.contains(&0), "something was missing");
            }
            Err(error) => self.expect(&error, pages),
        }
        if hint == Hint::ScanOnce {
            assert!(after.resident() <= before.0.resident(), "a scan leaves nothing");
            let evicted = after.evictions - before.0.evictions;
            assert!(
                evicted == 0
                    || before.0.free < self.model.frames / 16
                    || self.model.ceiling.is_some()
            );
        }
    }

    fn ahead(&mut self, pages: &[u64], hint: Hint) {
        let absent: Vec<u64> =
            pages.iter().copied().filter(|&page| !self.is_resident(page)).collect();
        let (stats, reads) = (self.pool.stats(), self.device.reads());
        let started = self.file.prefetch(&numbers(pages), &Reading::default().hint(hint));
        let after = self.pool.stats();
        assert_eq!((after.hits, after.misses), (stats.hits, stats.misses), "nobody has asked");
        assert_eq!(self.device.reads() - reads, started as u64);
        assert!(started <= absent.len(), "{started} of {} that were absent", absent.len());
        for &page in &absent {
            assert!(self.is_sound(page) || !self.is_resident(page), "page {page} is broken");
        }
    }

    fn try_batch(&mut self, pages: &[u64]) {
        let there: Vec<usize> = (0..pages.len()).filter(|&i| self.is_resident(pages[i])).collect();
        let (numbers, reads) = (numbers(pages), self.device.reads());
        let mut seen = Vec::new();
        let found = self.file.try_visit(&numbers, &mut |i, bytes| {
            assert!(bytes == Specimen::page(numbers[i], SIZE), "bytes of page {}", numbers[i]);
            seen.push(i);
        });
        self.model.asked += found as u64;
        assert_eq!((found, self.device.reads()), (there.len(), reads), "trying reads nothing");
        assert_eq!(seen, there, "what is in memory, in its order");
    }

    /// Takes so many pages as futures, keeps them to the end, and drops the rest.
    fn fetch(&mut self, pages: &[u64], taken: usize) {
        let numbers = numbers(pages);
        let before = self.pool.stats();
        let mut kept = Vec::new();
        let mut arrivals = self.file.fetch_many(&numbers, &Reading::default());
        let mut context = Context::from_waker(Waker::noop());
        while kept.len() < taken {
            match arrivals.poll_next(&mut context) {
                Poll::Ready(Some(arrival)) => kept.push(arrival),
                Poll::Ready(None) => break,
                Poll::Pending => panic!("this disk makes nobody wait"),
            }
        }
        drop(arrivals);
        let after = self.pool.stats();
        self.model.asked += (after.hits + after.misses) - (before.hits + before.misses);
        let places: BTreeSet<usize> = kept.iter().map(|(place, _)| *place).collect();
        assert_eq!((places.len(), kept.len()), (kept.len(), taken.min(pages.len())), "each once");
        let mine: BTreeSet<u64> = kept
            .iter()
            .filter_map(|(place, page)| page.as_ref().ok().map(|_| pages[*place]))
            .collect();
        for (place, page) in &kept {
            match page {
                Ok(page) => assert!(**page == Specimen::page(numbers[*place], SIZE)),
                Err(error) => self.expect_beside(error, &[pages[*place]], &mine),
            }
        }
        let pins = self.model.held.len() + kept.iter().filter(|(_, page)| page.is_ok()).count();
        assert_eq!(self.pool.audit().unwrap().pins, pins as u64, "what was dropped is given back");
    }

    fn share(&mut self, floor: u64, ceiling: Option<u64>) {
        let frame_bytes = Pool::frame_bytes(SIZE);
        let share = Share::default().floor_bytes(floor * frame_bytes);
        let share = ceiling.map_or(share, |most| share.ceiling_bytes(most * frame_bytes));
        let pinned = self.pinned().len();
        match self.file.set_share(share) {
            Ok(()) => {
                self.model.ceiling = ceiling.map(|most| (most as usize, pinned));
                self.model.floor = floor as usize;
            }
            Err(PoolError::BadShare { .. }) => {
                assert!(ceiling.is_some_and(|most| most < floor.max(1)), "{floor}, {ceiling:?}");
            }
            Err(PoolError::Pinned { .. }) => {
                assert_eq!(pinned, self.usable(), "frames were left");
            }
            Err(PoolError::TableTooLarge { .. } | PoolError::FloorsTooLarge { .. }) => {
                // The books of a ceiling take a frame or two.
                let least = Pool::MIN_FRAMES as usize + floor as usize;
                assert!(self.usable() < least + 2, "{} frames", self.usable());
            }
            Err(error) => panic!("no share of these can lead to: {error}"),
        }
    }

    /// Looks without a trace in the model: counts as asked when it is a hit.
    fn is_resident(&mut self, page: u64) -> bool {
        let resident = self.file.try_pin(PageNo(page)).is_some();
        self.model.asked += u64::from(resident);
        resident
    }

    fn is_sound(&self, page: u64) -> bool {
        // The last page misdirected to itself is no fault.
        let fault = self.model.broken.lock().unwrap().get(&page).copied();
        match fault {
            None => true,
            Some(Fault::Misdirected(other)) => other.0 == page,
            Some(_) => false,
        }
    }

    fn resize(&mut self, frames: usize) {
        let left = self.usable() as isize + frames as isize - self.model.frames as isize;
        let least = (Pool::MIN_FRAMES as usize + self.model.floor) as isize;
        match self.pool.resize(budget_bytes(frames)) {
            Ok(()) => {
                assert!(frames <= MOST_FRAMES && left >= least, "{frames} frames, {left} left");
                self.model.frames = frames;
            }
            Err(PoolError::BelowMinimum { .. }) => assert!(left < least, "{left} are left"),
            Err(PoolError::AboveMaximum { .. }) => assert!(frames > MOST_FRAMES, "{frames} frames"),
            Err(PoolError::NotNow { .. }) => {
                let pinned = self.pinned().len();
                assert!(pinned as isize > left, "{pinned} pinned, {left} left");
            }
            Err(error) => panic!("resizing cannot lead to: {error}"),
        }
    }

    /// The frames that may hold pages: those of the budget that do not pay for tables and books.
    fn usable(&self) -> usize {
        self.model.frames - self.pool.stats().retired
    }

    /// The pages of which guards are held.
    fn pinned(&self) -> BTreeSet<u64> {
        self.model.held.iter().map(|held| held.0).collect()
    }

    fn expect(&self, error: &Error, asked: &[u64]) {
        self.expect_beside(error, asked, &BTreeSet::new());
    }

    /// The same while these pages are pinned beside those of the model.
    fn expect_beside(&self, error: &Error, asked: &[u64], mine: &BTreeSet<u64>) {
        let pinned = self.pinned().union(mine).count();
        match error {
            Error::Exhausted { page, .. } => {
                assert_eq!(pinned, self.usable(), "page {page}: frames were left");
            }
            Error::AtCeiling { page, frames, .. } => {
                assert_eq!(Some(*frames), self.model.ceiling.map(|(most, _)| most));
                assert!(pinned >= *frames, "page {page}: {pinned} pinned of {frames}");
            }
            Error::Io { .. } => assert!(asked.iter().any(|&page| !self.is_sound(page)), "{error}"),
            Error::Checksum { page, .. } | Error::Truncated { page, .. } => {
                assert!(asked.contains(&page.0) && !self.is_sound(page.0), "{error}");
            }
            other => panic!("no step can lead to: {other}"),
        }
    }

    fn check(&self) {
        let (audit, stats) = (self.pool.audit().unwrap(), self.pool.stats());
        let used = audit.resident + audit.loading + audit.limbo + audit.retired;
        let frames = self.model.frames;
        assert_eq!((audit.free + used, stats.frames), (frames, frames));
        assert_eq!(stats.resident(), audit.resident);
        assert_eq!(audit.loading, 0, "nothing is left behind");
        assert!(audit.resident <= frames - audit.retired, "the budget");
        assert_eq!(audit.pins, self.model.held.len() as u64, "a pin a guard");
        assert_eq!(stats.hits + stats.misses, self.model.asked, "hits and misses");
        assert_eq!(self.file.frames_held(), audit.resident, "frames are counted for their file");
        if let Some((most, pinned_then)) = self.model.ceiling {
            assert!(audit.resident <= most.max(pinned_then), "the ceiling");
        }
        let of_file = self.file.stats();
        assert_eq!((of_file.hits, of_file.misses), (stats.hits, stats.misses));
        assert_eq!((of_file.reads, of_file.failed_reads), (stats.reads, stats.failed_reads));
        assert_eq!((of_file.evictions, of_file.in_flight), (stats.evictions, 0));
        assert_eq!((of_file.resident, of_file.pins), (audit.resident, audit.pins));
        let held: BTreeSet<u64> = self.model.held.iter().map(|held| held.0).collect();
        assert_eq!(of_file.pinned, held.len(), "pinned pages");
        assert_eq!((stats.reads, stats.miss_latency.reads), (self.device.reads(), stats.reads));
        for (page, address, guard) in &self.model.held {
            assert_eq!(guard.as_ref().as_ptr() as usize, *address, "page {page} has moved");
            assert!(**guard == Specimen::page(PageNo(*page), SIZE), "page {page} has changed");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pool_is_what_the_model_says(
        policy in proptest::sample::select(&Policy::ALL),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut bench = Bench::new(policy);
        for step in steps {
            bench.take(step);
            bench.check();
        }
        let Bench { pool, file, model, .. } = bench;
        let frames = model.frames;
        drop(file);
        drop(model);
        let stats = pool.stats();
        prop_assert_eq!(stats.free + stats.limbo, frames, "everything has come back");
    }
}
