//! Integers are exact, up to the longest vectors and the largest values.

use proptest::prelude::*;

use crate::isa::Isa;
use crate::kernels::{DotCodes, DotI8, DotNibbles, MAX_QUERY_UNIT, SquaredDifferences};

fn check(query: &[i16], a: &[u8], b: &[u8]) {
    let small: &[i8] = bytemuck::cast_slice(a);
    let dot_codes: i64 = query.iter().zip(b).map(|(&q, &c)| i64::from(q) * i64::from(c)).sum();
    let dot_i8: i64 = small.iter().zip(b).map(|(&q, &c)| i64::from(q) * i64::from(c)).sum();
    let squares: i64 = a.iter().zip(b).map(|(&a, &b)| (i64::from(a) - i64::from(b)).pow(2)).sum();
    let (low, high) = query.split_at(query.len() / 2);
    let (high, code) = (&high[..low.len()], &b[..low.len()]);
    let halves = low.iter().zip(high).zip(code).map(|((&low, &high), &both)| {
        i64::from(low) * i64::from(both % 16) + i64::from(high) * i64::from(both / 16)
    });
    let dot_nibbles: i64 = halves.sum();
    for isa in Isa::all() {
        let even = &query[..2 * low.len()];
        assert_eq!(isa.run(DotNibbles(even, code)), dot_nibbles);
        assert_eq!(isa.run(DotCodes(query, b)), dot_codes);
        assert_eq!(isa.run(DotI8(small, b)), dot_i8);
        assert_eq!(isa.run(SquaredDifferences(a, b)), squares);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_values_at_any_alignment(
        triples in proptest::collection::vec(
            (-MAX_QUERY_UNIT..=MAX_QUERY_UNIT, any::<u8>(), any::<u8>()), 0..1100),
        starts in (0_usize..64, 0_usize..64),
    ) {
        let query: Vec<i16> = triples.iter().map(|triple| triple.0).collect();
        let shifted = |start, value: fn(&(i16, u8, u8)) -> u8| {
            let mut bytes = vec![0xA5; start];
            bytes.extend(triples.iter().map(value));
            bytes.extend([0xA5; 64]);
            bytes
        };
        let (a, b) = (shifted(starts.0, |t| t.1), shifted(starts.1, |t| t.2));
        let n = query.len();
        check(&query, &a[starts.0..][..n], &b[starts.1..][..n]);
    }
}

#[test]
fn the_largest_values_do_not_overflow() {
    for dim in [1, 63, 1024, 8191, 8192, 8193, 16_384, 65_535, 65_536, 200_000] {
        for unit in [MAX_QUERY_UNIT, -MAX_QUERY_UNIT] {
            for small in [0, 127, 128, 255] {
                check(&vec![unit; dim], &vec![small; dim], &vec![255; dim]);
            }
        }
    }
}

#[test]
#[should_panic(expected = "a code of the query's length")]
fn lengths_that_differ_are_refused() {
    Isa::detected().run(DotI8(&[1, 2, 3], &[1, 2]));
}

#[test]
#[should_panic(expected = "a code of half the query's length")]
fn half_lengths_that_differ_are_refused() {
    Isa::detected().run(DotNibbles(&[1, 2, 3], &[1, 2]));
}
