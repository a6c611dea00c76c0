//! Ways to read a batch of pages: the engine, preads, a mapping.
//!
//! Each looks at the first word of each page and returns the sum, so that all of them can be seen
//! to have read the same. None checks what it read, and none copies it.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use ringpool::mmap::MmapSource;
use ringpool::storage::{PageDevice, PageNo, PageSource, ReadBuffer};
use ringpool::{Advice, MmapOptions, Verify};
use rustix::fs::OFlags;

use super::random_file::PAGE;

/// Reads a batch of pages and returns the sum of their first words.
pub type Reader = Box<dyn FnMut(&[PageNo]) -> u64 + Send>;

/// The engine that `device` belongs to, with `in_flight` reads offered at once, into memory that
/// is registered where that is possible.
pub fn engine(device: &Arc<dyn PageDevice>, in_flight: u32) -> Reader {
    let device = device.clone();
    let mut buffer = ReadBuffer::new(in_flight, PAGE);
    buffer.register(&*device);
    Box::new(move |batch| {
        let mut sum = 0_u64;
        let read = buffer.visit(&*device, batch, |_, page| sum = sum.wrapping_add(word(page)));
        read.expect("a sound file");
        sum
    })
}

/// One pread after the other, past the page cache.
pub fn pread(path: &Path) -> Reader {
    let file = direct(path);
    let mut memory = Box::new(Aligned::ZERO);
    Box::new(move |batch| {
        batch
            .iter()
            .fold(0, |sum: u64, &page| sum.wrapping_add(pread_one(&file, page, &mut memory)))
    })
}

/// A pool of threads that do so.
pub fn pread_threads(path: &Path, threads: usize) -> Reader {
    thread_local! {
        static MEMORY: RefCell<Box<Aligned>> = RefCell::new(Box::new(Aligned::ZERO));
    }
    let file = direct(path);
    let pool: ThreadPool =
        ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    Box::new(move |batch| {
        let read = |&page| MEMORY.with_borrow_mut(|memory| pread_one(&file, page, memory));
        // Each page on its own, or else few threads get all of a short batch.
        let words = || batch.par_iter().with_max_len(1).map(read);
        pool.install(|| words().reduce(|| 0, u64::wrapping_add))
    })
}

/// A mapping, unchecked, with this advice.
pub fn mmap(path: &Path, advice: Advice) -> Reader {
    let options = MmapOptions { advice, verify: Verify::Never };
    let source = MmapSource::open(path, PAGE, None, options).expect("a sound file");
    Box::new(move |batch| {
        let mut sum = 0_u64;
        let mut look = |_: usize, page: &[u8]| sum = sum.wrapping_add(black_box(word(page)));
        source.visit(batch, &mut look).expect("a sound file");
        sum
    })
}

#[inline]
fn word(page: &[u8]) -> u64 {
    page.first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

/// A page that O_DIRECT can read into.
#[repr(align(4096))]
struct Aligned([u8; PAGE.bytes()]);

impl Aligned {
    const ZERO: Self = Self([0; PAGE.bytes()]);
}

fn direct(path: &Path) -> File {
    let file = File::options().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path);
    file.expect("a filesystem that takes O_DIRECT: set RINGPOOL_BENCH_FILE to a file on one")
}

fn pread_one(file: &File, page: PageNo, memory: &mut Aligned) -> u64 {
    let offset_bytes = page.0 * PAGE.bytes() as u64;
    file.read_exact_at(&mut memory.0, offset_bytes).expect("a sound file");
    word(&memory.0)
}
