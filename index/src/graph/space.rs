//! How a build measures the distance of two points.

use crate::codes::Scheme;
use crate::codes::sq8::Codes;
use crate::distance::{dot, inverse_norm, l2, number_or_far};
use crate::isa::Isa;
use crate::prefetch::prefetch;
use crate::{Metric, Vectors};

/// Points with distances.
pub(crate) trait Space: Sync {
    /// What a point is compared as.
    type Value: Copy + Default + Send;

    /// How many points there are.
    fn len(&self) -> usize;

    /// A point, ready to be compared with many; `scratch` holds it where it must be converted.
    fn load<'s>(&'s self, point: u32, scratch: &'s mut Vec<Self::Value>)
    -> Loaded<'s, Self::Value>;

    /// Hints that the distance to this point will be asked for soon.
    fn prefetch(&self, point: u32);

    /// The distance of a loaded point to another: the same in both directions, bit by bit.
    fn distance(&self, from: Loaded<'_, Self::Value>, to: u32) -> f32;
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

    #[inline]
    fn prefetch(&self, point: u32) {
        prefetch(self.vectors.row_bytes(point as usize));
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
}

/// Codes that lose nothing, under l2: the same order as the rows', in a fraction of the bytes.
pub(crate) struct CodeSpace<'a>(pub(crate) &'a Codes);

impl Space for CodeSpace<'_> {
    type Value = i16;

    fn len(&self) -> usize {
        self.0.codes.len() / self.0.book.offsets.len()
    }

    fn load<'s>(&'s self, point: u32, scratch: &'s mut Vec<i16>) -> Loaded<'s, i16> {
        let row = self.0.row(point);
        scratch.resize(row.len(), 0);
        for (value, &code) in scratch.iter_mut().zip(row) {
            *value = i16::from(code);
        }
        Loaded { point, values: scratch }
    }

    #[inline]
    fn prefetch(&self, point: u32) {
        prefetch(self.0.row(point));
    }

    #[inline]
    fn distance(&self, from: Loaded<'_, i16>, to: u32) -> f32 {
        self.0.l2_between(from.values, from.point, to)
    }
}
