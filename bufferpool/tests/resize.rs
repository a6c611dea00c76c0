//! Growing and shrinking a pool while it is used: the budget holds when the call returns, what is
//! pinned stays, and when it cannot be done, that is said in bounded time and nothing has changed.

mod numbered;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use numbered::{SIZE, attach, is_page};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_bufferpool::{Pool, PoolError, PoolFile, PoolOptions, Share};
use ringpool_storage::{Error, PageNo, PageSource};

/// The table of this many pages is small beside the budget.
const PAGES: u64 = 2_000;

fn bytes_of(frames: u64) -> u64 {
    frames * Pool::frame_bytes(SIZE)
}

/// A pool of `frames` frames that can grow to `most`.
fn pool(frames: u64, most: u64) -> Pool {
    pool_with(frames, most, Duration::from_millis(50))
}

fn pool_with(frames: u64, most: u64, frame_patience: Duration) -> Pool {
    let options = PoolOptions {
        memory_bytes: bytes_of(frames) + 2 * most,
        max_memory_bytes: Some(bytes_of(most) + 2 * most),
        frame_patience,
        whole_tables: true,
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

fn read(file: &PoolFile, pages: std::ops::Range<u64>) -> Result<(), Error> {
    let pages: Vec<PageNo> = pages.map(PageNo).collect();
    file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]), "page {}", pages[i]))
}

/// At rest: every frame is accounted for. Returns how many may hold pages.
fn usable(pool: &Pool) -> usize {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    let frames = audit.free + audit.resident + audit.loading + audit.limbo;
    assert_eq!(frames + audit.retired, stats.frames, "{audit:?}");
    assert_eq!((stats.free, stats.resident()), (audit.free, audit.resident));
    assert!(bytes_of(frames as u64) + stats.table_bytes <= stats.memory_bytes);
    frames
}

#[test]
fn a_pool_grows_and_holds_more() {
    let pool = pool(200, 1000);
    let file = attach(&pool, PAGES);
    read(&file, 0..PAGES).unwrap();
    let before = usable(&pool);
    pool.resize(pool.stats().memory_bytes + bytes_of(800) - 1000).unwrap();
    assert_eq!(usable(&pool), before + 799);
    read(&file, 0..900).unwrap();
    let misses = pool.stats().misses;
    read(&file, 0..900).unwrap();
    // Most of them stay: while there was room, nobody had to go.
    assert!(pool.stats().misses - misses < 200, "{}", pool.stats().misses - misses);
    usable(&pool);
}

#[test]
fn a_pool_shrinks_and_grows_back() {
    let pool = pool(1000, 1000);
    let file = attach(&pool, PAGES);
    let full = (pool.stats().memory_bytes, usable(&pool));
    for frames in [999, 500, 100, 700, 80] {
        read(&file, 0..PAGES).unwrap();
        pool.resize(full.0 - bytes_of(1000 - frames)).unwrap();
        assert_eq!(usable(&pool), full.1 - (1000 - frames as usize));
        assert!(pool.stats().resident() <= full.1 - (1000 - frames as usize));
        read(&file, 0..PAGES).unwrap();
        usable(&pool);
    }
    pool.resize(full.0).unwrap();
    assert_eq!(usable(&pool), full.1);
}

#[test]
fn pinned_pages_stay_and_others_go_for_them() {
    let pool = pool(300, 300);
    let file = attach(&pool, PAGES);
    read(&file, 0..150).unwrap();
    // In the highest frames, which would be the first to go.
    let pins: Vec<_> = (150..290).map(|page| file.pin(PageNo(page)).unwrap()).collect();
    let addresses: Vec<_> = pins.iter().map(|pin| pin.as_ptr()).collect();
    let before = usable(&pool);
    pool.resize(pool.stats().memory_bytes - bytes_of(100)).unwrap();
    assert_eq!(usable(&pool), before - 100);
    for (page, (pin, address)) in (150..).zip(pins.iter().zip(addresses)) {
        assert!(is_page(pin, PageNo(page)) && pin.as_ptr() == address);
    }
    read(&file, 0..PAGES).unwrap();
    drop(pins);
    read(&file, 0..PAGES).unwrap();
    read(&file, 0..PAGES).unwrap();
    assert_eq!(usable(&pool), before - 100);
    pool.resize(pool.stats().memory_bytes + bytes_of(100)).unwrap();
    assert_eq!(usable(&pool), before);
}

#[test]
fn when_all_is_pinned_a_pool_stays_as_it_is_and_says_so() {
    let pool = pool(200, 200);
    let file = attach(&pool, PAGES);
    let before = (pool.stats().memory_bytes, usable(&pool));
    let mut pins: Vec<_> =
        (0..before.1 as u64).map(|page| file.pin(PageNo(page)).unwrap()).collect();
    let smaller = before.0 - bytes_of(20);
    match pool.resize(smaller) {
        Err(PoolError::NotNow { memory_bytes, pool_bytes }) => {
            assert_eq!((memory_bytes, pool_bytes), (smaller, before.0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((pool.stats().memory_bytes, usable(&pool)), before);
    assert!(matches!(file.pin(PageNo(999)), Err(Error::Exhausted { .. })));
    pins.truncate(before.1 - 20);
    pool.resize(smaller).unwrap();
    assert_eq!(usable(&pool), before.1 - 20);
    assert!(matches!(file.pin(PageNo(999)), Err(Error::Exhausted { .. })));
    drop(pins);
    read(&file, 0..PAGES).unwrap();
    assert_eq!(usable(&pool), before.1 - 20);
}

#[test]
fn a_reader_that_never_leaves_is_an_error_and_recovery_comes_after() {
    let pool = pool(320, 320);
    let file = attach(&pool, PAGES);
    read(&file, 0..320).unwrap();
    let (before, memory_bytes) = (usable(&pool), pool.stats().memory_bytes);
    let mut reader = pool.reader().unwrap();
    let stay = reader.enter();
    let seen: Vec<_> =
        (0..320).filter_map(|page| Some((page, stay.get(&file, PageNo(page))?))).collect();
    assert!(seen.len() > 200);
    let refused = pool.resize(memory_bytes - bytes_of(200));
    assert!(matches!(refused, Err(PoolError::NotNow { .. })), "{refused:?}");
    assert_eq!(usable(&pool), before);
    assert!(seen.iter().all(|&(page, bytes)| is_page(bytes, PageNo(page))), "it still looks");
    drop(stay);
    pool.resize(memory_bytes - bytes_of(200)).unwrap();
    assert_eq!(usable(&pool), before - 200);
}

#[test]
fn a_budget_has_bounds() {
    let pool = pool(200, 400);
    let file = attach(&pool, PAGES);
    let most = bytes_of(400) + 2 * 400;
    assert!(matches!(
        pool.resize(most + 1),
        Err(PoolError::AboveMaximum { max_memory_bytes, .. }) if max_memory_bytes == most
    ));
    match pool.resize(bytes_of(64)) {
        Err(PoolError::BelowMinimum { minimum_bytes, minimum_frames: 64, .. }) => {
            pool.resize(minimum_bytes).unwrap(); // It names what does.
            assert_eq!(usable(&pool), 64);
        }
        other => panic!("{other:?}"),
    }
    file.set_share(Share::default().floor_bytes(0).ceiling_bytes(bytes_of(20))).unwrap_err();
    pool.resize(most).unwrap();
    file.set_share(Share::default().floor_bytes(bytes_of(100))).unwrap();
    read(&file, 0..300).unwrap();
    match pool.resize(bytes_of(64)) {
        Err(PoolError::BelowMinimum { minimum_frames: 164, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_promised_to_a_file_stays_while_a_pool_shrinks() {
    let pool = pool(600, 600);
    let (small, large) = (attach(&pool, 200), attach(&pool, PAGES));
    read(&large, 0..300).unwrap();
    small.set_share(Share::default().floor_bytes(bytes_of(150))).unwrap();
    read(&small, 0..150).unwrap(); // Above the others: first to go, were it not for the floor.
    read(&large, 300..PAGES).unwrap();
    assert_eq!(small.frames_held(), 150);
    pool.resize(pool.stats().memory_bytes - bytes_of(350)).unwrap();
    assert_eq!(small.frames_held(), 150);
    read(&large, 0..PAGES).unwrap();
    assert_eq!(small.frames_held(), 150);
    usable(&pool);
}

#[test]
fn threads_see_right_pages_while_the_pool_grows_and_shrinks() {
    // A thread may be put aside while its reader is inside.
    let pool = pool_with(400, 600, Duration::from_secs(60));
    let file = attach(&pool, PAGES);
    let (over, resized) = (AtomicBool::new(false), AtomicU64::new(0));
    let base = pool.stats().memory_bytes - bytes_of(400);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (pool, file, over) = (&pool, &file, &over);
            scope.spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed);
                let mut reader = pool.reader().unwrap();
                while !over.load(Ordering::Relaxed) {
                    let batch: Vec<PageNo> =
                        (0..20).map(|_| PageNo(random.random_range(0..PAGES))).collect();
                    let see = &mut |i: usize, bytes: &[u8]| assert!(is_page(bytes, batch[i]));
                    file.visit(&batch, see).unwrap();
                    let pin = file.pin(batch[0]).unwrap();
                    let stay = reader.enter();
                    let seen: Vec<_> = batch.iter().map(|&page| stay.get(file, page)).collect();
                    file.forget(batch[1]);
                    for (&page, bytes) in batch.iter().zip(&seen) {
                        assert!(bytes.is_none_or(|bytes| is_page(bytes, page)), "page {page}");
                    }
                    drop(stay);
                    assert!(is_page(&pin, batch[0]));
                }
            });
        }
        let mut random = SmallRng::seed_from_u64(9);
        for _ in 0..60 {
            let frames = random.random_range(150..600);
            match pool.resize(base + bytes_of(frames)) {
                Ok(()) => _ = resized.fetch_add(1, Ordering::Relaxed),
                Err(PoolError::NotNow { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(resized.load(Ordering::Relaxed) > 30, "most of the times it can be done");
    usable(&pool);
    drop(file);
    assert_eq!(pool.stats().free + pool.stats().limbo + pool.stats().retired, pool.stats().frames);
}
