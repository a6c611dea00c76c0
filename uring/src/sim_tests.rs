//! The engine over a ring that fails on purpose: nothing lost, nothing twice, nothing stale.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_storage::conformance::Specimen;
use ringpool_storage::{
    Error, Landing, PageDevice, PageNo, PageRead, PageSize, ReadBuffer, Result,
};

use crate::books::Books;
use crate::depth::Depth;
use crate::lane::Lane;
use crate::lanes::Lanes;
use crate::paged_file::PagedFile;
use crate::ring_engine::{RingEngine, RingFile};
use crate::sim_ring::{Faults, Injected, SimRing};

const DEPTH: u32 = 48;
const PAGES: u64 = 600;
/// Longer than any of these tests can take without hanging.
const WATCHDOG: Duration = Duration::from_secs(120);

fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(".").unwrap()
}

fn engine(
    seed: u64,
    faults: Faults,
    injected: &Arc<Injected>,
    drain: Duration,
) -> Arc<RingEngine<SimRing>> {
    let (ours, rings) = (injected.clone(), AtomicU64::new(seed << 8));
    let make = move |_: &Books| {
        let seed = rings.fetch_add(1, Ordering::Relaxed);
        Ok(Lane::new(SimRing::new(DEPTH, seed, faults, ours.clone()), DEPTH, true))
    };
    let books = Books::new(Depth::new(DEPTH, false));
    let first = make(&books).unwrap();
    Arc::new(RingEngine::of(Lanes::new(first, Box::new(make), books), None, drain))
}

fn open(engine: &Arc<RingEngine<SimRing>>, dir: &Path) -> RingFile<SimRing> {
    let specimen = Specimen::write(dir, "pages", PageSize::KIB_4, PAGES);
    let file = PagedFile::open(&specimen.path, PageSize::KIB_4, 1).unwrap();
    // The simulated ring reads from the page cache: a million reads are not for the disk.
    // SAFETY: a call on a descriptor that `file` owns; no memory is passed.
    #[allow(unsafe_code)]
    unsafe {
        libc::fcntl(file.fd(), libc::F_SETFL, 0);
    }
    RingFile::new(engine.clone(), Arc::new(file))
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Some pages anywhere, or one after the other, or with gaps.
    fn pages(&mut self) -> Vec<PageNo> {
        let count = 1 + self.below(24);
        let stride = self.below(4);
        let first = self.below(PAGES - 3 * count);
        match stride {
            0 => (0..count).map(|_| PageNo(self.below(PAGES))).collect(),
            _ => (0..count).map(|i| PageNo(first + i * stride)).collect(),
        }
    }
}

/// Visits random pages until `enough` says so; every page must come once, right, or an error must
/// be one of those that were injected. Returns the pages that came and the errors.
fn visit_at_random(device: &dyn PageDevice, seed: u64, enough: &dyn Fn() -> bool) -> (u64, u64) {
    let mut dice = Dice(seed | 1);
    let mut buffer = ReadBuffer::new(2 + (seed % 19) as u32, PageSize::KIB_4);
    let expected: Vec<Vec<u8>> =
        (0..PAGES).map(|page| Specimen::page(PageNo(page), PageSize::KIB_4)).collect();
    let (mut came, mut failed) = (0, 0);
    while !enough() {
        let pages = dice.pages();
        let mut seen = vec![0; pages.len()];
        let deadline = Instant::now() + WATCHDOG;
        let verdict = buffer.visit_until(device, &pages, deadline, |i, bytes| {
            seen[i] += 1;
            assert!(bytes == expected[pages[i].0 as usize], "page {} is wrong", pages[i]);
        });
        assert!(seen.iter().all(|&times| times <= 1), "a page came twice");
        came += seen.iter().sum::<u64>();
        match verdict {
            Ok(()) => assert!(seen.iter().all(|&times| times == 1), "a page was lost"),
            Err(Error::Truncated { page, found_bytes, .. }) => {
                assert!(pages.contains(&page) && found_bytes < 4096);
                failed += 1;
            }
            Err(Error::Io { source, .. }) => {
                assert_eq!(source.raw_os_error(), Some(libc::EIO));
                failed += 1;
            }
            Err(other) => panic!("nobody has injected this: {other}"),
        }
    }
    (came, failed)
}

#[test]
fn a_million_reads_with_faults_lose_double_and_stale_nothing() {
    let faults = Faults { reads: 500, calls: 500, strays: 100, stuck: 0 };
    let mut reads = 0;
    for seed in 1..=4 {
        let injected = Arc::new(Injected::default());
        let engine = engine(seed, faults, &injected, WATCHDOG);
        let dir = dir();
        let device = open(&engine, dir.path());
        let enough = || engine.counters().reads >= 260_000;
        thread::scope(|scope| {
            // More threads at some seeds than at others; with one there is no lane but its own.
            for thread in 0..seed * seed {
                let (device, enough) = (&device, &enough);
                scope.spawn(move || visit_at_random(device, seed * 1000 + thread, enough));
            }
        });
        let counters = engine.counters();
        assert!(injected.faults.load(Ordering::Relaxed) > counters.reads / 50);
        // The last strays of a ring may lie in its queue, where nobody has a reason to look.
        let strays = injected.strays.load(Ordering::Relaxed);
        assert!((strays.saturating_sub(100)..=strays).contains(&counters.strays));
        assert!(counters.strays > 0 && counters.retries > 0);
        assert!(counters.merged > 0 && counters.bridged_bytes > 0);
        assert_eq!(counters.panics, 0);
        reads += counters.reads;
    }
    assert!(reads >= 1_000_000, "{reads}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let faults = Faults { reads: 500, calls: 500, strays: 100, stuck: 0 };
    let trace = |seed| {
        let injected = Arc::new(Injected { keeps_trace: true, ..Injected::default() });
        let engine = engine(seed, faults, &injected, WATCHDOG);
        let dir = dir();
        let device = open(&engine, dir.path());
        visit_at_random(&device, 5, &|| engine.counters().reads >= 20_000);
        let trace = injected.trace.lock().unwrap().clone();
        assert!(trace.len() > 5_000);
        trace
    };
    let first = trace(7);
    assert!(first == trace(7));
    assert!(first != trace(8));
}

#[test]
fn what_never_ends_times_out_and_its_memory_is_never_freed() {
    let faults = Faults { stuck: 10_000, ..Faults::default() };
    let injected = Arc::new(Injected::default());
    let engine = engine(1, faults, &injected, Duration::from_millis(50));
    let dir = dir();
    let device = open(&engine, dir.path());
    let mut buffer = ReadBuffer::new(4, PageSize::KIB_4);
    let deadline = Instant::now() + Duration::from_millis(30);
    let pages: Vec<PageNo> = (0..8).map(PageNo).collect();
    let verdict = buffer.visit_until(&device, &pages, deadline, |_, _| panic!("a page arrived"));
    assert!(matches!(verdict, Err(Error::TimedOut { .. })), "{verdict:?}");
    // The same places again: out of use as long as their reads may write to them.
    let verdict = buffer.visit_until(&device, &pages, Instant::now(), |_, _| panic!("arrived"));
    assert!(matches!(verdict, Err(Error::TimedOut { .. })), "{verdict:?}");

    let landing = Arc::new(Tally::default());
    let weak: Weak<Tally> = Arc::downgrade(&landing);
    device.submit(read(&landing, 9)).unwrap();
    device.drive(&|| true, None);
    drop((landing, buffer));
    drop(device);
    drop(engine); // Returns after its drain, and leaks.
    assert!(weak.upgrade().is_some(), "memory that a read may still write to was freed");
    // Four pages that follow each other are one read.
    assert_eq!(injected.stuck.load(Ordering::Relaxed), 2);
}

/// A landing of single pages that counts, and panics on one of them.
#[derive(Default)]
struct Tally {
    landed: AtomicU64,
    panics_at: Option<u64>,
}

impl Landing for Tally {
    fn landed(&self, token: u64, result: Result<()>) {
        self.landed.fetch_add(1, Ordering::Relaxed);
        assert_ne!(self.panics_at, Some(token), "on purpose");
        result.unwrap();
    }
}

#[allow(unsafe_code)]
fn read(landing: &Arc<Tally>, page: u64) -> PageRead {
    let layout = std::alloc::Layout::from_size_align(4096, 4096).unwrap();
    // SAFETY: a page of its own for each read, never given back.
    unsafe {
        let memory = std::ptr::NonNull::new(std::alloc::alloc_zeroed(layout)).unwrap();
        PageRead::new(PageNo(page), memory, 4096, landing.clone(), page)
    }
}

#[test]
fn a_landing_that_panics_keeps_nobody_from_landing() {
    let injected = Arc::new(Injected::default());
    let engine = engine(3, Faults::default(), &injected, WATCHDOG);
    let dir = dir();
    let device = open(&engine, dir.path());
    let landing = Arc::new(Tally { panics_at: Some(17), ..Tally::default() });
    (0..40).for_each(|page| device.submit(read(&landing, 3 * page % 100)).unwrap());
    let all = || landing.landed.load(Ordering::Relaxed) == 40;
    device.drive(&all, Some(Instant::now() + WATCHDOG));
    assert!(all());
    assert_eq!(engine.counters().panics, u64::from((0..40).any(|page| 3 * page % 100 == 17)));
    visit_at_random(&device, 1, &|| engine.counters().reads >= 1000);
}

#[test]
fn a_waiter_that_panics_leaves_the_ring_to_others() {
    let injected = Arc::new(Injected::default());
    let engine = engine(4, Faults::default(), &injected, WATCHDOG);
    let dir = dir();
    let device = open(&engine, dir.path());
    let landing = Arc::new(Tally::default());
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let all = || landing.landed.load(Ordering::Relaxed) == 30;
            device.drive(&all, Some(Instant::now() + WATCHDOG))
        });
        let leader = scope.spawn(|| {
            (0..30).for_each(|page| device.submit(read(&landing, page)).unwrap());
            let asked = AtomicU64::new(0);
            device
                .drive(&|| asked.fetch_add(1, Ordering::Relaxed) > 1 && panic!("on purpose"), None)
        });
        assert!(leader.join().is_err());
        assert!(follower.join().unwrap(), "reads were left behind");
    });
}

#[test]
fn a_visitor_that_panics_leaves_buffer_and_engine_whole() {
    let injected = Arc::new(Injected::default());
    let engine = engine(5, Faults::default(), &injected, WATCHDOG);
    let dir = dir();
    let device = open(&engine, dir.path());
    let mut buffer = ReadBuffer::new(8, PageSize::KIB_4);
    let pages: Vec<PageNo> = (0..50).map(PageNo).collect();
    for round in 0..20 {
        let visit = std::panic::AssertUnwindSafe(|| {
            let mut left: i64 = round + 1;
            buffer.visit(&device, &pages, |_, _| {
                left -= 1;
                assert!(left > 0, "on purpose");
            })
        });
        assert_eq!(std::panic::catch_unwind(visit).is_err(), round < 51);
        let mut count = 0;
        buffer.visit(&device, &pages, |_, _| count += 1).unwrap();
        assert_eq!(count, 50);
    }
}
