//! What each quantizer finds of the true neighbours, on the vectors that come with the sources.

use std::path::Path;

use ringpool::{
    Backend, BuildOptions, Index, NoProgress, OpenOptions, Quantizer, Rescore, SearchParams, build,
    vectors,
};

/// The codes, the recall@10 that they have at least by themselves, and the one with 20 originals a
/// query.
const GUARDS: [(&str, f64, f64); 6] = [
    ("sq8", 0.99, 0.99),
    ("sq4", 0.94, 0.99),
    ("pq:98", 0.80, 0.98),
    ("rabitq:4", 0.93, 0.99),
    ("rabitq:2", 0.85, 0.98),
    ("rabitq:1", 0.75, 0.96),
];

#[test]
fn every_quantizer_on_the_shipped_vectors() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("segment");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let base = vectors::read(&data.join("base.bvecs.gz")).unwrap();
    let queries = vectors::read(&data.join("query.bvecs.gz")).unwrap();
    let truth = vectors::read_ids(&data.join("truth.ivecs.gz")).unwrap();
    let quantizers = GUARDS.iter().map(|guard| guard.0.parse().unwrap()).collect();
    let options = BuildOptions { quantizers, ..BuildOptions::default() };
    build(&base, &dir, &options, &NoProgress).unwrap();
    for (name, alone, rescored) in GUARDS {
        let codes: Quantizer = name.parse().unwrap();
        let options =
            OpenOptions { codes: Some(codes), backend: Backend::Memory, ..OpenOptions::default() };
        let index = Index::open(&dir, &options).unwrap();
        let recall = |rescore| {
            let params = SearchParams { k: 10, ef: 200, rescore };
            let mut query = vec![0.0; queries.dim()];
            let found = (0..queries.len()).map(|no| {
                queries.row_f32(no, &mut query);
                let nearest = &truth.row(no)[..10];
                let hits = index.search(&query, &params).unwrap();
                hits.iter().filter(|hit| nearest.contains(&hit.id)).count()
            });
            found.sum::<usize>() as f64 / (10 * queries.len()) as f64
        };
        let found = (recall(Rescore::Off), recall(Rescore::Times(2.0)));
        assert!(found.0 >= alone && found.1 >= rescored, "{name}: {found:?}");
    }
}
