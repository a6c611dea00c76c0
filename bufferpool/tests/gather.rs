//! Many batches at once: what each promise of a gather comes to when the disk is slow, full, silent
//! or wrong, and when others want the same pages.

mod setup;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Hint, Pool, PoolOptions};
use ringpool_storage::{Error, Fault, Gather, PageNo, PageSource};

use setup::{PAGES, SIZE, assert_whole, faulty, is_page, pages, pool};

/// What was handed over: how often each place of each batch, with the right bytes or an error.
#[derive(Default)]
struct Seen {
    right: BTreeMap<(u32, usize), usize>,
    failed: BTreeMap<(u32, usize), Error>,
}

impl Seen {
    fn ask(&mut self, gather: &mut dyn Gather, batch: u32, pages: &[PageNo]) -> usize {
        let asked = gather.ask(batch, pages, &mut |i, bytes| {
            assert!(is_page(bytes, pages[i]), "bytes of {:?}", pages[i]);
            *self.right.entry((batch, i)).or_default() += 1;
        });
        asked.unwrap()
    }

    fn collect(&mut self, gather: &mut dyn Gather, page_of: impl Fn(u32, usize) -> PageNo) {
        gather.collect(&mut |batch, i, bytes| match bytes {
            Ok(bytes) => {
                assert!(is_page(bytes, page_of(batch, i)), "bytes of place {i} of batch {batch}");
                *self.right.entry((batch, i)).or_default() += 1;
            }
            Err(error) => {
                let told = self.failed.insert((batch, i), error);
                assert!(told.is_none(), "place {i} of batch {batch} was told twice");
            }
        });
    }

    /// Waits and collects until nothing is to come.
    fn all(&mut self, gather: &mut dyn Gather, page_of: impl Fn(u32, usize) -> PageNo) {
        while gather.outstanding() > 0 {
            gather.wait(&|| gather.has_arrivals(), None).unwrap();
            if gather.has_arrivals() {
                self.collect(gather, &page_of);
            }
        }
        assert!(self.right.values().all(|&times| times == 1), "each once: {:?}", self.right);
    }
}

#[test]
fn batches_of_any_size_are_served_side_by_side_through_a_small_pool() {
    let pool = pool(66);
    let (file, device) = faulty(&pool, |ordinal, _| (ordinal % 7 == 3).then_some(Fault::QueueFull));
    let batches: Vec<Vec<PageNo>> =
        (0..16).map(|batch| pages(batch * 20..PAGES).into_iter().step_by(3).collect()).collect();
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    let mut to_come = 0;
    for (batch, pages) in (0..).zip(&batches) {
        to_come += seen.ask(&mut *gather, batch, pages);
        assert_eq!(gather.outstanding(), to_come);
    }
    seen.all(&mut *gather, |batch, i| batches[batch as usize][i]);
    assert_eq!(seen.right.len(), batches.iter().map(Vec::len).sum::<usize>());
    assert!(seen.failed.is_empty());
    drop(gather);
    assert_whole(&pool, 0);
    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, seen.right.len() as u64, "{stats:?}");
    drop(device);
}

#[test]
fn one_read_serves_all_batches_that_ask_for_a_page() {
    let pool = pool(200);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    for batch in 0..5 {
        assert_eq!(seen.ask(&mut *gather, batch, &[PageNo(7), PageNo(8), PageNo(7)]), 3);
    }
    assert_eq!(device.held(), 2);
    device.heal();
    device.release();
    seen.all(&mut *gather, |_, i| [PageNo(7), PageNo(8), PageNo(7)][i]);
    assert_eq!(seen.right.len(), 15);
    assert_eq!(pool.stats().misses, 15);
    drop(gather);
    assert_whole(&pool, 0);
}

#[test]
fn many_threads_do_not_fill_a_small_pool_with_reads() {
    const FRAMES: u64 = 160;
    let pool = pool(FRAMES);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let mut gathers: Vec<_> = (0..4).map(|_| file.gather().unwrap()).collect();
    let wanted = |gather: usize| pages(20 * gather as u64..20 * (gather as u64 + 1));
    let mut seen: Vec<Seen> = (0..4).map(|_| Seen::default()).collect();
    for (i, gather) in gathers.iter_mut().enumerate() {
        assert_eq!(seen[i].ask(&mut **gather, 0, &wanted(i)), 20);
    }
    // A quarter of the frames for the first two, and eight for each of those who come later.
    let held = device.held() as u64;
    assert!((FRAMES / 5..=FRAMES / 4 + 2 * 8).contains(&held), "{held} reads in flight");
    device.heal();
    device.release();
    for (i, gather) in gathers.iter_mut().enumerate() {
        seen[i].all(&mut **gather, |_, place| wanted(i)[place]);
        assert_eq!(seen[i].right.len(), 20);
    }
    drop(gathers);
    assert_whole(&pool, 0);
}

#[test]
fn who_leaves_is_told_nothing_more_and_the_number_is_free_at_once() {
    let pool = pool(100);
    let (file, device) = faulty(&pool, |_, page| (page.0 < 300).then_some(Fault::Hold));
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    // More than there is room for, so that some of it is put off.
    seen.ask(&mut *gather, 1, &pages(0..60));
    seen.ask(&mut *gather, 2, &pages(10..40));
    gather.leave(1);
    assert_eq!(gather.outstanding(), 30);
    gather.leave(1);
    seen.ask(&mut *gather, 1, &pages(300..310));
    assert_eq!(gather.outstanding(), 40);
    device.heal();
    while gather.outstanding() > 0 {
        device.release();
        gather.wait(&|| true, None).unwrap();
        seen.collect(&mut *gather, |batch, i| PageNo(if batch == 1 { 300 } else { 10 } + i as u64));
    }
    assert_eq!(seen.right.len(), 10 + 30);
    assert!(seen.right.values().all(|&times| times == 1));
    // What lands for those who have left gives its pin back by itself.
    seen.ask(&mut *gather, 3, &[PageNo(399)]);
    gather.leave(3);
    assert_eq!(gather.outstanding(), 0);
    assert_whole(&pool, 0);
}

#[test]
fn what_is_forsaken_gives_its_pin_back_when_it_lands_without_being_collected() {
    let pool = pool(100);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let mut gather = file.gather().unwrap();
    gather.ask(1, &pages(0..5), &mut |_, _| unreachable!()).unwrap();
    gather.leave(1);
    device.release();
    assert_whole(&pool, 0);
    // And what has landed before.
    gather.ask(1, &pages(5..10), &mut |_, _| unreachable!()).unwrap();
    gather.ask(2, &pages(5..6), &mut |_, _| unreachable!()).unwrap();
    device.release();
    assert_eq!(pool.audit().unwrap().pins, 6);
    gather.leave(1);
    assert_eq!(pool.audit().unwrap().pins, 1, "that of the other batch");
    let mut told = Vec::new();
    gather.collect(&mut |batch, i, bytes| told.push((batch, i, bytes.is_ok())));
    assert_eq!(told, [(2, 0, true)]);
    assert_whole(&pool, 0);
}

#[test]
fn a_drop_with_reads_in_flight_leaves_nothing_behind() {
    let pool = pool(100);
    let (file, device) = faulty(&pool, |_, page| (page.0 % 2 == 1).then_some(Fault::Hold));
    for _ in 0..3 {
        let mut gather = file.gather().unwrap();
        let mut other = file.gather().unwrap();
        gather.ask(1, &pages(0..30), &mut |_, _| unreachable!()).unwrap();
        other.ask(1, &pages(0..30), &mut |_, _| {}).unwrap();
        drop(gather);
        drop(other);
        device.release();
        assert_whole(&pool, 0);
        (0..30).map(PageNo).for_each(|page| _ = file.forget(page));
    }
}

#[test]
fn a_page_that_cannot_be_had_fails_for_those_who_asked_for_it_and_for_nobody_else() {
    let pool = pool(100);
    let (file, _device) = faulty(&pool, |_, page| match page.0 {
        5 => Some(Fault::FlipBit(77)),
        6 => Some(Fault::Errno(5)),
        _ => None,
    });
    let mut gather = file.gather().unwrap();
    for _ in 0..2 {
        let mut seen = Seen::default();
        for batch in 0..3 {
            seen.ask(&mut *gather, batch, &pages(4..8));
        }
        seen.all(&mut *gather, |_, i| PageNo(4 + i as u64));
        for batch in 0..3 {
            let bad = &seen.failed[&(batch, 1)];
            assert!(matches!(bad, Error::Checksum { page: PageNo(5), .. }), "{bad}");
            assert!(matches!(&seen.failed[&(batch, 2)], Error::Io { .. }));
        }
        assert_eq!((seen.right.len(), seen.failed.len()), (6, 6));
    }
    let wrong = gather.ask(9, &[PageNo(1), PageNo(PAGES), PageNo(2)], &mut |_, _| {});
    assert!(matches!(wrong, Err(Error::NoSuchPage { page: PageNo(PAGES), .. })), "{wrong:?}");
    gather.leave(9);
    assert_eq!(gather.outstanding(), 0);
    drop(gather);
    assert_whole(&pool, 0);
}

#[test]
fn a_silent_disk_ends_a_wait_and_what_is_in_memory_is_still_handed_over() {
    let options = PoolOptions {
        memory_bytes: 100 * Pool::frame_bytes(SIZE),
        device_patience: Duration::from_millis(30),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).unwrap();
    let (file, device) = faulty(&pool, |_, page| (page.0 == 3).then_some(Fault::Hold));
    drop(file.pin(PageNo(4)).unwrap());
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    assert_eq!(seen.ask(&mut *gather, 1, &[PageNo(3), PageNo(4)]), 1);
    let verdict = gather.wait(&|| gather.has_arrivals(), None);
    assert!(matches!(verdict, Err(Error::TimedOut { .. })), "{verdict:?}");
    gather.leave(1);
    assert_eq!(seen.ask(&mut *gather, 1, &[PageNo(4)]), 0);
    device.release();
    drop(gather);
    assert_whole(&pool, 0);
}

#[test]
fn a_page_without_a_frame_fails_in_bounded_time_and_comes_when_there_is_one() {
    let pool = pool(66);
    let (file, _device) = faulty(&pool, |_, _| None);
    let all = pool.audit().unwrap().free as u64;
    let mut guards: Vec<_> = (0..all).map(|page| file.pin(PageNo(page)).unwrap()).collect();
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    assert_eq!(seen.ask(&mut *gather, 1, &pages(PAGES - 2..PAGES)), 2);
    while seen.failed.is_empty() {
        gather.wait(&|| gather.has_arrivals(), None).unwrap();
        seen.collect(&mut *gather, |_, _| unreachable!());
    }
    assert!(matches!(&seen.failed[&(1, 0)], Error::Exhausted { page, .. } if page.0 == PAGES - 2));
    assert_eq!(gather.outstanding(), 1, "the other one waits on");
    guards.pop();
    seen.all(&mut *gather, |_, i| PageNo(PAGES - 2 + i as u64));
    assert_eq!(seen.right.len(), 1);
    drop((gather, guards));
    assert_whole(&pool, 0);
}

#[test]
fn more_than_can_be_kept_count_of_is_refused_and_what_was_taken_comes() {
    let pool = pool(100);
    let (file, _device) = faulty(&pool, |_, _| None);
    let mut gather = file.gather().unwrap();
    let far_too_many: Vec<PageNo> = (0..100_000).map(|i| PageNo(i % 300)).collect();
    let refused = gather.ask(2, &far_too_many, &mut |_, _| {});
    assert!(matches!(refused, Err(Error::Backlogged { .. })), "{refused:?}");
    gather.leave(2);
    assert_eq!(gather.outstanding(), 0);
    let mut seen = Seen::default();
    seen.ask(&mut *gather, 3, &pages(0..PAGES));
    seen.all(&mut *gather, |_, i| PageNo(i as u64));
    assert_eq!(seen.right.len() as u64, PAGES);
}

#[test]
fn what_was_put_off_gets_the_room_of_those_who_leave() {
    let pool = pool(100);
    let (file, _device) = faulty(&pool, |_, _| None);
    let mut gather = file.gather().unwrap();
    let mut seen = Seen::default();
    assert_eq!(seen.ask(&mut *gather, 1, &pages(0..100)), 100); // All that is in flight, and more.
    assert_eq!(seen.ask(&mut *gather, 2, &pages(100..150)), 50);
    gather.leave(1);
    assert!(gather.has_arrivals(), "there is room, and the device answers at once");
    seen.all(&mut *gather, |_, i| PageNo(100 + i as u64));
    assert_eq!(seen.right.len(), 50);
}

#[test]
fn a_panicking_visitor_leaves_a_gather_whole() {
    let pool = pool(100);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 1).then_some(Fault::Hold));
    drop(file.pin(PageNo(0)).unwrap());
    let mut gather = file.gather().unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let all = [PageNo(1), PageNo(0), PageNo(2)];
        _ = gather.ask(1, &all, &mut |_, _| std::panic::resume_unwind(Box::new("gone")));
    }));
    assert!(unwound.is_err());
    device.release();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        gather.collect(&mut |_, _, _| std::panic::resume_unwind(Box::new("gone")));
    }));
    assert!(unwound.is_err());
    gather.leave(1);
    assert_eq!(gather.outstanding(), 0);
    assert_whole(&pool, 0);
    let mut seen = Seen::default();
    seen.ask(&mut *gather, 1, &pages(0..50));
    device.heal();
    seen.all(&mut *gather, |_, i| PageNo(i as u64));
    assert_eq!(seen.right.len(), 50);
}

#[test]
fn others_get_the_pages_of_a_thread_that_computes() {
    let pool = pool(200);
    let (file, _device) = faulty(&pool, |_, _| None);
    let file = Arc::new(file);
    let mut gather = file.gather_with(Hint::Random);
    let mut seen = Seen::default();
    // Late reads need a drive, which the other thread does.
    seen.ask(&mut *gather, 1, &pages(0..40));
    thread::scope(|scope| {
        scope.spawn(|| {
            let wanted = pages(0..40);
            file.visit(&wanted, &mut |i, bytes| assert!(is_page(bytes, wanted[i]))).unwrap();
        });
    });
    seen.all(&mut *gather, |_, i| PageNo(i as u64));
    assert_eq!(seen.right.len(), 40);
    assert_eq!(pool.stats().reads, 40);
}
