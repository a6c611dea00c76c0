//! What one schedule runs: a pool, its threads, and what must hold when they have ended.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use ringpool_bufferpool::{Hint, Policy, Pool, PoolError, PoolFile, PoolOptions, Reading, Share};
use ringpool_storage::{Error, PageNo, PageSource, Result};
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::disk::{Disk, SIZE, is_page};

/// Of them a few pay for the page table and the checksums.
const FRAMES: u64 = 12;
/// Too many for a table that is paid for whole, unless that is asked for.
const PAGES: u64 = 24;
/// What the pool may grow by.
const RESERVE: u64 = 4;
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
    ahead: AtomicU64,
    /// Futures that were dropped while they waited.
    dropped: AtomicU64,
    /// Calls that a deadline or a ceiling has ended.
    refused: AtomicU64,
    /// How often the pool got another size.
    resized: AtomicU64,
    /// Pages that a gather waited for.
    gathered: AtomicU64,
}

static SEEN: Seen = Seen {
    evictions: AtomicU64::new(0),
    joined: AtomicU64::new(0),
    failures: AtomicU64::new(0),
    exhaustions: AtomicU64::new(0),
    limbo: AtomicU64::new(0),
    forgotten: AtomicU64::new(0),
    passing_files: AtomicU64::new(0),
    ahead: AtomicU64::new(0),
    dropped: AtomicU64::new(0),
    refused: AtomicU64::new(0),
    resized: AtomicU64::new(0),
    gathered: AtomicU64::new(0),
};

pub fn seen() -> &'static Seen {
    &SEEN
}

impl Seen {
    pub fn has_everything(&self) -> bool {
        let Self { evictions, joined, failures, exhaustions, limbo, .. } = self;
        let Self { forgotten, passing_files, ahead, dropped, refused, resized, gathered, .. } =
            self;
        [evictions, joined, failures, exhaustions, limbo]
            .into_iter()
            .chain([forgotten, passing_files, ahead, dropped, refused, resized, gathered])
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
        memory_bytes: bytes(FRAMES),
        max_memory_bytes: Some(bytes(FRAMES + RESERVE)),
        whole_tables: draw(2) == 0,
        page_size: SIZE,
        policy,
        // Not a moment of the clock's: a schedule must not depend on it.
        frame_patience: Duration::ZERO,
        ..PoolOptions::default()
    });
    let pool = pool.expect("a budget that does");
    let before = pool.stats();
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
    disk.close();
    lander.join().unwrap(); // It has landed what nobody waits for.
    disk.mend();
    at_rest(&pool, &file);
    drop(file);
    let after = pool.stats();
    assert_eq!(after.free + after.limbo, before.free, "everything has come back: {after:?}");
}

/// One that narrows down on a reader: it reads a page that two others forget all the time, while
/// they read others into whatever frame comes free.
pub fn reader_and_who_forgets() {
    let options = PoolOptions {
        memory_bytes: bytes(FRAMES),
        page_size: SIZE,
        frame_patience: Duration::ZERO,
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).expect("a budget that does");
    let disk = Disk::new(PAGES, 0, true);
    let file = Arc::new(pool.attach(disk.clone(), None).expect("a file that fits"));
    let forgetters = [1, 2].map(|turn| {
        let file = file.clone();
        thread::spawn(move || {
            for round in 0..4 {
                file.forget(PageNo(0));
                drop(allowed(file.pin(PageNo(turn + 2 * round))));
            }
        })
    });
    let mut reader = pool.reader().expect("a seat");
    let mut stay = reader.enter();
    for _ in 0..4 {
        let read = allowed(stay.read(&file, PageNo(0)));
        thread::yield_now();
        assert!(read.is_none_or(|bytes| is_page(bytes, PageNo(0))), "it has changed");
    }
    drop(stay);
    forgetters.into_iter().for_each(|forgetter| forgetter.join().unwrap());
    pool.audit().unwrap();
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
    file.set_share(Share::default()).expect("no share is no trouble");
    pool.resize(bytes(FRAMES)).expect("nobody is in the way");
    pool.audit().unwrap();
    let visited = file.visit(&all, &mut |i, bytes| {
        assert!(is_page(bytes, all[i]));
        seen += 1;
    });
    visited.expect("a sound disk");
    assert_eq!(seen, all.len());
    pool.audit().unwrap();
}

fn step(pool: &Pool, file: &PoolFile) {
    match draw(15) {
        0 | 1 => pin(file),
        2 | 3 => drop(visit(file)),
        4 => count(&SEEN.forgotten, u64::from(file.forget(page()))),
        5 | 6 => look(pool, file),
        7 => pass_through(pool),
        8 => count(&SEEN.ahead, file.prefetch(&some_pages(), &reading()) as u64),
        9 | 10 => await_some(file),
        11 => share(file),
        12 | 13 => gather(file),
        _ => resize(pool),
    }
}

fn bytes(frames: u64) -> u64 {
    frames * Pool::frame_bytes(SIZE)
}

fn some_pages() -> Vec<PageNo> {
    (0..1 + draw(4)).map(|_| page()).collect()
}

/// With any hint, and rarely with a deadline, which has passed already.
fn reading() -> Reading<'static> {
    let reading = Reading::default();
    let reading = match draw(6) {
        0 => reading.hint(Hint::ScanOnce),
        1 => reading.hint(Hint::Hot),
        _ => reading,
    };
    if draw(8) == 0 { reading.until(Instant::now()) } else { reading }
}

/// Passes when `result` is something that a faulty disk or a small pool may lead to.
fn allowed<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => return Some(value),
        Err(Error::Io { .. } | Error::Checksum { .. }) => count(&SEEN.failures, 1),
        Err(Error::Exhausted { .. }) => count(&SEEN.exhaustions, 1),
        Err(Error::DeadlinePassed { .. } | Error::AtCeiling { .. }) => count(&SEEN.refused, 1),
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
    let pages = some_pages();
    let mut seen = vec![0; pages.len()];
    let visited = file.visit_with(&pages, &reading(), &mut |i, bytes| {
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

/// A few pages as futures: all of them taken, or dropped on the way, arrived or not.
fn await_some(file: &PoolFile) {
    let pages = some_pages();
    let mut arrivals = file.fetch_many(&pages, &reading());
    if draw(3) == 0 {
        block_on(poll_fn(|context| {
            count(&SEEN.dropped, u64::from(arrivals.poll_next(context).is_pending()));
            Poll::Ready(())
        }));
        for _ in 0..draw(3) {
            thread::yield_now();
        }
        return;
    }
    let mut seen = vec![0; pages.len()];
    let mut held = Vec::new();
    while let Some((index, arrived)) = block_on(arrivals.next()) {
        seen[index] += 1;
        if let Some(page) = allowed(arrived) {
            assert!(is_page(&page, pages[index]), "{}", pages[index]);
            held.push((index, page));
        }
        if draw(2) == 0 {
            held.pop();
        }
    }
    assert!(seen.iter().all(|&times| times == 1), "each place once: {seen:?}");
    assert!(held.iter().all(|(index, page)| is_page(page, pages[*index])), "kept ones stay");
}

/// Two batches at once, of which one may be left and its number used anew; or all are dropped.
fn gather(file: &PoolFile) {
    let hint = [Hint::Random, Hint::Random, Hint::ScanOnce, Hint::Hot][draw(4) as usize];
    let mut gather = file.gather_with(hint);
    let mut missing = BTreeMap::new();
    for batch in [1, 2, 1] {
        if draw(2) == 0 {
            gather.leave(batch);
            missing.retain(|&(other, _), _| other != batch);
        }
        if missing.keys().any(|&(other, _)| other == batch) {
            continue;
        }
        let pages = some_pages();
        missing.extend((0..).zip(&pages).map(|(place, &page)| ((batch, place), page)));
        let asked = gather.ask(batch, &pages, &mut |place, bytes| {
            assert!(is_page(bytes, pages[place]), "{}", pages[place]);
            assert!(missing.remove(&(batch, place)).is_some(), "told twice");
        });
        if allowed(asked).is_none() {
            gather.leave(batch);
            missing.retain(|&(other, _), _| other != batch);
        }
        assert_eq!(gather.outstanding(), missing.len());
    }
    while gather.outstanding() > 0 && draw(8) > 0 {
        allowed(gather.wait(&|| gather.has_arrivals(), None));
        gather.collect(&mut |batch, place, bytes| {
            let page = missing.remove(&(batch, place)).expect("waited for, and told once");
            count(&SEEN.gathered, 1);
            if let Some(bytes) = allowed(bytes) {
                assert!(is_page(bytes, page), "{page}");
                thread::yield_now();
                assert!(is_page(bytes, page), "{page} has changed");
            }
        });
        assert_eq!(gather.outstanding(), missing.len());
    }
}

/// Changes what the file is sure to keep and what it may take.
fn share(file: &PoolFile) {
    let share = match draw(3) {
        0 => Share::default(),
        1 => Share::default().floor_bytes(bytes(draw(4))),
        _ => Share::default().ceiling_bytes(bytes(4 + draw(4))),
    };
    match file.set_share(share) {
        // The books of a ceiling take a frame; floors take what nobody can promise.
        Ok(())
        | Err(
            PoolError::Pinned { .. }
            | PoolError::TableTooLarge { .. }
            | PoolError::FloorsTooLarge { .. },
        ) => {}
        Err(other) => panic!("no schedule may lead to: {other}"),
    }
}

/// Gives the pool more memory or less, while others use it.
fn resize(pool: &Pool) {
    match pool.resize(bytes(FRAMES - RESERVE + draw(2 * RESERVE + 1))) {
        Ok(()) => count(&SEEN.resized, 1),
        Err(PoolError::NotNow { .. } | PoolError::BelowMinimum { .. }) => {}
        Err(other) => panic!("no schedule may lead to: {other}"),
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
