//! Points have ids of their own: hits tell them, and the lower of two that are equally far comes
//! first, whatever their order in the file, on disk and in the graph.

use proptest::prelude::*;

use super::*;
use crate::{
    BuildError, GivenIds, IdSource, MAX_ID, Manifest, Metric, Order, build_with, exact_search,
};

fn built(
    base: &Vectors,
    ids: GivenIds<'_>,
    order: Order,
) -> Result<(tempfile::TempDir, Segment), BuildError> {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let options = BuildOptions { m: 4, ef_construction: 20, order, ..Default::default() };
    build_with(base, &ids.into(), &out, &options, &NoProgress)?;
    let segment = open_resident(&out).unwrap();
    Ok((parent, segment))
}

/// Small whole numbers, of which many are the same.
fn with_twins(rows: usize, dim: usize, seed: u64) -> Vectors {
    let value = |i: u64| (mix(seed ^ mix(i)) % 3) as u8;
    Vectors::from_u8(dim, (0..(rows * dim) as u64).map(value).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Against a brute force over the given ids, ties included.
    #[test]
    fn exact_hits_are_in_the_order_of_ids(
        rows in 1_usize..300,
        dim in 1_usize..4,
        order in prop::sample::select(&Order::ALL[..]),
        k in 1_usize..20,
        seed in any::<u64>(),
    ) {
        let base = with_twins(rows, dim, seed);
        let ids: Vec<u64> = (0..rows as u64).map(|row| mix(row ^ seed) / 2).collect();
        let (_parent, segment) = built(&base, GivenIds::Each(&ids), order).unwrap();
        let queries = with_twins(5, dim, !seed);
        let all = exact_search(&base, &queries, Metric::L2, rows).unwrap();
        let params = SearchParams { k, ef: rows, ..Default::default() };
        let walked = search_all(&segment, &queries, &params);
        let exact = segment.exact_search(&queries, k, &mut |_, _| ControlFlow::Continue(()));
        for ((mut all, exact), walked) in all.into_iter().zip(exact.unwrap()).zip(walked) {
            all.iter_mut().for_each(|hit| hit.id = ids[hit.id as usize]);
            all.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
            all.truncate(k);
            prop_assert_eq!(&exact, &all);
            // A walk that keeps every point finds the same.
            prop_assert_eq!(&walked, &all);
        }
        for &id in &ids[..rows] {
            let place = segment.place_of(id).unwrap();
            prop_assert_eq!(segment.id_of(place), Some(id));
            prop_assert_eq!(segment.places_of(&[id]).iter().collect::<Vec<_>>(), [place]);
        }
        prop_assert!(!segment.has_id(MAX_ID) && segment.id_of(rows as u32).is_none());
    }
}

#[test]
fn ids_from_a_number_on_are_rows_moved_up() {
    let base = with_twins(200, 3, 7);
    let queries = with_twins(9, 3, 8);
    for order in Order::ALL {
        let (_plain, plain) = built(&base, GivenIds::default(), order).unwrap();
        let mut expected = search_all(&plain, &queries, &SearchParams::default());
        let first_id = 1 << 40;
        expected.iter_mut().flatten().for_each(|hit| hit.id += first_id);
        let ids: Vec<u64> = (first_id..).take(200).collect();
        for given in [GivenIds::From(first_id), GivenIds::Each(&ids)] {
            let (parent, segment) = built(&base, given, order).unwrap();
            assert_eq!(search_all(&segment, &queries, &SearchParams::default()), expected);
            assert_eq!(segment.resident_bytes(), plain.resident_bytes());
            let manifest = Manifest::read(&parent.path().join("segment")).unwrap();
            assert_eq!(manifest.ids, IdSource::Rows { first_id });
        }
    }
}

#[test]
fn given_ids_cost_eight_bytes_a_point_and_a_rank() {
    let base = with_twins(1000, 3, 7);
    let ids: Vec<u64> = (0..1000).map(|row| 3 * row).collect();
    for (order, more) in [(Order::Given, 12_000), (Order::Packed, 8_000)] {
        let (_plain, plain) = built(&base, GivenIds::default(), order).unwrap();
        let (_given, given) = built(&base, GivenIds::Each(&ids), order).unwrap();
        let more_found = given.resident_bytes() - plain.resident_bytes();
        assert!((more..more + 128).contains(&more_found), "{more_found}");
    }
}

#[test]
fn what_cannot_be_ids_leaves_nothing() {
    let base = with_twins(3, 3, 7);
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("segment");
    let refused = |ids: GivenIds<'_>| {
        let options = BuildOptions::default();
        let error = build_with(&base, &ids.into(), &out, &options, &NoProgress).unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        error.to_string()
    };
    assert!(refused(GivenIds::Each(&[5, 6])).contains("2 ids for 3 vectors"));
    assert!(refused(GivenIds::Each(&[5, 6, 5])).contains("vectors 0 and 2 have the same id 5"));
    assert!(refused(GivenIds::Each(&[5, u64::MAX, 6])).contains("vector 1 has the id"));
    assert!(refused(GivenIds::From(MAX_ID - 1)).contains("begin lower"));
}
