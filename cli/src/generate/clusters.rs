//! Points around random centres, bell-shaped in each dimension.
//!
//! Each row has a random stream of its own, numbered by the row, so that rows are made side by
//! side and in any order. The bytes are the same on any machine: ChaCha is exact, the normal
//! distribution comes from it by Marsaglia's polar method, whose one transcendental function, the
//! logarithm, is taken from the Rust of `libm` and not from the system, and all else in it is
//! rounded as IEEE 754 says.

use std::ops::Range;

use half::{bf16, f16};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use ringpool::{Element, Vectors, VectorsError};

/// The centres, and how far from them points lie.
pub struct Clusters {
    dim: usize,
    spread: f64,
    seed: u64,
    centres: Vec<f32>,
    /// The share of the queries that goes to the first clusters, [`HOT`] of them.
    skew: Option<f64>,
}

/// The part of the clusters that a skew favours.
const HOT: f64 = 0.2;

/// Which numbers are drawn: each kind has streams of its own.
#[derive(Clone, Copy)]
pub enum Draw {
    /// Of the vectors.
    Base,
    /// Of the queries.
    Query,
    /// Of the centres.
    Centre,
}

/// Where the middle of the clusters lies, and how many steps the deviation of their centres is, in
/// bytes: four deviations fit.
const BYTE_MIDDLE: f32 = 128.0;
const BYTE_STEPS: f32 = 32.0;

/// Rows that one task makes at least.
const ROWS_PER_TASK: usize = 8;

impl Draw {
    /// What the bar says meanwhile.
    pub fn what(self) -> &'static str {
        match self {
            Self::Base => "making vectors",
            Self::Query => "making queries",
            Self::Centre => "making centres",
        }
    }
}

impl Clusters {
    /// `clusters` centres of `dim` values each.
    pub fn draw(dim: usize, clusters: usize, spread: f64, seed: u64) -> Self {
        let mut centres = vec![0.0; dim * clusters];
        centres.par_chunks_mut(dim).enumerate().for_each(|(number, centre)| {
            let mut normal = Normal::of(seed, Draw::Centre, number as u64);
            centre.fill_with(|| normal.next() as f32);
        });
        Self { dim, spread, seed, centres, skew: None }
    }

    /// The same with a share of the queries that goes to a fifth of the clusters.
    pub fn skewed(self, skew: Option<f64>) -> Self {
        Self { skew, ..self }
    }

    /// Values a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The rows with these numbers.
    pub fn rows(
        &self,
        draw: Draw,
        numbers: Range<u64>,
        element: Element,
    ) -> Result<Vectors, VectorsError> {
        let mut values = vec![0.0_f32; (numbers.end - numbers.start) as usize * self.dim];
        let rows = values.par_chunks_mut(self.dim).with_min_len(ROWS_PER_TASK);
        rows.enumerate().for_each(|(at, row)| {
            self.fill_row(draw, numbers.start + at as u64, row);
        });
        let dim = self.dim;
        // The casts saturate: what lies outside a byte is cut.
        let steps = |value: f32| (value * BYTE_STEPS).round();
        match element {
            Element::F32 => Vectors::from_f32(dim, values),
            Element::F16 => {
                let halves = values.into_par_iter().map(f16::from_f32);
                Vectors::from_f16(dim, halves.collect())
            }
            Element::Bf16 => {
                let halves = values.into_par_iter().map(bf16::from_f32);
                Vectors::from_bf16(dim, halves.collect())
            }
            Element::U8 => {
                let bytes = values.into_par_iter().map(|v| (steps(v) + BYTE_MIDDLE) as u8);
                Vectors::from_u8(dim, bytes.collect())
            }
            Element::I8 => {
                Vectors::from_i8(dim, values.into_par_iter().map(|v| steps(v) as i8).collect())
            }
        }
    }

    fn fill_row(&self, draw: Draw, number: u64, row: &mut [f32]) {
        let mut normal = Normal::of(self.seed, draw, number);
        let clusters = (self.centres.len() / self.dim) as u64;
        let cluster = match (draw, self.skew) {
            (Draw::Query, Some(skew)) => {
                let hot = (clusters as f64 * HOT).ceil() as u64;
                let is_hot = normal.uniform() < 2.0 * skew - 1.0 || hot == clusters;
                let (first, end) = if is_hot { (0, hot) } else { (hot, clusters) };
                first + normal.below(end - first)
            }
            _ => normal.below(clusters),
        } as usize;
        let centre = &self.centres[cluster * self.dim..][..self.dim];
        for (value, &middle) in row.iter_mut().zip(centre) {
            *value = (f64::from(middle) + self.spread * normal.next()) as f32;
        }
    }
}

/// Numbers of the standard normal distribution.
struct Normal {
    random: ChaCha8Rng,
    /// The method gives two at a time.
    spare: Option<f64>,
}

impl Normal {
    fn of(seed: u64, draw: Draw, number: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = match draw {
            Draw::Base => 0,
            Draw::Query => 1,
            Draw::Centre => 2,
        };
        let mut random = ChaCha8Rng::from_seed(key);
        random.set_stream(number);
        Self { random, spare: None }
    }

    /// A whole number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.random.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number from -1 to 1, of the 2^53 that are evenly spaced there.
    fn uniform(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
        (self.random.next_u64() >> 11) as f64 * STEP - 1.0
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            // A point in the unit circle: four of five in the square are.
            let (x, y) = (self.uniform(), self.uniform());
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * libm::log(square) / square).sqrt();
                self.spare = Some(y * scale);
                return x * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_have_the_moments_and_tails_of_the_normal_distribution() {
        let mut normal = Normal::of(1, Draw::Base, 0);
        let numbers: Vec<f64> = (0..200_000).map(|_| normal.next()).collect();
        let mean = |of: &dyn Fn(f64) -> f64| {
            numbers.iter().map(|&x| of(x)).sum::<f64>() / numbers.len() as f64
        };
        let moments = [mean(&|x| x), mean(&|x| x * x), mean(&|x| x.powi(3)), mean(&|x| x.powi(4))];
        for (found, expected) in moments.into_iter().zip([0.0, 1.0, 0.0, 3.0]) {
            assert!((found - expected).abs() < 0.05, "{moments:?}");
        }
        let beyond = |limit: f64| mean(&|x| f64::from(x.abs() > limit));
        assert!((beyond(1.0) - 0.3173).abs() < 0.005 && (beyond(2.0) - 0.0455).abs() < 0.002);
    }

    #[test]
    fn rows_do_not_depend_on_what_they_are_made_with() {
        let clusters = Clusters::draw(5, 3, 0.5, 7);
        let all = clusters.rows(Draw::Base, 0..40, Element::F32).unwrap();
        let some = clusters.rows(Draw::Base, 13..29, Element::F32).unwrap();
        assert!((0..16).all(|row| some.row_bytes(row) == all.row_bytes(row + 13)));
        let queries = clusters.rows(Draw::Query, 0..40, Element::F32).unwrap();
        assert!((0..40).all(|row| queries.row_bytes(row) != all.row_bytes(row)));
    }

    #[test]
    fn a_row_lies_around_a_centre() {
        let (dim, spread) = (50, 0.1);
        let clusters = Clusters::draw(dim, 20, spread, 3);
        let rows = clusters.rows(Draw::Base, 0..200, Element::F32).unwrap();
        let mut row = vec![0.0; dim];
        let mut used = std::collections::BTreeSet::new();
        for number in 0..200 {
            rows.row_f32(number, &mut row);
            let near = |centre: &[f32]| {
                let squares = centre.iter().zip(&row).map(|(a, b)| f64::from((a - b).powi(2)));
                squares.sum::<f64>() / dim as f64
            };
            let centres = clusters.centres.chunks(dim).enumerate();
            let around: Vec<usize> =
                centres.filter(|(_, c)| near(c) < 4.0 * spread * spread).map(|(i, _)| i).collect();
            assert_eq!(around.len(), 1, "row {number}");
            used.extend(around);
        }
        assert!(used.len() > 15, "{used:?}");
    }

    #[test]
    fn a_skew_sends_queries_to_a_fifth_of_the_clusters_and_leaves_the_vectors() {
        // Without spread each row is its centre.
        let plain = Clusters::draw(3, 20, 0.0, 3);
        let skewed = Clusters::draw(3, 20, 0.0, 3).skewed(Some(0.8));
        let rows = |clusters: &Clusters, draw| clusters.rows(draw, 0..2000, Element::F32).unwrap();
        let (base, same) = (rows(&plain, Draw::Base), rows(&skewed, Draw::Base));
        assert!((0..2000).all(|row| base.row_bytes(row) == same.row_bytes(row)));
        let hot_of = |clusters: &Clusters| {
            let (rows, mut row) = (rows(clusters, Draw::Query), [0.0; 3]);
            let mut is_hot = |number: usize| {
                rows.row_f32(number, &mut row);
                clusters.centres.chunks(3).take(4).any(|centre| centre == row)
            };
            (0..2000).filter(|&number| is_hot(number)).count()
        };
        assert!((1550..1650).contains(&hot_of(&skewed)), "{}", hot_of(&skewed));
        assert!((340..460).contains(&hot_of(&plain)), "{}", hot_of(&plain));
        assert_eq!(hot_of(&Clusters::draw(3, 20, 0.0, 3).skewed(Some(1.0))), 2000);
    }

    #[test]
    fn bytes_are_cut_and_not_wrapped() {
        let clusters = Clusters::draw(8, 2, 50.0, 3);
        let bytes = |element| clusters.rows(Draw::Base, 0..50, element).unwrap();
        let (unsigned, signed) = (bytes(Element::U8), bytes(Element::I8));
        let wide = bytes(Element::F32);
        let mut values = [0.0; 8];
        for row in 0..50 {
            wide.row_f32(row, &mut values);
            for (i, &value) in values.iter().enumerate() {
                let step = (value * BYTE_STEPS).round();
                assert_eq!(unsigned.row_bytes(row)[i], (step + 128.0).clamp(0.0, 255.0) as u8);
                assert_eq!(signed.row_bytes(row)[i] as i8, step.clamp(-128.0, 127.0) as i8);
            }
        }
    }
}
