//! AVX-512 with VNNI: products of integers are added up in the instruction that makes them.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::avx512::{self, AddProducts, Zmm, first};
use super::simd::{Simd, four_sums};
use crate::isa::Avx512Vnni;

/// What AVX-512 does as well without VNNI.
macro_rules! as_avx512 {
    ($($name:ident: $bytes:ty;)*) => {$(
        #[inline(always)]
        fn $name(self, bytes: &$bytes) -> Zmm {
            self.avx512().$name(bytes)
        }
    )*};
}

impl Simd for Avx512Vnni {
    type Lanes = Zmm;

    #[inline(always)]
    fn zeros(self) -> Zmm {
        self.avx512().zeros()
    }

    as_avx512! {
        f32s: [u8; 64];
        f16s: [u8; 32];
        bf16s: [u8; 32];
        u8s: [u8; 16];
        i8s: [u8; 16];
        some_f32s: [u8];
        some_f16s: [u8];
        some_bf16s: [u8];
        some_u8s: [u8];
        some_i8s: [u8];
    }

    #[inline(always)]
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64 {
        avx512::dot_i16_u8(self, a, b)
    }

    #[inline(always)]
    fn dot_i16_nibbles(self, a: [&[i16]; 2], b: &[u8]) -> i32 {
        avx512::dot_i16_nibbles(self, a, b)
    }

    #[inline(always)]
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32 {
        dot_i8_u8(self, a, b)
    }

    #[inline(always)]
    fn dot_planes<const BITS: usize>(self, a: &[[u64; 8]], b: &[[[u8; 8]; BITS]]) -> i64 {
        // SAFETY: as above.
        unsafe { dot_planes(a, b) }
    }

    #[inline(always)]
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32 {
        avx512::squared_differences(self, a, b)
    }
}

impl AddProducts for Avx512Vnni {
    #[inline(always)]
    fn add_products(self, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves that the processor has VNNI.
        unsafe { _mm512_dpwssd_epi32(sums, a, b) }
    }
}

#[inline(always)]
fn dot_i8_u8(_: Avx512Vnni, a: &[i8], b: &[u8]) -> i32 {
    debug_assert_eq!(a.len(), b.len());
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    // SAFETY: the processor has VNNI and what goes before it; arrays are as long as what is loaded, and what a mask leaves out is not touched.
    unsafe {
        let mut sums = four_sums!([_mm512_setzero_si512(); 4], a, b, |sum, a, b| {
            let a = _mm512_loadu_si512(a.as_ptr().cast());
            _mm512_dpbusd_epi32(sum, _mm512_loadu_si512(b.as_ptr().cast()), a)
        });
        if !a_rest.is_empty() {
            let mask = first(a_rest.len());
            let a = _mm512_maskz_loadu_epi8(mask, a_rest.as_ptr());
            let b = _mm512_maskz_loadu_epi8(mask, b_rest.as_ptr().cast());
            sums[3] = _mm512_dpbusd_epi32(sums[3], b, a);
        }
        _mm512_reduce_add_epi32(avx512::four(sums))
    }
}

/// All eight planes of a group in one vector.
#[inline]
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn dot_planes<const BITS: usize>(a: &[[u64; 8]], b: &[[[u8; 8]; BITS]]) -> i64 {
    debug_assert_eq!(a.len(), b.len());
    let mut ones = [_mm512_setzero_si512(); BITS];
    for (planes, words) in a.iter().zip(b) {
        // SAFETY: the array is as long as what is loaded.
        let planes = unsafe { _mm512_loadu_si512(planes.as_ptr().cast()) };
        for (ones, word) in ones.iter_mut().zip(words) {
            let word = _mm512_set1_epi64(i64::from_le_bytes(*word));
            let both = _mm512_popcnt_epi64(_mm512_and_si512(planes, word));
            *ones = _mm512_add_epi64(*ones, both);
        }
    }
    let mut total = _mm512_setzero_si512();
    for ones in ones.iter().rev() {
        total = _mm512_add_epi64(_mm512_add_epi64(total, total), *ones);
    }
    let total = _mm512_sllv_epi64(total, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    let zero = _mm512_setzero_si512();
    _mm512_reduce_add_epi64(_mm512_mask_sub_epi64(total, 1 << 7, zero, total))
}
