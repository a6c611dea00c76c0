//! A query against RaBitQ codes: rotated once, and compared once with each centroid.

use super::Space;
use super::planes::{QueryPlanes, pack_query};
use crate::distance::{dot, l2};
use crate::isa::Isa;
use crate::{Element, Metric};

/// The largest magnitude of a query's value: all values are within a signed byte.
const MAX_QUERY_UNIT: f32 = 127.0;

/// A query, ready to be compared with codes.
#[derive(Default)]
pub(crate) struct CodeQuery {
    rotated: Vec<f32>,
    units: Vec<i8>,
    /// The rotated query in units, as bit planes.
    pub(super) planes: Vec<QueryPlanes>,
    /// What one unit is.
    pub(super) unit: f32,
    /// Of all units.
    pub(super) sum: i64,
    pub(super) centroids: Vec<ToCentroid>,
}

/// How a query lies to a centroid.
#[derive(Clone, Copy)]
pub(super) struct ToCentroid {
    /// What a point's distance begins with.
    pub(super) distance: f32,
    /// |q - c|.
    pub(super) reach: f32,
}

impl CodeQuery {
    /// Takes another query.
    pub(super) fn set(&mut self, metric: Metric, space: &Space, values: &[f32]) {
        space.put(values, &mut self.rotated);
        let largest = self.rotated.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        self.unit = (largest / MAX_QUERY_UNIT).max(f32::MIN_POSITIVE);
        self.units.clear();
        // The cast truncates: half a unit is added away from 0 first.
        self.units.extend(self.rotated.iter().map(|value| {
            let steps = value / self.unit;
            (steps + 0.5_f32.copysign(steps)) as i8
        }));
        self.sum = self.units.iter().map(|&unit| i64::from(unit)).sum();
        pack_query(&self.units, &mut self.planes);
        let to_mean = to_mean(metric, &space.mean, values);
        let isa = Isa::detected();
        let rotated = &self.rotated;
        let query_norm = dot(isa, rotated, bytemuck::cast_slice(rotated), Element::F32);
        let centroids = space.centroids.chunks_exact(space.rotated_dim);
        let with_norms = centroids.map(bytemuck::cast_slice).zip(&space.centroid_norms);
        self.centroids.clear();
        self.centroids.extend(with_norms.map(|(centroid, norm)| match metric {
            Metric::L2 => {
                let distance = l2(isa, rotated, centroid, Element::F32);
                ToCentroid { distance, reach: distance.sqrt() }
            }
            Metric::Ip | Metric::Cosine => {
                let dot = dot(isa, rotated, centroid, Element::F32);
                let squared = query_norm + norm - 2.0 * dot;
                ToCentroid { distance: to_mean - dot, reach: squared.max(0.0).sqrt() }
            }
        }));
    }
}

/// What the distance to a point at the mean would be, for inner products: the mean was taken from
/// the points, and a query has a product with it.
fn to_mean(metric: Metric, mean: &[f32], values: &[f32]) -> f32 {
    let dot: f64 = values.iter().zip(mean).map(|(&v, &m)| f64::from(v) * f64::from(m)).sum();
    match metric {
        Metric::L2 => 0.0,
        Metric::Ip => -dot as f32,
        Metric::Cosine => (1.0 - dot) as f32,
    }
}
