//! The sums under every distance.
//!
//! | file | holds |
//! |---|---|
//! | `floats.rs` | [`L2`], [`Dot`], [`SquaredNorm`] of f32 queries and rows of any element |
//! | `codes.rs` | [`DotCodes`], [`DotI8`], [`DotNibbles`], [`SquaredDifferences`]: exact |
//! | `stored.rs` | how each element lies in a row |
//! | `simd.rs` | what the copies for different processors differ in |
//! | `plain.rs`, `avx2.rs`, `avx512.rs`, `vnni.rs`, `neon.rs` | that, for each of them |
//!
//! Floats are added in a fixed number of lanes, which are then folded in a fixed order: the
//! result depends on the values alone, never on the width of the processor's vectors. Integers
//! are exact in any order. Whoever adds a kernel implements [`Kernel`](crate::isa::Kernel) in a
//! file here; a body of plain loops over integers is compiled for each processor, and what LLVM
//! does not see by itself becomes a method of [`Simd`].

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod codes;
mod floats;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod simd;
mod stored;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use codes::{DotCodes, DotI8, DotNibbles, MAX_QUERY_UNIT, SquaredDifferences};
pub(crate) use floats::{Dot, L2, L2Within, SquaredNorm};
pub(crate) use simd::{Lanes, Simd};
pub(crate) use stored::{Bf16, F16, F32, I8, U8};
