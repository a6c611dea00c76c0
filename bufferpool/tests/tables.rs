//! Page tables of files that are far larger than the pool: only what is asked for is in memory, it
//! counts for the budget, and it is given back when it is not wanted any more.

mod numbered;

use std::thread;
use std::time::Duration;

use numbered::{SIZE, attach, is_page};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_bufferpool::{Policy, Pool, PoolError, PoolFile, PoolOptions};
use ringpool_storage::{Checksums, Error, FileKey, PageNo, PageSource};

const MIB: u64 = 1 << 20;
/// The pages of a tebibyte.
const TEBIBYTE: u64 = (1 << 40) / 4096;
/// The pages whose words are together in memory, or not, with system pages of 4 KiB.
const STRETCH: u64 = 512;

fn pool(memory_bytes: u64) -> Pool {
    pool_with(memory_bytes, Policy::default())
}

fn pool_with(memory_bytes: u64, policy: Policy) -> Pool {
    impatient_pool(memory_bytes, policy, Duration::from_secs(60))
}

fn impatient_pool(memory_bytes: u64, policy: Policy, frame_patience: Duration) -> Pool {
    let options = PoolOptions { memory_bytes, frame_patience, policy, ..PoolOptions::default() };
    Pool::new(&options).unwrap()
}

fn read(file: &PoolFile, pages: impl IntoIterator<Item = u64>) -> Result<(), Error> {
    let pages: Vec<PageNo> = pages.into_iter().map(PageNo).collect();
    file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]), "page {}", pages[i]))
}

/// At rest: every frame and every counted page is accounted for, within the budget.
fn assert_whole(pool: &Pool, pins: u64) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    let usable = audit.free + audit.resident + audit.loading + audit.limbo;
    assert_eq!((usable + audit.retired, audit.pins), (stats.frames, pins), "{audit:?}");
    let spent_bytes = usable as u64 * Pool::frame_bytes(SIZE) + stats.table_bytes;
    assert!(spent_bytes <= stats.memory_bytes, "{spent_bytes} bytes spent: {stats:?}");
}

#[test]
fn a_tebibyte_costs_nothing_until_it_is_touched() {
    for policy in Policy::ALL {
        let pool = pool_with(64 * MIB, policy);
        let free = pool.stats().free;
        let file = attach(&pool, TEBIBYTE);
        let stats = pool.stats();
        assert_eq!((stats.free, stats.retired, stats.table_bytes), (free, 0, 0));
        assert!(file.try_pin(PageNo(TEBIBYTE / 2)).is_none(), "looking is for nothing, too");
        assert_eq!(pool.stats().table_bytes, 0);
        let last = file.pin(PageNo(TEBIBYTE - 1)).unwrap();
        assert!(is_page(&last, PageNo(TEBIBYTE - 1)));
        assert!(file.pin(PageNo(TEBIBYTE)).is_err());
        assert!(pool.stats().table_bytes < 64 * 1024, "{} bytes", pool.stats().table_bytes);
        drop(last);
        drop(file);
        assert_eq!((pool.stats().free, pool.stats().table_bytes), (free, 0));
    }
}

#[test]
fn touches_all_over_a_tebibyte_stay_in_the_budget() {
    let pool = pool(16 * MIB);
    let file = attach(&pool, TEBIBYTE);
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..200 {
        read(&file, (0..100).map(|_| random.random_range(0..TEBIBYTE))).unwrap();
    }
    assert_whole(&pool, 0);
    // Each page has words of its own in memory: a frame for each, and little more.
    let stats = pool.stats();
    assert!(stats.resident() > 1_200, "{stats:?}");
    drop(file);
    assert_eq!((pool.stats().retired, pool.stats().table_bytes), (0, 0));
}

#[test]
fn a_pool_shrinks_though_words_take_half_of_it() {
    let options = PoolOptions {
        memory_bytes: 12 * MIB,
        max_memory_bytes: Some(20 * MIB),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).unwrap();
    let file = attach(&pool, 64 * 8192 * STRETCH);
    let mut random = SmallRng::seed_from_u64(3);
    let mut touch = || {
        for _ in 0..60 {
            read(&file, (0..100).map(|_| random.random_range(0..file.page_count()))).unwrap();
        }
    };
    for memory_bytes in [20 * MIB, 4 * MIB, 9 * MIB, 3 * MIB] {
        pool.resize(memory_bytes).unwrap();
        assert_whole(&pool, 0);
        touch();
        assert_whole(&pool, 0);
        assert!(pool.stats().table_bytes > memory_bytes / 4, "{:?}", pool.stats());
    }
    // What is kept of the tables, come what may, is named.
    match pool.resize(64 * Pool::frame_bytes(SIZE)) {
        Err(PoolError::BelowMinimum { minimum_bytes, .. }) => pool.resize(minimum_bytes).unwrap(),
        other => panic!("{other:?}"),
    }
    assert_whole(&pool, 0);
}

#[test]
fn the_table_of_fifty_pools_takes_a_tenth_of_the_budget() {
    let pool = pool(8 * MIB);
    let file = attach(&pool, 50 * 8 * MIB / 4096);
    for first in (0..file.page_count()).step_by(1000) {
        read(&file, first..file.page_count().min(first + 1000)).unwrap();
        assert!(pool.stats().table_bytes * 10 <= pool.stats().memory_bytes);
    }
    let mut random = SmallRng::seed_from_u64(2);
    for _ in 0..300 {
        read(&file, (0..100).map(|_| random.random_range(0..file.page_count()))).unwrap();
    }
    let stats = pool.stats();
    assert!(stats.table_bytes * 10 <= stats.memory_bytes, "{stats:?}");
    assert_whole(&pool, 0);
}

#[test]
fn what_is_not_wanted_any_more_is_given_back() {
    let pool = pool(4 * MIB);
    let file = attach(&pool, 100 * STRETCH);
    // Region A, a page of each stretch and then more of them.
    read(&file, (0..40 * STRETCH).step_by(64)).unwrap();
    let in_a = pool.stats().table_bytes;
    assert!(in_a >= 40 * 4096);
    // Region B, larger than the pool: pages of A go one after another, and then their ghosts fade.
    let given_back = |round: u64| {
        read(&file, (60 + round % 8) * STRETCH..(61 + round % 8) * STRETCH).unwrap();
        read(&file, (60 + round % 3) * STRETCH..(61 + round % 3) * STRETCH).unwrap();
        pool.stats().table_bytes <= 9 * (4096 + 100) + 4096
    };
    let rounds = (0..200).find(|&round| given_back(round));
    assert!(rounds.is_some(), "{in_a} bytes of table before, then {:?}", pool.stats());
    assert!(pool.stats().retired < 30, "their memory is frames again: {:?}", pool.stats());
    read(&file, (0..40 * STRETCH).step_by(64)).unwrap(); // Back in A.
    assert_whole(&pool, 0);
}

#[test]
fn a_pool_that_is_as_small_as_can_be_reads_all_of_a_large_file() {
    for policy in Policy::ALL {
        let pool = pool_with(90 * Pool::frame_bytes(SIZE), policy);
        let file = attach(&pool, 1000 * STRETCH);
        // A page of each stretch: for each that comes, the words of another have to go.
        for round in 0..3 {
            read(&file, (round..1000 * STRETCH).step_by(STRETCH as usize)).unwrap();
            assert_whole(&pool, 0);
        }
    }
}

#[test]
fn words_that_cannot_be_paid_for_are_an_error_in_time_and_recovery_comes_after() {
    let bytes = 90 * Pool::frame_bytes(SIZE);
    let pool = impatient_pool(bytes, Policy::default(), Duration::from_millis(50));
    let file = attach(&pool, 1000 * STRETCH);
    let mut pins = Vec::new();
    // Each pinned page keeps the words of its stretch.
    let refused = (0..1000).find_map(|stretch| match file.pin(PageNo(stretch * STRETCH)) {
        Ok(pin) => {
            pins.push(pin);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refused, Some(Error::Exhausted { .. })), "{refused:?}");
    assert!((16..64).contains(&pins.len()), "{} pins", pins.len());
    assert_whole(&pool, pins.len() as u64);
    // Where there are words already, there still are frames.
    read(&file, 1..400).unwrap();
    pins.pop();
    read(&file, [999 * STRETCH]).unwrap();
    drop(pins);
    read(&file, (0..1000 * STRETCH).step_by(100)).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn a_reader_that_never_leaves_stops_neither_looks_nor_recovery() {
    let pool = impatient_pool(MIB, Policy::default(), Duration::from_millis(50));
    let file = attach(&pool, 1000 * STRETCH);
    read(&file, (0..100 * STRETCH).step_by(256)).unwrap();
    let mut reader = pool.reader().unwrap();
    let stay = reader.enter();
    let seen: Vec<_> = (0..100 * STRETCH)
        .step_by(256)
        .filter_map(|page| Some((page, stay.get(&file, PageNo(page))?)))
        .collect();
    assert!(!seen.is_empty());
    let refused = read(&file, (200 * STRETCH..1000 * STRETCH).step_by(256));
    assert!(matches!(refused, Err(Error::Exhausted { .. })), "{refused:?}");
    assert!(seen.iter().all(|&(page, bytes)| is_page(bytes, PageNo(page))));
    drop(stay);
    read(&file, (200 * STRETCH..1000 * STRETCH).step_by(256)).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn checksums_are_paid_for_at_once_and_may_be_too_many() {
    let pool = pool(90 * Pool::frame_bytes(SIZE));
    let pages = 100 * STRETCH;
    let sums = Checksums::new(FileKey(0), vec![0; pages as usize]);
    let refused = pool.attach(numbered::device(pages), Some(sums));
    let Err(PoolError::TableTooLarge { minimum_bytes, .. }) = refused else {
        panic!("{:?}", refused.err());
    };
    let large_enough = self::pool(minimum_bytes);
    let sums = Checksums::new(FileKey(0), vec![0; pages as usize]);
    large_enough.attach(numbered::device(pages), Some(sums)).unwrap();
    // So may the tables be, if all of them are to be in memory from the first.
    let options = PoolOptions { whole_tables: true, memory_bytes: MIB, ..PoolOptions::default() };
    let whole = Pool::new(&options).unwrap();
    let refused = whole.attach(numbered::device(TEBIBYTE), None);
    assert!(matches!(refused, Err(PoolError::TableTooLarge { .. })));
    assert_whole(&whole, 0);
}

#[test]
fn threads_see_right_pages_while_words_come_and_go() {
    // On a busy machine a thread may be away for long in the middle of a stay.
    let frame_patience = Duration::from_secs(20);
    let options = PoolOptions { memory_bytes: MIB, frame_patience, ..PoolOptions::default() };
    let pool = Pool::new(&options).unwrap();
    // Two files take turns with the words, and one of them comes and goes.
    let file = attach(&pool, 300 * STRETCH);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (pool, file) = (&pool, &file);
            scope.spawn(move || {
                let mut random = SmallRng::seed_from_u64(seed);
                let mut reader = pool.reader().unwrap();
                for _ in 0..60 {
                    let other = attach(pool, 200 * STRETCH);
                    for file in [file, &other] {
                        let batch: Vec<PageNo> = (0..25)
                            .map(|_| PageNo(random.random_range(0..file.page_count())))
                            .collect();
                        let see = &mut |i: usize, bytes: &[u8]| assert!(is_page(bytes, batch[i]));
                        file.visit(&batch, see).unwrap();
                        let stay = reader.enter();
                        for &page in &batch {
                            let bytes = stay.get(file, page);
                            assert!(bytes.is_none_or(|bytes| is_page(bytes, page)));
                        }
                        drop(stay);
                        file.forget(batch[0]);
                    }
                }
            });
        }
    });
    assert_whole(&pool, 0);
}

#[test]
fn a_file_finds_room_for_its_first_words_beside_others_that_have_all_of_it() {
    let pages = 300 * STRETCH;
    // Room for the first words of one such file, and hardly for those of two.
    let memory_bytes = Pool::minimum_bytes(SIZE, 0) + 24 * 4096;
    let pool = pool(memory_bytes);
    let files = [attach(&pool, pages), attach(&pool, pages)];
    for round in 0..3 {
        for file in &files {
            let all_over = (0..300).map(|stretch| stretch * STRETCH + round);
            read(file, all_over).unwrap();
        }
    }
    assert_whole(&pool, 0);
}
