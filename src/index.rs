//! An open segment with what it is read through: where pool, engine, mapping and index meet.
//!
//! What is open is a snapshot that never changes. A component that moves makes another one, which
//! shares all else with it; searches end on the one that they began with, and the last of them
//! takes what has left the pool with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use ringpool_bufferpool::{Pool, PoolFile};
use ringpool_index::{ComponentKind, Hit, Manifest, Patience, Scratch, SearchParams, Segment};

use crate::opening::{EngineReport, Held, Opening};
use crate::plan::Rules;
use crate::shares::Claim;
use crate::together::{Through, Together};
use crate::warm::Pooled;
use crate::{BackendStats, Error, OpenOptions, Part, Place, Placement};

/// A segment that is open for searching. Any number of threads may search it, also while its
/// components change their places.
pub struct Index {
    together: Arc<Together>,
    open: RwLock<Arc<Open>>,
}

/// An open segment as it is between two changes.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) segment: Arc<Segment>,
    pub(crate) held: Vec<Held>,
    pub(crate) engine: Option<EngineReport>,
    /// Where its components go.
    pub(crate) rules: Rules,
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
        Self::open_within(dir, options, Patience::default())
    }

    /// Opens as [`open`](Self::open) does, as long as `patience` lasts: it is asked for each
    /// component, before each 256 pages that are loaded and while pages are read in to be warm, and
    /// its deadline goes along with what is read.
    ///
    /// # Errors
    /// As those of `open`; of a deadline that has passed, or of the caller who has cancelled.
    pub fn open_within(
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let dir = dir.as_ref();
        Self::open_alone(dir, &Together::new(&[dir], options, None, None)?, patience)
    }

    /// Opens as [`open`](Self::open) does, and reads the originals through what `through` makes of
    /// their backend: to note, count or refuse what searches ask for.
    ///
    /// # Errors
    /// As those of `open`.
    pub fn open_through(
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        through: Through,
    ) -> Result<Self, Error> {
        Self::open_through_within(dir, options, through, Patience::default())
    }

    /// [`open_through`](Self::open_through) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of [`open_within`](Self::open_within).
    pub fn open_through_within(
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        through: Through,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let dir = dir.as_ref();
        Self::open_alone(dir, &Together::new(&[dir], options, None, Some(through))?, patience)
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
        Self::open_in_within(pool, dir, options, Patience::default())
    }

    /// [`open_in`](Self::open_in) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `open_in` and of [`open_within`](Self::open_within).
    pub fn open_in_within(
        pool: &Pool,
        dir: impl AsRef<Path>,
        options: &OpenOptions,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let dir = dir.as_ref();
        Self::open_alone(dir, &Together::new(&[dir], options, Some(pool), None)?, patience)
    }

    fn open_alone(
        dir: &Path,
        together: &Arc<Together>,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let _changing = together.change(&patience)?;
        let index = Self::open_beside(dir, together, patience)?;
        together.share_out(&[], index.now().claims())?;
        Ok(index)
    }

    /// Opens the segment in `dir` beside what else is open `together`, which is to share
    /// out its pool to its [claims](Open::claims), too.
    pub(crate) fn open_beside(
        dir: &Path,
        together: &Arc<Together>,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let (manifest, rules) = (Manifest::read(dir)?, together.rules().clone());
        let mut opening = Opening::new(together, &manifest, &rules, patience);
        let segment = opening.run(|place| Segment::open_within(dir, place, patience))?;
        let (held, engine) = opening.end(dir)?;
        let open = Open { segment: Arc::new(segment), held, engine, rules };
        let open = RwLock::new(Arc::new(open));
        Ok(Self { together: together.clone(), open })
    }

    /// What is open now.
    pub(crate) fn now(&self) -> Arc<Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is open, for searches that begin.
    pub(crate) fn exchange(&self, now: Open) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }

    /// Its parts, to be closed.
    pub(crate) fn into_parts(self) -> (Arc<Together>, Arc<Open>) {
        (self.together, self.open.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// What it is open together with.
    pub(crate) fn together(&self) -> &Arc<Together> {
        &self.together
    }

    /// The segment as it is open now, for searching with a scratch of one's own. Components that
    /// move later do not move in it: who keeps it for long keeps what they were read through.
    pub fn segment(&self) -> Arc<Segment> {
        self.now().segment.clone()
    }

    /// The points nearest to `query`. A thread that searches often keeps a [`Scratch`] and uses
    /// [`Segment::search`].
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page could not be had.
    pub fn search(&self, query: &[f32], params: &SearchParams) -> Result<Vec<Hit>, Error> {
        self.search_within(query, params, Patience::default())
    }

    /// [`search`](Self::search) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `search`, [`DeadlinePassed`](ringpool_index::SearchError::DeadlinePassed) and
    /// [`Cancelled`](ringpool_index::SearchError::Cancelled).
    pub fn search_within(
        &self,
        query: &[f32],
        params: &SearchParams,
        patience: Patience<'_>,
    ) -> Result<Vec<Hit>, Error> {
        let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
        self.segment().search_within(query, params, patience, &mut scratch, &mut hits)?;
        Ok(hits)
    }

    /// Where its components are. Nothing is said of codes where walks read the originals.
    pub fn placement(&self) -> Placement {
        let mut placement = Placement::default();
        for held in &self.now().held {
            placement = match &held.part {
                Some(Part::Codes(_)) => placement.with(Part::Codes(None), held.place),
                Some(part) => placement.with(part.clone(), held.place),
                None => placement,
            };
        }
        placement
    }

    /// Whether searches read any of its components by page.
    pub fn is_read_by_page(&self) -> bool {
        self.now().held.iter().any(|held| held.place.is_paged())
    }

    /// What the budget comes to, in bytes. The pool alone keeps it; for the others it says what a
    /// pool would have had.
    pub fn memory_budget_bytes(&self) -> u64 {
        self.together.memory_budget_bytes()
    }

    /// The files that are read by page, and that of the originals.
    pub fn paged_files(&self) -> Vec<PathBuf> {
        let open = self.now();
        let paged = open.held.iter().filter(|held| held.is_read_by_page());
        paged.map(|held| held.path.clone()).collect()
    }

    /// The pool, where something is in one.
    pub fn pool(&self) -> Option<Pool> {
        self.now().pooled().next().and_then(|_| self.together.pool())
    }

    /// The originals as a file of the pool, where they are in one: for its statistics, and for
    /// its share of the pool.
    pub fn originals(&self) -> Option<Arc<PoolFile>> {
        self.now().originals().map(|pooled| pooled.file.clone())
    }

    /// The components that are in the pool.
    pub fn pool_files(&self) -> Vec<(ComponentKind, Arc<PoolFile>)> {
        self.now().pooled().map(|one| (one.kind, one.file.clone())).collect()
    }

    /// What was done since the index was opened, also for those that it was opened together with;
    /// by a pool, also for others.
    pub fn stats(&self) -> BackendStats {
        let open = self.now();
        let engine = open.engine.as_ref();
        let stats = self.pool().map(|pool| pool.stats());
        let is_direct = open.held.iter().any(|held| held.place == Place::Direct);
        // Relaxed: a count.
        let direct = self.together.direct_reads.load(Ordering::Relaxed);
        let direct = (is_direct || direct > 0).then_some(direct);
        let pool_reads = stats.map(|stats| stats.reads);
        BackendStats {
            direct_io: engine.map(|engine| engine.direct),
            engine: engine.map(|engine| engine.name.clone()),
            rung: engine.map(|engine| engine.rung),
            engine_reason: engine.map(|engine| format!("{}: {}", engine.rung, engine.reason)),
            reads: [pool_reads, direct].into_iter().flatten().reduce(|a, b| a + b),
            hits: stats.map(|stats| stats.hits),
            misses: stats.map(|stats| stats.misses),
            evictions: stats.map(|stats| stats.evictions),
        }
    }
}

impl Open {
    /// The components that are in the pool.
    pub(crate) fn pooled(&self) -> impl Iterator<Item = &Arc<Pooled>> {
        self.held.iter().filter_map(|held| held.pooled.as_ref())
    }

    /// The originals, where they are in the pool.
    pub(crate) fn originals(&self) -> Option<&Pooled> {
        let is_originals = |one: &&Arc<Pooled>| one.kind == ComponentKind::Vectors;
        self.pooled().find(is_originals).map(|one| &**one)
    }

    /// What it claims of the pool.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        let claims = self.held.iter().filter_map(|held| {
            let (pooled, Place::Pool(portion)) = (held.pooled.clone()?, held.place) else {
                return None;
            };
            let name = held.part.as_ref().map_or(held.kind.name(), ToString::to_string);
            Some(Claim { pooled, name, portion })
        });
        claims.collect()
    }
}
