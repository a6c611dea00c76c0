//! The graph: for each layer the neighbours of its points.
//!
//! Layer 0 holds all points with up to 2M neighbours each, every layer above about an M-th of the
//! points of the one below with up to M. A layer is one dense array of records of a fixed length:
//! ids, then empty slots. For M 16 a record of layer 0 is two cache lines. The few points of an
//! upper layer are found by binary search, which costs a hop there less than one distance and saves
//! an array over all points.

pub(crate) mod among;
mod build;
mod levels;
mod neighbours;
mod repair;
mod space;
pub(crate) mod walk;

pub(crate) use build::{GraphOptions, PointScorer, build};
pub(crate) use levels::mix;
pub(crate) use space::{ByteSpace, RowSpace, Space};

use crate::aligned::Aligned;

/// What a slot without a neighbour has. Ids are below 2^31.
pub(crate) const EMPTY: u32 = u32::MAX;

/// The most layers: enough for 2^31 points at the smallest M.
pub(crate) const MAX_LAYERS: usize = 32;

/// The layers of a graph, and where walks begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Graph {
    pub(crate) entry_point: u32,
    /// Layer 0 first. Each one's points are also points of the one before.
    pub(crate) layers: Vec<Layer>,
}

/// The neighbours of the points of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The points, ascending; empty in layer 0, which has all.
    pub(crate) points: Vec<u32>,
    /// For each point `max_neighbours` slots: ids, then [`EMPTY`].
    pub(crate) slots: Aligned<u32>,
    pub(crate) max_neighbours: usize,
}

impl Layer {
    /// A layer without links: `points` is empty for layer 0.
    fn without_links(points: Vec<u32>, count: usize, max_neighbours: usize) -> Self {
        let mut slots = Aligned::zeroed(count * max_neighbours);
        slots.fill(EMPTY);
        Self { points, slots, max_neighbours }
    }

    /// How many points the layer has.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() / self.max_neighbours
    }

    /// Whether `point` is in this layer.
    pub(crate) fn contains(&self, point: u32) -> bool {
        self.record_of(point).is_some_and(|record| record < self.len())
    }

    #[inline]
    fn record_of(&self, point: u32) -> Option<usize> {
        if self.points.is_empty() {
            return Some(point as usize);
        }
        self.points.binary_search(&point).ok()
    }

    /// The slots of a point, of which those from the first [`EMPTY`] on mean nothing; none where
    /// it is not in this layer.
    #[inline]
    pub(crate) fn slots(&self, point: u32) -> &[u32] {
        match self.record_of(point) {
            Some(record) => &self.slots[record * self.max_neighbours..][..self.max_neighbours],
            None => &[],
        }
    }

    /// The neighbours of a point; none where it is not in this layer.
    #[inline]
    pub(crate) fn neighbours(&self, point: u32) -> impl Iterator<Item = u32> + Clone + '_ {
        self.slots(point).iter().copied().take_while(|&slot| slot != EMPTY)
    }

    /// Replaces the neighbours of a point of this layer.
    fn set_neighbours(&mut self, point: u32, neighbours: impl ExactSizeIterator<Item = u32>) {
        debug_assert!(neighbours.len() <= self.max_neighbours);
        let Some(record) = self.record_of(point) else {
            debug_assert!(false, "point {point} is not in this layer");
            return;
        };
        let slots = &mut self.slots[record * self.max_neighbours..][..self.max_neighbours];
        slots.fill(EMPTY);
        for (slot, neighbour) in slots.iter_mut().zip(neighbours) {
            *slot = neighbour;
        }
    }
}

impl Layer {
    /// The same with every point by its place; `order` is the inverse of `places`.
    fn placed(&self, order: &[u32], places: &[u32]) -> Self {
        let place = |&point: &u32| places[point as usize];
        let mut points: Vec<u32> = self.points.iter().map(place).collect();
        points.sort_unstable();
        let count = self.len();
        let mut placed = Self::without_links(points, count, self.max_neighbours);
        for (record, slots) in placed.slots.chunks_mut(self.max_neighbours).enumerate() {
            let at = placed.points.get(record).map_or(record, |&place| place as usize);
            for (slot, neighbour) in slots.iter_mut().zip(self.neighbours(order[at])) {
                *slot = places[neighbour as usize];
            }
        }
        placed
    }
}

impl Graph {
    /// The same graph with every point by its place, where `order` has for each place its point.
    pub(crate) fn placed(&self, order: &[u32]) -> Self {
        let mut places = vec![0; order.len()];
        for (place, &point) in (0..).zip(order) {
            places[point as usize] = place;
        }
        let layers = self.layers.iter().map(|layer| layer.placed(order, &places)).collect();
        Self { entry_point: places[self.entry_point as usize], layers }
    }

    /// How many points there are.
    pub(crate) fn len(&self) -> usize {
        self.layers[0].len()
    }

    /// The memory that the arrays take.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let layer = |l: &Layer| size_of_val(&*l.points) as u64 + l.slots.resident_bytes();
        self.layers.iter().map(layer).sum()
    }
}

impl Graph {
    /// Whether walks can trust the arrays: every point that they can come to is in its layer.
    /// Layer 0 has `points` points, also where its neighbours are not in memory.
    pub(crate) fn check(&self, points: usize) -> Result<(), String> {
        let contains = |no: usize, point: u32| match no {
            0 => (point as usize) < points,
            _ => self.layers[no].contains(point),
        };
        for (no, layer) in self.layers.iter().enumerate() {
            if no > 0 {
                check_points(no, layer, |point| contains(no - 1, point))?;
            }
            check_records(no, layer, |point| contains(no, point))?;
            if !contains(no, self.entry_point) {
                return Err(format!("the entry point is not in layer {no}"));
            }
        }
        Ok(())
    }
}

fn check_points(no: usize, layer: &Layer, is_below: impl Fn(u32) -> bool) -> Result<(), String> {
    if let Some(pair) = layer.points.windows(2).find(|pair| pair[0] >= pair[1]) {
        let [first, second] = [pair[0], pair[1]];
        return Err(format!("layer {no} has point {second} after point {first}"));
    }
    match layer.points.iter().find(|&&point| !is_below(point)) {
        Some(point) => Err(format!("layer {no} has point {point}, the layer below has not")),
        None => Ok(()),
    }
}

fn check_records(no: usize, layer: &Layer, contains: impl Fn(u32) -> bool) -> Result<(), String> {
    for (i, slots) in layer.slots.chunks(layer.max_neighbours).enumerate() {
        let meant = slots.iter().position(|&slot| slot == EMPTY).unwrap_or(slots.len());
        let (meant, empty) = slots.split_at(meant);
        if let Some(point) = empty.iter().find(|&&slot| slot != EMPTY) {
            return Err(format!("record {i} of layer {no} has {point} after an empty slot"));
        }
        if let Some(point) = meant.iter().find(|&&point| !contains(point)) {
            return Err(format!(
                "record {i} of layer {no} leads to {point}, which is no point of it"
            ));
        }
    }
    Ok(())
}
