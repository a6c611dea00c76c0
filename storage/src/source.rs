//! The upper seam: what an index reads its pages from.

use std::time::Instant;

use crate::{Gather, PageNo, PageSize, Result};

/// The pages of one immutable file, to be looked at.
///
/// Implemented by the buffer pool, by the mapping and by plain memory, so that changing where an
/// index reads from is one word in the caller's code. A source hands out only bytes that match
/// their checksum (or, where it was told not to check, says so), and never the bytes of another
/// page.
pub trait PageSource: Send + Sync {
    /// The size of a page.
    fn page_size(&self) -> PageSize;

    /// How many pages the file has.
    fn page_count(&self) -> u64;

    /// Calls `each(i, bytes)` once for each `i`, where `bytes` is the page `pages[i]`: in the
    /// order in which pages are to be had, not in that of `pages`, so that the caller works on
    /// the first while the last is still being read. A page may be listed more than once.
    ///
    /// The batch may be larger than the memory behind the source. Ask for everything that is
    /// known to be needed at once: a batch is read side by side.
    ///
    /// # Errors
    /// The first failure. Some pages may have been handed over before it, and none is after.
    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()>;

    /// The same, but does not wait for pages longer than until `deadline`, where the source can
    /// leave what it waits for. One that cannot, as a mapping that faults, takes as long as `visit`.
    ///
    /// # Errors
    /// As those of `visit`, and [`Error::DeadlinePassed`](crate::Error::DeadlinePassed).
    fn visit_until(
        &self,
        pages: &[PageNo],
        deadline: Option<Instant>,
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<()> {
        let _ = deadline;
        self.visit(pages, each)
    }

    /// A way to ask for many batches at once, for one thread. `None` where a source has none of
    /// its own: each batch is then visited when it is asked for ([`AtOnce`](crate::AtOnce)).
    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        None
    }
}
