//! The sums under every distance.
//!
//! Floats are added in a fixed number of lanes, which are then folded in a fixed order: the
//! result depends on the values alone, never on the width of the processor's vectors. Integers
//! are exact in any order.

use crate::isa::Kernel;

/// Independent sums: enough to hide the latency of an addition in 512-bit vectors.
const LANES: usize = 64;
/// Four values are added before they go to a lane: LLVM keeps lanes in memory, and the way there
/// and back is the longest part of an addition.
const STRIDE: usize = 4 * LANES;

/// On cache lines of their own, since a vector across two is slow to get back from memory.
#[repr(align(64))]
struct Lanes([f32; LANES]);

/// One value of a row as it lies in a page, at any alignment.
pub(crate) trait Stored: Copy {
    fn widen(self) -> f32;

    /// A row's bytes as values.
    fn row(bytes: &[u8]) -> &[Self];
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn row(bytes: &[u8]) -> &[Self] {
        bytemuck::cast_slice(bytes)
    }
}

impl Stored for [u8; 4] {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_le_bytes(self)
    }

    #[inline(always)]
    fn row(bytes: &[u8]) -> &[Self] {
        bytes.as_chunks().0
    }
}

impl Stored for [u8; 2] {
    /// A half, by selects that LLVM vectorises: `f16::to_f32` would ask for the processor's
    /// features at each value.
    #[inline(always)]
    fn widen(self) -> f32 {
        const REBIAS: u32 = (127 - 15) << 23;
        const SMALLEST_NORMAL: u32 = REBIAS + (1 << 23);
        let half = u32::from(u16::from_le_bytes(self));
        let magnitude = (half & 0x7FFF) << 13;
        // A subnormal is mantissa * 2^-24: put it behind the 1 of 2^-14, then take that away.
        let behind_one = f32::from_bits(magnitude + SMALLEST_NORMAL);
        let subnormal = behind_one - f32::from_bits(SMALLEST_NORMAL);
        let bits = match magnitude < 1 << 23 {
            true => subnormal.to_bits(),
            false => magnitude + REBIAS,
        };
        // Infinities, and what is no number.
        let bits = match magnitude >= 31 << 23 {
            true => bits + REBIAS,
            false => bits,
        };
        f32::from_bits(bits | (half & 0x8000) << 16)
    }

    #[inline(always)]
    fn row(bytes: &[u8]) -> &[Self] {
        bytes.as_chunks().0
    }
}

impl Stored for u8 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn row(bytes: &[u8]) -> &[Self] {
        bytes
    }
}

impl Stored for i8 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from(self)
    }

    #[inline(always)]
    fn row(bytes: &[u8]) -> &[Self] {
        bytemuck::cast_slice(bytes)
    }
}

/// The sum of `term(q, r)` over all values, in lanes. `term(0, 0)` must be 0.
#[inline(always)]
fn sum<Q: Stored, R: Stored>(query: &[Q], row: &[R], term: impl Fn(f32, f32) -> f32) -> f32 {
    debug_assert_eq!(query.len(), row.len());
    let mut aligned = Lanes([0.0; LANES]);
    let lanes = &mut aligned.0;
    let (query, query_rest) = query.as_chunks::<STRIDE>();
    let (row, row_rest) = row.as_chunks::<STRIDE>();
    for (q, r) in query.iter().zip(row) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            let term = |at: usize| term(q[at].widen(), r[at].widen());
            let pairs = [term(i) + term(i + LANES), term(i + 2 * LANES) + term(i + 3 * LANES)];
            *lane += pairs[0] + pairs[1];
        }
    }
    let (query, query_rest) = query_rest.as_chunks::<LANES>();
    let (row, row_rest) = row_rest.as_chunks::<LANES>();
    for (q, r) in query.iter().zip(row) {
        for i in 0..LANES {
            lanes[i] += term(q[i].widen(), r[i].widen());
        }
    }
    if !row_rest.is_empty() {
        // A padded block: a loop over fewer lanes would make LLVM give up wide vectors for all.
        let (q, r) = (padded(query_rest), padded(row_rest));
        for i in 0..LANES {
            lanes[i] += term(q[i], r[i]);
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn padded<R: Stored>(rest: &[R]) -> [f32; LANES] {
    let mut block = [0.0; LANES];
    for (value, stored) in block.iter_mut().zip(rest) {
        *value = stored.widen();
    }
    block
}

/// The squared Euclidean distance.
pub(crate) struct L2<'a, R>(pub &'a [f32], pub &'a [R]);

impl<R: Stored> Kernel for L2<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        sum(self.0, self.1, |q, r| (q - r) * (q - r))
    }
}

/// The squared Euclidean distance, or, where that is more than the bound, anything that is.
///
/// Every term is positive, and so is every addition's share: the fold of the lanes half way is at
/// most that at the end, bit by bit.
pub(crate) struct L2Within<'a, R>(pub &'a [f32], pub &'a [R], pub f32);

impl<R: Stored> Kernel for L2Within<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        sum_within(self.0, self.1, self.2, |q, r| (q - r) * (q - r))
    }
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn sum_within<Q: Stored, R: Stored>(
    query: &[Q],
    row: &[R],
    bound: f32,
    term: impl Fn(f32, f32) -> f32,
) -> f32 {
    debug_assert_eq!(query.len(), row.len());
    let mut aligned = Lanes([0.0; LANES]);
    let lanes = &mut aligned.0;
    let (query, query_rest) = query.as_chunks::<STRIDE>();
    let (row, row_rest) = row.as_chunks::<STRIDE>();
    for (q, r) in query.iter().zip(row) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            let term = |at: usize| term(q[at].widen(), r[at].widen());
            let pairs = [term(i) + term(i + LANES), term(i + 2 * LANES) + term(i + 3 * LANES)];
            *lane += pairs[0] + pairs[1];
        }
        let so_far = fold(*lanes);
        if so_far > bound {
            return so_far;
        }
    }
    let (query, query_rest) = query_rest.as_chunks::<LANES>();
    let (row, row_rest) = row_rest.as_chunks::<LANES>();
    for (q, r) in query.iter().zip(row) {
        for i in 0..LANES {
            lanes[i] += term(q[i].widen(), r[i].widen());
        }
    }
    if !row_rest.is_empty() {
        // A padded block: a loop over fewer lanes would make LLVM give up wide vectors for all.
        let (q, r) = (padded(query_rest), padded(row_rest));
        for i in 0..LANES {
            lanes[i] += term(q[i], r[i]);
        }
    }
    fold(*lanes)
}

/// The inner product.
pub(crate) struct Dot<'a, R>(pub &'a [f32], pub &'a [R]);

impl<R: Stored> Kernel for Dot<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        sum(self.0, self.1, |q, r| q * r)
    }
}

/// The inner product of a row with itself.
pub(crate) struct SquaredNorm<'a, R>(pub &'a [R]);

impl<R: Stored> Kernel for SquaredNorm<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        sum(self.0, self.0, |a, b| a * b)
    }
}

/// The inner product of a quantized query and a code. Query values are within
/// ±[`MAX_QUERY_UNIT`].
pub(crate) struct DotCodes<'a>(pub &'a [i16], pub &'a [u8]);

/// A block's products add up within an i32: 8,191 · 255 · 1,024 < 2^31.
const BLOCK: usize = 1024;
/// The largest magnitude of a quantized query's value.
pub(crate) const MAX_QUERY_UNIT: i16 = 8191;
const _: () = assert!(MAX_QUERY_UNIT as i64 * 255 * BLOCK as i64 <= i32::MAX as i64);

impl Kernel for DotCodes<'_> {
    type Output = i64;

    #[inline(always)]
    fn run(self) -> i64 {
        debug_assert_eq!(self.0.len(), self.1.len());
        let blocks = self.0.chunks(BLOCK).zip(self.1.chunks(BLOCK));
        let mut total = 0;
        for (query, code) in blocks {
            let mut sum = 0;
            for (&q, &c) in query.iter().zip(code) {
                sum += i32::from(q) * i32::from(c);
            }
            total += i64::from(sum);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;
    use crate::isa::Isa;

    #[test]
    fn every_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits).to_f32();
            let found = bits.to_le_bytes().widen();
            let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
            assert!(same, "{bits:04x}: {found} for {expected}");
        }
    }

    /// All copies agree bit by bit, and with a naive sum in f64 up to rounding.
    fn check_row<R: Stored>(query: &[f32], bytes: &[u8]) -> Result<(), TestCaseError> {
        let row = R::row(bytes);
        let wide: Vec<(f64, f64)> =
            query.iter().zip(row).map(|(&q, r)| (f64::from(q), f64::from(r.widen()))).collect();
        let oracle = |term: fn(f64, f64) -> f64| -> (f64, f64) {
            let terms = wide.iter().map(|&(q, r)| term(q, r));
            (terms.clone().sum(), terms.map(f64::abs).sum())
        };
        let sums = [oracle(|q, r| (q - r) * (q - r)), oracle(|q, r| q * r), oracle(|_, r| r * r)];
        let plain = Isa::all()[0];
        let run = |isa: Isa| {
            [isa.run(L2(query, row)), isa.run(Dot(query, row)), isa.run(SquaredNorm(row))]
        };
        for isa in Isa::all() {
            prop_assert_eq!(run(isa).map(f32::to_bits), run(plain).map(f32::to_bits));
        }
        for (found, (sum, magnitude)) in run(plain).into_iter().zip(sums) {
            let allowed = 1e-5 * magnitude + 1e-30;
            prop_assert!((f64::from(found) - sum).abs() <= allowed, "{found} for {sum}");
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn sums_agree_with_the_naive_ones(
            pairs in proptest::collection::vec((-300.0f32..300.0, -300.0f32..300.0), 0..1100),
        ) {
            let (query, row): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let halves: Vec<f16> = row.iter().map(|&x| f16::from_f32(x)).collect();
            let bytes: Vec<u8> = row.iter().map(|&x| x as u8).collect();
            check_row::<[u8; 4]>(&query, bytemuck::cast_slice(&row))?;
            check_row::<[u8; 2]>(&query, bytemuck::cast_slice(&halves))?;
            check_row::<u8>(&query, &bytes)?;
            check_row::<i8>(&query, &bytes)?;
        }

        #[test]
        fn codes_are_exact(
            pairs in proptest::collection::vec(
                (-MAX_QUERY_UNIT..=MAX_QUERY_UNIT, any::<u8>()), 0..3000),
        ) {
            let (query, code): (Vec<i16>, Vec<u8>) = pairs.into_iter().unzip();
            let exact: i64 = query.iter().zip(&code).map(|(&q, &c)| i64::from(q) * i64::from(c)).sum();
            for isa in Isa::all() {
                prop_assert_eq!(isa.run(DotCodes(&query, &code)), exact);
            }
        }
    }

    #[test]
    fn the_largest_codes_do_not_overflow() {
        let dim = 65_536;
        for sign in [1, -1] {
            let query = vec![sign * MAX_QUERY_UNIT; dim];
            for isa in Isa::all() {
                let found = isa.run(DotCodes(&query, &vec![255; dim]));
                assert_eq!(found, i64::from(sign * MAX_QUERY_UNIT) * 255 * dim as i64);
            }
        }
    }
}
