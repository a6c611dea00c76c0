//! Sums of floats: the same bits from every copy, and near what a naive loop in f64 says.

use half::{bf16, f16};
use proptest::prelude::*;

use crate::isa::{Isa, Kernel, Plain};
use crate::kernels::simd::{Lanes, Simd};
use crate::kernels::stored::Stored;
use crate::kernels::{Bf16, Dot, F16, F32, I8, L2, L2Within, SquaredNorm, U8};

/// Sixteen values as every kernel sees them: each behind fifteen zeros, so that the fold
/// returns it as it is.
struct Widened<'a, R: Stored>(&'a [u8], std::marker::PhantomData<R>);

impl<R: Stored> Kernel for Widened<'_, R> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        R::widen_some(simd, self.0).fold()
    }
}

fn widened<R: Stored>(isa: Isa, value: &[u8]) -> f32 {
    isa.run(Widened::<R>(value, std::marker::PhantomData))
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[test]
fn every_half_is_widened_exactly() {
    for isa in Isa::all() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            // A negative zero is added to positive ones, and turns into one.
            let found = [widened::<F16>(isa, &bytes), widened::<Bf16>(isa, &bytes)];
            let expected =
                [f16::from_bits(bits).to_f32() + 0.0, bf16::from_bits(bits).to_f32() + 0.0];
            assert!(
                same(found[0], expected[0]),
                "f16 {bits:04x}: {} for {}",
                found[0],
                expected[0]
            );
            assert!(
                same(found[1], expected[1]),
                "bf16 {bits:04x}: {} for {}",
                found[1],
                expected[1]
            );
        }
        for byte in 0..=u8::MAX {
            assert_eq!(widened::<U8>(isa, &[byte]), f32::from(byte));
            assert_eq!(widened::<I8>(isa, &[byte]), f32::from(byte as i8));
        }
    }
}

/// What a sum should be: a naive one in f64, and the sum of magnitudes, which bounds its error.
struct Oracle {
    sum: f64,
    magnitude: f64,
    terms: usize,
}

impl Oracle {
    /// Terms are computed in f32, as by the kernels: an overflow there is an infinity here.
    fn new(pairs: &[(f32, f32)], term: fn(f32, f32) -> f32) -> Self {
        let terms = pairs.iter().map(|&(q, r)| f64::from(term(q, r)));
        let (sum, magnitude) = (terms.clone().sum(), terms.map(f64::abs).sum());
        Self { sum, magnitude, terms: pairs.len() }
    }

    fn check(&self, found: f32) -> Result<(), TestCaseError> {
        let largest = f64::from(f32::MAX);
        if self.sum.is_nan() {
            prop_assert!(found.is_nan(), "{found} for NaN");
        } else if self.sum.is_infinite() {
            prop_assert_eq!(f64::from(found), self.sum);
        } else if self.magnitude < largest / 2.0 {
            let allowed = self.magnitude * (self.terms + 8) as f64 * f64::from(f32::EPSILON) / 2.0;
            let off = (f64::from(found) - self.sum).abs();
            prop_assert!(off <= allowed, "{found} for {}, allowed {allowed:e}", self.sum);
        }
        // Else partial sums may overflow, to either side or to both, which gives NaN.
        Ok(())
    }
}

/// All copies agree bit by bit, wherever the row lies, and with the naive sum.
fn check_row<R: Stored>(
    query: &[f32],
    row: &[u8],
    widen: impl Fn(&[u8]) -> f32,
) -> Result<(), TestCaseError> {
    let wide: Vec<(f32, f32)> =
        query.iter().zip(row.chunks(R::BYTES)).map(|(&q, r)| (q, widen(r))).collect();
    let run = |isa: Isa, row: &[u8]| {
        let (l2, dot) = (L2::<R>::new(query, row), Dot::<R>::new(query, row));
        [isa.run(l2), isa.run(dot), isa.run(SquaredNorm::<R>::new(row))]
    };
    let plain = run(Isa::plain(), row);
    for isa in Isa::all() {
        let found = run(isa, row);
        prop_assert!((0..3).all(|i| same(found[i], plain[i])), "{found:?} for {plain:?}");
        for bound in [0.0, plain[0] / 2.0, plain[0], plain[0] * 2.0] {
            let within = isa.run(L2Within::<R>::new(query, row, bound));
            // A sum that is no number counts as infinitely far.
            let past = within > bound && (plain[0] > bound || plain[0].is_nan());
            prop_assert!(past || same(within, plain[0]), "{within} within {bound} for {plain:?}");
        }
    }
    Oracle::new(&wide, |q, r| (q - r) * (q - r)).check(plain[0])?;
    Oracle::new(&wide, |q, r| q * r).check(plain[1])?;
    Oracle::new(&wide, |_, r| r * r).check(plain[2])
}

/// A row at some distance from where its memory begins, so that it has any alignment.
fn check_shifted<R: Stored>(
    query: &[f32],
    row: &[u8],
    start: usize,
    widen: impl Fn(&[u8]) -> f32,
) -> Result<(), TestCaseError> {
    // Bytes around the row that would spoil every sum.
    let mut bytes = vec![0xFF; start];
    bytes.extend_from_slice(row);
    bytes.extend([0xFF; 64]);
    check_row::<R>(query, &bytes[start..][..row.len()], widen)
}

fn le<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn check_every_element(query: &[f32], row: &[f32], start: usize) -> Result<(), TestCaseError> {
    let f16s: Vec<f16> = row.iter().map(|&x| f16::from_f32(x)).collect();
    let bf16s: Vec<bf16> = row.iter().map(|&x| bf16::from_f32(x)).collect();
    let bytes: Vec<u8> = row.iter().map(|&x| x as i64 as u8).collect();
    check_shifted::<F32>(query, bytemuck::cast_slice(row), start, |b| f32::from_le_bytes(le(b)))?;
    check_shifted::<F16>(query, bytemuck::cast_slice(&f16s), start, |b| {
        f16::from_le_bytes(le(b)).to_f32()
    })?;
    check_shifted::<Bf16>(query, bytemuck::cast_slice(&bf16s), start, |b| {
        bf16::from_le_bytes(le(b)).to_f32()
    })?;
    check_shifted::<U8>(query, &bytes, start, |b| f32::from(b[0]))?;
    check_shifted::<I8>(query, &bytes, start, |b| f32::from(b[0] as i8))
}

/// Mostly what vectors hold; sometimes anything that a float can be.
fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        200 => -300.0f32..300.0,
        20 => any::<f32>(),
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tame_values(
        pairs in proptest::collection::vec((-300.0f32..300.0, -300.0f32..300.0), 0..1100),
        start in 0_usize..64,
    ) {
        let (query, row): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        check_every_element(&query, &row, start)?;
    }

    #[test]
    fn a_few_wild_values(
        pairs in proptest::collection::vec((-300.0f32..300.0, -300.0f32..300.0), 1..1100),
        wild in proptest::collection::vec((any::<prop::sample::Index>(), any_value(), any_value()), 1..3),
        start in 0_usize..64,
    ) {
        let (mut query, mut row): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        for (at, q, r) in wild {
            let at = at.index(row.len());
            (query[at], row[at]) = (q, r);
        }
        check_every_element(&query, &row, start)?;
    }

    #[test]
    fn wild_values(
        pairs in proptest::collection::vec((any_value(), any_value()), 0..40),
        start in 0_usize..64,
    ) {
        let (query, row): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        check_every_element(&query, &row, start)?;
    }
}

#[test]
fn the_longest_rows() {
    let value = |i: usize| ((i * 7919) % 1000) as f32 / 3.0 - 160.0;
    let query: Vec<f32> = (0..65_536).map(value).collect();
    let row: Vec<f32> = (0..65_536).map(|i| value(i + 17)).collect();
    check_every_element(&query, &row, 1).unwrap();
    let mut with_nan = row.clone();
    with_nan[65_535] = f32::NAN;
    check_every_element(&query, &with_nan, 3).unwrap();
}

/// The order of additions is part of the format of results: what is written here must not change.
#[test]
fn the_order_of_additions() {
    // 1 in front, then what is too small to be added to it one by one.
    let tiny = f32::EPSILON / 4.0;
    let mut row = vec![tiny; 160];
    row[0] = 1.0;
    let ones = vec![1.0; 160];
    let bytes = bytemuck::cast_slice(&row);
    let mut lanes = [0.0f32; 64];
    for (i, value) in row.iter().enumerate() {
        lanes[i % 64] += value;
    }
    let mut width = 32;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    for isa in Isa::all() {
        assert_eq!(isa.run(Dot::<F32>::new(&ones, bytes)).to_bits(), lanes[0].to_bits());
    }
}

#[test]
#[should_panic(expected = "a row of the query's")]
fn lengths_that_differ_are_refused() {
    let _ = Plain;
    L2::<F16>::new(&[1.0, 2.0], &[0; 6]);
}
