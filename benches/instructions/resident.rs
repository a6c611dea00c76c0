//! What the counted functions work on, made before anything is counted: a pool with all of its pages
//! in memory, an engine with a file, and rows for the kernels.

use std::io::Write;
use std::sync::Arc;

use ringpool::EngineChoice;
use ringpool::bufferpool::{Pool, PoolFile, PoolOptions, Reader};
use ringpool::storage::{
    Checksums, FileKey, MemoryDevice, MemorySource, PageDevice, PageNo, PageSize, PageSource,
    ReadBuffer,
};
use ringpool::uring::Engine;

pub const PAGE: PageSize = PageSize::KIB_4;
/// Pages that are looked at in one count.
pub const PASS: u64 = 1_024;
/// Pages of a batch.
pub const BATCH: usize = 16;

/// A pool that holds its whole file, and somebody who reads it.
pub struct Resident {
    pub file: PoolFile,
    pub reader: Reader,
    pub pages: Vec<PageNo>,
}

impl Resident {
    pub fn new() -> Self {
        let device = memory_device(PASS);
        let bytes = bytes(PASS);
        let checksums = Checksums::of_pages(FileKey(1), PAGE, &bytes);
        let memory_bytes = 2 * bytes.len() as u64;
        let options = PoolOptions { memory_bytes, page_size: PAGE, ..PoolOptions::default() };
        let pool = Pool::new(&options).expect("a budget that does");
        let file = pool.attach(device, Some(checksums)).expect("a file that fits");
        let pages = scattered(PASS);
        file.visit(&pages, &mut |_, _| {}).expect("memory");
        let reader = pool.reader().expect("a seat");
        Self { file, reader, pages }
    }
}

impl Default for Resident {
    fn default() -> Self {
        Self::new()
    }
}

/// A device, a buffer, and what is read into it.
pub struct Submitted {
    pub device: Arc<dyn PageDevice>,
    pub buffer: ReadBuffer,
    pub pages: Vec<PageNo>,
    /// Kept, since the device is its.
    pub engine: Option<Engine>,
}

impl Submitted {
    /// Through memory: what the seam costs, without a ring.
    pub fn through_memory() -> Self {
        Self::of(memory_device(PASS), None)
    }

    /// Through an engine, from a file without a name.
    pub fn through(choice: EngineChoice) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a place for temporary files");
        file.write_all(&bytes(PASS)).expect("room for it");
        file.as_file().sync_all().expect("a disk that takes it");
        let engine = Engine::start(choice).expect("the engine that was asked for");
        let opened = engine.open(file.path(), PAGE).expect("whole pages");
        Self::of(opened.device, Some(engine))
    }

    fn of(device: Arc<dyn PageDevice>, engine: Option<Engine>) -> Self {
        let buffer = ReadBuffer::new(BATCH as u32, PAGE);
        let mut submitted = Self { device, buffer, pages: scattered(PASS), engine };
        submitted.read_all(); // What is done once is not what is counted.
        submitted
    }

    /// Reads all pages, a batch at a time.
    pub fn read_all(&mut self) -> u64 {
        let mut sum = 0;
        for batch in self.pages.chunks(BATCH) {
            let each = |_, page: &[u8]| sum += u64::from(page[0]);
            self.buffer.visit(&*self.device, batch, each).expect("a sound device");
        }
        sum
    }
}

/// The pages in an order in which no two follow each other: 389 and the count have no divisor in common.
fn scattered(count: u64) -> Vec<PageNo> {
    (0..count).map(|i| PageNo(i * 389 % count)).collect()
}

fn bytes(pages: u64) -> Vec<u8> {
    (0..pages * PAGE.bytes() as u64).map(|i| ((i * i) >> 7) as u8).collect()
}

fn memory_device(pages: u64) -> Arc<dyn PageDevice> {
    let source = MemorySource::new("memory", PAGE, bytes(pages)).expect("whole pages");
    Arc::new(MemoryDevice::new(source))
}

/// Whole numbers from 0 to 120, which every element type holds.
pub fn small(i: usize) -> u8 {
    (i * 7919 % 121) as u8
}
