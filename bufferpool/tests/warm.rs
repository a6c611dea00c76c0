//! Warm start: what was hot before a restart is in memory after it, serving is neither wrong nor
//! pushed out meanwhile, and a file that is not the right one changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool_bufferpool::{
    Ended, HotSet, HotSetError, Policy, Pool, PoolFile, PoolOptions, Restoring, Share,
};
use ringpool_storage::conformance::Specimen;
use ringpool_storage::{
    Checksums, Error, Fault, FaultyDevice, FileKey, MemoryDevice, MemorySource, PageNo, PageSize,
    PageSource,
};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 2_000;
const KEY: FileKey = FileKey(0x4711);
/// Reads that a restoration has in flight, at most.
const BATCH: usize = 16;

fn pool(frames: u64, policy: Policy) -> Pool {
    let options = PoolOptions {
        policy,
        memory_bytes: frames * Pool::frame_bytes(SIZE),
        device_patience: Duration::from_millis(200),
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

/// A file on a device that does what `script` says.
fn faulty(
    pool: &Pool,
    script: impl Fn(u64, PageNo) -> Option<Fault> + Send + Sync + 'static,
) -> (PoolFile, Arc<FaultyDevice>) {
    let bytes: Vec<u8> = (0..PAGES).flat_map(|no| Specimen::page(PageNo(no), SIZE)).collect();
    let checksums = Checksums::of_pages(KEY, SIZE, &bytes);
    let memory = MemoryDevice::new(MemorySource::new("a file", SIZE, bytes).unwrap());
    let device = Arc::new(FaultyDevice::new(Arc::new(memory), script));
    (pool.attach(device.clone(), Some(checksums)).unwrap(), device)
}

fn sound(pool: &Pool) -> PoolFile {
    faulty(pool, |_, _| None).0
}

fn is_page(bytes: &[u8], page: PageNo) -> bool {
    bytes == Specimen::page(page, SIZE)
}

/// Asks for `count` pages, most of them among a few.
fn serve(file: &PoolFile, seed: u64, count: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    for _ in 0..count {
        let hot = rng.random_range(0..10) < 9;
        let batch = [(); 4].map(|()| match hot {
            true => PageNo(rng.random_range(0..60) * 31 % PAGES),
            false => PageNo(rng.random_range(0..PAGES)),
        });
        file.visit(&batch, &mut |i, bytes| assert!(is_page(bytes, batch[i]))).unwrap();
    }
}

/// The hot set of `pages`, used so often that each has all its chances.
fn hot_set_of(pages: impl Iterator<Item = u64>) -> HotSet {
    let pool = pool(PAGES + 100, Policy::default());
    let file = sound(&pool);
    let pages: Vec<PageNo> = pages.map(PageNo).collect();
    for _ in 0..5 {
        file.visit(&pages, &mut |_, _| {}).unwrap();
    }
    let hot_set = file.hot_set(KEY);
    assert_eq!(hot_set.len(), pages.len());
    hot_set
}

fn assert_whole(pool: &Pool) {
    let audit = pool.audit().unwrap();
    assert_eq!((audit.loading, audit.pins), (0, 0));
}

#[test]
fn what_was_hot_is_in_memory_after_a_restart_with_its_chances() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot");
    for policy in Policy::ALL {
        let before = pool(300, policy);
        let file = sound(&before);
        serve(&file, 1, 3_000);
        let saved = file.hot_set(KEY);
        saved.write(&path).unwrap();
        drop((file, before));

        let after = pool(340, policy);
        let (file, device) = faulty(&after, |_, _| None);
        let read = HotSet::read(&path, KEY).unwrap();
        assert_eq!(read, saved);
        let restored = file.restore(read).unwrap().wait();
        assert!(matches!(restored.ended, Ended::Complete), "{restored:?}");
        assert_eq!(restored.read, saved.len() as u64, "{restored:?}");
        let stats = after.stats();
        assert_eq!((stats.hits, stats.misses, stats.reads), (0, 0, restored.read));
        // A plain clock gives a page a chance for being read.
        let again: BTreeSet<_> = file.hot_set(KEY).pages().collect();
        let least = u8::from(policy == Policy::Clock);
        let expected = saved.pages().map(|(page, chances)| (page, chances.max(least)));
        assert_eq!(again, expected.collect::<BTreeSet<_>>());
        for (page, _) in saved.pages() {
            assert!(is_page(&file.try_pin(page).expect("in memory"), page));
        }
        assert_eq!(device.reads(), restored.read);
        assert_whole(&after);
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing is left beside it: {left:?}");
}

#[test]
fn serving_is_right_and_keeps_its_pages_while_it_is_restored() {
    let saved = hot_set_of(0..1_500);
    for seed in 0..5 {
        let pool = pool(800, Policy::default());
        let file = sound(&pool);
        let served: Vec<PageNo> = (1_900..PAGES).map(PageNo).collect();
        file.visit(&served, &mut |_, _| {}).unwrap();
        let stop = AtomicBool::new(false);
        let restored = thread::scope(|scope| {
            for no in 0..2 {
                let (file, stop) = (&file, &stop);
                scope.spawn(move || {
                    let mut rng = SmallRng::seed_from_u64(seed * 2 + no);
                    while !stop.load(Ordering::Relaxed) {
                        // What is restored at this moment, and what never is.
                        let batch = [(); 8].map(|()| PageNo(rng.random_range(300..600)));
                        let each = &mut |i, bytes: &[u8]| assert!(is_page(bytes, batch[i]));
                        file.visit(&batch, each).unwrap();
                    }
                });
            }
            let restored = file.restore(saved.clone()).unwrap().wait();
            stop.store(true, Ordering::Relaxed);
            restored
        });
        assert!(matches!(restored.ended, Ended::PoolFull), "{restored:?}");
        assert_eq!(restored.read + restored.found + restored.failed + restored.left, 1_500);
        assert!(restored.read > 100 && restored.failed == 0, "{restored:?}");
        for &page in &served {
            assert!(file.try_pin(page).is_some(), "page {page} was evicted");
        }
        assert_eq!(pool.stats().evictions, 0, "it takes only what is free");
        assert_whole(&pool);
    }
}

#[test]
fn a_full_pool_is_left_as_it_is() {
    let pool = pool(200, Policy::default());
    let (file, device) = faulty(&pool, |_, _| None);
    serve(&file, 7, 2_000);
    let (evictions, reads) = (pool.stats().evictions, device.reads());
    let restored = file.restore(hot_set_of(0..100)).unwrap().wait();
    assert!(matches!(restored.ended, Ended::PoolFull), "{restored:?}");
    assert_eq!((restored.read, restored.left), (0, 100));
    assert_eq!((pool.stats().evictions, device.reads()), (evictions, reads));
}

#[test]
fn a_ceiling_holds_for_what_is_restored_too() {
    let pool = pool(1_000, Policy::default());
    let file = sound(&pool);
    let ceiling_bytes = 150 * Pool::frame_bytes(SIZE);
    file.set_share(Share::default().ceiling_bytes(ceiling_bytes)).unwrap();
    let restored = file.restore(hot_set_of(0..400)).unwrap().wait();
    assert!(matches!(restored.ended, Ended::PoolFull), "{restored:?}");
    assert_eq!((restored.read, file.stats().resident, file.stats().evictions), (150, 150, 0));
}

#[test]
fn few_reads_at_a_time_and_each_page_once() {
    let pool = pool(1_000, Policy::default());
    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let restoring = file.restore(hot_set_of(0..200)).unwrap();
    let mut released = 0;
    while released < 200 {
        while device.held() < BATCH.min(200 - released) {
            thread::yield_now();
        }
        assert!(!restoring.is_finished());
        // Who wants a page that is being restored waits for that read.
        let page = PageNo(released as u64);
        thread::scope(|scope| {
            scope.spawn(|| assert!(is_page(&file.pin(page).unwrap(), page)));
            thread::sleep(Duration::from_millis(2));
            assert!(device.held() <= BATCH);
            released += device.release();
        });
    }
    let restored = restoring.wait();
    assert_eq!((restored.read, device.reads()), (200, 200), "{restored:?}");
    assert_whole(&pool);
}

#[test]
fn it_stops_when_it_is_cancelled_or_dropped_or_its_file_is() {
    type Stop = fn(Restoring, PoolFile) -> Option<PoolFile>;
    let cancel: Stop = |restoring, file| {
        restoring.cancel();
        let restored = restoring.wait();
        assert!(matches!(restored.ended, Ended::Cancelled), "{restored:?}");
        assert_eq!((restored.read, restored.left), (BATCH as u64, 200 - BATCH as u64));
        Some(file)
    };
    let dropped: Stop = |restoring, file| {
        drop(restoring);
        Some(file)
    };
    let file_dropped: Stop = |restoring, file| {
        drop(file);
        let restored = restoring.wait();
        assert!(matches!(restored.ended, Ended::Cancelled), "{restored:?}");
        None
    };
    for stop in [cancel, dropped, file_dropped] {
        let pool = pool(1_000, Policy::default());
        let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
        let restoring = file.restore(hot_set_of(0..200)).unwrap();
        while device.held() < BATCH {
            thread::yield_now();
        }
        let file = thread::scope(|scope| {
            let stopping = scope.spawn(move || stop(restoring, file));
            thread::sleep(Duration::from_millis(20));
            device.release();
            stopping.join().unwrap()
        });
        assert_eq!(device.reads(), BATCH as u64, "it begins nothing more");
        assert_whole(&pool);
        drop(file);
        assert_eq!(pool.stats().free, 1_000, "all frames have come back");
    }
}

#[test]
fn pages_that_cannot_be_read_are_left_out_and_a_dead_disk_ends_it() {
    let pool = pool(1_000, Policy::default());
    let (file, _) = faulty(&pool, |_, page| (page.0 % 10 == 3).then_some(Fault::FlipBit(7)));
    let restored = file.restore(hot_set_of(0..200)).unwrap().wait();
    assert!(matches!(restored.ended, Ended::Complete), "{restored:?}");
    assert_eq!((restored.read, restored.failed), (180, 20));
    assert!(file.pin(PageNo(3)).is_err() && file.try_pin(PageNo(4)).is_some());
    drop(file);

    let (file, device) = faulty(&pool, |_, _| Some(Fault::Errno(5)));
    let restored = file.restore(hot_set_of(0..2_000)).unwrap().wait();
    assert!(matches!(restored.ended, Ended::Device(Error::Io { .. })), "{restored:?}");
    assert!(restored.failed == device.reads() && device.reads() < 100, "{restored:?}");
    assert_whole(&pool);
    drop(file);

    let (file, device) = faulty(&pool, |_, _| Some(Fault::Hold));
    let restored = file.restore(hot_set_of(0..200)).unwrap().wait();
    assert!(matches!(restored.ended, Ended::Device(Error::TimedOut { .. })), "{restored:?}");
    assert_eq!((device.held(), restored.left), (BATCH, 200 - BATCH as u64));
    device.release();
    assert_whole(&pool);
    drop(file);
    assert_eq!(pool.stats().free, 1_000);
}

#[test]
fn a_file_that_is_not_the_right_one_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot");
    let read = |path: &Path| HotSet::read(path, KEY);
    let put = |bytes: &[u8]| fs::write(&path, bytes).unwrap();
    assert!(matches!(read(&path), Err(HotSetError::Io { doing: "open", .. })));
    assert!(matches!(read(folder.path()), Err(HotSetError::NotAHotSet { .. })));
    put(b"");
    assert!(matches!(read(&path), Err(HotSetError::NotAHotSet { .. })));
    put(&[7; 1000]);
    assert!(matches!(read(&path), Err(HotSetError::NotAHotSet { .. })));

    let saved = hot_set_of((0..500).step_by(3));
    saved.write(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(read(&path).unwrap(), saved);
    let other = HotSet::read(&path, FileKey(1));
    assert!(matches!(other, Err(HotSetError::Foreign { found: 0x4711, expected: 1, .. })));
    let mut newer = bytes.clone();
    newer[8] = 2;
    put(&newer);
    assert!(matches!(read(&path), Err(HotSetError::Version { found: 2, expected: 1, .. })));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        put(&damaged);
        assert!(read(&path).is_err(), "byte {at}");
    }
    put(&bytes[..bytes.len() - 1]);
    assert!(matches!(read(&path), Err(HotSetError::Damaged { .. })));
    // Longer than may be, and sparse: nothing of it is read.
    fs::File::create(&path).unwrap().set_len(HotSet::MAX_BYTES + 1).unwrap();
    assert!(matches!(read(&path), Err(HotSetError::TooLong { .. })));

    let longer = MemorySource::new("longer", SIZE, vec![0; (PAGES as usize + 1) * 4096]).unwrap();
    let pool = pool(200, Policy::default());
    let file = pool.attach(Arc::new(MemoryDevice::new(longer)), None).unwrap();
    assert!(matches!(file.restore(saved), Err(HotSetError::Mismatch { .. })));
    assert_eq!(pool.stats().reads, 0);
}

#[test]
fn a_hot_set_that_cannot_be_written_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hot");
    let first = hot_set_of(0..10);
    first.write(&path).unwrap();
    let second = hot_set_of(0..20);
    second.write(&path).unwrap();
    assert_eq!(HotSet::read(&path, KEY).unwrap(), second, "the last one counts");
    assert!(matches!(second.write(folder.path()), Err(HotSetError::Io { .. })), "a folder");
    let nowhere = folder.path().join("no such folder").join("hot");
    assert!(matches!(second.write(nowhere), Err(HotSetError::Io { .. })));
    assert_eq!(HotSet::read(&path, KEY).unwrap(), second);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}
