//! How much of the truth searches find.

use super::{as_element, clustered, quantizers, recall, row, search_all, segment};
use crate::{
    BuildOptions, Element, Metric, Quantizer, Rescore, Scratch, SearchParams, Vectors, exact_search,
};

fn check(base: &Vectors, queries: &Vectors, options: &BuildOptions, least: f64) {
    let truth = exact_search(base, queries, options.metric, 10).unwrap();
    let found = search_all(&segment(base, options), queries, &SearchParams::default());
    let recall = recall(&found, &truth);
    assert!(recall >= least, "recall {recall} with {options:?}");
}

#[test]
fn clusters_under_every_metric_and_quantizer() {
    let base = Vectors::from_f32(24, clustered(3000, 24, 40, false, 1)).unwrap();
    let queries = Vectors::from_f32(24, clustered(100, 24, 40, false, 1)).unwrap();
    for metric in Metric::ALL {
        for quantizer in quantizers(12) {
            let options =
                BuildOptions { metric, quantizers: vec![quantizer], ..Default::default() };
            check(&base, &queries, &options, 0.99 - slack(quantizer));
        }
    }
}

#[test]
fn vectors_sorted_by_cluster() {
    let base = Vectors::from_f32(16, clustered(5000, 16, 10, true, 2)).unwrap();
    let queries = Vectors::from_f32(16, clustered(100, 16, 10, true, 2)).unwrap();
    check(&base, &queries, &BuildOptions::default(), 0.99);
}

#[test]
fn clusters_that_are_far_apart() {
    let mut values = clustered(4000, 8, 1, true, 3);
    for (i, value) in values.iter_mut().enumerate() {
        *value += 1e4 * (i / 8 / 40) as f32;
    }
    let base = Vectors::from_f32(8, values).unwrap();
    let queries = (0..100).flat_map(|i| row(&base, i * 40 + 7)).collect();
    let queries = Vectors::from_f32(8, queries).unwrap();
    // The sixteen levels of sq4 cannot even tell clusters apart.
    for quantizer in quantizers(8).into_iter().filter(|&quantizer| quantizer != Quantizer::Sq4) {
        let options = BuildOptions { quantizers: vec![quantizer], ..Default::default() };
        // A step of one 255th of the whole range cannot tell the points of a cluster apart, but
        // the 40 of a cluster are what is rescored.
        check(&base, &queries, &options, 0.98 - slack(quantizer));
    }
}

/// One or two bits of few dimensions tell little: 40 rescored points are not always enough.
fn slack(quantizer: Quantizer) -> f64 {
    match quantizer {
        Quantizer::RaBitQ { bits: 1 } => 0.06,
        Quantizer::RaBitQ { bits: 2 } => 0.02,
        Quantizer::Pq { .. } => 0.05,
        _ => 0.0,
    }
}

/// A thousand points in one place, among others.
#[test]
fn identical_points_hide_nothing() {
    let dim = 12;
    for metric in Metric::ALL {
        let mut values = clustered(2000, dim, 20, false, 4);
        let twin = values[..dim].to_vec();
        for row in values.chunks_mut(dim).skip(1).step_by(2) {
            row.copy_from_slice(&twin);
        }
        let base = Vectors::from_f32(dim, values).unwrap();
        let queries = Vectors::from_f32(dim, clustered(100, dim, 20, false, 4)).unwrap();
        for element in [Element::F32, Element::U8] {
            let [base, queries] = [&base, &queries].map(|vectors| {
                let rows = (0..vectors.len()).flat_map(|i| row(vectors, i));
                as_element(dim, &rows.collect::<Vec<_>>(), element)
            });
            let options = BuildOptions { metric, ..Default::default() };
            check(&base, &queries, &options, 0.97);
        }
    }
}

#[test]
fn nothing_but_identical_points() {
    let base = Vectors::from_u8(5, vec![9; 5 * 1000]).unwrap();
    let params = SearchParams { k: 1000, ..Default::default() };
    for metric in Metric::ALL {
        let options = BuildOptions { metric, ..Default::default() };
        let queries = Vectors::from_u8(5, vec![9; 5]).unwrap();
        let found = search_all(&segment(&base, &options), &queries, &params);
        let mut ids: Vec<_> = found[0].iter().map(|hit| hit.id).collect();
        assert!(ids.is_sorted(), "ties go by id");
        ids.dedup();
        assert_eq!(ids.len(), 1000, "{metric}: every point is reachable");
    }
}

/// Asking for as many as there are finds all: the graph is connected.
#[test]
fn every_point_can_be_found() {
    let base = Vectors::from_f32(4, clustered(1500, 4, 30, false, 6)).unwrap();
    let queries = Vectors::from_f32(4, clustered(3, 4, 30, false, 7)).unwrap();
    let params = SearchParams { k: 2000, ..Default::default() };
    for m in [2, 16] {
        let options = BuildOptions { m, ef_construction: 20, ..Default::default() };
        for hits in search_all(&segment(&base, &options), &queries, &params) {
            assert_eq!(hits.len(), 1500, "m {m}");
        }
    }
}

/// Adaptive rescoring: the recall that was asked for, from fewer originals than the walk found.
#[test]
fn as_many_originals_as_a_recall_needs() {
    let (dim, k, ef) = (64, 10, 120);
    let base = Vectors::from_f32(dim, clustered(3000, dim, 20, false, 8)).unwrap();
    let queries = Vectors::from_f32(dim, clustered(150, dim, 20, false, 8)).unwrap();
    for metric in Metric::ALL {
        let truth = exact_search(&base, &queries, metric, k).unwrap();
        for quantizer in &quantizers(32)[1..] {
            let options =
                BuildOptions { metric, quantizers: vec![*quantizer], ..Default::default() };
            let segment = segment(&base, &options);
            // What the walk does not find, no reading brings back.
            let all = SearchParams { k, ef, rescore: Rescore::Times((ef / k) as f32) };
            let most = recall(&search_all(&segment, &queries, &all), &truth);
            let mut scratch = Scratch::default();
            let reads = [0.5, 0.9, 0.99].map(|wanted| {
                let rescore = Rescore::Auto { recall: wanted };
                let params = SearchParams { k, ef, rescore };
                let mut originals = 0;
                let mut search = |i| {
                    let hits = segment.search(&row(&queries, i), &params, &mut scratch).unwrap();
                    originals += scratch.originals();
                    hits
                };
                let found: Vec<_> = (0..queries.len()).map(&mut search).collect();
                let recall = recall(&found, &truth);
                assert!(
                    recall >= most * f64::from(wanted) - 0.02,
                    "{quantizer}, {metric}: {recall}"
                );
                originals as f64 / queries.len() as f64
            });
            assert!(reads.is_sorted() && reads[0] >= k as f64, "{quantizer}, {metric}: {reads:?}");
            assert!(reads[1] < 0.9 * ef as f64, "{quantizer}, {metric}: {reads:?}");
        }
    }
}
