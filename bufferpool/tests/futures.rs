//! Pages as futures: each arrives once, none that is dropped leaves anything behind, and nobody is
//! woken for nothing or not at all.

mod setup;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{OwnedPage, Reading};
use ringpool_storage::{Error, Fault, PageNo, PageSource};
use setup::{PAGES, assert_whole, block_on, faulty, is_page, pages, poll_once, pool, woken};

#[test]
fn a_future_fetches_each_page_of_a_batch_once() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let batch: Vec<_> = (0..300).chain([5, 5, 299]).map(PageNo).collect();
    let mut seen = vec![0; batch.len()];
    block_on(async {
        let mut arrivals = file.fetch_many(&batch, &Reading::default());
        while let Some((i, page)) = arrivals.next().await {
            assert!(is_page(&page.unwrap(), batch[i]));
            seen[i] += 1;
        }
        assert!(arrivals.next().await.is_none(), "and none again");
    });
    assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    let stats = pool.stats();
    assert_eq!(stats.hits + stats.misses, batch.len() as u64);
    assert_whole(&pool, 0);
}

#[test]
fn each_page_of_a_batch_has_the_error_of_its_own() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, page| (page.0 % 10 == 4).then_some(Fault::Errno(5)));
    let batch: Vec<_> = (0..40).chain([PAGES]).map(PageNo).collect();
    block_on(async {
        let mut arrivals = file.fetch_many(&batch, &Reading::default());
        let mut places = BTreeSet::new();
        while let Some((i, page)) = arrivals.next().await {
            assert!(places.insert(i));
            match page {
                Ok(page) => assert!(is_page(&page, batch[i])),
                Err(Error::NoSuchPage { .. }) => assert_eq!(i, 40),
                Err(error) => assert_eq!(i % 10, 4, "{error}"),
            }
        }
        assert_eq!(places.len(), 41);
    });
    assert_whole(&pool, 0);
}

#[test]
fn a_future_that_is_dropped_leaves_nothing_behind() {
    for taken in 0..6 {
        let pool = pool(70);
        let (file, device) = faulty(&pool, |_, page| (page.0 % 2 == 1).then_some(Fault::Hold));
        file.visit(&[PageNo(0), PageNo(2)], &mut |_, _| {}).unwrap();
        let mut arrivals = file.fetch_many(&pages(0..10), &Reading::default());
        let mut kept: Vec<OwnedPage> = Vec::new();
        let woken = woken();
        for _ in 0..taken {
            let Poll::Ready(Some((_, page))) = poll_once(pin!(arrivals.next()), &woken) else {
                break;
            };
            kept.push(page.unwrap());
        }
        drop(arrivals);
        assert_eq!(pool.audit().unwrap().pins, kept.len() as u64, "{taken} taken");
        device.release();
        assert_whole(&pool, kept.len() as u64);
        drop(kept);
        assert_whole(&pool, 0);
        drop(file);
        assert_eq!(pool.stats().free, 70);
    }
}

#[test]
fn a_future_waits_for_a_frame_while_anything_is_read_and_no_longer() {
    let pool = pool(66);
    let (file, device) = faulty(&pool, |_, page| (page.0 == 63).then_some(Fault::Hold));
    let mut pins: Vec<_> = (0..63).map(|no| file.pin(PageNo(no)).unwrap()).collect();
    let mut last = Box::pin(file.fetch(PageNo(63)));
    let (of_last, of_more) = (woken(), woken());
    assert!(poll_once(last.as_mut(), &of_last).is_pending());
    let mut more = Box::pin(file.fetch(PageNo(99)));
    assert!(poll_once(more.as_mut(), &of_more).is_pending(), "a read of the pool is in flight");
    assert!(poll_once(more.as_mut(), &of_more).is_pending());
    assert_eq!(of_more.times.load(Ordering::Relaxed), 0, "and nobody polls for nothing");
    device.release();
    assert_eq!(of_more.times.load(Ordering::Relaxed), 1, "woken by what has landed");
    let Poll::Ready(Ok(page)) = poll_once(last.as_mut(), &of_last) else { panic!("it has landed") };
    let Poll::Ready(Err(error)) = poll_once(more.as_mut(), &of_more) else {
        panic!("every frame is pinned, and nothing is read");
    };
    assert!(matches!(error, Error::Exhausted { page: PageNo(99), .. }), "{error}");
    pins.pop();
    assert!(is_page(&block_on(file.fetch(PageNo(99))).unwrap(), PageNo(99)));
    drop((page, pins));
    assert_whole(&pool, 0);
}

#[test]
fn a_future_looks_at_its_deadline_when_it_is_polled() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |_, page| (page.0 > 4).then_some(Fault::Hold));
    let reading = Reading::default().within(Duration::from_millis(30));
    let batch = pages(0..100);
    let mut arrivals = file.fetch_many(&batch, &reading);
    let woken = woken();
    let mut places = BTreeSet::new();
    while let Poll::Ready(Some((i, page))) = poll_once(pin!(arrivals.next()), &woken) {
        assert!(places.insert(i) && page.is_ok());
    }
    thread::sleep(Duration::from_millis(30));
    while let Poll::Ready(Some((i, page))) = poll_once(pin!(arrivals.next()), &woken) {
        assert!(matches!(page, Err(Error::DeadlinePassed { page, .. }) if page == batch[i]));
        assert!(places.insert(i), "place {i} once");
    }
    assert_eq!(places.len(), 100);
    device.release();
    assert_whole(&pool, 0);
}

#[test]
fn a_full_queue_keeps_a_future_waiting_and_no_longer() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |n, _| (n % 3 != 2).then_some(Fault::QueueFull));
    block_on(async {
        let mut arrivals = file.fetch_many(&pages(0..50), &Reading::default());
        let mut arrived = 0;
        while let Some((_, page)) = arrivals.next().await {
            drop(page.unwrap());
            arrived += 1;
        }
        assert_eq!(arrived, 50);
    });
    assert!(device.reads() >= 150);
    assert_whole(&pool, 0);
}

#[test]
fn a_runtime_of_many_threads_sees_only_pages_that_say_who_they_are() {
    let pool = pool(90);
    let (file, _) = faulty(&pool, |n, _| (n % 50 == 49).then_some(Fault::FlipBit(n as usize)));
    let file = Arc::new(file);
    thread::scope(|scope| {
        for seed in 0..8_u64 {
            let file = file.clone();
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
                runtime.unwrap().block_on(async {
                    for round in 0..60 {
                        let batch: Vec<_> = (0..30)
                            .map(|i| PageNo((seed * 131 + round * 17 + i * i) % PAGES))
                            .collect();
                        let mut arrivals = file.fetch_many(&batch, &Reading::default());
                        // Now and then somebody loses patience.
                        for _ in 0..if round % 4 == 0 { 7 } else { batch.len() } {
                            let (i, page) = arrivals.next().await.expect("one for each place");
                            page.into_iter().for_each(|page| assert!(is_page(&page, batch[i])));
                        }
                    }
                });
            });
        }
    });
    assert_whole(&pool, 0);
}
