//! NEON: sixteen floats are four registers.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::plain::widen_f16;
use super::simd::{Lanes, Simd};
use crate::isa::Neon;

#[derive(Clone, Copy)]
pub(crate) struct FourRegisters([float32x4_t; 4]);

impl FourRegisters {
    #[inline(always)]
    fn zip(self, other: Self, of: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        Self(std::array::from_fn(|i| of(self.0[i], other.0[i])))
    }
}

impl Lanes for FourRegisters {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: every aarch64 processor has NEON. So below.
        self.zip(other, |a, b| unsafe { vaddq_f32(a, b) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |a, b| unsafe { vsubq_f32(a, b) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |a, b| unsafe { vmulq_f32(a, b) })
    }

    #[inline(always)]
    fn least(self, other: Self) -> Self {
        // SAFETY: as above.
        self.zip(other, |a, b| unsafe { vminq_f32(a, b) })
    }

    #[inline(always)]
    fn values(self) -> [f32; 16] {
        let mut values = [0.0; 16];
        for (values, four) in values.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            // SAFETY: as above, and the array is as long as what is stored.
            unsafe { vst1q_f32(values.as_mut_ptr(), four) };
        }
        values
    }

    #[inline(always)]
    fn fold(self) -> f32 {
        let [a, b, c, d] = self.0;
        // SAFETY: as above.
        unsafe {
            let four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
}

impl Simd for Neon {
    type Lanes = FourRegisters;

    #[inline(always)]
    fn zeros(self) -> FourRegisters {
        // SAFETY: every aarch64 processor has NEON. So below; and the arrays are as long as what
        // is loaded.
        FourRegisters([unsafe { vdupq_n_f32(0.0) }; 4])
    }

    #[inline(always)]
    fn f32s(self, bytes: &[u8; 64]) -> FourRegisters {
        let quarters: &[[u8; 16]] = bytes.as_chunks().0;
        // SAFETY: as above; bytes, which need no alignment.
        let load = |i: usize| unsafe { vreinterpretq_f32_u8(vld1q_u8(quarters[i].as_ptr())) };
        FourRegisters(std::array::from_fn(load))
    }

    #[inline(always)]
    fn f16s(self, bytes: &[u8; 32]) -> FourRegisters {
        let halves: &[[u8; 2]] = bytes.as_chunks().0;
        let load = |i: usize| {
            let widened: [f32; 4] =
                std::array::from_fn(|j| widen_f16(u16::from_le_bytes(halves[4 * i + j])));
            // SAFETY: as above.
            unsafe { vld1q_f32(widened.as_ptr()) }
        };
        FourRegisters(std::array::from_fn(load))
    }

    #[inline(always)]
    fn bf16s(self, bytes: &[u8; 32]) -> FourRegisters {
        let quarters: &[[u8; 8]] = bytes.as_chunks().0;
        // SAFETY: as above.
        let load = |i: usize| unsafe {
            let halves = vreinterpret_u16_u8(vld1_u8(quarters[i].as_ptr()));
            vreinterpretq_f32_u32(vshll_n_u16::<16>(halves))
        };
        FourRegisters(std::array::from_fn(load))
    }

    #[inline(always)]
    fn u8s(self, bytes: &[u8; 16]) -> FourRegisters {
        // SAFETY: as above.
        unsafe {
            let bytes = vld1q_u8(bytes.as_ptr());
            let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_high_u8(bytes));
            FourRegisters([
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
                vcvtq_f32_u32(vmovl_high_u16(low)),
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
                vcvtq_f32_u32(vmovl_high_u16(high)),
            ])
        }
    }

    #[inline(always)]
    fn i8s(self, bytes: &[u8; 16]) -> FourRegisters {
        // SAFETY: as above.
        unsafe {
            let bytes = vreinterpretq_s8_u8(vld1q_u8(bytes.as_ptr()));
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
            FourRegisters([
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            ])
        }
    }

    #[inline(always)]
    fn dot_i16_u8(self, a: &[i16], b: &[u8]) -> i64 {
        debug_assert_eq!(a.len(), b.len());
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| i32::from(a) * i32::from(b));
        // SAFETY: as above.
        unsafe {
            let mut sums = [vdupq_n_s32(0); 4];
            for (a, b) in a.iter().zip(b) {
                let (a0, a1) = (vld1q_s16(a.as_ptr()), vld1q_s16(a[8..].as_ptr()));
                let b = vld1q_u8(b.as_ptr());
                let b0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(b)));
                let b1 = vreinterpretq_s16_u16(vmovl_high_u8(b));
                add_products(&mut sums, [a0, a1], [b0, b1]);
            }
            // Eight sums of 1,024 products fit an i32; sixteen in four would not.
            let pairs = [vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])];
            vaddlvq_s32(pairs[0]) + vaddlvq_s32(pairs[1]) + i64::from(rest.sum::<i32>())
        }
    }

    #[inline(always)]
    fn dot_i8_u8(self, a: &[i8], b: &[u8]) -> i32 {
        debug_assert_eq!(a.len(), b.len());
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| i32::from(a) * i32::from(b));
        // SAFETY: as above.
        unsafe {
            let mut sums = [vdupq_n_s32(0); 4];
            for (a, b) in a.iter().zip(b) {
                let (a, b) = (vld1q_s8(a.as_ptr()), vld1q_u8(b.as_ptr()));
                let (a0, a1) = (vmovl_s8(vget_low_s8(a)), vmovl_high_s8(a));
                let b0 = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(b)));
                let b1 = vreinterpretq_s16_u16(vmovl_high_u8(b));
                add_products(&mut sums, [a0, a1], [b0, b1]);
            }
            total(sums) + rest.sum::<i32>()
        }
    }

    #[inline(always)]
    fn squared_differences(self, a: &[u8], b: &[u8]) -> u32 {
        debug_assert_eq!(a.len(), b.len());
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2));
        // SAFETY: as above.
        unsafe {
            let mut sums = [vdupq_n_u32(0); 2];
            for (a, b) in a.iter().zip(b) {
                let d = vabdq_u8(vld1q_u8(a.as_ptr()), vld1q_u8(b.as_ptr()));
                let low = vmull_u8(vget_low_u8(d), vget_low_u8(d));
                sums[0] = vpadalq_u16(sums[0], low);
                sums[1] = vpadalq_u16(sums[1], vmull_high_u8(d, d));
            }
            vaddvq_u32(vaddq_u32(sums[0], sums[1])) + rest.sum::<u32>()
        }
    }
}

/// Adds sixteen products to sixteen sums.
#[inline(always)]
fn add_products(sums: &mut [int32x4_t; 4], a: [int16x8_t; 2], b: [int16x8_t; 2]) {
    for i in 0..2 {
        // SAFETY: every aarch64 processor has NEON.
        unsafe {
            sums[2 * i] = vmlal_s16(sums[2 * i], vget_low_s16(a[i]), vget_low_s16(b[i]));
            sums[2 * i + 1] = vmlal_high_s16(sums[2 * i + 1], a[i], b[i]);
        }
    }
}

#[inline(always)]
fn total(sums: [int32x4_t; 4]) -> i32 {
    // SAFETY: every aarch64 processor has NEON.
    unsafe {
        let pairs = [vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])];
        vaddvq_s32(vaddq_s32(pairs[0], pairs[1]))
    }
}
