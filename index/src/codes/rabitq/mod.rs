//! RaBitQ: a random rotation, then 1, 2 or 4 bits a dimension, with an unbiased estimate and its
//! error (Gao and Long, SIGMOD 2024; of several bits, SIGMOD 2025).
//!
//! Vectors are shifted by their mean and rotated (P in the paper). A point o has the nearest of
//! several centroids c taken away; the direction of what is left, the residual r, is rounded to a
//! grid vector y, the code. With the query q shifted and rotated in the same way,
//!
//! ```text
//!   <r, q - c> ≈ f · <y, q - c>      f = |r|² / <r, y>
//! ```
//!
//! is unbiased over rotations: what y tells wrong, e = r - f · y, is orthogonal to r and points in
//! any other direction. So the error of the estimate is that of <e, q - c>, with a standard
//! deviation of |e| · w / √(D - 1), where w is what q - c has beside r. Distances follow:
//!
//! ```text
//!   l2 = |q - c|² + (|r|² + 2f · <y, c>) - 2f · <y, q>
//!   ip = -(<q, c> + (<r, c> - f · <y, c>) + f · <y, q>)
//! ```
//!
//! A query is rotated once and compared with each centroid once; a point then takes one product of
//! small integers, its code and the query in 14 or, for counting bits, 8 bits a dimension, and the factors beside its code: `add` for the parentheses, `scale` for what
//! stands before <y, q>, `error` for |e| / √(D - 1). Cosine is ip of normalised vectors.

mod clusters;
mod levels;
mod planes;
mod query;
mod rotation;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::ControlFlow;

use self::clusters::Centroids;
use self::levels::quantize;
use self::planes::pack_levels;
pub(crate) use self::query::CodeQuery;
use self::rotation::{Rotation, rotated_dim};
use super::{Rows, Scheme, Shape, Step, centroids, check_all, encode_all, floats};
use crate::Metric;
use crate::aligned::Aligned;
use crate::distance::number_or_far;
use crate::isa::Isa;
use crate::kernels::DotNibbles;

/// The most centroids: a query is compared with all of them.
const MAX_CENTROIDS: usize = 256;
/// So many cost a query next to nothing; few points are not worth even these.
const CHEAP_CENTROIDS: usize = 64;
/// For each of the cheap ones.
const POINTS_PER_CHEAP_CENTROID: usize = 64;
/// For each further one.
const POINTS_PER_CENTROID: usize = 512;
/// Points that one centroid is trained on.
const SAMPLE_PER_CENTROID: usize = 64;
/// A shifted value farther out counts as this far: no vector's squared norm then overflows.
const FARTHEST: f32 = (1_u64 << 54) as f32;
/// The factors beside a code, f32 each, and the centroid, u32.
const FACTORS_BYTES: usize = 16;

/// The codes of all points, of `BITS` bits a dimension.
pub(crate) struct Codes<const BITS: usize> {
    metric: Metric,
    space: Space,
    /// For each point its code, then its [`Factors`].
    records: Aligned<u8>,
    record_bytes: usize,
    isa: Isa,
}

/// Where vectors are put before they are encoded.
struct Space {
    seed: u64,
    mean: Vec<f32>,
    rotation: Rotation,
    rotated_dim: usize,
    centroids: Centroids,
}

/// What stands beside a point's code.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Factors {
    add: f32,
    scale: f32,
    /// The standard deviation of a distance, for each unit of w.
    error: f32,
    centroid: u32,
}

/// The sections before the codes: the seed; the mean; what a unit of the centroids is; the
/// centroids.
pub(super) fn parameters(dim: usize, points: usize) -> Vec<(usize, usize)> {
    vec![(8, 1), (4, dim), (4, 1), (rotated_dim(dim), centroid_count(points))]
}

/// The bytes of one point's code and factors.
pub(super) fn record_bytes(bits: usize, dim: usize) -> usize {
    rotated_dim(dim) / 8 * bits + FACTORS_BYTES
}

fn centroid_count(points: usize) -> usize {
    let cheap = (points / POINTS_PER_CHEAP_CENTROID).min(CHEAP_CENTROIDS);
    (points / POINTS_PER_CENTROID).max(cheap).clamp(1, MAX_CENTROIDS)
}

impl<const BITS: usize> Scheme for Codes<BITS> {
    type Query = CodeQuery;

    fn query(all: &mut super::CodeQuery) -> &mut CodeQuery {
        &mut all.rabitq
    }

    fn train(rows: &Rows<'_>, code_bytes: usize, step: &Step<'_>) -> ControlFlow<(), Self> {
        let space = Space::train(rows);
        let places = space.centroids.places();
        let encode = |scratch: &mut EncodeScratch, values: &[f32], record: &mut [u8]| {
            encode::<BITS>(&space, &places, rows.metric, scratch, values, record);
        };
        let records = encode_all(rows, code_bytes, step, encode)?;
        ControlFlow::Continue(Self::new(rows.metric, space, records))
    }

    fn to_sections(&self) -> Vec<Cow<'_, [u8]>> {
        vec![
            self.space.seed.to_le_bytes().to_vec().into(),
            bytemuck::cast_slice(&self.space.mean).into(),
            self.space.centroids.unit.to_le_bytes().to_vec().into(),
            (&*self.space.centroids.steps).into(),
            (&*self.records).into(),
        ]
    }

    fn from_sections(shape: Shape, sections: Vec<Vec<u8>>) -> Result<Self, String> {
        let Ok([seed, mean, unit, steps, records]) = <[Vec<u8>; 5]>::try_from(sections) else {
            return Err("expected five sections".into());
        };
        let (Ok(seed), Ok(unit)) = (seed.try_into(), unit.try_into()) else {
            return Err("the seed or the centroids' unit is missing".into());
        };
        let mean = floats(&mean);
        if let Some(dimension) = mean.iter().position(|value| !value.is_finite()) {
            return Err(format!("the mean of dimension {dimension} is no number"));
        }
        let unit = f32::from_le_bytes(unit);
        if !(unit.is_finite() && unit > 0.0) {
            return Err(format!("a unit of the centroids is {unit}, expected a positive number"));
        }
        let space = Space::new(u64::from_le_bytes(seed), mean);
        let centroids = Centroids::new(unit, steps, space.rotated_dim);
        let found = Self::new(shape.metric, Space { centroids, ..space }, records);
        check_all(&found, &found.records, shape.code_bytes)?;
        Ok(found)
    }

    fn check(&self, code: &[u8]) -> Result<(), String> {
        Factors::of(code).check(self.space.centroids.norms.len())
    }

    fn set_query(&self, values: &[f32], query: &mut CodeQuery) {
        query.set(BITS, self.metric, &self.space, values);
    }

    #[inline]
    fn row(&self, point: u32) -> &[u8] {
        &self.records[point as usize * self.record_bytes..][..self.record_bytes]
    }

    #[inline]
    fn distance(&self, query: &CodeQuery, point: u32) -> f32 {
        self.measure(query, self.row(point))
    }

    #[inline]
    fn measure(&self, query: &CodeQuery, code: &[u8]) -> f32 {
        let (code, factors) = parts(code);
        // Σ y · q of y = 2 · level - most.
        let most = (1 << BITS) - 1;
        let (dot, sum) = match BITS {
            4 => (self.isa.run(DotNibbles(&query.units, code)), query.sum),
            _ => (query.planes.dot::<BITS>(self.isa, code), query.planes.sum),
        };
        let dot = (2 * dot - most * sum) as f32;
        let to_centroid = query.centroids[factors.centroid as usize];
        number_or_far(to_centroid.distance + factors.add + factors.scale * (query.unit * dot))
    }

    fn error(&self, query: &CodeQuery, code: &[u8], distance: f32) -> Option<f32> {
        let factors = parts(code).1;
        let reach = query.centroids[factors.centroid as usize].reach;
        // w is the distance of q - c from the line along r, hence no more than that from o, which
        // is at its end; this one is an estimate, so two deviations are added.
        let squared = match self.metric {
            Metric::L2 => distance,
            Metric::Cosine => 2.0 * distance,
            Metric::Ip => f32::INFINITY,
        };
        let wide = squared.max(0.0) + 2.0 * reach * factors.error;
        // Infinitely much where values are so large that nothing is known.
        Some(number_or_far(factors.error * reach.min(wide.sqrt())))
    }

    fn resident_bytes(&self) -> u64 {
        let Space { mean, centroids, .. } = &self.space;
        let centroids = size_of_val(&*centroids.norms) + centroids.steps.len();
        self.records.resident_bytes() + (size_of_val(&**mean) + centroids) as u64
    }
}

impl<const BITS: usize> Codes<BITS> {
    fn new(metric: Metric, space: Space, records: Vec<u8>) -> Self {
        let record_bytes = space.rotated_dim / 8 * BITS + FACTORS_BYTES;
        // A walk jumps about in them.
        Self { metric, space, records: records.into(), record_bytes, isa: Isa::detected() }
    }
}

/// The bits of a code, and its factors.
#[inline]
fn parts(code: &[u8]) -> (&[u8], Factors) {
    (&code[..code.len() - FACTORS_BYTES], Factors::of(code))
}

impl Space {
    fn train(rows: &Rows<'_>) -> Self {
        let count = centroid_count(rows.len());
        let sample = rows.sample(count * SAMPLE_PER_CENTROID);
        let mut values = vec![0.0; rows.dim()];
        let mut sums = vec![0.0_f64; rows.dim()];
        for &row in &sample {
            rows.copy(row, &mut values);
            for (sum, &value) in sums.iter_mut().zip(&values) {
                *sum += f64::from(value);
            }
        }
        let mean = sums.iter().map(|sum| (sum / sample.len() as f64) as f32).collect();
        let mut space = Self::new(rows.seed, mean);
        let mut rotated = Vec::with_capacity(sample.len() * space.rotated_dim);
        let mut out = Vec::new();
        for &row in &sample {
            rows.copy(row, &mut values);
            space.put(&values, &mut out);
            rotated.extend_from_slice(&out);
        }
        let centroids = centroids::train(&rotated, space.rotated_dim, count);
        space.centroids = Centroids::rounded(&centroids, space.rotated_dim);
        space
    }

    /// Without centroids.
    fn new(seed: u64, mean: Vec<f32>) -> Self {
        let rotation = Rotation::new(mean.len(), seed);
        let rotated_dim = rotated_dim(mean.len());
        Self { seed, mean, rotation, rotated_dim, centroids: Centroids::default() }
    }

    /// Replaces `out` by `values` shifted and rotated.
    fn put(&self, values: &[f32], out: &mut Vec<f32>) {
        out.clear();
        let shifted = values.iter().zip(&self.mean).map(|(value, mean)| value - mean);
        out.extend(shifted.map(|value| value.clamp(-FARTHEST, FARTHEST)));
        out.resize(self.rotated_dim, 0.0);
        self.rotation.apply(out);
    }
}

/// What encoding needs, kept from one point to the next.
#[derive(Default)]
struct EncodeScratch {
    rotated: Vec<f32>,
    direction: Vec<f32>,
    levels: Vec<u8>,
}

fn encode<const BITS: usize>(
    space: &Space,
    // Where the centroids are, one after the other.
    places: &[f32],
    metric: Metric,
    scratch: &mut EncodeScratch,
    values: &[f32],
    record: &mut [u8],
) {
    let EncodeScratch { rotated, direction, levels } = scratch;
    space.put(values, rotated);
    let nearest = centroids::nearest(Isa::detected(), places, rotated);
    let centroid = &places[nearest * rotated.len()..][..rotated.len()];
    let residual = || rotated.iter().zip(centroid).map(|(&z, &c)| f64::from(z) - f64::from(c));
    let squared: f64 = residual().map(|r| r * r).sum();
    let dim = space.rotated_dim as f64;
    // A mean square of 1; a point that is its centroid has no direction.
    let to_direction = if squared > 0.0 { (dim / squared).sqrt() } else { 0.0 };
    direction.clear();
    direction.extend(residual().map(|r| (r * to_direction) as f32));
    levels.resize(direction.len(), 0);
    let grid = quantize::<BITS>(direction, levels);
    let (code, factors) = record.split_at_mut(record.len() - FACTORS_BYTES);
    match BITS {
        4 => pack_nibbles(levels, code),
        _ => pack_levels::<BITS>(levels, code),
    }
    // <r, y>, and f.
    let dot = if squared > 0.0 { grid.dot / to_direction } else { 0.0 };
    let scale = if dot > 0.0 { squared / dot } else { 0.0 };
    let most = f64::from((1_u32 << BITS) - 1);
    let grid_dot_centroid: f64 = levels
        .iter()
        .zip(centroid)
        .map(|(&level, &c)| (2.0 * f64::from(level) - most) * f64::from(c))
        .sum();
    // |e|² = f² · |y|² - |r|².
    let lost = (scale * scale * grid.norm - squared).max(0.0);
    let error = (lost / (dim - 1.0)).sqrt();
    let found = match metric {
        Metric::L2 => [squared + 2.0 * scale * grid_dot_centroid, -2.0 * scale, 2.0 * error],
        Metric::Ip | Metric::Cosine => {
            let residual_dot_centroid: f64 =
                residual().zip(centroid).map(|(r, &c)| r * f64::from(c)).sum();
            // The mean was taken from the point, and not from what it is multiplied with.
            let shifted = values.iter().zip(&space.mean);
            let dot_mean: f64 = shifted.map(|(&v, &m)| f64::from(v) * f64::from(m)).sum();
            let mean_norm: f64 = space.mean.iter().map(|&m| f64::from(m).powi(2)).sum();
            let whole = dot_mean - mean_norm + residual_dot_centroid - scale * grid_dot_centroid;
            [-whole, -scale, error]
        }
    };
    let [add, scale, error] = found.map(finite);
    Factors { add, scale, error, centroid: nearest as u32 }.put(factors);
}

/// The first half of the levels goes into the low halves of the bytes.
fn pack_nibbles(levels: &[u8], code: &mut [u8]) {
    let (low, high) = levels.split_at(levels.len() / 2);
    for ((code, low), high) in code.iter_mut().zip(low).zip(high) {
        *code = low | high << 4;
    }
}

/// The nearest f32 that is finite.
fn finite(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

impl Factors {
    #[inline]
    fn of(record: &[u8]) -> Self {
        let words: [[u8; 4]; 4] = match record.as_rchunks().1 {
            [.., add, scale, error, centroid] => [*add, *scale, *error, *centroid],
            _ => [[0; 4]; 4],
        };
        let [add, scale, error] = [words[0], words[1], words[2]].map(f32::from_le_bytes);
        Self { add, scale, error, centroid: u32::from_le_bytes(words[3]) }
    }

    fn put(self, out: &mut [u8]) {
        let words = [self.add, self.scale, self.error].map(f32::to_le_bytes);
        let words = words.into_iter().chain([self.centroid.to_le_bytes()]);
        for (out, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
            *out = word;
        }
    }

    /// Whether these can be factors, with so many centroids.
    fn check(self, centroids: usize) -> Result<(), String> {
        let Self { add, scale, error, centroid } = self;
        if ![add, scale, error].iter().all(|factor| factor.is_finite()) {
            return Err(format!("factors {add}, {scale} and {error}, expected numbers"));
        }
        if error < 0.0 {
            return Err(format!("an error of {error}, expected 0 or more"));
        }
        if centroid as usize >= centroids {
            return Err(format!("centroid {centroid}, expected one of {centroids}"));
        }
        Ok(())
    }
}
