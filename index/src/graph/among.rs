//! Walking among the points that pass a filter.
//!
//! The walk is that of algorithm 2 over another graph, which nobody has built: in it a point's
//! neighbours are those of its own that pass and, as far as these are fewer than 2M and up to twice
//! as many the fewer points pass, the passing neighbours of those that do not. Only points that pass
//! are measured and kept; the others are hopped through. This is ACORN-1 (Patel, Kraft, Guestrin and
//! Zaharia, SIGMOD 2024), where the links of two hops are cut to the first M as well; where all pass
//! it is the walk without a filter.
//!
//! The upper layers are descended as ever, to where the query is. Those that pass may all be
//! elsewhere, so the walk begins also at some that are drawn evenly from layer 1, whose points
//! are in memory wherever the others lie.
//!
//! A query from outside of what passes has its nearest on all sides, on a wide front; a walk that
//! keeps as few candidates as for one from within sees too little of it. So it keeps more, the less
//! passes around the query: up to four times as many.
//!
//! What is taken in which order is told here, once: the walk through pages asks [`Reach`] as well.

use super::walk::{Scorer, WalkScratch};
use super::{Graph, Layer};
use crate::ids::Ids;
use crate::passing::Passing;
use crate::prefetch::prefetch;

/// Points of layer 1 that a walk begins at, where they pass: one in each of so many stretches.
const SEEDS: usize = 128;
/// So many points of a stretch are looked at for one that passes.
const LOOKS: usize = 32;

/// At most so many times as many candidates are kept for a query from outside.
const MOST_TIMES: usize = 4;

/// How many times as many candidates a walk keeps that has descended to `from`: as many times as
/// fewer points pass among those that are two hops from there in layer 1 than pass everywhere.
/// On text-minilm a filter by one source finds 0.89 without it.
pub(crate) fn times_as_many(graph: &Graph, from: u32, passing: &Passing<'_>) -> usize {
    let Some(layer) = graph.layers.get(1) else { return 1 };
    let around = layer.neighbours(from).flat_map(|near| layer.neighbours(near));
    let (count, passed) = around.fold((0, 0), |(count, passed), point| {
        (count + 1, passed + usize::from(passing.contains(point)))
    });
    let expected = count * passing.expected() / passing.points().max(1);
    (expected / (passed + 1)).clamp(1, MOST_TIMES)
}

/// The points that one point leads to among those that pass.
#[derive(Default)]
pub(crate) struct Reach {
    /// Those that pass and were not seen before: they are to be measured.
    pub(crate) fresh: Vec<u32>,
    /// Neighbours that do not pass, in order: they may be hopped through.
    pub(crate) hops: Vec<u32>,
    /// How many that pass there were, seen before or not.
    taken: usize,
    /// So many are enough.
    most: usize,
}

impl Reach {
    /// Begins with another point of `layer`.
    ///
    /// What is reached in two hops is near the point on all sides alike, where a graph of the
    /// points that pass would have been chosen to lead far as well; so it takes more of it. Twice as
    /// many where few pass found 0.95 to 0.96 of what Fashion-MNIST's labels ask for where 2M
    /// found 0.93 to 0.95; where nearly all pass it would be work for nothing.
    pub(crate) fn begin(&mut self, layer: &Layer, passing: &Passing<'_>) {
        self.fresh.clear();
        self.hops.clear();
        let (most, points) = (layer.max_neighbours, passing.points().max(1));
        (self.taken, self.most) = (0, most + most * (points - passing.expected()) / points);
    }

    /// Takes its neighbours; `see` tells whether one is seen for the first time.
    #[inline]
    pub(crate) fn take_own(
        &mut self,
        neighbours: impl Iterator<Item = u32>,
        passing: &Passing<'_>,
        mut see: impl FnMut(u32) -> bool,
    ) {
        for neighbour in neighbours {
            if !passing.contains(neighbour) {
                self.hops.push(neighbour);
                continue;
            }
            self.taken += 1;
            if see(neighbour) {
                self.fresh.push(neighbour);
            }
        }
    }

    /// Takes the neighbours of one that it hops through. Returns whether these were all taken.
    #[inline]
    pub(crate) fn take_beyond(
        &mut self,
        neighbours: impl Iterator<Item = u32>,
        passing: &Passing<'_>,
        mut see: impl FnMut(u32) -> bool,
    ) -> bool {
        for neighbour in neighbours.filter(|&neighbour| passing.contains(neighbour)) {
            if self.is_full() {
                return false;
            }
            self.taken += 1;
            if see(neighbour) {
                self.fresh.push(neighbour);
            }
        }
        true
    }

    /// Whether nothing is to be hopped through any more.
    pub(crate) fn is_full(&self) -> bool {
        self.taken >= self.most
    }

    /// How many are wanted beyond its own neighbours.
    pub(crate) fn wanted(&self) -> usize {
        self.most.saturating_sub(self.taken)
    }

    /// Takes points to begin at.
    pub(crate) fn take_seeds(
        &mut self,
        graph: &Graph,
        passing: &Passing<'_>,
        mut see: impl FnMut(u32) -> bool,
    ) {
        let points = graph.layers.get(1).map_or(&[][..], |layer| &layer.points);
        let stretches = points.chunks(points.len().div_ceil(SEEDS).max(1));
        for stretch in stretches {
            let mut looked_at = stretch.iter().take(LOOKS);
            let first = looked_at.find(|&&point| passing.contains(point));
            self.fresh.extend(first.filter(|&&point| see(point)));
        }
    }
}

impl WalkScratch {
    /// Leaves in `found` the `ef` best of those that pass and that can be reached from `from`.
    pub(crate) fn search_among<S: Scorer>(
        &mut self,
        graph: &Graph,
        ids: &Ids,
        from: u32,
        passing: &Passing<'_>,
        ef: usize,
        scorer: &mut S,
    ) -> Result<(), S::Error> {
        self.visited.begin(graph.len());
        self.found.begin(ef);
        let layer = &graph.layers[0];
        self.reach.begin(layer, passing);
        self.visited.insert(from);
        match passing.contains(from) {
            true => self.reach.fresh.push(from),
            false => self.reach_on(layer, from, passing),
        }
        self.reach.take_seeds(graph, passing, |point| self.visited.insert(point));
        loop {
            let Self { found, reach, distances, .. } = self;
            if let Some(next) = found.next() {
                prefetch(layer.slots(next));
            }
            scorer.score(&reach.fresh, found.bound(), distances)?;
            for (&distance, &point) in distances.iter().zip(&reach.fresh) {
                found.offer(distance, point, ids);
            }
            let Some(point) = found.expand_next() else { return Ok(()) };
            reach.begin(layer, passing);
            self.reach_on(layer, point, passing);
        }
    }

    /// Takes what `point` leads to.
    fn reach_on(&mut self, layer: &Layer, point: u32, passing: &Passing<'_>) {
        let Self { visited, reach, .. } = self;
        reach.take_own(layer.neighbours(point), passing, |neighbour| visited.insert(neighbour));
        for number in 0..reach.hops.len() {
            if reach.is_full() {
                break;
            }
            if let Some(&ahead) = reach.hops.get(number + 1) {
                prefetch(layer.slots(ahead));
            }
            let hop = reach.hops[number];
            if visited.contains(hop) {
                continue; // It was hopped through before.
            }
            let see = |neighbour| visited.insert(neighbour);
            if reach.take_beyond(layer.neighbours(hop), passing, see) {
                visited.insert(hop);
            }
        }
    }
}
