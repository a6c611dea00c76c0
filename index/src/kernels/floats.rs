//! Sums of floats, in one order of additions for every processor.
//!
//! There are 64 lanes, in four accumulators of sixteen: enough to hide the latency of an addition
//! in 512-bit vectors. Sixteen values go to accumulator 0, the next to 1, and so on round; the
//! fewer than sixteen at the end go to accumulator 3, with zeros behind them, which add nothing.
//! Then accumulator 2 is added to 0 and 3 to 1, 1 to 0, and the sixteen lanes are folded in
//! halves. No multiplication is fused with an addition: a processor without that instruction
//! would compute it in software, and where there is one, loads are the limit anyway.

use std::marker::PhantomData;

use super::simd::{Lanes, Simd, four_sums};
use super::stored::{F32, Stored};
use crate::isa::Kernel;

/// The squared Euclidean distance of an f32 query and a row.
pub(crate) struct L2<'a, R>(&'a [f32], &'a [u8], PhantomData<R>);

/// The squared Euclidean distance, or, where that is more than a bound, anything that is: a sum
/// that has passed the bound is not finished. Terms are not negative and rounding keeps order, so
/// that what the lanes add up to half way is at most what they do in the end, bit by bit.
pub(crate) struct L2Within<'a, R>(&'a [f32], &'a [u8], f32, PhantomData<R>);

/// The inner product of an f32 query and a row.
pub(crate) struct Dot<'a, R>(&'a [f32], &'a [u8], PhantomData<R>);

/// The inner product of a row with itself.
pub(crate) struct SquaredNorm<'a, R>(&'a [u8], PhantomData<R>);

impl<'a, R: Stored> L2<'a, R> {
    /// # Panics
    /// When query and row do not have the same number of values.
    #[inline(always)]
    pub(crate) fn new(query: &'a [f32], row: &'a [u8]) -> Self {
        assert_eq!(size_of_val(query) / F32::BYTES * R::BYTES, row.len(), "a row of the query's");
        Self(query, row, PhantomData)
    }
}

impl<'a, R: Stored> L2Within<'a, R> {
    /// # Panics
    /// When query and row do not have the same number of values.
    #[inline(always)]
    pub(crate) fn new(query: &'a [f32], row: &'a [u8], bound: f32) -> Self {
        assert_eq!(size_of_val(query) / F32::BYTES * R::BYTES, row.len(), "a row of the query's");
        Self(query, row, bound, PhantomData)
    }
}

impl<'a, R: Stored> Dot<'a, R> {
    /// # Panics
    /// When query and row do not have the same number of values.
    #[inline(always)]
    pub(crate) fn new(query: &'a [f32], row: &'a [u8]) -> Self {
        assert_eq!(size_of_val(query) / F32::BYTES * R::BYTES, row.len(), "a row of the query's");
        Self(query, row, PhantomData)
    }
}

impl<'a, R: Stored> SquaredNorm<'a, R> {
    /// # Panics
    /// When the row ends within a value.
    #[inline(always)]
    pub(crate) fn new(row: &'a [u8]) -> Self {
        assert!(row.len().is_multiple_of(R::BYTES), "a row of whole values");
        Self(row, PhantomData)
    }
}

impl<R: Stored> Kernel for L2<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        sum::<S, F32, R, Difference>(simd, bytemuck::cast_slice(self.0), self.1)
    }
}

impl<R: Stored> Kernel for L2Within<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let Self(query, row, bound, _) = self;
        sum_within::<S, F32, R, Difference>(simd, bytemuck::cast_slice(query), row, bound)
    }
}

impl<R: Stored> Kernel for Dot<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        sum::<S, F32, R, Product>(simd, bytemuck::cast_slice(self.0), self.1)
    }
}

impl<R: Stored> Kernel for SquaredNorm<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        sum::<S, R, R, Product>(simd, self.0, self.0)
    }
}

/// What is added up. Of two zeros it is zero.
trait Term {
    fn term<L: Lanes>(a: L, b: L) -> L;
}

struct Difference;
struct Product;

impl Term for Difference {
    #[inline(always)]
    fn term<L: Lanes>(a: L, b: L) -> L {
        let difference = a.sub(b);
        difference.mul(difference)
    }
}

impl Term for Product {
    #[inline(always)]
    fn term<L: Lanes>(a: L, b: L) -> L {
        a.mul(b)
    }
}

/// The sum of terms of two rows with the same number of values.
#[inline(always)]
fn sum<S: Simd, A: Stored, B: Stored, T: Term>(simd: S, a: &[u8], b: &[u8]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (A::split(a), B::split(b));
    let sums = add_terms::<S, A, B, T>(simd, [simd.zeros(); 4], a, b);
    total(add_last_terms::<S, A, B, T>(simd, sums, a_rest, b_rest))
}

/// Sixteens between two looks at the bound: a multiple of the four sums.
const LOOK_EVERY: usize = 16;

/// The sum of terms, none of which is negative, or the first part of it that is more than `bound`.
#[inline(always)]
fn sum_within<S: Simd, A: Stored, B: Stored, T: Term>(
    simd: S,
    a: &[u8],
    b: &[u8],
    bound: f32,
) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (A::split(a), B::split(b));
    let ((a, a_last), (b, b_last)) = (a.as_chunks::<LOOK_EVERY>(), b.as_chunks::<LOOK_EVERY>());
    let mut sums = [simd.zeros(); 4];
    for (a, b) in a.iter().zip(b) {
        sums = add_terms::<S, A, B, T>(simd, sums, a, b);
        let so_far = total(sums);
        if so_far > bound {
            return so_far;
        }
    }
    sums = add_terms::<S, A, B, T>(simd, sums, a_last, b_last);
    total(add_last_terms::<S, A, B, T>(simd, sums, a_rest, b_rest))
}

#[inline(always)]
fn add_terms<S: Simd, A: Stored, B: Stored, T: Term>(
    simd: S,
    sums: [S::Lanes; 4],
    a: &[A::Sixteen],
    b: &[B::Sixteen],
) -> [S::Lanes; 4] {
    four_sums!(sums, a, b, |sum, a, b| sum.add(T::term(A::widen(simd, a), B::widen(simd, b))))
}

/// The fewer than sixteen at the end.
#[inline(always)]
fn add_last_terms<S: Simd, A: Stored, B: Stored, T: Term>(
    simd: S,
    mut sums: [S::Lanes; 4],
    a: &[u8],
    b: &[u8],
) -> [S::Lanes; 4] {
    if !a.is_empty() {
        sums[3] = sums[3].add(T::term(A::widen_some(simd, a), B::widen_some(simd, b)));
    }
    sums
}

#[inline(always)]
fn total<L: Lanes>(sums: [L; 4]) -> f32 {
    sums[0].add(sums[2]).add(sums[1].add(sums[3])).fold()
}
