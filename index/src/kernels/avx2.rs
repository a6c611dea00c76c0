//! AVX2 with F16C: sixteen floats are two registers.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::simd::{Lanes, Simd, four_sums};
use crate::isa::Avx2;

/// Made with a proof only, so that whoever has one may use AVX2.
#[derive(Clone, Copy)]
pub(crate) struct TwoYmm(__m256, __m256);

impl Lanes for TwoYmm {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2, else there were no such values. So below.
        unsafe { Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn values(self) -> [f32; 16] {
        bytemuck::cast([self.0, self.1])
    }

    #[inline(always)]
    fn fold(self) -> f32 {
        // SAFETY: as above.
        unsafe { fold(_mm256_add_ps(self.0, self.1)) }
    }
}

/// The sum of eight lanes, halves added to halves.
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn fold(eight: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

impl Simd for Avx2 {
    type Lanes = TwoYmm;

    #[inline(always)]
    fn zeros(self) -> TwoYmm {
        // SAFETY: `self` proves that the processor has AVX2 and F16C. So below; and the arrays
        // are as long as what is loaded.
        unsafe { TwoYmm(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    fn f32s(self, bytes: &[u8; 64]) -> TwoYmm {
        let [low, high] = halves::<64, 32>(bytes);
        // SAFETY: as above.
        unsafe { TwoYmm(load_f32(low), load_f32(high)) }
    }

    #[inline(always)]
    fn f16s(self, bytes: &[u8; 32]) -> TwoYmm {
        let [low, high] = halves::<32, 16>(bytes);
        // SAFETY: as above.
        unsafe { TwoYmm(load_f16(low), load_f16(high)) }
    }

    #[inline(always)]
    fn bf16s(self, bytes: &[u8; 32]) -> TwoYmm {
        let [low, high] = halves::<32, 16>(bytes);
        // SAFETY: as above.
        unsafe { TwoYmm(load_bf16(low), load_bf16(high)) }
    }

    #[inline(always)]
    fn u8s(self, bytes: &[u8; 16]) -> TwoYmm {
        let [low, high] = halves::<16, 8>(bytes);
        // SAFETY: as above.
        unsafe { TwoYmm(load_u8(low), load_u8(high)) }
    }

    #[inline(always)]
    fn i8s(self, bytes: &[u8; 16]) -> TwoYmm {
        let [low, high] = halves::<16, 8>(bytes);
        // SAFETY: as above.
        unsafe { TwoYmm(load_i8(low), load_i8(high)) }
    }

    #[inline(always)]
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64 {
        // SAFETY: as above.
        unsafe { dot_i16_u8(a, b) }
    }

    #[inline(always)]
    fn dot_i16_nibbles(self, a: [&[i16]; 2], b: &[u8]) -> i32 {
        // SAFETY: as above.
        unsafe { dot_i16_nibbles(a, b) }
    }

    #[inline(always)]
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32 {
        // SAFETY: as above.
        unsafe { dot_i8_u8(a, b) }
    }

    #[inline(always)]
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32 {
        // SAFETY: as above.
        unsafe { squared_differences(a, b) }
    }
}

/// An array in two.
#[inline(always)]
fn halves<const N: usize, const HALF: usize>(bytes: &[u8; N]) -> &[[u8; HALF]; 2] {
    const { assert!(2 * HALF == N) };
    bytes.as_chunks().0.try_into().expect("two halves")
}

#[inline]
#[target_feature(enable = "avx")]
fn load_f32(bytes: &[u8; 32]) -> __m256 {
    // SAFETY: the array is as long as what is loaded.
    unsafe { _mm256_loadu_ps(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(bytes: &[u8; 16]) -> __m256 {
    // SAFETY: the array is as long as what is loaded.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bf16(bytes: &[u8; 16]) -> __m256 {
    // SAFETY: the array is as long as what is loaded.
    let halves = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_u8(bytes: &[u8; 8]) -> __m256 {
    // SAFETY: the array is as long as what is loaded.
    let bytes = unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_i8(bytes: &[u8; 8]) -> __m256 {
    // SAFETY: the array is as long as what is loaded.
    let bytes = unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_i16_u8(a: &[i16], b: &[u8]) -> i64 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let sums = four_sums!([_mm256_setzero_si256(); 4], a, b, |sum, a, b| {
        // SAFETY: arrays are as long as what is loaded.
        let (a, b) =
            unsafe { (_mm256_loadu_si256(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast())) };
        _mm256_add_epi32(sum, _mm256_madd_epi16(a, _mm256_cvtepu8_epi16(b)))
    });
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| i32::from(a) * i32::from(b));
    // Eight sums of 1,024 products fit, sixteen in one would not.
    let sum = four(sums);
    let (low, high) = (_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm256_add_epi64(_mm256_cvtepi32_epi64(low), _mm256_cvtepi32_epi64(high));
    let (low, high) = (_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi64(low, high);
    let sum = _mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum));
    _mm_cvtsi128_si64(sum) + i64::from(rest.sum::<i32>())
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_i16_nibbles([low, high]: [&[i16]; 2], b: &[u8]) -> i32 {
    debug_assert!(low.len() == b.len() && high.len() == b.len());
    let (low, low_rest) = low.as_chunks::<16>();
    let (high, high_rest) = high.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    let mut sums = [_mm256_setzero_si256(); 2];
    for ((low, high), b) in low.iter().zip(high).zip(b) {
        // SAFETY: arrays are as long as what is loaded.
        let (low, high, b) = unsafe {
            let a = [low, high].map(|a| _mm256_loadu_si256(a.as_ptr().cast()));
            (a[0], a[1], _mm256_cvtepu8_epi16(_mm_loadu_si128(b.as_ptr().cast())))
        };
        let nibbles = [_mm256_and_si256(b, _mm256_set1_epi16(15)), _mm256_srli_epi16::<4>(b)];
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(low, nibbles[0]));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(high, nibbles[1]));
    }
    let rest = super::plain::dot_i16_nibbles([low_rest, high_rest], b_rest);
    total(_mm256_add_epi32(sums[0], sums[1])) + rest
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot_i8_u8(a: &[i8], b: &[u8]) -> i32 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let sums = four_sums!([_mm256_setzero_si256(); 4], a, b, |sum, a, b| {
        // SAFETY: arrays are as long as what is loaded.
        let (a, b) =
            unsafe { (_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast())) };
        // Widened first: the instruction for products of bytes saturates at 16 bits.
        let products = _mm256_madd_epi16(_mm256_cvtepi8_epi16(a), _mm256_cvtepu8_epi16(b));
        _mm256_add_epi32(sum, products)
    });
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| i32::from(a) * i32::from(b));
    total(four(sums)) + rest.sum::<i32>()
}

#[inline]
#[target_feature(enable = "avx2")]
fn squared_differences(a: &[u8], b: &[u8]) -> u32 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    let zero = _mm256_setzero_si256();
    let sums = four_sums!([zero; 4], a, b, |sum, a, b| {
        // SAFETY: arrays are as long as what is loaded.
        let (a, b) = unsafe {
            (_mm256_loadu_si256(a.as_ptr().cast()), _mm256_loadu_si256(b.as_ptr().cast()))
        };
        // One of the two differences is 0, since they saturate.
        let d = _mm256_or_si256(_mm256_subs_epu8(a, b), _mm256_subs_epu8(b, a));
        let (low, high) = (_mm256_unpacklo_epi8(d, zero), _mm256_unpackhi_epi8(d, zero));
        let squares = [_mm256_madd_epi16(low, low), _mm256_madd_epi16(high, high)];
        _mm256_add_epi32(sum, _mm256_add_epi32(squares[0], squares[1]))
    });
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2));
    total(four(sums)) as u32 + rest.sum::<u32>()
}

#[inline]
#[target_feature(enable = "avx2")]
fn four(sums: [__m256i; 4]) -> __m256i {
    let pairs = [_mm256_add_epi32(sums[0], sums[1]), _mm256_add_epi32(sums[2], sums[3])];
    _mm256_add_epi32(pairs[0], pairs[1])
}

/// The sum of eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(sum: __m256i) -> i32 {
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)))
}
