//! What goes into a segment comes out of it, whatever its shape.

use std::fs;
use std::path::Path;

use ringpool_storage::{PageNo, PageSize, PageSource};

use super::{
    as_element, clustered, in_memory, open, open_resident, quantizers, row, search_all, segment,
};
use crate::{
    BuildOptions, Element, Hit, MAX_DIM, Manifest, Metric, NoProgress, Rescore, Scratch,
    SearchError, SearchParams, Segment, Vectors, build, exact_search,
};

/// Distances are those of the brute force, bit by bit, and hits are in order: the same whether the
/// originals are in memory or in pages.
fn check_hits(base: &Vectors, options: &BuildOptions) {
    let queries: Vec<f32> = (0..5).flat_map(|i| row(base, i * 7 % base.len())).collect();
    let queries = Vectors::from_f32(base.dim(), queries).unwrap();
    let all = exact_search(base, &queries, options.metric, base.len()).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    build(base, &out, options, &NoProgress).unwrap();
    let [paged, resident] = [open(&out).unwrap(), open_resident(&out).unwrap()];
    let rows_bytes = (base.len() * base.dim() * base.element().bytes()) as u64;
    assert!(resident.resident_bytes() >= paged.resident_bytes() + rows_bytes);
    for params in [SearchParams::default(), SearchParams { k: 3, ef: 4, ..Default::default() }] {
        let [paged, resident] = [&paged, &resident].map(|s| search_all(s, &queries, &params));
        assert_eq!(paged, resident);
    }
    let found = search_all(&resident, &queries, &SearchParams::default());
    // Queries are points, which any graph finds that was chosen from more than one candidate.
    if options.metric == Metric::L2 && options.ef_construction > 1 {
        assert!(found.iter().all(|hits: &Vec<Hit>| hits[0].distance == 0.0));
    }
    for (found, all) in found.iter().zip(&all) {
        assert_eq!(found.len(), base.len().min(10));
        let ordered = found.is_sorted_by(|a, b| (a.distance, a.id) < (b.distance, b.id));
        assert!(ordered, "{found:?}");
        for hit in found {
            let exact = all.iter().find(|other| other.id == hit.id).unwrap();
            assert_eq!(hit.distance.to_bits(), exact.distance.to_bits());
        }
    }
}

#[test]
fn every_element_metric_quantizer_and_page_size() {
    let values = clustered(300, 33, 5, false, 11);
    for element in Element::ALL {
        let base = as_element(33, &values, element);
        for metric in Metric::ALL {
            for quantizer in quantizers(1) {
                for page_size in [PageSize::new(512).unwrap(), PageSize::KIB_4] {
                    let options = BuildOptions {
                        metric,
                        quantizers: vec![quantizer],
                        page_size,
                        m: 4,
                        ef_construction: 40,
                        ..Default::default()
                    };
                    check_hits(&base, &options);
                }
            }
        }
    }
}

#[test]
fn every_element_at_odd_dimensions_and_the_most() {
    for dim in [1, 2, 3, 7, 17, 1025, 4097, MAX_DIM] {
        let values = clustered(8, dim, 3, false, 17);
        for element in Element::ALL {
            let base = as_element(dim, &values, element);
            for metric in Metric::ALL {
                for quantizer in quantizers(1) {
                    let quantizers = vec![quantizer];
                    let options = BuildOptions { metric, quantizers, m: 4, ..Default::default() };
                    check_hits(&base, &options);
                }
            }
        }
    }
}

#[test]
fn vectors_longer_than_pages() {
    for (dim, element) in [(1025, Element::F32), (3000, Element::F16), (65_536, Element::U8)] {
        let base = as_element(dim, &clustered(40, dim, 3, false, 12), element);
        for quantizer in quantizers(1) {
            let options =
                BuildOptions { quantizers: vec![quantizer], m: 600, ..Default::default() };
            check_hits(&base, &options);
        }
    }
}

#[test]
fn the_smallest_segments() {
    for metric in Metric::ALL {
        for quantizer in quantizers(1) {
            let options = BuildOptions {
                metric,
                quantizers: vec![quantizer],
                m: 2,
                ef_construction: 1,
                ..Default::default()
            };
            check_hits(&Vectors::from_f32(1, vec![-3.5]).unwrap(), &options);
            check_hits(&Vectors::from_f32(3, vec![0.0; 6]).unwrap(), &options);
            check_hits(&Vectors::from_i8(1, (-50..50).collect()).unwrap(), &options);
        }
    }
}

fn bytes_of(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let mut files: Vec<_> =
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn the_same_bytes_at_any_number_of_threads() {
    let parent = tempfile::tempdir().unwrap();
    for (element, metric) in [(Element::U8, Metric::L2), (Element::F32, Metric::Cosine)] {
        let base = as_element(20, &clustered(2000, 20, 30, false, 13), element);
        let built = [1, 2, 8].map(|threads| {
            let out = parent.path().join(format!("{element}-{threads}"));
            let options = BuildOptions {
                metric,
                threads,
                ef_construction: 60,
                quantizers: quantizers(5)[1..].to_vec(),
                ..Default::default()
            };
            build(&base, &out, &options, &NoProgress).unwrap();
            bytes_of(&out)
        });
        assert_eq!(built[0].len(), 19);
        assert!(built[0] == built[1] && built[0] == built[2]);
        let out = parent.path().join(format!("{element}-seed"));
        let options = BuildOptions { metric, seed: 1, ..Default::default() };
        build(&base, &out, &options, &NoProgress).unwrap();
        assert!(built[0] != bytes_of(&out), "the seed decides");
    }
}

/// A source that hands its pages over backwards and remembers what it was asked for.
struct Backwards {
    inner: std::sync::Arc<dyn PageSource>,
    batches: std::sync::Mutex<Vec<Vec<PageNo>>>,
}

impl PageSource for Backwards {
    fn page_size(&self) -> PageSize {
        self.inner.page_size()
    }

    fn page_count(&self) -> u64 {
        self.inner.page_count()
    }

    fn visit(
        &self,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> ringpool_storage::Result<()> {
        self.batches.lock().unwrap().push(pages.to_vec());
        for (i, page) in pages.iter().enumerate().rev() {
            self.inner.visit(&[*page], &mut |_, bytes| each(i, bytes))?;
        }
        Ok(())
    }
}

#[test]
fn one_batch_of_distinct_pages_a_query_in_any_order_of_arrival() {
    let parent = tempfile::tempdir().unwrap();
    for dim in [100, 1500] {
        let base = Vectors::from_f32(dim, clustered(400, dim, 8, false, 14)).unwrap();
        let out = parent.path().join(dim.to_string());
        build(&base, &out, &BuildOptions::default(), &NoProgress).unwrap();
        let straight = super::open(&out).unwrap();
        let mut vectors = None;
        let backwards = Segment::open(&out, &mut |file| {
            let inner = in_memory(file)?;
            let batches = Default::default();
            let source = std::sync::Arc::new(Backwards { inner, batches });
            vectors.get_or_insert_with(|| source.clone());
            super::placed(file, source)
        })
        .unwrap();
        let vectors = vectors.unwrap();
        let (mut a, mut b) = (Scratch::default(), Scratch::default());
        for query in (0..20).map(|i| row(&base, i)) {
            vectors.batches.lock().unwrap().clear();
            let params = SearchParams::default();
            let found = backwards.search(&query, &params, &mut a).unwrap();
            assert_eq!(found, straight.search(&query, &params, &mut b).unwrap());
            let batches = vectors.batches.lock().unwrap();
            assert_eq!(batches.len(), 1);
            let ascending = batches[0].is_sorted_by(|a, b| a < b);
            assert!(ascending && batches[0].len() <= 80, "{batches:?}");
        }
    }
}

#[test]
fn parameters_and_queries_are_checked() {
    let base = Vectors::from_f32(3, clustered(50, 3, 2, false, 15)).unwrap();
    let segment = segment(&base, &BuildOptions::default());
    let mut scratch = Scratch::default();
    let mut search = |query: &[f32], k, ef, oversample| {
        let params = SearchParams { k, ef, rescore: Rescore::Times(oversample) };
        segment.search(query, &params, &mut scratch)
    };
    let query = [1.0, 2.0, 3.0];
    assert!(matches!(search(&query, 0, 1, 1.0), Err(SearchError::ZeroK)));
    assert!(matches!(search(&query, 1, 0, 1.0), Err(SearchError::ZeroEf)));
    for oversample in [0.9, -1.0, f32::NAN, f32::INFINITY] {
        let refused = search(&query, 1, 1, oversample);
        assert!(matches!(refused, Err(SearchError::Oversample(_))));
    }
    for recall in [0.0, 1.0, -1.0, f32::NAN] {
        let params = SearchParams { rescore: Rescore::Auto { recall }, ..Default::default() };
        let refused = segment.search(&query, &params, &mut Scratch::default());
        assert!(matches!(refused, Err(SearchError::Recall(_))));
    }
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let refused = search(&[1.0, value, 0.0], 1, 1, 1.0);
        assert!(matches!(refused, Err(SearchError::NotFinite { dimension: 1, .. })));
    }
    for wrong in [&query[..2], &[], &[0.0; 4]] {
        let refused = search(wrong, 1, 1, 1.0);
        assert!(matches!(refused, Err(SearchError::Dimension { expected: 3, .. })));
    }
    assert_eq!(search(&query, 1, 1, 1.0).unwrap().len(), 1);
    assert_eq!(search(&query, usize::MAX, usize::MAX, f32::MAX).unwrap().len(), 50);
    let extreme = search(&[f32::MAX, f32::MIN, 0.0], 5, 10, 1.0).unwrap();
    assert!(extreme.iter().all(|hit| hit.distance == f32::INFINITY));
}

#[test]
fn the_manifest_tells_what_was_built() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let base = as_element(30, &clustered(500, 30, 3, false, 16), Element::F16);
    let options = BuildOptions { metric: Metric::Ip, m: 8, seed: 99, ..Default::default() };
    let report = build(&base, &out, &options, &NoProgress).unwrap();
    let manifest = Manifest::read(&out).unwrap();
    assert_eq!((manifest.dim, manifest.points), (30, 500));
    assert_eq!((manifest.element, manifest.metric), (Element::F16, Metric::Ip));
    assert_eq!((manifest.m, manifest.ef_construction, manifest.seed), (8, 200, 99));
    assert_eq!(manifest.layers, report.layers);
    // 68 vectors of 60 bytes on a page.
    assert_eq!(manifest.components[0].pages, 8);
    let files = manifest.component_files(&out).unwrap();
    let pages: u64 = files.iter().map(|file| file.pages).sum();
    assert_eq!(pages * 4096, report.pages_bytes);
    let bytes: u64 = files.iter().map(|f| fs::metadata(&f.path).unwrap().len()).sum();
    assert_eq!(bytes, report.pages_bytes);
    let resident = super::open(&out).unwrap().resident_bytes();
    assert!((500 * (30 + 4 * 18)..500 * (30 + 4 * 21)).contains(&resident), "{resident}");
}
