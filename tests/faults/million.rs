//! A million reads of which one in twenty goes wrong, and what the pool promises all the same.
//!
//! Two files share a pool that holds a fifteenth of them, each on a disk whose faults are drawn from
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
//! The seed is printed before each run. That of one thread repeats from its seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::bufferpool::{OwnedPage, Pool};
use ringpool::storage::{Error, FaultPlan, FaultRates, FaultyDevice, Incident, PageNo, PageSource};

use crate::disk::{
    Disk, FILES, FRAMES, PAGES, PATIENCE, assert_whole, attach, is_failure, pool, size, tells,
    watched,
};

const SEEDS: std::ops::Range<u64> = 0..8;
/// Reads of one run of one thread, and of one run of several.
const READS: u64 = 150_000;
const THREADS: u64 = 4;
const FAULTY_SHARE: f64 = 0.05;

#[test]
fn a_million_reads_with_one_in_twenty_faulty() {
    let reads = watched(|| {
        let mut reads = 0;
        for seed in SEEDS {
            eprintln!("seed {seed}, {reads} reads so far");
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
    let bench = Bench::new(seed, FaultRates { held: 0.0005, ..rates() });
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
