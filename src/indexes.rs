//! Several segments searched as one: a query looks for the nearest of all.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ringpool_bufferpool::Pool;
use ringpool_index::{
    Answer, ExactProgress, Hit, Patience, Query, SearchError, SearchParams, Searches, Segment,
    Vectors,
};

use crate::together::Together;
use crate::{BackendStats, Error, Index, OpenOptions, shares};

/// Segments of like vectors that are open together: with one engine, one budget, and one pool for
/// all that is in one. The ids of the second follow those of the first, and so on.
pub struct Indexes {
    indexes: Vec<Index>,
    /// The first id of each.
    firsts: Vec<u32>,
}

impl Indexes {
    /// Opens the segments in `dirs` as [`Index::open`] does. The budget is for all together, and so
    /// is the part of it that graphs and codes are sure of.
    ///
    /// # Errors
    /// As those of `Index::open`; [`SearchError::Unlike`] and [`SearchError::NoSegments`] when they
    /// cannot be searched together; [`Error::TooManyPoints`].
    pub fn open<P: AsRef<Path>>(dirs: &[P], options: &OpenOptions) -> Result<Self, Error> {
        let dirs: Vec<&Path> = dirs.iter().map(AsRef::as_ref).collect();
        let mut together = Together::new(&dirs, options, None, None)?;
        let opened = dirs.iter().map(|dir| Index::open_with(dir, &mut together));
        let indexes = opened.collect::<Result<Vec<_>, _>>()?;
        shares::promise(&indexes)?;
        let (mut firsts, mut points) = (Vec::with_capacity(indexes.len()), 0);
        for index in &indexes {
            firsts.push(u32::try_from(points).map_err(|_| Error::TooManyPoints { points })?);
            points += index.segment().manifest().points as u64;
        }
        if points > u64::from(u32::MAX) {
            return Err(Error::TooManyPoints { points });
        }
        let together = Self { indexes, firsts };
        together.searches(1)?; // Whether they are alike.
        Ok(together)
    }

    /// Each of them.
    pub fn all(&self) -> &[Index] {
        &self.indexes
    }

    /// How many points they have together.
    pub fn points(&self) -> usize {
        self.segments().map(|segment| segment.manifest().points).sum()
    }

    /// The id of a hit, by the segment that [`Answer::segments`] names and its id there.
    pub fn id(&self, segment: u32, id: u32) -> u32 {
        self.firsts[segment as usize] + id
    }

    /// The hits of an answer, with ids of all segments together.
    ///
    /// # Errors
    /// Why there are none.
    pub fn hits(&self, answer: Answer<'_>) -> Result<Vec<Hit>, SearchError> {
        let hits = answer.hits?.iter().zip(answer.segments);
        Ok(hits.map(|(hit, &segment)| Hit { id: self.id(segment, hit.id), ..*hit }).collect())
    }

    /// For a thread that searches all of them, with so many queries in flight.
    ///
    /// # Errors
    /// As those of [`Searches::new`].
    pub fn searches(&self, in_flight: usize) -> Result<Searches<'_>, SearchError> {
        Searches::new(&self.segments().collect::<Vec<_>>(), in_flight)
    }

    /// The points nearest to `query` of all segments. Who searches often keeps
    /// [`searches`](Self::searches).
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page could not be had.
    pub fn search(&self, query: &[f32], params: &SearchParams) -> Result<Vec<Hit>, Error> {
        let (params, patience) = (*params, Patience::default());
        let mut queries =
            std::iter::once(Query { number: 0, values: query, params, among: None, patience });
        let mut found = Ok(Vec::new());
        self.searches(1)?.run(&mut || queries.next(), &mut |answer| found = self.hits(answer));
        Ok(found?)
    }

    /// For each query the `k` points nearest to it of all segments, by measuring all, as
    /// [`Segment::exact_search`] does.
    ///
    /// # Errors
    /// As those of `Segment::exact_search`.
    pub fn exact_search(
        &self,
        queries: &Vectors,
        k: usize,
        progress: &mut ExactProgress<'_>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        let mut nearest = vec![Vec::new(); queries.len()];
        let (mut done, all) = (0, self.points() as u64);
        for (segment, number) in self.segments().zip(0..) {
            let points = segment.manifest().points as u64;
            let mut further = |own: u64, of: u64| -> ControlFlow<()> {
                progress(done + own * points / of.max(1), all)
            };
            let found = segment.exact_search(queries, k, &mut further)?;
            done += points;
            for (nearest, found) in nearest.iter_mut().zip(found) {
                nearest.extend(found.iter().map(|hit| Hit { id: self.id(number, hit.id), ..*hit }));
            }
        }
        for hits in &mut nearest {
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
            hits.truncate(k);
        }
        Ok(nearest)
    }

    /// What the budget comes to, in bytes, as [`Index::memory_budget_bytes`].
    pub fn memory_budget_bytes(&self) -> u64 {
        self.indexes.first().map_or(0, Index::memory_budget_bytes)
    }

    /// The memory that their resident components take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.segments().map(Segment::resident_bytes).sum()
    }

    /// The files that are read by page, as [`Index::paged_files`].
    pub fn paged_files(&self) -> Vec<PathBuf> {
        self.indexes.iter().flat_map(Index::paged_files).cloned().collect()
    }

    /// The pool that they share, where something is in one.
    pub fn pool(&self) -> Option<&Pool> {
        self.indexes.iter().find_map(Index::pool)
    }

    /// What was done since they were opened.
    pub fn stats(&self) -> BackendStats {
        let stats = self.indexes.first().map(Index::stats).unwrap_or_default();
        // The pool is one for all, what is read past it is counted by each.
        let others = self.indexes.iter().skip(1).filter_map(Index::direct_reads);
        let reads = stats.reads.into_iter().chain(others).reduce(|a, b| a + b);
        BackendStats { reads, ..stats }
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.indexes.iter().map(Index::segment)
    }
}

/// One alone.
impl From<Index> for Indexes {
    fn from(index: Index) -> Self {
        Self { indexes: vec![index], firsts: vec![0] }
    }
}
