//! The vectors that come with the sources: that their truth is true, and what each quantizer finds
//! of it.

use std::path::Path;

use ringpool::{
    Backend, BuildOptions, Element, Index, NoProgress, OpenOptions, Quantizer, Rescore,
    SearchParams, build, vectors,
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

/// The shipped slice is what its README says, and its truth is true.
#[test]
fn the_shipped_truth_is_the_exact_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/fashion-mnist-12k");
    let base = vectors::read(&folder.join("base.bvecs.gz")).unwrap();
    let query = vectors::read(&folder.join("query.bvecs.gz")).unwrap();
    let truth = vectors::read_ids(&folder.join("truth.ivecs.gz")).unwrap();
    assert_eq!((base.element(), base.dim(), base.len()), (Element::U8, 784, 12_000));
    assert_eq!((query.element(), query.dim(), query.len()), (Element::U8, 784, 500));
    assert_eq!((truth.len(), truth.width()), (500, 100));
    for row in (0..500).step_by(100) {
        let distance = |id: usize| -> u32 {
            let pixels = base.row_bytes(id).iter().zip(query.row_bytes(row));
            pixels.map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
        };
        let mut nearest: Vec<(u32, u64)> =
            (0..base.len()).map(|id| (distance(id), id as u64)).collect();
        nearest.sort_unstable();
        let ids: Vec<u64> = nearest[..100].iter().map(|(_, id)| *id).collect();
        assert_eq!(truth.row(row), ids, "query {row}");
    }
}
