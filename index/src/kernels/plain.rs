//! Plain code, for any processor: what the others must agree with.

use super::simd::{Lanes, Simd};
use crate::isa::Plain;

#[derive(Clone, Copy)]
pub(crate) struct Sixteen([f32; 16]);

impl Sixteen {
    #[inline(always)]
    fn widen<T: Copy>(values: &[T], widen: impl Fn(T) -> f32) -> Self {
        Self(std::array::from_fn(|i| widen(values[i])))
    }

    #[inline(always)]
    fn zip(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| of(self.0[i], other.0[i])))
    }
}

impl Lanes for Sixteen {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    fn values(self) -> [f32; 16] {
        self.0
    }

    #[inline(always)]
    fn fold(self) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|i| self.0[i] + self.0[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
}

impl Simd for Plain {
    type Lanes = Sixteen;

    #[inline(always)]
    fn zeros(self) -> Sixteen {
        Sixteen([0.0; 16])
    }

    #[inline(always)]
    fn f32s(self, bytes: &[u8; 64]) -> Sixteen {
        Sixteen::widen(bytes.as_chunks().0, f32::from_le_bytes)
    }

    #[inline(always)]
    fn f16s(self, bytes: &[u8; 32]) -> Sixteen {
        Sixteen::widen(bytes.as_chunks().0, |half| widen_f16(u16::from_le_bytes(half)))
    }

    #[inline(always)]
    fn bf16s(self, bytes: &[u8; 32]) -> Sixteen {
        let widen = |half| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16);
        Sixteen::widen(bytes.as_chunks().0, widen)
    }

    #[inline(always)]
    fn u8s(self, bytes: &[u8; 16]) -> Sixteen {
        Sixteen::widen(bytes, f32::from)
    }

    #[inline(always)]
    fn i8s(self, bytes: &[u8; 16]) -> Sixteen {
        Sixteen::widen(bytes, |byte| f32::from(byte as i8))
    }

    #[inline(always)]
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64 {
        let product = |(&a, &b): (&i16, &u8)| i32::from(a) * i32::from(b);
        let parts = a.chunks(I32_PRODUCTS).zip(b.chunks(I32_PRODUCTS));
        parts.map(|(a, b)| i64::from(a.iter().zip(b).map(product).sum::<i32>())).sum()
    }

    #[inline(always)]
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32 {
        a.iter().zip(b).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum()
    }

    #[inline(always)]
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32 {
        a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
    }
}

#[inline(always)]
pub(super) fn dot_i16_nibbles(a: [&[i16]; 2], b: &[u8]) -> i32 {
    let mut sum = 0;
    for ((&low, &high), &b) in a[0].iter().zip(a[1]).zip(b) {
        sum += i32::from(low) * i32::from(b & 15) + i32::from(high) * i32::from(b >> 4);
    }
    sum
}

/// So many products of [`super::DotCodes`] add up within an i32.
const I32_PRODUCTS: usize = super::codes::BLOCK / 8;

/// By selects that LLVM vectorises: `f16::to_f32` would ask for the processor's features at each
/// value.
#[inline(always)]
pub(super) fn widen_f16(half: u16) -> f32 {
    const REBIAS: u32 = (127 - 15) << 23;
    const SMALLEST_NORMAL: u32 = REBIAS + (1 << 23);
    let half = u32::from(half);
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
pub(super) fn dot_planes<const BITS: usize>(a: &[[u64; 8]], b: &[[[u8; 8]; BITS]]) -> i64 {
    let mut ones = [[0_u64; 8]; BITS];
    for (planes, words) in a.iter().zip(b) {
        for (ones, word) in ones.iter_mut().zip(words) {
            let word = u64::from_le_bytes(*word);
            for (ones, plane) in ones.iter_mut().zip(planes) {
                *ones += u64::from((word & plane).count_ones());
            }
        }
    }
    let mut total = 0;
    for (i, ones) in ones.iter().enumerate() {
        for (j, &ones) in ones.iter().enumerate() {
            let weight = if j == 7 { -1 } else { 1 };
            total += (weight * ones as i64) << (i + j);
        }
    }
    total
}
