//! Walking the graph towards a query: algorithms 2 and 5 of the paper.

use super::among::Reach;
use super::{EMPTY, Graph, Layer};
use crate::candidates::Candidates;
use crate::ids::Ids;
use crate::prefetch::prefetch;
use crate::visited::Visited;

/// Knows the query, and how far points are from it.
pub(crate) trait Scorer {
    type Error;

    /// Replaces `distances` by the distance of each of `points`, in their order. Of a point that
    /// is farther than `bound` it is enough to tell any distance that is, too.
    fn score(
        &mut self,
        points: &[u32],
        bound: f32,
        distances: &mut Vec<f32>,
    ) -> Result<(), Self::Error>;
}

/// What a walk needs, kept from one walk to the next.
#[derive(Default)]
pub(crate) struct WalkScratch {
    pub(super) visited: Visited,
    /// The best points found, once a walk is over.
    pub(crate) found: Candidates,
    fresh: Vec<u32>,
    /// Where not all points pass.
    pub(crate) reach: Reach,
    pub(crate) distances: Vec<f32>,
}

impl WalkScratch {
    /// From the entry point down through all layers above `layer`, always to the nearest
    /// neighbour. Returns the point where it ends.
    pub(crate) fn descend<S: Scorer>(
        &mut self,
        graph: &Graph,
        ids: &Ids,
        layer: usize,
        scorer: &mut S,
    ) -> Result<u32, S::Error> {
        let mut point = graph.entry_point;
        let Some(upper) = graph.layers.get(layer + 1..) else {
            return Ok(point);
        };
        self.visited.begin(graph.len());
        for layer in upper.iter().rev() {
            point = self.walk_greedily(layer, ids, point, scorer)?;
        }
        Ok(point)
    }

    /// Ends, since each step goes strictly nearer in the order of (distance, id). A point that was
    /// seen before, be it in a layer above, was not nearer than the best of then and is not nearer
    /// than that of now.
    fn walk_greedily<S: Scorer>(
        &mut self,
        layer: &Layer,
        ids: &Ids,
        from: u32,
        scorer: &mut S,
    ) -> Result<u32, S::Error> {
        self.visited.insert(from);
        scorer.score(&[from], f32::INFINITY, &mut self.distances)?;
        let mut best = (self.distances[0], from);
        loop {
            let fresh = self.see(layer, best.1);
            scorer.score(&self.fresh[..fresh], best.0, &mut self.distances)?;
            let scored = self.distances.iter().zip(&self.fresh);
            let nearest = scored.fold(best, |best, (&distance, &point)| {
                let tie = || ids.rank(point).cmp(&ids.rank(best.1));
                let nearer = distance.total_cmp(&best.0).then_with(tie).is_lt();
                if nearer { (distance, point) } else { best }
            });
            if nearest.1 == best.1 {
                return Ok(best.1);
            }
            best = nearest;
        }
    }

    /// Leaves in `found` the `ef` best points of one layer that can be reached from `from`.
    pub(crate) fn search_layer<S: Scorer>(
        &mut self,
        graph: &Graph,
        ids: &Ids,
        layer: usize,
        from: u32,
        ef: usize,
        scorer: &mut S,
    ) -> Result<(), S::Error> {
        self.visited.begin(graph.len());
        self.found.begin(ef);
        let layer = &graph.layers[layer];
        self.visited.insert(from);
        scorer.score(&[from], f32::INFINITY, &mut self.distances)?;
        self.found.offer(self.distances[0], from, ids);
        while let Some(point) = self.found.expand_next() {
            let fresh = self.see(layer, point);
            if let Some(next) = self.found.next() {
                prefetch(layer.slots(next));
            }
            scorer.score(&self.fresh[..fresh], self.found.bound(), &mut self.distances)?;
            for (&distance, &neighbour) in self.distances.iter().zip(&self.fresh) {
                self.found.offer(distance, neighbour, ids);
            }
        }
        Ok(())
    }

    /// Puts the neighbours of `point` that were not seen yet to the front of `fresh`, and returns
    /// how many there are. Each is written and counted only if it is new: whether one is can not
    /// be guessed, and a wrong guess costs more than a write.
    #[inline]
    fn see(&mut self, layer: &Layer, point: u32) -> usize {
        let mut count = 0;
        if self.fresh.len() < layer.max_neighbours {
            self.fresh.resize(layer.max_neighbours, 0);
        }
        for &slot in layer.slots(point) {
            if slot == EMPTY {
                break;
            }
            self.fresh[count] = slot;
            count += usize::from(self.visited.insert(slot));
        }
        count
    }
}
