//! What mmap does for an index larger than memory, inside a byte budget that holds.
//!
//! Ringpool reads pages with O_DIRECT through io_uring into a buffer pool of fixed size, and puts
//! a vector index (HNSW over int8 codes) on it whose original vectors stay on disk. The same
//! segments can be read through a mapping instead, by changing one word: [`Backend::Mmap`].
//!
//! ```
//! use ringpool::{BuildOptions, Index, NoProgress, OpenOptions, SearchParams, Vectors};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let dir = temporary.path().join("points");
//! // A thousand points on a spiral, three dimensions each.
//! let spiral = |i: usize| [(i as f32).cos(), (i as f32).sin(), i as f32 / 100.0];
//! let points = Vectors::from_f32(3, (0..1000).flat_map(spiral).collect())?;
//! ringpool::build(&points, &dir, &BuildOptions::default(), &NoProgress)?;
//!
//! let options = OpenOptions { memory: Some("512KiB".parse()?), ..OpenOptions::default() };
//! let index = Index::open(&dir, &options)?;
//! for hit in index.search(&spiral(500), &SearchParams { k: 3, ..SearchParams::default() })? {
//!     println!("point {} at squared distance {}", hit.id, hit.distance);
//! }
//! println!("{:?}", index.stats());
//! # assert_eq!(index.search(&spiral(500), &SearchParams::default())?[0].id, 500);
//! # Ok(())
//! # }
//! ```
//!
//! This crate is the place where the others meet, and the only one that needs to be imported:
//!
//! | module | crate | owns |
//! |---|---|---|
//! | [`storage`] | ringpool-storage | pages, checksums, errors, the two seams and their tests |
//! | [`bufferpool`] | ringpool-bufferpool | frames, eviction, guards: usable under any file format |
//! | [`uring`] | ringpool-uring | direct reads through io_uring, or blocking ones |
//! | [`mmap`] | ringpool-compat-mmap | the same pages through a mapping |
//! | this one | ringpool-index | segments, graph, codes, search |

mod backend;
mod error;
mod index;
mod memory;
mod unpooled;
pub mod vectors;
mod verify;

pub use ringpool_bufferpool as bufferpool;
pub use ringpool_compat_mmap as mmap;
pub use ringpool_storage as storage;
pub use ringpool_uring as uring;

pub use backend::{Backend, BackendError, BackendStats, OpenOptions};
pub use error::Error;
pub use index::Index;
pub use memory::{Memory, MemoryError};
pub use ringpool_compat_mmap::{Advice, MmapOptions, Verify};
pub use ringpool_index::{
    BuildError, BuildOptions, BuildReport, Component, ComponentFile, ComponentKind, Element,
    FORMAT_VERSION, Hit, MAX_DIM, Manifest, Metric, NoProgress, ParseError, Phase, Progress,
    Quantizer, Scratch, SearchError, SearchParams, Segment, SegmentError, Vectors, VectorsError,
    build, exact_search,
};
pub use ringpool_uring::{EngineChoice, Rung};
pub use verify::verify;

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
