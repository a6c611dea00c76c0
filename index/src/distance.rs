//! The distance of a query to an original row, as searches report it.

use crate::isa::Isa;
use crate::kernels::{Bf16, Dot, F16, F32, I8, L2, L2Within, SquaredDifferences, SquaredNorm, U8};
use crate::{Element, Metric};

/// A query that is ready to be compared with rows.
pub(crate) struct RowQuery {
    isa: Isa,
    metric: Metric,
    element: Element,
    values: Vec<f32>,
    /// The query as bytes where it is made of them, rows are of u8, and the metric is l2; else
    /// empty. The distance is then a whole number, rounded once: in bytes the sum takes a third of
    /// the time, and below 2^24 it is what floats would give.
    bytes: Vec<u8>,
    /// 1 / |query|, or 0 for a query of norm 0.
    inverse_norm: f32,
}

impl Default for RowQuery {
    fn default() -> Self {
        Self {
            isa: Isa::detected(),
            metric: Metric::L2,
            element: Element::F32,
            values: Vec::new(),
            bytes: Vec::new(),
            inverse_norm: 0.0,
        }
    }
}

impl RowQuery {
    /// Takes another query, against rows of `element`.
    pub(crate) fn set(&mut self, metric: Metric, element: Element, query: &[f32]) {
        (self.metric, self.element) = (metric, element);
        self.values.clear();
        self.values.extend_from_slice(query);
        self.bytes.clear();
        // The cast saturates, and of a fraction it leaves the whole part.
        let is_byte = |&value: &f32| f32::from(value as u8) == value;
        if metric == Metric::L2 && element == Element::U8 && query.iter().all(is_byte) {
            self.bytes.extend(query.iter().map(|&value| value as u8));
        }
        if metric == Metric::Cosine {
            self.inverse_norm = inverse_norm(self.isa, bytes_of(query), Element::F32);
        }
    }

    /// The distance to the row with these bytes. A sum that overflows counts as infinitely far.
    #[inline]
    pub(crate) fn distance(&self, row: &[u8]) -> f32 {
        let distance = match self.metric {
            Metric::L2 if !self.bytes.is_empty() => {
                self.isa.run(SquaredDifferences(&self.bytes, row)) as f32
            }
            Metric::L2 => l2(self.isa, &self.values, row, self.element),
            Metric::Ip => -dot(self.isa, &self.values, row, self.element),
            Metric::Cosine => {
                let inverse_norm = inverse_norm(self.isa, row, self.element);
                let dot = dot(self.isa, &self.values, row, self.element);
                1.0 - dot * (self.inverse_norm * inverse_norm)
            }
        };
        number_or_far(distance)
    }

    /// The distance to the row with these bytes, or, where that is more than `bound`, anything
    /// that is.
    #[inline]
    pub(crate) fn distance_within(&self, row: &[u8], bound: f32) -> f32 {
        match (self.metric, self.element) {
            (Metric::L2, Element::F32) => {
                number_or_far(l2_within(self.isa, &self.values, row, bound))
            }
            _ => self.distance(row),
        }
    }
}

/// Infinitely far where large values made a sum that is not a number.
#[inline]
pub(crate) fn number_or_far(distance: f32) -> f32 {
    if distance.is_nan() { f32::INFINITY } else { distance }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// Squared Euclidean distance.
#[inline]
pub(crate) fn l2(isa: Isa, query: &[f32], row: &[u8], element: Element) -> f32 {
    match element {
        Element::F32 => isa.run(L2::<F32>::new(query, row)),
        Element::F16 => isa.run(L2::<F16>::new(query, row)),
        Element::Bf16 => isa.run(L2::<Bf16>::new(query, row)),
        Element::U8 => isa.run(L2::<U8>::new(query, row)),
        Element::I8 => isa.run(L2::<I8>::new(query, row)),
    }
}

/// Squared Euclidean distance of f32, or, where that is more than `bound`, anything that is.
#[inline]
pub(crate) fn l2_within(isa: Isa, query: &[f32], row: &[u8], bound: f32) -> f32 {
    isa.run(L2Within::<F32>::new(query, row, bound))
}

/// Inner product.
#[inline]
pub(crate) fn dot(isa: Isa, query: &[f32], row: &[u8], element: Element) -> f32 {
    match element {
        Element::F32 => isa.run(Dot::<F32>::new(query, row)),
        Element::F16 => isa.run(Dot::<F16>::new(query, row)),
        Element::Bf16 => isa.run(Dot::<Bf16>::new(query, row)),
        Element::U8 => isa.run(Dot::<U8>::new(query, row)),
        Element::I8 => isa.run(Dot::<I8>::new(query, row)),
    }
}

/// 1 / |row|, or 0 for a row of norm 0.
#[inline]
pub(crate) fn inverse_norm(isa: Isa, row: &[u8], element: Element) -> f32 {
    let squared = match element {
        Element::F32 => isa.run(SquaredNorm::<F32>::new(row)),
        Element::F16 => isa.run(SquaredNorm::<F16>::new(row)),
        Element::Bf16 => isa.run(SquaredNorm::<Bf16>::new(row)),
        Element::U8 => isa.run(SquaredNorm::<U8>::new(row)),
        Element::I8 => isa.run(SquaredNorm::<I8>::new(row)),
    };
    if squared > 0.0 { 1.0 / squared.sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_measured_in_whole_numbers() {
        // 784 · 255² is far above 2^24, from where on floats skip whole numbers.
        let far = (vec![255.0; 784], vec![0; 784], 784.0 * 255.0 * 255.0);
        let near = (vec![7.0, 0.0, 255.0], vec![5, 1, 255], 5.0);
        let mut query = RowQuery::default();
        for (values, row, expected) in [far, near] {
            query.set(Metric::L2, Element::U8, &values);
            assert_eq!(query.distance(&row), expected);
        }
        for odd in [0.5, -1.0, 256.0, 1e9] {
            query.set(Metric::L2, Element::U8, &[odd, 3.0]);
            assert_eq!(query.distance(&[0, 3]), odd * odd);
        }
    }

    #[test]
    fn what_is_no_number_is_infinitely_far() {
        let mut query = RowQuery::default();
        let row = [f32::INFINITY, f32::NEG_INFINITY];
        for metric in Metric::ALL {
            query.set(metric, Element::F32, &[1.0, 1.0]);
            assert_eq!(query.distance(bytes_of(&row)), f32::INFINITY, "{metric}");
        }
    }
}
