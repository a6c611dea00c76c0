//! What the copies of a kernel for different processors differ in.
//!
//! A kernel is written once, over sixteen floats at a time ([`Lanes`]) and over sums of products
//! of small integers; each instruction set says how those are computed. A [`Simd`] is a proof that
//! the processor has the instructions, so that everything here is safe to call; slices are as
//! long as their types say.

/// An instruction set.
pub(crate) trait Simd: Copy {
    /// Sixteen floats.
    type Lanes: Lanes;

    /// Sixteen zeros.
    fn zeros(self) -> Self::Lanes;

    /// Sixteen f32, little-endian, at any alignment. So are the others.
    fn f32s(self, bytes: &[u8; 64]) -> Self::Lanes;
    /// Sixteen times the same.
    #[inline(always)]
    fn all(self, value: f32) -> Self::Lanes {
        self.f32s(&bytemuck::cast([value; 16]))
    }
    /// Sixteen f16, widened.
    fn f16s(self, bytes: &[u8; 32]) -> Self::Lanes;
    /// Sixteen bf16, widened.
    fn bf16s(self, bytes: &[u8; 32]) -> Self::Lanes;
    /// Sixteen u8, widened.
    fn u8s(self, bytes: &[u8; 16]) -> Self::Lanes;
    /// Sixteen i8, widened.
    fn i8s(self, bytes: &[u8; 16]) -> Self::Lanes;

    /// Fewer than sixteen f32, and zeros behind them. So are the others.
    #[inline(always)]
    fn some_f32s(self, bytes: &[u8]) -> Self::Lanes {
        self.f32s(&padded(bytes))
    }
    #[inline(always)]
    fn some_f16s(self, bytes: &[u8]) -> Self::Lanes {
        self.f16s(&padded(bytes))
    }
    #[inline(always)]
    fn some_bf16s(self, bytes: &[u8]) -> Self::Lanes {
        self.bf16s(&padded(bytes))
    }
    #[inline(always)]
    fn some_u8s(self, bytes: &[u8]) -> Self::Lanes {
        self.u8s(&padded(bytes))
    }
    #[inline(always)]
    fn some_i8s(self, bytes: &[u8]) -> Self::Lanes {
        self.i8s(&padded(bytes))
    }

    /// Σ a·b of two slices of one length, at most [`super::codes::BLOCK`], with |a| at most
    /// [`super::MAX_QUERY_UNIT`].
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64;
    /// Σ a·b of two halves of a, each as long as b, at most [`super::codes::BLOCK`]: the first
    /// with the low halves of the bytes of b, the second with the high ones. |a| is at most
    /// [`super::MAX_QUERY_UNIT`].
    #[inline(always)]
    fn dot_i16_nibbles(self, a: [&[i16]; 2], b: &[u8]) -> i32 {
        super::plain::dot_i16_nibbles(a, b)
    }
    /// Σ a·b of two slices of one length, at most [`super::codes::BLOCK`].
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32;
    /// For each bit plane of a, j, and each of b, i, 2^(i + j) for each bit that both have: Σ a·b
    /// where plane 7 of a counts negatively, as in two's complement.
    #[inline(always)]
    fn dot_planes<const BITS: usize>(self, a: &[[u64; 8]], b: &[[[u8; 8]; BITS]]) -> i64 {
        super::plain::dot_planes(a, b)
    }
    /// Σ (a - b)² of two slices of one length, at most [`super::codes::BLOCK`].
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32;
}

/// Sixteen floats, computed with side by side.
pub(crate) trait Lanes: Copy {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// The lesser of both, of numbers.
    fn least(self, other: Self) -> Self;
    /// One by one.
    fn values(self) -> [f32; 16];

    /// Their sum: each lane of the upper half is added to that of the lower half, until one is
    /// left.
    fn fold(self) -> f32;
}

/// Sums over pairs of chunks, round four of them, so that no addition waits for the one before
/// it: `four_sums!(sums, a, b, |sum, a, b| step)`, from `sums` that a multiple of four chunks went
/// to before. No closure, since a closure's body would be compiled without the processor's
/// features where it is not inlined.
macro_rules! four_sums {
    ($sums:expr, $a:expr, $b:expr, |$sum:ident, $x:ident, $y:ident| $step:expr) => {{
        let mut sums: [_; 4] = $sums;
        let ((a, a_last), (b, b_last)) = ($a.as_chunks::<4>(), $b.as_chunks::<4>());
        for (a, b) in a.iter().zip(b) {
            for ((sum, $x), $y) in sums.iter_mut().zip(a).zip(b) {
                let $sum = *sum;
                *sum = $step;
            }
        }
        // By constant numbers, since sums that are indexed do not stay in registers.
        for (i, sum) in sums.iter_mut().take(3).enumerate() {
            if let (Some($x), Some($y)) = (a_last.get(i), b_last.get(i)) {
                let $sum = *sum;
                *sum = $step;
            }
        }
        sums
    }};
}
pub(super) use four_sums;

#[inline(always)]
fn padded<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut whole = [0; N];
    whole[..bytes.len()].copy_from_slice(bytes);
    whole
}
