//! Which of the points near a point become its neighbours: algorithm 4 of the paper.
//!
//! A candidate is picked unless a point that was picked before is at least as near to it as the
//! point itself: that one leads there already. What is left over fills the list up to a length.
//!
//! Points at the very place of the point itself, its twins, would dominate everything: all other
//! candidates are as near to a twin as to the point. One twin is picked, twins dominate only other
//! twins, and of equally near candidates a different one comes first for each point. Otherwise a
//! thousand identical points would link to the same few of them and be lost to all walks.

use super::levels::mix;
use super::space::{Loaded, Space};

/// A point and its distance from the one whose neighbours are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Neighbour {
    pub(super) distance: f32,
    pub(super) point: u32,
}

/// What a choice needs, kept from one choice to the next.
pub(super) struct SelectScratch<V> {
    pub(super) candidates: Vec<Neighbour>,
    loaded: Vec<V>,
    dominated: Vec<Neighbour>,
    picked: Vec<Neighbour>,
}

impl<V> Default for SelectScratch<V> {
    fn default() -> Self {
        Self {
            candidates: Vec::new(),
            loaded: Vec::new(),
            dominated: Vec::new(),
            picked: Vec::new(),
        }
    }
}

/// How many neighbours to choose.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// At most so many.
    pub(super) most: usize,
    /// Filled with the nearest of the dominated up to so many.
    pub(super) fill: usize,
}

impl<V: Copy + Default> SelectScratch<V> {
    /// Chooses neighbours of `point` from `candidates`, nearest first.
    pub(super) fn select<S: Space<Value = V>>(
        &mut self,
        space: &S,
        point: Loaded<'_, V>,
        limits: Limits,
    ) -> &[Neighbour] {
        let turn = |other: u32| mix(u64::from(point.point) << 32 | u64::from(other));
        self.candidates.sort_unstable_by(|a, b| {
            let nearer = a.distance.total_cmp(&b.distance);
            nearer.then_with(|| turn(a.point).cmp(&turn(b.point)))
        });
        let twin_distance = space.distance(point, point.point);
        self.picked.clear();
        self.dominated.clear();
        for &candidate in &self.candidates {
            if self.picked.len() == limits.most {
                break;
            }
            if self.picked.is_empty() {
                self.picked.push(candidate);
                continue;
            }
            let loaded = space.load(candidate.point, &mut self.loaded);
            let twin = candidate.distance == twin_distance;
            let dominated = self.picked.iter().any(|other| {
                (twin || other.distance != twin_distance)
                    && space.distance_within(loaded, other.point, candidate.distance)
                        <= candidate.distance
            });
            match dominated {
                true => self.dominated.push(candidate),
                false => self.picked.push(candidate),
            }
        }
        let room = limits.fill.saturating_sub(self.picked.len());
        self.picked.extend(self.dominated.iter().take(room));
        &self.picked
    }
}
