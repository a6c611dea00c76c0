//! An open segment with what it is read through: where pool, engine, mapping and index meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringpool_bufferpool::{Pool, PoolFile};
use ringpool_index::{ComponentKind, Hit, Manifest, Scratch, SearchParams, Segment};

use crate::opening::{Opened, Opening};
use crate::together::{Through, Together};
use crate::warm::Pooled;
use crate::{BackendStats, Error, OpenOptions, Placement, shares};

/// A segment that is open for searching. Any number of threads may search it.
pub struct Index {
    segment: Segment,
    placement: Placement,
    opened: Opened,
}

impl Index {
    /// Opens the segment in `dir` with its components where `options` place them: unless they say
    /// otherwise graph and codes are loaded, and the originals stay on disk behind the backend.
    ///
    /// All that is in the pool shares one. Of its frames the graph is sure of a part, and the codes
    /// of another, since searches ask for these more often than for originals
    /// ([`PoolFile::set_share`] changes that).
    ///
    /// # Errors
    /// When the segment is damaged, a file cannot be read, the budget is too small, or a component
    /// cannot be where it is put.
    pub fn open(dir: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let index = Self::open_with(dir, &mut Together::new(&[dir], options, None, None)?)?;
        shares::promise(std::slice::from_ref(&index))?;
        Ok(index)
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
        let dir = dir.as_ref();
        Self::open_with(dir, &mut Together::new(&[dir], options, None, Some(through))?)
    }

    /// Opens the segment in `dir` with its originals in `pool`, and what else `options` put in one.
    /// The pool may serve others meanwhile: all share its frames, and its budget. What each is to
    /// have at least, and at most, is set by [`pool_files`](Self::pool_files) and
    /// [`PoolFile::set_share`]; nothing is sure by itself.
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
        let dir = dir.as_ref();
        Self::open_with(dir, &mut Together::new(&[dir], options, Some(pool), None)?)
    }

    pub(crate) fn open_with(dir: &Path, together: &mut Together<'_>) -> Result<Self, Error> {
        let mut opening = Opening::new(together, &Manifest::read(dir)?)?;
        // What fails within a component's opener and is no storage error is told from here.
        let mut refused = None;
        let segment = Segment::open(dir, &mut |file| {
            opening.place(file).map_err(|error| match error {
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
        let (segment, placement) = (segment?, opening.placement());
        Ok(Self { segment, placement, opened: opening.end()? })
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

    /// Where its components are. Nothing is said of codes where walks read the originals.
    pub fn placement(&self) -> Placement {
        self.placement
    }

    /// What the budget comes to, in bytes. The pool alone keeps it; for the others it says what a
    /// pool would have had.
    pub fn memory_budget_bytes(&self) -> u64 {
        self.opened.memory_budget_bytes
    }

    /// The files that are read by page. Where none is, that of the originals.
    pub fn paged_files(&self) -> &[PathBuf] {
        &self.opened.paged_files
    }

    /// The pool, where something is in one.
    pub fn pool(&self) -> Option<&Pool> {
        self.opened.pool.as_ref()
    }

    /// The originals as a file of the pool, where they are in one: for its statistics, and for
    /// its share of the pool.
    pub fn originals(&self) -> Option<&PoolFile> {
        self.pooled_originals().map(|pooled| &*pooled.file)
    }

    /// The components that are in the pool.
    pub fn pool_files(&self) -> impl Iterator<Item = (ComponentKind, &PoolFile)> {
        self.opened.pooled.iter().map(|pooled| (pooled.kind, &*pooled.file))
    }

    pub(crate) fn pooled(&self) -> &[Pooled] {
        &self.opened.pooled
    }

    pub(crate) fn pooled_originals(&self) -> Option<&Pooled> {
        self.opened.pooled.iter().find(|pooled| pooled.kind == ComponentKind::Vectors)
    }

    /// What was done since the index was opened; a pool, also for others.
    pub fn stats(&self) -> BackendStats {
        let Opened { engine, pool, .. } = &self.opened;
        let engine = engine.as_ref();
        let stats = pool.as_ref().map(Pool::stats);
        let pool_reads = stats.map(|stats| stats.reads);
        let reads = [pool_reads, self.direct_reads()].into_iter().flatten().reduce(|a, b| a + b);
        BackendStats {
            direct_io: engine.map(|engine| engine.direct),
            engine: engine.map(|engine| engine.name.clone()),
            rung: engine.map(|engine| engine.rung),
            engine_reason: engine.map(|engine| format!("{}: {}", engine.rung, engine.reason)),
            reads,
            hits: stats.map(|stats| stats.hits),
            misses: stats.map(|stats| stats.misses),
            evictions: stats.map(|stats| stats.evictions),
        }
    }

    /// Pages that were read straight from the disk, where something is.
    pub(crate) fn direct_reads(&self) -> Option<u64> {
        self.opened.unpooled.iter().map(|file| file.reads()).reduce(|a, b| a + b)
    }
}
