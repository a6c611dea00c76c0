//! Who takes part: ways to read a file of pages, one file each, behind one trait.
//!
//! Each opens a file and yields a [`PageSource`], through which an index reads its originals, too, so
//! that experiments on pages and on searches have the same contestants. Each is written as those
//! would who prefer it, and `manner` says how. Where a [`Subject`] has checksums, all of them check
//! what they hand over: the mappings a page when it is first touched, all others after each read.
//! Without, none does.

mod aligned;
mod batch_ring;
mod buffered_ring;
mod direct_ring;
mod mmap_normal;
mod mmap_populate;
mod mmap_random;
mod mmap_sequential;
mod mmap_willneed;
mod own_ring;
pub mod paged_file;
mod pool_blocking;
mod pool_ring;
mod pread_threads;

use std::path::PathBuf;
use std::sync::Arc;

use ringpool::storage::{Checksums, PageSize, PageSource};
use ringpool::{Advice, MmapOptions, Verify, mmap::MmapSource};
use ringpool_cli::failure::Failure;

/// The file that is read, and what may be known of it.
#[derive(Clone)]
pub struct Subject {
    pub path: PathBuf,
    pub page_size: PageSize,
    /// Whether pages are checked: by all, or by none.
    pub checksums: Option<Checksums>,
    /// What a contestant with a cache of its own may spend on pages. The others have the kernel's
    /// cache, which the cgroup limits.
    pub memory_bytes: u64,
    pub access: Access,
}

/// What is known of the reads to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Any page may be next.
    #[default]
    Random,
    /// From one end to the other, each page once.
    Sequential,
}

/// A way to read.
pub trait Contestant: Sync {
    /// Its word on the command line and in tables.
    fn name(&self) -> &'static str;

    /// How the file is opened and read, in a sentence for the report.
    fn manner(&self) -> &'static str;

    /// Opens the file.
    fn open(&self, subject: &Subject) -> Result<Arc<dyn PageSource>, Failure>;

    /// Whether what was read once may be in memory the next time.
    fn caches(&self) -> bool {
        true
    }
}

/// All of them; the plain mapping first, which ratios are to.
pub const ALL: [&dyn Contestant; 11] = [
    &mmap_random::MmapRandom,
    &mmap_normal::MmapNormal,
    &mmap_willneed::MmapWillNeed,
    &mmap_sequential::MmapSequential,
    &mmap_populate::MmapPopulate,
    &pool_ring::PoolRing,
    &pool_blocking::PoolBlocking,
    &direct_ring::DirectRing,
    &buffered_ring::BufferedRing,
    &batch_ring::BatchRing,
    &pread_threads::PreadThreads,
];

/// The contestant of that name.
pub fn named(name: &str) -> Result<&'static dyn Contestant, Failure> {
    ALL.into_iter().find(|one| one.name() == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|one| one.name()).collect();
        Failure::Usage(format!("there is no contestant {name:?}: use {}", names.join(", ")))
    })
}

/// The library's mapping with this advice.
fn mapped(subject: &Subject, advice: Advice) -> Result<MmapSource, Failure> {
    let options = MmapOptions { advice, verify: Verify::FirstTouch };
    let Subject { path, page_size, checksums, .. } = subject;
    let opened = MmapSource::open(path, *page_size, checksums.clone(), options);
    opened.map_err(|error| Failure::of(&error))
}
