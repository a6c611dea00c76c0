//! Exact search by brute force: the truth that recall is measured against.
//!
//! Rows pass by a stretch at a time, from memory or from pages, and each stretch is compared with
//! all queries on all cores. A task has a few queries, so that a row is loaded into the
//! processor's cache once for all of them; every query's best are kept from stretch to stretch.
//! While one stretch is compared the pages of the next are read.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use rayon::prelude::*;
use ringpool_storage::PageNo;

use crate::candidates::Candidates;
use crate::distance::RowQuery;
use crate::ids::Ids;
use crate::layout::Records;
use crate::originals::Originals;
use crate::paged::Paged;
use crate::passing::Passing;
use crate::search::check_query;
use crate::workers::Workers;
use crate::{Element, Hit, Manifest, Metric, SearchError, Segment, Vectors};

/// Queries that one task compares with each row while that is in the processor's cache.
const QUERIES_PER_TASK: usize = 8;
/// A stretch is at most so long: enough for a disk to be read fast, little enough for a cache.
const STRETCH_BYTES: usize = 4 << 20;
/// A stretch is also no more work than so many values compared, a fraction of a second: whoever
/// cancels is heard between two.
const STRETCH_VALUES: usize = 1 << 30;

/// Hears how many rows of how many are done, and ends the work when it breaks.
pub type ExactProgress<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + Send + 'a;

/// For each query the `k` nearest of all `base` vectors, nearest first, ties by lower id: fewer
/// only where fewer exist. Distances are those that a search reports, bit by bit. Runs on all
/// cores.
///
/// # Errors
/// When `k` is 0, dimensions differ, or a query has a value that is no number.
pub fn exact_search(
    base: &Vectors,
    queries: &Vectors,
    metric: Metric,
    k: usize,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    exact_search_while(base, queries, metric, k, &mut |_, _| ControlFlow::Continue(()))
}

/// The same, as long as `progress` says so.
///
/// # Errors
/// As those of [`exact_search`], and [`SearchError::Cancelled`].
pub fn exact_search_while(
    base: &Vectors,
    queries: &Vectors,
    metric: Metric,
    k: usize,
    progress: &mut ExactProgress<'_>,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    let row_bytes = base.dim() * base.element().bytes();
    let all = Passing::new(base.len(), None, None);
    let mut best = Best::new(queries, base.dim(), base.element(), metric, k, &Ids::ROWS, &all)?;
    let at_once = best.rows_at_once(row_bytes);
    best.offer_all(base.len(), at_once, |place| base.row_bytes(place as usize), progress)?;
    Ok(best.into_hits())
}

/// The same over the originals of a segment, of points that pass. Pages are read in order, each
/// once, and none without such a point.
pub(crate) fn exact_in(
    segment: &Segment,
    queries: &Vectors,
    k: usize,
    passing: &Passing<'_>,
    progress: &mut ExactProgress<'_>,
) -> Result<Vec<Vec<Hit>>, SearchError> {
    let Manifest { metric, element, dim, points, .. } = *segment.manifest();
    let mut best = Best::new(queries, dim, element, metric, k, segment.ids(), passing)?;
    match segment.originals() {
        Originals::Paged(rows) => best.offer_pages(rows, progress)?,
        Originals::Resident(rows) => {
            let at_once = best.rows_at_once(dim * element.bytes());
            best.offer_all(points, at_once, |place| rows.row(place), progress)?;
        }
    }
    Ok(best.into_hits())
}

fn heard(flow: ControlFlow<()>) -> Result<(), SearchError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(SearchError::Cancelled),
    }
}

/// How many pages hold about so many rows, and no part of a row.
fn pages_of(records: &Records, rows: u64) -> u64 {
    match records.per_page() as u64 {
        0 => rows * records.span(),
        per_page => (rows / per_page).max(1),
    }
}

/// Replaces `rows` by the rows on these pages, put end to end. What lies on pages without a point
/// that passes has no meaning.
fn read(
    originals: &Paged,
    pages: Range<u64>,
    passing: &Passing<'_>,
    rows: &mut Vec<u8>,
) -> Result<(), ringpool_storage::Error> {
    let records = &originals.records;
    if pages.is_empty() {
        return Ok(());
    }
    let start = records.stretch(pages.start).start;
    rows.resize(records.stretch(pages.end - 1).end - start, 0);
    let has_passing = |page: &u64| {
        let Range { start, end } = records.stretch(*page);
        let places = start / records.record_bytes..end.div_ceil(records.record_bytes);
        places.into_iter().any(|place| passing.contains(place as u32))
    };
    let wanted: Vec<u64> = pages.clone().filter(has_passing).collect();
    let numbers: Vec<PageNo> =
        wanted.iter().map(|page| PageNo(records.first_page + page)).collect();
    originals.source.visit(&numbers, &mut |i, page| {
        let place = records.stretch(wanted[i]);
        let length = place.len();
        rows[place.start - start..][..length].copy_from_slice(&page[..length]);
    })
}

/// All queries, each with the best that it has seen so far.
struct Best<'a> {
    queries: Vec<(RowQuery, Candidates)>,
    dim: usize,
    ids: &'a Ids,
    passing: &'a Passing<'a>,
    workers: Arc<Workers>,
}

impl<'a> Best<'a> {
    fn new(
        queries: &Vectors,
        dim: usize,
        element: Element,
        metric: Metric,
        k: usize,
        ids: &'a Ids,
        passing: &'a Passing<'a>,
    ) -> Result<Self, SearchError> {
        if k == 0 {
            return Err(SearchError::ZeroK);
        }
        let (expected, found) = (dim, queries.dim());
        if expected != found {
            return Err(SearchError::Dimension { expected, found });
        }
        let mut values = vec![0.0; dim];
        let prepared = (0..queries.len()).map(|number| {
            queries.row_f32(number, &mut values);
            check_query(&values, dim)
                .map_err(|source| SearchError::Query { query: number, source: source.into() })?;
            let (mut query, mut best) = (RowQuery::default(), Candidates::default());
            query.set(metric, element, &values);
            best.begin(k);
            Ok((query, best))
        });
        let queries = prepared.collect::<Result<_, SearchError>>()?;
        let no_threads = |e: rayon::ThreadPoolBuildError| SearchError::Threads {
            threads: 0,
            reason: e.to_string(),
        };
        let workers = Arc::new(Workers::new(0).map_err(no_threads)?);
        Ok(Self { queries, dim, ids, passing, workers })
    }

    /// How many rows make a stretch.
    fn rows_at_once(&self, row_bytes: usize) -> usize {
        let by_work = STRETCH_VALUES / (self.queries.len().max(1) * self.dim);
        by_work.min(STRETCH_BYTES / row_bytes).max(1)
    }

    /// All rows from memory, so many at once.
    fn offer_all<'r>(
        &mut self,
        count: usize,
        at_once: usize,
        row: impl Fn(u32) -> &'r [u8] + Sync,
        progress: &mut ExactProgress<'_>,
    ) -> Result<(), SearchError> {
        for first in (0..count).step_by(at_once) {
            heard(progress(first as u64, count as u64))?;
            self.offer(first as u32..count.min(first + at_once) as u32, &row);
        }
        Ok(())
    }

    /// All rows from pages: while one stretch is compared, the next is read.
    fn offer_pages(
        &mut self,
        originals: &Paged,
        progress: &mut ExactProgress<'_>,
    ) -> Result<(), SearchError> {
        let records = &originals.records;
        let record_bytes = records.record_bytes;
        let at_once = pages_of(records, self.rows_at_once(record_bytes) as u64);
        let stretch = |first: u64| first..records.pages().min(first + at_once);
        let (mut rows, mut next_rows, mut pages) = (Vec::new(), Vec::new(), stretch(0));
        read(originals, pages.clone(), self.passing, &mut rows)?;
        while !pages.is_empty() {
            let first = (records.stretch(pages.start).start / record_bytes) as u32;
            heard(progress(first.into(), records.count))?;
            let next = stretch(pages.end);
            let places = first..first + (rows.len() / record_bytes) as u32;
            let row = |place| originals.row(&rows[(place - first) as usize * record_bytes..]);
            let (passing, workers) = (self.passing, self.workers.clone());
            let compare = || self.offer(places, &row);
            let read_next = || read(originals, next.clone(), passing, &mut next_rows);
            let (_, read) = workers.run(|| rayon::join(compare, read_next));
            read?;
            std::mem::swap(&mut rows, &mut next_rows);
            pages = next;
        }
        Ok(())
    }

    /// Compares every query with the rows of these points.
    fn offer<'r>(&mut self, places: Range<u32>, row: &(impl Fn(u32) -> &'r [u8] + Sync)) {
        // Few queries are spread over the cores all the same.
        let per_task = self.queries.len().div_ceil(self.workers.count());
        let Self { queries, ids, passing, workers, .. } = self;
        let tasks = queries.par_chunks_mut(per_task.clamp(1, QUERIES_PER_TASK));
        let compare = |task: &mut [(RowQuery, Candidates)]| {
            for place in places.clone().filter(|&place| passing.contains(place)) {
                for (query, best) in &mut *task {
                    best.offer(query.distance(row(place)), place, ids);
                }
            }
        };
        workers.run(|| tasks.for_each(compare));
    }

    fn into_hits(self) -> Vec<Vec<Hit>> {
        let ids = self.ids;
        let hits = |(_, best): (RowQuery, Candidates)| {
            let hits = best.iter().map(|(distance, place)| Hit { id: ids.id(place), distance });
            hits.collect()
        };
        self.queries.into_iter().map(hits).collect()
    }
}
