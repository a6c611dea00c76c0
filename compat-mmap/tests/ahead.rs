//! What the advice makes the kernel read, as seen by mincore: a batch's pages and no others.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ringpool_compat_mmap::{Advice, MmapOptions, MmapSource, Verify};
use ringpool_storage::conformance::{Specimen, skipped};
use ringpool_storage::{PageNo, PageSize, PageSource};

const PAGES: u64 = 64;
const BATCH: [u64; 5] = [3, 10, 20, 21, 40];
const KEPT_IN_MEMORY: &str = "the file system of the temporary folder keeps files in memory";

/// The pages of `file` that the kernel holds.
fn resident(file: &File) -> Vec<u64> {
    // SAFETY: the test's own file, which nobody changes; its bytes are never looked at.
    let map = unsafe { memmap2::Mmap::map(file) }.expect("map");
    let mut held = vec![0u8; PAGES as usize];
    assert_eq!(map.len(), held.len() * 4096);
    // SAFETY: the range is that of the live mapping, and `held` has a byte for each of its pages.
    let rc = unsafe { libc::mincore(map.as_ptr() as *mut _, map.len(), held.as_mut_ptr()) };
    assert_eq!(rc, 0, "mincore: {}", std::io::Error::last_os_error());
    (0..PAGES).filter(|&no| held[no as usize] & 1 == 1).collect()
}

/// A specimen of which the kernel holds nothing; `None` where it will not let go of it.
fn cold_specimen(dir: &std::path::Path) -> Option<(Specimen, File)> {
    let specimen = Specimen::write(dir, "f", PageSize::KIB_4, PAGES);
    let file = File::open(&specimen.path).expect("open");
    file.sync_all().expect("sync");
    // SAFETY: takes a descriptor that is open and numbers.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    resident(&file).is_empty().then_some((specimen, file))
}

/// What the kernel holds when the first page of the batch is handed over, given time to read.
fn held_at_the_first_page(advice: Advice, patience: Duration) -> Option<Vec<u64>> {
    let dir = tempfile::tempdir().expect("tempdir");
    let (specimen, file) = cold_specimen(dir.path())?;
    let options = MmapOptions { advice, verify: Verify::FirstTouch };
    let checksums = Some(specimen.checksums.clone());
    let source = MmapSource::open(&specimen.path, specimen.page_size, checksums, options).unwrap();
    let mut held = Vec::new();
    let visited = source.visit(&BATCH.map(PageNo), &mut |i, _| {
        let deadline = Instant::now() + patience;
        while i == 0 && held.len() < BATCH.len() && Instant::now() < deadline {
            held = resident(&file);
        }
    });
    visited.expect("visit");
    Some(held)
}

#[test]
fn willneed_reads_the_whole_batch_ahead_and_nothing_else() {
    match held_at_the_first_page(Advice::WillNeed, Duration::from_secs(10)) {
        Some(held) => assert_eq!(held, BATCH),
        None => skipped(KEPT_IN_MEMORY),
    }
}

#[test]
fn random_reads_the_page_at_hand_only() {
    match held_at_the_first_page(Advice::Random, Duration::from_millis(50)) {
        Some(held) => assert_eq!(held, BATCH[..1]),
        None => skipped(KEPT_IN_MEMORY),
    }
}
