//! An open segment with its backend: where pool, engine, mapping and index meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolFile, PoolOptions};
use ringpool_compat_mmap::MmapSource;
use ringpool_index::{
    ComponentFile, ComponentKind, Hit, Placed, Quantizer, Scratch, SearchParams, Segment,
};
use ringpool_storage::{MemorySource, PageNo, PageSource};
use ringpool_uring::{DirectIo, Engine, OpenedFile, Rung};

use crate::unpooled::Unpooled;
use crate::warm::Pooled;
use crate::{Backend, BackendStats, Error, Memory, OpenOptions};

/// A segment that is open for searching. Any number of threads may search it.
pub struct Index {
    segment: Segment,
    paged_files: Vec<PathBuf>,
    memory_budget_bytes: u64,
    pool: Option<Pool>,
    pooled: Option<Pooled>,
    engine: Option<EngineReport>,
}

impl Index {
    /// Opens the segment in `dir`: graph and codes are loaded, the originals stay on disk behind
    /// the backend that `options` name.
    ///
    /// # Errors
    /// When the segment is damaged, a file cannot be read, or the budget is too small.
    pub fn open(dir: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        Self::open_with(dir.as_ref(), Opening::new(options, None)?, None)
    }

    /// Opens as [`open`](Self::open) does, and reads the originals through what `through` makes of
    /// their backend: to note, count or refuse what searches ask for.
    ///
    /// # Errors
    /// As those of `open`.
    pub fn open_through(
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        through: Through<'_>,
    ) -> Result<Self, Error> {
        Self::open_with(dir.as_ref(), Opening::new(options, None)?, Some(through))
    }

    /// Opens the segment in `dir` with its originals in `pool`, which may serve others meanwhile:
    /// all share its frames, and its budget. What each is to have at least, and at most, is set by
    /// [`originals`](Self::originals) and [`PoolFile::set_share`].
    ///
    /// Of `options`, backend and memory are not asked: the pool stands for both.
    ///
    /// # Errors
    /// As those of `open`; [`PoolError::Mismatch`](ringpool_bufferpool::PoolError::Mismatch) when
    /// the pool's pages have another size.
    pub fn open_in(
        pool: &Pool,
        dir: impl AsRef<Path>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        Self::open_with(dir.as_ref(), Opening::new(options, Some(pool))?, None)
    }

    fn open_with(
        dir: &Path,
        mut opening: Opening<'_>,
        through: Option<Through<'_>>,
    ) -> Result<Self, Error> {
        // What fails within a component's opener and is no storage error is told from here.
        let mut refused = None;
        let segment = Segment::open(dir, &mut |file| {
            opening.place(file, through).map_err(|error| match error {
                Error::Storage(error) => error,
                other => {
                    let path: Arc<str> = file.path.display().to_string().into();
                    let said = ringpool_storage::Error::not_pages(&path, other.to_string());
                    refused = Some(other);
                    said
                }
            })
        });
        if let Some(error) = refused {
            return Err(error);
        }
        let segment = segment?;
        opening.expect_codes(&segment)?;
        let Opening { paged_files, memory_budget_bytes, pool, pooled, reported, .. } = opening;
        Ok(Self { segment, paged_files, memory_budget_bytes, pool, pooled, engine: reported })
    }

    /// The segment, for searching with a scratch of one's own.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The points nearest to `query`. A thread that searches often keeps a [`Scratch`] and uses
    /// [`Segment::search`].
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page could not be had.
    pub fn search(&self, query: &[f32], params: &SearchParams) -> Result<Vec<Hit>, Error> {
        Ok(self.segment.search(query, params, &mut Scratch::default())?)
    }

    /// What the budget comes to, in bytes. The pool alone keeps it; for the others it says what a
    /// pool would have had.
    pub fn memory_budget_bytes(&self) -> u64 {
        self.memory_budget_bytes
    }

    /// The files that are read through the backend.
    pub fn paged_files(&self) -> &[PathBuf] {
        &self.paged_files
    }

    /// The pool, where that is the backend.
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// The originals as a file of the pool, where that is the backend: for its statistics, and for
    /// its share of the pool.
    pub fn originals(&self) -> Option<&PoolFile> {
        self.pooled.as_ref().map(|pooled| &*pooled.file)
    }

    pub(crate) fn pooled(&self) -> Option<&Pooled> {
        self.pooled.as_ref()
    }

    /// What the backend has done since the index was opened; a pool, also for others.
    pub fn stats(&self) -> BackendStats {
        let engine = self.engine.as_ref();
        let stats = self.pool.as_ref().map(Pool::stats);
        BackendStats {
            direct_io: engine.map(|engine| engine.direct),
            engine: engine.map(|engine| engine.name.clone()),
            rung: engine.map(|engine| engine.rung),
            engine_reason: engine.map(|engine| format!("{}: {}", engine.rung, engine.reason)),
            reads: stats.map(|stats| stats.reads),
            hits: stats.map(|stats| stats.hits),
            misses: stats.map(|stats| stats.misses),
            evictions: stats.map(|stats| stats.evictions),
        }
    }
}

/// What the originals are read through, made of their backend.
type Through<'a> = &'a dyn Fn(Arc<dyn PageSource>) -> Arc<dyn PageSource>;

/// How the originals are read.
#[derive(Clone)]
struct EngineReport {
    name: String,
    rung: Rung,
    reason: String,
    direct: bool,
}

/// Opens one component after another.
struct Opening<'a> {
    options: &'a OpenOptions,
    /// The pool that the originals are to be in, unless they get one of their own.
    shared: Option<&'a Pool>,
    engine: Engine,
    /// What searches are to walk by, once that is known.
    codes: Option<Quantizer>,
    paged_files: Vec<PathBuf>,
    memory_budget_bytes: u64,
    pool: Option<Pool>,
    pooled: Option<Pooled>,
    reported: Option<EngineReport>,
}

impl<'a> Opening<'a> {
    fn new(options: &'a OpenOptions, shared: Option<&'a Pool>) -> Result<Self, Error> {
        let engine = Engine::start(options.engine)?;
        Ok(Self {
            options,
            shared,
            engine,
            paged_files: Vec::new(),
            memory_budget_bytes: 0,
            pool: None,
            pooled: None,
            reported: None,
            codes: options.codes,
        })
    }

    /// Graph and the codes that are walked by are loaded once and kept by the segment; originals
    /// go through the backend.
    fn place(
        &mut self,
        file: &ComponentFile,
        through: Option<Through<'_>>,
    ) -> Result<Placed, Error> {
        match (file.kind, through) {
            (ComponentKind::Vectors, Some(through)) => {
                Ok(Placed::Paged(through(self.source(file)?)))
            }
            (ComponentKind::Vectors, None) if self.in_memory() => {
                self.note_paged(file);
                self.resident(file)
            }
            (ComponentKind::Vectors, None) => Ok(Placed::Paged(self.source(file)?)),
            (ComponentKind::Codes(codes), _) if !self.walks_by(codes) => Ok(Placed::Left),
            (ComponentKind::Codes(_) | ComponentKind::Graph | ComponentKind::Ids, _) => {
                self.resident(file)
            }
        }
    }

    fn in_memory(&self) -> bool {
        self.shared.is_none() && self.options.backend == Backend::Memory
    }

    fn resident(&self, file: &ComponentFile) -> Result<Placed, Error> {
        let opened = self.open(file)?;
        let source = Unpooled::new(opened, file.checksums.clone());
        Ok(Placed::Resident(Arc::new(source)))
    }

    /// Notes what the backend is for and what memory a pool would have for it.
    fn note_paged(&mut self, file: &ComponentFile) {
        self.paged_files.push(file.path.clone());
        self.memory_budget_bytes = match self.shared {
            Some(pool) => pool.stats().memory_bytes,
            None => budget_bytes(self.options.memory, file),
        };
    }

    /// Whether these are the codes that were asked for, or the first where nothing was said.
    fn walks_by(&mut self, quantizer: Quantizer) -> bool {
        quantizer == *self.codes.get_or_insert(quantizer)
    }

    fn expect_codes(&self, segment: &Segment) -> Result<(), Error> {
        match self.codes {
            Some(wanted) if wanted != segment.walked_by() => {
                let carried = segment.manifest().quantizers.clone();
                Err(Error::NoSuchCodes { wanted, carried })
            }
            _ => Ok(()),
        }
    }

    fn source(&mut self, file: &ComponentFile) -> Result<Arc<dyn PageSource>, Error> {
        self.note_paged(file);
        if let Some(pool) = self.shared {
            return self.pooled(file, pool.clone());
        }
        match self.options.backend {
            Backend::Pool => self.pooled(file, self.new_pool(file)?),
            Backend::Mmap => {
                let (path, checksums) = (&file.path, Some(file.checksums.clone()));
                let source = MmapSource::open(path, file.page_size, checksums, self.options.mmap)?;
                Ok(Arc::new(source))
            }
            Backend::Memory => {
                let opened = self.open(file)?;
                let source = Unpooled::new(opened, file.checksums.clone());
                Ok(Arc::new(in_memory(file, &source)?))
            }
        }
    }

    fn open(&self, file: &ComponentFile) -> Result<OpenedFile, Error> {
        Ok(self.engine.open(&file.path, file.page_size)?)
    }

    fn new_pool(&self, file: &ComponentFile) -> Result<Pool, Error> {
        let (memory_bytes, page_size) = (self.memory_budget_bytes, file.page_size);
        Ok(Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?)
    }

    fn pooled(&mut self, file: &ComponentFile, pool: Pool) -> Result<Arc<dyn PageSource>, Error> {
        let opened = self.open(file)?;
        let source = Arc::new(pool.attach(opened.device, Some(file.checksums.clone()))?);
        self.pool = Some(pool);
        self.pooled = Some(Pooled { file: source.clone(), key: file.checksums.key() });
        let direct = opened.direct_io == DirectIo::Yes;
        let (name, rung) = (opened.engine.to_string(), opened.rung);
        self.reported = Some(EngineReport { name, rung, reason: opened.reason, direct });
        Ok(source)
    }
}

/// What the budget for `file` comes to, in bytes.
fn budget_bytes(memory: Option<Memory>, file: &ComponentFile) -> u64 {
    let paged_bytes = file.pages * file.page_size.bytes() as u64;
    match memory {
        Some(memory) => memory.resolve(paged_bytes),
        None => {
            let least = Pool::minimum_bytes(file.page_size, file.pages);
            Memory::default_for(paged_bytes).max(least)
        }
    }
}

/// Loads all pages of `file` through `source`.
fn in_memory(file: &ComponentFile, source: &dyn PageSource) -> Result<MemorySource, Error> {
    const BATCH: u64 = 256;
    let page_bytes = file.page_size.bytes();
    let mut bytes = vec![0; file.pages as usize * page_bytes];
    for first in (0..file.pages).step_by(BATCH as usize) {
        let pages: Vec<PageNo> = (first..file.pages.min(first + BATCH)).map(PageNo).collect();
        source.visit(&pages, &mut |i, page| {
            let start = pages[i].0 as usize * page_bytes;
            bytes[start..start + page_bytes].copy_from_slice(page);
        })?;
    }
    Ok(MemorySource::new(file.path.display().to_string(), file.page_size, bytes)?)
}
