//! Searches among a selection, and among what is not deleted.

use ringpool_storage::PageSize;

use super::searches::{Inlined, PLACES, Paged, Resident, run, subject, subject_of};
use super::*;
use crate::aligned::Aligned;
use crate::graph::{EMPTY, Graph, Layer};
use crate::segment::OpenGraph;
use crate::{Metric, Rescore, SearchError, Selection, exact_search};

/// The points of a segment whose ids are `chosen`.
fn select(segment: &Segment, chosen: impl Fn(u64) -> bool) -> Selection {
    let points = segment.manifest().points;
    let mut selection = Selection::none(points);
    for place in 0..points as u32 {
        if chosen(segment.id_of(place).unwrap()) {
            selection.insert(place);
        }
    }
    selection
}

/// So many of a thousand ids, drawn by a seed.
fn drawn(seed: u64, of_thousand: u64) -> impl Fn(u64) -> bool {
    move |id| mix(seed << 32 | id) % 1000 < of_thousand
}

fn among_all(
    segment: &Segment,
    queries: &Vectors,
    params: &SearchParams,
    selection: &Selection,
) -> Vec<Vec<Hit>> {
    let mut scratch = Scratch::default();
    let each = (0..queries.len()).map(|i| row(queries, i));
    let search = |query: Vec<f32>| {
        segment.search_among(&query, params, Some(selection), &mut scratch).unwrap()
    };
    each.map(search).collect()
}

/// The truth among a selection.
fn exact_among(
    segment: &Segment,
    queries: &Vectors,
    k: usize,
    selection: &Selection,
) -> Vec<Vec<Hit>> {
    let on = &mut |_, _| ControlFlow::Continue(());
    segment.exact_search_among(queries, k, Some(selection), on).unwrap()
}

/// Scans and walks, of which some find too little and scan after all.
#[test]
fn hits_depend_on_neither_place_nor_what_is_in_flight() {
    let subjects = quantizers(6).into_iter().zip(Metric::ALL.into_iter().cycle());
    for (number, (quantizer, metric)) in subjects.enumerate() {
        let mut subject = subject_of(8000, quantizer, metric, 55);
        let few = (0..12).flat_map(|i| row(&subject.queries, i)).collect();
        subject.queries = Vectors::from_f32(subject.queries.dim(), few).unwrap();
        let resident = open_resident(&subject.out).unwrap();
        let dead = select(&resident, drawn(9, 100));
        for (turn, share) in [990, 600, 300, 205, 130, 1].into_iter().enumerate() {
            let selection = select(&resident, drawn(turn as u64, share));
            let rescore = [Rescore::Times(1.5), Rescore::Auto { recall: 0.9 }][turn % 2];
            let params = SearchParams { k: 2, ef: 3, rescore };
            let deleted = (turn % 3 == 1).then(|| Arc::new(dead.clone()));
            resident.deletes.set(deleted.as_deref().cloned());
            let expected = among_all(&resident, &subject.queries, &params, &selection);
            let passing = (0..resident.manifest().points as u32)
                .filter(|&at| selection.contains(at))
                .filter(|&at| !deleted.as_ref().is_some_and(|dead| dead.contains(at)))
                .count();
            assert!(expected.iter().all(|hits| hits.len() == passing.min(2)), "{share}");
            for (at, places) in PLACES.into_iter().enumerate() {
                if quantizer == Quantizer::None && matches!(places[0], Inlined) {
                    continue; // Nothing is inlined without codes.
                }
                let in_flight = [1, 3, 16][(at + turn + number) % 3];
                let segment = subject.open(places, (at + turn) as u64, 3);
                segment.deletes.set(deleted.as_deref().cloned());
                let alone = among_all(&segment, &subject.queries, &params, &selection);
                assert_eq!(alone, expected, "{quantizer} {share} {places:?} alone");
                let among = std::slice::from_ref(&selection);
                let found = run(&[&segment], &subject.queries, &params, Some(among), in_flight);
                for (found, expected) in found.into_iter().zip(&expected) {
                    let found: Vec<Hit> = found.unwrap().into_iter().map(|(_, hit)| hit).collect();
                    assert_eq!(&found, expected, "{quantizer} {share} {places:?} {in_flight}");
                }
            }
        }
    }
}

/// Each segment has a selection of its own, and the nearest of all are found.
#[test]
fn several_segments_at_once() {
    let subjects = [71, 72].map(|seed| subject(Quantizer::Sq8, Metric::L2, seed));
    let segments = [
        subjects[0].open([Resident, Resident, Paged], 1, 3),
        subjects[1].open([Paged, Paged, Paged], 1, 3),
    ];
    let queries = &subjects[0].queries;
    let selections =
        [select(&segments[0], |id| id % 3 == 0), select(&segments[1], |id| id % 50 == 1)];
    let params = SearchParams { k: 10, ef: 60, ..Default::default() };
    let both = [&segments[0], &segments[1]];
    let found = run(&both, queries, &params, Some(&selections), 4);
    let truth = [0, 1].map(|at| exact_among(&segments[at], queries, 10, &selections[at]));
    for (number, found) in found.into_iter().enumerate() {
        let of = |at: usize| truth[at][number].iter().map(move |&hit| (at as u32, hit));
        let mut expected: Vec<(u32, Hit)> = of(0).chain(of(1)).collect();
        expected.sort_by(|a, b| a.1.distance.total_cmp(&b.1.distance).then(a.0.cmp(&b.0)));
        expected.truncate(10);
        assert_eq!(found.unwrap(), expected, "query {number}");
    }
    let refused = run(&both, queries, &params, Some(&selections[..1]), 4);
    assert!(matches!(refused[0], Err(SearchError::Selections { expected: 2, found: 1 })));
    let strange = [selections[0].clone(), Selection::all(7)];
    let refused = run(&both, queries, &params, Some(&strange), 4);
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, SearchError::Selection { segment: 1, found: 7, .. }), "{error}");
    }
}

/// Exact search, too, over rows that share pages, fill them, and span them.
#[test]
fn exact_search_is_that_of_the_rows_that_are_selected() {
    for (dim, rows) in [(9, 300), (1100, 60), (2500, 30)] {
        let base = as_element(dim, &clustered(rows, dim, 5, false, 3), Element::F32);
        let queries = as_element(dim, &clustered(6, dim, 5, false, 4), Element::F32);
        let page_size = PageSize::new(4096).unwrap();
        let options = BuildOptions { page_size, m: 4, ef_construction: 8, ..Default::default() };
        let segment = segment(&base, &options);
        for share in [1000, 500, 50, 0] {
            let chosen = drawn(3, share);
            segment.deletes.set(None);
            let selection = select(&segment, &chosen);
            let dead = select(&segment, |id| id % 7 == 0);
            let all = exact_search(&base, &queries, Metric::L2, rows).unwrap();
            for deleted in [None, Some(Arc::new(dead))] {
                let is_alive = |id: u64| deleted.is_none() || !id.is_multiple_of(7);
                let expected = all.iter().map(|hits| {
                    let hits = hits.iter().filter(|hit| chosen(hit.id) && is_alive(hit.id));
                    hits.copied().take(5).collect::<Vec<_>>()
                });
                let expected: Vec<_> = expected.collect();
                segment.deletes.set(deleted.as_deref().cloned());
                assert_eq!(exact_among(&segment, &queries, 5, &selection), expected, "{dim}");
            }
        }
    }
}

/// Where few pass every one is measured.
#[test]
fn scans_are_exact() {
    let base = Vectors::from_f32(16, clustered(3000, 16, 9, false, 5)).unwrap();
    let queries = Vectors::from_f32(16, clustered(40, 16, 9, false, 6)).unwrap();
    for quantizers in [vec![], vec![Quantizer::RaBitQ { bits: 1 }]] {
        let has_codes = !quantizers.is_empty();
        let segment = segment(&base, &BuildOptions { quantizers, ..Default::default() });
        for of_thousand in [0, 3, 10, 300] {
            let selection = select(&segment, drawn(1, of_thousand));
            if has_codes && selection.len() > 40 {
                continue; // More than the shortlist: codes decide which are rescored.
            }
            let found = among_all(&segment, &queries, &SearchParams::default(), &selection);
            assert_eq!(found, exact_among(&segment, &queries, 10, &selection));
        }
        let one = select(&segment, |id| id == 1234);
        for hits in among_all(&segment, &queries, &SearchParams::default(), &one) {
            assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [1234]);
        }
    }
}

#[test]
fn where_all_pass_it_is_the_search_without_a_selection() {
    let base = Vectors::from_f32(16, clustered(3000, 16, 9, false, 5)).unwrap();
    let queries = Vectors::from_f32(16, clustered(40, 16, 9, false, 6)).unwrap();
    let segment = segment(&base, &BuildOptions::default());
    let params = SearchParams { ef: 20, ..Default::default() };
    let all = Selection::all(3000);
    assert_eq!(
        among_all(&segment, &queries, &params, &all),
        search_all(&segment, &queries, &params)
    );
}

/// Of half the points the farthest from a query: those of clusters that are cut are linked with few,
/// and nothing that passes is near, so that more are kept or all are measured.
#[test]
fn what_is_selected_may_be_anywhere() {
    let dim = 24;
    let base = Vectors::from_f32(dim, clustered(6000, dim, 30, false, 8)).unwrap();
    let queries = Vectors::from_f32(dim, clustered(60, dim, 30, false, 8)).unwrap();
    let segment = segment(&base, &BuildOptions::default());
    let order = exact_search(&base, &queries, Metric::L2, 6000).unwrap();
    let params = SearchParams { k: 10, ef: 40, ..Default::default() };
    let (mut shares, mut searched) = (0.0, 0);
    for (number, order) in order.iter().enumerate().step_by(3) {
        let query = Vectors::from_f32(dim, row(&queries, number)).unwrap();
        let other = Vectors::from_f32(dim, row(&queries, (number + 31) % 60)).unwrap();
        let mut chosen = vec![false; 6000];
        for count in [3000, 2000] {
            chosen.fill(false);
            order[6000 - count..].iter().for_each(|hit| chosen[hit.id as usize] = true);
            let selection = select(&segment, |id| chosen[id as usize]);
            for asked in [&query, &other] {
                let found = among_all(&segment, asked, &params, &selection);
                assert!(found[0].iter().all(|hit| chosen[hit.id as usize]));
                shares += recall(&found, &exact_among(&segment, asked, 10, &selection));
                searched += 1;
            }
        }
    }
    let recall = shares / f64::from(searched);
    assert!(recall > 0.95, "recall {recall}");
}

#[test]
fn the_deleted_are_never_found() {
    let base = Vectors::from_f32(16, clustered(3000, 16, 9, false, 5)).unwrap();
    let segment = segment(&base, &BuildOptions::default());
    let on = &mut |_, _| ControlFlow::Continue(());
    let params = SearchParams { k: 10, ef: 50, rescore: Rescore::Times(2.0) };
    let gone = |id: u64| id.is_multiple_of(4) || (500..2000).contains(&id);
    segment.deletes.set(Some(select(&segment, gone)));
    // Asked for exactly what is no more.
    let asked = (0..3000).step_by(40).flat_map(|i| row(&base, i)).collect();
    let asked = Vectors::from_f32(16, asked).unwrap();
    let truth = segment.exact_search(&asked, 10, on).unwrap();
    let selection = select(&segment, |id| id % 3 > 0);
    let found = search_all(&segment, &asked, &params);
    let selected = among_all(&segment, &asked, &params, &selection);
    assert!(recall(&found, &truth) > 0.97);
    for hits in [&truth, &found, &selected].into_iter().flatten() {
        assert!(hits.len() == 10 && hits.iter().all(|hit| !gone(hit.id)), "{hits:?}");
    }
    segment.deletes.set(Some(Selection::all(3000)));
    assert!(search_all(&segment, &asked, &params).iter().all(Vec::is_empty));
    assert!(segment.exact_search(&asked, 10, on).unwrap().iter().all(Vec::is_empty));
}

/// A graph in which points that pass are too far from each other to be walked between.
#[test]
fn all_that_are_asked_for_are_found_whatever_the_graph_is_like() {
    let points = 16_000;
    let values: Vec<f32> = (0..points).map(|i| i as f32).collect();
    let base = Vectors::from_f32(1, values).unwrap();
    let queries = Vectors::from_f32(1, vec![0.4, 3999.7, 20_000.0]).unwrap();
    let quantizers = vec![Quantizer::Sq8];
    let options =
        BuildOptions { m: 2, quantizers, order: crate::Order::Given, ..Default::default() };
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    build(&base, &out, &options, &NoProgress).unwrap();
    let mut slots = Aligned::zeroed(points * 4);
    slots.fill(EMPTY);
    for (point, slots) in slots.chunks_mut(4).enumerate() {
        let beside = [point.checked_sub(1), Some(point + 1).filter(|&next| next < points)];
        for (slot, neighbour) in slots.iter_mut().zip(beside.into_iter().flatten()) {
            *slot = neighbour as u32;
        }
    }
    let line = Layer { points: Vec::new(), slots, max_neighbours: 4 };
    let params = SearchParams { k: 10, ef: 10, rescore: Rescore::Off };
    let in_memory_all = open_resident(&out).unwrap();
    let codes_paged = Segment::open(&out, &mut |file| match file.kind {
        ComponentKind::Graph | ComponentKind::Ids => Ok(Placed::Resident(in_memory(file)?)),
        _ => Ok(Placed::Paged(in_memory(file)?)),
    });
    for mut segment in [in_memory_all, codes_paged.unwrap()] {
        let layers = Graph { entry_point: 17, layers: vec![line.clone()] };
        segment.graph = Arc::new(OpenGraph { layers, paged: None, node: None });
        let selection = select(&segment, |id| id % 5 == 0);
        for (found, asked) in among_all(&segment, &queries, &params, &selection).iter().zip(0..) {
            let query = row(&queries, asked)[0].min(points as f32);
            // Ten of every fifth, as far as codes of one byte tell.
            let is_near = |hit: &Hit| (hit.id as f32 - query).abs() < 200.0;
            assert!(found.len() == 10, "{found:?}");
            assert!(found.iter().all(|hit| hit.id % 5 == 0 && is_near(hit)), "{found:?}");
        }
    }
}
