//! What mmap does for an index larger than memory, inside a byte budget that holds.
//!
//! Ringpool reads pages with O_DIRECT through io_uring into a buffer pool of fixed size, and puts
//! a vector index (HNSW over quantized codes) on it whose original vectors stay on disk. The same
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
//! # The pool alone, under a file format of your own
//!
//! What the pool asks of a format is that the file is a whole number of pages and that nobody
//! writes to it any more. Here page 0 holds the number of records, and each record has a page of
//! its own. The same pages are had in four ways: held, as a batch, looked at, and awaited.
//!
//! ```
//! use ringpool::EngineChoice;
//! use ringpool::bufferpool::{Pool, PoolOptions, Reading};
//! use ringpool::storage::{Checksums, FileKey, PageNo, PageSize, PageSource};
//! use ringpool::uring::Engine;
//!
//! const PAGE: PageSize = PageSize::KIB_4;
//! /// Keys the checksums: a page of another file does not pass for one of ours.
//! const KEY: FileKey = FileKey(0x7371_7561_7265_7331);
//!
//! fn number(page: &[u8]) -> u64 {
//!     page.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let temporary = tempfile::tempdir()?;
//! # let path = temporary.path().join("squares");
//! // The file: 1,000 records, and their checksums, which a format keeps where it likes.
//! let mut bytes = vec![0; 1001 * PAGE.bytes()];
//! for (page, place) in (0_u64..).zip(bytes.chunks_mut(PAGE.bytes())) {
//!     let number = if page == 0 { 1000 } else { page * page };
//!     place[..8].copy_from_slice(&number.to_le_bytes());
//! }
//! let checksums = Checksums::of_pages(KEY, PAGE, &bytes);
//! std::fs::write(&path, &bytes)?;
//!
//! // A ring where the kernel allows one, else blocking reads; and a pool for a quarter of it.
//! let engine = Engine::start(EngineChoice::Auto)?;
//! let pool = Pool::new(&PoolOptions { memory_bytes: 1 << 20, ..PoolOptions::default() })?;
//! let file = pool.attach(engine.open(&path, PAGE)?.device, Some(checksums))?;
//!
//! // Held: the page stays in memory as long as its guard, or the `Bytes` made of it.
//! let header = file.pin(PageNo(0))?;
//! assert_eq!(number(&header), 1000);
//! let header: bytes::Bytes = header.into_bytes();
//!
//! // A batch, read side by side, in order of arrival. Numbers from a file are compared with it.
//! let records = number(&header).min(file.page_count() - 1);
//! let all: Vec<PageNo> = (1..=records).map(PageNo).collect();
//! let mut sum = 0;
//! file.visit(&all, &mut |_, page| sum += number(page))?;
//! assert_eq!(sum, 333_833_500);
//!
//! // Looked at, if it is in memory, for the price of a load.
//! let mut reader = pool.reader()?;
//! let stay = reader.enter();
//! if let Some(page) = stay.get(&file, PageNo(1000)) {
//!     assert_eq!(number(page), 1_000_000);
//! }
//! drop(stay);
//!
//! // Awaited, on whatever runtime there is.
//! let runtime = tokio::runtime::Builder::new_current_thread().build()?;
//! let sum = runtime.block_on(async {
//!     let mut arrivals = file.fetch_many(&[PageNo(3), PageNo(4)], &Reading::default());
//!     let mut sum = 0;
//!     while let Some((_, page)) = arrivals.next().await {
//!         sum += number(&page?);
//!     }
//!     Ok::<u64, ringpool::storage::Error>(sum)
//! })?;
//! assert_eq!(sum, 9 + 16);
//! # Ok(())
//! # }
//! ```
//!
//! A longer one, with an index page, searches by time and a damaged page, is in
//! `examples/own_format.rs`.
//!
//! # Modules
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

// A library says what it has to say by tracing and by errors, and asks nobody but its caller.
#![cfg_attr(
    not(test),
    deny(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)
)]

mod backend;
mod chosen;
mod closing;
mod collection;
pub mod columns;
pub mod config;
mod error;
mod index;
mod indexes;
mod memory;
mod moving;
mod opening;
mod parts;
mod place;
mod placement;
mod plan;
mod platform;
mod rewrite;
mod shares;
mod together;
mod unpooled;
pub mod vectors;
mod verify;
mod warm;

pub use ringpool_bufferpool as bufferpool;
pub use ringpool_compat_mmap as mmap;
pub use ringpool_storage as storage;
pub use ringpool_uring as uring;

pub use backend::{Backend, BackendError, BackendStats, OpenOptions};
pub use chosen::PlaceOf;
pub use closing::{Unfinished, Unsaved};
pub use collection::{Refreshed, segments_in};
pub use error::Error;
pub use index::Index;
pub use indexes::{Indexes, Snapshot};
pub use memory::{Memory, MemoryError};
pub use parts::{ByPart, Part, Said};
pub use place::{Place, Portion};
pub use placement::{Placement, PlacementError, Profile};
pub use plan::{Plan, Planned};
pub use rewrite::{Compaction, delete, delete_within};
pub use ringpool_compat_mmap::{Advice, MmapOptions, Verify};
#[doc(hidden)]
pub use ringpool_index::bench_seam;
pub use ringpool_index::{
    Answer, Attached, BuildError, BuildMemory, BuildOptions, BuildReport, CodesError, Column,
    ColumnIndex, Columns, ColumnsError, CompactError, CompactReport, Component, ComponentFile,
    ComponentKind, DeleteError, DeleteReport, Element, ExactProgress, FORMAT_VERSION, Feature,
    Field, FieldRef, FieldType, Filter, FilterError, FilterProblem, GivenIds, Hit, IdSource,
    Literal, MAX_DIM, MAX_FIELD_NAME_BYTES, MAX_FIELDS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH,
    MAX_FILTER_TESTS, MAX_FILTER_VALUES, MAX_ID, MAX_KEYWORD_BYTES, MAX_POINTS, MAX_TEXT_BYTES,
    Manifest, Metric, NoProgress, OPEN_BYTES, OPEN_BYTES_PER_BYTE, Order, ParseError, Patience,
    Phase, Placed, Progress, Quantizer, Query, Release, Rescore, Scratch, SearchError,
    SearchParams, Searches, Segment, SegmentError, Selection, Value, Vectors, VectorsError, build,
    build_with, exact_search, exact_search_while, field, live_points, parse_timestamp, values_of,
    values_of_within, without_wide_vectors,
};
pub use ringpool_uring::{EngineChoice, Rung};
pub use together::Through;
pub use verify::verify;
pub use warm::{Warm, WarmUp};

/// The README's example must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// So must those on the statistics.
#[cfg(doctest)]
#[doc = include_str!("../docs/statistics.md")]
mod statistics {}
