//! What product codes stand for, and what they cost.

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::Vectors;

fn train_with(vectors: &Vectors, metric: Metric, code_bytes: usize, seed: u64) -> Codes {
    let rows = Rows::new(vectors, metric, seed);
    match Codes::train(&rows, code_bytes, &|_| ControlFlow::Continue(())) {
        ControlFlow::Continue(codes) => codes,
        ControlFlow::Break(()) => unreachable!("nobody breaks"),
    }
}

fn uniform(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (mix(i) >> 40) as f32 / (1 << 24) as f32).collect()
}

/// What a point's code stands for.
fn decoded(codes: &Codes, point: usize) -> Vec<f32> {
    let code = codes.row(point as u32);
    let groups = groups(codes.book.len(), codes.code_bytes).zip(code);
    groups
        .flat_map(|(group, &c)| codes.book[group].iter().map(move |row| row[usize::from(c)]))
        .collect()
}

#[test]
fn as_many_vectors_as_centroids_lose_nothing() {
    let values: Vec<f32> = uniform(200 * 7).iter().map(|value| (value * 100.0).round()).collect();
    for code_bytes in 1..=7 {
        let codes =
            train_with(&Vectors::from_f32(7, values.clone()).unwrap(), Metric::L2, code_bytes, 3);
        for (point, row) in values.chunks_exact(7).enumerate() {
            assert_eq!(decoded(&codes, point), row, "{code_bytes} bytes, point {point}");
        }
    }
}

#[test]
fn the_error_is_that_of_256_levels() {
    // Equal steps are best for equally likely values: 1 / (12 · 256²) is left.
    let values = uniform(40_000);
    let codes = train_with(&Vectors::from_f32(1, values.clone()).unwrap(), Metric::L2, 1, 0);
    let errors = values.iter().enumerate().map(|(i, value)| value - decoded(&codes, i)[0]);
    let squared = errors.map(|error| f64::from(error * error)).sum::<f64>() / 40_000.0;
    let best = 1.0 / (12.0 * 256.0 * 256.0);
    assert!((0.9 * best..1.5 * best).contains(&squared), "{squared} where {best} is best");
}

/// Two hundred places far apart, one of them with nearly all points.
#[test]
fn no_place_is_missed() {
    let mut values = uniform(2 * 20_000);
    for (place, pair) in values.chunks_exact_mut(2).take(199 * 5).enumerate() {
        pair[0] += 1e4 * (1 + place % 199) as f32;
    }
    let codes = train_with(&Vectors::from_f32(2, values.clone()).unwrap(), Metric::L2, 1, 0);
    for (point, pair) in values.chunks_exact(2).enumerate() {
        let found = decoded(&codes, point);
        assert!((found[0] - pair[0]).abs() < 2.0, "{found:?} for {pair:?}");
    }
}

#[test]
fn training_is_heard_and_can_be_ended() {
    let vectors = Vectors::from_f32(4, uniform(4 * 5000)).unwrap();
    let rows = Rows::new(&vectors, Metric::L2, 0);
    let heard = Mutex::new(Vec::new());
    let listen = |done| {
        heard.lock().unwrap().push(done);
        ControlFlow::Continue(())
    };
    assert!(Codes::train(&rows, 2, &listen).is_continue());
    let heard = heard.into_inner().unwrap();
    assert!(heard.iter().filter(|&&done| done < 2500).count() > 4, "{heard:?}");
    assert_eq!(heard.iter().max(), Some(&5000));
    for last in [0, 1, 5, heard.len() - 1] {
        let calls = AtomicU64::new(0);
        let stop = |_| match calls.fetch_add(1, Ordering::Relaxed) < last as u64 {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        assert!(Codes::train(&rows, 2, &stop).is_break(), "after {last}");
    }
}

#[test]
fn the_same_at_any_number_of_threads_and_not_with_another_seed() {
    let vectors = Vectors::from_f32(6, uniform(6 * 9000)).unwrap();
    let on = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let codes = pool.install(|| train_with(&vectors, Metric::Cosine, 4, seed));
        (codes.book, codes.codes)
    };
    let one = on(1, 0);
    assert!(one == on(2, 0) && one == on(5, 0));
    assert!(one.0 != on(2, 1).0);
}

#[test]
fn absurd_values_give_numbers() {
    let least = f32::from_bits(1);
    let cases = [
        (1, vec![f32::MIN, f32::MAX]),
        (1, vec![0.0, least, -least]),
        (1, vec![3.5]),
        (3, vec![f32::MAX; 9]),
        (3, vec![f32::MIN, 0.0, f32::MAX, 1.0, least, -1e-33]),
        (5, vec![-0.0; 15 * 300]),
    ];
    for (dim, values) in cases {
        let vectors = Vectors::from_f32(dim, values.clone()).unwrap();
        for (metric, code_bytes) in Metric::ALL.into_iter().flat_map(|m| [(m, 1), (m, dim)]) {
            let trained = train_with(&vectors, metric, code_bytes, 0);
            let shape = Shape { metric, code_bytes };
            let sections = trained.to_sections().into_iter().map(Cow::into_owned).collect();
            let codes = Codes::from_sections(shape, sections).unwrap();
            assert_eq!(codes.code_bytes, code_bytes);
            let mut query = CodeQuery::default();
            for row in values.chunks(dim).take(3) {
                codes.set_query(row, &mut query);
                for point in 0..vectors.len() as u32 {
                    assert!(!codes.distance(&query, point).is_nan(), "{metric} {values:?}");
                }
            }
        }
    }
}

#[test]
fn a_codebook_of_what_is_no_number_is_refused() {
    let codes = train_with(&Vectors::from_f32(3, vec![1.0; 6]).unwrap(), Metric::Ip, 2, 0);
    let shape = Shape { metric: Metric::Ip, code_bytes: 2 };
    let with = |number: f32| {
        let mut sections: Vec<Vec<u8>> =
            codes.to_sections().into_iter().map(Cow::into_owned).collect();
        sections[0][4 * (CENTROIDS + 9)..][..4].copy_from_slice(&number.to_le_bytes());
        // Any byte is the number of a centroid.
        sections[1].fill(255);
        Codes::from_sections(shape, sections).map(|_| ())
    };
    assert_eq!(with(f32::MAX), Ok(()));
    for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(with(number).unwrap_err().contains("dimension 1 of centroid 9"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The distance by code is that to what the code stands for, and that is the nearest there is.
    #[test]
    fn distances_are_those_to_the_decoded_vectors(
        values in proptest::collection::vec(-10.0f32..10.0, 40..4000),
        dim in 1usize..14,
        shift in -5.0f32..5.0,
        bytes in any::<prop::sample::Index>(),
    ) {
        let rows = values.len() / dim;
        let vectors = Vectors::from_f32(dim, values[..rows * dim].to_vec()).unwrap();
        let query: Vec<f32> = values[..dim].iter().map(|v| v + shift).collect();
        for metric in Metric::ALL {
            let codes = train_with(&vectors, metric, 1 + bytes.index(dim), 0);
            let mut code_query = CodeQuery::default();
            codes.set_query(&query, &mut code_query);
            for row in 0..rows {
                let decoded = decoded(&codes, row);
                let pairs = query.iter().zip(&decoded).map(|(&q, &x)| (f64::from(q), f64::from(x)));
                let expected: f64 = match metric {
                    Metric::L2 => pairs.map(|(q, x)| (q - x) * (q - x)).sum(),
                    Metric::Ip => -pairs.map(|(q, x)| q * x).sum::<f64>(),
                    Metric::Cosine => 1.0 - pairs.map(|(q, x)| q * x).sum::<f64>(),
                };
                let found = f64::from(codes.distance(&code_query, row as u32));
                prop_assert!((found - expected).abs() <= 1e-2, "{metric}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn the_nearest_is_the_same_on_every_processor(
        book in proptest::collection::vec(prop::array::uniform32(-3i8..4), 8),
        part in proptest::collection::vec(-3i8..4, 1..9),
    ) {
        // Small whole numbers: many centroids are equally near, and all sums are exact.
        let wide = |row: &[i8; 32]| std::array::from_fn(|c| f32::from(row[c % 32]) + (c / 64) as f32);
        let book: Vec<[f32; CENTROIDS]> = book[..part.len()].iter().map(wide).collect();
        let part: Vec<f32> = part.into_iter().map(f32::from).collect();
        let distance = |c: usize| -> f32 {
            part.iter().zip(&book).map(|(value, row)| (value - row[c]) * (value - row[c])).sum()
        };
        let naive = (0..CENTROIDS).map(|c| (distance(c), c));
        let (least, first) = naive.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap();
        for isa in Isa::all() {
            prop_assert_eq!(nearest(isa, &part, &book), (first as u8, least));
            let mut out = [0.0; CENTROIDS];
            isa.run(NegatedProducts { part: &part, book: &book, out: &mut out });
            let products = part.iter().zip(&book).map(|(value, row)| -value * row[77]);
            prop_assert_eq!(out[77], products.sum::<f32>());
        }
    }
}
