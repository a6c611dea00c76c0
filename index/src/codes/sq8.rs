//! Scalar quantization: one byte a dimension.
//!
//! A value of dimension d is about `offset[d] + step * code[d]`. The offset is the dimension's
//! smallest value and the step is the same for all dimensions, a 255th of the widest range: with
//! one step the inner product of codes is an integer sum, and a dimension that hardly varies gets
//! code 0 or 1 and does no harm. Whole numbers with a range of at most 255 get step 1: their codes
//! lose nothing.
//!
//! The query keeps more: 14 bits a dimension, in a unit of its own, so that a query far outside
//! the vectors' range is not bent towards it. With y = query - offset,
//!
//! ```text
//!   l2  = |y|² - 2 · step · unit · Σ q·c + step² · Σ c²        y ≈ unit · q
//!   ip  = -(Σ query · offset + step · unit · Σ q·c)            query ≈ unit · q
//! ```
//!
//! so that one integer kernel, Σ q·c, serves all metrics. Cosine is ip of normalised vectors.

use std::borrow::Cow;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::rows::ROWS_PER_TASK;
use super::units::{encode_units, unit_of};
use super::{Rows, Scheme, Shape, Step, encode_all, floats};
use crate::distance::number_or_far;
use crate::isa::Isa;
use crate::kernels::{DotCodes, SquaredDifferences};
use crate::{MAX_DIM, Metric};

/// What turns values into codes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Codebook {
    pub(crate) step: f32,
    pub(crate) offsets: Vec<f32>,
    /// Whether codes lose nothing; known to the build alone.
    pub(crate) lossless: bool,
}

/// The codes of all points, and what they mean.
pub(crate) struct Codes {
    pub(crate) metric: Metric,
    pub(crate) book: Codebook,
    /// Row after row.
    pub(crate) codes: Vec<u8>,
    /// Σ c² of each row, for l2 alone.
    norms: Vec<u32>,
    isa: Isa,
}

/// The sections before the codes: the step and the offsets.
pub(super) fn parameters(dim: usize) -> Vec<(usize, usize)> {
    vec![(4, 1 + dim)]
}

impl Scheme for Codes {
    type Query = CodeQuery;

    fn query(all: &mut super::CodeQuery) -> &mut CodeQuery {
        &mut all.sq8
    }

    fn train(rows: &Rows<'_>, code_bytes: usize, step: &Step<'_>) -> ControlFlow<(), Self> {
        let book = Codebook::train(rows);
        let codes = encode_all(rows, code_bytes, step, |(): &mut (), values, code| {
            book.encode(values, code);
        })?;
        ControlFlow::Continue(Self::new(rows.metric, book, codes))
    }

    fn to_sections(&self) -> Vec<Cow<'_, [u8]>> {
        let words: Vec<f32> =
            std::iter::once(&self.book.step).chain(&self.book.offsets).copied().collect();
        vec![bytemuck::cast_slice(&words).to_vec().into(), (&*self.codes).into()]
    }

    fn from_sections(shape: Shape, sections: Vec<Vec<u8>>) -> Result<Self, String> {
        let Ok([words, codes]) = <[Vec<u8>; 2]>::try_from(sections) else {
            return Err("expected two sections".into());
        };
        let words = floats(&words);
        let Some((&step, offsets)) = words.split_first() else {
            return Err("the step is missing".into());
        };
        if !(step.is_finite() && step > 0.0) {
            return Err(format!("the step is {step}, expected a positive number"));
        }
        if let Some(dimension) = offsets.iter().position(|offset| !offset.is_finite()) {
            return Err(format!("the offset of dimension {dimension} is no number"));
        }
        let book = Codebook { step, offsets: offsets.to_vec(), lossless: false };
        Ok(Self::new(shape.metric, book, codes))
    }

    fn set_query(&self, values: &[f32], query: &mut CodeQuery) {
        query.set(self, values);
    }

    #[inline]
    fn row(&self, point: u32) -> &[u8] {
        let dim = self.book.offsets.len();
        &self.codes[point as usize * dim..][..dim]
    }

    #[inline]
    fn distance(&self, query: &CodeQuery, point: u32) -> f32 {
        let norm = match self.metric {
            Metric::L2 => f64::from(self.norms[point as usize]),
            Metric::Ip | Metric::Cosine => 0.0,
        };
        self.distance_with(norm, query, self.row(point))
    }

    fn measure(&self, query: &CodeQuery, code: &[u8]) -> f32 {
        /// Σ c² is how far the code is from it.
        static ZERO: [u8; MAX_DIM] = [0; MAX_DIM];
        let norm = match self.metric {
            Metric::L2 => self.isa.run(SquaredDifferences(&ZERO[..code.len()], code)) as f64,
            Metric::Ip | Metric::Cosine => 0.0,
        };
        self.distance_with(norm, query, code)
    }

    fn resident_bytes(&self) -> u64 {
        (size_of_val(&*self.codes) + size_of_val(&*self.norms) + size_of_val(&*self.book.offsets))
            as u64
    }
}

impl Codes {
    /// Takes codes that were trained here or read from a segment.
    fn new(metric: Metric, book: Codebook, codes: Vec<u8>) -> Self {
        let dim = book.offsets.len();
        debug_assert!(codes.len().is_multiple_of(dim));
        // At most 65,536 · 255², which a u32 holds.
        let norm = |row: &[u8]| row.iter().map(|&c| u32::from(c) * u32::from(c)).sum();
        let norms = match metric {
            Metric::L2 => codes.par_chunks(dim).map(norm).collect(),
            Metric::Ip | Metric::Cosine => Vec::new(),
        };
        Self { metric, book, codes, norms, isa: Isa::detected() }
    }

    #[inline]
    fn distance_with(&self, norm: f64, query: &CodeQuery, code: &[u8]) -> f32 {
        let dot = self.isa.run(DotCodes(&query.units, code)) as f64;
        number_or_far((query.base + query.per_dot * dot + query.per_norm * norm) as f32)
    }
}

/// What one dimension's values look like.
#[derive(Clone)]
struct Ranges {
    least: Vec<f32>,
    most: Vec<f32>,
    whole: bool,
}

impl Ranges {
    fn of(all: &Rows<'_>, rows: std::ops::Range<usize>) -> Self {
        let dim = all.dim();
        let mut ranges = Self {
            least: vec![f32::INFINITY; dim],
            most: vec![f32::NEG_INFINITY; dim],
            whole: true,
        };
        let mut values = vec![0.0; dim];
        for row in rows {
            all.copy(row, &mut values);
            ranges.whole = ranges.whole && values.iter().all(|value| value.trunc() == *value);
            for (i, &value) in values.iter().enumerate() {
                ranges.least[i] = ranges.least[i].min(value);
                ranges.most[i] = ranges.most[i].max(value);
            }
        }
        ranges
    }

    fn merge(mut self, other: &Self) -> Self {
        for i in 0..self.least.len() {
            self.least[i] = self.least[i].min(other.least[i]);
            self.most[i] = self.most[i].max(other.most[i]);
        }
        self.whole &= other.whole;
        self
    }
}

impl Codebook {
    fn train(rows: &Rows<'_>) -> Self {
        let tasks = rows.len().div_ceil(ROWS_PER_TASK);
        let ranges = (0..tasks).into_par_iter().map(|task| {
            let first = task * ROWS_PER_TASK;
            Ranges::of(rows, first..rows.len().min(first + ROWS_PER_TASK))
        });
        let none = || Ranges::of(rows, 0..0);
        let ranges = ranges.reduce(none, |a, b| a.merge(&b));
        let widths = ranges.least.iter().zip(&ranges.most);
        let widest = widths.fold(0.0_f64, |widest, (&least, &most)| {
            widest.max(f64::from(most) - f64::from(least))
        });
        let lossless = ranges.whole && widest <= 255.0;
        let step = match (widest / 255.0) as f32 {
            _ if lossless || widest == 0.0 => 1.0,
            step => step.max(f32::MIN_POSITIVE),
        };
        // Adding 0 makes one zero of the two, whichever a minimum happened to pick.
        let offsets = ranges.least.iter().map(|least| least + 0.0).collect();
        Self { step, offsets, lossless }
    }

    fn encode(&self, values: &[f32], code: &mut [u8]) {
        for ((code, value), offset) in code.iter_mut().zip(values).zip(&self.offsets) {
            // The cast saturates: nothing leaves 0..=255.
            *code = ((value - offset) / self.step + 0.5) as u8;
        }
    }
}

/// A query in the units of the codes.
#[derive(Default)]
pub(crate) struct CodeQuery {
    units: Vec<i16>,
    base: f64,
    per_dot: f64,
    per_norm: f64,
}

impl CodeQuery {
    /// Takes another query, against these codes.
    fn set(&mut self, codes: &Codes, query: &[f32]) {
        let book = &codes.book;
        let values = query.iter().map(|&value| f64::from(value));
        let offsets = book.offsets.iter().map(|&offset| f64::from(offset));
        let step = f64::from(book.step);
        if codes.metric == Metric::L2 {
            let above = values.zip(offsets).map(|(value, offset)| value - offset);
            let unit = unit_of(above.clone(), step);
            self.base = above.clone().map(|y| y * y).sum();
            (self.per_dot, self.per_norm) = (-2.0 * step * unit, step * step);
            encode_units(above, unit, &mut self.units);
            return;
        }
        let unit = unit_of(values.clone(), 1.0);
        let dot: f64 = values.clone().zip(offsets).map(|(v, o)| v * o).sum();
        let turned = if codes.metric == Metric::Cosine { 1.0 } else { 0.0 };
        (self.base, self.per_dot, self.per_norm) = (turned - dot, -step * unit, 0.0);
        encode_units(values, unit, &mut self.units);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::MAX_QUERY_UNIT;
    use crate::{Element, Vectors};

    fn train(vectors: &Vectors, metric: Metric) -> Codes {
        match Codes::train(&Rows::new(vectors, metric, 0), vectors.dim(), &|_| {
            ControlFlow::Continue(())
        }) {
            ControlFlow::Continue(codes) => codes,
            ControlFlow::Break(()) => unreachable!("nobody breaks"),
        }
    }

    #[test]
    fn whole_numbers_of_a_small_range_lose_nothing() {
        let values = vec![-100.0, 7.0, 0.5e3, 155.0, 7.0, 255.0 + 0.5e3];
        let codes = train(&Vectors::from_f32(3, values).unwrap(), Metric::L2);
        assert!(codes.book.lossless);
        assert_eq!(codes.book.step, 1.0);
        assert_eq!(codes.book.offsets, [-100.0, 7.0, 500.0]);
        assert_eq!(codes.codes, [0, 0, 0, 255, 0, 255]);
        let mut query = CodeQuery::default();
        query.set(&codes, &[-99.0, 9.0, 501.0]);
        assert_eq!(codes.distance(&query, 0), 1.0 + 4.0 + 1.0);
    }

    #[test]
    fn a_range_of_256_does_lose() {
        let codes = train(&Vectors::from_f32(1, vec![0.0, 256.0]).unwrap(), Metric::L2);
        assert!(!codes.book.lossless);
        assert_eq!(codes.codes, [0, 255]);
    }

    #[test]
    fn absurd_ranges_give_finite_steps() {
        for values in [
            vec![f32::MIN, f32::MAX],
            vec![0.0, f32::from_bits(1)],
            vec![3.5, 3.5],
            vec![1e-33, -1e-33],
        ] {
            let vectors = Vectors::from_f32(1, values.clone()).unwrap();
            for metric in Metric::ALL {
                let codes = train(&vectors, metric);
                assert!(codes.book.step.is_finite() && codes.book.step > 0.0);
                let mut query = CodeQuery::default();
                for &value in &values {
                    query.set(&codes, &[value]);
                    assert!(!codes.distance(&query, 1).is_nan());
                }
            }
        }
    }

    #[test]
    fn a_query_far_outside_keeps_its_direction() {
        let vectors = Vectors::from_f32(2, vec![0.0, 1.0, 1.0, 0.9, 0.4, 0.2]).unwrap();
        let codes = train(&vectors, Metric::L2);
        let mut query = CodeQuery::default();
        query.set(&codes, &[1000.0, 300.0]);
        let order = |i| codes.distance(&query, i);
        assert!(order(1) < order(2) && order(2) < order(0));
    }

    proptest! {
        /// The distance by code is off by no more than the quantization allows.
        #[test]
        fn distances_are_near_the_true_ones(
            values in proptest::collection::vec(-10.0f32..10.0, 40..400),
            dim in 1usize..20,
            shift in -5.0f32..5.0,
        ) {
            let rows = values.len() / dim;
            let vectors = Vectors::from_f32(dim, values[..rows * dim].to_vec()).unwrap();
            let query: Vec<f32> = values[..dim].iter().map(|v| v + shift).collect();
            for metric in Metric::ALL {
                let codes = train(&vectors, metric);
                let mut code_query = CodeQuery::default();
                let mut as_encoded = query.clone();
                if metric == Metric::Cosine {
                    super::super::normalise(&mut as_encoded);
                }
                code_query.set(&codes, &as_encoded);
                let mut row_query = crate::distance::RowQuery::default();
                row_query.set(metric, Element::F32, &query);
                // Half a step and half a unit in each dimension, times values up to 30.
                let error = f64::from(codes.book.step) / 2.0 + 30.0 / f64::from(MAX_QUERY_UNIT);
                let scale = if metric == Metric::Cosine { 1.0 } else { 60.0 };
                for row in 0..rows {
                    let found = codes.distance(&code_query, row as u32);
                    let exact = row_query.distance(vectors.row_bytes(row));
                    let allowed = dim as f64 * error * (scale + error);
                    prop_assert!(f64::from((found - exact).abs()) <= allowed + 1e-3,
                        "{metric}: {found} for {exact}, allowed {allowed}");
                }
            }
        }
    }
}
