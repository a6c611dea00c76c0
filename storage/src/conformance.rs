//! What every source and every device must do, as functions that anybody may call from a test.
//!
//! A [`Specimen`] is a file of pages that say who they are. [`sources`], [`gathers`] and
//! [`devices`] run a list of cases over an implementation that opens it; each case panics with its
//! name when it fails, as a test does.

mod gathers;

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use crate::{
    Checksums, Error, FileKey, MemorySource, PageDevice, PageNo, PageSize, PageSource, ReadBuffer,
};

pub use gathers::gathers;

/// A file of pages whose bytes tell which page they are.
pub struct Specimen {
    /// Where the file is.
    pub path: PathBuf,
    /// The size of its pages.
    pub page_size: PageSize,
    /// The checksums of its pages.
    pub checksums: Checksums,
    pages: u64,
}

impl Specimen {
    /// Writes a specimen of `pages` pages to `dir/name`.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write(dir: &Path, name: &str, page_size: PageSize, pages: u64) -> Self {
        let path = dir.join(name);
        let bytes: Vec<u8> = (0..pages).flat_map(|no| Self::page(PageNo(no), page_size)).collect();
        fs::write(&path, &bytes).expect("write the specimen");
        let checksums = Checksums::of_pages(FileKey(0xC0FFEE), page_size, &bytes);
        Self { path, page_size, checksums, pages }
    }

    /// What the bytes of `page` are.
    pub fn page(page: PageNo, page_size: PageSize) -> Vec<u8> {
        // A splitmix64 of the page number and the word's place: no two words are alike.
        let word = |i: u64| {
            let mut x = (page.0 << 20 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (x ^ (x >> 27)).to_le_bytes()
        };
        (0..page_size.bytes() as u64 / 8).flat_map(word).collect()
    }

    /// All its pages in memory.
    pub fn in_memory(&self) -> MemorySource {
        let bytes = (0..self.pages).flat_map(|no| Self::page(PageNo(no), self.page_size));
        MemorySource::new("specimen", self.page_size, bytes.collect()).expect("whole pages")
    }

    /// How many pages it has.
    pub fn page_count(&self) -> u64 {
        self.pages
    }

    /// Flips one bit of the file.
    ///
    /// # Panics
    /// When the file cannot be changed.
    pub fn flip_bit(&self, bit: u64) {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = fs::File::options().read(true).write(true).open(&self.path).expect("open");
        let mut byte = [0];
        file.seek(SeekFrom::Start(bit / 8)).expect("seek");
        file.read_exact(&mut byte).expect("read");
        byte[0] ^= 1 << (bit % 8);
        file.seek(SeekFrom::Start(bit / 8)).expect("seek");
        file.write_all(&byte).expect("write");
        file.sync_all().expect("sync");
    }

    fn all(&self) -> Vec<PageNo> {
        (0..self.pages).map(PageNo).collect()
    }

    /// `count` page numbers that look random and are always the same for a seed.
    fn some(&self, count: usize, seed: u64) -> Vec<PageNo> {
        let mut x = seed.wrapping_mul(2).wrapping_add(1);
        let mut draw = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            PageNo(x % self.pages)
        };
        (0..count).map(|_| draw()).collect()
    }
}

/// Says on stderr, in one line, what a test does not run on this machine, and why. Written past
/// the test harness, which keeps to itself what a passing test prints.
pub fn skipped(why: impl Display) {
    let thread = thread::current();
    let line = format!("{}: skipped: {why}\n", thread.name().unwrap_or("a test"));
    // Where stderr is closed, nobody can be told.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Opens a specimen's file as a source.
pub type OpenSource<'a> = dyn Fn(&Specimen) -> Box<dyn PageSource> + 'a;

/// Runs the list for sources: `open` is asked for a fresh one in each case, and its memory should
/// be far smaller than the specimen, which is written into `dir`.
///
/// # Panics
/// When a case fails.
pub fn sources(dir: &Path, open: &OpenSource<'_>) {
    let specimen = Specimen::write(dir, "source-specimen", PageSize::KIB_4, 300);
    let source = open(&specimen);
    assert_eq!(source.page_size(), specimen.page_size);
    assert_eq!(source.page_count(), specimen.page_count());
    every_page_arrives_once_with_its_bytes(&specimen, &*source);
    an_empty_batch_visits_nothing(&*source);
    pages_may_be_listed_twice(&specimen, &*source);
    a_page_past_the_end_is_an_error_and_nothing_breaks(&specimen, &*source);
    many_threads_see_the_same_pages(&specimen, &*source);
    a_visit_within_a_visit_works(&specimen, &*source);
    a_panicking_visitor_leaves_the_source_whole(&specimen, &*source);
    drop(source);
    a_flipped_bit_is_refused_each_time(&specimen, open);
}

fn check(specimen: &Specimen, source: &dyn PageSource, pages: &[PageNo]) {
    let mut seen = vec![0; pages.len()];
    let visited = source.visit(pages, &mut |i, bytes| {
        assert!(bytes == Specimen::page(pages[i], specimen.page_size), "bytes of {:?}", pages[i]);
        seen[i] += 1;
    });
    visited.unwrap_or_else(|error| panic!("visit of {} pages: {error}", pages.len()));
    assert!(seen.iter().all(|&times| times == 1), "each page once: {seen:?}");
}

fn every_page_arrives_once_with_its_bytes(specimen: &Specimen, source: &dyn PageSource) {
    check(specimen, source, &specimen.all());
    check(specimen, source, &specimen.some(1_000, 1));
    for page in specimen.some(50, 2) {
        check(specimen, source, &[page]);
    }
}

fn an_empty_batch_visits_nothing(source: &dyn PageSource) {
    source.visit(&[], &mut |_, _| panic!("nothing was asked for")).expect("an empty batch");
}

fn pages_may_be_listed_twice(specimen: &Specimen, source: &dyn PageSource) {
    check(specimen, source, &[PageNo(7); 40]);
    check(specimen, source, &[PageNo(9), PageNo(7), PageNo(9), PageNo(9), PageNo(7)]);
}

fn a_page_past_the_end_is_an_error_and_nothing_breaks(
    specimen: &Specimen,
    source: &dyn PageSource,
) {
    for wrong in [specimen.pages, specimen.pages + 1, u64::MAX / 4096, u64::MAX] {
        let verdict = source.visit(&[PageNo(0), PageNo(wrong), PageNo(1)], &mut |_, _| {});
        let named = matches!(&verdict, Err(Error::NoSuchPage { page, .. }) if page.0 == wrong);
        assert!(named, "page {wrong} of {}: {verdict:?}", specimen.pages);
    }
    check(specimen, source, &specimen.some(100, 3));
}

fn many_threads_see_the_same_pages(specimen: &Specimen, source: &dyn PageSource) {
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                for round in 0..10 {
                    check(specimen, source, &specimen.some(97, 10 * seed + round));
                }
            });
        }
    });
}

fn a_visit_within_a_visit_works(specimen: &Specimen, source: &dyn PageSource) {
    let inner = specimen.some(3, 5);
    let visited = source.visit(&specimen.some(5, 4), &mut |_, _| check(specimen, source, &inner));
    visited.expect("a visit within a visit");
}

fn a_panicking_visitor_leaves_the_source_whole(specimen: &Specimen, source: &dyn PageSource) {
    let pages = specimen.some(200, 6);
    let mut left = 3;
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let visited = source.visit(&pages, &mut |_, _| {
            left -= 1;
            if left == 0 {
                std::panic::resume_unwind(Box::new("the visitor's own panic"));
            }
        });
        visited.expect("no failure before the panic");
    }));
    assert!(unwound.is_err(), "the visitor's panic is the caller's");
    check(specimen, source, &specimen.all());
}

fn a_flipped_bit_is_refused_each_time(specimen: &Specimen, open: &OpenSource<'_>) {
    let bad = PageNo(123);
    specimen.flip_bit((bad.0 * specimen.page_size.bytes() as u64 + 1_000) * 8 + 3);
    let source = open(specimen);
    for _ in 0..2 {
        let verdict = source.visit(&[bad], &mut |_, _| panic!("a bad page was handed over"));
        let named = matches!(&verdict, Err(Error::Checksum { page, .. }) if *page == bad);
        assert!(named, "a flipped bit in page {bad}: {verdict:?}");
        check(specimen, &*source, &[PageNo(122), PageNo(124)]);
    }
    specimen.flip_bit((bad.0 * specimen.page_size.bytes() as u64 + 1_000) * 8 + 3);
    check(specimen, &*open(specimen), &[bad]);
}

/// Opens a specimen's file as a device.
pub type OpenDevice<'a> = dyn Fn(&Specimen) -> Arc<dyn PageDevice> + 'a;

/// Runs the list for devices on a specimen that is written into `dir`.
///
/// # Panics
/// When a case fails.
pub fn devices(dir: &Path, open: &OpenDevice<'_>) {
    for page_size in [PageSize::KIB_4, PageSize::KIB_16] {
        let specimen = Specimen::write(dir, "device-specimen", page_size, 300);
        let device = open(&specimen);
        assert_eq!(device.page_size(), page_size);
        assert_eq!(device.page_count(), specimen.page_count());
        reads_land_once_with_their_bytes(&specimen, &*device);
        a_read_past_the_end_lands_as_an_error(&specimen, &*device);
        driving_with_nothing_to_do_does_not_wait(&*device);
        threads_share_a_device(&specimen, &*device);
        a_dropped_buffer_outlives_its_reads(&specimen, &*device);
    }
}

fn read(specimen: &Specimen, device: &dyn PageDevice, pages: &[PageNo], depth: u32) {
    let mut seen = vec![0; pages.len()];
    let mut buffer = ReadBuffer::new(depth, specimen.page_size);
    let visited = buffer.visit(device, pages, |i, bytes| {
        assert!(bytes == Specimen::page(pages[i], specimen.page_size), "bytes of {:?}", pages[i]);
        seen[i] += 1;
    });
    visited.unwrap_or_else(|error| panic!("{} reads, {depth} at once: {error}", pages.len()));
    assert!(seen.iter().all(|&times| times == 1), "each read lands once: {seen:?}");
}

fn reads_land_once_with_their_bytes(specimen: &Specimen, device: &dyn PageDevice) {
    for depth in [1, 3, 64, 2_000] {
        read(specimen, device, &specimen.all(), depth);
        read(specimen, device, &specimen.some(2_000, depth.into()), depth);
    }
    read(specimen, device, &[PageNo(5); 100], 16);
}

fn a_read_past_the_end_lands_as_an_error(specimen: &Specimen, device: &dyn PageDevice) {
    let mut buffer = ReadBuffer::new(8, specimen.page_size);
    for wrong in [specimen.pages, u64::MAX / 4096, u64::MAX] {
        let verdict = buffer.visit(device, &[PageNo(0), PageNo(wrong)], |_, _| {});
        let named = matches!(&verdict, Err(Error::NoSuchPage { page, .. }) if page.0 == wrong);
        assert!(named, "page {wrong} of {}: {verdict:?}", specimen.pages);
    }
    read(specimen, device, &specimen.some(20, 1), 8);
}

fn driving_with_nothing_to_do_does_not_wait(device: &dyn PageDevice) {
    assert!(device.drive(&|| true, None), "what holds already is not waited for");
    assert!(device.drive(&|| true, Some(Instant::now())));
    let deadline = Instant::now() + Duration::from_millis(5);
    assert!(!device.drive(&|| false, Some(deadline)), "a deadline ends a wait");
    assert!(Instant::now() >= deadline, "and not before it has passed");
}

fn threads_share_a_device(specimen: &Specimen, device: &dyn PageDevice) {
    thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || read(specimen, device, &specimen.some(500, seed), 8));
        }
    });
}

/// The caller unwinds out of a batch with reads in flight; their memory must stay theirs.
fn a_dropped_buffer_outlives_its_reads(specimen: &Specimen, device: &dyn PageDevice) {
    for _ in 0..10 {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut buffer = ReadBuffer::new(64, specimen.page_size);
            let pages = specimen.some(64, 1);
            let visited =
                buffer.visit(device, &pages, |_, _| std::panic::resume_unwind(Box::new("gone")));
            visited.expect("no failure before the panic");
        }));
        assert!(unwound.is_err());
    }
    read(specimen, device, &specimen.all(), 16);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Answer, Fault, FaultyDevice, MemoryDevice};

    fn load(specimen: &Specimen) -> MemorySource {
        let bytes = fs::read(&specimen.path).unwrap();
        MemorySource::new("specimen", specimen.page_size, bytes).unwrap()
    }

    /// Checks at each visit, as a source does that verifies what it hands out.
    struct Checked(MemorySource, Checksums);

    impl PageSource for Checked {
        fn page_size(&self) -> PageSize {
            self.0.page_size()
        }
        fn page_count(&self) -> u64 {
            self.0.page_count()
        }
        fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> crate::Result<()> {
            let file: Arc<str> = "specimen".into();
            let mut bad = Ok(());
            self.0.visit(pages, &mut |i, bytes| {
                if bad.is_ok() {
                    bad = self.1.verify(&file, pages[i], bytes);
                }
                if bad.is_ok() {
                    each(i, bytes);
                }
            })?;
            bad
        }
    }

    #[test]
    fn memory_is_a_source() {
        let dir = tempfile::tempdir().unwrap();
        sources(dir.path(), &|specimen| {
            Box::new(Checked(load(specimen), specimen.checksums.clone()))
        });
    }

    #[test]
    fn a_source_without_a_gather_is_visited() {
        let dir = tempfile::tempdir().unwrap();
        gathers(dir.path(), &|specimen| {
            Box::new(Checked(load(specimen), specimen.checksums.clone()))
        });
    }

    /// Reads without a pool.
    struct Direct {
        device: FaultyDevice,
        checksums: Checksums,
        depth: u32,
    }

    impl PageSource for Direct {
        fn page_size(&self) -> PageSize {
            self.device.page_size()
        }
        fn page_count(&self) -> u64 {
            self.device.page_count()
        }
        fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> crate::Result<()> {
            ReadBuffer::new(self.depth, self.page_size()).visit(&self.device, pages, each)
        }
        fn gather(&self) -> Option<Box<dyn crate::Gather + '_>> {
            let Self { device, checksums, depth } = self;
            Some(Box::new(crate::DeviceGather::new(device, Some(checksums), *depth)))
        }
    }

    #[test]
    fn a_device_is_gathered_from_also_one_that_is_slow_and_full() {
        let dir = tempfile::tempdir().unwrap();
        for depth in [1, 3, 64] {
            gathers(dir.path(), &|specimen| {
                let script = |ordinal: u64, _: PageNo| Answer {
                    late_by_reads: (ordinal * 7 % 5) as u32,
                    fault: (ordinal % 11 == 3).then_some(Fault::QueueFull),
                };
                let memory = Arc::new(MemoryDevice::new(load(specimen)));
                let device = FaultyDevice::answering(memory, script);
                Box::new(Direct { device, checksums: specimen.checksums.clone(), depth })
            });
        }
    }

    #[test]
    fn memory_is_a_device_also_behind_a_faulty_one_without_faults() {
        let dir = tempfile::tempdir().unwrap();
        devices(dir.path(), &|specimen| Arc::new(MemoryDevice::new(load(specimen))));
        devices(dir.path(), &|specimen| {
            let memory = Arc::new(MemoryDevice::new(load(specimen)));
            Arc::new(FaultyDevice::new(memory, |_, _| None))
        });
    }

    /// Runs this very test once more, in a process whose stderr can be looked at.
    #[test]
    fn what_is_skipped_is_told_although_the_test_passes() {
        const INNER: &str = "RINGPOOL_TEST_SKIPS";
        const NAME: &str = "conformance::tests::what_is_skipped_is_told_although_the_test_passes";
        if std::env::var_os(INNER).is_some() {
            return skipped("no reason");
        }
        let mut inner = std::process::Command::new(std::env::current_exe().unwrap());
        inner.args(["--exact", NAME, "--test-threads=2"]).env(INNER, "1");
        let output = inner.output().unwrap();
        assert!(output.status.success());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told, format!("{NAME}: skipped: no reason\n"));
    }

    #[test]
    fn memory_verifies_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let specimen = Specimen::write(dir.path(), "f", PageSize::KIB_4, 10);
        load(&specimen).verified(&specimen.checksums).unwrap();
        specimen.flip_bit(8 * 4096 * 3);
        let verdict = load(&specimen).verified(&specimen.checksums);
        assert!(matches!(verdict, Err(Error::Checksum { page: PageNo(3), .. })));
    }
}
