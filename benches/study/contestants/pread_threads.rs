//! A pool of threads that pread, as one would write it who has no ring: rayon's, through the page
//! cache, which is then the cache. A batch of one read is read by the caller.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, mpsc};

use rayon::{ThreadPool, ThreadPoolBuilder};
use ringpool::storage::{PageNo, PageSize, PageSource, Result};
use ringpool_cli::failure::Failure;
use rustix::fs::{Advice, fadvise};

use super::paged_file::{PagedFile, Way};
use super::{Access, Contestant, Subject};

/// Reads side by side: where the disks that this was written on give most.
const THREADS: usize = 32;

/// Pages asked for at once: bounds the memory of a long batch.
const BATCH_PAGES: usize = 1024;

pub struct PreadThreads;

struct Threads {
    file: PagedFile,
    pool: ThreadPool,
}

impl Contestant for PreadThreads {
    fn name(&self) -> &'static str {
        "pread-threads"
    }

    fn manner(&self) -> &'static str {
        "32 threads that pread through the page cache, with FADV_RANDOM or FADV_SEQUENTIAL"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        let file = PagedFile::open(subject, Way::Buffered)?;
        let advice = match subject.access {
            Access::Random => Advice::Random,
            Access::Sequential => Advice::Sequential,
        };
        let advised = fadvise(file.as_file(), 0, None, advice);
        advised.map_err(|error| Failure::at(&subject.path, "advise on its reads", &error))?;
        let pool = ThreadPoolBuilder::new().num_threads(THREADS).build();
        let pool = pool.map_err(|error| Failure::at(&subject.path, "start threads", &error))?;
        Ok(Arc::new(Threads { file, pool }))
    }
}

impl Threads {
    fn read(&self, pages: &[PageNo], places: &Range<usize>) -> Result<Vec<u8>> {
        let (offset_bytes, len_bytes) = self.file.extent(pages, places);
        let mut memory = vec![0; len_bytes];
        let read = self.file.as_file().read_exact_at(&mut memory, offset_bytes);
        read.map_err(|error| self.file.error(pages[places.start], error))?;
        Ok(memory)
    }

    /// `begin` is the place of the first of `batch` in the caller's.
    fn visit_batch(
        &self,
        batch: &[PageNo],
        begin: usize,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let mut shifted = |place: usize, bytes: &[u8]| each(begin + place, bytes);
        let mut reads = PagedFile::reads(batch).peekable();
        let Some(first) = reads.next() else { return Ok(()) };
        if reads.peek().is_none() {
            let bytes = self.read(batch, &first)?;
            return self.file.hand_over(batch, first, &bytes, &mut shifted);
        }
        let (ended, arrivals) = mpsc::channel();
        self.pool.in_place_scope(|scope| {
            for places in std::iter::once(first).chain(reads) {
                let ended = ended.clone();
                // Who has failed already has left, and does not listen.
                scope.spawn(move |_| _ = ended.send((places.clone(), self.read(batch, &places))));
            }
            drop(ended);
            arrivals.into_iter().try_for_each(|(places, bytes)| {
                self.file.hand_over(batch, places, &bytes?, &mut shifted)
            })
        })
    }
}

impl PageSource for Threads {
    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.file.check_numbers(pages)?;
        let mut batches = pages.chunks(BATCH_PAGES).enumerate();
        batches.try_for_each(|(number, batch)| self.visit_batch(batch, number * BATCH_PAGES, each))
    }
}
