//! What was asked for and has not landed: a page, or pages of a file that follow each other.
//!
//! Pages that were asked for one after the other and lie one after the other in the file become
//! one read of the disk, scattered into the memory of each. A small gap between two of them is read
//! as well and thrown away: most disks take longer for one more read than for a few more bytes.
//! A [`Run`] that does not end well is taken apart: the pages that arrived whole land, the others
//! are read again one by one, so that each has the result, and the error, of its own, and a bad
//! sector in a gap hurts nobody.

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
/// and bytes between its pages that nobody asked for: with twice as much a disk of 70 thousand reads
/// a second gained nothing more. Each run that is in flight holds so much memory for them.
const GAP_BYTES: usize = 4 << 10;
/// The pieces of memory that it is scattered into, when the gaps are of the smallest pages.
const RUN_PIECES: usize = RUN_PAGES + GAP_BYTES / 512;

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

    /// What lies between this page and `next`, if that comes behind it.
    fn gap_bytes(&self, next: &Self) -> Option<usize> {
        next.offset_bytes.checked_sub(self.end_bytes()).map(|bytes| bytes as usize)
    }
}

/// Pages of one file that follow each other, at least two, but for small gaps.
pub(crate) struct Run {
    requests: Vec<Request>,
    iovecs: Vec<IoVec>,
    /// Its spare capacity is where the bytes of gaps go. It is this read's alone: a file system
    /// with checksums looks at what came in once more, in memory, where no other read may have
    /// written meanwhile.
    sink: Vec<Block>,
    bridged_bytes: usize,
}

/// Aligned as direct reads want it.
#[repr(align(4096))]
struct Block(#[allow(dead_code)] [u8; GAP_BYTES]);

// SAFETY: the iovecs point to the memory of the requests, which are theirs alone and Send, and to
// that of the sink, which nobody reads and which stays where it is when the run is moved.
unsafe impl Send for Run {}

impl Run {
    /// Room for a run. Allocates; what it has allocated is used again.
    pub(crate) fn new() -> Self {
        Self {
            requests: Vec::with_capacity(RUN_PAGES),
            iovecs: Vec::with_capacity(RUN_PIECES),
            sink: Vec::new(),
            bridged_bytes: 0,
        }
    }

    /// Whether `next` may be one read of the disk with `last`.
    pub(crate) fn continues(last: &Request, next: &Request) -> bool {
        last.gap_bytes(next).is_some_and(|bytes| bytes <= GAP_BYTES)
            && Arc::ptr_eq(&last.file, &next.file)
            && last.read.is_unattended() == next.read.is_unattended()
            && (next.done_bytes, next.tries) == (0, 0)
    }

    /// Whether `next` goes on where the run stops, and there is room for it.
    pub(crate) fn takes(&self, next: &Request) -> bool {
        self.requests.last().is_some_and(|last| {
            Self::continues(last, next)
                && self.len() < RUN_PAGES
                && next.end_bytes() - self.offset_bytes() <= RUN_BYTES as u64
                && next.offset_bytes - last.end_bytes() <= (GAP_BYTES - self.bridged_bytes) as u64
        })
    }

    pub(crate) fn push(&mut self, mut request: Request) {
        debug_assert!(self.requests.is_empty() || self.takes(&request));
        let gap_bytes = self.requests.last().and_then(|last| last.gap_bytes(&request));
        self.bridge(gap_bytes.unwrap_or(0));
        let (start, len_bytes) = request.rest();
        self.iovecs.push(IoVec { iov_base: start.cast(), iov_len: len_bytes as usize });
        self.requests.push(request);
    }

    /// Lets the next bytes of the file go to waste.
    fn bridge(&mut self, gap_bytes: usize) {
        if gap_bytes == 0 {
            return;
        }
        self.sink.reserve_exact(1);
        debug_assert!(self.bridged_bytes + gap_bytes <= GAP_BYTES, "room in the sink");
        let start = self.sink.as_mut_ptr().cast::<u8>().wrapping_add(self.bridged_bytes);
        self.iovecs.push(IoVec { iov_base: start.cast(), iov_len: gap_bytes });
        self.bridged_bytes += gap_bytes;
    }

    /// Bytes of gaps.
    pub(crate) fn bridged_bytes(&self) -> usize {
        self.bridged_bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.requests.len()
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
        // SAFETY: the memory is of the run's own requests and sink, which `self` lends meanwhile.
        unsafe { platform::read_run(file.as_file(), &self.iovecs, offset_bytes, file.flags()) }
    }

    /// Takes in the kernel's result: ends the pages that are whole, each by `land`, and keeps the
    /// others to be read one by one.
    pub(crate) fn settle(&mut self, result: i32, mut land: impl FnMut(Request)) {
        let end_bytes = self.offset_bytes() + result.max(0) as u64;
        let is_whole = |request: &&Request| request.end_bytes() <= end_bytes;
        let whole = self.requests.iter().take_while(is_whole).count();
        self.iovecs.clear();
        self.bridged_bytes = 0;
        self.requests.drain(..whole).for_each(&mut land);
        self.requests.iter_mut().for_each(|request| request.tries += 1);
        self.requests.reverse();
    }

    /// After [`settle`](Self::settle): the next page to be read by itself.
    pub(crate) fn pop_unsettled(&mut self) -> Option<Request> {
        self.requests.pop()
    }
}
