//! A random rotation that costs D · log D.
//!
//! Each round flips the sign of half the dimensions, drawn from a seed, and puts one block of 2^n
//! dimensions through a fast Walsh-Hadamard transform: the first such block in one round, the last
//! in the next, so that they overlap where D is no power of two. Then the halves of the whole are
//! turned by 45 degrees against each other, which mixes what one block alone would not reach. All
//! of this is orthogonal: lengths and inner products stay. The additions have one order, so that
//! every machine agrees bit by bit.

use crate::graph::mix;
use crate::isa::{Isa, Kernel};
use crate::kernels::Simd;

/// Three leave nothing of the original axes (Andoni et al., NIPS 2015); blocks that overlap need
/// one more.
const ROUNDS: usize = 4;
/// The rotated dimension is a multiple of this: a word of each bit plane.
pub(super) const GROUP: usize = 64;

/// A rotation of vectors of one dimension, drawn from a seed.
pub(super) struct Rotation {
    /// For each round 1 or -1 a dimension.
    signs: Vec<f32>,
    rotated_dim: usize,
    isa: Isa,
}

/// The dimension of rotated vectors.
pub(super) fn rotated_dim(dim: usize) -> usize {
    dim.next_multiple_of(GROUP)
}

impl Rotation {
    pub(super) fn new(dim: usize, seed: u64) -> Self {
        let rotated_dim = rotated_dim(dim);
        let sign = |i: usize| if mix(seed ^ mix(i as u64)) >> 63 == 0 { 1.0 } else { -1.0 };
        let signs = (0..ROUNDS * rotated_dim).map(sign).collect();
        Self { signs, rotated_dim, isa: Isa::detected() }
    }

    /// Rotates a vector that was filled up with zeros.
    pub(super) fn apply(&self, values: &mut [f32]) {
        assert_eq!(values.len(), self.rotated_dim, "a vector of the rotated dimension");
        self.isa.run(Rotate(&self.signs, values));
    }
}

struct Rotate<'a>(&'a [f32], &'a mut [f32]);

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self(signs, values) = self;
        let dim = values.len();
        let block = 1 << dim.ilog2();
        for (round, signs) in signs.chunks_exact(dim).enumerate() {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value *= sign;
            }
            let first = if round % 2 == 0 { 0 } else { dim - block };
            hadamard(&mut values[first..][..block]);
            if block < dim {
                let (front, back) = values.split_at_mut(dim / 2);
                turn(front, back);
                scale(values, std::f32::consts::FRAC_1_SQRT_2);
            }
        }
    }
}

/// The normalised Walsh-Hadamard transform of 2^n values.
#[inline(always)]
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (front, back) = pair.split_at_mut(half);
            turn(front, back);
        }
        half *= 2;
    }
    scale(values, (1.0 / (values.len() as f64).sqrt()) as f32);
}

/// Sums to the front, differences to the back.
#[inline(always)]
fn turn(front: &mut [f32], back: &mut [f32]) {
    for (a, b) in front.iter_mut().zip(back) {
        (*a, *b) = (*a + *b, *a - *b);
    }
}

#[inline(always)]
fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(dim: usize, seed: u64, values: &[f32]) -> Vec<f32> {
        let mut padded = values.to_vec();
        padded.resize(rotated_dim(dim), 0.0);
        Rotation::new(dim, seed).apply(&mut padded);
        padded
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn inner_products_stay_in_any_dimension() {
        for dim in [1, 2, 3, 64, 65, 127, 128, 300, 784, 1000, 65_536] {
            let [a, b]: [Vec<f32>; 2] = [0.37, 1.91].map(|step| {
                (0..dim).map(|i| (f64::from(i as u32) * step).sin() as f32 + 0.3).collect()
            });
            for seed in 0..3 {
                let [ra, rb] = [&a, &b].map(|values| rotated(dim, seed, values));
                for ((x, y), (rx, ry)) in [((&a, &b), (&ra, &rb)), ((&a, &a), (&ra, &ra))] {
                    let (before, after) = (dot(x, y), dot(rx, ry));
                    let allowed = 1e-5 * (dot(x, x) * dot(y, y)).sqrt();
                    assert!((before - after).abs() <= allowed, "{dim}: {before}, {after}");
                }
            }
        }
    }

    /// Whichever axis it comes from, the length ends up spread evenly over all dimensions.
    #[test]
    fn no_axis_is_left() {
        for dim in [64, 127, 192, 784, 960] {
            let rotated_dim = rotated_dim(dim);
            let mut squares = vec![0.0; rotated_dim];
            let seeds = 400;
            for seed in 0..seeds {
                let mut axis = vec![0.0; dim];
                axis[seed as usize * 31 % dim] = 1.0;
                for (square, value) in squares.iter_mut().zip(rotated(dim, seed, &axis)) {
                    *square += f64::from(value * value) * rotated_dim as f64 / seeds as f64;
                }
            }
            // A mean of 400 squares of about normal values is 1 with an error of 0.07.
            let most = squares.iter().fold(0.0_f64, |most, &square| most.max(square));
            let least = squares.iter().fold(f64::INFINITY, |least, &square| least.min(square));
            assert!(least > 0.6 && most < 1.5, "{dim}: {least} to {most}");
        }
    }

    #[test]
    fn every_instruction_set_rotates_alike() {
        let values: Vec<f32> = (0..832).map(|i| (i as f32).cos()).collect();
        let rotate = |isa| {
            let mut values = values.clone();
            Rotation { isa, ..Rotation::new(832, 5) }.apply(&mut values);
            values.iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        let all: Vec<_> = Isa::all().into_iter().map(rotate).collect();
        assert!(all.iter().all(|other| *other == all[0]));
    }
}
