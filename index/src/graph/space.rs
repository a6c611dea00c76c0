//! How a build measures the distance of two points.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::distance::{dot, inverse_norm, l2, l2_within, number_or_far};
use crate::isa::Isa;
use crate::kernels::SquaredDifferences;
use crate::platform::wish_for_huge_pages;
use crate::prefetch::prefetch_many;
use crate::{Element, Metric, Vectors};

/// Points with distances.
pub(crate) trait Space: Sync {
    /// What a point is compared as.
    type Value: Copy + Default + Send;

    /// How many points there are.
    fn len(&self) -> usize;

    /// A point, ready to be compared with many; `scratch` holds it where it must be converted.
    fn load<'s>(&'s self, point: u32, scratch: &'s mut Vec<Self::Value>)
    -> Loaded<'s, Self::Value>;

    /// The bytes that a distance reads of a point.
    fn row_bytes(&self) -> usize;

    /// Hints that the distance to this point will be asked for soon.
    fn prefetch(&self, point: u32);

    /// The distance of a loaded point to another: the same in both directions, bit by bit.
    fn distance(&self, from: Loaded<'_, Self::Value>, to: u32) -> f32;

    /// The same, or, where it is more than `bound`, anything that is.
    #[inline]
    fn distance_within(&self, from: Loaded<'_, Self::Value>, to: u32, bound: f32) -> f32 {
        let _ = bound;
        self.distance(from, to)
    }
}

/// A point that is ready to be compared with many.
#[derive(Clone, Copy)]
pub(crate) struct Loaded<'a, V> {
    pub(crate) point: u32,
    values: &'a [V],
}

/// The original rows.
pub(crate) struct RowSpace<'a> {
    vectors: &'a Vectors,
    metric: Metric,
    /// For cosine alone.
    inverse_norms: Vec<f32>,
    isa: Isa,
}

impl<'a> RowSpace<'a> {
    pub(crate) fn new(vectors: &'a Vectors, metric: Metric) -> Self {
        let isa = Isa::detected();
        let inverse_norm = |row| inverse_norm(isa, vectors.row_bytes(row), vectors.element());
        let inverse_norms = match metric {
            Metric::Cosine => (0..vectors.len()).map(inverse_norm).collect(),
            Metric::L2 | Metric::Ip => Vec::new(),
        };
        Self { vectors, metric, inverse_norms, isa }
    }
}

impl Space for RowSpace<'_> {
    type Value = f32;

    fn len(&self) -> usize {
        self.vectors.len()
    }

    fn load<'s>(&'s self, point: u32, scratch: &'s mut Vec<f32>) -> Loaded<'s, f32> {
        if let Some(values) = self.vectors.row_borrowed(point as usize) {
            return Loaded { point, values };
        }
        scratch.resize(self.vectors.dim(), 0.0);
        self.vectors.row_f32(point as usize, scratch);
        Loaded { point, values: scratch }
    }

    fn row_bytes(&self) -> usize {
        self.vectors.dim() * self.vectors.element().bytes()
    }

    #[inline]
    fn prefetch(&self, point: u32) {
        prefetch_many(self.vectors.row_bytes(point as usize));
    }

    #[inline]
    fn distance(&self, from: Loaded<'_, f32>, to: u32) -> f32 {
        let row = self.vectors.row_bytes(to as usize);
        let element = self.vectors.element();
        number_or_far(match self.metric {
            Metric::L2 => l2(self.isa, from.values, row, element),
            Metric::Ip => -dot(self.isa, from.values, row, element),
            Metric::Cosine => {
                let [a, b] = [from.point, to].map(|point| self.inverse_norms[point as usize]);
                1.0 - dot(self.isa, from.values, row, element) * (a * b)
            }
        })
    }

    #[inline]
    fn distance_within(&self, from: Loaded<'_, f32>, to: u32, bound: f32) -> f32 {
        match (self.metric, self.vectors.element()) {
            (Metric::L2, Element::F32) => {
                let row = self.vectors.row_bytes(to as usize);
                number_or_far(l2_within(self.isa, from.values, row, bound))
            }
            _ => self.distance(from, to),
        }
    }
}

/// Rows of whole numbers that are bytes above the smallest of their dimension: their squared
/// differences are exact, and a byte is a quarter of what an f32 costs to fetch.
pub(crate) struct ByteSpace<'a> {
    dim: usize,
    rows: Cow<'a, [u8]>,
    isa: Isa,
}

/// Rows that one task looks at or writes.
const ROWS_PER_TASK: usize = 256;

impl<'a> ByteSpace<'a> {
    /// The vectors as bytes, under l2, where that is possible.
    pub(crate) fn new(vectors: &'a Vectors) -> Option<Self> {
        let (dim, isa) = (vectors.dim(), Isa::detected());
        if vectors.element() == Element::U8 {
            return Some(Self { dim, rows: vectors.bytes().into(), isa });
        }
        let least = least_of_bytes(vectors)?;
        let mut rows = vec![0; vectors.len() * dim];
        wish_for_huge_pages(&rows);
        rows.par_chunks_mut(ROWS_PER_TASK * dim).enumerate().for_each(|(task, bytes)| {
            let mut values = vec![0.0; dim];
            for (i, bytes) in bytes.chunks_mut(dim).enumerate() {
                vectors.row_f32(task * ROWS_PER_TASK + i, &mut values);
                for ((byte, value), least) in bytes.iter_mut().zip(&values).zip(&least) {
                    *byte = (value - least) as u8;
                }
            }
        });
        Some(Self { dim, rows: rows.into(), isa })
    }

    #[inline]
    fn row(&self, point: u32) -> &[u8] {
        &self.rows[point as usize * self.dim..][..self.dim]
    }
}

/// The smallest value of each dimension, where all values are whole and none is more than 255 above
/// it.
fn least_of_bytes(vectors: &Vectors) -> Option<Vec<f32>> {
    // Whole numbers beyond have gaps: a difference might not be what it seems.
    const EXACT: f32 = (1 << 23) as f32;
    let dim = vectors.dim();
    let ranges = |task: usize| {
        let (mut least, mut most) = (vec![f32::INFINITY; dim], vec![f32::NEG_INFINITY; dim]);
        let mut values = vec![0.0; dim];
        for row in task * ROWS_PER_TASK..vectors.len().min((task + 1) * ROWS_PER_TASK) {
            vectors.row_f32(row, &mut values);
            if !values.iter().all(|value| value.trunc() == *value && value.abs() <= EXACT) {
                return None;
            }
            for (d, &value) in values.iter().enumerate() {
                (least[d], most[d]) = (least[d].min(value), most[d].max(value));
            }
        }
        Some((least, most))
    };
    let tasks = (0..vectors.len().div_ceil(ROWS_PER_TASK)).into_par_iter().map(ranges);
    let (least, most) = tasks.try_reduce_with(|(mut least, mut most), other| {
        for d in 0..dim {
            (least[d], most[d]) = (least[d].min(other.0[d]), most[d].max(other.1[d]));
        }
        Some((least, most))
    })??;
    least.iter().zip(&most).all(|(least, most)| most - least <= 255.0).then_some(least)
}

impl Space for ByteSpace<'_> {
    type Value = u8;

    fn len(&self) -> usize {
        self.rows.len() / self.dim
    }

    fn load<'s>(&'s self, point: u32, _scratch: &'s mut Vec<u8>) -> Loaded<'s, u8> {
        Loaded { point, values: self.row(point) }
    }

    fn row_bytes(&self) -> usize {
        self.dim
    }

    #[inline]
    fn prefetch(&self, point: u32) {
        prefetch_many(self.row(point));
    }

    #[inline]
    fn distance(&self, from: Loaded<'_, u8>, to: u32) -> f32 {
        self.isa.run(SquaredDifferences(from.values, self.row(to))) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(dim: usize, values: &[f32]) -> Option<Vec<u8>> {
        let vectors = Vectors::from_f32(dim, values.to_vec()).unwrap();
        ByteSpace::new(&vectors).map(|space| space.rows.to_vec())
    }

    #[test]
    fn whole_numbers_of_a_small_range_are_bytes() {
        let rows = space(2, &[-100.0, 0.5e6, 155.0, 0.5e6 + 255.0, 7.0, 0.5e6]);
        assert_eq!(rows.as_deref(), Some(&[0, 0, 255, 255, 107, 0][..]));
        assert_eq!(space(1, &[0.0, 256.0]), None);
        assert_eq!(space(1, &[0.0, 0.5]), None);
        assert_eq!(space(1, &[1e30, 1e30]), None);
        let signed = Vectors::from_i8(1, vec![-128, 127]).unwrap();
        assert_eq!(*ByteSpace::new(&signed).unwrap().rows, [0, 255]);
    }

    #[test]
    fn their_distances_are_those_of_the_rows() {
        let values: Vec<f32> = (0..70 * 33).map(|i| ((i * i) % 251) as f32).collect();
        let vectors = Vectors::from_f32(33, values).unwrap();
        let bytes = ByteSpace::new(&vectors).unwrap();
        let rows = RowSpace::new(&vectors, Metric::L2);
        let (mut byte_scratch, mut row_scratch) = (Vec::new(), Vec::new());
        for from in 0..70 {
            let byte_from = bytes.load(from, &mut byte_scratch);
            let row_from = rows.load(from, &mut row_scratch);
            for to in 0..70 {
                let distance = rows.distance(row_from, to);
                assert_eq!(bytes.distance(byte_from, to), distance);
                assert_eq!(rows.distance_within(row_from, to, distance), distance);
                let beyond = rows.distance_within(row_from, to, distance / 2.0);
                assert!(distance == 0.0 || beyond > distance / 2.0);
            }
        }
    }
}
