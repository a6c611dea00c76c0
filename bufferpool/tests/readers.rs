//! Readers: what they look at stays as it was until they let go of it, whatever others do meanwhile, and
//! what they keep from use is bounded and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_bufferpool::{Pool, PoolError, PoolFile, PoolOptions, Reader};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, Fault, FaultyDevice, MemoryDevice, PageNo, PageSize, PageSource};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 400;
const FRAMES: usize = 96;

fn pool() -> Pool {
    let options = PoolOptions {
        memory_bytes: FRAMES as u64 * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_millis(50),
        device_patience: Duration::from_millis(200),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

/// A file of the pool, one read of which in `fails` fails; 0 for none.
fn file(pool: &Pool, fails: u64) -> PoolFile {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    let memory = Arc::new(MemoryDevice::new(specimen.in_memory()));
    let script = move |nth, _| (fails > 0 && nth % fails == fails - 1).then_some(Fault::Errno(5));
    pool.attach(Arc::new(FaultyDevice::new(memory, script)), Some(specimen.checksums)).unwrap()
}

fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

fn pages(range: std::ops::Range<u64>) -> Vec<PageNo> {
    range.map(PageNo).collect()
}

fn load(file: &PoolFile, range: std::ops::Range<u64>) -> Result<(), Error> {
    file.visit(&pages(range), &mut |_, _| {})
}

/// At rest: every frame is accounted for, and so many are in limbo.
fn assert_whole(pool: &Pool, limbo: std::ops::RangeInclusive<usize>) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    assert!(limbo.contains(&stats.limbo), "{stats:?}");
    let frames = audit.free + audit.resident + audit.loading + audit.retired + audit.limbo;
    assert_eq!((frames, audit.pins), (FRAMES, 0), "{audit:?}");
    assert_eq!((stats.free, stats.resident()), (audit.free, audit.resident));
}

#[test]
fn a_reader_gets_what_is_in_memory_and_reads_the_rest() {
    let pool = pool();
    let file = file(&pool, 0);
    let mut reader = pool.reader().unwrap();
    let mut reader = reader.enter();
    assert!(reader.get(&file, PageNo(7)).is_none());
    assert_eq!(pool.stats().reads, 0, "a look reads nothing");
    assert!(is_page(reader.read(&file, PageNo(7)).unwrap(), PageNo(7)));
    assert!(is_page(reader.read(&file, PageNo(7)).unwrap(), PageNo(7)));
    assert_eq!(pool.stats().reads, 1);

    reader.visit(&file, &pages(10..20), &mut |_, _| {}).unwrap();
    let wanted = [7, 8, 10, 19, 400, u64::MAX].map(PageNo);
    let mut found = [None; 6];
    assert_eq!(reader.get_many(&file, &wanted, &mut found), 3);
    for (found, page) in found.into_iter().zip(wanted) {
        assert_eq!(found.is_some_and(|bytes| is_page(bytes, page)), [7, 10, 19].contains(&page.0));
    }
    let refused = reader.read(&file, PageNo(400)).unwrap_err();
    assert!(matches!(refused, Error::NoSuchPage { .. }), "{refused}");
    drop(reader);
    assert_eq!(pool.stats().hits, 4, "one read again, three found");
}

#[test]
fn what_a_reader_looks_at_stays_until_it_lets_go() {
    let pool = pool();
    let file = file(&pool, 0);
    load(&file, 0..4).unwrap();
    let mut reader = pool.reader().unwrap();
    let mut stay = reader.enter();
    {
        let held: Vec<_> =
            (0..4).map(|page| (PageNo(page), stay.get(&file, PageNo(page)).unwrap())).collect();
        // Others take as many frames as there are, and forget what we look at.
        (0..4).for_each(|page| assert!(file.forget(PageNo(page))));
        load(&file, 4..90).unwrap();
        assert!(pool.stats().limbo >= 4, "their frames are nobody else's");
        load(&file, 0..2).unwrap();
        for (page, bytes) in held {
            assert!(is_page(bytes, page), "{page} has changed under a reader");
        }
        assert!(is_page(stay.get(&file, PageNo(0)).unwrap(), PageNo(0)), "the new one");
    }
    assert_whole(&pool, 4..=FRAMES / 16 + 4);
    for page in 100..200 {
        stay.refresh();
        load(&file, page..page + 1).unwrap();
    }
    assert_whole(&pool, 0..=FRAMES / 16 + 2);
    drop(stay);
    load(&file, 200..300).unwrap();
    assert_whole(&pool, 0..=0);
}

#[test]
fn a_reader_that_never_lets_go_keeps_a_bounded_part_and_others_are_told() {
    let pool = pool();
    let file = file(&pool, 0);
    let mut reader = pool.reader().unwrap();
    let stay = reader.enter();
    load(&file, 0..90).unwrap();
    let refused = load(&file, 100..300).unwrap_err();
    assert!(matches!(refused, Error::Exhausted { .. }), "{refused}");
    let stats = pool.stats();
    assert!((1..=2 * FRAMES / 16).contains(&stats.limbo), "{stats:?}");
    assert_eq!(stats.readers, 1);
    drop(stay);
    load(&file, 100..300).unwrap();
    assert_whole(&pool, 0..=0);
}

#[test]
fn a_reader_that_waits_keeps_nobody() {
    let pool = pool();
    let file = file(&pool, 0);
    let mut reader = pool.reader().unwrap();
    let mut reader = reader.enter();
    for round in 0..3 {
        let all = pages(0..PAGES);
        let mut seen = 0;
        reader
            .visit(&file, &all, &mut |i, bytes| seen += usize::from(is_page(bytes, all[i])))
            .unwrap();
        assert_eq!(seen, all.len(), "round {round}");
        for page in pages(0..PAGES) {
            assert!(is_page(reader.read(&file, page).unwrap(), page));
        }
    }
}

#[test]
fn a_failure_or_a_panic_leaves_the_reader_inside() {
    let pool = pool();
    let file = file(&pool, 2);
    let mut reader = pool.reader().unwrap();
    let mut reader = reader.enter();
    let is_inside = || pool.stats().readers == 1;
    let mut failed = 0;
    for page in pages(0..20) {
        failed += usize::from(reader.read(&file, page).is_err());
        assert!(is_inside());
    }
    assert_eq!(failed, 10);
    let all = pages(0..PAGES);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        reader.visit(&file, &all, &mut |_, _| panic!("on purpose"))
    }));
    assert!(panicked.is_err() && is_inside());
    while reader.read(&file, PageNo(1)).is_err() {}
    assert!(is_page(reader.get(&file, PageNo(1)).unwrap(), PageNo(1)));
}

#[test]
fn a_file_of_another_pool_is_none_of_its_business() {
    let (ours, theirs) = (pool(), pool());
    let file = file(&theirs, 0);
    load(&file, 0..3).unwrap();
    let mut reader = ours.reader().unwrap();
    let mut reader = reader.enter();
    let mut found = [None];
    assert!(reader.get(&file, PageNo(1)).is_none());
    assert_eq!(reader.get_many(&file, &[PageNo(1)], &mut found), 0);
    assert!(reader.read(&file, PageNo(1)).is_err());
}

#[test]
fn readers_are_counted_and_their_places_used_again() {
    let pool = pool();
    let mut readers: Vec<Reader> = (0..Pool::MAX_READERS).map(|_| pool.reader().unwrap()).collect();
    assert_eq!(pool.stats().readers, 0, "none is inside");
    let stays: Vec<_> = readers.iter_mut().map(Reader::enter).collect();
    assert_eq!(pool.stats().readers, Pool::MAX_READERS);
    let refused = pool.reader().unwrap_err();
    assert!(matches!(refused, PoolError::TooManyReaders { .. }), "{refused}");
    drop(stays);
    drop(readers);
    assert_eq!(pool.stats().readers, 0);
    pool.reader().unwrap();
}

#[test]
fn a_reader_outlives_its_pool_and_file_and_moves_between_threads() {
    let pool = pool();
    let file = file(&pool, 0);
    load(&file, 0..3).unwrap();
    let mut reader = pool.reader().unwrap();
    drop(pool);
    let reader = thread::spawn(move || {
        assert!(is_page(reader.enter().get(&file, PageNo(2)).unwrap(), PageNo(2)));
        drop(file);
        reader
    });
    drop(reader.join().unwrap());
}

/// Readers that keep what they look at for a while, beside threads that miss, forget and fail.
#[test]
fn sixteen_threads_see_only_pages_that_say_who_they_are_and_stay() {
    let pool = pool();
    let file = file(&pool, 50);
    let (looks, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|seed| {
                let (pool, file, looks) = (&pool, &file, &looks);
                scope.spawn(move || {
                    let mut dice = SmallRng::seed_from_u64(seed);
                    let mut reader = pool.reader().unwrap();
                    let mut reader = reader.enter();
                    for _ in 0..1_500 {
                        let wanted: [PageNo; 16] =
                            std::array::from_fn(|_| PageNo(dice.random_range(0..PAGES)));
                        let mut found = [None; 16];
                        reader.get_many(file, &wanted, &mut found);
                        for _ in 0..dice.random_range(0..3) {
                            thread::yield_now();
                        }
                        for (page, bytes) in wanted.iter().zip(found) {
                            let Some(bytes) = bytes else { continue };
                            assert!(is_page(bytes, *page), "{page}");
                            looks.fetch_add(1, Ordering::Relaxed);
                        }
                        match dice.random_range(0..4) {
                            0 => {
                                if let Ok(bytes) = reader.read(file, wanted[0]) {
                                    assert!(is_page(bytes, wanted[0]));
                                }
                            }
                            _ => reader.refresh(),
                        }
                    }
                })
            })
            .collect();
        for seed in 100..108 {
            let (file, over) = (&file, &over);
            scope.spawn(move || {
                let mut dice = SmallRng::seed_from_u64(seed);
                while !over.load(Ordering::Relaxed) {
                    let mut draw = || PageNo(dice.random_range(0..PAGES));
                    let batch: Vec<PageNo> = (0..20).map(|_| draw()).collect();
                    // One read in fifty fails.
                    let _ = file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i])));
                    file.forget(draw());
                }
            });
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        over.store(true, Ordering::Relaxed);
    });
    assert!(looks.into_inner() > 1_000, "the looks found pages");
    load(&file, 0..1).or_else(|_| load(&file, 0..1)).unwrap();
    assert_eq!(pool.stats().readers, 0);
    assert_whole(&pool, 0..=2 * FRAMES / 16);
}

#[test]
fn a_leaked_stay_ends_with_its_reader() {
    let pool = pool();
    let file = file(&pool, 0);
    let mut reader = pool.reader().unwrap();
    std::mem::forget(reader.enter());
    assert_eq!(pool.stats().readers, 1);
    drop(reader.enter());
    assert_eq!(pool.stats().readers, 0);
    std::mem::forget(reader.enter());
    drop(reader);
    load(&file, 0..PAGES).unwrap();
    assert_whole(&pool, 0..=0);
}
