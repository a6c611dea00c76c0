//! Building the graph on all cores, to the same result at any number of them.
//!
//! Points are inserted in rounds. The points of a round walk the graph as it stood before, side
//! by side, and choose their neighbours; then their links are made; then the links back, gathered
//! by target, each target's list shortened on its own where it grew too long. No step depends on
//! which thread was first, so that no lock is needed and the seed decides everything. (ParlayANN,
//! PPoPP'24, builds so.) The first rounds double the graph; later ones are a small share of it, so
//! that what the points of a round do not know of each other hardly matters.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::neighbours::{Limits, Neighbour, SelectScratch};
use super::space::{Loaded, Space};
use super::walk::{Scorer, WalkScratch};
use super::{Graph, Layer, levels, repair};
use crate::ids::Ids;
use crate::prefetch::rows_ahead;

/// A round is at most this share of all points: rounds forty times smaller changed recall@10 on
/// SIFT descriptors by 1 in 10,000 and made the build slower.
const ROUND_SHARE: usize = 50;
/// A round is also at most so many points.
const MAX_ROUND: usize = 4096;
/// Points or targets that one task works on.
const TASK: usize = 16;

/// What the build must know besides the points.
#[derive(Clone, Copy)]
pub(crate) struct GraphOptions {
    pub(crate) m: usize,
    pub(crate) ef_construction: usize,
    pub(crate) seed: u64,
}

/// Builds the graph over all points of `space`, of which there is at least one. `step` hears how
/// many points are inserted, and ends the build when it breaks. Also returns how many points had
/// to be linked at the end because nothing led to them.
pub(crate) fn build<S: Space>(
    space: &S,
    options: GraphOptions,
    step: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
) -> ControlFlow<(), (Graph, usize)> {
    let levels = levels::draw(space.len(), options.m, options.seed);
    let order = levels::order_of_insertion(&levels, options.seed);
    let mut builder = Builder {
        space,
        options,
        graph: without_links(&levels, order[0], options.m),
        levels,
        scratches: Mutex::new(Vec::new()),
        inserted: AtomicU64::new(1),
        step,
    };
    let most = (order.len() / ROUND_SHARE).clamp(1, MAX_ROUND);
    let mut inserted = 1;
    while inserted < order.len() {
        let size = inserted.min(most).min(order.len() - inserted);
        builder.insert(&order[inserted..inserted + size])?;
        inserted += size;
    }
    let mut graph = builder.graph;
    let linked = repair::repair(&mut graph, space, options.ef_construction);
    ControlFlow::Continue((graph, linked))
}

fn without_links(levels: &[u8], entry_point: u32, m: usize) -> Graph {
    let mut layers = vec![Layer::without_links(Vec::new(), levels.len(), 2 * m)];
    for level in 1..=levels[entry_point as usize] {
        let in_layer = |&point: &u32| levels[point as usize] >= level;
        let points: Vec<u32> = (0..levels.len() as u32).filter(in_layer).collect();
        let count = points.len();
        layers.push(Layer::without_links(points, count, m));
    }
    Graph { entry_point, layers }
}

struct Builder<'a, S: Space> {
    space: &'a S,
    options: GraphOptions,
    graph: Graph,
    levels: Vec<u8>,
    scratches: Mutex<Vec<Scratch<S::Value>>>,
    inserted: AtomicU64,
    step: &'a (dyn Fn(u64) -> ControlFlow<()> + Sync),
}

struct Scratch<V> {
    walk: WalkScratch,
    select: SelectScratch<V>,
    loaded: Vec<V>,
}

impl<V> Default for Scratch<V> {
    fn default() -> Self {
        Self { walk: WalkScratch::default(), select: SelectScratch::default(), loaded: Vec::new() }
    }
}

/// The neighbours that are to be a point's in one layer.
struct Chosen {
    layer: u8,
    point: u32,
    neighbours: Vec<Neighbour>,
}

/// A link back, from a target to a new point.
#[derive(Clone, Copy)]
struct Back {
    layer: u8,
    target: u32,
    source: Neighbour,
}

impl<S: Space> Builder<'_, S> {
    /// One round.
    fn insert(&mut self, points: &[u32]) -> ControlFlow<()> {
        let tasks = points.par_chunks(TASK).map(|task| {
            let chosen = self.with_scratch(|scratch| {
                let choose = task.iter().flat_map(|&point| self.choose(point, scratch));
                choose.collect::<Vec<_>>()
            });
            // Relaxed: a count, read for its value alone.
            let done = self.inserted.fetch_add(task.len() as u64, Ordering::Relaxed);
            match (self.step)(done) {
                ControlFlow::Continue(()) => Ok(chosen),
                ControlFlow::Break(()) => Err(()),
            }
        });
        let Ok(chosen) = tasks.collect::<Result<Vec<_>, ()>>() else {
            return ControlFlow::Break(());
        };
        let chosen: Vec<Chosen> = chosen.into_iter().flatten().collect();
        let backs = gather_backs(&chosen);
        self.apply(chosen);
        let targets: Vec<&[Back]> =
            backs.chunk_by(|a, b| (a.layer, a.target) == (b.layer, b.target)).collect();
        let tasks = targets.par_chunks(TASK).map(|task| {
            self.with_scratch(|scratch| {
                let link = task.iter().map(|backs| self.link_back(backs, scratch));
                link.collect::<Vec<_>>()
            })
        });
        let relinked: Vec<Vec<Chosen>> = tasks.collect();
        self.apply(relinked.into_iter().flatten());
        ControlFlow::Continue(())
    }

    fn apply(&mut self, chosen: impl IntoIterator<Item = Chosen>) {
        for Chosen { layer, point, neighbours } in chosen {
            let ids = neighbours.iter().map(|neighbour| neighbour.point);
            self.graph.layers[layer as usize].set_neighbours(point, ids);
        }
    }

    /// The neighbours of a new point in each of its layers.
    fn choose(&self, point: u32, scratch: &mut Scratch<S::Value>) -> Vec<Chosen> {
        let Scratch { walk, select, loaded } = scratch;
        let loaded = self.space.load(point, loaded);
        let mut scorer = PointScorer::new(self.space, loaded);
        let m = self.options.m;
        let ef = self.options.ef_construction.max(m);
        let level = self.levels[point as usize];
        let Ok(mut from) = walk.descend(&self.graph, &Ids::ROWS, level as usize, &mut scorer);
        let choose = |layer: u8| {
            let (graph, layer_no) = (&self.graph, layer as usize);
            let Ok(()) = walk.search_layer(graph, &Ids::ROWS, layer_no, from, ef, &mut scorer);
            let found = walk.found.iter();
            let found = found.map(|(distance, point)| Neighbour { distance, point });
            select.candidates.clear();
            select.candidates.extend(found);
            from = select.candidates[0].point;
            let limits = Limits { most: m, fill: m };
            Chosen { layer, point, neighbours: select.select(self.space, loaded, limits).to_vec() }
        };
        (0..=level).rev().map(choose).collect()
    }

    /// The list of a target after new points have linked to it. One that was shortened keeps a
    /// quarter of its slots free, so that the next few links need no choice: that takes an eighth off
    /// the time of a build, and at equal recall a search compares as many points.
    fn link_back(&self, backs: &[Back], scratch: &mut Scratch<S::Value>) -> Chosen {
        let Back { layer, target, .. } = backs[0];
        let layer_of_target = &self.graph.layers[layer as usize];
        let most = layer_of_target.max_neighbours;
        let existing = layer_of_target.neighbours(target);
        let chosen = |neighbours| Chosen { layer, point: target, neighbours };
        let new = backs.iter().map(|back| back.source);
        if existing.clone().count() + backs.len() <= most {
            // Nothing asks for the distances of links that are kept.
            let kept = existing.map(|point| Neighbour { distance: 0.0, point });
            return chosen(kept.chain(new).collect());
        }
        let loaded = self.space.load(target, &mut scratch.loaded);
        let measured =
            existing.map(|point| Neighbour { distance: self.space.distance(loaded, point), point });
        scratch.select.candidates.clear();
        scratch.select.candidates.extend(measured.chain(new));
        let limits = Limits { most, fill: most - most / 4 };
        chosen(scratch.select.select(self.space, loaded, limits).to_vec())
    }

    /// Lends one of as many scratches as there are threads.
    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch<S::Value>) -> T) -> T {
        let scratches = || self.scratches.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = scratches().pop();
        let mut scratch = kept.unwrap_or_default();
        let result = work(&mut scratch);
        scratches().push(scratch);
        result
    }
}

/// The links back of a round, those of one target side by side, in an order that depends on the
/// links alone.
fn gather_backs(chosen: &[Chosen]) -> Vec<Back> {
    let links = chosen.iter().flat_map(|chosen| {
        chosen.neighbours.iter().map(|neighbour| Back {
            layer: chosen.layer,
            target: neighbour.point,
            source: Neighbour { distance: neighbour.distance, point: chosen.point },
        })
    });
    let mut backs: Vec<Back> = links.collect();
    backs.par_sort_unstable_by_key(|back| (back.layer, back.target, back.source.point));
    backs
}

/// Scores points against a point.
pub(crate) struct PointScorer<'a, S: Space> {
    space: &'a S,
    from: Loaded<'a, S::Value>,
}

impl<'a, S: Space> PointScorer<'a, S> {
    pub(crate) fn new(space: &'a S, from: Loaded<'a, S::Value>) -> Self {
        Self { space, from }
    }
}

impl<S: Space> Scorer for PointScorer<'_, S> {
    type Error = Infallible;

    fn score(
        &mut self,
        points: &[u32],
        bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), Infallible> {
        distances.clear();
        let ahead = rows_ahead(self.space.row_bytes());
        for &point in points.iter().take(ahead) {
            self.space.prefetch(point);
        }
        for (i, &point) in points.iter().enumerate() {
            if let Some(&next) = points.get(i + ahead) {
                self.space.prefetch(next);
            }
            distances.push(self.space.distance_within(self.from, point, bound));
        }
        Ok(())
    }
}
