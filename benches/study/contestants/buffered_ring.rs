//! Qdrant's way with io_uring (`universal_io`, 2026): a ring of depth 16 a thread, reads through the
//! page cache, a fresh allocation for each read, and one system call whenever none has completed.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use ringpool::storage::{PageNo, PageSize, PageSource, Result};
use ringpool_cli::failure::Failure;

use super::aligned::Aligned;
use super::own_ring::{OwnRing, Read, Spares};
use super::paged_file::{PagedFile, Way};
use super::{Contestant, Subject};

/// Reads in flight, as Qdrant's `IO_URING_QUEUE_LENGTH`.
const DEPTH: usize = 16;

pub struct BufferedRing;

struct Buffered {
    file: PagedFile,
    rings: Spares<Flight>,
}

/// A ring, and what its reads go to. The ring is dropped first: it waits for them.
struct Flight {
    ring: OwnRing,
    reads: Vec<Option<(Range<usize>, Aligned)>>,
}

impl Contestant for BufferedRing {
    fn name(&self) -> &'static str {
        "buffered-ring"
    }

    fn manner(&self) -> &'static str {
        "io_uring through the page cache, depth 16, an allocation a read (Qdrant's way)"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        let file = PagedFile::open(subject, Way::Buffered)?;
        let first =
            Flight::new().map_err(|error| Failure::at(&subject.path, "set up io_uring", &error))?;
        Ok(Arc::new(Buffered { file, rings: Spares::with(first) }))
    }
}

impl Flight {
    fn new() -> io::Result<Self> {
        Ok(Self { ring: OwnRing::new(DEPTH as u32)?, reads: (0..DEPTH).map(|_| None).collect() })
    }

    /// Pushes as many of `reads` as there is room for.
    #[allow(unsafe_code)]
    fn push(
        &mut self,
        file: &PagedFile,
        pages: &[PageNo],
        reads: &mut impl Iterator<Item = Range<usize>>,
    ) {
        while let Some(token) = self.reads.iter().position(Option::is_none) {
            let Some(places) = reads.next() else { return };
            let (offset_bytes, len_bytes) = file.extent(pages, &places);
            let memory = Aligned::new(len_bytes);
            let read = Read::new(file.as_file(), memory.at(0), len_bytes, offset_bytes);
            self.reads[token] = Some((places, memory));
            // SAFETY: the memory is kept in `reads`, untouched, until the token comes out, and longer
            // than the ring. The file outlives the visit, at the end of which nothing is in flight.
            unsafe { self.ring.push(token, read) };
        }
    }

    #[allow(unsafe_code)]
    fn visit(
        &mut self,
        file: &PagedFile,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let mut reads = PagedFile::reads(pages);
        loop {
            self.push(file, pages, &mut reads);
            if self.ring.in_flight() == 0 {
                return Ok(());
            }
            self.ring.submit_and_wait(1).map_err(|error| file.error(pages[0], error))?;
            while let Some((token, verdict)) = self.ring.completed() {
                let Some((places, memory)) = self.reads[token].take() else { continue };
                verdict.map_err(|error| file.error(pages[places.start], error))?;
                let len_bytes = file.extent(pages, &places).1;
                // SAFETY: the read has ended, and was whole.
                let bytes = unsafe { memory.bytes(0, len_bytes) };
                file.hand_over(pages, places, bytes, each)?;
            }
        }
    }
}

impl PageSource for Buffered {
    fn page_size(&self) -> PageSize {
        self.file.page_size
    }

    fn page_count(&self) -> u64 {
        self.file.page_count
    }

    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.file.check_numbers(pages)?;
        let make = || Flight::new().map_err(|error| self.file.error(PageNo(0), error));
        self.rings.visit(make, |flight| flight.visit(&self.file, pages, each))
    }
}
