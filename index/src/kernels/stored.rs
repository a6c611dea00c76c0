//! How each element lies in a row, and how sixteen of them become floats.

use super::Simd;

/// An element type, as a row of bytes holds it.
pub(crate) trait Stored {
    /// The bytes of one value.
    const BYTES: usize;
    /// The bytes of sixteen.
    type Sixteen;

    /// The row in sixteens, and the fewer than sixteen values that are left.
    fn split(row: &[u8]) -> (&[Self::Sixteen], &[u8]);
    fn widen<S: Simd>(simd: S, sixteen: &Self::Sixteen) -> S::Lanes;
    /// The same of fewer than sixteen, with zeros behind them.
    fn widen_some<S: Simd>(simd: S, rest: &[u8]) -> S::Lanes;
}

macro_rules! stored {
    ($(#[$doc:meta] $name:ident: $bytes:literal, $sixteen:literal, $all:ident, $some:ident;)*) => {$(
        #[$doc]
        pub(crate) struct $name;

        impl Stored for $name {
            const BYTES: usize = $bytes;
            type Sixteen = [u8; $sixteen];

            #[inline(always)]
            fn split(row: &[u8]) -> (&[Self::Sixteen], &[u8]) {
                row.as_chunks()
            }

            #[inline(always)]
            fn widen<S: Simd>(simd: S, sixteen: &Self::Sixteen) -> S::Lanes {
                simd.$all(sixteen)
            }

            #[inline(always)]
            fn widen_some<S: Simd>(simd: S, rest: &[u8]) -> S::Lanes {
                simd.$some(rest)
            }
        }
    )*};
}

stored! {
    /// IEEE 754, 32 bits.
    F32: 4, 64, f32s, some_f32s;
    /// IEEE 754, 16 bits.
    F16: 2, 32, f16s, some_f16s;
    /// The upper half of an f32.
    Bf16: 2, 32, bf16s, some_bf16s;
    /// Unsigned bytes.
    U8: 1, 16, u8s, some_u8s;
    /// Signed bytes.
    I8: 1, 16, i8s, some_i8s;
}
