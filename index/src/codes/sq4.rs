//! Scalar quantization: half a byte a dimension.
//!
//! A value of dimension d is about `offset[d] + step[d] * level[d]`, the level 0 to 15. Sixteen
//! levels are few, so that each dimension has offset and step of its own, chosen by
//! [`choose_levels`](super::clipping::choose_levels): a dimension that hardly varies does no harm,
//! nor does a value that lies far out. The steps go into the query, which keeps 14 bits a
//! dimension. With y = query - offset,
//!
//! ```text
//!   l2  = |y|² - 2 · unit · Σ q·c + n              y · step     ≈ unit · q
//!   ip  = -g · (Σ query · offset + unit · Σ q·c)   query · step ≈ unit · q
//! ```
//!
//! so that one integer kernel, Σ q·c, serves all metrics. Cosine is ip of normalised vectors. Each
//! code ends in one number: under l2 it is n = Σ (step · c)²; else it is g = |x|² / (x · x̂), which
//! takes away the bias of the decoded vector x̂ towards the middle of its levels.
//!
//! A byte of the code is dimension j in its low half and dimension j + ⌈dim / 2⌉ in its high half:
//! then a run of bytes is two runs of dimensions.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::clipping::{Levels, choose_levels};
use super::units::{encode_units, unit_of};
use super::{Rows, Scheme, Shape, Step, check_all, encode_all, floats};
use crate::Metric;
use crate::distance::number_or_far;
use crate::isa::Isa;
use crate::kernels::DotNibbles;

/// The highest level.
const LAST: u8 = 15;
/// g is kept within its inverse and this: a vector that is nearly 0 tells nothing of a bias.
const MAX_GAIN: f64 = 2.0;

/// The codes of all points, and what they mean.
pub(crate) struct Codes {
    metric: Metric,
    /// For each dimension.
    levels: Vec<Levels>,
    /// Row after row.
    codes: Vec<u8>,
    isa: Isa,
}

/// The sections before the codes: offset and step of each dimension.
pub(super) fn parameters(dim: usize) -> Vec<(usize, usize)> {
    vec![(8, dim)]
}

/// Two levels a byte, and a number.
pub(super) fn record_bytes(dim: usize) -> usize {
    dim.div_ceil(2) + 4
}

impl Scheme for Codes {
    type Query = CodeQuery;

    fn query(all: &mut super::CodeQuery) -> &mut CodeQuery {
        &mut all.sq4
    }

    fn train(rows: &Rows<'_>, code_bytes: usize, step: &Step<'_>) -> ControlFlow<(), Self> {
        let levels = choose_levels(rows, LAST, step)?;
        let metric = rows.metric;
        let codes = encode_all(rows, code_bytes, step, |(): &mut (), values, code| {
            encode(metric, &levels, values, code);
        })?;
        ControlFlow::Continue(Self { metric, levels, codes, isa: Isa::detected() })
    }

    fn to_sections(&self) -> Vec<Cow<'_, [u8]>> {
        let words = self.levels.iter().flat_map(|levels| [levels.offset, levels.step]);
        let words: Vec<f32> = words.collect();
        vec![bytemuck::cast_slice(&words).to_vec().into(), (&*self.codes).into()]
    }

    fn from_sections(shape: Shape, sections: Vec<Vec<u8>>) -> Result<Self, String> {
        let Ok([words, codes]) = <[Vec<u8>; 2]>::try_from(sections) else {
            return Err("expected two sections".into());
        };
        let words = floats(&words);
        let pairs = words.as_chunks().0.iter();
        let levels: Vec<Levels> = pairs.map(|&[offset, step]| Levels { offset, step }).collect();
        let wrong = |levels: &Levels| {
            !(levels.offset.is_finite() && levels.step.is_finite() && levels.step >= 0.0)
        };
        if let Some(dimension) = levels.iter().position(wrong) {
            let Levels { offset, step } = levels[dimension];
            return Err(format!(
                "dimension {dimension} has offset {offset} and step {step}, expected finite \
                 numbers and no negative step"
            ));
        }
        let found = Self { metric: shape.metric, levels, codes, isa: Isa::detected() };
        check_all(&found, &found.codes, shape.code_bytes)?;
        Ok(found)
    }

    fn check(&self, code: &[u8]) -> Result<(), String> {
        let number = split(code).1;
        let wrong = || format!("its number is {number}, expected a finite one");
        number.is_finite().then_some(()).ok_or_else(wrong)
    }

    fn set_query(&self, values: &[f32], query: &mut CodeQuery) {
        query.set(self, values);
    }

    #[inline]
    fn row(&self, point: u32) -> &[u8] {
        let bytes = record_bytes(self.levels.len());
        &self.codes[point as usize * bytes..][..bytes]
    }

    #[inline]
    fn distance(&self, query: &CodeQuery, point: u32) -> f32 {
        self.measure(query, self.row(point))
    }

    #[inline]
    fn measure(&self, query: &CodeQuery, code: &[u8]) -> f32 {
        let (code, number) = split(code);
        let dot = self.isa.run(DotNibbles(&query.units, code)) as f64;
        let (sum, number) = (query.base + query.per_dot * dot, f64::from(number));
        let distance = match self.metric {
            Metric::L2 => sum + number,
            Metric::Ip => sum * number,
            Metric::Cosine => 1.0 + sum * number,
        };
        number_or_far(distance as f32)
    }

    fn resident_bytes(&self) -> u64 {
        (size_of_val(&*self.codes) + size_of_val(&*self.levels)) as u64
    }
}

/// The levels of a code, and its number.
#[inline]
fn split(code: &[u8]) -> (&[u8], f32) {
    let Some((levels, number)) = code.split_last_chunk() else { return (code, 0.0) };
    (levels, f32::from_le_bytes(*number))
}

fn encode(metric: Metric, levels: &[Levels], values: &[f32], code: &mut [u8]) {
    let half = levels.len().div_ceil(2);
    let (packed, number) = code.split_at_mut(half);
    packed.fill(0);
    let (mut norm, mut squared, mut dot) = (0.0, 0.0, 0.0);
    for (i, (levels, &value)) in levels.iter().zip(values).enumerate() {
        let level = levels.nearest(value, LAST);
        packed[i % half] |= if i < half { level } else { level << 4 };
        let above = f64::from(levels.step) * f64::from(level);
        norm += above * above;
        squared += f64::from(value) * f64::from(value);
        dot += f64::from(value) * levels.value(level);
    }
    let told = match metric {
        // Values near the largest that there are: a sum that f32 does not hold.
        Metric::L2 => norm.min(f64::from(f32::MAX)),
        Metric::Ip | Metric::Cosine if dot > 0.0 => (squared / dot).clamp(1.0 / MAX_GAIN, MAX_GAIN),
        Metric::Ip | Metric::Cosine => 1.0,
    };
    number.copy_from_slice(&(told as f32).to_le_bytes());
}

/// A query in the units of the codes.
#[derive(Default)]
pub(crate) struct CodeQuery {
    /// An even number of them.
    units: Vec<i16>,
    base: f64,
    per_dot: f64,
}

impl CodeQuery {
    /// Takes another query, against these codes.
    fn set(&mut self, codes: &Codes, query: &[f32]) {
        let l2 = codes.metric == Metric::L2;
        let each = query.iter().zip(&codes.levels).map(|(&value, levels)| {
            let (value, offset) = (f64::from(value), f64::from(levels.offset));
            let factor = if l2 { value - offset } else { value };
            (factor, offset, f64::from(levels.step))
        });
        let folded = each.clone().map(|(factor, _, step)| factor * step);
        let unit = unit_of(folded.clone(), 1.0);
        encode_units(folded, unit, &mut self.units);
        self.units.resize(query.len().next_multiple_of(2), 0);
        if l2 {
            self.base = each.map(|(above, _, _)| above * above).sum();
            self.per_dot = -2.0 * unit;
        } else {
            self.base = -each.map(|(value, offset, _)| value * offset).sum::<f64>();
            self.per_dot = -unit;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Vectors;
    use crate::kernels::MAX_QUERY_UNIT;

    fn train(vectors: &Vectors, metric: Metric) -> Codes {
        let bytes = record_bytes(vectors.dim());
        match Codes::train(&Rows::new(vectors, metric, 0), bytes, &|_| ControlFlow::Continue(())) {
            ControlFlow::Continue(codes) => codes,
            ControlFlow::Break(()) => unreachable!("nobody breaks"),
        }
    }

    /// What a point's code stands for, under ip and cosine with its gain.
    fn decoded(codes: &Codes, point: usize) -> Vec<f64> {
        let (packed, number) = split(codes.row(point as u32));
        let gain = if codes.metric == Metric::L2 { 1.0 } else { f64::from(number) };
        let low = packed.iter().map(|byte| byte & 15);
        let levels = low.chain(packed.iter().map(|byte| byte >> 4));
        codes.levels.iter().zip(levels).map(|(levels, level)| gain * levels.value(level)).collect()
    }

    #[test]
    fn sixteen_values_lose_nothing() {
        let values = (0..16).flat_map(|i| [i as f32, 100.0 - 3.0 * i as f32, 7.0]).collect();
        let codes = train(&Vectors::from_f32(3, values).unwrap(), Metric::L2);
        let (offsets, steps) = ([0.0, 55.0, 7.0], [1.0, 3.0, 0.0]);
        for (levels, (offset, step)) in codes.levels.iter().zip(offsets.into_iter().zip(steps)) {
            assert_eq!((levels.offset, levels.step), (offset, step));
        }
        // Dimensions 0 and 2 share a byte with nothing and with dimension 1.
        assert_eq!(split(codes.row(4)).0, [4, 11]);
        let mut query = CodeQuery::default();
        codes.set_query(&[5.0, 85.0, 9.0], &mut query);
        assert_eq!(codes.distance(&query, 4), 1.0 + 9.0 + 4.0);
    }

    #[test]
    fn a_value_far_out_does_not_stretch_the_levels() {
        let mut values: Vec<f32> = (0..2000).map(|i| (i % 160) as f32).collect();
        values[77] = 400.0;
        let codes = train(&Vectors::from_f32(1, values).unwrap(), Metric::L2);
        assert!(codes.levels[0].step < 12.0, "{:?}", codes.levels);
        assert_eq!(split(codes.row(77)).0, [15]);
    }

    #[test]
    fn dimensions_that_hardly_vary_do_no_harm() {
        let row = |i: usize| [1e-33 * i as f32, 3e-8, (i * 37 % 101) as f32, -0.0];
        let values: Vec<f32> = (0..200).flat_map(row).collect();
        for metric in Metric::ALL {
            let codes = train(&Vectors::from_f32(4, values.clone()).unwrap(), metric);
            let mut query = CodeQuery::default();
            codes.set_query(&[0.0, 3e-8, 50.0, 1.0], &mut query);
            for point in 0..200 {
                assert!(codes.distance(&query, point).is_finite(), "{metric}");
            }
        }
    }

    #[test]
    fn absurd_values_give_numbers() {
        let least = f32::from_bits(1);
        let cases = [
            (1, vec![f32::MIN, f32::MAX]),
            (1, vec![0.0, least, -least]),
            (1, vec![3.5]),
            (3, vec![f32::MAX; 9]),
            (3, vec![f32::MIN, 0.0, f32::MAX, 1.0, least, -1e-33]),
            (5, vec![-0.0; 15]),
        ];
        for (dim, values) in cases {
            let vectors = Vectors::from_f32(dim, values.clone()).unwrap();
            for metric in Metric::ALL {
                let trained = train(&vectors, metric);
                let shape = Shape { metric, code_bytes: record_bytes(dim) };
                let sections = trained.to_sections().into_iter().map(Cow::into_owned).collect();
                let codes = Codes::from_sections(shape, sections).unwrap();
                let mut query = CodeQuery::default();
                for row in values.chunks(dim) {
                    codes.set_query(row, &mut query);
                    for point in 0..vectors.len() as u32 {
                        assert!(!codes.distance(&query, point).is_nan(), "{metric} {values:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let codes = train(&Vectors::from_f32(3, vec![1.0; 6]).unwrap(), Metric::Ip);
        let shape = Shape { metric: Metric::Ip, code_bytes: record_bytes(3) };
        let with = |section: usize, at: usize, number: f32| {
            let mut sections: Vec<Vec<u8>> =
                codes.to_sections().into_iter().map(Cow::into_owned).collect();
            sections[section][at..][..4].copy_from_slice(&number.to_le_bytes());
            Codes::from_sections(shape, sections).map(|_| ())
        };
        assert_eq!(with(0, 4, 0.5), Ok(()));
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let refused = [with(0, 8, number), with(0, 4, number), with(1, 8, number)];
            assert!(refused.iter().all(Result::is_err), "{refused:?}");
        }
        assert!(with(0, 12, -1.0).unwrap_err().contains("dimension 1"));
    }

    /// No value within the levels is off by more than half a step.
    fn check_row(codes: &Codes, decoded: &[f64], row: &[f32]) -> Result<(), TestCaseError> {
        for (levels, (found, &value)) in codes.levels.iter().zip(decoded.iter().zip(row)) {
            let value = f64::from(value);
            let within = (levels.value(0)..=levels.value(LAST)).contains(&value);
            let allowed = f64::from(levels.step) * 0.5001 + 1e-6;
            prop_assert!(!within || (found - value).abs() <= allowed, "{found} for {value}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The distance by code is that to what the code stands for, but for half a unit of the
        /// query's.
        #[test]
        fn distances_are_those_to_the_decoded_vectors(
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
                codes.set_query(&query, &mut code_query);
                for row in 0..rows {
                    let decoded = decoded(&codes, row);
                    let pairs = query.iter().map(|&q| f64::from(q)).zip(&decoded);
                    let expected: f64 = match metric {
                        Metric::L2 => pairs.map(|(q, x)| (q - x) * (q - x)).sum(),
                        Metric::Ip => -pairs.map(|(q, x)| q * x).sum::<f64>(),
                        Metric::Cosine => 1.0 - pairs.map(|(q, x)| q * x).sum::<f64>(),
                    };
                    // Σ of half a unit times at most 15, the unit a share of at most 25 · 20 / 15.
                    let unit = 34.0 / f64::from(MAX_QUERY_UNIT);
                    let allowed = dim as f64 * 2.0 * MAX_GAIN * 15.0 * unit / 2.0;
                    let found = f64::from(codes.distance(&code_query, row as u32));
                    prop_assert!((found - expected).abs() <= allowed + 1e-3,
                        "{metric}: {found} for {expected}, allowed {allowed}");
                    if metric == Metric::L2 {
                        check_row(&codes, &decoded, &values[row * dim..][..dim])?;
                    }
                }
            }
        }
    }
}
