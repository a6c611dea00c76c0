//! Packing on its own: graphs whose best groups are known, and graphs of all shapes.

use proptest::prelude::*;

use super::links::Links;
use super::near::{NEAREST, Near};
use super::*;
use crate::graph::{self, ByteSpace, EMPTY, GraphOptions, mix};
use crate::{Metric, Vectors, exact_search};

fn go_on() -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Each point's nearest are those that `of` tells.
fn near(count: usize, of: impl Fn(usize) -> Vec<u32>) -> Near {
    let padded = |point| of(point).into_iter().chain(std::iter::repeat(EMPTY)).take(NEAREST);
    Near { points: (0..count).flat_map(padded).collect() }
}

fn packed(near: Near, group: usize) -> Vec<u32> {
    match pack(near, group, &go_on) {
        ControlFlow::Continue(order) => order,
        ControlFlow::Break(()) => panic!("nobody has stopped it"),
    }
}

/// A stable shuffle: which point is the `i`-th.
fn shuffled(count: usize) -> Vec<u32> {
    let mut points: Vec<u32> = (0..count as u32).collect();
    points.sort_by_key(|&point| mix(point.into()));
    points
}

#[test]
fn cliques_become_groups_and_cliques_of_cliques_their_groups() {
    let (clique, group_of_cliques) = (5, 5 * GROUPS_PER_GROUP);
    let count = 30 * group_of_cliques;
    let points = shuffled(count);
    let mut numbers = vec![0; count];
    points.iter().enumerate().for_each(|(number, &point)| numbers[point as usize] = number);
    // First those of the own clique, then one in each of the other cliques of its group.
    let of = |point: usize| {
        let (number, own) = (numbers[point], numbers[point] / clique);
        let clique_mates = (0..clique).map(|i| own * clique + i).filter(|&other| other != number);
        let siblings = (0..GROUPS_PER_GROUP).map(|i| own / GROUPS_PER_GROUP * GROUPS_PER_GROUP + i);
        let beyond = siblings.filter(|&other| other != own).map(|s| s * clique + number % clique);
        clique_mates.chain(beyond).map(|number| points[number]).collect()
    };
    let order = packed(near(count, of), clique);
    for (size, stretch) in [(clique, clique), (group_of_cliques, group_of_cliques)] {
        for group in order.chunks(size) {
            let mut of: Vec<usize> =
                group.iter().map(|&point| numbers[point as usize] / stretch).collect();
            of.dedup();
            assert_eq!(of.len(), 1, "a group of {size} has points of several");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Also where everybody wants to lie beside the same few, or nobody beside anybody.
    #[test]
    fn every_point_has_one_place(
        count in 1_usize..400,
        group in 2_usize..40,
        degree in 0_usize..=NEAREST,
        targets in 1_u64..400,
        seed in any::<u64>(),
    ) {
        let of = |point: usize| {
            let draw = |i: usize| (mix(seed ^ mix((point * NEAREST + i) as u64)) % targets) as usize;
            let drawn = (0..degree).map(|i| (draw(i) % count) as u32);
            let mut nearest: Vec<u32> = drawn.filter(|&other| other != point as u32).collect();
            nearest.sort_unstable();
            nearest.dedup();
            nearest
        };
        let mut order = packed(near(count, of), group);
        prop_assert_eq!(&order, &packed(near(count, of), group));
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(0..count as u32));
    }
}

fn weight_within(links: &Links, order: &[u32], size: usize) -> u64 {
    let groups = order.chunks(size);
    let within = groups.flat_map(|group| {
        let own = group.iter().flat_map(|&node| links.of(node));
        own.filter(|link| group.contains(&link.to)).map(|link| u64::from(link.weight))
    });
    within.sum()
}

#[test]
fn swaps_gain_weight_and_keep_every_node() {
    let (count, size) = (1003, 6);
    // On a ring, each beside the next eight.
    let of = |point: usize| (1..=8).map(|i| ((point + i) % count) as u32).collect();
    let links = Links::of_near(&near(count, of));
    let shuffled = shuffled(count);
    let mut order = shuffled.clone();
    assert_eq!(swaps::swap(&links, &mut order, size, &go_on), go_on());
    let (before, after) =
        (weight_within(&links, &shuffled, size), weight_within(&links, &order, size));
    assert!(after > 10 * before, "{before}, then {after}");
    let rest = count / size * size;
    assert_eq!(order[rest..], shuffled[rest..], "the last group is not whole");
    order.sort_unstable();
    assert!(order.into_iter().eq(0..count as u32));
}

#[test]
fn links_weigh_what_both_would_give_and_nobody_has_too_many() {
    // 0 and 1 name each other, 2 names 0, and everybody names 3.
    let of = |point: usize| match point {
        0 => vec![1, 3],
        1 => vec![0, 3],
        2 => vec![0, 3],
        3 => vec![],
        _ => vec![3],
    };
    let links = Links::of_near(&near(300, of));
    let weights = |node: u32| -> Vec<(u32, u32)> {
        links.of(node).iter().map(|link| (link.to, link.weight)).collect()
    };
    let [first, second] = [256, 256 * 8 / 9];
    assert_eq!(weights(0)[..2], [(1, 2 * first), (2, first)]);
    assert_eq!(weights(1)[..1], [(0, 2 * first)]);
    let named_by = weights(3);
    assert_eq!(named_by.len(), 48);
    assert!(named_by.iter().all(|&(_, weight)| weight == first), "{second} is for those after");
    for node in 0..300 {
        for &(to, weight) in &weights(node) {
            assert!(weights(to).contains(&(node, weight)), "{node} and {to}");
        }
    }
}

#[test]
fn whoever_says_stop_is_heard() {
    let of = |point: usize| vec![(point as u32 + 1) % 20_000];
    let stop = || ControlFlow::Break(());
    assert!(pack(near(20_000, of), 8, &stop).is_break());
}

#[test]
fn nearest_neighbours_are_those_of_all_points_nearly_always() {
    let value = |i: u64| (mix(i) % 256) as u8;
    let vectors = Vectors::from_u8(6, (0..6 * 3000).map(value).collect()).unwrap();
    let space = ByteSpace::new(&vectors).unwrap();
    let options = GraphOptions { m: 16, ef_construction: 100, seed: 1 };
    let built = graph::build(&space, options, &|_| ControlFlow::Continue(()));
    let ControlFlow::Continue((graph, _)) = built else { panic!("nobody has stopped it") };
    let found = Near::find(&space, &graph, &|_| ControlFlow::Continue(()));
    let ControlFlow::Continue(found) = found else { panic!("nobody has stopped it") };
    let truth = exact_search(&vectors, &vectors, Metric::L2, NEAREST + 1).unwrap();
    let mut right = 0;
    for (point, hits) in truth.iter().enumerate() {
        let near: Vec<u32> = (0..NEAREST).map(|rank| found.of(point, rank)).collect();
        assert!(!near.contains(&(point as u32)) && !near.contains(&EMPTY));
        right += hits.iter().filter(|hit| near.contains(&(hit.id as u32))).count();
    }
    let recall = right as f64 / (3000 * NEAREST) as f64;
    assert!(recall > 0.95, "{recall}");
}
