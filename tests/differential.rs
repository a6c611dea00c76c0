//! The same operations on the same file, through everything that reads pages: the pool over a ring,
//! the pool over blocking reads, the mapping, and plain preads, which decide what is right.
//!
//! The pools have a tenth of the file. Each operation is done by each, and none may tell them
//! apart: the same bytes, each page of a batch once, and the same answer where there is no page.
//! What only a pool can do (hold a page, forget it, look without reading) is done by both pools and
//! held against the preads. A file that is cut is left to the pools: of a mapping it would be the
//! end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;
use ringpool::bufferpool::{OwnedPage, Pool, PoolFile, PoolOptions};
use ringpool::mmap::MmapSource;
use ringpool::storage::conformance::{self, Specimen};
use ringpool::storage::{Error, PageNo, PageSize, PageSource};
use ringpool::uring::Engine;
use ringpool::{EngineChoice, MmapOptions};

const SIZE: PageSize = PageSize::KIB_4;
const PAGES: u64 = 900;
const FRAMES: u64 = PAGES / 10;

#[derive(Clone, Debug)]
enum Operation {
    Visit(Vec<u64>),
    Pin(u64),
    TryPin(u64),
    /// Holds a page until so many operations later.
    Keep(u64, usize),
    Forget(u64),
    /// A reader's stay: looks at some, reads one.
    Look(Vec<u64>, u64),
}

/// One in twenty is past the end.
fn page() -> impl Strategy<Value = u64> {
    prop_oneof![
        9 => 0..PAGES / 20,
        10 => 0..PAGES,
        1 => prop_oneof![PAGES..PAGES + 3, Just(u64::MAX)],
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => vec(page(), 0..60).prop_map(Operation::Visit),
        1 => (0..PAGES, 1..300_u64).prop_map(|(from, count)| {
            Operation::Visit((from..PAGES.min(from + count)).collect())
        }),
        3 => page().prop_map(Operation::Pin),
        2 => page().prop_map(Operation::TryPin),
        2 => (page(), 1..10_usize).prop_map(|(page, for_)| Operation::Keep(page, for_)),
        2 => page().prop_map(Operation::Forget),
        2 => (vec(page(), 0..20), page()).prop_map(|(pages, one)| Operation::Look(pages, one)),
    ]
}

/// A folder on the disk that the build is on, since temporary ones may be memory.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The engines that this machine allows.
fn engines() -> &'static [Engine] {
    static ENGINES: OnceLock<Vec<Engine>> = OnceLock::new();
    ENGINES.get_or_init(|| {
        let ring = Engine::start(EngineChoice::Uring);
        if let Err(why) = &ring {
            conformance::skipped(format!("the ring: {why}"));
        }
        let blocking = Engine::start(EngineChoice::Blocking).unwrap();
        ring.into_iter().chain([blocking]).collect()
    })
}

/// A pool of a tenth of the file over each engine.
fn pooled(specimen: &Specimen) -> Vec<PoolFile> {
    let memory_bytes = FRAMES * Pool::frame_bytes(SIZE);
    let attach = |engine: &Engine| {
        let pool = Pool::new(&PoolOptions { memory_bytes, ..PoolOptions::default() }).unwrap();
        let device = engine.open(&specimen.path, SIZE).unwrap().device;
        pool.attach(device, Some(specimen.checksums.clone())).unwrap()
    };
    engines().iter().map(attach).collect()
}

fn mapped(specimen: &Specimen) -> MmapSource {
    let checksums = Some(specimen.checksums.clone());
    MmapSource::open(&specimen.path, SIZE, checksums, MmapOptions::default()).unwrap()
}

/// What a pread gives: the page, or how many bytes of it there are.
fn pread(disk: &File, page: u64) -> Result<Vec<u8>, usize> {
    let mut bytes = vec![0; SIZE.bytes()];
    let Some(offset) = page.checked_mul(SIZE.bytes() as u64) else { return Err(0) };
    // Past what a file can have, the system refuses; there is nothing all the same.
    let read = disk.read_at(&mut bytes, offset).unwrap_or(0);
    if read == bytes.len() { Ok(bytes) } else { Err(read) }
}

fn numbers(pages: &[u64]) -> Vec<PageNo> {
    pages.iter().copied().map(PageNo).collect()
}

/// Whether `error` is about one of `pages` that no pread finds.
fn is_past_the_end(error: &Error, pages: &[u64]) -> bool {
    match error {
        Error::NoSuchPage { page, pages: count, .. } => {
            page.0 >= PAGES && pages.contains(&page.0) && *count == PAGES
        }
        _ => false,
    }
}

fn visit(source: &dyn PageSource, disk: &File, pages: &[u64]) {
    let truth: Vec<_> = pages.iter().map(|&page| pread(disk, page)).collect();
    let mut seen = vec![0; pages.len()];
    let visited = source.visit(&numbers(pages), &mut |i, bytes| {
        assert!(truth[i].as_deref() == Ok(bytes), "page {}", pages[i]);
        seen[i] += 1;
    });
    match visited {
        Ok(()) => assert!(seen.iter().all(|&times| times == 1), "each page once: {seen:?}"),
        Err(error) => {
            assert!(seen.iter().all(|&times| times <= 1), "no page twice: {seen:?}");
            assert!(is_past_the_end(&error, pages), "{error}");
        }
    }
    let is_whole = truth.iter().all(Result::is_ok);
    assert_eq!(is_whole, seen.iter().all(|&times| times == 1), "past the end is an error");
}

/// A pool's file and what is kept of it, each with the operation that lets go of it.
struct Pooled<'a> {
    file: &'a PoolFile,
    kept: Vec<(usize, u64, OwnedPage)>,
}

impl Pooled<'_> {
    fn do_it(&mut self, nth: usize, operation: &Operation, disk: &File) {
        self.kept.retain(|(until, page, bytes)| {
            assert!(pread(disk, *page).as_deref() == Ok(bytes), "page {page} was kept");
            *until > nth
        });
        match *operation {
            Operation::Visit(ref pages) => visit(self.file, disk, pages),
            Operation::Pin(page) => match self.file.pin(PageNo(page)) {
                Ok(pinned) => assert!(pread(disk, page).as_deref() == Ok(&*pinned), "page {page}"),
                Err(error) => assert!(is_past_the_end(&error, &[page]), "{error}"),
            },
            Operation::TryPin(page) => {
                if let Some(pinned) = self.file.try_pin(PageNo(page)) {
                    assert!(pread(disk, page).as_deref() == Ok(&*pinned), "page {page}");
                }
            }
            Operation::Keep(page, operations) => {
                let pinned = self.file.pin(PageNo(page)).ok();
                assert_eq!(pinned.is_some(), page < PAGES);
                self.kept.extend(pinned.map(|pin| (nth + operations, page, pin.into_owned())));
            }
            Operation::Forget(page) => {
                let is_kept = self.kept.iter().any(|(_, kept, _)| *kept == page);
                assert!(!self.file.forget(PageNo(page)) || !is_kept && page < PAGES);
            }
            Operation::Look(ref pages, one) => self.look(pages, one, disk),
        }
    }

    fn look(&self, pages: &[u64], one: u64, disk: &File) {
        let mut reader = self.file.pool().reader().unwrap();
        let mut stay = reader.enter();
        let mut found = vec![None; pages.len()];
        stay.get_many(self.file, &numbers(pages), &mut found);
        for (&page, bytes) in pages.iter().zip(found) {
            assert!(bytes.is_none_or(|bytes| pread(disk, page).as_deref() == Ok(bytes)));
        }
        match stay.read(self.file, PageNo(one)) {
            Ok(bytes) => assert!(pread(disk, one).as_deref() == Ok(bytes), "page {one}"),
            Err(error) => assert!(is_past_the_end(&error, &[one]), "{error}"),
        }
    }
}

/// Does all `operations` by each pool, and what a mapping can do of them by the mapping.
fn do_all(operations: &[Operation], files: &[PoolFile], mapped: &MmapSource, disk: &File) {
    for file in files {
        let mut pooled = Pooled { file, kept: Vec::new() };
        for (nth, operation) in operations.iter().enumerate() {
            pooled.do_it(nth, operation, disk);
        }
    }
    for operation in operations {
        match operation {
            Operation::Visit(pages) | Operation::Look(pages, _) => visit(mapped, disk, pages),
            Operation::Pin(page) | Operation::Keep(page, _) => visit(mapped, disk, &[*page]),
            Operation::TryPin(_) | Operation::Forget(_) => {}
        }
    }
}

#[test]
fn pool_mmap_and_pread_cannot_be_told_apart() {
    let dir = dir();
    let specimen = Specimen::write(dir.path(), "pages", SIZE, PAGES);
    let (mapped, disk) = (mapped(&specimen), File::open(&specimen.path).unwrap());
    proptest!(ProptestConfig::with_cases(64), |(operations in vec(operation(), 1..40))| {
        let files = pooled(&specimen);
        do_all(&operations, &files, &mapped, &disk);
        for file in &files {
            let audit = file.pool().audit().unwrap();
            prop_assert_eq!((audit.pins, audit.loading), (0, 0));
        }
    });
}

#[test]
fn nor_by_four_threads_at_once() {
    let dir = dir();
    let specimen = Specimen::write(dir.path(), "pages", SIZE, PAGES);
    let (mapped, disk) = (mapped(&specimen), File::open(&specimen.path).unwrap());
    let of_each = proptest::array::uniform4(vec(operation(), 1..40));
    proptest!(ProptestConfig::with_cases(16), |(of_each in of_each)| {
        let files = pooled(&specimen);
        thread::scope(|scope| {
            for operations in &of_each {
                let (files, mapped, disk) = (&files, &mapped, &disk);
                scope.spawn(move || do_all(operations, files, mapped, disk));
            }
        });
        for file in &files {
            let audit = file.pool().audit().unwrap();
            prop_assert_eq!((audit.pins, audit.loading), (0, 0));
        }
    });
}

/// The file ends earlier than when it was opened: each page that is not whole any more is an error
/// which says how much there is, and what was in memory stays right.
#[test]
fn a_file_that_was_cut_is_cut_for_both_engines_alike() {
    for left_bytes in [0, 1, 511, 512, 4095, 4096, 40_000, PAGES * 4096 - 1] {
        let dir = dir();
        let specimen = Specimen::write(dir.path(), "pages", SIZE, PAGES);
        let files = pooled(&specimen);
        let resident = PAGES - 1;
        for file in &files {
            drop(file.pin(PageNo(resident)).unwrap());
        }
        let disk = File::options().read(true).write(true).open(&specimen.path).unwrap();
        disk.set_len(left_bytes).unwrap();
        for file in &files {
            for page in [0, 1, 9, 10, PAGES / 2, PAGES - 2] {
                match (file.pin(PageNo(page)), pread(&disk, page)) {
                    (Ok(pinned), Ok(truth)) => assert!(*pinned == truth, "page {page}"),
                    (Err(Error::Truncated { page: at, found_bytes, .. }), Err(found)) => {
                        assert_eq!((at.0, found_bytes), (page, found), "{left_bytes} left");
                    }
                    (pinned, truth) => panic!(
                        "{left_bytes} bytes left, page {page}: {pinned:?}, but a pread: {:?}",
                        truth.map(|_| "a page")
                    ),
                }
            }
            let kept = file.try_pin(PageNo(resident)).expect("it was in memory before");
            assert!(*kept == Specimen::page(PageNo(resident), SIZE));
        }
    }
}
