//! What goes wrong when a segment is opened, searched or verified.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// What is to be in memory does not fit into it.
    #[error(
        "{wanted_bytes} bytes are to be in memory, {} more than the {memory_bytes} that there are: \
         {}; put some of it into the pool, or give more memory",
        .wanted_bytes - .memory_bytes,
        listed(.takes)
    )]
    DoesNotFit {
        /// What takes how much, in bytes, the largest first.
        takes: Vec<(String, u64)>,
        /// All of it, in bytes.
        wanted_bytes: u64,
        /// What there is, in bytes.
        memory_bytes: u64,
    },
    /// More of the pool is to be sure than it has.
    #[error(
        "floors of {floors_bytes} bytes are more than the {most_bytes} that can be sure of a pool \
         of {budget_bytes}: {}; lower them, or give the pool more memory",
        listed(.floors)
    )]
    FloorsBeyondBudget {
        /// Which component is to be sure of how much, in bytes.
        floors: Vec<(String, u64)>,
        /// All of them, in bytes.
        floors_bytes: u64,
        /// What can be sure, in bytes.
        most_bytes: u64,
        /// What the pool has, in bytes.
        budget_bytes: u64,
    },
    /// A component may take less of the pool than it is to be sure of, or than a page.
    #[error(
        "{component} may take {ceiling_bytes} bytes of the pool at most, and {least_bytes} at \
         least: raise its ceiling, or lower its floor"
    )]
    CeilingBelowFloor {
        /// What people call it.
        component: String,
        /// The most, in bytes.
        ceiling_bytes: u64,
        /// The least, in bytes.
        least_bytes: u64,
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
    /// A folder of segments that cannot be read.
    #[error("{}: cannot be read: {source}; it should be a folder with segments in it", .dir.display())]
    Folder {
        /// The folder.
        dir: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A folder with more segments than can be open at once.
    #[error("{}: more than {most} segments are in it: compact some into one", .dir.display())]
    TooManySegments {
        /// The folder.
        dir: PathBuf,
        /// The most.
        most: usize,
    },
    /// A segment that is to be opened a second time.
    #[error("{}: is open already among these segments", .dir.display())]
    OpenAlready {
        /// The segment.
        dir: PathBuf,
    },
    /// A segment that is to be closed and is not open.
    #[error("{}: is not open among these segments", .dir.display())]
    NotOpen {
        /// The segment.
        dir: PathBuf,
    },
    /// What was closed, and was not over by then.
    #[error(transparent)]
    Unfinished(#[from] Box<crate::Unfinished>),
    /// The caller has cancelled what it asked for.
    #[error("cancelled")]
    Cancelled,
}

/// Names and bytes in a line.
fn listed(takes: &[(String, u64)]) -> String {
    let named = takes.iter().map(|(name, bytes)| format!("{name} {bytes}"));
    named.collect::<Vec<_>>().join(", ")
}

/// What may be asked for: codes, or the originals.
fn choices(carried: &[Quantizer]) -> String {
    let names = carried.iter().chain([&Quantizer::None]).map(ToString::to_string);
    names.collect::<Vec<_>>().join(" or ")
}
