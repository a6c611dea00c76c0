//! The nearest neighbours of every point, as its graph knows them.
//!
//! Whoever is near a point is among its neighbours or the neighbours of the nearest of these. On
//! real sets 0.91 to 0.96 of the 16 true nearest are found so, for about 300 distances a point, a
//! small part of what its insertion took.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::candidates::Candidates;
use crate::graph::walk::Scorer;
use crate::graph::{EMPTY, Graph, PointScorer, Space};
use crate::ids::Ids;
use crate::visited::Visited;

/// So many of the nearest are kept of each point.
pub(super) const NEAREST: usize = 16;
/// Of its nearest neighbours so many are asked for theirs: with twice as many, packing on
/// Fashion-MNIST, text-minilm and sift-photos was better by less than 1 %.
const ASKED: usize = 8;
/// Points that one task works on.
const TASK: usize = 256;

/// For each point its nearest, nearest first.
pub(crate) struct Near {
    /// [`NEAREST`] a point: ids, then [`EMPTY`].
    pub(super) points: Vec<u32>,
}

/// What finding them needs, kept from one point to the next.
struct Scratch<V> {
    seen: Visited,
    fresh: Vec<u32>,
    distances: Vec<f32>,
    nearest: Candidates,
    asked: Vec<u32>,
    loaded: Vec<V>,
}

impl<V> Default for Scratch<V> {
    fn default() -> Self {
        Self {
            seen: Visited::default(),
            fresh: Vec::new(),
            distances: Vec::new(),
            nearest: Candidates::default(),
            asked: Vec::new(),
            loaded: Vec::new(),
        }
    }
}

impl Near {
    /// Finds them on all cores. `step` hears of how many points, and ends the work when it breaks.
    pub(crate) fn find<S: Space>(
        space: &S,
        graph: &Graph,
        step: &(dyn Fn(u64) -> ControlFlow<()> + Sync),
    ) -> ControlFlow<(), Self> {
        let mut points = vec![EMPTY; graph.len() * NEAREST];
        let (scratches, found) = (Mutex::new(Vec::new()), AtomicU64::new(0));
        let scratches = || scratches.lock().unwrap_or_else(PoisonError::into_inner);
        points.par_chunks_mut(TASK * NEAREST).enumerate().try_for_each(|(task, out)| {
            let kept = scratches().pop();
            let mut scratch: Scratch<S::Value> = kept.unwrap_or_default();
            for (i, out) in out.chunks_exact_mut(NEAREST).enumerate() {
                scratch.find((task * TASK + i) as u32, space, graph, out);
            }
            scratches().push(scratch);
            let count = (out.len() / NEAREST) as u64;
            // Relaxed: a count, read for its value alone.
            step(found.fetch_add(count, Ordering::Relaxed) + count)
        })?;
        ControlFlow::Continue(Self { points })
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.points.len() / NEAREST
    }

    /// Which point is the nearest of `point` but `rank`; [`EMPTY`] where there are not so many.
    pub(super) fn of(&self, point: usize, rank: usize) -> u32 {
        self.points[point * NEAREST + rank]
    }
}

impl<V: Copy + Default + Send> Scratch<V> {
    fn find<S: Space<Value = V>>(&mut self, point: u32, space: &S, graph: &Graph, out: &mut [u32]) {
        let Self { seen, fresh, distances, nearest, asked, loaded } = self;
        let mut scorer = PointScorer::new(space, space.load(point, loaded));
        let layer = &graph.layers[0];
        seen.begin(graph.len());
        seen.insert(point);
        nearest.begin(NEAREST);
        let mut offer_neighbours = |of: u32, nearest: &mut Candidates| {
            fresh.clear();
            fresh.extend(layer.neighbours(of).filter(|&other| seen.insert(other)));
            let Ok(()) = scorer.score(fresh, nearest.bound(), distances);
            for (&distance, &other) in distances.iter().zip(fresh.iter()) {
                nearest.offer(distance, other, &Ids::ROWS);
            }
        };
        offer_neighbours(point, nearest);
        asked.clear();
        asked.extend(nearest.iter().take(ASKED).map(|(_, other)| other));
        for &other in asked.iter() {
            offer_neighbours(other, nearest);
        }
        for (slot, (_, other)) in out.iter_mut().zip(nearest.iter()) {
            *slot = other;
        }
    }
}
