//! The bench of these tests: files whose pages say who they are, on disks that go wrong, in a pool
//! that holds a fraction of them; and what is true of an error and of a pool at rest.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use ringpool::bufferpool::{OwnedPage, Pool, PoolFile, PoolOptions};
use ringpool::storage::{
    Answer, Checksums, Error, Fault, FaultyDevice, FileKey, Incident, MemoryDevice, MemorySource,
    PageNo, PageSize, PageSource,
};

pub(crate) const PAGE_BYTES: usize = 1024;
pub(crate) const PAGES: u64 = 480;
pub(crate) const FILES: usize = 2;
/// The fewest that a pool may have, and what the two files' tables take: 12 bytes a page.
pub(crate) const FRAMES: usize = Pool::MIN_FRAMES as usize + 12;
/// No read of these disks takes as long as this, nor does a frame stay in use for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// No test takes as long as this, on any machine that is alive.
const WATCHDOG: Duration = Duration::from_secs(120);

pub(crate) fn size() -> PageSize {
    PageSize::new(PAGE_BYTES as u64).unwrap()
}

/// The bytes of a file: in each page its file's number, its own, and words like no others.
fn bytes_of_file(file: usize) -> Vec<u8> {
    let mut bytes = vec![0; PAGES as usize * PAGE_BYTES];
    for (no, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        SmallRng::seed_from_u64((file as u64) << 32 | no as u64).fill(&mut page[16..]);
        page[..8].copy_from_slice(&(file as u64).to_le_bytes());
        page[8..16].copy_from_slice(&(no as u64).to_le_bytes());
    }
    bytes
}

/// One file of the pool, its disk, and what it should read.
pub(crate) struct Disk {
    pub(crate) file: PoolFile,
    pub(crate) device: Arc<FaultyDevice>,
    pub(crate) bytes: Vec<u8>,
}

impl Disk {
    pub(crate) fn is_page(&self, page: PageNo, found: &[u8]) -> bool {
        let start = page.0 as usize * PAGE_BYTES;
        found == &self.bytes[start..start + PAGE_BYTES]
    }

    /// Visits `pages`, and sees to it that each is handed over once, with its bytes.
    pub(crate) fn visit(&self, pages: &[PageNo]) -> Result<(), Error> {
        let mut times = vec![0; pages.len()];
        let visited = self.file.visit(pages, &mut |i, bytes| {
            assert!(self.is_page(pages[i], bytes), "bytes of page {}", pages[i]);
            times[i] += 1;
        });
        let expected = if visited.is_ok() { 1..=1 } else { 0..=1 };
        assert!(times.iter().all(|times| expected.contains(times)), "{visited:?}: {times:?}");
        visited
    }

    pub(crate) fn pin(&self, page: PageNo) -> Result<OwnedPage, Error> {
        let guard = self.file.pin(page)?;
        assert!(self.is_page(page, &guard), "bytes of page {page}");
        Ok(guard.into_owned())
    }
}

pub(crate) fn pool(patience: Duration) -> Pool {
    let options = PoolOptions {
        memory_bytes: FRAMES as u64 * Pool::frame_bytes(size()),
        page_size: size(),
        frame_patience: patience,
        device_patience: patience,
        ..PoolOptions::default()
    };
    Pool::new(&options).unwrap()
}

/// Attaches a file whose disk does what `script` says.
pub(crate) fn attach(
    pool: &Pool,
    number: usize,
    script: impl Fn(u64, PageNo) -> Answer + Send + Sync + 'static,
) -> Disk {
    let bytes = bytes_of_file(number);
    let checksums = Checksums::of_pages(FileKey(number as u64), size(), &bytes);
    let memory = MemorySource::new(format!("file {number}"), size(), bytes.clone()).unwrap();
    let device = Arc::new(FaultyDevice::answering(Arc::new(MemoryDevice::new(memory)), script));
    let file = pool.attach(device.clone(), Some(checksums)).unwrap();
    Disk { file, device, bytes }
}

/// A pool at rest, with so many pins: every frame is accounted for.
pub(crate) fn assert_whole(pool: &Pool, pins: u64) {
    let (audit, stats) = (pool.audit().unwrap(), pool.stats());
    assert_eq!(audit.pins, pins, "{audit:?}");
    assert_eq!(audit.free + audit.resident + audit.loading + audit.retired, stats.frames);
    assert_eq!((stats.free, stats.loading), (audit.free, audit.loading));
}

/// Runs `test` on a thread of its own, and fails when it has not ended in time.
pub(crate) fn watched<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, ended) = mpsc::channel();
    let tester = thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test));
        _ = sender.send(()); // The watchdog may have left.
        result.unwrap_or_else(|panic| resume_unwind(panic))
    });
    ended.recv_timeout(WATCHDOG).expect("it hangs");
    tester.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Whether this is the error of a read with this incident.
pub(crate) fn tells(error: &Error, incident: &Incident) -> bool {
    match (error, incident.answer.fault) {
        (Error::Io { doing, source, .. }, Some(Fault::Errno(errno))) => {
            source.raw_os_error() == Some(errno)
                && **doing == *format!("reading page {}", incident.page)
        }
        (Error::Truncated { page, found_bytes, .. }, Some(Fault::Truncated(found))) => {
            (*page, *found_bytes) == (incident.page, found)
        }
        (
            Error::Checksum { page, .. },
            Some(Fault::FlipBit(_) | Fault::Torn(_) | Fault::Misdirected(_)),
        ) => *page == incident.page,
        _ => false,
    }
}

/// Whether the read of this incident has failed.
pub(crate) fn is_failure(incident: &Incident) -> bool {
    !matches!(incident.answer.fault, None | Some(Fault::Hold | Fault::QueueFull))
}
