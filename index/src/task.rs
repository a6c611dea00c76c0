//! One search, step by step: what it has found, and what it still wants to read.
//!
//! A search walks each of its segments, in memory or through pages; what the codes tell to be
//! nearest is then read and measured, wave by wave. Nothing here waits or asks: whoever runs the
//! task visits the pages it wants, alone ([`Segment::search`]) or many tasks at a time
//! ([`Searches`](crate::Searches)).

use std::convert::Infallible;

use ringpool_storage::PageNo;

use crate::codes::{CodeQuery, Scheme, norm, normalise, with_scheme};
use crate::distance::RowQuery;
use crate::graph::among::times_as_many;
use crate::graph::walk::{Scorer, WalkScratch};
use crate::originals::{Originals, PageScratch};
use crate::paged::{ByCodes, ByRows, Measure, Paged, Resident, Told};
use crate::passing::Passing;
use crate::patience::Patient;
use crate::prefetch::{PREFETCH_AHEAD, prefetch};
use crate::rescore::{Candidate, Point, Scored, Waves};
use crate::resident::Rows;
use crate::row_pages::RowPages;
use crate::scan::{Way, are_missed};
use crate::search::check_query;
use crate::{Hit, Metric, Patience, Rescore, SearchError, SearchParams, Segment};

/// Kept from one search to the next; fits any segments.
#[derive(Default)]
pub(crate) struct Task {
    params: SearchParams,
    code_query: CodeQuery,
    row_query: RowQuery,
    /// The query as codes are made.
    values: Vec<f32>,
    /// Points of all segments together.
    points: usize,
    waves: Waves,
    /// What the wave reads.
    wave: Vec<Candidate>,
    /// The same, for each segment.
    readings: Vec<Reading>,
    scored: Vec<Scored>,
    originals: usize,
}

/// The originals of one segment that a wave reads.
#[derive(Default)]
struct Reading {
    points: Vec<Point>,
    /// Their places.
    places: Vec<u32>,
    /// Where in them the part begins that is being read, and where it ends.
    part: (usize, usize),
    pages: RowPages,
}

impl Task {
    /// Takes another query, of `segments`, which have the same metric, element and dimension.
    pub(crate) fn begin<'a>(
        &mut self,
        segments: impl ExactSizeIterator<Item = &'a Segment> + Clone,
        query: &[f32],
        params: &SearchParams,
    ) -> Result<(), SearchError> {
        params.check()?;
        let Some(first) = segments.clone().next().map(Segment::manifest) else { return Ok(()) };
        check_query(query, first.dim)?;
        self.params = *params;
        self.row_query.set(first.metric, first.element, query);
        self.values.clear();
        self.values.extend_from_slice(query);
        if first.metric == Metric::Cosine {
            normalise(&mut self.values);
        }
        self.points = segments.clone().map(|segment| segment.manifest().points).sum();
        self.waves.unread.clear();
        self.wave.clear();
        self.readings.resize_with(segments.len(), Reading::default);
        self.scored.clear();
        self.originals = 0;
        Ok(())
    }

    /// How many candidates a walk through `segment` keeps.
    pub(crate) fn ef(&self, segment: &Segment) -> usize {
        let least = match segment.codes() {
            Some(_) => self.params.shortlist(self.points),
            None => self.params.k,
        };
        self.params.ef.max(least).min(segment.manifest().points)
    }

    /// How many originals were read.
    pub(crate) fn originals(&self) -> usize {
        self.originals
    }

    /// Prepares the query for the codes of `segment`, which it is about to walk.
    pub(crate) fn turn_to(&mut self, segment: &Segment) {
        let Self { values, code_query, .. } = self;
        if let Some(made) = segment.codes() {
            with_scheme!(&made.codes, codes => set_query(codes, values, code_query));
        }
    }

    /// How it looks for the nearest in `segment`, of those that pass.
    pub(crate) fn way(&self, segment: &Segment, passing: &Passing<'_>) -> Way {
        Way::of(passing, self.ef(segment))
    }

    /// Walks through a segment whose graph is in memory, and codes too where it has any. Where it
    /// is scanned the graph may be elsewhere.
    pub(crate) fn walk(
        &mut self,
        segment: &Segment,
        number: u32,
        passing: &Passing<'_>,
        scratch: &mut WalkScratch,
        pages: &mut PageScratch,
        patience: &Patience<'_>,
    ) -> Result<(), SearchError> {
        self.turn_to(segment);
        let (ef, query) = (self.ef(segment), &self.row_query);
        let walk = Walk { segment, ef, passing, patience, scratch };
        match (segment.codes(), segment.originals()) {
            (Some(made), _) => {
                let query = &mut self.code_query;
                with_scheme!(&made.codes, codes => walk.by_codes(codes, query))?;
            }
            (None, Originals::Resident(rows)) => walk.by(RowScorer { rows, query })?,
            (None, Originals::Paged(rows)) => {
                pages.deadline = patience.deadline();
                walk.by(PageScorer { rows, query, scratch: pages })?;
            }
        }
        self.found(segment, number, scratch.found.iter(), &|_| None);
        Ok(())
    }

    /// Calls `with` with what measures records of `segment` for this query: those of points that
    /// pass.
    pub(crate) fn measuring<R>(
        &mut self,
        segment: &Segment,
        passing: Passing<'_>,
        with: impl FnOnce(&dyn Measure) -> R,
    ) -> R {
        let Self { code_query, row_query, .. } = self;
        match segment.codes() {
            Some(made) => {
                let resident = segment.upper_codes().map_or(Resident::All, Resident::Upper);
                with_scheme!(&made.codes, codes => {
                    let query = query_for(codes, code_query);
                    with(&ByCodes { codes, query, resident, passing, row_query })
                })
            }
            None => {
                let resident = match segment.originals() {
                    Originals::Resident(rows) => Some(rows),
                    Originals::Paged(_) => None,
                };
                with(&ByRows { query: row_query, resident, passing })
            }
        }
    }

    /// Takes what a walk has found, nearest first. `told` says what was told of a point whose code
    /// is not in memory.
    pub(crate) fn found(
        &mut self,
        segment: &Segment,
        number: u32,
        found: impl Iterator<Item = (f32, u32)>,
        told: &dyn Fn(u32) -> Option<Told>,
    ) {
        let point = |place| Point { segment: number, rank: segment.ids().rank(place), place };
        let Some(made) = segment.codes().filter(|_| self.params.rescore != Rescore::Off) else {
            let scored = found.map(|(distance, place)| Scored { point: point(place), distance });
            return self.scored.extend(scored.take(self.params.k));
        };
        let is_adaptive = matches!(self.params.rescore, Rescore::Auto { .. });
        let (metric, query_norm) = (segment.manifest().metric, norm(&self.values));
        let query = &mut self.code_query;
        let candidate = |(distance, place): (f32, u32)| {
            let point = point(place);
            let estimate = distance - made.deviation.bias;
            let told = told(place);
            let exact = told.and_then(|told| told.exact);
            if !is_adaptive {
                return Candidate::new(point, estimate, 0.0).known(exact);
            }
            let error = match told {
                Some(told) => told.error,
                None => {
                    with_scheme!(&made.codes, codes => own_error(codes, query, place, distance))
                }
            };
            let candidate = match error {
                Some(error) => Candidate::new(point, distance, error),
                None => {
                    let measured = made.deviation.at(metric, estimate, query_norm);
                    Candidate::new(point, estimate, measured)
                }
            };
            candidate.known(exact)
        };
        self.waves.unread.extend(found.map(candidate));
    }

    /// All segments are walked: what is to be read is known.
    pub(crate) fn end_walks(&mut self) {
        if self.readings.len() > 1 {
            let order = |a: &Candidate, b: &Candidate| {
                a.estimate.total_cmp(&b.estimate).then(a.point.cmp(&b.point))
            };
            self.waves.unread.sort_unstable_by(order);
        }
        match self.params.rescore {
            Rescore::Auto { recall } => self.waves.read_for(self.params.k, recall),
            Rescore::Times(_) | Rescore::Off => {
                self.waves.read(self.params.shortlist(self.points));
            }
        }
    }

    /// Turns to what is to be read next. Returns false when nothing is.
    pub(crate) fn next_wave(&mut self) -> bool {
        if !self.wave.is_empty() {
            self.waves.heard(&self.scored);
        }
        self.waves.next(&mut self.wave);
        for (number, reading) in (0..).zip(&mut self.readings) {
            reading.part = (0, 0);
            reading.points.clear();
            let own = self.wave.iter().filter(|one| one.point.segment == number);
            let unknown = own.filter(|one| one.exact.is_none());
            reading.points.extend(unknown.map(|one| one.point));
            reading.places.clear();
            reading.places.extend(reading.points.iter().map(|point| point.place));
            self.originals += reading.points.len();
        }
        let known =
            |&Candidate { point, exact, .. }: &Candidate| Some(Scored { point, distance: exact? });
        self.scored.extend(self.wave.iter().filter_map(known));
        !self.wave.is_empty()
    }

    /// Measures what the wave reads of a segment whose originals are in memory; else leaves in
    /// [`pages`](Self::pages) those that are to be read next. Returns false when none are.
    pub(crate) fn next_part(&mut self, segment: &Segment, number: u32) -> bool {
        let Self { readings, row_query: query, scored, .. } = self;
        let Reading { points, places, part, pages } = &mut readings[number as usize];
        let begin = part.1;
        match segment.originals() {
            Originals::Resident(rows) => {
                *part = (begin, points.len());
                scored.extend(points[begin..].iter().map(|&point| Scored {
                    point,
                    distance: query.distance(rows.row(point.place)),
                }));
                false
            }
            Originals::Paged(rows) => {
                let end = points.len().min(begin.saturating_add(RowPages::most(&rows.records)));
                *part = (begin, end);
                pages.plan(&rows.records, places[begin..end].iter().copied());
                begin < end
            }
        }
    }

    /// Calls `visit` with the pages of the part that is being read, and with what takes them: the
    /// place among the pages, and the page.
    pub(crate) fn visiting<R>(
        &mut self,
        rows: &Paged,
        number: u32,
        visit: impl FnOnce(&[PageNo], &mut dyn FnMut(usize, &[u8])) -> R,
    ) -> R {
        let Self { readings, row_query: query, scored, .. } = self;
        let Reading { points, places, part, pages } = &mut readings[number as usize];
        let (points, places) = (&points[part.0..part.1], &places[part.0..part.1]);
        let RowPages { pages, shares } = pages;
        visit(pages, &mut |place, page| {
            shares.take(&rows.records, places, place, page, &mut |i, record| {
                let distance = query.distance(rows.row(record));
                scored.push(Scored { point: points[i], distance });
            });
        })
    }

    /// All pages of the part were taken.
    pub(crate) fn end_part(&mut self, rows: &Paged, number: u32) {
        let Self { readings, row_query: query, scored, .. } = self;
        let Reading { points, part, pages, .. } = &readings[number as usize];
        pages.shares.finish(&rows.records, &mut |i, record| {
            let distance = query.distance(rows.row(record));
            scored.push(Scored { point: points[part.0 + i], distance });
        });
    }

    /// The nearest, nearest first, ties by segment and id.
    pub(crate) fn nearest(&mut self) -> &[Scored] {
        let order =
            |a: &Scored, b: &Scored| a.distance.total_cmp(&b.distance).then(a.point.cmp(&b.point));
        self.scored.sort_unstable_by(order);
        self.scored.truncate(self.params.k);
        &self.scored
    }
}

fn set_query<S: Scheme>(codes: &S, values: &[f32], query: &mut CodeQuery) {
    codes.set_query(values, S::query(query));
}

fn query_for<'q, S: Scheme>(_codes: &S, query: &'q mut CodeQuery) -> &'q S::Query {
    S::query(query)
}

fn own_error<S: Scheme>(
    codes: &S,
    query: &mut CodeQuery,
    place: u32,
    distance: f32,
) -> Option<f32> {
    codes.error(S::query(query), codes.row(place), distance)
}

impl Scored {
    /// As a hit in `segment`, which it is of.
    pub(crate) fn hit(&self, segment: &Segment) -> Hit {
        Hit { id: segment.ids().of_rank(self.point.rank), distance: self.distance }
    }
}

/// A walk through a graph in memory.
struct Walk<'a> {
    segment: &'a Segment,
    ef: usize,
    passing: &'a Passing<'a>,
    patience: &'a Patience<'a>,
    scratch: &'a mut WalkScratch,
}

impl Walk<'_> {
    fn by_codes<S: Scheme>(self, codes: &S, query: &mut CodeQuery) -> Result<(), SearchError> {
        self.by(CodeScorer { codes, query: S::query(query) })
    }

    /// Leaves the `ef` best of layer 0 that pass in the scratch.
    fn by<S: Scorer>(self, scorer: S) -> Result<(), SearchError>
    where
        SearchError: From<S::Error>,
    {
        let Self { segment, ef, passing, patience, scratch } = self;
        let mut scorer = Patient { scorer, patience };
        let (graph, ids) = (segment.graph(), segment.ids());
        match Way::of(passing, ef) {
            Way::Walk => {
                let from = scratch.descend(graph, ids, 0, &mut scorer)?;
                scratch.search_layer(graph, ids, 0, from, ef, &mut scorer)
            }
            Way::WalkAmong => {
                let from = scratch.descend(graph, ids, 0, &mut scorer)?;
                let ef = ef.saturating_mul(times_as_many(graph, from, passing));
                if Way::of(passing, ef) == Way::Scan {
                    return scratch.scan(passing, ids, ef, &mut scorer);
                }
                scratch.search_among(graph, ids, from, passing, ef, &mut scorer)?;
                match are_missed(scratch.found.len(), ef, passing) {
                    true => scratch.scan(passing, ids, ef, &mut scorer),
                    false => Ok(()),
                }
            }
            Way::Scan => scratch.scan(passing, ids, ef, &mut scorer),
        }
    }
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
    rows: &'a Paged,
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
