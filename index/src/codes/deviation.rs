//! How far off the distances of a set of codes are, measured when they are made.
//!
//! An adaptive search must know how much a better distance than a code tells is to be expected.
//! Some schemes know it of each point; for all of them it is measured on a sample, between points
//! that are near each other, since those are what a search must tell apart. Two numbers come of
//! it: by how much estimates are too large on the whole, and how they spread around that. Under
//! l2 what a code loses is multiplied with the difference of query and point, hence the spread
//! grows with the root of the distance; for inner products it is multiplied with the query.

use std::ops::ControlFlow;

use super::{CodeQuery, Codes, Rows, Scheme, Shape, Step, floats, with_scheme};
use crate::candidates::Candidates;
use crate::distance::RowQuery;
use crate::ids::Ids;
use crate::{Metric, Quantizer};

/// Points that are compared with each other.
const SAMPLE: usize = 2048;
/// Of the sample, those that serve as queries as well.
const QUERIES: usize = 64;
/// The nearest of the sample, to a query, whose estimates count.
const NEAREST: usize = 16;
/// The bytes in a component.
pub(super) const BYTES: usize = 8;

/// How far off estimates are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Deviation {
    /// What an estimate is too large by.
    pub(crate) bias: f32,
    /// The standard deviation of what is left, for each unit that [`Deviation::at`] tells.
    pub(crate) spread: f32,
}

/// Codes of which it is known how far off they are.
pub(crate) struct Measured {
    pub(crate) codes: Codes,
    pub(crate) deviation: Deviation,
}

impl Measured {
    /// Trains, encodes, and measures; `None` where there is nothing to train.
    pub(crate) fn train(
        quantizer: Quantizer,
        rows: &Rows<'_>,
        step: &Step<'_>,
    ) -> ControlFlow<(), Option<Self>> {
        let Some(codes) = Codes::train(quantizer, rows, step)? else {
            return ControlFlow::Continue(None);
        };
        let deviation = with_scheme!(&codes, codes => Deviation::measure(codes, rows));
        ControlFlow::Continue(Some(Self { codes, deviation }))
    }

    /// Takes the sections of a component before those of codes, the deviation first, and the codes,
    /// or none where they are elsewhere.
    pub(crate) fn from_sections(
        quantizer: Quantizer,
        shape: Shape,
        mut sections: Vec<Vec<u8>>,
        codes: Vec<u8>,
    ) -> Result<Self, String> {
        if sections.is_empty() {
            return Err("the deviation is missing".into());
        }
        let deviation = Deviation::of(&floats(&sections.remove(0)))?;
        sections.push(codes);
        Ok(Self { codes: Codes::from_sections(quantizer, shape, sections)?, deviation })
    }
}

impl Deviation {
    fn measure<S: Scheme>(codes: &S, rows: &Rows<'_>) -> Self {
        let sample = rows.sample(SAMPLE);
        let (mut row_query, mut code_query) = (RowQuery::default(), CodeQuery::default());
        let code_query = S::query(&mut code_query);
        let (mut values, mut near) = (vec![0.0; rows.dim()], Candidates::default());
        let mut errors = Vec::with_capacity(QUERIES * NEAREST);
        for &query in sample.iter().step_by(sample.len().div_ceil(QUERIES)) {
            rows.vectors.row_f32(query, &mut values);
            row_query.set(rows.metric, rows.vectors.element(), &values);
            near.begin(NEAREST);
            for &point in sample.iter().filter(|&&point| point != query) {
                let distance = row_query.distance(rows.vectors.row_bytes(point));
                near.offer(distance, point as u32, &Ids::ROWS);
            }
            rows.copy(query, &mut values);
            codes.set_query(&values, code_query);
            let norm = norm(&values);
            errors.extend(near.iter().map(|(exact, point)| {
                let error = f64::from(codes.distance(code_query, point)) - f64::from(exact);
                (error, unit(rows.metric, exact, norm))
            }));
        }
        Self::of_errors(&errors)
    }

    /// Of errors, each with its unit.
    fn of_errors(errors: &[(f64, f64)]) -> Self {
        // Distances that no f32 holds tell nothing.
        let told = errors.iter().filter(|(error, unit)| error.is_finite() && unit.is_finite());
        let count = told.clone().count().max(1) as f64;
        let bias = told.clone().map(|(error, _)| error).sum::<f64>() / count;
        let squares = told.clone().map(|(error, _)| (error - bias).powi(2)).sum::<f64>();
        let units = told.map(|(_, unit)| unit.powi(2)).sum::<f64>();
        let spread = if units > 0.0 { (squares / units).sqrt() } else { 0.0 };
        let finite = |value: f64| (value as f32).clamp(f32::MIN, f32::MAX);
        Self { bias: finite(bias), spread: finite(spread) }
    }

    fn of(words: &[f32]) -> Result<Self, String> {
        match *words {
            [bias, spread] if bias.is_finite() && spread.is_finite() && spread >= 0.0 => {
                Ok(Self { bias, spread })
            }
            _ => Err(format!("deviation {words:?}, expected two numbers, the second not negative")),
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; BYTES] {
        bytemuck::cast([self.bias, self.spread])
    }

    /// The standard deviation of an estimated distance, the bias taken away, for a query of this
    /// norm.
    pub(crate) fn at(self, metric: Metric, distance: f32, query_norm: f32) -> f32 {
        self.spread * unit(metric, distance, query_norm) as f32
    }
}

/// What an error is told in.
fn unit(metric: Metric, distance: f32, query_norm: f32) -> f64 {
    match metric {
        Metric::L2 => f64::from(distance.max(0.0)).sqrt(),
        Metric::Ip | Metric::Cosine => f64::from(query_norm),
    }
}

pub(crate) fn norm(values: &[f32]) -> f32 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bias_and_spread_are_those_of_the_errors() {
        // Errors of 5 ± 2 · unit.
        let errors: Vec<_> = (1..=8)
            .flat_map(|unit| [-2.0, 2.0].map(|side| (5.0 + side * f64::from(unit), unit.into())))
            .collect();
        let found = Deviation::of_errors(&errors);
        assert_eq!(found, Deviation { bias: 5.0, spread: 2.0 });
        assert_eq!(Deviation::of(&floats(&found.to_bytes())), Ok(found));
        assert_eq!(found.at(Metric::L2, 9.0, 100.0), 6.0);
        assert_eq!(found.at(Metric::Ip, 9.0, 100.0), 200.0);
        assert_eq!(found.at(Metric::L2, -1.0, 0.0), 0.0);
    }

    #[test]
    fn what_is_no_number_is_left_out_or_refused() {
        let none = Deviation { bias: 0.0, spread: 0.0 };
        assert_eq!(Deviation::of_errors(&[]), none);
        assert_eq!(Deviation::of_errors(&[(f64::NAN, 1.0), (f64::INFINITY, 1.0)]), none);
        assert_eq!(Deviation::of_errors(&[(0.0, 0.0)]), none);
        for words in [&[f32::NAN, 1.0], &[0.0, f32::INFINITY], &[0.0, -1.0], &[0.0; 1][..]] {
            assert!(Deviation::of(words).is_err());
        }
    }
}
