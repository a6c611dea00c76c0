//! One read at a time: through the engine, and by pread, in turns.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use ringpool::storage::{Error, PageNo, PageSize};
use ringpool::uring::DirectIo;
use rustix::fs::OFlags;
use serde::Serialize;

use crate::failure::Failure;

use super::load::{Load, median};
use super::pages::RandomPages;
use super::subject::Subject;
use super::watch::Watch;

/// Reads of either kind at most; a median needs no more.
const MAX_READS: usize = 20_000;

/// Medians, in microseconds.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct LoneRead {
    pub engine_p50_us: f64,
    /// By a plain pread of the calling thread, direct where the engine's reads are.
    pub pread_p50_us: f64,
}

/// Reads a page through the engine and another one by pread, for so many seconds.
pub fn compare(
    subject: &Subject,
    load: &mut Load,
    pages: &mut RandomPages,
    seconds: f64,
    watch: &Watch,
) -> Result<LoneRead, Failure> {
    let direct = load.opened.direct_io == DirectIo::Yes;
    let file = load.opened.device.file().clone();
    let refused = |error| subject.failed(&Error::io(&file, "pread of a page", error));
    let mut pread = Pread::open(subject, direct).map_err(refused)?;
    let mut engine_ns = Vec::new();
    let mut pread_ns = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while pread_ns.is_empty() || (pread_ns.len() < MAX_READS && Instant::now() < end) {
        watch.look()?;
        let (one, other) = (pages.take(), pages.take());
        // Whoever comes first may find a sleepier disk: each in turn.
        let pread_first = pread_ns.len() % 2 == 1;
        if !pread_first {
            engine_ns.push(timed_ns(|| load.read(one))?);
        }
        pread_ns.push(timed_ns(|| pread.read(other).map_err(refused))?);
        if pread_first {
            engine_ns.push(timed_ns(|| load.read(one))?);
        }
    }
    Ok(LoneRead {
        engine_p50_us: median_us(&mut engine_ns),
        pread_p50_us: median_us(&mut pread_ns),
    })
}

/// A file that is read by pread into memory of its own.
struct Pread {
    file: File,
    page_size: PageSize,
    memory: Vec<u8>,
    /// Where the memory is aligned to the page.
    start: usize,
}

impl Pread {
    fn open(subject: &Subject, direct: bool) -> io::Result<Self> {
        let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
        let flags = (flags | OFlags::NONBLOCK).bits() as i32;
        let file = File::options().read(true).custom_flags(flags).open(subject.path())?;
        let page_bytes = subject.page_size.bytes();
        let align = page_bytes.max(PageSize::KIB_4.bytes());
        let memory = vec![0; page_bytes + align];
        let start = memory.as_ptr().align_offset(align);
        Ok(Self { file, page_size: subject.page_size, memory, start })
    }

    fn read(&mut self, page: PageNo) -> io::Result<()> {
        let into = &mut self.memory[self.start..][..self.page_size.bytes()];
        let offset = self.page_size.offset_bytes(page).unwrap_or(u64::MAX);
        self.file.read_exact_at(into, offset)?;
        black_box(into);
        Ok(())
    }
}

fn timed_ns(read: impl FnOnce() -> Result<(), Failure>) -> Result<u64, Failure> {
    let began = Instant::now();
    read()?;
    Ok(began.elapsed().as_nanos() as u64)
}

fn median_us(times_ns: &mut [u64]) -> f64 {
    median(times_ns).unwrap_or(0) as f64 / 1e3
}
