//! What was asked for and has not landed: a page, or pages of a file that follow each other.
//!
//! Pages that were asked for one after the other and lie one after the other in the file become
//! one read of the disk, scattered into the memory of each. A [`Run`] that does not end well is
//! taken apart: the pages that arrived whole land, the others are read again one by one, so that
//! each has the result, and the error, of its own.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ringpool_storage::{PageRead, Result};

use crate::paged_file::PagedFile;
use crate::platform::{self, IoVec};

/// Pages in one read of the disk at most,
pub(crate) const RUN_PAGES: usize = 32;
/// and bytes: beyond that a disk gains little.
const RUN_BYTES: usize = 256 << 10;

/// One page that was asked for.
pub(crate) struct Request {
    pub(crate) file: Arc<PagedFile>,
    pub(crate) read: PageRead,
    pub(crate) offset_bytes: u64,
    /// How much of it is there.
    pub(crate) done_bytes: u32,
    pub(crate) tries: u32,
}

impl Request {
    /// A request for a page of `file`; a page that the file does not have fails at once.
    pub(crate) fn new(file: &Arc<PagedFile>, read: PageRead) -> Option<Self> {
        debug_assert_eq!(read.len_bytes(), file.page_size.bytes(), "one page a read");
        match file.offset_bytes(read.page()) {
            Ok(offset_bytes) => {
                let file = file.clone();
                Some(Self { file, read, offset_bytes, done_bytes: 0, tries: 0 })
            }
            Err(error) => {
                read.complete(Err(error));
                None
            }
        }
    }

    /// Ends the read. Returns whether its landing took it without a panic: one that panics keeps
    /// nobody else's reads from landing.
    pub(crate) fn complete(self, result: Result<()>) -> bool {
        let page = self.read.page();
        let landed = catch_unwind(AssertUnwindSafe(|| self.read.complete(result))).is_ok();
        if !landed {
            tracing::error!(file = %self.file.path, %page, "the landing of a read panicked");
        }
        landed
    }

    /// Where the rest of it goes, and how long it is.
    pub(crate) fn rest(&mut self) -> (*mut u8, u32) {
        let start = self.read.as_mut_ptr().wrapping_add(self.done_bytes as usize);
        (start, self.read.len_bytes() as u32 - self.done_bytes)
    }

    fn end_bytes(&self) -> u64 {
        self.offset_bytes + self.read.len_bytes() as u64
    }
}

/// Pages of one file that follow each other, at least two.
pub(crate) struct Run {
    requests: Vec<Request>,
    iovecs: Vec<IoVec>,
}

// SAFETY: the iovecs point to the memory of the requests, which are theirs alone and Send.
unsafe impl Send for Run {}

impl Run {
    /// Room for a run. Allocates; what it has allocated is used again.
    pub(crate) fn new() -> Self {
        let room = RUN_PAGES;
        Self { requests: Vec::with_capacity(room), iovecs: Vec::with_capacity(room) }
    }

    /// Whether `next` goes on where `last`, the end of a run of `pages` pages, stops.
    pub(crate) fn continues(last: &Request, next: &Request, pages: usize) -> bool {
        pages < RUN_PAGES
            && (pages + 1) * next.read.len_bytes() <= RUN_BYTES
            && Arc::ptr_eq(&last.file, &next.file)
            && last.end_bytes() == next.offset_bytes
            && last.read.is_unattended() == next.read.is_unattended()
            && (next.done_bytes, next.tries) == (0, 0)
    }

    pub(crate) fn push(&mut self, mut request: Request) {
        debug_assert!(self.last().is_none_or(|last| Self::continues(last, &request, self.len())));
        let (start, len_bytes) = request.rest();
        self.iovecs.push(IoVec { iov_base: start.cast(), iov_len: len_bytes as usize });
        self.requests.push(request);
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(crate) fn last(&self) -> Option<&Request> {
        self.requests.last()
    }

    pub(crate) fn file(&self) -> &Arc<PagedFile> {
        &self.requests[0].file
    }

    pub(crate) fn offset_bytes(&self) -> u64 {
        self.requests[0].offset_bytes
    }

    pub(crate) fn targets(&self) -> &[IoVec] {
        &self.iovecs
    }

    /// Reads all of it on the calling thread, with the result as a ring would give it.
    pub(crate) fn read_blocking(&mut self) -> i32 {
        let (file, offset_bytes) = (self.file(), self.offset_bytes());
        // SAFETY: the memory is of the run's own requests, which `self` lends meanwhile.
        unsafe { platform::read_run(file.as_file(), &self.iovecs, offset_bytes, file.flags()) }
    }

    /// Takes in the kernel's result: ends the pages that are whole, each by `land`, and keeps the
    /// others to be read one by one.
    pub(crate) fn settle(&mut self, result: i32, mut land: impl FnMut(Request)) {
        let page_bytes = self.requests[0].read.len_bytes();
        let whole = (result.max(0) as usize / page_bytes).min(self.len());
        self.iovecs.clear();
        self.requests.drain(..whole).for_each(&mut land);
        self.requests.iter_mut().for_each(|request| request.tries += 1);
        self.requests.reverse();
    }

    /// After [`settle`](Self::settle): the next page to be read by itself.
    pub(crate) fn pop_unsettled(&mut self) -> Option<Request> {
        self.requests.pop()
    }
}
