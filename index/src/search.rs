//! Searching a segment: walk by codes, then rescore from the originals.

use std::convert::Infallible;

use crate::codes::{CodeQuery, Measured, Scheme, norm, normalise, with_scheme};
use crate::distance::RowQuery;
use crate::graph::Graph;
use crate::graph::walk::{Scorer, WalkScratch};
use crate::originals::{Originals, PageScratch, PagedRows};
use crate::patience::Patient;
use crate::prefetch::{PREFETCH_AHEAD, prefetch};
use crate::rescore::{Candidate, Waves};
use crate::resident::Rows;
use crate::{Manifest, Metric, Patience, SearchError};

/// A point that was found, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The point: the vector's number in the order in which vectors were given.
    pub id: u32,
    /// Its distance from the query under the segment's metric. Smaller is nearer.
    pub distance: f32,
}

/// What is asked of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchParams {
    /// How many hits. At least 1; where fewer points exist, all are hits.
    pub k: usize,
    /// How many candidates the walk keeps: more find more and take longer. Never fewer than the
    /// points to rescore.
    pub ef: usize,
    /// What is read of the originals. Without codes nothing is, since the walk has measured them.
    pub rescore: Rescore,
}

/// What is read of the originals after a walk by codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rescore {
    /// Nothing: hits are in the order of their codes' distances, and have these.
    Off,
    /// The best candidates by codes, so many for each hit: at least 1. Hits have exact distances.
    Times(f32),
    /// The candidates that may be among the hits as far as their codes tell, so many that the
    /// hits are expected to have at least this recall among what the walk has found: above 0 and
    /// below 1. Hits have exact distances.
    Auto {
        /// The share of the true hits among those that are found.
        recall: f32,
    },
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { k: 10, ef: 100, rescore: Rescore::Times(4.0) }
    }
}

impl SearchParams {
    pub(crate) fn check(&self) -> Result<(), SearchError> {
        match self {
            Self { k: 0, .. } => Err(SearchError::ZeroK),
            Self { ef: 0, .. } => Err(SearchError::ZeroEf),
            Self { rescore: Rescore::Times(times), .. }
                if !(times.is_finite() && *times >= 1.0) =>
            {
                Err(SearchError::Oversample(*times))
            }
            Self { rescore: Rescore::Auto { recall }, .. } if !(*recall > 0.0 && *recall < 1.0) => {
                Err(SearchError::Recall(*recall))
            }
            _ => Ok(()),
        }
    }

    /// How many of the best by codes are of use.
    fn shortlist(&self, points: usize) -> usize {
        let wanted = match self.rescore {
            Rescore::Off | Rescore::Auto { .. } => self.k,
            // In f32, where 10 times 1.1 is 11 and not a little more. The cast saturates, and no
            // more points exist.
            Rescore::Times(times) => (self.k as f32 * times).ceil() as usize,
        };
        wanted.max(self.k).min(points)
    }
}

pub(crate) fn check_query(query: &[f32], expected: usize) -> Result<(), SearchError> {
    let found = query.len();
    if found != expected {
        return Err(SearchError::Dimension { expected, found });
    }
    match query.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(dimension) => Err(SearchError::NotFinite { dimension, value: query[dimension] }),
    }
}

/// What searches need, kept from one to the next: one for each thread. Fits any segment.
#[derive(Default)]
pub struct Scratch {
    walk: WalkScratch,
    code_query: CodeQuery,
    row_query: RowQuery,
    /// The query as codes are made.
    values: Vec<f32>,
    pages: PageScratch,
    shortlist: Vec<u32>,
    distances: Vec<f32>,
    waves: Waves,
    originals: usize,
}

impl Scratch {
    /// How many originals the last search read to rescore; 0 where it walked by them.
    pub fn originals(&self) -> usize {
        self.originals
    }
}

/// A segment's parts, as a search sees them.
pub(crate) struct Searched<'a> {
    pub(crate) manifest: &'a Manifest,
    pub(crate) patience: &'a Patience<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) codes: Option<&'a Measured>,
    pub(crate) originals: &'a Originals,
}

impl Searched<'_> {
    pub(crate) fn search(
        &self,
        query: &[f32],
        params: &SearchParams,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        params.check()?;
        check_query(query, self.manifest.dim)?;
        let row_query = &mut scratch.row_query;
        row_query.set(self.manifest.metric, self.manifest.element, query);
        scratch.pages.deadline = self.patience.deadline();
        hits.clear();
        scratch.originals = 0;
        match self.codes {
            Some(codes) => self.by_codes(codes, query, params, scratch, hits)?,
            None => self.walked(params, scratch, hits)?,
        }
        hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
        hits.truncate(params.k);
        Ok(())
    }

    /// The shortlist by codes, with the distances of the originals where they are wanted.
    fn by_codes(
        &self,
        made: &Measured,
        query: &[f32],
        params: &SearchParams,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        let shortlist = params.shortlist(self.manifest.points);
        scratch.values.clear();
        scratch.values.extend_from_slice(query);
        if self.manifest.metric == Metric::Cosine {
            normalise(&mut scratch.values);
        }
        let Scratch { walk, code_query, values, .. } = scratch;
        let ef = params.ef.max(shortlist).min(self.manifest.points);
        with_scheme!(&made.codes, codes => self.walk_by(codes, values, ef, walk, code_query)?);
        if let Rescore::Auto { recall } = params.rescore {
            return self.by_waves(made, params.k, recall, scratch, hits);
        }
        let best = scratch.walk.found.iter().take(shortlist);
        if params.rescore == Rescore::Off {
            hits.extend(best.map(|(distance, id)| Hit { id, distance }));
            return Ok(());
        }
        scratch.shortlist.clear();
        scratch.shortlist.extend(best.map(|(_, point)| point));
        self.patience.check()?;
        let (points, distances) = (&scratch.shortlist, &mut scratch.distances);
        let pages = &mut scratch.pages;
        self.originals.score(&scratch.row_query, points, pages, distances)?;
        let scored = points.iter().zip(distances.iter());
        hits.extend(scored.map(|(&id, &distance)| Hit { id, distance }));
        scratch.originals = hits.len();
        Ok(())
    }

    /// As many of all candidates as a recall needs, with the distances of their originals.
    fn by_waves(
        &self,
        made: &Measured,
        k: usize,
        recall: f32,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        let Scratch { walk, code_query, row_query, values, pages, waves, .. } = scratch;
        let query_norm = norm(values);
        waves.unread.clear();
        waves.unread.extend(walk.found.iter().map(|(distance, id)| {
            let error =
                with_scheme!(&made.codes, codes => own_error(codes, code_query, id, distance));
            let estimate = distance - made.deviation.bias;
            let measured = || made.deviation.at(self.manifest.metric, estimate, query_norm);
            match error {
                Some(error) => Candidate::new(id, distance, error),
                None => Candidate::new(id, estimate, measured()),
            }
        }));
        waves.run(k, recall, hits, |points, distances| {
            self.patience.check()?;
            self.originals.score(row_query, points, pages, distances).map_err(SearchError::from)
        })?;
        scratch.originals = hits.len();
        Ok(())
    }

    fn walk_by<S: Scheme>(
        &self,
        codes: &S,
        values: &[f32],
        ef: usize,
        scratch: &mut WalkScratch,
        query: &mut CodeQuery,
    ) -> Result<(), SearchError> {
        let query = S::query(query);
        codes.set_query(values, query);
        self.walk(ef, scratch, CodeScorer { codes, query })
    }

    /// The best points by a walk over the originals themselves.
    fn walked(
        &self,
        params: &SearchParams,
        scratch: &mut Scratch,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SearchError> {
        let ef = params.ef.max(params.k).min(self.manifest.points);
        let Scratch { walk, row_query: query, pages, .. } = scratch;
        match self.originals {
            Originals::Resident(rows) => self.walk(ef, walk, RowScorer { rows, query })?,
            Originals::Paged(rows) => {
                self.walk(ef, walk, PageScorer { rows, query, scratch: pages })?;
            }
        }
        let found = walk.found.iter().take(params.k);
        hits.extend(found.map(|(distance, id)| Hit { id, distance }));
        Ok(())
    }

    /// Leaves the `ef` best of layer 0 in `scratch`.
    fn walk<S: Scorer>(
        &self,
        ef: usize,
        scratch: &mut WalkScratch,
        scorer: S,
    ) -> Result<(), SearchError>
    where
        SearchError: From<S::Error>,
    {
        let mut scorer = Patient { scorer, patience: self.patience };
        let from = scratch.descend(self.graph, 0, &mut scorer)?;
        scratch.search_layer(self.graph, 0, from, ef, &mut scorer)
    }
}

fn own_error<S: Scheme>(
    codes: &S,
    query: &mut CodeQuery,
    point: u32,
    distance: f32,
) -> Option<f32> {
    codes.error(S::query(query), point, distance)
}

struct CodeScorer<'a, S: Scheme> {
    codes: &'a S,
    query: &'a S::Query,
}

impl<S: Scheme> Scorer for CodeScorer<'_, S> {
    type Error = Infallible;

    fn score(
        &mut self,
        points: &[u32],
        _bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        distances.clear();
        for &point in points.iter().take(PREFETCH_AHEAD) {
            prefetch(self.codes.row(point));
        }
        for (i, &point) in points.iter().enumerate() {
            if let Some(&ahead) = points.get(i + PREFETCH_AHEAD) {
                prefetch(self.codes.row(ahead));
            }
            distances.push(self.codes.distance(self.query, point));
        }
        Ok(())
    }
}

struct RowScorer<'a> {
    rows: &'a Rows,
    query: &'a RowQuery,
}

impl Scorer for RowScorer<'_> {
    type Error = Infallible;

    #[inline]
    fn score(
        &mut self,
        points: &[u32],
        bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        self.rows.score(self.query, points, bound, distances);
        Ok(())
    }
}

struct PageScorer<'a> {
    rows: &'a PagedRows,
    query: &'a RowQuery,
    scratch: &'a mut PageScratch,
}

impl Scorer for PageScorer<'_> {
    type Error = ringpool_storage::Error;

    fn score(
        &mut self,
        points: &[u32],
        _bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), ringpool_storage::Error> {
        self.rows.score(self.query, points, self.scratch, distances)
    }
}
