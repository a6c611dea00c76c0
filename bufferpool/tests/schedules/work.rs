//! What one schedule runs: a pool, its threads, and what must hold when they have ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringpool_bufferpool::{Policy, Pool, PoolError, PoolFile, PoolOptions};
use ringpool_storage::{Error, PageNo, PageSource, Result};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::disk::{Disk, SIZE, is_page};

const FRAMES: u64 = 9;
/// Of them one pays for the page table and the checksums.
const PAGES: u64 = 14;
const THREADS: usize = 3;
const STEPS: usize = 4;
/// One read in so many fails, in one schedule of two.
const FAILS: u32 = 6;

/// How often something happened that the schedules are there for, in all of them together.
#[derive(Debug, Default)]
pub struct Seen {
    evictions: AtomicU64,
    /// Pages that were waited for, another having asked for them first.
    joined: AtomicU64,
    failures: AtomicU64,
    exhaustions: AtomicU64,
    /// Frames found in limbo.
    limbo: AtomicU64,
    forgotten: AtomicU64,
    /// Files attached and dropped while others were at work.
    passing_files: AtomicU64,
}

static SEEN: Seen = Seen {
    evictions: AtomicU64::new(0),
    joined: AtomicU64::new(0),
    failures: AtomicU64::new(0),
    exhaustions: AtomicU64::new(0),
    limbo: AtomicU64::new(0),
    forgotten: AtomicU64::new(0),
    passing_files: AtomicU64::new(0),
};

pub fn seen() -> &'static Seen {
    &SEEN
}

impl Seen {
    pub fn has_everything(&self) -> bool {
        let Self { evictions, joined, failures, exhaustions, limbo, forgotten, passing_files } =
            self;
        [evictions, joined, failures, exhaustions, limbo, forgotten, passing_files]
            .iter()
            .all(|count| count.load(Ordering::Relaxed) > 0)
    }
}

fn count(what: &AtomicU64, times: u64) {
    what.fetch_add(times, Ordering::Relaxed);
}

fn draw(below: u64) -> u64 {
    thread_rng().gen_range(0..below)
}

/// Half of the requests go to three pages, where threads meet.
fn page() -> PageNo {
    PageNo(if draw(2) == 0 { draw(3) } else { draw(PAGES) })
}

/// One schedule, from an empty pool to one that is gone.
pub fn schedule() {
    let policy = Policy::ALL[draw(2) as usize];
    let pool = Pool::new(&PoolOptions {
        memory_bytes: FRAMES * Pool::frame_bytes(SIZE),
        page_size: SIZE,
        policy,
        // Not a moment of the clock's: a schedule must not depend on it.
        frame_patience: Duration::ZERO,
        device_patience: Duration::from_secs(3_600),
        ..PoolOptions::default()
    });
    let pool = pool.expect("a budget that does");
    let fails = if draw(2) == 0 { FAILS } else { 0 };
    let disk = Disk::new(PAGES, fails, draw(2) == 0);
    let lander = disk.clone();
    let lander = thread::spawn(move || lander.work());
    let file =
        Arc::new(pool.attach(disk.clone(), Some(disk.checksums())).expect("a file that fits"));
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (pool, file) = (pool.clone(), file.clone());
            thread::spawn(move || (0..STEPS).for_each(|_| step(&pool, &file)))
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    disk.mend();
    at_rest(&pool, &file);
    drop(file);
    disk.close();
    lander.join().unwrap();
    let stats = pool.stats();
    assert_eq!(stats.free + stats.limbo, FRAMES as usize, "everything has come back: {stats:?}");
}

/// Nothing is left behind, and nothing that failed is kept.
fn at_rest(pool: &Pool, file: &PoolFile) {
    let audit = pool.audit().unwrap();
    assert_eq!((audit.pins, audit.loading), (0, 0), "{audit:?}");
    let stats = pool.stats();
    count(&SEEN.evictions, stats.evictions);
    count(&SEEN.joined, stats.misses.saturating_sub(stats.reads));
    let all: Vec<PageNo> = (0..PAGES).map(PageNo).collect();
    let mut seen = 0;
    let visited = file.visit(&all, &mut |i, bytes| {
        assert!(is_page(bytes, all[i]));
        seen += 1;
    });
    visited.expect("a sound disk");
    assert_eq!(seen, all.len());
    pool.audit().unwrap();
}

fn step(pool: &Pool, file: &PoolFile) {
    match draw(8) {
        0 | 1 => pin(file),
        2 | 3 => drop(visit(file)),
        4 => count(&SEEN.forgotten, u64::from(file.forget(page()))),
        5 | 6 => look(pool, file),
        _ => pass_through(pool),
    }
}

/// Passes when `result` is something that a faulty disk or a small pool may lead to.
fn allowed<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => return Some(value),
        Err(Error::Io { .. } | Error::Checksum { .. }) => count(&SEEN.failures, 1),
        Err(Error::Exhausted { .. }) => count(&SEEN.exhaustions, 1),
        Err(other) => panic!("no schedule may lead to: {other}"),
    }
    None
}

/// Holds one page while another is asked for.
fn pin(file: &PoolFile) {
    let (first, second) = (page(), page());
    let held = match draw(3) {
        0 => file.try_pin(first),
        _ => allowed(file.pin(first)),
    };
    let Some(held) = held else { return };
    assert!(is_page(&held, first));
    let address = held.as_ptr();
    if let Some(other) = allowed(file.pin(second)) {
        assert!(is_page(&other, second));
        assert!(first != second || other.as_ptr() == address, "a page is in one frame");
    }
    assert!(is_page(&held, first), "a pinned page has changed");
}

fn visit(file: &PoolFile) -> Option<()> {
    let pages: Vec<PageNo> = (0..1 + draw(4)).map(|_| page()).collect();
    let mut seen = vec![0; pages.len()];
    let visited = file.visit(&pages, &mut |i, bytes| {
        assert!(is_page(bytes, pages[i]), "{}", pages[i]);
        thread::yield_now();
        assert!(is_page(bytes, pages[i]), "{} has changed", pages[i]);
        seen[i] += 1;
    });
    allowed(visited)?;
    assert!(seen.iter().all(|&times| times == 1), "each page once: {seen:?}");
    Some(())
}

/// A reader's stay: what it looks at stays, whatever the others do.
fn look(pool: &Pool, file: &PoolFile) {
    let Ok(mut reader) = pool.reader() else { return };
    let mut stay = reader.enter();
    let pages = [page(), page(), page()];
    let mut found = [None; 3];
    match draw(2) {
        0 => found = pages.map(|page| stay.get(file, page)),
        _ => _ = stay.get_many(file, &pages, &mut found),
    }
    for _ in 0..draw(4) {
        thread::yield_now();
    }
    for (page, bytes) in pages.iter().zip(found) {
        assert!(bytes.is_none_or(|bytes| is_page(bytes, *page)), "{page} under a reader");
    }
    count(&SEEN.limbo, pool.stats().limbo as u64);
    match draw(3) {
        0 => stay.refresh(),
        1 => {
            let read = allowed(stay.read(file, pages[0]));
            thread::yield_now();
            assert!(read.is_none_or(|bytes| is_page(bytes, pages[0])), "{} just read", pages[0]);
        }
        _ => {
            let mut is_right = true;
            allowed(stay.visit(file, &pages, &mut |i, bytes| is_right &= is_page(bytes, pages[i])));
            assert!(is_right);
        }
    }
}

/// A file that comes and goes while others are at work.
fn pass_through(pool: &Pool) {
    let disk = Disk::new(2, 0, true);
    let file = match pool.attach(disk.clone(), Some(disk.checksums())) {
        Ok(file) => file,
        Err(PoolError::Pinned { .. } | PoolError::TableTooLarge { .. }) => return,
        Err(other) => panic!("no schedule may lead to: {other}"),
    };
    count(&SEEN.passing_files, 1);
    let kept = allowed(file.pin(PageNo(1))).map(|page| page.into_owned());
    drop(file);
    assert!(kept.is_none_or(|page| is_page(&page, PageNo(1))), "its file is gone, it is not");
}
