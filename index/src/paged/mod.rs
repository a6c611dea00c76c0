//! Walking through pages: graph, codes or both are read as the walk comes to them.
//!
//! The walk is the one of [`graph::walk`](crate::graph::walk): it looks at the same points in the
//! same order and finds the same candidates, bit by bit. What is read is another matter. While the
//! nearest candidate's neighbours are on their way, those of the next few are asked for as well,
//! and so are their codes: whatever has arrived is measured at once, out of order, and counted when
//! its turn comes, in order, as a processor does with instructions. So reads of one search overlap
//! without a barrier, nothing depends on which of them is faster, and what was read too much is
//! only what the walk would have turned away from.
//!
//! Nothing here waits: [`PagedWalk::step`] goes as far as the pages in memory lead.

mod among;
mod damage;
mod expansion;
mod measure;
mod memo;
mod node;
mod upper;
mod walk;

use std::path::Path;
use std::sync::Arc;

use ringpool_storage::PageSource;

use crate::layout::Records;
pub(crate) use expansion::Sources;
pub(crate) use measure::{ByCodes, ByRows, Measure, Resident};
pub(crate) use memo::Told;
pub(crate) use node::Node;
pub(crate) use upper::UpperCodes;
pub(crate) use walk::{PagedWalk, WIDTH};

/// Records that are read by page.
pub(crate) struct Paged {
    pub(crate) source: Arc<dyn PageSource>,
    pub(crate) records: Records,
    /// The vector that a record of the originals begins with; elsewhere all of the record.
    pub(crate) row_bytes: usize,
    /// The file, for errors.
    pub(crate) path: Arc<Path>,
}

impl Paged {
    /// The vector of a record.
    #[inline]
    pub(crate) fn row<'r>(&self, record: &'r [u8]) -> &'r [u8] {
        &record[..self.row_bytes]
    }
}
