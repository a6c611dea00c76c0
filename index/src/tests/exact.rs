//! Exact search is exact: against a naive loop, and over pages as over vectors.

use super::*;
use crate::{Metric, SearchError, exact_search, exact_search_while};

/// Sorted by distance in f64, ties by id, all of them.
fn naive(base: &Vectors, query: &[f32], metric: Metric) -> Vec<(f64, u64)> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let distance = |row: &[f32]| match metric {
        Metric::L2 => {
            row.iter().zip(query).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
        }
        Metric::Ip => -dot(row, query),
        Metric::Cosine => 1.0 - dot(row, query) / (dot(row, row).sqrt() * dot(query, query).sqrt()),
    };
    let mut all: Vec<(f64, u64)> =
        (0..base.len()).map(|i| (distance(&row(base, i)), i as u64)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all
}

/// Whole numbers have exact distances in any order of additions: ids must agree, ties included.
#[test]
fn agrees_with_a_naive_loop() {
    // Few different values, so that many distances are equal.
    let values: Vec<f32> = uniform(5).take(500 * 7).map(|v| (v * 4.0).floor()).collect();
    for element in Element::ALL {
        let base = as_element(7, &values, element);
        let queries = as_element(7, &values[700..1400], Element::F32);
        for metric in [Metric::L2, Metric::Ip] {
            let found = exact_search(&base, &queries, metric, 20).unwrap();
            for (i, hits) in found.iter().enumerate() {
                let expected = naive(&base, &row(&queries, i), metric);
                let pairs: Vec<_> = hits.iter().map(|h| (f64::from(h.distance), h.id)).collect();
                assert_eq!(pairs, expected[..20], "{element} {metric} query {i}");
            }
        }
        let found = exact_search(&base, &queries, Metric::Cosine, 20).unwrap();
        for (i, hits) in found.iter().enumerate() {
            let expected = naive(&base, &row(&queries, i), Metric::Cosine);
            for (hit, (distance, _)) in hits.iter().zip(expected) {
                assert!((f64::from(hit.distance) - distance).abs() < 1e-5);
            }
        }
    }
}

/// Pages with several rows, with one, and rows over several pages; also more rows than a stretch.
#[test]
fn pages_give_what_vectors_give() {
    for (dim, rows, element) in [
        (24, 700, Element::F32),
        (700, 60, Element::F32),
        (1500, 40, Element::F32),
        (9000, 250, Element::F16),
        (9, 300, Element::U8),
    ] {
        let base = as_element(dim, &clustered(rows, dim, 5, false, 3), element);
        let queries = as_element(dim, &clustered(9, dim, 5, false, 4), Element::F32);
        for metric in Metric::ALL {
            let options = BuildOptions { metric, m: 4, ef_construction: 8, ..Default::default() };
            let segment = segment(&base, &options);
            let mut reports = Vec::new();
            let progress = &mut |done, total| {
                reports.push((done, total));
                ControlFlow::Continue(())
            };
            let found = segment.exact_search(&queries, 15, progress).unwrap();
            assert_eq!(found, exact_search(&base, &queries, metric, 15).unwrap(), "{dim} {metric}");
            assert!(reports.is_sorted() && reports[0] == (0, rows as u64), "{reports:?}");
            assert_eq!(
                reports.len() > 1,
                dim * rows > 2 << 20,
                "one stretch, or more: {reports:?}"
            );
        }
    }
}

#[test]
fn is_refused_and_cancelled() {
    let base = as_element(3, &[1.0; 30], Element::F32);
    let stop = &mut |_, _| ControlFlow::Break(());
    let cancelled = exact_search_while(&base, &base, Metric::L2, 1, stop);
    assert!(matches!(cancelled, Err(SearchError::Cancelled)));
    let segment = segment(&base, &BuildOptions::default());
    let cancelled = segment.exact_search(&base, 1, stop);
    assert!(matches!(cancelled, Err(SearchError::Cancelled)));
    let on = &mut |_, _| ControlFlow::Continue(());
    assert!(matches!(segment.exact_search(&base, 0, on), Err(SearchError::ZeroK)));
    let wide = as_element(4, &[1.0; 4], Element::F32);
    let refused = segment.exact_search(&wide, 1, on);
    assert!(matches!(refused, Err(SearchError::Dimension { expected: 3, found: 4 })));
    let unknown = as_element(3, &[1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0], Element::F32);
    let refused = segment.exact_search(&unknown, 1, on).unwrap_err();
    assert!(refused.to_string().starts_with("query 1: "), "{refused}");
    // More than there are: all of them.
    assert_eq!(segment.exact_search(&base, 99, on).unwrap()[0].len(), 10);
}
