//! What segments that are opened together share: an engine, a budget, and one pool for all of
//! their components that are to be in one.

use std::path::Path;
use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolError, PoolFile, PoolOptions};
use ringpool_index::{Component, ComponentFile, ComponentKind, Manifest, Quantizer};
use ringpool_storage::{PageDevice, PageSize, PageSource};
use ringpool_uring::Engine;

use crate::{Backend, Error, Memory, OpenOptions, Place};

/// What the originals are read through, made of their backend.
pub(crate) type Through<'a> = &'a dyn Fn(Arc<dyn PageSource>) -> Arc<dyn PageSource>;

pub(crate) struct Together<'a> {
    pub(crate) options: &'a OpenOptions,
    pub(crate) through: Option<Through<'a>>,
    pub(crate) engine: Engine,
    /// Once there is something in it.
    pub(crate) pool: Option<Pool>,
    pub(crate) memory_budget_bytes: u64,
    /// What a pool for all that goes there needs at least.
    least_bytes: u64,
    /// Whether the pool is somebody else's.
    is_shared: bool,
}

/// How many pages of a segment are where.
#[derive(Clone, Copy, Default)]
struct Pages {
    pooled: u64,
    paged: u64,
    originals: u64,
}

impl<'a> Together<'a> {
    /// For the segments in `dirs`.
    pub(crate) fn new(
        dirs: &[&Path],
        options: &'a OpenOptions,
        shared: Option<&Pool>,
        through: Option<Through<'a>>,
    ) -> Result<Self, Error> {
        let mut together = Self {
            options,
            through,
            engine: Engine::start(options.engine)?,
            pool: shared.cloned(),
            memory_budget_bytes: 0,
            least_bytes: 0,
            is_shared: shared.is_some(),
        };
        let (mut pages, mut page_size) = (Pages::default(), PageSize::KIB_4);
        for dir in dirs {
            let manifest = Manifest::read(dir)?;
            page_size = manifest.page_size;
            together.count(&manifest, &mut pages)?;
        }
        // The budget is for what is in the pool; where nothing is, it says what one would have had.
        let Pages { pooled, paged, originals } = pages;
        let first = [pooled, paged, originals].into_iter().find(|&pages| pages > 0);
        let pages = first.unwrap_or(0);
        let paged_bytes = pages * page_size.bytes() as u64;
        together.least_bytes = Pool::minimum_bytes(page_size, pages);
        together.memory_budget_bytes = match (shared, options.memory) {
            (Some(pool), _) => pool.stats().memory_bytes,
            (None, Some(memory)) => memory.resolve(paged_bytes),
            (None, None) => Memory::default_for(paged_bytes).max(together.least_bytes),
        };
        Ok(together)
    }

    fn count(&self, manifest: &Manifest, pages: &mut Pages) -> Result<(), Error> {
        let codes = walked_by(self.options, manifest)?;
        for &Component { kind, pages: count, .. } in &manifest.components {
            let Some(place) = self.place_of(kind, codes) else { continue };
            pages.pooled += if place == Place::Pool { count } else { 0 };
            pages.paged += if place.is_paged() { count } else { 0 };
            pages.originals += if kind == ComponentKind::Vectors { count } else { 0 };
        }
        Ok(())
    }

    /// Where a component goes; nowhere if no search will walk by it.
    pub(crate) fn place_of(&self, kind: ComponentKind, walked_by: Quantizer) -> Option<Place> {
        let backend = if self.is_shared { Backend::Pool } else { self.options.backend };
        match kind {
            ComponentKind::Codes(codes) if codes != walked_by => None,
            kind => Some(self.options.place.of(kind, backend)),
        }
    }

    /// Puts a file into the pool.
    pub(crate) fn attach(
        &mut self,
        device: Arc<dyn PageDevice>,
        file: &ComponentFile,
    ) -> Result<Arc<PoolFile>, Error> {
        let pool = self.pool(file.page_size);
        let attached = pool.and_then(|pool| pool.attach(device, Some(file.checksums.clone())));
        attached.map(Arc::new).map_err(|error| self.too_little(error))
    }

    /// The pool that is shared, or else one for everything that is to be in one.
    fn pool(&mut self, page_size: PageSize) -> Result<Pool, PoolError> {
        if let Some(pool) = &self.pool {
            return Ok(pool.clone());
        }
        let memory_bytes = self.memory_budget_bytes;
        let pool = Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?;
        self.pool = Some(pool.clone());
        Ok(pool)
    }

    /// What the pool of one file lacks is said for all that are in it.
    fn too_little(&self, error: PoolError) -> Error {
        let is_small =
            matches!(error, PoolError::BelowMinimum { .. } | PoolError::TableTooLarge { .. });
        if self.is_shared || !is_small {
            return Error::Pool(error);
        }
        let (memory_bytes, minimum_bytes) = (self.memory_budget_bytes, self.least_bytes);
        Error::TooLittleMemory { memory_bytes, minimum_bytes }
    }
}

/// The codes to walk by: those that are asked for, or the first that there are.
pub(crate) fn walked_by(options: &OpenOptions, manifest: &Manifest) -> Result<Quantizer, Error> {
    let carried = &manifest.quantizers;
    let first = carried.first().copied().unwrap_or(Quantizer::None);
    match options.codes {
        Some(wanted) if wanted != Quantizer::None && !carried.contains(&wanted) => {
            Err(Error::NoSuchCodes { wanted, carried: carried.clone() })
        }
        asked => Ok(asked.unwrap_or(first)),
    }
}
