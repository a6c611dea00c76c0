//! A vector's part against all centroids of its group.
//!
//! A book holds, for each dimension of the group, that dimension of each centroid: so all distances
//! grow side by side, dimension after dimension, in one order on every processor.

use super::kmeans::CENTROIDS;
use crate::isa::{Isa, Kernel};
use crate::kernels::{Lanes, Simd};

/// The centroids of one group.
pub(super) type Book = [[f32; CENTROIDS]];

/// The squared distance of `part` from each centroid.
pub(super) struct SquaredDistances<'a> {
    pub(super) part: &'a [f32],
    pub(super) book: &'a Book,
    pub(super) out: &'a mut [f32; CENTROIDS],
}

/// The negated inner product of `part` with each centroid.
pub(super) struct NegatedProducts<'a> {
    pub(super) part: &'a [f32],
    pub(super) book: &'a Book,
    pub(super) out: &'a mut [f32; CENTROIDS],
}

impl Kernel for SquaredDistances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        to_each(simd, self.part, self.book, self.out, |sum, value, row| {
            let difference = value.sub(row);
            sum.add(difference.mul(difference))
        });
    }
}

impl Kernel for NegatedProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        to_each(simd, self.part, self.book, self.out, |sum, value, row| sum.sub(value.mul(row)));
    }
}

/// The lanes of sums that grow at a time: independent, and few enough for registers.
const SUMS: usize = 4;

#[inline(always)]
fn to_each<S: Simd>(
    simd: S,
    part: &[f32],
    book: &Book,
    out: &mut [f32; CENTROIDS],
    step: impl Fn(S::Lanes, S::Lanes, S::Lanes) -> S::Lanes,
) {
    for first in (0..CENTROIDS).step_by(16 * SUMS) {
        let mut sums = [simd.zeros(); SUMS];
        for (&value, row) in part.iter().zip(book) {
            let row: &[[u8; 64]] = bytemuck::cast_slice(&row[first..][..16 * SUMS]);
            let value = simd.all(value);
            sums = std::array::from_fn(|i| step(sums[i], value, simd.f32s(&row[i])));
        }
        let out = out[first..].as_chunks_mut::<16>().0;
        for i in 0..SUMS {
            out[i] = sums[i].values();
        }
    }
}

/// The nearest centroid, of those that are equally near the first, and its squared distance.
pub(super) fn nearest(isa: Isa, part: &[f32], book: &Book) -> (u8, f32) {
    let mut distances = [0.0; CENTROIDS];
    isa.run(SquaredDistances { part, book, out: &mut distances });
    isa.run(Least(&distances))
}

/// The first of the least values.
struct Least<'a>(&'a [f32; CENTROIDS]);

impl Kernel for Least<'_> {
    type Output = (u8, f32);

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> (u8, f32) {
        let blocks = self.0.as_chunks::<16>().0;
        let lanes = blocks.iter().map(|block| simd.f32s(bytemuck::cast_ref(block)));
        let least = lanes.fold(simd.all(f32::INFINITY), |least, lanes| least.least(lanes));
        let least = least.values().into_iter().fold(f32::INFINITY, f32::min);
        // No short way out within a block, so that a block is compared at once.
        let has =
            |block: &[f32; 16]| block.iter().fold(false, |has, &value| has | (value == least));
        let block = blocks.iter().position(has).unwrap_or(0);
        let lane = blocks[block].iter().position(|&value| value == least).unwrap_or(0);
        ((16 * block + lane) as u8, least)
    }
}
