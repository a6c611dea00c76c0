//! A query against RaBitQ codes: rotated once, and compared once with each centroid.

use super::super::units::{encode_units, unit_of};
use super::Space;
use super::planes::{DotPlanes, QueryPlanes, pack_query};
use crate::Metric;
use crate::isa::Isa;
use crate::kernels::DotCodes;

/// A unit of the coarse planes in units of the query: 14 bits are 8 and these 6.
const COARSE: i16 = 1 << 6;
/// The coarse planes alone do where what they lose is this much shorter than the way to the
/// nearest centroid. It is not where clusters lie far apart.
const ENOUGH: f64 = 16.0;

/// A query, ready to be compared with codes.
#[derive(Default)]
pub(crate) struct CodeQuery {
    rotated: Vec<f32>,
    /// The rotated query in 14 bits a dimension.
    pub(super) units: Vec<i16>,
    /// What one of the units is.
    pub(super) unit: f32,
    /// Of all units.
    pub(super) sum: i64,
    pub(super) planes: Planes,
    pub(super) centroids: Vec<ToCentroid>,
}

/// The rotated query in bit planes.
#[derive(Default)]
pub(super) struct Planes {
    values: Vec<i8>,
    /// The upper 8 bits.
    coarse: Vec<QueryPlanes>,
    /// The others; empty where these are enough.
    fine: Vec<QueryPlanes>,
    /// The sum of all units that the planes tell.
    pub(super) sum: i64,
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
    /// Takes another query, against codes of so many bits.
    pub(super) fn set(&mut self, bits: usize, metric: Metric, space: &Space, values: &[f32]) {
        space.put(values, &mut self.rotated);
        let rotated = self.rotated.iter().map(|&value| f64::from(value));
        let unit = unit_of(rotated.clone(), 1.0);
        encode_units(rotated, unit, &mut self.units);
        self.unit = unit as f32;
        self.sum = self.units.iter().map(|&unit| i64::from(unit)).sum();
        let squares = self.units.iter().map(|&unit| i64::from(unit) * i64::from(unit));
        let query_norm = squares.sum::<i64>() as f64 * unit * unit;
        let to_mean = to_mean(metric, &space.mean, values);
        let isa = Isa::detected();
        let centroids = &space.centroids;
        let steps = centroids.steps.chunks_exact(space.rotated_dim);
        self.centroids.clear();
        self.centroids.extend(steps.zip(&centroids.norms).map(|(steps, norm)| {
            let dot = centroids.dot(unit, isa.run(DotCodes(&self.units, steps)), self.sum);
            let squared = (query_norm + norm - 2.0 * dot).max(0.0);
            let distance = if metric == Metric::L2 { squared } else { to_mean - dot };
            ToCentroid { distance: distance as f32, reach: squared.sqrt() as f32 }
        }));
        if bits < 4 {
            let reaches = self.centroids.iter().map(|to| to.reach);
            let nearest = f64::from(reaches.fold(f32::INFINITY, f32::min));
            // Of each dimension, about evenly spread over a coarse unit.
            let lost = unit * f64::from(COARSE) * (self.units.len() as f64 / 12.0).sqrt();
            self.planes.set(&self.units, lost * ENOUGH > nearest);
        }
    }
}

impl Planes {
    fn set(&mut self, units: &[i16], finely: bool) {
        let coarse = |unit: i16| ((unit + COARSE / 2) >> COARSE.ilog2()).min(i8::MAX.into());
        self.values.clear();
        self.values.extend(units.iter().map(|&unit| coarse(unit) as i8));
        pack_query(&self.values, &mut self.coarse);
        self.sum = self.values.iter().map(|&value| i64::from(value) * i64::from(COARSE)).sum();
        self.fine.clear();
        if finely {
            self.values.clear();
            // At most half a coarse unit, or one and a half below the largest.
            self.values.extend(units.iter().map(|&unit| (unit - coarse(unit) * COARSE) as i8));
            pack_query(&self.values, &mut self.fine);
            self.sum = units.iter().map(|&unit| i64::from(unit)).sum();
        }
    }

    /// Σ level · unit of a code.
    #[inline]
    pub(super) fn dot<const BITS: usize>(&self, isa: Isa, code: &[u8]) -> i64 {
        let coarse = i64::from(COARSE) * isa.run(DotPlanes::<BITS>(&self.coarse, code));
        if self.fine.is_empty() {
            return coarse;
        }
        coarse + isa.run(DotPlanes::<BITS>(&self.fine, code))
    }
}

/// What the distance to a point at the mean would be, for inner products: the mean was taken from
/// the points, and a query has a product with it.
fn to_mean(metric: Metric, mean: &[f32], values: &[f32]) -> f64 {
    let dot: f64 = values.iter().zip(mean).map(|(&v, &m)| f64::from(v) * f64::from(m)).sum();
    match metric {
        Metric::L2 => 0.0,
        Metric::Ip => -dot,
        Metric::Cosine => 1.0 - dot,
    }
}

#[cfg(test)]
mod tests {
    use super::super::planes::pack_levels;
    use super::*;
    use crate::kernels::MAX_QUERY_UNIT;

    #[test]
    fn fine_planes_lose_nothing_and_coarse_ones_half_a_unit() {
        let units: Vec<i16> = (0..192).map(|i| (i * 7919 % 16_383 - 8191) as i16).collect();
        let (most, least) = (vec![MAX_QUERY_UNIT; 64], vec![-MAX_QUERY_UNIT; 64]);
        for units in [units, most, least] {
            let levels: Vec<u8> = (0..units.len()).map(|i| (i % 4) as u8).collect();
            let mut code = vec![0; units.len() / 4];
            pack_levels::<2>(&levels, &mut code);
            let pairs = units.iter().zip(&levels);
            let exact: i64 = pairs.map(|(&u, &l)| i64::from(u) * i64::from(l)).sum();
            let mut planes = Planes::default();
            planes.set(&units, true);
            assert_eq!(planes.dot::<2>(Isa::detected(), &code), exact);
            assert_eq!(planes.sum, units.iter().map(|&unit| i64::from(unit)).sum::<i64>());
            planes.set(&units, false);
            let off = (planes.dot::<2>(Isa::detected(), &code) - exact).abs();
            assert!(off <= i64::from(COARSE) * 3 * units.len() as i64, "off by {off}");
        }
    }
}
