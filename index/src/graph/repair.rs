//! Makes every point reachable.
//!
//! Links are directed, and shortening a list may cut the last way to a point. After the build all
//! points are visited from the entry point over layer 0; one that was not reached is linked from
//! the nearest reached point that has room. Where none near has room, a link is replaced that is
//! not part of the tree by which the visit came: everything reached stays reached.

use std::convert::Infallible;

use super::Graph;
use super::build::PointScorer;
use super::space::Space;
use super::walk::WalkScratch;
use crate::ids::Ids;

/// Links every point of layer 0 that the entry point does not lead to. Returns how many there
/// were that needed a link.
pub(super) fn repair<S: Space>(graph: &mut Graph, space: &S, ef: usize) -> usize {
    let mut tree = Tree::grow(graph);
    let mut linked = 0;
    let (mut walk, mut loaded) = (WalkScratch::default(), Vec::new());
    for point in 0..graph.len() as u32 {
        if tree.reaches(point) {
            continue;
        }
        let mut scorer = PointScorer::new(space, space.load(point, &mut loaded));
        let Ok(()) = find_near(graph, ef, &mut walk, &mut scorer);
        let near = walk.found.iter().map(|(_, near)| near);
        let mut hosts = near.chain(0..graph.len() as u32);
        // A leaf of the tree always has a link to give away or room for one: the search ends.
        let host = hosts.find(|&host| tree.reaches(host) && tree.take(graph, host, point));
        debug_assert!(host.is_some(), "no room for point {point}");
        tree.extend(graph, point);
        linked += 1;
    }
    linked
}

fn find_near<S: Space>(
    graph: &Graph,
    ef: usize,
    walk: &mut WalkScratch,
    scorer: &mut PointScorer<'_, S>,
) -> Result<(), Infallible> {
    let from = walk.descend(graph, &Ids::ROWS, 0, scorer)?;
    walk.search_layer(graph, &Ids::ROWS, 0, from, ef, scorer)
}

/// How the visit came to each point.
struct Tree {
    parents: Vec<u32>,
    waiting: Vec<u32>,
}

/// The parent of a point that was not reached. Ids are below 2^31.
const UNREACHED: u32 = u32::MAX;

impl Tree {
    fn grow(graph: &Graph) -> Self {
        let mut tree = Self { parents: vec![UNREACHED; graph.len()], waiting: Vec::new() };
        tree.parents[graph.entry_point as usize] = graph.entry_point;
        tree.extend(graph, graph.entry_point);
        tree
    }

    fn reaches(&self, point: u32) -> bool {
        self.parents[point as usize] != UNREACHED
    }

    /// Visits everything that a reached point leads to.
    fn extend(&mut self, graph: &Graph, from: u32) {
        self.waiting.push(from);
        while let Some(point) = self.waiting.pop() {
            for next in graph.layers[0].neighbours(point) {
                if !self.reaches(next) {
                    self.parents[next as usize] = point;
                    self.waiting.push(next);
                }
            }
        }
    }

    /// Links `host` to `point`, in a free slot or in place of the last link that the tree does
    /// not need. False where there is neither.
    fn take(&mut self, graph: &mut Graph, host: u32, point: u32) -> bool {
        let layer = &mut graph.layers[0];
        let mut neighbours: Vec<u32> = layer.neighbours(host).collect();
        if neighbours.len() < layer.max_neighbours {
            neighbours.push(point);
        } else {
            let spare = neighbours
                .iter()
                .rposition(|&next| self.parents[next as usize] != host || next == host);
            let Some(spare) = spare else {
                return false;
            };
            neighbours[spare] = point;
        }
        layer.set_neighbours(host, neighbours.into_iter());
        self.parents[point as usize] = host;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::space::RowSpace;
    use super::super::{Graph, Layer};
    use super::*;
    use crate::{Metric, Vectors};

    /// Points on a line, where full lists of links lead in circles and leave most points out.
    #[test]
    fn every_point_is_reached_afterwards_and_nothing_reached_is_lost() {
        let count = 200_u32;
        let line = (0..count).map(|i| i as f32).collect();
        let vectors = Vectors::from_f32(1, line).unwrap();
        let space = RowSpace::new(&vectors, Metric::L2);
        let mut layer = Layer::without_links(Vec::new(), count as usize, 4);
        for point in 0..count {
            // Groups of five, each linked fully and to nothing else.
            let group = (0..5).map(|i| point / 5 * 5 + i);
            let others: Vec<u32> = group.filter(|&other| other != point).collect();
            layer.set_neighbours(point, others.into_iter());
        }
        let (entry_point, layers) = (17, vec![layer]);
        let mut graph = Graph { entry_point, layers };
        let linked = repair(&mut graph, &space, 10);
        assert_eq!(linked, 39, "one link a group, but for the entry point's");
        let tree = Tree::grow(&graph);
        assert!((0..count).all(|point| tree.reaches(point)));
        assert_eq!(repair(&mut graph, &space, 10), 0);
    }
}
