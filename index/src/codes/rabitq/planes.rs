//! The inner product of a code and a query, by counting bits.
//!
//! A group of 64 dimensions of a code is one word for each bit of a level, lowest bit first; the
//! same group of a query, whose values have 8 bits, is eight such words. The product of a bit of
//! the one and a bit of the other is their "and", so that
//!
//! ```text
//!   Σ level · value = Σ 2^(i + j) · ones(code plane i & query plane j)      j < 7
//! ```
//!
//! where the query's plane 7 counts negatively, as in two's complement. One instruction counts
//! the ones of all eight query planes where the processor has VPOPCNTDQ.

use super::rotation::GROUP;
use crate::isa::Kernel;
use crate::kernels::Simd;

/// Bits of a query's value.
pub(super) const QUERY_BITS: usize = 8;
/// A group of 64 dimensions of a query.
pub(super) type QueryPlanes = [u64; QUERY_BITS];

/// Puts the levels of a code, below 2^`BITS` each, into planes.
pub(super) fn pack_levels<const BITS: usize>(levels: &[u8], code: &mut [u8]) {
    let groups = levels.chunks_exact(GROUP).zip(code.as_chunks_mut::<8>().0.chunks_exact_mut(BITS));
    for (levels, words) in groups {
        for (bit, word) in words.iter_mut().enumerate() {
            *word = plane(levels, bit).to_le_bytes();
        }
    }
}

/// Puts a query's values into planes.
pub(super) fn pack_query(values: &[i8], planes: &mut Vec<QueryPlanes>) {
    planes.clear();
    let groups = bytemuck::cast_slice(values).chunks_exact(GROUP);
    planes.extend(groups.map(|group| std::array::from_fn(|bit| plane(group, bit))));
}

/// The given bit of each of 64 values, the first value's lowest.
fn plane(values: &[u8], bit: usize) -> u64 {
    values.iter().rev().fold(0, |word, value| word << 1 | u64::from(value >> bit & 1))
}

/// Σ level · value, exactly.
pub(super) struct DotPlanes<'a, const BITS: usize>(pub &'a [QueryPlanes], pub &'a [u8]);

impl<const BITS: usize> Kernel for DotPlanes<'_, BITS> {
    type Output = i64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> i64 {
        let words = self.1.as_chunks().0.as_chunks().0;
        debug_assert_eq!(self.0.len(), words.len());
        simd.dot_planes::<BITS>(self.0, words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::Isa;

    fn check<const BITS: usize>(values: &[i8], levels: &[u8]) -> Result<(), TestCaseError> {
        let levels: Vec<u8> = levels.iter().map(|level| level & ((1 << BITS) - 1)).collect();
        let exact: i64 =
            values.iter().zip(&levels).map(|(&v, &l)| i64::from(v) * i64::from(l)).sum();
        let mut code = vec![0; levels.len() / 8 * BITS];
        pack_levels::<BITS>(&levels, &mut code);
        let mut planes = Vec::new();
        pack_query(values, &mut planes);
        for isa in Isa::all() {
            prop_assert_eq!(isa.run(DotPlanes::<BITS>(&planes, &code)), exact);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn planes_are_exact(
            groups in proptest::collection::vec(
                proptest::collection::vec((any::<i8>(), any::<u8>()), GROUP), 0..20),
        ) {
            let (values, levels): (Vec<i8>, Vec<u8>) = groups.into_iter().flatten().unzip();
            check::<1>(&values, &levels)?;
            check::<2>(&values, &levels)?;
            check::<4>(&values, &levels)?;
        }
    }

    #[test]
    fn the_largest_products_do_not_overflow() {
        for value in [i8::MIN, i8::MAX] {
            check::<4>(&vec![value; 65_536], &vec![15; 65_536]).unwrap();
        }
    }
}
