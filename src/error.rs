//! What goes wrong when a segment is opened, searched or verified.

use ringpool_bufferpool::{HotSetError, PoolError};
use ringpool_index::{CompactError, DeleteError, Quantizer, SearchError, SegmentError};

/// An error of one of the parts, in its own words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The segment, or one of its files, is not what it should be.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The segment carries other codes.
    #[error("the segment carries no {wanted} codes: use {}", choices(.carried))]
    NoSuchCodes {
        /// The codes asked for.
        wanted: Quantizer,
        /// Those that there are.
        carried: Vec<Quantizer>,
    },
    /// The budget does not hold the fewest frames of a pool and the page tables of all that is in
    /// it.
    #[error(
        "a budget of {memory_bytes} bytes is below the minimum for what is in the pool: \
         {minimum_bytes} bytes; give it more memory, or put less there"
    )]
    TooLittleMemory {
        /// The budget given, in bytes.
        memory_bytes: u64,
        /// One that does, in bytes.
        minimum_bytes: u64,
    },
    /// The budget does not do.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// A hot set that cannot be saved, or is not this segment's.
    #[error(transparent)]
    HotSet(#[from] HotSetError),
    /// A query that is no use, or a page that could not be had.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Points that could not be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// Segments that could not be made one.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// A page or a file that could not be had.
    #[error(transparent)]
    Storage(#[from] ringpool_storage::Error),
    /// The caller has cancelled what it asked for.
    #[error("cancelled")]
    Cancelled,
}

/// What may be asked for: codes, or the originals.
fn choices(carried: &[Quantizer]) -> String {
    let names = carried.iter().chain([&Quantizer::None]).map(ToString::to_string);
    names.collect::<Vec<_>>().join(" or ")
}
