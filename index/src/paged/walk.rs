//! The walk itself: which candidates are looked up, and in which order they count.

use super::Paged;
use super::among::Among;
use super::expansion::{Expansion, Sources, State};
use super::measure::Measure;
use super::memo::Memo;
use super::node::Node;
use crate::candidates::Candidates;
use crate::graph::Graph;
use crate::ids::Ids;
use crate::scan::Way;
use crate::{Patience, SearchError};

/// The most candidates that one walk looks up at once, and the batches that it asks by.
pub(crate) const WIDTH: usize = 16;

/// One walk through pages; kept from one to the next.
#[derive(Default)]
pub(crate) struct PagedWalk {
    /// The best points found, once the walk is over.
    pub(crate) found: Candidates,
    pub(crate) memo: Memo,
    pub(super) expansions: Vec<Expansion>,
    pub(super) among: Among,
    stage: Stage,
    pub(super) ef: usize,
}

/// How far down a walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// The entry point is being measured.
    #[default]
    Entry,
    /// In this layer above the lowest, at this nearest point.
    Upper { layer: usize, nearest: (f32, u32) },
    /// In layer 0.
    Ground,
    /// In layer 0 among the points that pass.
    Among,
}

/// The sweep that visits points above layer 0, and the one in it.
const UPPER: u8 = 1;
const GROUND: u8 = 2;

impl PagedWalk {
    /// Begins to look for the `ef` best in one way.
    pub(crate) fn begin(&mut self, ef: usize, way: Way) {
        self.expansions.resize_with(WIDTH, Expansion::default);
        debug_assert!(self.expansions.iter().all(|one| one.state == State::Idle));
        self.memo.begin();
        self.stage = Stage::Entry;
        self.ef = ef;
        if way == Way::Scan {
            self.stage = Stage::Among;
            self.begin_scan();
        }
    }

    /// Goes as far as the pages that are in memory lead, and asks for those that come next, of
    /// `width` candidates at most, by the batches from `first_batch` on. Returns whether the walk
    /// is over.
    pub(crate) fn step(
        &mut self,
        graph: &Graph,
        from: &mut Sources<'_>,
        first_batch: u32,
        width: usize,
        patience: &Patience<'_>,
    ) -> Result<bool, SearchError> {
        while matches!(self.stage, Stage::Entry | Stage::Upper { .. }) {
            patience.check()?;
            if !self.descend(graph, from, first_batch)? {
                return Ok(false);
            }
        }
        if self.stage == Stage::Among {
            return self.step_among(graph, from, first_batch, width, patience);
        }
        for (batch, expansion) in (first_batch..).zip(&mut self.expansions) {
            if expansion.state == State::Linked {
                expansion.measure(batch, from, &mut self.memo)?;
            }
        }
        loop {
            self.count_what_is_ready(from.ids);
            if self.found.next().is_none() {
                self.leave(from, first_batch);
                return Ok(true);
            }
            if !self.look_up(from, first_batch, width.clamp(1, WIDTH), patience)? {
                return Ok(false);
            }
        }
    }

    /// Takes the page that the neighbours of a candidate are on.
    pub(crate) fn take_links(
        &mut self,
        expansion: usize,
        page: &[u8],
        paged: &Paged,
        points: usize,
    ) -> Result<(), SearchError> {
        let linked = self.expansions[expansion].link(&paged.records, points, page);
        linked.map_err(|damage| SearchError::of(&damage, paged))
    }

    /// Takes a page of codes of a candidate's neighbours.
    pub(crate) fn take_codes(
        &mut self,
        expansion: usize,
        place: usize,
        page: &[u8],
        paged: &Paged,
        measure: &dyn Measure,
    ) -> Result<(), SearchError> {
        self.expansions[expansion].take(place, page, paged, measure, &mut self.memo)
    }

    /// Takes a page of a candidate's own record, which has all in it.
    pub(crate) fn take_node(
        &mut self,
        expansion: usize,
        place: usize,
        page: &[u8],
        from: (&Paged, &Node),
        points: usize,
        measure: &dyn Measure,
    ) -> Result<(), SearchError> {
        let memo = &mut self.memo;
        self.expansions[expansion].take_part(place, page, from, points, measure, memo)
    }

    /// Whether nothing is to come for any candidate, so that a step leads on.
    pub(crate) fn has_arrived(&self, expansion: usize) -> bool {
        matches!(self.expansions[expansion].state, State::Linked | State::Ready)
    }

    /// Asks for nothing more, and takes nothing of what was asked for.
    pub(crate) fn leave(&mut self, from: &mut Sources<'_>, first_batch: u32) {
        for (batch, expansion) in (first_batch..).zip(&mut self.expansions) {
            expansion.leave(batch, from);
        }
    }

    /// One step down or aside above layer 0. Returns false when it must wait for pages.
    fn descend(
        &mut self,
        graph: &Graph,
        from: &mut Sources<'_>,
        first_batch: u32,
    ) -> Result<bool, SearchError> {
        let Self { expansions, memo, .. } = self;
        let expansion = &mut expansions[0];
        if expansion.state == State::Idle {
            expansion.neighbours.clear();
            let point = match self.stage {
                Stage::Upper { layer, nearest: (_, point) } => {
                    expansion.neighbours.extend(graph.layers[layer].neighbours(point));
                    point
                }
                _ => {
                    expansion.neighbours.push(graph.entry_point);
                    graph.entry_point
                }
            };
            expansion.begin_with(point, first_batch, from, memo)?;
        }
        if expansion.state != State::Ready {
            return Ok(false);
        }
        expansion.state = State::Idle;
        let best = match self.stage {
            Stage::Upper { nearest, .. } => nearest,
            _ => (f32::INFINITY, graph.entry_point),
        };
        let mut nearest = best;
        for &point in &expansion.neighbours {
            let Some(told) = memo.visit(point, UPPER) else { continue };
            let tie = || from.ids.rank(point).cmp(&from.ids.rank(nearest.1));
            if told.distance.total_cmp(&nearest.0).then_with(tie).is_lt() {
                nearest = (told.distance, point);
            }
        }
        let layer = match self.stage {
            Stage::Upper { layer, .. } if nearest.1 != best.1 => layer,
            Stage::Upper { layer, .. } => layer - 1,
            _ => graph.layers.len() - 1,
        };
        self.stage = Stage::Upper { layer, nearest };
        if layer == 0 && !from.passing.are_all() {
            self.stage = Stage::Among;
            self.begin_among(nearest.1, graph, &from.passing);
        } else if layer == 0 {
            self.stage = Stage::Ground;
            self.found.begin(self.ef);
            self.memo.visit(nearest.1, GROUND);
            self.found.offer(nearest.0, nearest.1, from.ids);
        }
        Ok(true)
    }

    /// Counts the neighbours of the nearest candidates, one after the other, as far as they are
    /// known.
    fn count_what_is_ready(&mut self, ids: &Ids) {
        while let Some(point) = self.found.next() {
            let is_ready = |one: &&mut Expansion| one.point == point && one.state == State::Ready;
            let Some(expansion) = self.expansions.iter_mut().find(is_ready) else { return };
            expansion.state = State::Idle;
            self.found.expand_next();
            for &neighbour in &expansion.neighbours {
                if let Some(told) = self.memo.visit(neighbour, GROUND) {
                    self.found.offer(told.distance, neighbour, ids);
                }
            }
        }
    }

    /// Looks up the nearest candidate, and unless that is known at once, the next `width` as well.
    /// Returns whether the nearest is ready.
    fn look_up(
        &mut self,
        from: &mut Sources<'_>,
        first_batch: u32,
        width: usize,
        patience: &Patience<'_>,
    ) -> Result<bool, SearchError> {
        let mut wanted = [u32::MAX; WIDTH];
        let mut count = 0;
        for (want, point) in wanted.iter_mut().zip(self.found.unexpanded().take(width)) {
            *want = point;
            count += 1;
        }
        let wanted = &wanted[..count];
        for &point in wanted {
            let is_it = |one: &Expansion| one.state != State::Idle && one.point == point;
            if self.expansions.iter().any(is_it) {
                continue;
            }
            patience.check()?;
            let Some(free) = self.free_for(wanted) else { break };
            let batch = first_batch + free as u32;
            let expansion = &mut self.expansions[free];
            expansion.leave(batch, from);
            expansion.begin(point, batch, from, &mut self.memo)?;
            if point == wanted[0] && expansion.state == State::Ready {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An expansion of nobody, or else one of a candidate that others have pushed back.
    fn free_for(&self, wanted: &[u32]) -> Option<usize> {
        let idle = self.expansions.iter().position(|one| one.state == State::Idle);
        let unwanted = |one: &Expansion| !wanted.contains(&one.point);
        idle.or_else(|| self.expansions.iter().position(unwanted))
    }
}
