//! Opening an index: each component put where it is placed, and one pool made for all that go
//! there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolError, PoolOptions};
use ringpool_compat_mmap::MmapSource;
use ringpool_index::{Component, ComponentFile, ComponentKind, Manifest, Placed, Quantizer};
use ringpool_storage::{MemorySource, PageNo, PageSize, PageSource};
use ringpool_uring::{DirectIo, Engine, OpenedFile, Rung};

use crate::unpooled::Unpooled;
use crate::warm::Pooled;
use crate::{Backend, Error, Memory, OpenOptions, Place, Placement};

/// What the originals are read through, made of their backend.
pub(crate) type Through<'a> = &'a dyn Fn(Arc<dyn PageSource>) -> Arc<dyn PageSource>;

/// Opens one component after another.
pub(crate) struct Opening<'a> {
    options: &'a OpenOptions,
    through: Option<Through<'a>>,
    engine: Engine,
    /// What searches are to walk by.
    codes: Quantizer,
    /// What a pool for all that goes there needs at least.
    least_bytes: u64,
    mapped: Vec<Arc<MmapSource>>,
    /// Whether the pool is somebody else's.
    is_shared: bool,
    opened: Opened,
}

/// What an open index keeps beside its segment.
#[derive(Default)]
pub(crate) struct Opened {
    pub(crate) paged_files: Vec<PathBuf>,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) pool: Option<Pool>,
    pub(crate) pooled: Vec<Pooled>,
    /// What is read straight from the disk.
    pub(crate) unpooled: Vec<Arc<Unpooled>>,
    pub(crate) engine: Option<EngineReport>,
}

/// How pages are read.
#[derive(Clone)]
pub(crate) struct EngineReport {
    pub(crate) name: String,
    pub(crate) rung: Rung,
    pub(crate) reason: String,
    pub(crate) direct: bool,
}

impl<'a> Opening<'a> {
    pub(crate) fn new(
        dir: &Path,
        options: &'a OpenOptions,
        shared: Option<&Pool>,
        through: Option<Through<'a>>,
    ) -> Result<Self, Error> {
        let manifest = Manifest::read(dir)?;
        let mut opening = Self {
            options,
            through,
            engine: Engine::start(options.engine)?,
            codes: walked_by(options, &manifest)?,
            least_bytes: 0,
            mapped: Vec::new(),
            is_shared: shared.is_some(),
            opened: Opened { pool: shared.cloned(), ..Opened::default() },
        };
        let bytes_where = |is_there: &dyn Fn(&Component) -> bool| {
            let those = manifest.components.iter().filter(|component| is_there(component));
            those.map(|component| component.pages).sum::<u64>() * manifest.page_size.bytes() as u64
        };
        let place = |component: &Component| opening.place_of(component.kind);
        let in_pool = bytes_where(&|one| place(one) == Some(Place::Pool));
        let paged = bytes_where(&|one| place(one).is_some_and(Place::is_paged));
        let originals = bytes_where(&|one| one.kind == ComponentKind::Vectors);
        let first = [in_pool, paged, originals].into_iter().find(|&bytes| bytes > 0);
        let paged_bytes = first.unwrap_or(0);
        let pages = paged_bytes / manifest.page_size.bytes() as u64;
        opening.least_bytes = Pool::minimum_bytes(manifest.page_size, pages);
        opening.opened.memory_budget_bytes = match (shared, options.memory) {
            (Some(pool), _) => pool.stats().memory_bytes,
            (None, Some(memory)) => memory.resolve(paged_bytes),
            (None, None) => Memory::default_for(paged_bytes).max(opening.least_bytes),
        };
        Ok(opening)
    }

    /// Where a component goes; nowhere if no search will walk by it.
    fn place_of(&self, kind: ComponentKind) -> Option<Place> {
        let backend = if self.is_shared { Backend::Pool } else { self.options.backend };
        match kind {
            ComponentKind::Codes(codes) if codes != self.codes => None,
            kind => Some(self.options.place.of(kind, backend)),
        }
    }

    /// Where everything goes.
    pub(crate) fn placement(&self) -> Placement {
        Placement {
            graph: self.place_of(ComponentKind::Graph),
            codes: match self.codes {
                Quantizer::None => None,
                codes => self.place_of(ComponentKind::Codes(codes)),
            },
            vectors: self.place_of(ComponentKind::Vectors),
        }
    }

    pub(crate) fn place(&mut self, file: &ComponentFile) -> Result<Placed, Error> {
        let Some(place) = self.place_of(file.kind) else { return Ok(Placed::Left) };
        let are_originals = file.kind == ComponentKind::Vectors;
        if are_originals || !matches!(place, Place::Resident | Place::Inlined) {
            self.opened.paged_files.push(file.path.clone());
        }
        let source: Arc<dyn PageSource> = match place {
            Place::Resident | Place::Inlined => {
                let source = Arc::new(self.unpooled(file)?);
                match (self.through, place) {
                    // What is loaded is not asked for by page.
                    (Some(_), _) if are_originals => Arc::new(in_memory(file, &*source)?),
                    (_, Place::Inlined) => return Ok(Placed::Inlined(source)),
                    _ => return Ok(Placed::Resident(source)),
                }
            }
            Place::Pool => self.pooled(file)?,
            Place::Mmap => {
                let (path, checksums) = (&file.path, Some(file.checksums.clone()));
                let source = MmapSource::open(path, file.page_size, checksums, self.options.mmap)?;
                let source = Arc::new(source);
                self.mapped.push(source.clone());
                source
            }
            Place::Direct => {
                let source = Arc::new(self.unpooled(file)?);
                self.report(source.opened());
                self.opened.unpooled.push(source.clone());
                source
            }
        };
        Ok(Placed::Paged(match self.through.filter(|_| are_originals) {
            Some(through) => through(source),
            None => source,
        }))
    }

    /// What an open segment keeps, once all components were placed and the segment has loaded what
    /// it keeps of those that are paged: a mapping holds nothing of that any more.
    pub(crate) fn end(self) -> Result<Opened, Error> {
        self.mapped.iter().try_for_each(|source| source.let_go())?;
        Ok(self.opened)
    }

    fn unpooled(&self, file: &ComponentFile) -> Result<Unpooled, Error> {
        let opened = self.engine.open(&file.path, file.page_size)?;
        Ok(Unpooled::new(opened, file.checksums.clone()))
    }

    fn pooled(&mut self, file: &ComponentFile) -> Result<Arc<dyn PageSource>, Error> {
        let opened = self.engine.open(&file.path, file.page_size)?;
        self.report(&opened);
        let (kind, key) = (file.kind, file.checksums.key());
        let attached = self.pool(file.page_size).and_then(|pool| {
            Ok(Arc::new(pool.attach(opened.device, Some(file.checksums.clone()))?))
        });
        let file = attached.map_err(|error| self.too_little(error))?;
        self.opened.pooled.push(Pooled { kind, file: file.clone(), key });
        Ok(file)
    }

    /// The pool that is shared, or else one for everything that is to be in one.
    fn pool(&mut self, page_size: PageSize) -> Result<Pool, PoolError> {
        if let Some(pool) = &self.opened.pool {
            return Ok(pool.clone());
        }
        let memory_bytes = self.opened.memory_budget_bytes;
        let pool = Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?;
        self.opened.pool = Some(pool.clone());
        Ok(pool)
    }

    /// What the pool of one file lacks is said for all that are in it.
    fn too_little(&self, error: PoolError) -> Error {
        let is_small =
            matches!(error, PoolError::BelowMinimum { .. } | PoolError::TableTooLarge { .. });
        if self.is_shared || !is_small {
            return Error::Pool(error);
        }
        let (memory_bytes, minimum_bytes) = (self.opened.memory_budget_bytes, self.least_bytes);
        Error::TooLittleMemory { memory_bytes, minimum_bytes }
    }

    fn report(&mut self, opened: &OpenedFile) {
        let direct = opened.direct_io == DirectIo::Yes;
        let (name, reason) = (opened.engine.to_string(), opened.reason.clone());
        self.opened.engine = Some(EngineReport { name, rung: opened.rung, reason, direct });
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

/// The codes to walk by: those that are asked for, or the first that there are.
fn walked_by(options: &OpenOptions, manifest: &Manifest) -> Result<Quantizer, Error> {
    let carried = &manifest.quantizers;
    let first = carried.first().copied().unwrap_or(Quantizer::None);
    match options.codes {
        Some(wanted) if wanted != Quantizer::None && !carried.contains(&wanted) => {
            Err(Error::NoSuchCodes { wanted, carried: carried.clone() })
        }
        asked => Ok(asked.unwrap_or(first)),
    }
}
