//! What segments that are opened together share for as long as one of them is open: an engine, a
//! budget, and one pool for all of their components that are in one.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use ringpool_bufferpool::{Pool, PoolError, PoolFile, PoolOptions};
use ringpool_index::{Component, ComponentFile, ComponentKind, Manifest, Quantizer};
use ringpool_storage::{PageDevice, PageSize, PageSource};
use ringpool_uring::Engine;

use crate::warm::Pooled;
use crate::{Backend, Error, Memory, OpenOptions, Place, shares};

/// What the originals are read through, made of their backend.
pub type Through = Arc<dyn Fn(Arc<dyn PageSource>) -> Arc<dyn PageSource> + Send + Sync>;

pub(crate) struct Together {
    pub(crate) options: OpenOptions,
    pub(crate) through: Option<Through>,
    pub(crate) engine: Engine,
    /// Once there is something in it.
    pool: Mutex<Option<Pool>>,
    /// What is in the pool now; what searches still read that began before a change is not.
    pooled: Mutex<Vec<Weak<Pooled>>>,
    pub(crate) memory_budget_bytes: u64,
    /// What a pool for all that goes there needs at least.
    least_bytes: u64,
    /// Whether the pool is somebody else's.
    is_shared: bool,
    /// Pages that were read straight from the disk by searches.
    pub(crate) direct_reads: Arc<AtomicU64>,
    /// Whoever changes what is open has this.
    changing: Mutex<()>,
}

/// How many pages of a segment are where.
#[derive(Clone, Copy, Default)]
struct Pages {
    pooled: u64,
    paged: u64,
    originals: u64,
}

impl Together {
    /// For the segments in `dirs`, and for those that come later.
    pub(crate) fn new(
        dirs: &[&Path],
        options: &OpenOptions,
        shared: Option<&Pool>,
        through: Option<Through>,
    ) -> Result<Arc<Self>, Error> {
        let mut together = Self {
            options: *options,
            through,
            engine: Engine::start(options.engine)?,
            pool: Mutex::new(shared.cloned()),
            pooled: Mutex::default(),
            memory_budget_bytes: 0,
            least_bytes: 0,
            is_shared: shared.is_some(),
            direct_reads: Arc::default(),
            changing: Mutex::default(),
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
        Ok(Arc::new(together))
    }

    fn count(&self, manifest: &Manifest, pages: &mut Pages) -> Result<(), Error> {
        let codes = walked_by(&self.options, manifest)?;
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

    /// Held by whoever changes what is open, so that changes come one after the other.
    pub(crate) fn change(&self) -> MutexGuard<'_, ()> {
        locked(&self.changing)
    }

    /// The pool, where something is or was in one.
    pub(crate) fn pool(&self) -> Option<Pool> {
        locked(&self.pool).clone()
    }

    /// Puts a file into the pool.
    pub(crate) fn attach(
        &self,
        device: Arc<dyn PageDevice>,
        file: &ComponentFile,
    ) -> Result<Arc<Pooled>, Error> {
        let pool = self.pool_of(file.page_size);
        let attached = pool.and_then(|pool| pool.attach(device, Some(file.checksums.clone())));
        let attached: Arc<PoolFile> =
            attached.map(Arc::new).map_err(|error| self.too_little(error))?;
        let (kind, key) = (file.kind, file.checksums.key());
        Ok(Arc::new(Pooled::new(kind, attached, key)))
    }

    /// The pool that is shared, or else one for everything that is to be in one.
    fn pool_of(&self, page_size: PageSize) -> Result<Pool, PoolError> {
        let mut pool = locked(&self.pool);
        if let Some(pool) = &*pool {
            return Ok(pool.clone());
        }
        let memory_bytes = self.memory_budget_bytes;
        let new = Pool::new(&PoolOptions { memory_bytes, page_size, ..PoolOptions::default() })?;
        Ok(pool.insert(new).clone())
    }

    /// From now on `came` are in the pool, and what `left` is there for old searches alone. The
    /// frames that are sure are shared out anew, unless the pool is somebody else's.
    pub(crate) fn moved(&self, left: &[Arc<Pooled>], came: &[Arc<Pooled>]) -> Result<(), Error> {
        let mut pooled = locked(&self.pooled);
        let stays = |one: &Weak<Pooled>| {
            one.strong_count() > 0 && !left.iter().any(|left| one.as_ptr() == Arc::as_ptr(left))
        };
        let staying = pooled.iter().filter(|one| stays(one)).cloned();
        let now: Vec<Weak<Pooled>> = staying.chain(came.iter().map(Arc::downgrade)).collect();
        let files: Vec<Arc<Pooled>> = now.iter().filter_map(Weak::upgrade).collect();
        if !self.is_shared
            && let Some(pool) = self.pool()
        {
            shares::promise(&pool, left, &files)?;
        }
        *pooled = now;
        Ok(())
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

/// What these locks guard is whole whatever panicked while one was held.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
