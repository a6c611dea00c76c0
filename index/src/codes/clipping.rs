//! Where the levels of a scalar quantizer lie.
//!
//! Spread from a dimension's smallest value to its largest, few levels are mostly spent on values
//! that hardly occur. So the ends are cut off: of all pairs of tails in [`TAILS`], a dimension gets
//! the pair whose levels have the least squared error over a sample of rows, in which the values
//! that are cut off count as well.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::{Rows, Step};

/// The most rows of the sample.
const SAMPLE_ROWS: usize = 4096;
/// The most values of the sample: fewer rows where they are long.
const SAMPLE_VALUES: usize = 1 << 24;
/// The shares of a dimension's values that may lie beyond the levels at one end.
const TAILS: [f64; 9] = [0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05];

/// The levels of one dimension: `offset + step * level`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub(super) offset: f32,
    /// Not negative; 0 for a dimension of one value, of which any level stands for the offset.
    pub(super) step: f32,
}

impl Levels {
    /// The nearest of the levels 0 to `last`.
    #[inline]
    pub(super) fn nearest(self, value: f32, last: u8) -> u8 {
        // The cast saturates, and takes 0 / 0 as 0.
        (((value - self.offset) / self.step + 0.5) as u8).min(last)
    }

    /// The value that a level stands for.
    #[inline]
    pub(super) fn value(self, level: u8) -> f64 {
        f64::from(self.offset) + f64::from(self.step) * f64::from(level)
    }

    fn between(least: f32, most: f32, last: u8) -> Self {
        let step = (f64::from(most) - f64::from(least)) / f64::from(last);
        // Adding 0 makes one zero of the two.
        Self { offset: least + 0.0, step: step as f32 }
    }

    fn squared_error(self, values: &[f32], last: u8) -> f64 {
        let error = |&value| f64::from(value) - self.value(self.nearest(value, last));
        values.iter().map(error).map(|error| error * error).sum()
    }
}

/// The best levels 0 to `last` for each dimension, found on all cores.
pub(super) fn choose_levels(
    rows: &Rows<'_>,
    last: u8,
    step: &Step<'_>,
) -> ControlFlow<(), Vec<Levels>> {
    let dim = rows.dim();
    let sample = rows.sample(SAMPLE_ROWS.min(SAMPLE_VALUES / dim));
    let mut values = vec![0.0; sample.len() * dim];
    values.par_chunks_exact_mut(dim).zip(&sample).for_each(|(out, &row)| rows.copy(row, out));
    let mut levels = vec![Levels { offset: 0.0, step: 0.0 }; dim];
    let dimensions = levels.par_iter_mut().enumerate();
    dimensions.try_for_each_init(Vec::new, |column, (dimension, levels)| {
        column.clear();
        column.extend(values.iter().skip(dimension).step_by(dim));
        *levels = levels_of(column, last);
        step(0)
    })?;
    ControlFlow::Continue(levels)
}

fn levels_of(values: &mut [f32], last: u8) -> Levels {
    values.sort_unstable_by(f32::total_cmp);
    let end = values.len() - 1;
    let cuts = TAILS.map(|tail| (tail * end as f64) as usize);
    let pairs = cuts.iter().flat_map(|low| cuts.iter().map(move |high| (low, end - high)));
    let candidates = pairs.map(|(&low, high)| Levels::between(values[low], values[high], last));
    let with_error = candidates.map(|levels| (levels.squared_error(values, last), levels));
    let least = with_error.reduce(|best, other| if other.0 < best.0 { other } else { best });
    least.map_or(Levels { offset: 0.0, step: 0.0 }, |(_, levels)| levels)
}
