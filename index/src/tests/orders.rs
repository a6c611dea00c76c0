//! The order of points on disk changes no hit: ids and distances of every search are those of the
//! order in which vectors were given, bit by bit, also where very many points are equally far.

use proptest::prelude::*;
use ringpool_storage::PageSize;

use super::*;
use crate::{Manifest, Metric, Order, Rescore};

/// Small whole numbers: most distances are had by many, and many points are the same.
fn whole_numbers(rows: usize, dim: usize, most: u64, seed: u64) -> Vectors {
    let value = |i: u64| (mix(seed ^ mix(i)) % (most + 1)) as f32 - 1.0;
    Vectors::from_f32(dim, (0..(rows * dim) as u64).map(value).collect()).unwrap()
}

/// The same points in both orders, the given one first.
fn in_both_orders(base: &Vectors, options: &BuildOptions) -> [tempfile::TempDir; 2] {
    Order::ALL.map(|order| {
        let parent = tempfile::tempdir().unwrap();
        let options = BuildOptions { order, ..options.clone() };
        build(base, &parent.path().join("segment"), &options, &NoProgress).unwrap();
        parent
    })
}

/// Where everything but the ids is.
#[derive(Clone, Copy)]
enum Where {
    Memory,
    Pages,
    /// Graph and codes with the originals.
    Nodes,
}

/// Walks by these codes.
fn open_by(parent: &tempfile::TempDir, codes: Quantizer, at: Where) -> Segment {
    let opened = Segment::open(&parent.path().join("segment"), &mut |file| {
        Ok(match file.kind {
            ComponentKind::Codes(other) if other != codes => Placed::Left,
            ComponentKind::Ids | ComponentKind::OwnIds => Placed::Resident(in_memory(file)?),
            ComponentKind::Codes(_) | ComponentKind::Graph if matches!(at, Where::Nodes) => {
                Placed::Inlined(in_memory(file)?)
            }
            _ if matches!(at, Where::Memory) => Placed::Resident(in_memory(file)?),
            _ => Placed::Paged(in_memory(file)?),
        })
    });
    opened.unwrap()
}

fn exact(segment: &Segment, queries: &Vectors, k: usize) -> Vec<Vec<Hit>> {
    segment.exact_search(queries, k, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hits_are_the_same_in_both(
        rows in 1_usize..700,
        dim in 1_usize..12,
        most in 1_u64..5,
        metric in prop::sample::select(&Metric::ALL[..]),
        element in prop::sample::select(vec![Element::F32, Element::I8, Element::F16]),
        k in 1_usize..30,
        inlined in prop::sample::select(quantizers(1)[1..].to_vec()),
        seed in any::<u64>(),
    ) {
        let base = whole_numbers(rows, dim, most, seed);
        let values: Vec<f32> = (0..rows).flat_map(|i| row(&base, i)).collect();
        let base = match element {
            Element::I8 => Vectors::from_i8(dim, values.iter().map(|&v| v as i8).collect()).unwrap(),
            _ => as_element(dim, &values, element),
        };
        let options = BuildOptions {
            metric,
            m: 4,
            ef_construction: 20,
            quantizers: quantizers(1)[1..].to_vec(),
            inlined: Some(inlined),
            page_size: PageSize::new(512).unwrap(),
            seed,
            ..Default::default()
        };
        let built = in_both_orders(&base, &options);
        let queries = whole_numbers(8, dim, most, !seed);
        for codes in quantizers(1) {
            let given = open_by(&built[0], codes, Where::Memory);
            let mut packed = vec![
                open_by(&built[1], codes, Where::Memory),
                open_by(&built[1], codes, Where::Pages),
            ];
            if codes == inlined {
                packed.push(open_by(&built[1], codes, Where::Nodes));
            }
            let rescores = [
                Rescore::Off,
                Rescore::Times(1.0),
                Rescore::Times(2.5),
                Rescore::Auto { recall: 0.9 },
            ];
            for rescore in rescores {
                let params = SearchParams { k, ef: 25, rescore };
                let expected = search_all(&given, &queries, &params);
                for packed in &packed {
                    prop_assert_eq!(&search_all(packed, &queries, &params), &expected);
                }
            }
            let expected = exact(&given, &queries, k);
            for packed in &packed {
                prop_assert_eq!(&exact(packed, &queries, k), &expected);
            }
        }
    }
}

/// How many pages hold the nearest of each query, on average.
fn pages_of_nearest(segment: &Segment, nearest: &[Vec<Hit>], per_page: u32) -> f64 {
    let points = segment.manifest().points as u32;
    let mut places = vec![0; points as usize];
    (0..points).for_each(|place| places[segment.ids().id(place) as usize] = place);
    let pages = nearest.iter().map(|hits| {
        let pages = hits.iter().map(|hit| places[hit.id as usize] / per_page);
        pages.collect::<std::collections::BTreeSet<u32>>().len()
    });
    pages.sum::<usize>() as f64 / nearest.len() as f64
}

#[test]
fn packed_points_share_pages_with_those_near_them() {
    // 16 bytes a vector: 32 a page of 512 bytes.
    let base = as_element(16, &clustered(6000, 16, 150, false, 51), Element::U8);
    let page_size = PageSize::new(512).unwrap();
    let options = BuildOptions { page_size, ef_construction: 60, ..Default::default() };
    let built = in_both_orders(&base, &options);
    let [given, packed] =
        built.each_ref().map(|parent| open_by(parent, Quantizer::Sq8, Where::Memory));
    let queries = as_element(16, &clustered(100, 16, 150, false, 51), Element::U8);
    let nearest = exact(&given, &queries, 30);
    for (per_page, most) in [(8, 0.75), (32, 0.4), (128, 0.3)] {
        let [given, packed] =
            [&given, &packed].map(|segment| pages_of_nearest(segment, &nearest, per_page));
        assert!(packed < most * given, "{per_page} a page: {packed} of {given}");
    }
}

#[test]
fn the_manifest_names_the_order_and_given_order_has_no_ids() {
    let base = as_element(3, &clustered(50, 3, 2, false, 52), Element::F32);
    let built = in_both_orders(&base, &BuildOptions::default());
    for (parent, order) in built.iter().zip(Order::ALL) {
        let dir = parent.path().join("segment");
        let manifest = Manifest::read(&dir).unwrap();
        assert_eq!(manifest.order, order);
        let files = manifest.component_files(&dir).unwrap();
        let ids = files.iter().filter(|file| file.kind == ComponentKind::Ids).count();
        assert_eq!(ids, usize::from(order == Order::Packed));
    }
}
