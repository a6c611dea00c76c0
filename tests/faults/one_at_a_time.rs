//! One thing that goes wrong, at each place where it can: the n-th read in every way, reads without
//! an answer that outlive their pool, and a disk that takes every frame and gives none back.

use std::panic::resume_unwind;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ringpool::storage::{Answer, Error, Fault, PageNo, PageSource};

use crate::disk::{
    Disk, FRAMES, PAGE_BYTES, PAGES, PATIENCE, assert_whole, attach, is_failure, pool, tells,
    watched,
};

#[test]
fn the_nth_read_goes_wrong_in_every_way_until_no_read_is_left() {
    let faults = [
        Fault::Errno(5),
        Fault::Errno(4),
        Fault::Truncated(0),
        Fault::Truncated(PAGE_BYTES - 1),
        Fault::FlipBit(8 * PAGE_BYTES - 1),
        Fault::Torn(512),
        Fault::Misdirected(PageNo(PAGES - 1)),
        Fault::QueueFull,
        Fault::Hold,
    ];
    watched(move || {
        for fault in faults {
            for late_by_reads in [0, 3] {
                let answer = Answer { late_by_reads, fault: Some(fault) };
                let clean = (0..).find(|&nth| !nth_read_goes_wrong(nth, answer));
                assert!(clean >= Some(NTH_PAGES), "every read had its turn: {clean:?}");
            }
        }
    });
}

/// More pages than one file alone leaves frames in the pool.
const NTH_PAGES: u64 = 80;

/// Two threads want the same pages while the `nth` read goes wrong; then they are to be had.
/// Returns false when there were not so many reads.
fn nth_read_goes_wrong(nth: u64, answer: Answer) -> bool {
    let pool = pool(PATIENCE);
    let answer_of = move |n, _| if n == nth { answer } else { Answer::default() };
    let disk = attach(&pool, 0, answer_of);
    let pages: Vec<_> = (0..NTH_PAGES).map(PageNo).collect();
    let meeting = Barrier::new(2);
    let visit = || {
        meeting.wait();
        disk.visit(&pages)
    };
    let told: Vec<_> = thread::scope(|scope| {
        let visitors: Vec<_> = (0..2).map(|_| scope.spawn(visit)).collect();
        while !visitors.iter().all(|visitor| visitor.is_finished()) {
            disk.device.release();
            thread::yield_now();
        }
        visitors.into_iter().map(|it| it.join().unwrap_or_else(|it| resume_unwind(it))).collect()
    });
    let incidents = disk.device.take_incidents();
    let errors: Vec<_> = told.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.is_empty(), !incidents.iter().any(is_failure), "{incidents:?}: {errors:?}");
    assert!(errors.iter().all(|error| tells(error, &incidents[0])), "{incidents:?}: {errors:?}");
    assert_whole(&pool, 0);
    disk.device.heal();
    disk.visit(&pages).unwrap_or_else(|error| panic!("{incidents:?} is over: {error}"));
    assert_whole(&pool, 0);
    !incidents.is_empty()
}

/// Longer than memory takes for any read, and short enough to run into on purpose.
const IMPATIENCE: Duration = Duration::from_millis(40);

fn hold_from(first: u64) -> impl Fn(u64, PageNo) -> Answer {
    move |_, page| Answer { late_by_reads: 0, fault: (page.0 >= first).then_some(Fault::Hold) }
}

#[test]
fn guards_and_held_reads_outlive_the_pool() {
    for lands in [true, false] {
        let pool = pool(IMPATIENCE);
        let Disk { file, device, bytes } = attach(&pool, 0, hold_from(100));
        let guards: Vec<_> = (0..10).map(|no| file.pin(PageNo(no)).unwrap().into_owned()).collect();
        let held: Vec<_> = (100..110).map(PageNo).collect();
        let timed_out = file.visit(&held, &mut |_, _| {});
        assert!(matches!(timed_out, Err(Error::TimedOut { .. })), "{timed_out:?}");
        assert_eq!(device.held(), held.len());
        drop(pool);
        let dropper = thread::spawn(move || drop(file));
        if lands {
            assert_eq!(device.release(), held.len());
        } else {
            device.abandon();
        }
        dropper.join().unwrap();
        assert!(Arc::strong_count(&device) > 1, "the guards keep their file");
        for guard in guards {
            let start = guard.page().0 as usize * PAGE_BYTES;
            assert!(guard[..] == bytes[start..start + PAGE_BYTES], "{guard:?} has changed");
        }
        assert_eq!(Arc::strong_count(&device), 1, "the last guard has taken everything with it");
    }
}

#[test]
fn a_disk_that_takes_every_frame_and_answers_none_leaves_typed_errors() {
    watched(|| {
        let pool = pool(IMPATIENCE);
        let disk = attach(&pool, 0, hold_from(0));
        let usable = FRAMES - pool.stats().retired;
        let mut pages = (0..PAGES).map(PageNo);
        while disk.device.held() < usable {
            let batch: Vec<_> = pages.by_ref().take(10).collect();
            let told = disk.visit(&batch);
            assert!(matches!(told, Err(Error::TimedOut { .. })), "{told:?}");
        }
        match disk.pin(PageNo(PAGES - 1)) {
            Err(Error::Exhausted { page: PageNo(no), frames, .. }) => {
                assert_eq!((no, frames), (PAGES - 1, usable));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.audit().unwrap().loading, usable);
        assert_eq!(disk.device.release(), usable);
        disk.device.heal();
        disk.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>()).unwrap();
        assert_whole(&pool, 0);
    });
}
