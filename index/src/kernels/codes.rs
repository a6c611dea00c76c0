//! Sums of small integers: exact, hence the same in any order.

use super::Simd;
use crate::isa::Kernel;

/// How many values are added up before the sum goes into 64 bits, or into 32 where all of a
/// vector's values fit. 1,024 products of [`DotCodes`] add up within an i32, and every copy keeps
/// at least eight sums.
pub(crate) const BLOCK: usize = 8192;
/// The largest magnitude of a quantized query's value.
pub(crate) const MAX_QUERY_UNIT: i16 = 8191;
const _: () = assert!(MAX_QUERY_UNIT as i64 * 255 * (BLOCK as i64 / 8) <= i32::MAX as i64);
const _: () = assert!(255 * 255 * BLOCK as i64 <= u32::MAX as i64);

/// Σ q·c of a query of 14 bits and a code of bytes. Query values are within
/// ±[`MAX_QUERY_UNIT`].
pub(crate) struct DotCodes<'a>(pub &'a [i16], pub &'a [u8]);

impl Kernel for DotCodes<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        let mut total = 0;
        for (query, code) in blocks(self.0, self.1) {
            total += simd.dot_i16_u8(query, code);
        }
        total
    }
}

/// Σ q·c of a query of signed bytes and a code of bytes, any of them.
pub(crate) struct DotI8<'a>(pub &'a [i8], pub &'a [u8]);

impl Kernel for DotI8<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        let mut total = 0;
        for (query, code) in blocks(self.0, self.1) {
            total += i64::from(simd.dot_i8_u8(query, code));
        }
        total
    }
}

/// Σ (a - b)² of two rows of bytes.
pub(crate) struct SquaredDifferences<'a>(pub &'a [u8], pub &'a [u8]);

impl Kernel for SquaredDifferences<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        let mut total = 0;
        for (a, b) in blocks(self.0, self.1) {
            total += i64::from(simd.squared_differences(a, b));
        }
        total
    }
}

/// Σ q·c of a query of 14 bits and a code of half bytes: first the low halves of all bytes, then
/// the high ones. Query values are within ±[`MAX_QUERY_UNIT`].
pub(crate) struct DotNibbles<'a>(pub &'a [i16], pub &'a [u8]);

const _: () = assert!(MAX_QUERY_UNIT as i64 * 15 * 2 * BLOCK as i64 <= i32::MAX as i64);

impl Kernel for DotNibbles<'_> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        assert_eq!(self.0.len(), 2 * self.1.len(), "a code of half the query's length");
        let (low, high) = self.0.split_at(self.1.len());
        if self.1.len() <= BLOCK {
            return i64::from(simd.dot_i16_nibbles([low, high], self.1));
        }
        let blocks = low.chunks(BLOCK).zip(high.chunks(BLOCK)).zip(self.1.chunks(BLOCK));
        blocks.map(|((low, high), code)| i64::from(simd.dot_i16_nibbles([low, high], code))).sum()
    }
}

/// # Panics
/// When the lengths differ.
#[inline(always)]
fn blocks<'a, A>(a: &'a [A], b: &'a [u8]) -> impl Iterator<Item = (&'a [A], &'a [u8])> {
    assert_eq!(a.len(), b.len(), "a code of the query's length");
    a.chunks(BLOCK).zip(b.chunks(BLOCK))
}
