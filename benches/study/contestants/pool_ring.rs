//! The pool over the ring, as the library opens it: direct reads into frames, and a scan says that it
//! is one.

use std::sync::Arc;

use ringpool::EngineChoice;
use ringpool::bufferpool::{Hint, Pool, PoolFile, PoolOptions, Reading};
use ringpool::storage::{Gather, PageNo, PageSize, PageSource, Result};
use ringpool::uring::Engine;
use ringpool_cli::failure::Failure;

use super::{Access, Contestant, Subject};

pub struct PoolRing;

/// A file of a pool that is read from one end to the other.
struct Scanned(PoolFile);

impl Contestant for PoolRing {
    fn name(&self) -> &'static str {
        "pool-ring"
    }

    fn manner(&self) -> &'static str {
        "the pool over io_uring with O_DIRECT, defaults; scans with ScanOnce, a batch read ahead"
    }

    fn open(&self, subject: &Subject) -> std::result::Result<Arc<dyn PageSource>, Failure> {
        pooled(subject, EngineChoice::Uring)
    }
}

/// The file in a pool of its own. An engine that is refused is a failure, not another engine.
pub fn pooled(
    subject: &Subject,
    engine: EngineChoice,
) -> std::result::Result<Arc<dyn PageSource>, Failure> {
    let Subject { path, page_size, checksums, memory_bytes, access } = subject;
    let engine = Engine::start(engine).map_err(|error| Failure::of(&error))?;
    let options = PoolOptions {
        memory_bytes: *memory_bytes,
        page_size: *page_size,
        ..PoolOptions::default()
    };
    let pool = Pool::new(&options).map_err(|error| Failure::of(&error))?;
    let device = engine.open(path, *page_size).map_err(|error| Failure::of(&error))?.device;
    let file = pool.attach(device, checksums.clone()).map_err(|error| Failure::of(&error))?;
    Ok(match access {
        Access::Random => Arc::new(file),
        Access::Sequential => Arc::new(Scanned(file)),
    })
}

impl PageSource for Scanned {
    fn page_size(&self) -> PageSize {
        self.0.page_size()
    }

    fn page_count(&self) -> u64 {
        self.0.page_count()
    }

    /// Reads ahead as far again as it reads, as the kernel does for a mapping.
    fn visit(&self, pages: &[PageNo], each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let scan = Reading::default().hint(Hint::ScanOnce);
        if let Some(last) = pages.last().filter(|last| last.0 < self.page_count()) {
            let end = self.page_count().min(last.0 + 1 + pages.len() as u64);
            let ahead: Vec<PageNo> = (last.0 + 1..end).map(PageNo).collect();
            self.0.prefetch(&ahead, &scan);
        }
        self.0.visit_with(pages, &scan, each)
    }

    fn gather(&self) -> Option<Box<dyn Gather + '_>> {
        Some(self.0.gather_with(Hint::ScanOnce))
    }
}
