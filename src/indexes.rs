//! Several segments searched as one: a query looks for the nearest of all.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ringpool_bufferpool::Pool;
use ringpool_index::{
    Answer, ExactProgress, Hit, IdSource, Patience, Query, SearchError, SearchParams, Searches,
    Segment, Selection, Vectors,
};

use crate::moving::place_all;
use crate::together::Together;
use crate::{BackendStats, Error, Index, OpenOptions, Placement};

/// Segments of like vectors that are open together: with one engine, one budget, and one pool for
/// all that is in one.
///
/// Where the ids of all are rows from 0 on, those of the second follow those of the first, and so
/// on. Where any has other ids, each tells its own.
pub struct Indexes {
    pub(crate) together: Arc<Together>,
    pub(crate) members: RwLock<Arc<[Arc<Index>]>>,
    /// Whatever these ids are.
    pub(crate) tell_own_ids: bool,
}

/// Segments as they were open together at one moment. Searches of it see nothing of what changes
/// later.
#[derive(Clone)]
pub struct Snapshot {
    segments: Vec<Arc<Segment>>,
    /// What is added to the ids of each.
    firsts: Vec<u64>,
}

impl Indexes {
    /// Opens the segments in `dirs` as [`Index::open`] does. The budget is for all together, and so
    /// is the part of it that graphs and codes are sure of.
    ///
    /// # Errors
    /// As those of `Index::open`; [`SearchError::Unlike`] and [`SearchError::NoSegments`] when they
    /// cannot be searched together.
    pub fn open<P: AsRef<Path>>(dirs: &[P], options: &OpenOptions) -> Result<Self, Error> {
        Self::open_within(dirs, options, Patience::default())
    }

    /// [`open`](Self::open) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `open` and of [`Index::open_within`].
    pub fn open_within<P: AsRef<Path>>(
        dirs: &[P],
        options: &OpenOptions,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let dirs: Vec<&Path> = dirs.iter().map(AsRef::as_ref).collect();
        Self::open_all(&dirs, options, false, patience)
    }

    pub(crate) fn open_all(
        dirs: &[&Path],
        options: &OpenOptions,
        tell_own_ids: bool,
        patience: Patience<'_>,
    ) -> Result<Self, Error> {
        let together = Together::new(dirs, options, None, None)?;
        let changing = together.change(&patience)?;
        let open = |dir: &&Path| Index::open_beside(dir, &together, patience).map(Arc::new);
        let opened = dirs.iter().map(open);
        let members: Arc<[Arc<Index>]> = opened.collect::<Result<_, _>>()?;
        Snapshot::of(&members, tell_own_ids).searches(1)?; // Whether they are alike.
        together.share_out(&[], members.iter().flat_map(|index| index.now().claims()).collect())?;
        drop(changing);
        Ok(Self { together, members: RwLock::new(members), tell_own_ids })
    }

    /// Each of them.
    pub fn all(&self) -> Arc<[Arc<Index>]> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of them as they are open now, for searching.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(&self.all(), self.tell_own_ids)
    }

    /// How many points they have together.
    pub fn points(&self) -> usize {
        self.all().iter().map(|index| index.segment().manifest().points).sum()
    }

    /// How many of these are not deleted.
    pub fn live_points(&self) -> usize {
        self.snapshot().live_points()
    }

    /// The points nearest to `query` of all segments. Who searches often keeps the
    /// [`searches`](Snapshot::searches) of a [snapshot](Self::snapshot).
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page could not be had.
    pub fn search(&self, query: &[f32], params: &SearchParams) -> Result<Vec<Hit>, Error> {
        self.snapshot().search(query, params)
    }

    /// [`search`](Self::search) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `search`, [`SearchError::DeadlinePassed`] and [`SearchError::Cancelled`].
    pub fn search_within(
        &self,
        query: &[f32],
        params: &SearchParams,
        patience: Patience<'_>,
    ) -> Result<Vec<Hit>, Error> {
        self.snapshot().search_among_within(query, params, None, patience)
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
        self.snapshot().exact_search(queries, k, progress)
    }

    /// Changes where components are in all of them, as [`Index::place`] does in one: in all, or,
    /// where one cannot, in none.
    ///
    /// # Errors
    /// As those of `Index::place`.
    pub fn place(&self, changes: &Placement) -> Result<(), Error> {
        self.place_within(changes, Patience::default())
    }

    /// [`place`](Self::place) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of [`Index::place_within`]. Everything is then where it was.
    pub fn place_within(&self, changes: &Placement, patience: Patience<'_>) -> Result<(), Error> {
        let _changing = self.together.change(&patience)?;
        let all = self.all();
        let indexes: Vec<&Index> = all.iter().map(|index| &**index).collect();
        place_all(&self.together, &indexes, changes, patience)
    }

    /// Whether searches read any of them by page.
    pub fn is_read_by_page(&self) -> bool {
        self.all().iter().any(|index| index.is_read_by_page())
    }

    /// What the budget comes to, in bytes, as [`Index::memory_budget_bytes`].
    pub fn memory_budget_bytes(&self) -> u64 {
        self.together.memory_budget_bytes()
    }

    /// The memory that their resident components take, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.all().iter().map(|index| index.segment().resident_bytes()).sum()
    }

    /// The files that are read by page, as [`Index::paged_files`].
    pub fn paged_files(&self) -> Vec<PathBuf> {
        self.all().iter().flat_map(|index| index.paged_files()).collect()
    }

    /// The pool that they share, where something is in one.
    pub fn pool(&self) -> Option<Pool> {
        self.all().iter().find_map(|index| index.pool())
    }

    /// What was done since they were opened.
    pub fn stats(&self) -> BackendStats {
        // What was read, through the pool and past it, is counted for all together.
        let all = self.all();
        let speaks = |index: &&Arc<Index>| index.pool().is_some();
        let index = all.iter().find(speaks).or(all.first());
        index.map_or_else(BackendStats::default, |index| index.stats())
    }
}

impl Snapshot {
    pub(crate) fn of(indexes: &[Arc<Index>], tell_own_ids: bool) -> Self {
        let segments: Vec<Arc<Segment>> = indexes.iter().map(|index| index.segment()).collect();
        let firsts = if tell_own_ids { vec![0; segments.len()] } else { firsts(&segments) };
        Self { segments, firsts }
    }

    /// What is added to the ids of each.
    pub(crate) fn firsts(&self) -> &[u64] {
        &self.firsts
    }

    /// Each of the segments.
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// How many points they have together.
    pub fn points(&self) -> usize {
        self.segments.iter().map(|segment| segment.manifest().points).sum()
    }

    /// How many of these are not deleted.
    pub fn live_points(&self) -> usize {
        self.segments.iter().map(|segment| segment.live_points()).sum()
    }

    /// The id of a hit, by the segment that [`Answer::segments`] names and its id there.
    pub fn id(&self, segment: u32, id: u64) -> u64 {
        self.firsts[segment as usize] + id
    }

    /// Whether a point of any has this id, as [`id`](Self::id) gives it.
    pub fn has_id(&self, id: u64) -> bool {
        (0..self.segments.len() as u32).any(|segment| self.own_id(segment, id).is_some())
    }

    /// The id that a segment has for the point of this id, if the point is one of its own.
    pub(crate) fn own_id(&self, segment: u32, id: u64) -> Option<u64> {
        let own = id.checked_sub(self.firsts[segment as usize])?;
        self.segments[segment as usize].has_id(own).then_some(own)
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
        let segments: Vec<&Segment> = self.segments.iter().map(|segment| &**segment).collect();
        Searches::new(&segments, in_flight)
    }

    /// The points nearest to `query` of all segments. Who searches often keeps
    /// [`searches`](Self::searches).
    ///
    /// # Errors
    /// When the query or a parameter is no use, or a page could not be had.
    pub fn search(&self, query: &[f32], params: &SearchParams) -> Result<Vec<Hit>, Error> {
        self.search_among(query, params, None)
    }

    /// The same among the points of one selection for each segment, where there are any: what
    /// [`select`](Self::select) gives.
    ///
    /// # Errors
    /// As those of [`search`](Self::search), and when the selections are not those of the segments.
    pub fn search_among(
        &self,
        query: &[f32],
        params: &SearchParams,
        among: Option<&[Selection]>,
    ) -> Result<Vec<Hit>, Error> {
        self.search_among_within(query, params, among, Patience::default())
    }

    /// [`search_among`](Self::search_among) as long as `patience` lasts.
    ///
    /// # Errors
    /// As those of `search_among`, [`SearchError::DeadlinePassed`] and [`SearchError::Cancelled`].
    pub fn search_among_within(
        &self,
        query: &[f32],
        params: &SearchParams,
        among: Option<&[Selection]>,
        patience: Patience<'_>,
    ) -> Result<Vec<Hit>, Error> {
        let params = *params;
        let mut queries =
            std::iter::once(Query { number: 0, values: query, params, among, patience });
        let mut found = Ok(Vec::new());
        self.searches(1)?.run(&mut || queries.next(), &mut |answer| found = self.hits(answer));
        Ok(found?)
    }

    /// For each query the `k` points nearest to it of all segments, by measuring all, as
    /// [`Segment::exact_search`] does; ties by segment and id.
    ///
    /// # Errors
    /// As those of `Segment::exact_search`.
    pub fn exact_search(
        &self,
        queries: &Vectors,
        k: usize,
        progress: &mut ExactProgress<'_>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        self.exact_search_among(queries, k, None, progress)
    }

    /// The same among the points of one selection for each segment, where there are any.
    ///
    /// # Errors
    /// As those of [`Segment::exact_search_among`]; [`SearchError::Selections`].
    pub fn exact_search_among(
        &self,
        queries: &Vectors,
        k: usize,
        among: Option<&[Selection]>,
        progress: &mut ExactProgress<'_>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        let expected = self.segments.len();
        if let Some(found) = among.map(<[_]>::len).filter(|&found| found != expected) {
            return Err(SearchError::Selections { expected, found }.into());
        }
        let mut nearest = vec![Vec::new(); queries.len()];
        let (mut done, all) = (0, self.points() as u64);
        for (segment, number) in self.segments.iter().zip(0..) {
            let points = segment.manifest().points as u64;
            let mut further = |own: u64, of: u64| -> ControlFlow<()> {
                progress(done + own * points / of.max(1), all)
            };
            let selection = among.map(|among| &among[number as usize]);
            let found = segment.exact_search_among(queries, k, selection, &mut further)?;
            done += points;
            for (nearest, found) in nearest.iter_mut().zip(found) {
                nearest.extend(found.iter().map(|hit| Hit { id: self.id(number, hit.id), ..*hit }));
            }
        }
        for hits in &mut nearest {
            // Stable: those of a segment come after those of the one before, in order of ids.
            hits.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            hits.truncate(k);
        }
        Ok(nearest)
    }
}

/// What is added to the ids of each.
fn firsts(segments: &[Arc<Segment>]) -> Vec<u64> {
    let manifests = || segments.iter().map(|segment| segment.manifest());
    if manifests().any(|manifest| manifest.ids != IdSource::Rows { first_id: 0 }) {
        return vec![0; segments.len()];
    }
    let mut next = 0;
    let first = |points: usize| {
        next += points as u64;
        next - points as u64
    };
    manifests().map(|manifest| manifest.points).map(first).collect()
}

/// One alone.
impl From<Index> for Indexes {
    fn from(index: Index) -> Self {
        let together = index.together().clone();
        let members = RwLock::new([Arc::new(index)].into());
        Self { together, members, tell_own_ids: false }
    }
}
