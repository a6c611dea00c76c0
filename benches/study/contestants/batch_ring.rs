//! DiskANN's way: direct reads, a whole batch submitted at once, and nothing looked at before all of
//! it has arrived (io_submit and io_getevents there, a ring here).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use ringpool::storage::{PageNo, PageSize, PageSource, Result};
use ringpool_cli::failure::Failure;

use super::aligned::Aligned;
use super::own_ring::{OwnRing, Read, Spares};
use super::paged_file::{PagedFile, Way};
use super::{Contestant, Subject};

/// Pages submitted at once, as DiskANN's `MAX_EVENTS`. A longer batch goes in several.
const BATCH_PAGES: usize = 1024;

pub struct BatchRing;

struct Batched {
    file: PagedFile,
    rings: Spares<Flight>,
}

/// A ring, and what its reads go to. The ring is dropped first: it waits for them.
struct Flight {
    ring: OwnRing,
    memory: Aligned,
}

impl Contestant for BatchRing {
    fn name(&self) -> &'static str {
        "batch-ring"
    }

    fn manner(&self) -> &'static str {
        "io_uring with O_DIRECT, a whole batch submitted, all of it waited for (DiskANN's way)"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        let file = PagedFile::open(subject, Way::Direct)?;
        let first = Flight::new(file.page_size);
        let first = first.map_err(|error| Failure::at(&subject.path, "set up io_uring", &error))?;
        Ok(Arc::new(Batched { file, rings: Spares::with(first) }))
    }

    fn caches(&self) -> bool {
        false
    }
}

impl Flight {
    fn new(page_size: PageSize) -> io::Result<Self> {
        let memory = Aligned::new(BATCH_PAGES * page_size.bytes());
        Ok(Self { ring: OwnRing::new(BATCH_PAGES as u32)?, memory })
    }

    /// Reads one batch into the memory, page behind page, and returns when all of it is there.
    #[allow(unsafe_code)]
    fn read(&mut self, file: &PagedFile, pages: &[PageNo]) -> Result<()> {
        let reads: Vec<Range<usize>> = PagedFile::reads(pages).collect();
        for (token, places) in reads.iter().enumerate() {
            let (offset_bytes, len_bytes) = file.extent(pages, places);
            let into = self.memory.at(places.start * file.page_size.bytes());
            let read = Read::new(file.as_file(), into, len_bytes, offset_bytes);
            // SAFETY: the memory outlives the ring, and each place of it has one read. The file
            // outlives the visit, at the end of which nothing is in flight.
            unsafe { self.ring.push(token, read) };
        }
        let mut verdict = Ok(());
        while self.ring.in_flight() > 0 {
            let submitted = self.ring.submit_and_wait(self.ring.in_flight());
            submitted.map_err(|error| file.error(pages[0], error))?;
            while let Some((token, ended)) = self.ring.completed() {
                let page = pages[reads[token].start];
                verdict = verdict.and(ended.map_err(|error| file.error(page, error)));
            }
        }
        verdict
    }

    #[allow(unsafe_code)]
    fn visit(
        &mut self,
        file: &PagedFile,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        for (number, batch) in pages.chunks(BATCH_PAGES).enumerate() {
            self.read(file, batch)?;
            let begin = number * BATCH_PAGES;
            // SAFETY: every page of the batch was read whole, and nothing is in flight.
            let bytes = unsafe { self.memory.bytes(0, batch.len() * file.page_size.bytes()) };
            file.hand_over(pages, begin..begin + batch.len(), bytes, each)?;
        }
        Ok(())
    }
}

impl PageSource for Batched {
    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.file.check_numbers(pages)?;
        let make =
            || Flight::new(self.file.page_size).map_err(|error| self.file.error(PageNo(0), error));
        self.rings.visit(make, |flight| flight.visit(&self.file, pages, each))
    }
}
