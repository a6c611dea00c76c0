//! A graph to be packed: who should lie beside whom, and how much that is worth.
//!
//! Each node names those that it would like to lie beside. A link holds in both directions,
//! and weighs what both would give for it. Nodes that very many would like to lie beside, as there
//! are some in high dimensions and among equal points, would make every step long: each is
//! linked only so often, to those that want it most.

use super::near::{NEAREST, Near};
use crate::graph::EMPTY;

/// What the nearest neighbour weighs.
const NEAREST_WEIGHT: u32 = 256;
/// A neighbour weighs half of the nearest when so many are nearer: on Fashion-MNIST queries read 1.5 %
/// fewer pages than with equal weights.
const HALF_AT_RANK: u32 = 8;
/// Of groups, each names so many at most.
pub(super) const MAX_NAMED: usize = 24;
/// A node is linked to at most so many that it does not name itself.
const MAX_NAMED_BY: u8 = 48;

/// To whom, and how much it weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) to: u32,
    pub(super) weight: u32,
}

/// For each node its links, in ascending order of nodes.
pub(super) struct Links {
    /// Where the links of each node begin, and where those of the last end.
    starts: Vec<usize>,
    links: Vec<Link>,
}

impl Links {
    /// Between points and those near them.
    pub(super) fn of_near(near: &Near) -> Self {
        Self::symmetric(near.len(), NEAREST, |point, rank| {
            let to = near.of(point, rank);
            let weight = NEAREST_WEIGHT * HALF_AT_RANK / (HALF_AT_RANK + rank as u32);
            (to != EMPTY).then_some(Link { to, weight })
        })
    }

    /// Between the whole groups of `size` nodes that `order` has one behind the other.
    pub(super) fn between_groups(&self, order: &[u32], size: usize) -> Self {
        let groups = order.len() / size;
        let mut group_of = vec![EMPTY; order.len()];
        for (group, nodes) in (0..).zip(order.chunks_exact(size)) {
            nodes.iter().for_each(|&node| group_of[node as usize] = group);
        }
        let mut weights = vec![0_u32; groups];
        let mut named = Vec::new();
        let mut names = vec![Link::default(); groups * MAX_NAMED];
        for ((group, nodes), names) in
            (0..).zip(order.chunks_exact(size)).zip(names.chunks_mut(MAX_NAMED))
        {
            for link in nodes.iter().flat_map(|&node| self.of(node)) {
                let other = group_of[link.to as usize];
                if other == EMPTY || other == group {
                    continue;
                }
                let weight = &mut weights[other as usize];
                if *weight == 0 {
                    named.push(other);
                }
                *weight = weight.saturating_add(link.weight);
            }
            named.sort_unstable_by_key(|&to| (std::cmp::Reverse(weights[to as usize]), to));
            for (name, &to) in names.iter_mut().zip(&named) {
                *name = Link { to, weight: weights[to as usize] };
            }
            named.drain(..).for_each(|to| weights[to as usize] = 0);
        }
        Self::symmetric(groups, MAX_NAMED, |group, rank| {
            let name = names[group * MAX_NAMED + rank];
            (name.weight > 0).then_some(name)
        })
    }

    /// Of what each of `count` nodes names, at most `width` nodes, the dearest first.
    fn symmetric(count: usize, width: usize, name: impl Fn(usize, usize) -> Option<Link>) -> Self {
        // Rank by rank: who has been named often enough was named by those who want it most.
        let for_each = |take: &mut dyn FnMut(u32, Link)| {
            let mut times_named = vec![0_u8; count];
            for rank in 0..width {
                for node in 0..count {
                    let Some(link) = name(node, rank) else { continue };
                    let times = &mut times_named[link.to as usize];
                    if *times < MAX_NAMED_BY {
                        *times += 1;
                        take(node as u32, link);
                    }
                }
            }
        };
        let mut starts = vec![0; count + 1];
        for_each(&mut |from, link| {
            starts[from as usize + 1] += 1;
            starts[link.to as usize + 1] += 1;
        });
        for node in 0..count {
            starts[node + 1] += starts[node];
        }
        let mut links = vec![Link::default(); starts[count]];
        let mut ends = starts.clone();
        let mut put = |node: u32, link: Link| {
            let end = &mut ends[node as usize];
            links[*end] = link;
            *end += 1;
        };
        for_each(&mut |from, link| {
            put(from, link);
            put(link.to, Link { to: from, weight: link.weight });
        });
        drop(ends);
        merge(&mut starts, &mut links);
        Self { starts, links }
    }

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The links of a node.
    #[inline]
    pub(super) fn of(&self, node: u32) -> &[Link] {
        &self.links[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}

/// Sorts the links of each node, and makes one of two to the same.
fn merge(starts: &mut [usize], links: &mut Vec<Link>) {
    let mut kept = 0;
    for node in 0..starts.len() - 1 {
        // The front has moved up, the links to be read have not.
        let (begin, end) = (std::mem::replace(&mut starts[node], kept), starts[node + 1]);
        links[begin..end].sort_unstable_by_key(|link| link.to);
        for i in begin..end {
            let link = links[i];
            if kept > starts[node] && links[kept - 1].to == link.to {
                links[kept - 1].weight = links[kept - 1].weight.saturating_add(link.weight);
            } else {
                links[kept] = link;
                kept += 1;
            }
        }
    }
    starts[starts.len() - 1] = kept;
    links.truncate(kept);
}
