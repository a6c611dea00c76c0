//! A vector index on pages: HNSW over codes in memory, originals left on disk.
//!
//! A *segment* is a directory. [`build`] makes it, whole or not at all; [`Segment::open`] reads
//! its graph and its codes once and keeps them as arrays; [`Segment::search`] walks the graph
//! scoring codes, and rescores the best candidates from the original vectors, whose pages it asks
//! for in batches from a [`PageSource`](ringpool_storage::PageSource). Which source stands
//! behind it (a buffer pool, a mapping, plain memory) changes the time that a search takes and
//! nothing else: ids and distances are the same, bit by bit.
//!
//! ```text
//!   query ─▶ upper layers ─▶ layer 0, ef candidates ─▶ shortlist ─▶ rescore ─▶ k hits
//!            codes in memory                           pages of the originals
//! ```
//!
//! ```
//! use std::sync::Arc;
//!
//! use ringpool_index::{BuildOptions, NoProgress, Placed, Scratch, SearchParams, Segment, Vectors};
//! use ringpool_storage::{Error, MemorySource};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let dir = folder.path().join("points");
//! let spiral = |i: usize| [(i as f32).cos(), (i as f32).sin(), i as f32 / 100.0];
//! let points = Vectors::from_f32(3, (0..1000).flat_map(spiral).collect())?;
//! ringpool_index::build(&points, &dir, &BuildOptions::default(), &NoProgress)?;
//!
//! // Each component from plain memory. A pool or a mapping is put here instead.
//! let segment = Segment::open(&dir, &mut |file| {
//!     let name = file.path.display().to_string();
//!     let read = std::fs::read(&file.path);
//!     let bytes = read.map_err(|source| Error::io(&name.clone().into(), "read", source))?;
//!     let source = MemorySource::new(name, file.page_size, bytes)?;
//!     Ok(Placed::Resident(Arc::new(source.verified(&file.checksums)?)))
//! })?;
//! let hits = segment.search(&spiral(500), &SearchParams::default(), &mut Scratch::default())?;
//! assert_eq!(hits[0].id, 500);
//! # Ok(())
//! # }
//! ```
//!
//! The graph is that of Malkov and Yashunin (arXiv 1603.09320), built in rounds so that the same
//! seed gives the same bytes at any number of threads. The bytes on disk are described in
//! `docs/format.md`.

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

// Rows go to the pages as they lie in memory, and offsets into files are usize.
#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("ringpool-index needs a little-endian 64-bit machine");

mod aligned;
mod attached;
mod batch;
mod begun;
#[doc(hidden)]
pub mod bench_seam;
mod build;
mod build_memory;
mod candidates;
mod codes;
mod codes_error;
mod columns;
mod compact;
mod component;
mod deletes;
mod distance;
mod element;
mod error;
mod exact;
mod filter;
mod graph;
mod ids;
mod isa;
mod kernels;
mod layout;
mod manifest;
mod metric;
mod opening;
mod options;
mod order;
mod originals;
mod packing;
mod paged;
mod passing;
mod patience;
mod patient_source;
mod platform;
mod points;
mod prefetch;
mod progress;
mod quantizer;
mod release;
mod rescore;
mod resident;
mod row_pages;
mod scan;
mod search;
mod searches;
mod segment;
mod selection;
mod step;
mod task;
mod tombstones;
mod vectors;
mod visited;
mod workers;
mod write;

#[cfg(test)]
mod tests;

pub use attached::{Attached, GivenIds};
pub use build::{BuildReport, build, build_with};
pub use build_memory::BuildMemory;
pub use codes_error::CodesError;
pub use columns::{
    Column, ColumnIndex, Columns, ColumnsError, Field, FieldType, MAX_FIELD_NAME_BYTES, MAX_FIELDS,
    MAX_KEYWORD_BYTES, MAX_TEXT_BYTES, Value, parse_timestamp, values_of, values_of_within,
};
pub use compact::{CompactReport, Compaction, compact};
pub use component::{ComponentFile, ComponentKind};
pub use deletes::{DeleteReport, live_points};
pub use element::Element;
pub use error::{
    BuildError, CompactError, DeleteError, ParseError, SearchError, SegmentError, VectorsError,
};
pub use exact::{ExactProgress, exact_search, exact_search_while};
pub use filter::{
    FieldRef, Filter, FilterError, FilterProblem, Literal, MAX_FILTER_BYTES, MAX_FILTER_DEPTH,
    MAX_FILTER_TESTS, MAX_FILTER_VALUES, field,
};
pub use ids::{IdSource, MAX_ID};
pub use isa::without_wide_vectors;
pub use manifest::{Component, FORMAT_VERSION, Manifest};
pub use metric::Metric;
pub use opening::{OPEN_BYTES, OPEN_BYTES_PER_BYTE};
pub use options::BuildOptions;
pub use order::Order;
pub use patience::Patience;
pub use points::{OpenSource, delete, delete_within};
pub use progress::{NoProgress, Phase, Progress};
pub use quantizer::Quantizer;
pub use release::{Feature, Release};
pub use search::{Hit, Rescore, Scratch, SearchParams};
pub use searches::{Answer, Query, Searches};
pub use segment::{Placed, Segment};
pub use selection::Selection;
pub use vectors::{MAX_DIM, MAX_POINTS, VectorValues, Vectors};

/// The README's example must run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
