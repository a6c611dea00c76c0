//! One run of CIDR'22: threads that read until the time is over, watched second by second.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::storage::{PageNo, PageSource};
use ringpool_cli::failure::Failure;
use ringpool_cli::process::{Counters, tlb_shootdowns};

use super::{PAGE, SCAN_PAGES, Task};
use crate::contestants::{self, Access, Contestant, Subject};
use crate::run::Measured;

const SEED: u64 = 2022;
const MIB: f64 = 1048576.0;

/// Does one run.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let subject = Subject {
        path: task.path.clone(),
        page_size: PAGE,
        checksums: None,
        memory_bytes: task.memory_bytes,
        access: task.access,
    };
    let contestant = contestants::named(&task.contestant)?;
    let source = contestant.open(&subject)?;
    let readers = Readers::default();
    let seconds = thread::scope(|scope| {
        for thread in 0..task.threads {
            let (readers, source) = (&readers, &*source);
            scope.spawn(move || readers.read(task, thread, source));
        }
        let seconds = readers.watch(task.seconds);
        readers.stop.store(true, Ordering::Relaxed);
        seconds
    });
    if let Some(failure) = readers.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    Ok(Measured { figures: figures(task, contestant, &seconds), seconds, answer: None })
}

/// Threads that read until they are told to stop. Relaxed throughout: nothing is published.
#[derive(Default)]
struct Readers {
    pages: AtomicU64,
    stop: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

impl Readers {
    fn read(&self, task: &Task, thread: u16, source: &dyn PageSource) {
        let mut next = Next::new(task, thread, source.page_count());
        let mut batch = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            next.draw(&mut batch);
            let mut sum = 0_u64;
            let visited = source.visit(&batch, &mut |_, page| sum = sum.wrapping_add(word(page)));
            black_box(sum);
            if let Err(error) = visited {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                *failure = Some(Failure::of(&error));
                self.stop.store(true, Ordering::Relaxed);
                return;
            }
            self.pages.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }

    /// What passed in each second, until the time is over or somebody has failed.
    fn watch(&self, seconds: u16) -> Vec<BTreeMap<String, f64>> {
        let begun = Instant::now();
        let mut told = Vec::new();
        let mut before = Sample::now(self);
        for second in 1..=u64::from(seconds) {
            let end = begun + Duration::from_secs(second);
            thread::sleep(end.saturating_duration_since(Instant::now()));
            let now = Sample::now(self);
            told.push(now.since(&before));
            before = now;
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        told
    }
}

fn word(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// Which pages a thread reads next.
struct Next {
    access: Access,
    rng: SmallRng,
    batch: usize,
    /// Of a scan: its part of the file, and where it is.
    part: Range<u64>,
    at: u64,
    page_count: u64,
}

impl Next {
    fn new(task: &Task, thread: u16, page_count: u64) -> Self {
        let share = page_count / u64::from(task.threads);
        let first = u64::from(thread) * share;
        Self {
            access: task.access,
            rng: SmallRng::seed_from_u64(SEED + u64::from(thread)),
            batch: task.batch.into(),
            part: first..first + share,
            at: first,
            page_count,
        }
    }

    fn draw(&mut self, batch: &mut Vec<PageNo>) {
        batch.clear();
        if self.access == Access::Random {
            let drawn = (0..self.batch).map(|_| PageNo(self.rng.random_range(0..self.page_count)));
            batch.extend(drawn);
            return;
        }
        if self.at >= self.part.end {
            self.at = self.part.start;
        }
        let end = (self.at + SCAN_PAGES).min(self.part.end);
        batch.extend((self.at..end).map(PageNo));
        self.at = end;
    }
}

/// What the counters say at a moment.
struct Sample {
    at: Instant,
    pages: u64,
    counters: Counters,
    tlb: Option<u64>,
}

impl Sample {
    fn now(readers: &Readers) -> Self {
        let pages = readers.pages.load(Ordering::Relaxed);
        Self { at: Instant::now(), pages, counters: Counters::now(), tlb: tlb_shootdowns() }
    }

    /// What passed between the two, a second.
    fn since(&self, earlier: &Self) -> BTreeMap<String, f64> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let spent = self.counters.since(&earlier.counters);
        let pages = (self.pages - earlier.pages) as f64;
        let figures = [
            ("mib_s", Some(pages * PAGE.bytes() as f64 / MIB)),
            ("disk_mib_s", spent.read_bytes.map(|bytes| bytes as f64 / MIB)),
            ("major_faults_s", Some(spent.major_faults as f64)),
            ("minor_faults_s", Some(spent.minor_faults as f64)),
            ("tlb_s", self.tlb.zip(earlier.tlb).map(|(now, then)| now.saturating_sub(then) as f64)),
            ("cpus", Some(spent.cpu_seconds)),
        ];
        let known = figures.into_iter().filter_map(|(key, figure)| Some((key, figure?)));
        known.map(|(key, figure)| (key.to_owned(), figure / seconds)).collect()
    }
}

/// What the seconds say together.
fn figures(
    task: &Task,
    contestant: &dyn Contestant,
    seconds: &[BTreeMap<String, f64>],
) -> BTreeMap<String, f64> {
    let mean = |seconds: &[BTreeMap<String, f64>], key: &str| {
        let values = seconds.iter().map(|second| second.get(key).copied());
        let sum = values.sum::<Option<f64>>()?;
        Some(sum / seconds.len() as f64).filter(|mean| mean.is_finite())
    };
    let half = &seconds[seconds.len() / 2..];
    let keys = ["mib_s", "disk_mib_s", "major_faults_s", "minor_faults_s", "tlb_s", "cpus"];
    let means = keys.into_iter().filter_map(|key| Some((key.to_owned(), mean(half, key)?)));
    let mut figures: BTreeMap<String, f64> = means.collect();
    let Some(full) = full_after(task.limit_bytes, seconds).filter(|_| contestant.caches()) else {
        return figures;
    };
    let (filling, after) = seconds.split_at(full);
    figures.insert("full_s".into(), full as f64);
    figures.extend(mean(filling, "mib_s").map(|mean| ("filling_mib_s".into(), mean)));
    let worst = after.iter().filter_map(|second| second.get("mib_s").copied()).reduce(f64::min);
    figures.extend(worst.map(|worst| ("worst_mib_s".into(), worst)));
    figures
}

/// After how many seconds the disk has delivered as much as the limit allows to keep.
fn full_after(limit_bytes: u64, seconds: &[BTreeMap<String, f64>]) -> Option<usize> {
    let mut delivered_mib = 0.0;
    let mut delivered = seconds.iter().map(|second| {
        delivered_mib += second.get("disk_mib_s").copied().unwrap_or(0.0);
        delivered_mib
    });
    delivered.position(|mib| mib * MIB >= limit_bytes as f64).map(|second| second + 1)
}
