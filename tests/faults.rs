//! A million reads of which one in twenty goes wrong, and what the pool promises all the same.
//!
//! Two files share a pool that holds a twelfth of them, each on a disk whose faults are drawn from
//! a seed: refused reads, short ones, flipped bits, torn and misdirected pages, stretches that
//! are bad for ever, full queues, and answers that come late, in another order, or only when
//! somebody lets them. One thread, and several that often want the same pages at the same moment,
//! ask for batches, keep guards, forget pages and leave their visits by a panic. Then:
//!
//! 1. No loss and no duplicate: a visit that returns well has handed over each page exactly once;
//!    one that fails, none twice.
//! 2. No stale byte: every page carries its file's number and its own, and all bytes are compared.
//! 3. A visit fails if and only if one of its reads did, with the error of the very fault that the
//!    disk has noted, for a page of the batch. (Among several threads: with that of some fault.)
//! 4. No hang: nothing runs into the patience for the device or for a frame, and a watchdog
//!    ends what takes longer than any of it should.
//! 5. Afterwards every frame is accounted for, and on a mended disk every page reads right.
//!
//! The seed of a failure stands in its message. A run of one thread repeats from its seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::bufferpool::{OwnedPage, Pool, PoolFile, PoolOptions};
use ringpool::storage::{
    Answer, Checksums, Error, Fault, FaultPlan, FaultRates, FaultyDevice, FileKey, Incident,
    MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};

const PAGE_BYTES: usize = 1024;
const PAGES: u64 = 480;
const FILES: usize = 2;
/// The fewest that a pool may have, and what the two files' tables take: 12 bytes a page.
const FRAMES: usize = Pool::MIN_FRAMES as usize + 12;
/// No read of these disks takes as long as this, nor does a frame stay in use for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// No test takes as long as this, on any machine that is alive.
const WATCHDOG: Duration = Duration::from_secs(120);

const SEEDS: std::ops::Range<u64> = 0..8;
/// Reads of one run of one thread, and of one run of several.
const READS: u64 = 150_000;
const THREADS: u64 = 4;
const FAULTY_SHARE: f64 = 0.05;

fn size() -> PageSize {
    PageSize::new(PAGE_BYTES as u64).unwrap()
}

/// The bytes of a file: in each page its file's number, its own, and words like no others.
fn bytes_of_file(file: usize) -> Vec<u8> {
    let mut bytes = vec![0; PAGES as usize * PAGE_BYTES];
    for (no, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        SmallRng::seed_from_u64((file as u64) << 32 | no as u64).fill(&mut page[16..]);
        page[..8].copy_from_slice(&(file as u64).to_le_bytes());
        page[8..16].copy_from_slice(&(no as u64).to_le_bytes());
    }
    bytes
}

/// One file of the pool, its disk, and what it should read.
struct Disk {
    file: PoolFile,
    device: Arc<FaultyDevice>,
    bytes: Arc<Vec<u8>>,
}

impl Disk {
    fn is_page(&self, page: PageNo, found: &[u8]) -> bool {
        let start = page.0 as usize * PAGE_BYTES;
        found == &self.bytes[start..start + PAGE_BYTES]
    }

    /// Visits `pages`, and sees to it that each is handed over once, with its bytes.
    fn visit(&self, pages: &[PageNo]) -> Result<(), Error> {
        let mut times = vec![0; pages.len()];
        let visited = self.file.visit(pages, &mut |i, bytes| {
            assert!(self.is_page(pages[i], bytes), "bytes of page {}", pages[i]);
            times[i] += 1;
        });
        let expected = if visited.is_ok() { 1..=1 } else { 0..=1 };
        assert!(times.iter().all(|times| expected.contains(times)), "{visited:?}: {times:?}");
        visited
    }

    fn pin(&self, page: PageNo) -> Result<OwnedPage, Error> {
        let guard = self.file.pin(page)?;
        assert!(self.is_page(page, &guard), "bytes of page {page}");
        Ok(guard.into_owned())
    }
}

fn pool(patience: Duration) -> Pool {
    let options = PoolOptions {
        memory_bytes: FRAMES as u64 * (PAGE_BYTES as u64 + 24),
        page_size: size(),
        frame_patience: patience,
        device_patience: patience,
    };
    Pool::new(&options).unwrap()
}

/// Attaches a file whose disk does what `script` says.
fn attach(
    pool: &Pool,
    number: usize,
    script: impl Fn(u64, PageNo) -> Answer + Send + Sync + 'static,
) -> Disk {
    let bytes = bytes_of_file(number);
    let checksums = Checksums::of_pages(FileKey(number as u64), size(), &bytes);
    let memory = MemorySource::new(format!("file {number}"), size(), bytes.clone()).unwrap();
    let device = Arc::new(FaultyDevice::answering(Arc::new(MemoryDevice::new(memory)), script));
    let file = pool.attach(device.clone(), Some(checksums)).unwrap();
    Disk { file, device, bytes: Arc::new(bytes) }
}

/// A pool at rest, with so many pins: every frame is accounted for.
fn assert_whole(pool: &Pool, pins: u64) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    assert_eq!(audit.pins, pins, "{audit:?}");
    assert_eq!(audit.free + audit.resident + audit.loading + audit.retired, stats.frames);
    assert_eq!((stats.free, stats.loading), (audit.free, audit.loading));
}

/// Runs `test` on a thread of its own, and fails when it has not ended in time.
fn watched<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, ended) = mpsc::channel();
    let tester = thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test));
        sender.send(()).expect("the watchdog waits");
        result.unwrap_or_else(|panic| resume_unwind(panic))
    });
    ended.recv_timeout(WATCHDOG).expect("it hangs");
    tester.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Whether this is the error of a read with this incident.
fn tells(error: &Error, incident: &Incident) -> bool {
    match (error, incident.answer.fault) {
        (Error::Io { doing, source, .. }, Some(Fault::Errno(errno))) => {
            source.raw_os_error() == Some(errno)
                && **doing == *format!("reading page {}", incident.page)
        }
        (Error::Truncated { page, found_bytes, .. }, Some(Fault::Truncated(found))) => {
            (*page, *found_bytes) == (incident.page, found)
        }
        (
            Error::Checksum { page, .. },
            Some(Fault::FlipBit(_) | Fault::Torn(_) | Fault::Misdirected(_)),
        ) => *page == incident.page,
        _ => false,
    }
}

/// Whether the read of this incident has failed.
fn is_failure(incident: &Incident) -> bool {
    !matches!(incident.answer.fault, None | Some(Fault::Hold | Fault::QueueFull))
}

/// A pool, its files, and the plans of their faults.
struct Bench {
    pool: Pool,
    disks: Vec<Disk>,
    plans: Vec<FaultPlan>,
    seed: u64,
}

/// What one step asks for: the same for the same seed and number.
struct Step {
    disk: usize,
    pages: Vec<PageNo>,
    act: u32,
}

impl Bench {
    fn new(seed: u64, rates: FaultRates) -> Self {
        let pool = pool(PATIENCE);
        let plan = |number| FaultPlan::new(seed ^ (number as u64) << 32, rates, size(), PAGES);
        let plans: Vec<_> = (0..FILES).map(plan).collect();
        let attached = plans.iter().enumerate().map(|(number, &plan)| {
            attach(&pool, number, move |ordinal, page| plan.answer(ordinal, page))
        });
        let disks = attached.collect();
        Self { pool, disks, plans, seed }
    }

    fn reads(&self) -> u64 {
        self.disks.iter().map(|disk| disk.device.reads()).sum()
    }

    fn step(&self, number: u64) -> Step {
        let mut draws = SmallRng::seed_from_u64(self.seed << 32 | number);
        let count = draws.random_range(1..40);
        // A quarter of the requests goes to a twentieth of the pages.
        let page = |draws: &mut SmallRng| {
            let end = if draws.random_ratio(1, 4) { PAGES / 20 } else { PAGES };
            PageNo(draws.random_range(0..end))
        };
        let pages = (0..count).map(|_| page(&mut draws)).collect();
        Step { disk: draws.random_range(0..FILES), pages, act: draws.random_range(0..64) }
    }

    /// Takes a step; returns the disk and what it said. `kept` are the caller's guards.
    fn take(&self, number: u64, kept: &mut Vec<(usize, OwnedPage)>) -> (usize, Result<(), Error>) {
        let Step { disk: which, pages, act } = self.step(number);
        let disk = &self.disks[which];
        let told = match act {
            0 => self.leave(disk, &pages),
            1..8 => disk.pin(pages[0]).map(|guard| kept.push((which, guard))),
            8..16 => {
                pages.iter().for_each(|&page| _ = disk.file.forget(page));
                Ok(())
            }
            16..20 => {
                let resident = pages.iter().filter_map(|&page| disk.file.try_pin(page));
                resident.for_each(|guard| assert!(disk.is_page(guard.page(), &guard)));
                Ok(())
            }
            _ => disk.visit(&pages),
        };
        // Three guards are kept for a while; their pages must not change meanwhile.
        if kept.len() > 3 {
            let (which, oldest) = kept.remove(0);
            assert!(self.disks[which].is_page(oldest.page(), &oldest), "{oldest:?} has changed");
        }
        (which, told)
    }

    /// Leaves a visit by a panic at its second page.
    fn leave(&self, disk: &Disk, pages: &[PageNo]) -> Result<(), Error> {
        struct Left;
        let mut seen = 0;
        let visited = catch_unwind(AssertUnwindSafe(|| {
            disk.file.visit(pages, &mut |_, _| {
                seen += 1;
                if seen == 2 {
                    resume_unwind(Box::new(Left));
                }
            })
        }));
        visited.unwrap_or_else(|panic| {
            assert!(panic.is::<Left>(), "the panic is the visitor's own");
            Ok(())
        })
    }

    /// After a run: nothing is left behind, and on mended disks every page reads right.
    fn close(self) {
        assert_whole(&self.pool, 0);
        assert_eq!(self.pool.stats().loading, 0, "every read has landed");
        let all: Vec<_> = (0..PAGES).map(PageNo).collect();
        for disk in &self.disks {
            disk.device.heal();
            disk.visit(&all).unwrap();
        }
        assert_whole(&self.pool, 0);
        let Self { pool, disks, .. } = self;
        drop(disks);
        assert_eq!(pool.stats().free, FRAMES, "everything has come back");
    }
}

fn rates() -> FaultRates {
    let even = FaultRates::evenly(FAULTY_SHARE);
    FaultRates { late: 0.2, queue_full: 0.0005, bad_pages: 0.01, ..even }
}

/// One thread on its own until `reads` reads were made. Returns how many, and each disk's
/// incidents.
fn run_alone(seed: u64, reads: u64) -> (u64, Vec<Vec<Incident>>) {
    let bench = Bench::new(seed, rates());
    let mut kept = Vec::new();
    let mut incidents = vec![Vec::new(); FILES];
    for number in 0.. {
        let (disk, told) = bench.take(number, &mut kept);
        let noted = bench.disks[disk].device.take_incidents();
        let step = bench.step(number);
        let mut failures = noted.iter().filter(|incident| is_failure(incident)).peekable();
        match told {
            Ok(()) => assert!(
                failures.peek().is_none() || step.act == 0,
                "seed {seed}, step {number}: nobody was told of {:?}",
                failures.collect::<Vec<_>>()
            ),
            Err(error) => assert!(
                failures.any(|incident| tells(&error, incident)),
                "seed {seed}, step {number}: {error} was told, and this has happened: {noted:?}"
            ),
        }
        assert!(noted.iter().all(|incident| step.pages.contains(&incident.page)));
        incidents[disk].extend(noted);
        if bench.reads() >= reads {
            break;
        }
    }
    drop(kept);
    let reads = bench.pool.stats().reads;
    // Besides those of the pages that are bad for ever, which are read again and again.
    let once = bench.plans.iter().zip(&incidents).flat_map(|(plan, incidents)| {
        incidents.iter().filter(|incident| is_failure(incident) && !plan.is_bad(incident.page))
    });
    let share = once.count() as f64 / reads as f64;
    assert!((0.8..1.2).contains(&(share / FAULTY_SHARE)), "{share} of the reads have failed");
    bench.close();
    (reads, incidents)
}

/// Several threads at once, of which two at a time take the same steps, and somebody who lets the
/// disks answer what they hold.
fn run_together(seed: u64, reads: u64) -> u64 {
    let bench = Bench::new(seed, FaultRates { held: 0.0005, queue_full: 0.0, ..rates() });
    let (tickets, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let stuck = AtomicBool::new(false);
    let work = || {
        let (mut kept, mut errors) = (Vec::new(), Vec::new());
        while bench.reads() < reads && !stuck.load(Ordering::Relaxed) {
            let number = tickets.fetch_add(1, Ordering::Relaxed) / 2;
            let (disk, told) = bench.take(number, &mut kept);
            if let Err(Error::TimedOut { .. } | Error::Exhausted { .. }) = told {
                stuck.store(true, Ordering::Relaxed); // It would go on like this for hours.
            }
            errors.extend(told.err().map(|error| (disk, error)));
        }
        errors
    };
    let release = || {
        while !done.load(Ordering::Relaxed) {
            bench.disks.iter().for_each(|disk| _ = disk.device.release());
            thread::sleep(Duration::from_millis(1));
        }
    };
    let errors: Vec<_> = thread::scope(|scope| {
        let releaser = scope.spawn(release);
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        releaser.join().unwrap();
        ended.into_iter().flat_map(|errors| errors.unwrap_or_else(|it| resume_unwind(it))).collect()
    });
    for (disk, plan) in bench.plans.iter().enumerate() {
        let incidents = bench.disks[disk].device.take_incidents();
        assert!(incidents.len() < FaultyDevice::INCIDENTS_KEPT, "all were noted");
        for Incident { ordinal, page, answer } in &incidents {
            assert_eq!(plan.answer(*ordinal, *page), *answer, "threads change no fault");
        }
        for (_, error) in errors.iter().filter(|(its, _)| *its == disk) {
            let told = incidents.iter().any(|incident| tells(error, incident));
            assert!(told, "seed {seed}: no read of file {disk} has failed like this: {error}");
        }
    }
    let stats = bench.pool.stats();
    assert!(stats.misses > stats.reads + 100, "pages were waited for by others: {stats:?}");
    bench.close();
    stats.reads
}

#[test]
fn a_million_reads_with_one_in_twenty_faulty() {
    let reads = watched(|| {
        let mut reads = 0;
        for seed in SEEDS {
            reads += run_alone(seed, READS).0 + run_together(seed, READS);
        }
        reads
    });
    assert!(reads >= 1_000_000, "only {reads} reads were made");
}

#[test]
fn a_seed_repeats_its_run() {
    let run = |seed| watched(move || run_alone(seed, 5_000));
    let first = run(7);
    assert!(first.1.iter().all(|incidents| incidents.len() > 400), "there were faults to compare");
    assert_eq!(first, run(7), "the same reads, pages and faults in the same order");
    assert_ne!(first, run(8));
}

#[test]
fn the_nth_read_goes_wrong_in_every_way_until_no_read_is_left() {
    let faults = [
        Fault::Errno(5),
        Fault::Errno(4),
        Fault::Truncated(0),
        Fault::Truncated(PAGE_BYTES - 1),
        Fault::FlipBit(8 * PAGE_BYTES - 1),
        Fault::Torn(512),
        Fault::Misdirected(PageNo(PAGES - 1)),
        Fault::QueueFull,
        Fault::Hold,
    ];
    watched(move || {
        for fault in faults {
            for late_by_reads in [0, 3] {
                let answer = Answer { late_by_reads, fault: Some(fault) };
                let clean = (0..).find(|&nth| !nth_read_goes_wrong(nth, answer));
                assert!(clean >= Some(NTH_PAGES), "every read had its turn: {clean:?}");
            }
        }
    });
}

/// More pages than one file alone leaves frames in the pool.
const NTH_PAGES: u64 = 80;

/// Two threads want the same pages while the `nth` read goes wrong; then they are to be had.
/// Returns false when there were not so many reads.
fn nth_read_goes_wrong(nth: u64, answer: Answer) -> bool {
    let pool = pool(PATIENCE);
    let answer_of = move |n, _| if n == nth { answer } else { Answer::default() };
    let disk = attach(&pool, 0, answer_of);
    let pages: Vec<_> = (0..NTH_PAGES).map(PageNo).collect();
    let meeting = Barrier::new(2);
    let visit = || {
        meeting.wait();
        disk.visit(&pages)
    };
    let told: Vec<_> = thread::scope(|scope| {
        let visitors: Vec<_> = (0..2).map(|_| scope.spawn(visit)).collect();
        while !visitors.iter().all(|visitor| visitor.is_finished()) {
            disk.device.release();
            thread::yield_now();
        }
        visitors.into_iter().map(|it| it.join().unwrap_or_else(|it| resume_unwind(it))).collect()
    });
    let incidents = disk.device.take_incidents();
    let errors: Vec<_> = told.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.is_empty(), !incidents.iter().any(is_failure), "{incidents:?}: {errors:?}");
    assert!(errors.iter().all(|error| tells(error, &incidents[0])), "{incidents:?}: {errors:?}");
    assert_whole(&pool, 0);
    disk.device.heal();
    disk.visit(&pages).unwrap_or_else(|error| panic!("{incidents:?} is over: {error}"));
    assert_whole(&pool, 0);
    !incidents.is_empty()
}

/// Longer than memory takes for any read, and short enough to run into on purpose.
const IMPATIENCE: Duration = Duration::from_millis(40);

fn hold_from(first: u64) -> impl Fn(u64, PageNo) -> Answer {
    move |_, page| Answer { late_by_reads: 0, fault: (page.0 >= first).then_some(Fault::Hold) }
}

#[test]
fn guards_and_held_reads_outlive_the_pool() {
    for lands in [true, false] {
        let pool = pool(IMPATIENCE);
        let Disk { file, device, bytes } = attach(&pool, 0, hold_from(100));
        let guards: Vec<_> = (0..10).map(|no| file.pin(PageNo(no)).unwrap().into_owned()).collect();
        let held: Vec<_> = (100..110).map(PageNo).collect();
        let timed_out = file.visit(&held, &mut |_, _| {});
        assert!(matches!(timed_out, Err(Error::TimedOut { .. })), "{timed_out:?}");
        assert_eq!(device.held(), held.len());
        drop(pool);
        let dropper = thread::spawn(move || drop(file));
        if lands {
            assert_eq!(device.release(), held.len());
        } else {
            device.abandon();
        }
        dropper.join().unwrap();
        assert!(Arc::strong_count(&device) > 1, "the guards keep their file");
        for guard in guards {
            let start = guard.page().0 as usize * PAGE_BYTES;
            assert!(guard[..] == bytes[start..start + PAGE_BYTES], "{guard:?} has changed");
        }
        assert_eq!(Arc::strong_count(&device), 1, "the last guard has taken everything with it");
    }
}

#[test]
fn a_disk_that_takes_every_frame_and_answers_none_leaves_typed_errors() {
    watched(|| {
        let pool = pool(IMPATIENCE);
        let disk = attach(&pool, 0, hold_from(0));
        let usable = FRAMES - pool.stats().retired;
        let mut pages = (0..PAGES).map(PageNo);
        while disk.device.held() < usable {
            let batch: Vec<_> = pages.by_ref().take(10).collect();
            let told = disk.visit(&batch);
            assert!(matches!(told, Err(Error::TimedOut { .. })), "{told:?}");
        }
        match disk.pin(PageNo(PAGES - 1)) {
            Err(Error::Exhausted { page: PageNo(no), frames, .. }) => {
                assert_eq!((no, frames), (PAGES - 1, usable));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.audit().unwrap().loading, usable);
        assert_eq!(disk.device.release(), usable);
        disk.device.heal();
        disk.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>()).unwrap();
        assert_whole(&pool, 0);
    });
}
