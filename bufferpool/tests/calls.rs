//! The ways to ask for pages beside the plain batch: until a deadline, ahead of time, only what is
//! in memory. And what threads and tasks that want the same page do to each other.

mod setup;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_bufferpool::{Pool, PoolOptions, Reading};
use ringpool_storage::{Awaited, Error, Fault, PageNo, PageSource};
use setup::{PAGES, SIZE, assert_whole, block_on, faulty, is_page, pages, poll_once, pool, woken};

// Deadlines.

#[test]
fn a_deadline_ends_the_call_and_says_what_was_missing() {
    let pool = pool(80);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 9).then_some(Fault::Hold));
    let soon = || Reading::default().within(Duration::from_millis(20));
    let mut seen = BTreeSet::new();
    let batch = pages(0..20);
    let late = file.visit_with(&batch, &soon(), &mut |i, bytes| {
        assert!(is_page(bytes, batch[i]) && seen.insert(i));
    });
    let late = late.unwrap_err();
    assert!(
        matches!(late, Error::DeadlinePassed { page: PageNo(9), awaited: Awaited::Disk, .. }),
        "{late}"
    );
    assert_eq!(seen.len(), 19, "what has arrived was handed over");
    let pinned = file.pin_with(PageNo(9), &soon()).map(drop);
    assert!(matches!(pinned, Err(Error::DeadlinePassed { .. })), "also for who waits for another");
    assert_eq!(device.reads(), 20, "single flight");
    assert_eq!((pool.audit().unwrap().loading, pool.audit().unwrap().pins), (1, 0));
    // What is in memory is not late, whatever the time.
    let past = Reading::default().until(Instant::now());
    file.visit_with(&pages(10..20), &past, &mut |_, _| {}).unwrap();
    // The read that went on gives its pin back, and is there for the next.
    assert_eq!(device.release(), 1);
    assert_whole(&pool, 0);
    assert!(is_page(&file.try_pin(PageNo(9)).expect("it has landed"), PageNo(9)));
}

#[test]
fn a_deadline_counts_with_a_device_that_never_makes_anybody_wait() {
    let pool = pool(80);
    let (file, _) = faulty(&pool, |_, _| None);
    let past = Reading::default().until(Instant::now());
    let late = file.visit_with(&pages(0..PAGES), &past, &mut |_, _| {}).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Turn, .. }), "{late}");
    assert_whole(&pool, 0);
}

#[test]
fn a_deadline_ends_the_wait_for_a_frame_and_for_the_queue() {
    let options = PoolOptions {
        memory_bytes: 66 * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_secs(1_000),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    let (file, _) =
        faulty(&pool, move |_, _| is_full.load(Ordering::Relaxed).then_some(Fault::QueueFull));
    let pins: Vec<_> = (0..64).map(|no| file.pin(PageNo(no)).unwrap()).collect();
    let soon = || Reading::default().within(Duration::from_millis(20));
    let late = file.pin_with(PageNo(99), &soon()).map(drop).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Frame, .. }), "{late}");
    drop(pins);
    full.store(true, Ordering::Relaxed);
    let late = file.pin_with(PageNo(99), &soon()).map(drop).unwrap_err();
    assert!(matches!(late, Error::DeadlinePassed { awaited: Awaited::Queue, .. }), "{late}");
    assert_whole(&pool, 0);
    full.store(false, Ordering::Relaxed);
    assert!(is_page(&file.pin(PageNo(99)).unwrap(), PageNo(99)));
}

#[test]
fn a_read_that_is_taken_back_is_read_by_who_else_wants_it() {
    let pool = pool(80);
    let full = Arc::new(AtomicBool::new(true));
    let is_full = full.clone();
    let (file, _) =
        faulty(&pool, move |_, _| is_full.load(Ordering::Relaxed).then_some(Fault::QueueFull));
    thread::scope(|scope| {
        let hasty = scope.spawn(|| {
            let soon = Reading::default().within(Duration::from_millis(100));
            file.pin_with(PageNo(9), &soon).map(drop)
        });
        while pool.stats().loading == 0 {
            thread::yield_now();
        }
        let patient = scope.spawn(|| file.pin(PageNo(9)).map(|page| page.page()));
        let task = scope.spawn(|| block_on(file.fetch(PageNo(9))).map(|page| page.page()));
        let late = hasty.join().unwrap().unwrap_err();
        assert!(matches!(late, Error::DeadlinePassed { .. }), "{late}");
        full.store(false, Ordering::Relaxed);
        assert_eq!(patient.join().unwrap().unwrap(), PageNo(9));
        assert_eq!(task.join().unwrap().unwrap(), PageNo(9));
    });
    assert_whole(&pool, 0);
}

#[test]
fn those_who_give_up_are_not_remembered() {
    let pool = pool(80);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let owner = Reading::default().within(Duration::from_millis(1));
    file.pin_with(PageNo(9), &owner).map(drop).unwrap_err();
    for _ in 0..100 {
        let past = Reading::default().until(Instant::now());
        file.pin_with(PageNo(9), &past).map(drop).unwrap_err();
        drop(Box::pin(file.fetch(PageNo(9))));
        let (woken, mut polled) = (woken(), Box::pin(file.fetch(PageNo(9))));
        assert!(poll_once(polled.as_mut(), &woken).is_pending());
        assert!(Arc::strong_count(&woken) > 1, "its waker is kept");
        drop(polled);
        assert_eq!(Arc::strong_count(&woken), 1, "and is gone with it");
    }
    device.release();
    assert_whole(&pool, 0);
    assert_eq!(device.reads(), 1);
}

// Reading ahead, and looking at what is in memory.

#[test]
fn what_was_read_ahead_is_there_and_pinned_by_nobody() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |_, _| None);
    let reading = Reading::default();
    assert_eq!(file.prefetch(&pages(0..10), &reading), 10);
    assert_eq!(file.prefetch(&pages(0..20), &reading), 10, "half of them are there");
    assert_eq!(file.prefetch(&[PageNo(3), PageNo(PAGES), PageNo(u64::MAX)], &reading), 0);
    assert_eq!(file.prefetch(&[PageNo(30), PageNo(30)], &reading), 1);
    assert_whole(&pool, 0);
    assert_eq!((device.reads(), pool.stats().misses), (21, 0));
    file.visit(&pages(0..20), &mut |i, bytes| assert!(is_page(bytes, PageNo(i as u64)))).unwrap();
    assert_eq!((device.reads(), pool.stats().hits), (21, 20));
}

#[test]
fn reading_ahead_is_bounded_and_waits_for_nothing() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let started = file.prefetch(&pages(0..PAGES), &Reading::default());
    assert_eq!(started, 320 / 16);
    assert_eq!(file.prefetch(&pages(100..PAGES), &Reading::default()), 0);
    assert_eq!(pool.stats().loading, 20);
    device.release();
    assert_whole(&pool, 0);
    assert_eq!(file.prefetch(&pages(100..PAGES), &Reading::default()), 20, "there is room again");
    device.abandon();
    assert_whole(&pool, 0);
    // With every frame pinned there is nothing to be had, and that is no failure.
    let (pinned, _) = faulty(&pool, |_, _| None);
    let pins: Vec<_> = (0..).map_while(|no| pinned.pin(PageNo(no)).ok()).collect();
    assert_eq!(file.prefetch(&pages(0..5), &Reading::default()), 0);
    assert_whole(&pool, pins.len() as u64);
}

#[test]
fn nobody_keeps_the_failure_of_what_was_read_ahead() {
    let pool = pool(322);
    let (file, device) = faulty(&pool, |n, _| (n < 3).then_some(Fault::FlipBit(77)));
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 3);
    assert_whole(&pool, 0);
    assert_eq!(pool.stats().resident(), 0);
    file.visit(&pages(0..3), &mut |i, bytes| assert!(is_page(bytes, PageNo(i as u64)))).unwrap();
    assert_eq!(device.reads(), 6);
    // Where the queue is full, the page is absent as before.
    let (file, device) = faulty(&pool, |n, _| (n == 1).then_some(Fault::QueueFull));
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 1);
    assert_eq!(file.prefetch(&pages(0..3), &Reading::default()), 2, "{}", device.reads());
    assert_whole(&pool, 0);
}

#[test]
fn trying_visits_what_is_in_memory_and_nothing_else() {
    let pool = pool(82);
    let (file, device) = faulty(&pool, |_, _| None);
    file.visit(&pages(0..70), &mut |_, _| {}).unwrap();
    let (reads, hits) = (device.reads(), pool.stats().hits);
    let wanted: Vec<_> = (0..140).rev().chain([3, 3, PAGES, 3]).map(PageNo).collect();
    let mut seen = Vec::new();
    let found = file.try_visit(&wanted, &mut |i, bytes| {
        assert!(is_page(bytes, wanted[i]));
        seen.push(i);
    });
    let expected: Vec<_> = (70..140).chain([140, 141, 143]).collect();
    assert_eq!((found, seen), (73, expected));
    assert_eq!((device.reads(), pool.stats().hits), (reads, hits + 73));
    assert_whole(&pool, 0);
}

// Single flight.

#[test]
fn threads_and_tasks_that_miss_one_page_make_one_read() {
    for fails in [false, true] {
        let pool = pool(70);
        let (file, device) = faulty(&pool, move |n, _| (n == 0).then_some(Fault::Hold));
        let meeting = Barrier::new(64);
        let failed = AtomicU64::new(0);
        thread::scope(|scope| {
            for who in 0..64 {
                let (file, meeting, failed) = (&file, &meeting, &failed);
                scope.spawn(move || {
                    meeting.wait();
                    let told = match who % 2 {
                        0 => file.pin(PageNo(9)).map(|page| assert!(is_page(&page, PageNo(9)))),
                        _ => block_on(file.fetch(PageNo(9)))
                            .map(|page| assert!(is_page(&page, PageNo(9)))),
                    };
                    match told {
                        Ok(()) => {}
                        Err(Error::Abandoned { .. }) => _ = failed.fetch_add(1, Ordering::Relaxed),
                        Err(error) => panic!("{error}"),
                    }
                });
            }
            while device.held() == 0 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(30)); // Let the others find it loading.
            if fails {
                device.abandon();
            } else {
                assert_eq!(device.release(), 1);
            }
        });
        let failed = failed.into_inner();
        // Who came too late to be told of the failure has read the page anew.
        assert!(failed >= if fails { 2 } else { 0 } && (fails || failed == 0), "{failed} failed");
        assert!(device.reads() <= 2 && (fails || device.reads() == 1), "{} reads", device.reads());
        assert_whole(&pool, 0);
        assert!(is_page(&file.pin(PageNo(9)).unwrap(), PageNo(9)), "a failure is not kept");
    }
}
