//! Closing says what is not over, waits no longer than it was told to, and breaks nothing off; and
//! calls that wait are ended by a flag.

mod setup;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use ringpool_bufferpool::{Ended, Reading};
use ringpool_storage::{Error, Fault, FileKey, PageNo, PageSource};
use setup::{assert_whole, block_on, faulty, is_page, pages, pool};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_is_at_rest_is_closed_at_once() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    file.visit(&pages(0..50), &mut |_, _| {}).unwrap();
    let left = pool.clone().close(SHORT).unwrap_err();
    assert_eq!(left.files.len(), 1, "{left}");
    assert_eq!((left.files[0].reads, left.files[0].pins), (0, 0));
    file.close(LONG).unwrap();
    pool.clone().close(LONG).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn reads_that_the_disk_does_not_answer_are_told() {
    let pool = pool(70);
    let (file, disk) = faulty(&pool, |_, page| (page.0 < 3).then_some(Fault::Hold));
    let soon = Reading::default().within(SHORT);
    assert!(file.visit_with(&pages(0..10), &soon, &mut |_, _| {}).is_err());
    let left = file.close(SHORT).unwrap_err();
    assert_eq!((left.reads, left.pins), (3, 0), "{left}");
    assert!(left.to_string().contains("specimen") && left.waited >= SHORT);
    let of_pool = pool.clone().close(SHORT).unwrap_err();
    assert_eq!(of_pool.files[0].reads, 3, "{of_pool}");
    // It ends by itself.
    disk.heal();
    disk.release();
    drop(disk);
    pool.clone().close(LONG).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn pages_that_are_held_are_told() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let held = block_on(file.fetch(PageNo(7))).unwrap();
    let bytes = file.pin(PageNo(8)).unwrap().into_bytes();
    let left = file.close(SHORT).unwrap_err();
    assert_eq!((left.reads, left.pins), (0, 2), "{left}");
    assert!(is_page(&held, PageNo(7)) && is_page(&bytes, PageNo(8)), "they stay what they are");
    drop((held, bytes));
    pool.clone().close(LONG).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn what_ends_meanwhile_is_waited_for() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let held = block_on(file.fetch(PageNo(7))).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(SHORT);
            drop(held);
        });
        file.close(LONG).unwrap();
    });
    pool.close(LONG).unwrap();
}

/// A flag ends a call that waits for a disk, and the page is had by who asks later.
#[test]
fn a_call_that_is_cancelled_leaves_its_reads_to_themselves() {
    let pool = pool(70);
    let (file, disk) = faulty(&pool, |_, _| Some(Fault::Hold));
    let (gone, (tell, told)) = (AtomicBool::new(false), mpsc::channel());
    let unless = &Reading::default().unless(&gone);
    thread::scope(|scope| {
        let file = &file;
        scope.spawn(move || {
            let visited = file.visit_with(&pages(0..5), unless, &mut |_, _| {});
            tell.send(visited.unwrap_err()).unwrap();
        });
        // It waits as long as nobody ends it.
        assert!(told.recv_timeout(SHORT).is_err());
        gone.store(true, Ordering::Relaxed);
        assert!(matches!(told.recv_timeout(LONG).unwrap(), Error::Cancelled { .. }));
        let refused = file.pin_with(PageNo(300), unless).err();
        assert!(matches!(refused, Some(Error::Cancelled { .. })), "{refused:?}");
    });
    disk.heal();
    disk.release();
    // What is in memory is handed over, whoever has cancelled.
    file.visit(&pages(0..5), &mut |_, _| {}).unwrap();
    file.visit_with(&pages(0..5), unless, &mut |_, _| {}).unwrap();
    file.close(LONG).unwrap();
    assert_whole(&pool, 0);
}

#[test]
fn a_future_has_a_deadline_of_its_own() {
    let pool = pool(70);
    let (file, disk) = faulty(&pool, |_, _| Some(Fault::Hold));
    let late = Reading::default().until(Instant::now());
    let page = block_on(file.fetch_with(PageNo(1), &late));
    assert!(matches!(page, Err(Error::DeadlinePassed { page: PageNo(1), .. })));
    disk.heal();
    disk.release();
    assert!(is_page(
        &block_on(file.fetch_with(PageNo(1), &Reading::default())).unwrap(),
        PageNo(1)
    ));
}

#[test]
fn a_warm_up_is_waited_for_so_long_and_left() {
    let pool = pool(200);
    let (file, disk) = faulty(&pool, |_, page| (page.0 == 40).then_some(Fault::Hold));
    let begin = || file.restore(file.first_pages(FileKey(1))).unwrap();
    let goes_on = begin().wait_until(Instant::now() + SHORT).unwrap_err();
    goes_on.leave();
    disk.heal();
    disk.release();
    let again = begin().wait_until(Instant::now() + LONG);
    let restored = again.unwrap_or_else(|_| panic!("it does not end"));
    assert!(!matches!(restored.ended, Ended::Device(_)), "{restored:?}");
    file.close(LONG).unwrap();
    assert_whole(&pool, 0);
}

/// Many threads close and read at once: nothing is lost, and the last close finds nothing.
#[test]
fn files_are_closed_while_others_read() {
    let pool = pool(200);
    let seen = Arc::new(AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let (file, _) = faulty(&pool, |_, _| None);
                    let count = &mut |_, _: &[u8]| _ = seen.fetch_add(1, Ordering::Relaxed);
                    file.visit(&pages(0..60), count).unwrap();
                    file.close(LONG).unwrap();
                }
            });
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), 4 * 10 * 60);
    pool.clone().close(LONG).unwrap();
    assert_whole(&pool, 0);
}
