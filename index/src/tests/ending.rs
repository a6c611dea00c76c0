//! Searches that end early, and many at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringpool_storage::{PageNo, PageSize};

use super::*;
use crate::{Patience, Quantizer, SearchError};

fn subject(quantizers: Vec<Quantizer>) -> (Vectors, Segment) {
    let base = as_element(16, &clustered(900, 16, 9, false, 11), Element::F32);
    let options = BuildOptions { quantizers, m: 6, ..Default::default() };
    let segment = segment(&base, &options);
    (base, segment)
}

#[test]
fn a_batch_finds_what_searches_find_one_after_the_other() {
    for quantizers in [vec![Quantizer::Sq8], vec![]] {
        let (base, segment) = subject(quantizers);
        let params = SearchParams { k: 7, ef: 20, ..Default::default() };
        let expected = search_all(&segment, &base, &params);
        for threads in [0, 1, 2, 5, 2000] {
            let found = segment.search_batch(&base, &params, Patience::default(), threads);
            assert_eq!(found.unwrap(), expected, "{threads} threads");
        }
    }
}

#[test]
fn a_batch_names_the_query_that_has_no_answer() {
    let (_, segment) = subject(vec![Quantizer::Sq8]);
    let mut values = clustered(50, 16, 9, false, 12);
    values[31 * 16 + 5] = f32::INFINITY;
    let queries = as_element(16, &values, Element::F32);
    let params = SearchParams::default();
    for threads in [1, 3] {
        let error = segment.search_batch(&queries, &params, Patience::default(), threads);
        match error.unwrap_err() {
            SearchError::Query { query: 31, source } => {
                assert!(matches!(*source, SearchError::NotFinite { dimension: 5, .. }));
            }
            other => panic!("{other}"),
        }
    }
    let none = Vectors::from_f32(16, Vec::new()).unwrap();
    let found = segment.search_batch(&none, &params, Patience::default(), 3);
    assert_eq!(found.unwrap(), Vec::<Vec<Hit>>::new());
}

/// Counts visits, and sets a flag at the n-th.
struct Flagging {
    source: Arc<dyn PageSource>,
    visits: Arc<AtomicUsize>,
    flag: Arc<AtomicBool>,
    at: usize,
}

impl PageSource for Flagging {
    fn page_size(&self) -> PageSize {
        self.source.page_size()
    }

    fn page_count(&self) -> u64 {
        self.source.page_count()
    }

    fn visit(
        &self,
        pages: &[PageNo],
        each: &mut dyn FnMut(usize, &[u8]),
    ) -> ringpool_storage::Result<()> {
        if self.visits.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.flag.store(true, Ordering::Relaxed);
        }
        self.source.visit(pages, each)
    }
}

/// Cancelled at each hop in turn: the search ends there, and the scratch is as good as new.
#[test]
fn a_search_ends_at_any_hop_and_the_scratch_fits_further_ones() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let base = as_element(16, &clustered(400, 16, 4, false, 13), Element::F32);
    let options = BuildOptions { quantizers: Vec::new(), m: 6, ..Default::default() };
    build(&base, &out, &options, &NoProgress).unwrap();
    let params = SearchParams { ef: 30, ..Default::default() };
    let (query, mut scratch) = (row(&base, 3), Scratch::default());
    let expected = open(&out).unwrap().search(&query, &params, &mut scratch).unwrap();
    for at in 1.. {
        let (visits, flag) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let segment = Segment::open(&out, &mut |file| {
            Ok(match file.kind {
                ComponentKind::Vectors => Placed::Paged(Arc::new(Flagging {
                    source: in_memory(file)?,
                    visits: visits.clone(),
                    flag: flag.clone(),
                    at,
                })),
                _ => Placed::Resident(in_memory(file)?),
            })
        });
        let segment = segment.unwrap();
        let patience = Patience::default().unless(&flag);
        let mut hits = Vec::new();
        match segment.search_within(&query, &params, patience, &mut scratch, &mut hits) {
            Err(SearchError::Cancelled) => {
                assert_eq!(visits.load(Ordering::Relaxed), at, "not a hop further");
            }
            // The flag came with the last hop, or never.
            Ok(()) => {
                assert_eq!(hits, expected);
                assert!(at > 20 && visits.load(Ordering::Relaxed) <= at);
                return;
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(segment.search(&query, &params, &mut scratch).unwrap(), expected);
    }
}

#[test]
fn a_deadline_that_has_passed_ends_a_search_and_one_far_off_does_not() {
    for quantizers in [vec![Quantizer::Sq8], vec![]] {
        let (base, segment) = subject(quantizers);
        let (query, params) = (row(&base, 3), SearchParams::default());
        let mut scratch = Scratch::default();
        let expected = segment.search(&query, &params, &mut scratch).unwrap();
        let late = Patience::default().until(Instant::now());
        for _ in 0..3 {
            let mut hits = Vec::new();
            let ended = segment.search_within(&query, &params, late, &mut scratch, &mut hits);
            assert!(matches!(ended, Err(SearchError::DeadlinePassed)));
            let soon = Patience::default().within(Duration::from_secs(3600));
            segment.search_within(&query, &params, soon, &mut scratch, &mut hits).unwrap();
            assert_eq!(hits, expected);
        }
        let ended = segment.search_batch(&base, &params, late, 2).unwrap_err();
        assert!(matches!(ended, SearchError::Query { source, .. }
            if matches!(*source, SearchError::DeadlinePassed)));
    }
    assert_eq!(Patience::default().within(Duration::MAX).deadline(), None);
}
