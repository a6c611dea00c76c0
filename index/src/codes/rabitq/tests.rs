//! What the estimate promises: no bias, a bound that holds, and sense from absurd values.

use proptest::prelude::*;

use super::*;
use crate::distance::RowQuery;
use crate::{Element, MAX_DIM, Vectors};

fn train<const BITS: usize>(vectors: &Vectors, metric: Metric, seed: u64) -> Codes<BITS> {
    let bytes = record_bytes(BITS, vectors.dim());
    match Codes::train(&Rows::new(vectors, metric, seed), bytes, &|_| ControlFlow::Continue(())) {
        ControlFlow::Continue(codes) => codes,
        ControlFlow::Break(()) => unreachable!("nobody breaks"),
    }
}

/// For each point what its code tells of the distance, the deviation, and the true distance.
fn told<const BITS: usize>(codes: &Codes<BITS>, vectors: &Vectors, query: &[f32]) -> Vec<[f64; 3]> {
    let mut as_encoded = query.to_vec();
    if codes.metric == Metric::Cosine {
        crate::codes::normalise(&mut as_encoded);
    }
    let mut code_query = CodeQuery::default();
    codes.set_query(&as_encoded, &mut code_query);
    let mut row_query = RowQuery::default();
    row_query.set(codes.metric, Element::F32, query);
    let point = |point: usize| {
        let distance = codes.distance(&code_query, point as u32);
        let error = codes.error(&code_query, codes.row(point as u32), distance).unwrap();
        [distance, error, row_query.distance(vectors.row_bytes(point))].map(f64::from)
    };
    (0..vectors.len()).map(point).collect()
}

/// Rows around a few middles, each value from its own wave.
fn waves(rows: usize, dim: usize) -> Vec<f32> {
    let value = |i: usize| {
        let (row, d) = (i / dim, i % dim);
        let middle = 3.0 * ((row % 5 * 7919 + d * 104_729) as f32).sin();
        middle + ((row * 1_299_709 + d * 15_485_863) as f32 * 0.001).sin()
    };
    (0..rows * dim).map(value).collect()
}

fn estimates_have_no_bias<const BITS: usize>() {
    const ROTATIONS: u64 = 300;
    let (dim, rows) = (100, 12);
    let vectors = Vectors::from_f32(dim, waves(rows, dim)).unwrap();
    let query = &waves(rows + 1, dim)[rows * dim..];
    for metric in Metric::ALL {
        // For each point its error in units of the deviation, added up over rotations.
        let (mut sums, mut within) = (vec![0.0; rows], 0);
        for seed in 0..ROTATIONS {
            let codes = train::<BITS>(&vectors, metric, seed);
            for (sum, [found, error, exact]) in sums.iter_mut().zip(told(&codes, &vectors, query)) {
                *sum += (found - exact) / error;
                within += u64::from((found - exact).abs() <= 1.96 * error);
            }
        }
        for (point, sum) in sums.iter().enumerate() {
            // The sum of so many is off by the root of so many, if the deviation is the true one;
            // it is an upper bound, so that less is usual.
            let off = sum / (ROTATIONS as f64).sqrt();
            assert!(off.abs() < 4.0, "{metric}, {BITS} bits, point {point}: off by {off}");
        }
        let share = within as f64 / (ROTATIONS as f64 * rows as f64);
        assert!(share >= 0.95, "{metric}, {BITS} bits: only {share} within 1.96 deviations");
    }
}

#[test]
fn estimates_have_no_bias_over_rotations_and_the_bound_holds() {
    estimates_have_no_bias::<1>();
    estimates_have_no_bias::<2>();
    estimates_have_no_bias::<4>();
}

#[test]
fn more_bits_tell_more() {
    let vectors = Vectors::from_f32(96, waves(1500, 96)).unwrap();
    let query = &waves(1501, 96)[1500 * 96..];
    let rms = |told: Vec<[f64; 3]>| {
        let squares = told.iter().map(|[found, _, exact]| (found - exact).powi(2));
        (squares.sum::<f64>() / told.len() as f64).sqrt()
    };
    for metric in Metric::ALL {
        let errors = [
            rms(told(&train::<1>(&vectors, metric, 3), &vectors, query)),
            rms(told(&train::<2>(&vectors, metric, 3), &vectors, query)),
            rms(told(&train::<4>(&vectors, metric, 3), &vectors, query)),
        ];
        assert!(errors[1] < 0.7 * errors[0] && errors[2] < 0.5 * errors[1], "{errors:?}");
    }
}

fn sane<const BITS: usize>(vectors: &Vectors) {
    for metric in Metric::ALL {
        let codes = train::<BITS>(vectors, metric, 9);
        let sections: Vec<Vec<u8>> = codes.to_sections().into_iter().map(Cow::into_owned).collect();
        let shape = Shape { metric, code_bytes: record_bytes(BITS, vectors.dim()) };
        let read = Codes::<BITS>::from_sections(shape, sections).unwrap();
        let (mut query, mut read_query) = (CodeQuery::default(), CodeQuery::default());
        let mut values = vec![0.0; vectors.dim()];
        for row in 0..vectors.len() {
            Rows::new(vectors, metric, 0).copy(row, &mut values);
            codes.set_query(&values, &mut query);
            read.set_query(&values, &mut read_query);
            for point in 0..vectors.len() as u32 {
                let distance = codes.distance(&query, point);
                assert!(!distance.is_nan());
                assert!(codes.error(&query, codes.row(point), distance).unwrap() >= 0.0);
                assert_eq!(distance.to_bits(), read.distance(&read_query, point).to_bits());
            }
        }
    }
}

#[test]
fn absurd_values_give_numbers() {
    let tiny = f32::from_bits(1);
    for (dim, values) in [
        (1, vec![f32::MIN, f32::MAX]),
        (1, vec![3.5; 3]),
        (1, vec![-2.0]),
        (2, vec![0.0, tiny, -tiny, tiny]),
        (2, vec![1e-33, 1e30, -1e30, 0.0]),
        (3, vec![f32::MAX; 6]),
        (3, vec![0.0; 9]),
        (3, [f32::MAX, f32::MIN, 1.0].repeat(3)),
        (65, [1e19, -1e19, 3.0, 0.5, -1e-40].repeat(26)),
    ] {
        let vectors = Vectors::from_f32(dim, values).unwrap();
        sane::<1>(&vectors);
        sane::<2>(&vectors);
        sane::<4>(&vectors);
    }
    let values = (0..2 * MAX_DIM).map(|i| (i as f32).sin()).collect();
    sane::<4>(&Vectors::from_f32(MAX_DIM, values).unwrap());
}

#[test]
fn a_point_at_its_centroid_has_its_exact_distance() {
    let vectors = Vectors::from_f32(2, [1.0, 2.0].repeat(200)).unwrap();
    let codes = train::<1>(&vectors, Metric::L2, 1);
    for [found, error, exact] in told(&codes, &vectors, &[4.0, 6.0]) {
        assert!((found - exact).abs() < 1e-4 && error == 0.0, "{found}, {error}");
        assert_eq!(exact, 25.0);
    }
}

#[test]
fn factors_that_cannot_be_are_refused() {
    let vectors = Vectors::from_f32(5, waves(1600, 5)).unwrap();
    let codes = train::<2>(&vectors, Metric::L2, 1);
    let shape = Shape { metric: Metric::L2, code_bytes: record_bytes(2, 5) };
    let refused = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut sections: Vec<Vec<u8>> =
            codes.to_sections().into_iter().map(Cow::into_owned).collect();
        change(&mut sections);
        Codes::<2>::from_sections(shape, sections).err().unwrap()
    };
    let put = |section: usize, at: usize, value: [u8; 4]| {
        move |sections: &mut Vec<Vec<u8>>| sections[section][at..][..4].copy_from_slice(&value)
    };
    let last = 1599 * record_bytes(2, 5) + 16;
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(f32::to_le_bytes) {
        for (section, at) in [(1, 16), (2, 0), (4, last), (4, last + 4), (4, last + 8)] {
            refused(&put(section, at, value));
        }
    }
    refused(&put(2, 0, 0.0_f32.to_le_bytes()));
    refused(&put(4, last + 8, (-1.0_f32).to_le_bytes()));
    assert!(refused(&put(4, last + 12, 25_u32.to_le_bytes())).contains("centroid 25"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Any bytes: refused, or codes whose distances are numbers or infinite.
    #[test]
    fn damage_never_panics(
        section in 0usize..5,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let vectors = Vectors::from_f32(70, waves(30, 70)).unwrap();
        let codes = train::<1>(&vectors, Metric::L2, 4);
        let mut sections: Vec<Vec<u8>> =
            codes.to_sections().into_iter().map(Cow::into_owned).collect();
        for (at, value) in &changes {
            let at = at.index(sections[section].len());
            sections[section][at] = *value;
        }
        for metric in Metric::ALL {
            let shape = Shape { metric, code_bytes: record_bytes(1, 70) };
            if let Ok(codes) = Codes::<1>::from_sections(shape, sections.clone()) {
                for [distance, error, _] in told(&codes, &vectors, &waves(1, 70)) {
                    prop_assert!(!distance.is_nan() && error >= 0.0, "{distance}, {error}");
                }
            }
        }
    }

    /// No estimate is off by more deviations than chance allows.
    #[test]
    fn distances_are_near_the_true_ones(
        values in proptest::collection::vec(-10.0f32..10.0, 40..400),
        dim in 1usize..20,
        shift in -5.0f32..5.0,
        seed in any::<u64>(),
    ) {
        let rows = values.len() / dim;
        let vectors = Vectors::from_f32(dim, values[..rows * dim].to_vec()).unwrap();
        let query: Vec<f32> = values[..dim].iter().map(|v| v + shift).collect();
        for metric in Metric::ALL {
            let codes = train::<4>(&vectors, metric, seed);
            // What the 8 bits of the query lose, in the worst case.
            let length = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>().sqrt();
            let scale = if metric == Metric::Cosine { 1.0 } else { 50.0 + length(&query) };
            let lost = f64::from(scale * scale) / 40.0;
            for [found, error, exact] in told(&codes, &vectors, &query) {
                prop_assert!((found - exact).abs() <= 8.0 * error + lost,
                    "{metric}: {found} for {exact}, deviation {error}");
            }
        }
    }
}
