//! The pool over memory and over a faulty device: what it does when things go wrong, and when
//! threads meet.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ringpool_bufferpool::{Policy, Pool, PoolError, PoolFile, PoolOptions};
use ringpool_storage::conformance::{self, Specimen};
use ringpool_storage::{
    Error, Fault, FaultyDevice, MemoryDevice, MemorySource, PageNo, PageSize, PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 400;

fn pool(frames: u64) -> Pool {
    pool_with(frames, Policy::default())
}

fn pool_with(frames: u64, policy: Policy) -> Pool {
    let options = PoolOptions {
        policy,
        memory_bytes: frames * Pool::frame_bytes(SIZE),
        frame_patience: Duration::from_millis(50),
        device_patience: Duration::from_millis(200),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

fn specimen() -> (tempfile::TempDir, Specimen) {
    let dir = tempfile::tempdir().unwrap();
    let specimen = Specimen::write(dir.path(), "specimen", SIZE, PAGES);
    (dir, specimen)
}

/// A file of the pool on a device that does what `script` says.
fn faulty(
    pool: &Pool,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let (_dir, specimen) = specimen();
    let memory = Arc::new(MemoryDevice::new(specimen.in_memory()));
    let device = Arc::new(FaultyDevice::new(memory, script));
    (pool.attach(device.clone(), Some(specimen.checksums)).unwrap(), device)
}

fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

/// At rest, with so many pins: every frame is accounted for.
fn assert_whole(pool: &Pool, pins: u64) {
    let audit = pool.audit().unwrap();
    let stats = pool.stats();
    assert_eq!(audit.pins, pins, "{audit:?}");
    assert_eq!(audit.free + audit.resident + audit.loading + audit.retired, stats.frames);
    assert_eq!((stats.free, stats.loading), (audit.free, audit.loading));
    assert_eq!(stats.resident(), audit.resident);
}

#[test]
fn a_pool_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    for frames in [66, 100, 1000] {
        let last = std::cell::RefCell::new(None);
        let open = |specimen: &Specimen| -> Box<dyn PageSource> {
            let bytes = std::fs::read(&specimen.path).unwrap();
            let source = MemorySource::new("specimen", specimen.page_size, bytes).unwrap();
            let pool = pool(frames);
            let device = Arc::new(MemoryDevice::new(source));
            let file = pool.attach(device, Some(specimen.checksums.clone())).unwrap();
            last.replace(Some(pool));
            Box::new(file)
        };
        conformance::sources(dir.path(), &open);
        assert_whole(&last.take().unwrap(), 0);
        conformance::gathers(dir.path(), &open);
        assert_whole(&last.take().unwrap(), 0);
    }
}

#[test]
fn too_small_a_budget_names_the_least() {
    let least = u64::from(Pool::MIN_FRAMES) * Pool::frame_bytes(SIZE);
    let small = PoolOptions { memory_bytes: least - 1, ..PoolOptions::default() };
    match Pool::new(&small) {
        Err(error @ PoolError::BelowMinimum { minimum_bytes, .. }) => {
            assert_eq!(minimum_bytes, least);
            assert!(error.to_string().contains(&format!("{least} bytes")), "{error}");
        }
        other => panic!("{:?}", other.err()),
    }
    Pool::new(&PoolOptions { memory_bytes: least, ..PoolOptions::default() }).unwrap();
}

#[test]
fn tables_are_paid_for_with_frames_and_paid_back() {
    let pool = pool(80);
    let (file, _) = faulty(&pool, |_, _| None);
    // 400 words of 8 bytes and 400 checksums of 4.
    assert_eq!(pool.stats().retired, 2);
    file.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
    assert!(pool.stats().resident() <= 78);
    assert_whole(&pool, 0);
    drop(file);
    assert_eq!((pool.stats().retired, pool.stats().free), (0, 80));
    // 80 frames minus the least leaves 16 to pay with: 4 bytes for each of 17,000 pages are too
    // many, before anything is read.
    let many = MemorySource::new("large", SIZE, vec![0; 17_000 * 4096]).unwrap();
    let sums = ringpool_storage::Checksums::new(ringpool_storage::FileKey(0), vec![0; 17_000]);
    let refused = pool.attach(Arc::new(MemoryDevice::new(many)), Some(sums));
    assert!(matches!(refused, Err(PoolError::TableTooLarge { minimum_frames: 64, .. })));
    assert_whole(&pool, 0);
}

#[test]
fn what_does_not_fit_together_is_not_attached() {
    let pool = pool(100);
    let large = MemorySource::new("16k", PageSize::KIB_16, vec![0; 4 << 14]).unwrap();
    let refused = pool.attach(Arc::new(MemoryDevice::new(large)), None);
    assert!(matches!(refused, Err(PoolError::Mismatch { .. })));
    let (_dir, specimen) = specimen();
    let one_more = MemorySource::new("more", SIZE, vec![0; (PAGES as usize + 1) * 4096]).unwrap();
    let refused = pool.attach(Arc::new(MemoryDevice::new(one_more)), Some(specimen.checksums));
    assert!(matches!(refused, Err(PoolError::Mismatch { .. })));
}

#[test]
fn a_pinned_page_stays_while_all_others_go() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let kept = file.pin(PageNo(5)).unwrap();
    let address = kept.as_ptr();
    for _ in 0..3 {
        file.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
    }
    assert!(is_page(&kept, PageNo(5)));
    assert_eq!(file.pin(PageNo(5)).unwrap().as_ptr(), address);
    assert!(!file.forget(PageNo(5)), "it is pinned");
    assert_whole(&pool, 1);
    drop(kept);
    assert!(file.forget(PageNo(5)));
    assert_whole(&pool, 0);
}

#[test]
fn when_all_is_pinned_an_error_comes_soon_and_recovery_after() {
    for policy in Policy::ALL {
        let pool = pool_with(66, policy);
        let (file, _) = faulty(&pool, |_, _| None);
        let mut pins: Vec<_> = (0..64).map(|page| file.pin(PageNo(page)).unwrap()).collect();
        match file.pin(PageNo(99)) {
            Err(Error::Exhausted { page: PageNo(99), frames: 64, .. }) => {}
            other => panic!("{other:?}"),
        }
        let half_resident = file.visit(&[PageNo(3), PageNo(99)], &mut |_, _| {});
        assert!(matches!(half_resident, Err(Error::Exhausted { .. })));
        assert_whole(&pool, 64);
        pins.pop();
        assert!(is_page(&file.pin(PageNo(99)).unwrap(), PageNo(99)));
        drop(pins);
        file.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
        assert_whole(&pool, 0);
    }
}

#[test]
fn a_leaked_guard_costs_one_frame() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    std::mem::forget(file.pin(PageNo(0)).unwrap());
    file.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
    assert_whole(&pool, 1);
}

#[test]
fn bytes_and_their_slices_keep_the_pin() {
    let pool = pool(70);
    let (file, _) = faulty(&pool, |_, _| None);
    let slice = file.pin(PageNo(7)).unwrap().into_bytes().slice(100..200);
    assert_whole(&pool, 1);
    file.visit(&(0..PAGES).map(PageNo).collect::<Vec<_>>(), &mut |_, _| {}).unwrap();
    drop(file);
    assert_eq!(slice, Specimen::page(PageNo(7), SIZE)[100..200], "also after its file is gone");
    drop(slice);
    assert_eq!(pool.stats().free, 70, "the last guard has taken the file with it");
}

#[test]
fn each_kind_of_bad_read_is_an_error_for_all_and_kept_by_none() {
    let faults = [
        Fault::Errno(5),
        Fault::Truncated(0),
        Fault::Truncated(511),
        Fault::FlipBit(12_345),
        Fault::Torn(512),
        Fault::Misdirected(PageNo(8)),
    ];
    for fault in faults {
        let pool = pool(70);
        let broken = Arc::new(AtomicBool::new(true));
        let switch = broken.clone();
        let (file, device) = faulty(&pool, move |_, page| {
            (page.0 == 7 && switch.load(Ordering::Relaxed)).then_some(fault)
        });
        for _ in 0..2 {
            let refused = file.pin(PageNo(7)).err();
            let named = match (&fault, &refused) {
                (Fault::Errno(_), Some(Error::Io { doing, .. })) => doing.contains("page 7"),
                (Fault::Truncated(found), Some(Error::Truncated { found_bytes, .. })) => {
                    found == found_bytes
                }
                (_, Some(Error::Checksum { page, .. })) => page.0 == 7,
                _ => false,
            };
            assert!(named, "{fault:?}: {refused:?}");
            let batch: Vec<_> = (0..20).map(PageNo).collect();
            let visited = file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i])));
            assert!(visited.is_err(), "{fault:?}");
            assert_whole(&pool, 0);
        }
        assert!(device.reads() >= 4, "a failure is not kept: each call reads again");
        broken.store(false, Ordering::Relaxed);
        assert!(is_page(&file.pin(PageNo(7)).unwrap(), PageNo(7)), "{fault:?} is over");
    }
}

#[test]
fn the_nth_read_fails_and_every_frame_is_accounted_for() {
    let batch: Vec<_> = (0..150).map(PageNo).collect();
    for nth in 0.. {
        let pool = pool(70);
        let (file, device) = faulty(&pool, move |n, _| (n == nth).then_some(Fault::Errno(5)));
        let first = file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i])));
        assert_whole(&pool, 0);
        file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i])))
            .unwrap_or_else(|error| assert!(first.is_ok(), "one read fails, once: {error}"));
        assert_whole(&pool, 0);
        if device.reads() <= nth {
            return assert!(nth >= 150, "every read had its turn");
        }
    }
}

#[test]
fn sixty_four_threads_that_miss_one_page_make_one_read() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let meeting = Barrier::new(64);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                meeting.wait();
                assert!(is_page(&file.pin(PageNo(9)).unwrap(), PageNo(9)));
            });
        }
        while pool.stats().loading == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(30)); // Let the others find it loading.
        assert_eq!(device.release(), 1);
    });
    assert_eq!(device.reads(), 1);
    assert_whole(&pool, 0);
}

#[test]
fn a_failed_read_is_told_to_every_waiter() {
    let pool = pool(70);
    // The first read is held and then directed to another page, whose bytes do not match.
    let (file, device) = faulty(&pool, |n, _| (n == 0).then_some(Fault::Hold));
    thread::scope(|scope| {
        let waiters: Vec<_> =
            (0..8).map(|_| scope.spawn(|| file.pin(PageNo(9)).map(|page| page.page()))).collect();
        while device.held() == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(30));
        device.abandon();
        let told: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        let failed = told.iter().filter(|told| matches!(told, Err(Error::Abandoned { .. })));
        let fine = told.iter().filter(|told| told.is_ok());
        // Who came too late to wait has read the page anew; nobody was left to time out.
        assert_eq!(failed.clone().count() + fine.count(), 8, "{told:?}");
        assert!(failed.count() >= 2, "{told:?}");
    });
    assert_whole(&pool, 0);
    assert!(is_page(&file.pin(PageNo(9)).unwrap(), PageNo(9)));
}

#[test]
fn a_read_that_never_ends_is_an_error_and_its_frame_stays_out_of_use() {
    let pool = pool(70);
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    let (file, device) = faulty(&pool, move |_, page| {
        counted.fetch_add(u64::from(page.0 == 9), Ordering::Relaxed);
        (page.0 == 9).then_some(Fault::Hold)
    });
    for _ in 0..2 {
        assert!(matches!(file.pin(PageNo(9)), Err(Error::TimedOut { .. })));
        assert_eq!(pool.audit().unwrap().loading, 1);
        let others: Vec<_> = (10..PAGES).map(PageNo).collect();
        file.visit(&others, &mut |i, bytes| assert!(is_page(bytes, others[i]))).unwrap();
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1, "the second call waits for the first's read");
    device.release();
    assert_whole(&pool, 0);
    assert!(is_page(&file.try_pin(PageNo(9)).expect("it has landed"), PageNo(9)));
}

#[test]
fn a_batch_that_fails_waits_for_what_it_has_started() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |_, page| match page.0 {
        1 => Some(Fault::Errno(5)),
        2 => Some(Fault::Hold),
        _ => None,
    });
    thread::scope(|scope| {
        let batch = scope.spawn(|| file.visit(&[PageNo(1), PageNo(2)], &mut |_, _| {}));
        while device.held() == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(30));
        assert!(!batch.is_finished(), "a read of it is in flight");
        device.release();
        assert!(matches!(batch.join().unwrap(), Err(Error::Io { .. })));
    });
    assert_whole(&pool, 0);
    assert_eq!(pool.stats().loading, 0);
}

#[test]
fn a_file_dropped_with_a_read_in_flight_keeps_its_memory_until_it_lands() {
    let pool = pool(70);
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    assert!(matches!(file.pin(PageNo(9)), Err(Error::TimedOut { .. })));
    let dropper = thread::spawn(move || drop(file));
    thread::sleep(Duration::from_millis(30));
    assert!(!dropper.is_finished(), "it waits for the disk");
    assert_eq!(device.release(), 1);
    dropper.join().unwrap();
    assert_eq!(pool.stats().free, 70);
}

#[test]
fn sixteen_threads_see_only_pages_that_say_who_they_are() {
    for policy in Policy::ALL {
        let pool = pool_with(90, policy);
        // One read in fifty fails; so does, for a while, one page.
        let (file, _) =
            faulty(&pool, |n, _| (n % 50 == 49).then_some(Fault::FlipBit(n as usize % 32_768)));
        let refused = AtomicU64::new(0);
        thread::scope(|scope| {
            for seed in 0..16_u64 {
                let (file, refused) = (&file, &refused);
                scope.spawn(move || {
                    let mut x = seed * 2 + 1;
                    let mut draw = |below: u64| {
                        x = x
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        (x >> 33) % below
                    };
                    for _ in 0..300 {
                        let batch: Vec<_> = (0..draw(40)).map(|_| PageNo(draw(PAGES))).collect();
                        let visited =
                            file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i])));
                        refused.fetch_add(u64::from(visited.is_err()), Ordering::Relaxed);
                        let page = PageNo(draw(PAGES));
                        match draw(3) {
                            0 => drop(file.forget(page)),
                            1 => file
                                .try_pin(page)
                                .into_iter()
                                .for_each(|kept| assert!(is_page(&kept, page))),
                            _ => file
                                .pin(page)
                                .into_iter()
                                .for_each(|kept| assert!(is_page(&kept, page))),
                        }
                    }
                });
            }
        });
        assert!(refused.into_inner() > 0, "the faults were met");
        assert_whole(&pool, 0);
    }
}

#[test]
fn files_share_the_frames_and_leave_them() {
    for policy in Policy::ALL {
        let pool = pool_with(100, policy);
        let (first, _) = faulty(&pool, |_, _| None);
        let (second, _) = faulty(&pool, |_, _| None);
        let all: Vec<_> = (0..PAGES).map(PageNo).collect();
        for file in [&first, &second, &first] {
            file.visit(&all, &mut |i, bytes| assert!(is_page(bytes, all[i]))).unwrap();
            assert_whole(&pool, 0);
        }
        drop(first);
        assert_whole(&pool, 0);
        second.visit(&all, &mut |i, bytes| assert!(is_page(bytes, all[i]))).unwrap();
        let (third, _) = faulty(&pool, |_, _| None);
        third.visit(&all, &mut |i, bytes| assert!(is_page(bytes, all[i]))).unwrap();
        drop((second, third));
        assert_eq!(pool.stats().free, 100);
    }
}

#[test]
fn pages_used_again_outlive_a_scan() {
    let pool = pool(100);
    let (file, _) = faulty(&pool, |_, _| None);
    let hot: Vec<_> = (0..40).map(PageNo).collect();
    let scan: Vec<_> = (100..PAGES).map(PageNo).collect();
    for _ in 0..4 {
        file.visit(&hot, &mut |_, _| {}).unwrap();
    }
    file.visit(&scan[..150], &mut |_, _| {}).unwrap();
    let kept = hot.iter().filter(|&&page| file.try_pin(page).is_some()).count();
    assert_eq!(kept, 40, "what was used four times loses to what was read once");
}

#[test]
#[allow(unsafe_code)]
fn a_forked_child_is_told_so_and_the_parent_goes_on() {
    let bytes = MemorySource::new("sevens", PageSize::KIB_4, vec![7; 100 * 4096]).unwrap();
    let pool = Pool::new(&PoolOptions { memory_bytes: 1 << 20, ..Default::default() }).unwrap();
    let file = pool.attach(Arc::new(MemoryDevice::new(bytes)), None).unwrap();
    let pages: Vec<PageNo> = (0..50).map(PageNo).collect();
    file.visit(&pages, &mut |_, _| {}).unwrap();
    let (mut file, mut pool) = (Some(file), Some(pool));
    // SAFETY: the child takes no lock that another thread of this test binary could hold but the
    // allocator's, which glibc makes usable after a fork.
    let status = unsafe {
        let child = libc::fork();
        if child == 0 {
            let file = file.take().unwrap();
            let visited = file.visit(&pages, &mut |_, _| {});
            let forked = |result: Result<(), Error>| matches!(result, Err(Error::Forked { .. }));
            let told = forked(visited)
                && forked(file.pin(PageNo(0)).map(drop))
                && file.try_pin(PageNo(0)).is_none();
            drop((file, pool.take()));
            libc::_exit(if told { 7 } else { 8 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    };
    assert!(libc::WIFEXITED(status), "the child ended by a signal");
    assert_eq!(libc::WEXITSTATUS(status), 7);
    let mut count = 0;
    file.unwrap().visit(&pages, &mut |_, bytes| count += usize::from(bytes[0])).unwrap();
    assert_eq!(count, 350);
}
