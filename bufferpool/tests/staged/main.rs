//! Threads that meet at the wrong moment, on purpose: each test brings them to a numbered point and
//! has the other thing happen there. What the schedules of the checkers find by the thousand, one
//! by one and in words.

mod stage;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{Error, PageNo, PageSource};

use stage::{SIZE, Stage};

const PAGES: u64 = 400;
const FRAMES: usize = 80;
const PAGE: PageNo = PageNo(9);

fn pool(device_patience: Duration) -> Pool {
    let options = PoolOptions {
        memory_bytes: FRAMES as u64 * Pool::frame_bytes(SIZE),
        page_size: SIZE,
        frame_patience: Duration::from_millis(50),
        device_patience,
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

/// A pool that waits for the disk as long as a test may take, its file, and the disk.
fn scene() -> (Pool, PoolFile, Arc<Stage>) {
    let (pool, stage) = (pool(Duration::from_secs(60)), Stage::new(PAGES));
    let file = pool.attach(stage.clone(), None).unwrap();
    (pool, file, stage)
}

fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

fn pages(range: std::ops::Range<u64>) -> Vec<PageNo> {
    range.map(PageNo).collect()
}

/// Reads `range` from a disk that answers at once.
fn read(file: &PoolFile, stage: &Stage, range: std::ops::Range<u64>) {
    stage.open(true);
    let pages = pages(range);
    file.visit(&pages, &mut |i, bytes| assert!(is_page(bytes, pages[i]))).unwrap();
    stage.open(false);
}

/// At rest: `pins` pins, and every frame accounted for.
#[track_caller]
fn assert_whole(pool: &Pool, pins: u64) {
    let audit = pool.audit().unwrap();
    assert_eq!((audit.pins, audit.loading), (pins, 0), "{audit:?}");
}

#[test]
fn two_claimants_and_one_read() {
    let (pool, file, stage) = scene();
    stage.stop_at(PAGE);
    thread::scope(|scope| {
        let pin = || file.pin(PAGE).map(|page| (page.as_ptr() as usize, is_page(&page, PAGE)));
        let first = scope.spawn(pin);
        stage.offering(1); // It has claimed the page; nobody reads it yet.
        let second = scope.spawn(pin);
        stage.waiting(1);
        stage.go_on();
        stage.waiting(2);
        stage.land(PAGE);
        let (first, second) = (first.join().unwrap().unwrap(), second.join().unwrap().unwrap());
        assert_eq!(first, second, "one frame");
        assert!(first.1, "the page's bytes");
    });
    assert_eq!(stage.reads(), 1);
    assert_whole(&pool, 0);
}

#[test]
fn a_waiter_that_comes_between_claim_and_failure_is_told() {
    let (pool, file, stage) = scene();
    thread::scope(|scope| {
        let first = scope.spawn(|| file.pin(PAGE).map(drop));
        stage.in_flight(PAGE);
        stage.waiting(1);
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| file.pin(PAGE).map(drop))).collect();
        stage.waiting(4);
        stage.fail(PAGE);
        for told in others.into_iter().chain([first]) {
            assert!(matches!(told.join().unwrap(), Err(Error::Io { .. })));
        }
        assert_eq!(stage.reads(), 1);
        // Nobody keeps the failure: who comes now reads anew.
        let again = scope.spawn(|| file.pin(PAGE).map(|page| is_page(&page, PAGE)));
        stage.in_flight(PAGE);
        stage.land(PAGE);
        assert!(again.join().unwrap().unwrap());
    });
    assert_whole(&pool, 0);
}

/// The waiter's batch is over before the read lands: its pin is given back by nobody but the batch.
#[test]
fn a_waiter_that_gave_up_leaves_no_pin() {
    let (pool, stage) = (pool(Duration::from_millis(20)), Stage::new(PAGES));
    let file = pool.attach(stage.clone(), None).unwrap();
    for _ in 0..3 {
        assert!(matches!(file.pin(PAGE), Err(Error::TimedOut { .. })));
    }
    assert_eq!(stage.reads(), 1, "the second and the third have joined the first");
    stage.land(PAGE);
    assert!(is_page(&file.try_pin(PAGE).expect("it has landed"), PAGE));
    assert_whole(&pool, 0);
    assert!(file.forget(PAGE), "nobody pins it");
}

#[test]
fn a_read_lands_while_its_file_is_dropped() {
    for fails in [false, true] {
        let (pool, stage) = (pool(Duration::from_millis(20)), Stage::new(PAGES));
        let file = pool.attach(stage.clone(), None).unwrap();
        assert!(matches!(file.pin(PAGE), Err(Error::TimedOut { .. })));
        let dropper = thread::spawn(move || drop(file));
        stage.waiting(1);
        assert!(!dropper.is_finished(), "the read has its frame");
        if fails {
            stage.fail(PAGE)
        } else {
            stage.land(PAGE)
        };
        dropper.join().unwrap();
        assert_eq!(pool.stats().free, FRAMES, "everything has come back");
    }
}

#[test]
fn a_pool_is_dropped_while_a_batch_of_it_is_in_flight() {
    let (pool, file, stage) = scene();
    let batch = thread::spawn(move || {
        let pages = pages(0..3);
        let mut right = 0;
        let visited = file.visit(&pages, &mut |i, bytes| {
            right += usize::from(is_page(bytes, pages[i]));
        });
        (visited.is_ok(), right)
        // The last of the pool goes here, with its file.
    });
    pages(0..3).into_iter().for_each(|page| stage.in_flight(page));
    stage.waiting(1);
    let is_gone = Arc::downgrade(&stage);
    drop(pool);
    // Not in the order in which they were asked for.
    [2, 0, 1].into_iter().for_each(|page| stage.land(PageNo(page)));
    assert_eq!(batch.join().unwrap(), (true, 3));
    drop(stage);
    assert!(is_gone.upgrade().is_none(), "nobody holds the disk any more");
}

/// The read outlives everybody who could have asked for it, but for the disk.
#[test]
fn an_owned_page_is_the_last_of_its_file_and_pool() {
    let (pool, file, stage) = scene();
    read(&file, &stage, 0..3);
    let kept = file.pin(PageNo(1)).unwrap().into_owned();
    drop((file, pool));
    let kept = thread::spawn(move || {
        assert!(is_page(&kept, PageNo(1)));
        kept
    });
    drop(kept.join().unwrap());
}

#[test]
fn a_page_pinned_in_the_middle_of_a_scan_stays_to_its_end() {
    let (pool, file, stage) = scene();
    read(&file, &stage, 0..1);
    stage.open(true);
    let (scan, meeting) = (pages(0..PAGES), Barrier::new(2));
    thread::scope(|scope| {
        let pinned = scope.spawn(|| {
            meeting.wait(); // 1: the scan looks at page 0.
            let kept = file.pin(PageNo(0)).unwrap();
            let address = kept.as_ptr() as usize;
            meeting.wait(); // 2: the scan goes on.
            meeting.wait(); // 3: every other page was read, and most of them evicted.
            assert!(is_page(&kept, PageNo(0)));
            assert_eq!(file.pin(PageNo(0)).unwrap().as_ptr() as usize, address);
        });
        let visited = file.visit(&scan, &mut |i, bytes| {
            assert!(is_page(bytes, scan[i]));
            if scan[i] == PageNo(0) {
                meeting.wait();
                meeting.wait();
            }
        });
        visited.unwrap();
        meeting.wait();
        pinned.join().unwrap();
    });
    assert!(pool.stats().evictions as usize > PAGES as usize / 2);
    assert_whole(&pool, 0);
}

#[test]
fn a_reader_looks_at_a_page_that_is_evicted_and_its_frame_is_used_only_after() {
    let (pool, file, stage) = scene();
    read(&file, &stage, 0..1);
    let mut reader = pool.reader().unwrap();
    let mut stay = reader.enter();
    let seen = stay.get(&file, PageNo(0)).expect("it was read");
    let address = seen.as_ptr();
    thread::scope(|scope| {
        // Another thread drops it from memory and reads others until no frame is left.
        scope.spawn(|| {
            assert!(file.forget(PageNo(0)));
            stage.open(true);
            let read = pages(1..PAGES).iter().take_while(|&&page| file.pin(page).is_ok()).count();
            assert!((FRAMES * 3 / 4..PAGES as usize - 1).contains(&read), "{read}");
        });
    });
    assert!(is_page(seen, PageNo(0)), "it has changed under the reader");
    let holds = |page: &PageNo| file.try_pin(*page).is_some_and(|page| page.as_ptr() == address);
    assert!(!pages(0..PAGES).iter().any(holds), "its frame is in limbo");
    stay.refresh();
    // A frame that nobody looks at comes back. Ten times the pool goes by, if need be.
    let again = pages(0..PAGES).iter().cycle().take(10 * FRAMES).any(|&page| {
        let pinned = file.pin(page).unwrap();
        assert!(is_page(&pinned, page));
        pinned.as_ptr() == address
    });
    assert!(again, "its frame was lost");
    drop(stay);
    assert_whole(&pool, 0);
}

#[test]
fn a_leaked_guard_costs_its_frame_and_not_its_files_place() {
    let (pool, file, stage) = scene();
    read(&file, &stage, 0..PAGES);
    stage.open(true);
    std::mem::forget(file.pin(PAGE).unwrap());
    drop(file);
    let left = pool.stats();
    assert_eq!(left.free + left.limbo, FRAMES - 1, "one frame is gone for good: {left:?}");
    // Another file takes the number of the first, and its page 9 is another page.
    let other = pool.attach(stage.clone(), None).unwrap();
    for _ in 0..3 {
        read(&other, &stage, 0..PAGES);
    }
    stage.open(true);
    let pinned = other.pin(PAGE).unwrap();
    assert!(is_page(&pinned, PAGE));
    drop(pinned);
    let lost = pool.audit().unwrap_err();
    assert!(lost.contains("is lost"), "{lost}");
}
