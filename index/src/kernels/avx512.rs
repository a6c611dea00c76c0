//! AVX-512: sixteen floats are one register, and what is left of a row is loaded under a mask.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::simd::{Lanes, Simd, four_sums};
use crate::isa::Avx512;

/// Made with a proof only, so that whoever has one may use AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct Zmm(__m512);

impl Lanes for Zmm {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the processor has AVX-512 F, else there were no such values. So below.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn values(self) -> [f32; 16] {
        let mut values = [0.0; 16];
        // SAFETY: as above, and the array is as long as what is stored.
        unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) };
        values
    }

    #[inline(always)]
    fn fold(self) -> f32 {
        // SAFETY: as above, and DQ, which every proof includes.
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            super::avx2::fold(_mm256_add_ps(low, high))
        }
    }
}

/// A mask of the first `count` of at most 63 lanes.
#[inline(always)]
pub(super) fn first(count: usize) -> u64 {
    debug_assert!(count < 64);
    (1 << count) - 1
}

impl Simd for Avx512 {
    type Lanes = Zmm;

    #[inline(always)]
    fn zeros(self) -> Zmm {
        // SAFETY: `self` proves that the processor has AVX-512 F, BW, VL and DQ. So below; and
        // the arrays are as long as what is loaded.
        Zmm(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    fn f32s(self, bytes: &[u8; 64]) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn f16s(self, bytes: &[u8; 32]) -> Zmm {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(bytes.as_ptr().cast())) })
    }

    #[inline(always)]
    fn bf16s(self, bytes: &[u8; 32]) -> Zmm {
        // SAFETY: as above.
        unsafe { widen_bf16(_mm256_loadu_si256(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn u8s(self, bytes: &[u8; 16]) -> Zmm {
        // SAFETY: as above.
        unsafe { widen_u8(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn i8s(self, bytes: &[u8; 16]) -> Zmm {
        // SAFETY: as above.
        unsafe { widen_i8(_mm_loadu_si128(bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn some_f32s(self, bytes: &[u8]) -> Zmm {
        let mask = first(bytes.len() / 4) as __mmask16;
        // SAFETY: as above; what the mask leaves out is not touched. So in the next four.
        Zmm(unsafe { _mm512_maskz_loadu_ps(mask, bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn some_f16s(self, bytes: &[u8]) -> Zmm {
        let mask = first(bytes.len() / 2) as __mmask16;
        // SAFETY: as above.
        Zmm(unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, bytes.as_ptr().cast())) })
    }

    #[inline(always)]
    fn some_bf16s(self, bytes: &[u8]) -> Zmm {
        let mask = first(bytes.len() / 2) as __mmask16;
        // SAFETY: as above.
        unsafe { widen_bf16(_mm256_maskz_loadu_epi16(mask, bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn some_u8s(self, bytes: &[u8]) -> Zmm {
        let mask = first(bytes.len()) as __mmask16;
        // SAFETY: as above.
        unsafe { widen_u8(_mm_maskz_loadu_epi8(mask, bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn some_i8s(self, bytes: &[u8]) -> Zmm {
        let mask = first(bytes.len()) as __mmask16;
        // SAFETY: as above.
        unsafe { widen_i8(_mm_maskz_loadu_epi8(mask, bytes.as_ptr().cast())) }
    }

    #[inline(always)]
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64 {
        dot_i16_u8(self, a, b)
    }

    #[inline(always)]
    fn dot_i16_nibbles(self, a: [&[i16]; 2], b: &[u8]) -> i32 {
        dot_i16_nibbles(self, a, b)
    }

    #[inline(always)]
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32 {
        dot_i8_u8(self, a, b)
    }

    #[inline(always)]
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32 {
        squared_differences(self, a, b)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen_bf16(halves: __m256i) -> Zmm {
    Zmm(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen_u8(bytes: __m128i) -> Zmm {
    Zmm(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widen_i8(bytes: __m128i) -> Zmm {
    Zmm(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
}

/// Any proof that the processor has AVX-512 F, BW, VL and DQ.
pub(super) trait AddProducts: Copy {
    /// Adds the products of 32 i16 to sixteen sums, two to each.
    fn add_products(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i;
}

impl AddProducts for Avx512 {
    #[inline(always)]
    fn add_products(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the processor has AVX-512 F and BW.
        unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(a, b)) }
    }
}

#[inline(always)]
pub(super) fn dot_i16_u8(simd: impl AddProducts, a: &[i16], b: &[u8]) -> i64 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    // SAFETY: `simd` proves that the processor has AVX-512 F, BW, VL and DQ; arrays are as long as what is loaded,
    // and what a mask leaves out is not touched.
    unsafe {
        let mut sums = four_sums!([_mm512_setzero_si512(); 4], a, b, |sum, a, b| {
            let b = _mm512_cvtepu8_epi16(_mm256_loadu_si256(b.as_ptr().cast()));
            simd.add_products(sum, _mm512_loadu_si512(a.as_ptr().cast()), b)
        });
        if !a_rest.is_empty() {
            let mask = first(a_rest.len()) as __mmask32;
            let a = _mm512_maskz_loadu_epi16(mask, a_rest.as_ptr());
            let b = _mm256_maskz_loadu_epi8(mask, b_rest.as_ptr().cast());
            sums[3] = simd.add_products(sums[3], a, _mm512_cvtepu8_epi16(b));
        }
        // Eight sums of 1,024 products fit, sixteen in one would not.
        let sum = four(sums);
        let (low, high) = (_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
        _mm512_reduce_add_epi64(_mm512_cvtepi32_epi64(_mm256_add_epi32(low, high)))
    }
}

#[inline(always)]
pub(super) fn dot_i16_nibbles(simd: impl AddProducts, [low, high]: [&[i16]; 2], b: &[u8]) -> i32 {
    debug_assert!(low.len() == b.len() && high.len() == b.len());
    let (low, low_rest) = low.as_chunks::<32>();
    let (high, high_rest) = high.as_chunks::<32>();
    let (b, b_rest) = b.as_chunks::<32>();
    // SAFETY: `simd` proves that the processor has AVX-512 F, BW and VL; arrays are as long as
    // what is loaded, and what a mask leaves out is not touched.
    unsafe {
        let add = |sums: [__m512i; 2], low: __m512i, high: __m512i, b: __m256i| {
            let b = _mm512_cvtepu8_epi16(b);
            let nibbles = [_mm512_and_si512(b, _mm512_set1_epi16(15)), _mm512_srli_epi16::<4>(b)];
            [
                simd.add_products(sums[0], low, nibbles[0]),
                simd.add_products(sums[1], high, nibbles[1]),
            ]
        };
        let mut sums = [_mm512_setzero_si512(); 2];
        for ((low, high), b) in low.iter().zip(high).zip(b) {
            let [low, high] = [low, high].map(|a| _mm512_loadu_si512(a.as_ptr().cast()));
            sums = add(sums, low, high, _mm256_loadu_si256(b.as_ptr().cast()));
        }
        if !b_rest.is_empty() {
            let mask = first(b_rest.len()) as __mmask32;
            let low = _mm512_maskz_loadu_epi16(mask, low_rest.as_ptr());
            let high = _mm512_maskz_loadu_epi16(mask, high_rest.as_ptr());
            sums = add(sums, low, high, _mm256_maskz_loadu_epi8(mask, b_rest.as_ptr().cast()));
        }
        _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]))
    }
}

/// The sum of four, lane by lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn four(sums: [__m512i; 4]) -> __m512i {
    let pairs = [_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3])];
    _mm512_add_epi32(pairs[0], pairs[1])
}

#[inline(always)]
fn dot_i8_u8(simd: Avx512, a: &[i8], b: &[u8]) -> i32 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    // SAFETY: `simd` proves that the processor has AVX-512 F, BW and VL; arrays are as long as
    // what is loaded, and what a mask leaves out is not touched.
    unsafe {
        let mut sums = four_sums!([_mm512_setzero_si512(); 4], a, b, |sum, a, b| {
            let a = _mm512_cvtepi8_epi16(_mm256_loadu_si256(a.as_ptr().cast()));
            let b = _mm512_cvtepu8_epi16(_mm256_loadu_si256(b.as_ptr().cast()));
            simd.add_products(sum, a, b)
        });
        if !a_rest.is_empty() {
            let mask = first(a_rest.len()) as __mmask32;
            let a = _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, a_rest.as_ptr()));
            let b = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(mask, b_rest.as_ptr().cast()));
            sums[3] = simd.add_products(sums[3], a, b);
        }
        _mm512_reduce_add_epi32(four(sums))
    }
}

#[inline(always)]
pub(super) fn squared_differences(simd: impl AddProducts, a: &[u8], b: &[u8]) -> u32 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    // SAFETY: `simd` proves that the processor has AVX-512 F and BW; arrays are as long as what is loaded, and
    // what a mask leaves out is not touched.
    unsafe {
        let mut sums = four_sums!([[_mm512_setzero_si512(); 2]; 4], a, b, |sums, a, b| {
            let a = _mm512_loadu_si512(a.as_ptr().cast());
            let d = absolute_differences(a, _mm512_loadu_si512(b.as_ptr().cast()));
            [simd.add_products(sums[0], d[0], d[0]), simd.add_products(sums[1], d[1], d[1])]
        });
        if !a_rest.is_empty() {
            let mask = first(a_rest.len());
            let a = _mm512_maskz_loadu_epi8(mask, a_rest.as_ptr().cast());
            let b = _mm512_maskz_loadu_epi8(mask, b_rest.as_ptr().cast());
            let d = absolute_differences(a, b);
            sums[3][0] = simd.add_products(sums[3][0], d[0], d[0]);
            sums[3][1] = simd.add_products(sums[3][1], d[1], d[1]);
        }
        let [a, b, c, d] = sums;
        let low = four([a[0], b[0], c[0], d[0]]);
        _mm512_reduce_add_epi32(_mm512_add_epi32(low, four([a[1], b[1], c[1], d[1]]))) as u32
    }
}

/// Of 64 u8, as i16, in some order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn absolute_differences(a: __m512i, b: __m512i) -> [__m512i; 2] {
    // One of the two differences is 0, since they saturate.
    let d = _mm512_or_si512(_mm512_subs_epu8(a, b), _mm512_subs_epu8(b, a));
    let zero = _mm512_setzero_si512();
    [_mm512_unpacklo_epi8(d, zero), _mm512_unpackhi_epi8(d, zero)]
}
