//! The budget is the budget: what a process grows by under a mixed load of everything a pool does,
//! as the kernel counts it, is no more than the budget, 2 % of it, and 4 MiB.
//!
//! Each test runs in a process of its own, this binary started again, so that nothing else is in
//! the figures. A few seconds by default; an hour's worth, which is as many pages as a disk of
//! 90,000 reads a second gives in one, by
//!
//! ```text
//! RINGPOOL_BUDGET_PAGES=324000000 cargo test --release -p ringpool-bufferpool --test budget \
//!     -- --nocapture
//! ```

mod numbered;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use numbered::{SIZE, attach, is_page};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_bufferpool::{Hint, Pool, PoolError, PoolFile, PoolOptions, Reading, Share};
use ringpool_storage::{PageNo, PageSource};

const MIB: u64 = 1 << 20;
const BUDGET_BYTES: u64 = 64 * MIB;
/// Pages that are asked for unless the environment says how many.
const FEW_PAGES: u64 = 600_000;
const THREADS: u64 = 4;
const TEBIBYTE: u64 = (1 << 40) / 4096;
/// Set in a process that a test has started, to the test's name.
const CHILD: &str = "RINGPOOL_BUDGET_CHILD";

/// Runs `load` in a process of its own, and passes on what it prints.
fn alone(name: &str, load: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some_and(|child| child == name) {
        return load();
    }
    let binary = std::env::current_exe().unwrap();
    let child = Command::new(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        .output()
        .unwrap();
    print!("{}", String::from_utf8_lossy(&child.stdout));
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

/// A figure of /proc/self/status, in bytes.
fn status_bytes(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Forgets the peak so far.
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn allowed_bytes(budget_bytes: u64) -> u64 {
    budget_bytes + budget_bytes / 50 + 4 * MIB
}

fn pool(memory_bytes: u64) -> Pool {
    let options = PoolOptions {
        memory_bytes,
        max_memory_bytes: Some(2 * memory_bytes),
        // On a busy machine a thread may be put aside for long while its reader is inside.
        frame_patience: Duration::from_secs(60),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

/// Asks a pool of `memory_bytes` for about `pages` pages in every way there is, by several threads,
/// while it shrinks and grows.
fn mixed_load(memory_bytes: u64, pages: u64) {
    let pool = pool(memory_bytes);
    let pool_pages = memory_bytes / 4096;
    // One whose table is whole, one of fifty pools, and one that is larger than any disk.
    let files = [pool_pages / 2, 50 * pool_pages, TEBIBYTE].map(|pages| attach(&pool, pages));
    let (asked, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|seed| {
                let (pool, files, asked) = (&pool, &files, &asked);
                scope.spawn(move || {
                    let mut random = SmallRng::seed_from_u64(seed);
                    while asked.load(Ordering::Relaxed) < pages {
                        let file = &files[random.random_range(0..files.len())];
                        asked.fetch_add(ask(pool, file, &mut random), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let (pool, over) = (&pool, &over);
        let resizer = scope.spawn(move || {
            let mut random = SmallRng::seed_from_u64(THREADS);
            while !over.load(Ordering::Relaxed) {
                let part = random.random_range(memory_bytes / 2..=memory_bytes);
                match pool.resize(part) {
                    Ok(()) | Err(PoolError::NotNow { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        over.store(true, Ordering::Relaxed);
        resizer.join().unwrap();
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    pool.audit().unwrap();
}

/// Asks for some pages of `file`, in a way that chance decides. Returns how many.
fn ask(pool: &Pool, file: &PoolFile, random: &mut SmallRng) -> u64 {
    let count = file.page_count();
    let near = random.random_range(0..count);
    let batch: Vec<PageNo> = match random.random_range(0..3) {
        0 => (near..count.min(near + 500)).map(PageNo).collect(), // A scan.
        1 => (0..100).map(|_| PageNo(random.random_range(0..count))).collect(),
        _ => (0..100).map(|_| PageNo(near / 2 + random.random_range(0..count / 2))).collect(),
    };
    let mut see = |i: usize, bytes: &[u8]| assert!(is_page(bytes, batch[i]), "page {}", batch[i]);
    match random.random_range(0..20) {
        0 => {
            let pins: Vec<_> = batch.iter().map(|&page| file.pin(page).unwrap()).collect();
            pins.iter().enumerate().for_each(|(i, pin)| see(i, pin));
        }
        1 => {
            let mut reader = pool.reader().unwrap();
            let mut stay = reader.enter();
            stay.visit(file, &batch, &mut see).unwrap();
            let seen: Vec<_> = batch.iter().map(|&page| stay.get(file, page)).collect();
            file.forget(batch[0]);
            seen.iter().enumerate().for_each(|(i, bytes)| bytes.iter().for_each(|b| see(i, b)));
        }
        2 => {
            let scan = Reading::default().hint(Hint::ScanOnce);
            file.visit_with(&batch, &scan, &mut see).unwrap();
        }
        3 => _ = file.prefetch(&batch, &Reading::default()),
        4 => {
            let other = attach(pool, random.random_range(1..1 << 22));
            let share = Share::default().ceiling_bytes(200 * Pool::frame_bytes(SIZE));
            let _ = other.set_share(share); // Or all frames are pinned just now.
            let pages: Vec<PageNo> =
                (0..300).map(|_| PageNo(random.random_range(0..other.page_count()))).collect();
            other.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]))).unwrap();
        }
        _ => file.visit(&batch, &mut see).unwrap(),
    }
    batch.len() as u64
}

#[test]
fn a_process_grows_by_the_budget_and_no_more() {
    alone("a_process_grows_by_the_budget_and_no_more", || {
        let pages = std::env::var("RINGPOOL_BUDGET_PAGES");
        let pages = pages.map_or(FEW_PAGES, |pages| pages.parse().expect("a number of pages"));
        mixed_load(16 * MIB, 20_000); // What the load needs of its own is there before.
        let before_bytes = status_bytes("VmRSS");
        forget_peak();
        mixed_load(BUDGET_BYTES, pages);
        let growth_bytes = status_bytes("VmHWM") - before_bytes;
        let stay_bytes = status_bytes("VmRSS").saturating_sub(before_bytes);
        let kib = |bytes: u64| bytes / 1024;
        println!(
            "{pages} pages: grew by {} KiB at most, of {} KiB of budget and {} KiB allowed; {} KiB \
             stay without the pool",
            kib(growth_bytes),
            kib(BUDGET_BYTES),
            kib(allowed_bytes(BUDGET_BYTES)),
            kib(stay_bytes),
        );
        assert!(growth_bytes <= allowed_bytes(BUDGET_BYTES), "{} KiB", kib(growth_bytes));
        assert!(growth_bytes > BUDGET_BYTES / 2, "the budget was used: {} KiB", kib(growth_bytes));
    });
}

#[test]
fn what_is_reserved_costs_nothing_and_what_shrinks_goes_back() {
    alone("what_is_reserved_costs_nothing_and_what_shrinks_goes_back", || {
        mixed_load(16 * MIB, 20_000);
        let before_bytes = status_bytes("VmRSS");
        let options = PoolOptions {
            memory_bytes: 32 * MIB,
            max_memory_bytes: Some(1 << 40),
            ..PoolOptions::default()
        };
        // Two bytes a page of a tebibyte would be 512 MiB: more than the budget.
        assert!(matches!(Pool::new(&options), Err(PoolError::BelowMinimum { .. })));
        let options = PoolOptions { max_memory_bytes: Some(4 << 30), ..options };
        let pool = Pool::new(&options).unwrap();
        let file = attach(&pool, TEBIBYTE);
        let grown = || status_bytes("VmRSS").saturating_sub(before_bytes);
        assert!(grown() < MIB, "{} bytes for nothing", grown());
        let read = |count: u64| {
            let pages: Vec<PageNo> = (0..count).map(PageNo).collect();
            file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]))).unwrap();
        };
        read(60_000);
        assert!(grown() <= allowed_bytes(32 * MIB), "{} bytes", grown());
        for budget_bytes in [160 * MIB, 48 * MIB, 96 * MIB, 8 * MIB, 32 * MIB] {
            pool.resize(budget_bytes).unwrap();
            assert!(grown() <= allowed_bytes(budget_bytes), "{} of {budget_bytes}", grown());
            read(60_000);
            assert!(grown() <= allowed_bytes(budget_bytes), "{} of {budget_bytes}", grown());
            assert!(grown() > budget_bytes * 8 / 10, "{} of {budget_bytes}", grown());
        }
        drop((file, pool));
        assert!(grown() < 2 * MIB, "{} bytes stay", grown());
    });
}

#[test]
fn a_locked_pool_locks_what_is_in_use() {
    alone("a_locked_pool_locks_what_is_in_use", || {
        let options = PoolOptions {
            memory_bytes: 2 * MIB,
            max_memory_bytes: Some(4 * MIB),
            locked: true,
            ..PoolOptions::default()
        };
        let pool = match Pool::new(&options) {
            Ok(pool) => pool,
            Err(PoolError::NotLocked { limit_bytes, .. }) => {
                eprintln!("skipped: this process may lock {limit_bytes} bytes, too few");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let file = attach(&pool, 100_000);
        let in_use = || {
            let stats = pool.stats();
            (stats.frames - stats.retired) as u64 * 4096
        };
        let pages: Vec<PageNo> = (0..5_000).map(PageNo).collect();
        for budget_bytes in [3 * MIB, MIB, 2 * MIB] {
            file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]))).unwrap();
            assert!(status_bytes("VmLck").abs_diff(in_use()) <= 64 * 4096, "{}", in_use());
            pool.resize(budget_bytes).unwrap();
        }
        drop((file, pool));
        assert_eq!(status_bytes("VmLck"), 0);
    });
}

#[test]
#[allow(unsafe_code)]
fn a_lock_that_is_refused_is_an_error_that_names_the_limit() {
    const LIMIT_BYTES: u64 = 512 * 1024;
    alone("a_lock_that_is_refused_is_an_error_that_names_the_limit", || {
        // SAFETY: changes what this process may do, which nothing else is in.
        unsafe {
            // Root may lock what it likes: become somebody else.
            if libc::geteuid() == 0 && libc::setresuid(65_534, 65_534, 65_534) != 0 {
                eprintln!("skipped: root here cannot become another user");
                return;
            }
            let limit = libc::rlimit { rlim_cur: LIMIT_BYTES, rlim_max: LIMIT_BYTES };
            assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        }
        let options = PoolOptions { memory_bytes: 2 * MIB, locked: true, ..PoolOptions::default() };
        match Pool::new(&options) {
            Err(error @ PoolError::NotLocked { limit_bytes: LIMIT_BYTES, .. }) => {
                assert!(error.to_string().contains("ulimit -l"), "{error}");
            }
            other => panic!("{:?}", other.err()),
        }
        let small = PoolOptions {
            memory_bytes: 80 * Pool::frame_bytes(SIZE) + 1000,
            max_memory_bytes: Some(2 * MIB),
            ..options
        };
        let pool = Pool::new(&small).unwrap();
        let before = pool.stats().frames;
        assert!(matches!(pool.resize(2 * MIB), Err(PoolError::NotLocked { .. })));
        assert_eq!(pool.stats().frames, before, "it stays as it was");
        pool.audit().unwrap();
    });
}
